//! `docs/errors.md` and its Chinese twin against the tables in the code: every error that a merchant meets stands there
//! with its cause and its remedy, and nothing else does. `PAYBELL_WRITE_DOCS=1` writes the tables into the pages.

use std::{fs, path::PathBuf};

use console::PROBLEMS;
use paybell_core::place::RefusalKind;
use wechat_pay::check::{Fault, FieldError};
use wechat_pay::error_code::{ErrCode, ErrorClass, Explanation, Interface, KNOWN_MESSAGES};
use wechat_pay::openid::KNOWN_ERRCODES;

/// In which language a page is.
#[derive(Clone, Copy, PartialEq)]
enum Language {
    English,
    Chinese,
}

use Language::{Chinese, English};

impl Language {
    fn of<'t>(self, english: &'t str, chinese: &'t str) -> &'t str {
        if self == English { english } else { chinese }
    }

    fn file(self) -> PathBuf {
        let name = self.of("docs/errors.md", "docs/errors.zh-CN.md");
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
    }

    fn cause_and_remedy(self, said: &Explanation) -> String {
        let Explanation { cause, remedy, cause_zh, remedy_zh } = said;
        format!("{} | {}", self.of(cause, cause_zh), self.of(remedy, remedy_zh))
    }

    /// A table: what stands in the first columns, then cause and remedy.
    fn table(self, first: &[(&str, &str)], rows: impl Iterator<Item = String>) -> String {
        let first = first.iter().map(|(english, chinese)| self.of(english, chinese));
        let columns: Vec<&str> =
            first.chain([self.of("cause", "原因"), self.of("what to do", "处理办法")]).collect();
        let mut table = format!("| {} |\n|{}\n", columns.join(" | "), " --- |".repeat(columns.len()));
        rows.for_each(|row| table.push_str(&format!("| {row} |\n")));
        table
    }

    fn rendered(self, name: &str) -> String {
        match name {
            "texts" => self.texts(),
            "codes" => self.codes(),
            "special" => self.special(),
            "openid" => self.openid(),
            "fields" => self.fields(),
            "problems" => self.problems(),
            other => panic!("there is no table {other}"),
        }
    }

    fn texts(self) -> String {
        let rows = KNOWN_MESSAGES.iter().map(|known| {
            let parts = known.parts.iter().map(|part| format!("`{part}`")).collect::<Vec<_>>().join(" ");
            format!("{parts} | {}", self.cause_and_remedy(&known.explanation))
        });
        self.table(&[("in the text", "文字中含有")], rows)
    }

    fn codes(self) -> String {
        let rows = ErrCode::known().map(|code| {
            let turn = self.turn(code.class());
            format!("`{code}` | {turn} | {}", self.cause_and_remedy(&code.explanation()))
        });
        self.table(&[("`err_code`", "`err_code`"), ("turn", "处理")], rows)
    }

    fn turn(self, class: ErrorClass) -> &'static str {
        let (english, chinese) = match class {
            ErrorClass::Transient => ("again", "重试"),
            ErrorClass::Permanent => ("no", "否"),
            ErrorClass::Operator => ("mend", "更正"),
            ErrorClass::NotExist => ("unknown order", "无此订单"),
            ErrorClass::Paid => ("paid", "已支付"),
            ErrorClass::Closed => ("closed", "已关闭"),
        };
        self.of(english, chinese)
    }

    fn special(self) -> String {
        let special = Interface::ALL.into_iter().flat_map(|call| {
            let meant = move |code: &ErrCode| (code.explanation_in(call), code.explanation());
            ErrCode::known().filter(move |code| meant(code).0 != meant(code).1).map(move |code| (call, code))
        });
        let rows = special.map(|(call, code)| {
            let said = self.cause_and_remedy(&code.explanation_in(call));
            format!("`{}` | `{code}` | {said}", path(call))
        });
        self.table(&[("call", "接口"), ("`err_code`", "`err_code`")], rows)
    }

    fn openid(self) -> String {
        let rows =
            KNOWN_ERRCODES.iter().map(|(code, said)| format!("`{code}` | {}", self.cause_and_remedy(said)));
        self.table(&[("`errcode`", "`errcode`")], rows)
    }

    fn fields(self) -> String {
        let mut table = format!("| {} |\n| --- |\n", self.of("`detail` says", "`detail` 的内容"));
        for fault in Fault::KINDS {
            let error = FieldError { field: "FIELD", fault };
            let said = error.to_string();
            table.push_str(&format!("| {} |\n", self.of(&said, &error.zh())));
        }
        table
    }

    fn problems(self) -> String {
        let rows = PROBLEMS.iter().map(|row| {
            let (cause, remedy) = (self.of(row.cause, row.cause_zh), self.of(row.remedy, row.remedy_zh));
            format!("`{}` | {} | {cause} | {remedy}", row.word, row.status)
        });
        let of_the_api = |kind: &RefusalKind| PROBLEMS.iter().any(|row| row.word == kind.slug());
        let demands = RefusalKind::ALL.into_iter().filter(|kind| !of_the_api(kind)).map(|kind| {
            let words = kind.words();
            let (cause, remedy) =
                (self.of(&words.cause, &words.cause_zh), self.of(&words.remedy, &words.remedy_zh));
            format!("`{}` | {} | {cause} | {remedy}", kind.slug(), kind.status())
        });
        let rows = rows.chain(demands);
        self.table(&[("word", "类型"), ("status", "状态码")], rows)
    }
}

fn path(call: Interface) -> &'static str {
    match call {
        Interface::UnifiedOrder => "/pay/unifiedorder",
        Interface::OrderQuery => "/pay/orderquery",
        Interface::CloseOrder => "/pay/closeorder",
        Interface::Refund => "/secapi/pay/refund",
        Interface::RefundQuery => "/pay/refundquery",
        Interface::Micropay => "/pay/micropay",
        Interface::Reverse => "/secapi/pay/reverse",
        Interface::DownloadBill => "/pay/downloadbill",
        other => panic!("{other:?} has no path here"),
    }
}

const BEGIN: &str = "<!-- table: ";
const END: &str = "<!-- end -->";

/// The page with every table as the code has it, and the names of the tables.
fn page(language: Language, text: &str) -> (String, Vec<String>) {
    let (mut whole, mut names, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, behind)) = rest.split_once(BEGIN) {
        let (name, behind) = behind.split_once(" -->\n").expect("the mark of a table ends its line");
        let (_, behind) = behind.split_once(END).expect("every table has its end");
        whole.push_str(&format!("{before}{BEGIN}{name} -->\n{}{END}", language.rendered(name)));
        names.push(name.to_owned());
        rest = behind;
    }
    whole.push_str(rest);
    (whole, names)
}

#[test]
fn every_error_a_merchant_meets_says_what_to_do() {
    let mut tables = Vec::new();
    for language in [English, Chinese] {
        let file = language.file();
        let text = fs::read_to_string(&file).unwrap();
        let (should, names) = page(language, &text);
        if std::env::var_os("PAYBELL_WRITE_DOCS").is_some() {
            fs::write(&file, &should).unwrap();
        } else {
            let differing = should.lines().zip(text.lines()).find(|(should, is)| should != is);
            assert!(
                should == text,
                "{} differs from the code, first in\n{differing:?}\nwrite it with PAYBELL_WRITE_DOCS=1",
                file.display()
            );
        }
        tables.push(names);
    }
    assert_eq!(tables[0], ["texts", "codes", "special", "openid", "fields", "problems"]);
    assert_eq!(tables[0], tables[1]);
}

/// A merchant looks in the headings' table first.
#[test]
fn the_links_of_the_error_pages_lead_somewhere() {
    for language in [English, Chinese] {
        let text = fs::read_to_string(language.file()).unwrap();
        let anchors: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .map(|heading| heading.to_lowercase().replace(' ', "-"))
            .collect();
        let links: Vec<&str> =
            text.split("](#").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0)).collect();
        assert_eq!(links.len(), 5);
        for link in links {
            assert!(anchors.iter().any(|anchor| anchor == link), "{link} in {anchors:?}");
        }
    }
}
