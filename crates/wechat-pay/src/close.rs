//! Close an unpaid order (关单, `/pay/closeorder`), not earlier than five minutes after it was placed.
//!
//! Does not know when that was. `ORDERPAID` in the answer means that the payer was faster: the caller queries.

use crate::answer::{self, AnswerError, Opened, Verified};
use crate::error_code::ErrCode;
use crate::request::{self, OrderRef, Signer};
use crate::sign::{Algorithm, ApiKey};

/// The path under a base URL.
pub const PATH: &str = "/pay/closeorder";

/// The signed request. `nonce` is at most 32 letters and digits, new for every request.
#[must_use]
pub fn request_body(order: &OrderRef, signer: Signer<'_>, nonce: &str) -> String {
    request::write(order, signer, nonce)
}

/// A verified answer. It does not name the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseAnswer {
    pub appid: String,
    pub mch_id: String,
    pub sub_mch_id: Option<String>,
    pub result: CloseResult,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseResult {
    Closed,
    /// `result_code=FAIL`, signed; look at the code's class before calling it a failure.
    Error {
        code: ErrCode,
        description: Option<String>,
    },
}

impl CloseAnswer {
    /// Verifies and reads an answer; key and algorithm are those of the request.
    pub fn parse(body: &[u8], key: &ApiKey, algorithm: Algorithm) -> Result<Verified<Self>, AnswerError> {
        answer::verified(body, key, algorithm, |opened| {
            let Opened { appid, mch_id, sub_mch_id, error, .. } = opened;
            let result = match error {
                Some(error) => CloseResult::Error { code: error.code, description: error.description },
                None => CloseResult::Closed,
            };
            Ok(Self { appid, mch_id, sub_mch_id, result })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_code::ErrorClass;

    #[test]
    fn closed_or_why_not() {
        let key = ApiKey::new("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").unwrap();
        let parse = |result: &[(&str, &str)]| {
            let mut fields = vec![("return_code", "SUCCESS"), ("appid", "wx1"), ("mch_id", "1900000109")];
            fields.extend(result);
            let sign = crate::sign::sign(fields.iter().copied(), &key, Algorithm::HmacSha256);
            fields.push(("sign", &sign));
            let body = crate::xml::write(fields);
            CloseAnswer::parse(body.as_bytes(), &key, Algorithm::HmacSha256).unwrap().into_inner().result
        };
        assert_eq!(parse(&[("result_code", "SUCCESS"), ("result_msg", "OK")]), CloseResult::Closed);
        let CloseResult::Error { code, .. } = parse(&[("result_code", "FAIL"), ("err_code", "ORDERPAID")])
        else {
            panic!("closed");
        };
        assert_eq!(code.class(), ErrorClass::Paid);
    }
}
