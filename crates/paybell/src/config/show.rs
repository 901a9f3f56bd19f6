//! The effective configuration for people and for programs: every key with its value and its origin, secrets
//! hidden. Formats what was read; reads nothing itself.

use serde_json::json;

use super::{reader::Shown, tree::Origin};

/// TOML that could be read again but for the hidden secrets; the origin of each value stands behind it.
pub fn as_toml(shown: &[Shown]) -> String {
    let lines: Vec<String> = shown.iter().map(|shown| format!("{} = {}", shown.key, shown.value)).collect();
    let width = lines.iter().map(|line| line.chars().count()).filter(|width| *width <= 60).max().unwrap_or(0);
    let mut text = String::new();
    let mut section = "";
    for (shown, line) in shown.iter().zip(&lines) {
        if shown.section != section {
            section = &shown.section;
            text.push_str(&format!("\n{}\n", header(section)));
        }
        text.push_str(&format!("{line:width$}  # {}\n", shown.origin));
    }
    text
}

/// A list of keys; the origin is told by kind.
pub fn as_json(shown: &[Shown]) -> serde_json::Value {
    let entry = |shown: &Shown| {
        let key = if shown.section.is_empty() {
            shown.key.to_owned()
        } else {
            format!("{}.{}", shown.section, shown.key)
        };
        let value: serde_json::Value = toml::from_str::<toml::Table>(&format!("value = {}", shown.value))
            .ok()
            .and_then(|table| serde_json::to_value(table.get("value")).ok())
            .unwrap_or_default();
        let set_by = match &shown.origin {
            Origin::Default => "default",
            Origin::File { .. } | Origin::WholeFile(_) => "file",
            Origin::Environment { .. } => "environment",
        };
        json!({ "key": key, "value": value, "set_by": set_by, "origin": shown.origin.to_string() })
    };
    shown.iter().map(entry).collect()
}

/// `merchant[0]` is one of a list of sections, `merchant[0].app[1]` of one within it.
fn header(section: &str) -> String {
    if !section.contains('[') {
        return format!("[{section}]");
    }
    let name = |part: &str| part.split('[').next().unwrap_or_default().to_owned();
    let names: Vec<String> = section.split('.').map(name).collect();
    format!("[[{}]]", names.join("."))
}
