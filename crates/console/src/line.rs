//! Text in a caller's words that ends up in histories, listings and logs: one line that cannot pass for another.
//! Refuses; it mends nothing, because a changed reason would not be the caller's.

use paybell_core::line::disguises;

use crate::error::Error;
use crate::fields::Fields;

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 512;

/// Why a person does something: the field `reason` of the body; empty where there is none.
pub(crate) fn reason(fields: &Fields) -> Result<String, Error> {
    let text = fields.text("reason")?.unwrap_or_default();
    if text.chars().count() > REASON_CHARS_MAX || !is_one_line(text) {
        let rule = format!(
            "must be one line of at most {REASON_CHARS_MAX} characters, without control characters and without those \
             that turn the direction of writing"
        );
        return Err(Error::field("reason", rule));
    }
    Ok(text.to_owned())
}

/// Whether a terminal shows the text as what it is.
pub(crate) fn is_one_line(text: &str) -> bool {
    !text.chars().any(disguises)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_it_looks_like() {
        for fine in
            ["", "agreed by phone", "电话确认，金额无误。", "naïve – \u{1f514} 100 %", "{\"a\":\"b\"}"]
        {
            assert!(is_one_line(fine), "{fine}");
        }
        for hostile in [
            "two\nlines",
            "two\r\nlines",
            "\u{1b}[2K\u{1b}[1Ared",
            "a\tb",
            "\u{85}",
            "\u{2028}",
            "safe\u{202e}detpecca",
            "\u{2066}x\u{2069}",
            "zero\u{200b}width",
            "\u{feff}",
            "nul\0",
            "tag\u{e0041}",
        ] {
            assert!(!is_one_line(hostile), "{hostile:?}");
        }
    }

    #[test]
    fn a_reason_has_512_characters_at_most() {
        let of = |chars: usize| {
            let body = format!("{{\"reason\":\"{}\"}}", "因".repeat(chars));
            reason(&Fields::read(body.as_bytes(), &["reason"]).unwrap())
        };
        assert_eq!(of(512).unwrap().chars().count(), 512);
        assert!(of(513).unwrap_err().to_string().starts_with("reason: "));
    }
}
