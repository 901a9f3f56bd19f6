//! From documents of the private API to the cells of a listing. An absent value is a dash, and what could move a
//! terminal's cursor is written out: some of these texts were written by whoever reached a queue.

use serde_json::Value;

use crate::output::tame;

/// The value at a path such as `due.at`, as text.
pub fn cell(document: &Value, path: &str) -> String {
    let found = path.split('.').try_fold(document, |value, name| value.get(name));
    match found {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => tame(text),
        Some(other) => tame(&other.to_string()),
    }
}

/// One row of cells.
pub fn row(document: &Value, paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| cell(document, path)).collect()
}

/// The entries of a page.
pub fn entries<'v>(page: &'v Value, name: &str) -> &'v [Value] {
    page.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// How to see the rest of a listing; `None` if this was all.
pub fn continuation(page: &Value) -> Option<String> {
    let has_more = page.get("has_more").and_then(Value::as_bool).unwrap_or(false);
    has_more.then(|| format!("there are more: --after {}", cell(page, "next")))
}

/// `name  value` lines for one document.
pub fn card(document: &Value, lines: &[(&str, &str)]) -> String {
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let line = |(name, path): &(&str, &str)| format!("{name:width$}  {}", cell(document, path));
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_cell_of_a_foreign_document_moves_the_cursor() {
        let letter = json!({ "detail": "no check: \u{1b}]0;x\u{7}\n\u{202e}fen", "more": { "x": "\u{9b}" } });
        for text in [row(&letter, &["detail", "more"]).join(" "), card(&letter, &[("detail", "detail")])] {
            assert!(!text.contains(['\u{1b}', '\u{7}', '\n', '\u{202e}', '\u{9b}']), "{text:?}");
        }
    }
}
