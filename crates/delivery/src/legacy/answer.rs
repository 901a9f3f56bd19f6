//! The answers that WeChat takes: status 200 and an XML document whose `return_code` is `SUCCESS`, nothing else.
//!
//! A handler that answers something else is told again on the cadence, by us as by WeChat; each way of being wrong has
//! a name, so that its owner finds it in the attempts.

use wechat_pay::xml::{Document, XmlError};

use crate::transport::Answer;

/// Why an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("a redirect")]
    Redirect,
    #[error("not status 200")]
    Status,
    #[error("an empty answer")]
    Empty,
    #[error("the bare word success instead of XML")]
    BareSuccess,
    #[error("a web page instead of XML")]
    Html,
    #[error("JSON instead of XML")]
    Json,
    #[error("return_code FAIL")]
    Fail,
    #[error("XML without return_code SUCCESS")]
    NoReturnCode,
    #[error("an answer that did not end")]
    Unfinished,
    #[error("not the XML of API v2")]
    NotXml,
}

/// Whether the handler took the notification. Blanks around the document and its values, CDATA or not, a byte order
/// mark, an XML declaration, other fields: all that does not matter.
pub fn judge(answer: &Answer) -> Result<(), Refusal> {
    match answer.status {
        200 => {}
        300..=399 => return Err(Refusal::Redirect),
        _ => return Err(Refusal::Status),
    }
    if !answer.is_whole {
        return Err(Refusal::Unfinished);
    }
    let text = String::from_utf8_lossy(&answer.body);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    match Document::parse(text.as_bytes()) {
        Ok(document) => match document.get("return_code").map(str::trim) {
            Some("SUCCESS") => Ok(()),
            Some("FAIL") => Err(Refusal::Fail),
            _ => Err(Refusal::NoReturnCode),
        },
        Err(error) => Err(explain(text, error)),
    }
}

fn explain(text: &str, error: XmlError) -> Refusal {
    let lower: String = text.chars().take(64).collect::<String>().to_lowercase();
    if text.is_empty() {
        Refusal::Empty
    } else if error == XmlError::Json {
        Refusal::Json
    } else if ["success", "ok", "\"success\"", "true"].contains(&lower.trim_end_matches(['.', '!'])) {
        Refusal::BareSuccess
    } else if lower.starts_with("<!doctype html") || lower.starts_with("<html") {
        Refusal::Html
    } else {
        Refusal::NotXml
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;

    proptest! {
        /// A stranger's bytes never end in more than a refusal.
        #[test]
        fn nothing_but_the_words_of_success_is_taken(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let is_success = String::from_utf8_lossy(&body).contains("SUCCESS");
            let answer = Answer { status: 200, retry_after: None, body: body.into(), is_whole: true };
            prop_assert!(judge(&answer).is_err() || is_success);
        }
    }

    fn judged(status: u16, body: &str) -> Result<(), Refusal> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        judge(&Answer { status, retry_after: None, body, is_whole: true })
    }

    const SUCCESS: &str = "<xml><return_code><![CDATA[SUCCESS]]></return_code>\
                           <return_msg><![CDATA[OK]]></return_msg></xml>";

    #[test]
    fn every_way_of_saying_success_in_xml_counts() {
        for body in [
            SUCCESS,
            "<xml><return_code>SUCCESS</return_code></xml>",
            "<xml>\n  <return_code><![CDATA[SUCCESS]]></return_code>\n  <return_msg></return_msg>\n</xml>\n",
            " \r\n<xml><return_code> SUCCESS </return_code></xml> ",
            "<xml><return_code>\n<![CDATA[SUCCESS]]>\n</return_code></xml>",
            "\u{feff}<xml><return_code>SUCCESS</return_code></xml>",
            "\u{feff}\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml><return_code>SUCCESS</return_code></xml>",
            "<xml><a>1</a><return_code>SUCCESS</return_code><sign>X</sign></xml>",
        ] {
            assert_eq!(judged(200, body), Ok(()), "{body}");
        }
    }

    #[test]
    fn every_other_answer_has_its_name() {
        let table = [
            (200, "", Refusal::Empty),
            (200, " \r\n\u{feff}", Refusal::Empty),
            (200, "success", Refusal::BareSuccess),
            (200, " SUCCESS\n", Refusal::BareSuccess),
            (200, "ok", Refusal::BareSuccess),
            (200, "<!DOCTYPE html><html><body>SUCCESS</body></html>", Refusal::Html),
            (200, "<HTML><head></head></HTML>", Refusal::Html),
            (200, "{\"code\":\"SUCCESS\",\"message\":\"\"}", Refusal::Json),
            (200, "<xml><return_code>FAIL</return_code><return_msg>db</return_msg></xml>", Refusal::Fail),
            (200, "<xml><return_code>success</return_code></xml>", Refusal::NoReturnCode),
            (200, "<xml><result_code>SUCCESS</result_code></xml>", Refusal::NoReturnCode),
            (200, "<xml><return_code>SUCCESS</return_code></xml>ok", Refusal::NotXml),
            (200, "Warning: mysqli <xml><return_code>SUCCESS</return_code></xml>", Refusal::NotXml),
            (200, "<root><return_code>SUCCESS</return_code></root>", Refusal::NotXml),
            (201, SUCCESS, Refusal::Status),
            (204, "", Refusal::Status),
            (404, SUCCESS, Refusal::Status),
            (410, SUCCESS, Refusal::Status),
            (302, SUCCESS, Refusal::Redirect),
        ];
        for (status, body, refusal) in table {
            assert_eq!(judged(status, body), Err(refusal), "{status} {body}");
        }
        let body = Bytes::from_static(SUCCESS.as_bytes());
        let cut = Answer { status: 200, retry_after: None, body, is_whole: false };
        assert_eq!(judge(&cut), Err(Refusal::Unfinished));
    }
}
