//! WeChat's answer in place of a bill: an unsigned document whose text says more than its number.
//!
//! Names what to do about it in English and Chinese. Being unsigned it proves nothing: "no bill" never means that
//! nothing was paid, only that there is nothing to compare yet.

use std::fmt;

use crate::error_code::Explanation;
use crate::fields::filled;
use crate::xml::Document;

const TEXT_CHARACTERS_MAX: usize = 128;

/// WeChat's answer instead of a bill. It is not signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillRefusal {
    pub kind: RefusalKind,
    pub return_msg: String,
    /// `error_code`, spelt so in bills only.
    pub error_code: Option<String>,
}

/// What it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// No bill for that day: nothing was traded, or it is not made yet.
    NoBill,
    /// Being made: ask again.
    Creating,
    /// WeChat's own trouble: ask again.
    Busy,
    /// Too many calls: ask again, later.
    TooOften,
    /// Wrongly signed: look at the key.
    Sign,
    /// A date or a type that WeChat does not take: asking again is useless.
    BadRequest,
    /// The merchant platform does not let this number have bills.
    NotAllowed,
    /// Something else: for a person.
    Unknown,
}

impl BillRefusal {
    /// Reads the document; what is none is a refusal of an unknown kind.
    #[must_use]
    pub fn parse(body: &[u8]) -> Self {
        let document = Document::parse(body).ok();
        let field = |name| {
            let text = document.as_ref().and_then(|document| filled(document, name))?;
            Some(text.chars().take(TEXT_CHARACTERS_MAX).collect::<String>())
        };
        let return_msg = field("return_msg").unwrap_or_else(|| "an answer that is no bill".to_owned());
        let error_code = field("error_code").or_else(|| field("err_code"));
        let kind = RefusalKind::of(&return_msg, error_code.as_deref());
        Self { kind, return_msg, error_code }
    }

    /// Whether the same request may bring the bill later.
    #[must_use]
    pub fn is_worth_repeating(&self) -> bool {
        use RefusalKind::{Busy, Creating, NoBill, TooOften};
        matches!(self.kind, NoBill | Creating | Busy | TooOften)
    }
}

impl fmt::Display for BillRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.return_msg, self.error_code.as_deref().unwrap_or("no error_code"))
    }
}

impl RefusalKind {
    /// The text first: one number stands for several causes.
    fn of(return_msg: &str, error_code: Option<&str>) -> Self {
        let text: String = return_msg
            .chars()
            .filter(|c| !c.is_whitespace() && *c != '_')
            .collect::<String>()
            .to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        match error_code {
            _ if has(&["nobillexist", "账单不存在"]) => Self::NoBill,
            _ if has(&["billcreating", "账单未生成", "账单生成中"]) => Self::Creating,
            _ if has(&["gziperror", "systemerror", "系统错误", "系统繁忙"]) => Self::Busy,
            _ if has(&["frequen", "频率", "频繁"]) => Self::TooOften,
            _ if has(&["signerror", "签名"]) => Self::Sign,
            _ if has(&["invalidbill", "dataformaterror", "missingparameter", "缺少参数"]) => {
                Self::BadRequest
            }
            _ if has(&["权限", "noauth"]) => Self::NotAllowed,
            Some("20000" | "20003") => Self::Busy,
            Some("20001") => Self::BadRequest,
            Some("20002") => Self::NoBill,
            Some("20007") => Self::NotAllowed,
            _ => Self::Unknown,
        }
    }

    /// Cause and remedy for people.
    #[must_use]
    pub fn explanation(self) -> Explanation {
        let [cause, remedy, cause_zh, remedy_zh] = match self {
            Self::NoBill => [
                "WeChat has no bill of that day",
                "If anything was traded, ask again after 10:00 Beijing time of the next day; bills are kept for three months",
                "当日没有对账单",
                "若当日有交易，请在次日北京时间 10 点后重试；账单保留三个月",
            ],
            Self::Creating => [
                "The bill is being made",
                "Ask again in a while; bills are ready after 10:00 Beijing time",
                "对账单生成中",
                "请稍后重试；账单一般在北京时间 10 点后可下载",
            ],
            Self::Busy => [
                "WeChat could not produce the bill just now",
                "Ask again with the same parameters",
                "微信支付暂时无法提供对账单",
                "请用相同参数重试",
            ],
            Self::TooOften => [
                "Bills were asked for too often",
                "Wait some minutes, then ask again",
                "下载对账单过于频繁",
                "请等待几分钟后重试",
            ],
            Self::Sign => [
                "WeChat does not accept our signature",
                "Check the API key (v2, not v3), the mch_id and the sign_type",
                "签名不被微信支付接受",
                "检查 API 密钥（v2 而非 v3）、商户号和签名类型",
            ],
            Self::BadRequest => [
                "WeChat does not take the date, the type or another parameter",
                "Ask for a day before today and within three months; check appid and mch_id",
                "账单日期、类型或其他参数不被接受",
                "请使用今天之前三个月之内的日期；检查 appid 和商户号",
            ],
            Self::NotAllowed => [
                "This merchant number may not download bills",
                "Open the bill interface in the merchant platform (交易中心 / 账单)",
                "当前商户号没有账单接口权限",
                "在商户平台的交易账单设置中开通账单接口",
            ],
            Self::Unknown => [
                "WeChat answered something that this program does not know",
                "Read return_msg; try the same day in the merchant platform",
                "微信支付返回了未知的内容",
                "查看 return_msg；在商户平台下载同一天的账单试试",
            ],
        };
        Explanation { cause, remedy, cause_zh, remedy_zh }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_tells_before_the_number() {
        use RefusalKind::{BadRequest, Busy, Creating, NoBill, NotAllowed, Sign, TooOften, Unknown};
        for (return_msg, code, kind) in [
            ("No Bill Exist", "20002", NoBill),
            ("NO Bill Exist", "", NoBill),
            ("Bill Creating", "20002", Creating),
            ("invalid bill_date", "20001", BadRequest),
            ("missing parameter", "20001", BadRequest),
            ("data format error", "20001", BadRequest),
            ("SIGN ERROR", "20001", Sign),
            ("签名错误", "", Sign),
            ("SYSTEMERROR", "20003", Busy),
            ("CompressGZip Error", "20000", Busy),
            ("x", "20003", Busy),
            ("UnCompressGZip Error", "", Busy),
            ("当前商户号账单API权限已经关闭", "20007", NotAllowed),
            ("频率限制", "", TooOften),
            ("something new", "29999", Unknown),
            ("x", "", Unknown),
        ] {
            let body = crate::xml::write([
                ("return_code", "FAIL"),
                ("return_msg", return_msg),
                ("error_code", code),
            ]);
            let refusal = BillRefusal::parse(body.as_bytes());
            assert_eq!(refusal.kind, kind, "{return_msg} {code}");
            let words = kind.explanation();
            assert!(!words.cause_zh.is_ascii() && !words.remedy_zh.is_ascii() && words.cause.is_ascii());
            let again = matches!(kind, NoBill | Creating | Busy | TooOften);
            assert_eq!(refusal.is_worth_repeating(), again, "{kind:?}");
        }
        assert_eq!(BillRefusal::parse(b"<xml><a>").kind, Unknown);
    }
}
