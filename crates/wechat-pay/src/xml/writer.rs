//! Writes the flat XML of requests, answers and simulated notifications, every value in CDATA.
//!
//! Does not sign and does not choose fields; what it writes, [`super::Document`] reads back unchanged. The text goes
//! into a request's or an answer's body.

use super::{is_character, is_name};

/// A compact `<xml>…</xml>` with the fields in the given order.
///
/// A carriage return is written as a reference, since readers would turn it into a line feed. Characters that XML 1.0
/// cannot carry at all are written as U+FFFD, so a signature over them will not verify. Names must be XML names: they
/// are chosen by programs, never by users.
pub fn write(fields: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>) -> String {
    let mut text = String::with_capacity(1024);
    text.push_str("<xml>");
    for (name, value) in fields {
        let name = name.as_ref();
        debug_assert!(is_name(name), "{name:?} is no field name");
        text.push('<');
        text.push_str(name);
        text.push_str("><![CDATA[");
        push_value(&mut text, value.as_ref());
        text.push_str("]]></");
        text.push_str(name);
        text.push('>');
    }
    text.push_str("</xml>");
    text
}

fn push_value(text: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.find(|c: char| c == ']' || c == '\r' || !is_character(c)) {
        let (plain, special) = rest.split_at(at);
        text.push_str(plain);
        let mut characters = special.chars();
        match characters.next() {
            // The end mark is divided between two sections.
            Some(']') if special.starts_with("]]>") => text.push_str("]]]><![CDATA["),
            Some(']') => text.push(']'),
            Some('\r') => text.push_str("]]>&#13;<![CDATA["),
            _ => text.push('\u{fffd}'),
        }
        rest = characters.as_str();
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::super::Document;
    use super::*;

    #[test]
    fn writes_compact_cdata() {
        let text = write([("return_code", "SUCCESS"), ("return_msg", "OK")]);
        assert_eq!(
            text,
            "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>"
        );
    }

    #[test]
    fn awkward_values_come_back() {
        for value in
            ["", "]]>", "]]]]>>", "]]", "]", "a]]>b]]>", "\r\n\r", "]]\r>", "<&>'\"", " x ", "中😀", "&#13;"]
        {
            let text = write([("a", value)]);
            assert_eq!(Document::parse(text.as_bytes()).expect(&text).get("a"), Some(value), "{text}");
        }
    }

    #[test]
    fn what_xml_cannot_carry_is_replaced() {
        let text = write([("a", "x\0\u{1f}\u{fffe}y")]);
        assert_eq!(
            Document::parse(text.as_bytes()).expect(&text).get("a"),
            Some("x\u{fffd}\u{fffd}\u{fffd}y")
        );
    }
}
