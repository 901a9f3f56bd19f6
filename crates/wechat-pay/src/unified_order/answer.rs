//! The verified answer to a placed order.
//!
//! It names neither the number nor the amount: only the exchange itself ties it to its order. `ORDERPAID` means that
//! the order is to be queried, not placed again.

use crate::answer::{self, AnswerError, Opened, Verified, required};
use crate::error_code::ErrCode;
use crate::fields::filled;
use crate::sign::{Algorithm, ApiKey};
use crate::xml::Document;

/// A verified answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnifiedOrderAnswer {
    pub appid: String,
    pub mch_id: String,
    pub sub_mch_id: Option<String>,
    pub result: UnifiedOrderResult,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnifiedOrderResult {
    Placed(PlacedOrder),
    /// `result_code=FAIL`, signed; look at the code's class before calling it a failure.
    Error {
        code: ErrCode,
        description: Option<String>,
    },
}

/// What the payer needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedOrder {
    pub trade_type: String,
    /// Lives for two hours.
    pub prepay_id: String,
    /// There for `NATIVE`; to be shown as a QR code, as it is.
    pub code_url: Option<String>,
    /// There for `MWEB`; lives for five minutes.
    pub mweb_url: Option<String>,
}

/// How long a `prepay_id` and a `code_url` live, in milliseconds.
pub const PREPAY_LIFE_MS: i64 = 2 * 3600 * 1000;
/// How long an `mweb_url` lives, in milliseconds.
pub const MWEB_LIFE_MS: i64 = 5 * 60 * 1000;

impl UnifiedOrderAnswer {
    /// Verifies and reads an answer; key and algorithm are those of the request.
    pub fn parse(body: &[u8], key: &ApiKey, algorithm: Algorithm) -> Result<Verified<Self>, AnswerError> {
        answer::verified(body, key, algorithm, |opened| {
            let Opened { document, appid, mch_id, sub_mch_id, error } = opened;
            let result = match error {
                Some(error) => UnifiedOrderResult::Error { code: error.code, description: error.description },
                None => UnifiedOrderResult::Placed(PlacedOrder::read(&document)?),
            };
            Ok(Self { appid, mch_id, sub_mch_id, result })
        })
    }
}

impl PlacedOrder {
    fn read(document: &Document<'_>) -> Result<Self, AnswerError> {
        let placed = Self {
            trade_type: required(document, "trade_type")?.to_owned(),
            prepay_id: required(document, "prepay_id")?.to_owned(),
            code_url: filled(document, "code_url").map(str::to_owned),
            mweb_url: filled(document, "mweb_url").map(str::to_owned),
        };
        match placed.trade_type.as_str() {
            "NATIVE" if placed.code_url.is_none() => Err(AnswerError::MalformedAnswer("code_url")),
            "MWEB" if placed.mweb_url.is_none() => Err(AnswerError::MalformedAnswer("mweb_url")),
            _ => Ok(placed),
        }
    }
}
