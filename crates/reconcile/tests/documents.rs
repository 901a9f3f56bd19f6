//! `docs/reconcile.md` and its Chinese twin against the kinds in the code: every difference stands there with what it
//! means and what to do, and none that is not there any more. `PAYBELL_WRITE_DOCS=1` writes the tables into the pages.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use reconcile::Kind;

fn hold(page: &str, header: &str, row: impl Fn(Kind) -> String) {
    let path = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    let start = text.find(header).unwrap_or_else(|| panic!("{page} has no table {header:?}")) + header.len();
    let end = start + text[start..].find("\n\n").unwrap() + 1;
    let rows: String = Kind::ALL.iter().map(|kind| row(*kind)).collect();
    if std::env::var_os("PAYBELL_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{}{rows}{}", &text[..start], &text[end..])).unwrap();
        return;
    }
    assert_eq!(&text[start..end], rows, "{page}: PAYBELL_WRITE_DOCS=1 writes it");
}

#[test]
fn both_pages_explain_every_kind() {
    hold("reconcile.md", "| kind | what it means | what to do |\n| --- | --- | --- |\n", |kind| {
        let words = kind.explanation();
        format!("| `{}` | {} | {} |\n", kind.as_str(), words.cause, words.remedy)
    });
    hold("reconcile.zh-CN.md", "| 词 | 含义 | 处理 |\n| --- | --- | --- |\n", |kind| {
        let words = kind.explanation();
        format!("| `{}` | {} | {} |\n", kind.as_str(), words.cause_zh, words.remedy_zh)
    });
}
