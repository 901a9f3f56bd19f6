//! What WeChat's answer to a question about an order that cannot exist says of key, merchant and app. Pure.
//!
//! Only a signed answer proves anything; the texts of unsigned ones are read as far as they go, because in practice
//! they are all that a wrong key or merchant number gets.

use wechat_pay::answer::AnswerError;
use wechat_pay::error_code::{ErrCode, ErrorClass};
use wechat_pay::query::{OrderQueryAnswer, OrderQueryResult};
use wechat_pay::sign::{Algorithm, ApiKey};

use crate::net::Answer;

/// What was learned. The texts are WeChat's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The order is unknown, and the answer is signed with our key: everything is right.
    Known,
    SignRefused(String),
    AppUnknown(String),
    AppNotBound(String),
    MerchantUnknown(String),
    SubMerchant(String),
    NotAllowed(String),
    /// Says nothing this time.
    Busy(String),
    /// An answer that our key did not sign.
    BadlySigned,
    /// No document of API v2.
    NotWeChat(String),
    Other(String),
}

/// A verdict, and whether our key signed the answer that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub verdict: Verdict,
    is_signed: bool,
}

impl Judged {
    pub fn of(answer: &Answer, key: &ApiKey, algorithm: Algorithm) -> Self {
        match OrderQueryAnswer::parse(&answer.body, key, algorithm) {
            Ok(verified) if answer.status == 200 => {
                let verdict = match &verified.result {
                    OrderQueryResult::Trade { .. } => Verdict::Known,
                    OrderQueryResult::Error { code, description } => of_code(code, description.as_deref()),
                };
                Self { verdict, is_signed: true }
            }
            parsed => Self { verdict: Verdict::of_unsigned(answer, parsed.err()), is_signed: false },
        }
    }

    /// Nothing was learned.
    pub fn nothing(cause: String) -> Self {
        Self { verdict: Verdict::NotWeChat(cause), is_signed: false }
    }

    /// WeChat found our signature good and signed its answer with the same key, whatever else it says.
    pub fn proves_the_key(&self) -> bool {
        self.is_signed && !matches!(self.verdict, Verdict::SignRefused(_))
    }
}

impl Verdict {
    fn of_unsigned(answer: &Answer, error: Option<AnswerError>) -> Self {
        let Some(error) = error.filter(|_| answer.status == 200) else {
            return Self::NotWeChat(format!("HTTP {}: {}", answer.status, answer.excerpt()));
        };
        match error {
            AnswerError::UnsignedFail { return_msg } => of_text(return_msg),
            AnswerError::BadSignature(_) => Self::BadlySigned,
            AnswerError::NotXml(_) => Self::NotWeChat(answer.excerpt()),
            error @ AnswerError::MalformedAnswer(_) => Self::Other(error.to_string()),
        }
    }
}

fn of_code(code: &ErrCode, description: Option<&str>) -> Verdict {
    let text = match description {
        Some(description) => format!("{code}: {description}"),
        None => code.to_string(),
    };
    match code {
        ErrCode::OrderNotExist => Verdict::Known,
        ErrCode::SignError => Verdict::SignRefused(text),
        ErrCode::AppidNotExist => Verdict::AppUnknown(text),
        ErrCode::AppidMchidNotMatch => Verdict::AppNotBound(text),
        ErrCode::MchidNotExist if mentions(&text, &["子商户", "特约", "sub_mch", "受理关系"]) => {
            Verdict::SubMerchant(text)
        }
        ErrCode::MchidNotExist => Verdict::MerchantUnknown(text),
        ErrCode::NoAuth => Verdict::NotAllowed(text),
        code if code.class() == ErrorClass::Transient => Verdict::Busy(text),
        ErrCode::ParamError | ErrCode::LackParams if mentions(&text, &["sub_mch"]) => {
            Verdict::SubMerchant(text)
        }
        _ => Verdict::Other(text),
    }
}

fn of_text(text: String) -> Verdict {
    if mentions(&text, &["签名", "sign", "密钥"]) {
        Verdict::SignRefused(text)
    } else if mentions(&text, &["频率", "频繁", "繁忙", "frequen", "limit", "systemerror"]) {
        Verdict::Busy(text)
    } else if mentions(&text, &["受理关系", "特约商户", "子商户"]) {
        Verdict::SubMerchant(text)
    } else if mentions(&text, &["不匹配", "not match", "notmatch"]) {
        Verdict::AppNotBound(text)
    } else if mentions(&text, &["mch_id", "mchid", "商户号"]) {
        Verdict::MerchantUnknown(text)
    } else if mentions(&text, &["appid"]) {
        Verdict::AppUnknown(text)
    } else {
        Verdict::Other(text)
    }
}

fn mentions(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::HeaderMap;
    use wechat_pay::{sign, xml};

    use super::*;

    const KEY: &str = "192006250b4c09247ec02edce69f6a2d";

    fn judgement(answer: &Answer) -> Judged {
        Judged::of(answer, &ApiKey::new(KEY).unwrap(), Algorithm::Md5)
    }

    fn judged(status: u16, body: String) -> Verdict {
        let answer = Answer { status, headers: HeaderMap::new(), body: body.into(), took: Duration::ZERO };
        judgement(&answer).verdict
    }

    fn signed(code: &str, description: &str, key: &str) -> String {
        let fields = [
            ("return_code", "SUCCESS"),
            ("appid", "wx1"),
            ("mch_id", "1"),
            ("result_code", "FAIL"),
            ("err_code", code),
            ("err_code_des", description),
        ];
        let sign = sign::sign(fields, &ApiKey::new(key).unwrap(), Algorithm::Md5);
        xml::write(fields.into_iter().chain([("sign", sign.as_str())]))
    }

    fn of_signed(code: &str, description: &str) -> Verdict {
        judged(200, signed(code, description, KEY))
    }

    fn of_unsigned(text: &str) -> Verdict {
        judged(200, xml::write([("return_code", "FAIL"), ("return_msg", text)]))
    }

    #[test]
    fn a_signed_answer_about_the_order_proves_everything() {
        assert_eq!(of_signed("ORDERNOTEXIST", "order not exist"), Verdict::Known);
        assert_eq!(judged(200, signed("ORDERNOTEXIST", "", &"f".repeat(32))), Verdict::BadlySigned);
    }

    #[test]
    fn each_refusal_is_named_by_its_cause() {
        let text = |code: &str, des: &str| format!("{code}: {des}");
        assert_eq!(of_signed("SIGNERROR", "签名错误"), Verdict::SignRefused(text("SIGNERROR", "签名错误")));
        assert!(matches!(of_signed("APPID_NOT_EXIST", "x"), Verdict::AppUnknown(_)));
        assert!(matches!(of_signed("MCHID_NOT_EXIST", "x"), Verdict::MerchantUnknown(_)));
        assert!(matches!(
            of_signed("MCHID_NOT_EXIST", "子商户号与服务商无受理关系"),
            Verdict::SubMerchant(_)
        ));
        assert!(matches!(of_signed("APPID_MCHID_NOT_MATCH", "x"), Verdict::AppNotBound(_)));
        assert!(matches!(of_signed("NOAUTH", "商户无此接口权限"), Verdict::NotAllowed(_)));
        assert!(matches!(of_signed("SYSTEMERROR", "x"), Verdict::Busy(_)));
        assert!(matches!(of_signed("LACK_PARAMS", "sub_mch_id"), Verdict::SubMerchant(_)));
        assert!(matches!(of_signed("XML_FORMAT_ERROR", "x"), Verdict::Other(_)));
    }

    #[test]
    fn unsigned_texts_are_read_as_far_as_they_go() {
        for (text, expected) in [
            ("签名错误", "sign"),
            ("sign error", "sign"),
            ("频率限制", "busy"),
            ("系统繁忙，请稍后再试", "busy"),
            ("appid和mch_id不匹配", "bound"),
            ("商户号mch_id或sub_mch_id不存在", "merchant"),
            ("mch_id参数格式错误", "merchant"),
            ("appid不存在", "app"),
            ("子商户号与服务商无受理关系", "sub"),
            ("XML格式错误", "other"),
        ] {
            let word = match of_unsigned(text) {
                Verdict::SignRefused(_) => "sign",
                Verdict::Busy(_) => "busy",
                Verdict::AppNotBound(_) => "bound",
                Verdict::MerchantUnknown(_) => "merchant",
                Verdict::AppUnknown(_) => "app",
                Verdict::SubMerchant(_) => "sub",
                _ => "other",
            };
            assert_eq!(word, expected, "{text}");
        }
    }

    #[test]
    fn only_a_signed_answer_proves_the_key() {
        let proves = |body: String| {
            let (headers, took) = (HeaderMap::new(), Duration::ZERO);
            judgement(&Answer { status: 200, headers, body: body.into(), took }).proves_the_key()
        };
        assert!(proves(signed("ORDERNOTEXIST", "", KEY)));
        assert!(proves(signed("APPID_MCHID_NOT_MATCH", "", KEY)));
        assert!(!proves(signed("SIGNERROR", "", KEY)));
        assert!(!proves(signed("ORDERNOTEXIST", "", &"f".repeat(32))));
        assert!(!proves(xml::write([("return_code", "FAIL"), ("return_msg", "appid和mch_id不匹配")])));
    }

    #[test]
    fn pages_and_json_are_not_wechat() {
        assert!(matches!(judged(502, "<html>".to_owned()), Verdict::NotWeChat(what) if what.contains("502")));
        assert!(matches!(judged(200, "{\"code\":\"SIGN_ERROR\"}".to_owned()), Verdict::NotWeChat(_)));
    }
}
