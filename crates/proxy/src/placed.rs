//! The order that a request places, if the merchant's key signed the request. Believes nothing else, stores nothing;
//! the order goes to the registrar.

use std::time::Duration;

use paybell_core::register::Application;
use paybell_core::time::Millis;
use paybell_core::{AppId, Currency, Fen, MchId, OrderKey, Timestamp};
use wechat_pay::beijing;
use wechat_pay::fields;
use wechat_pay::sign::{self, Algorithm, ApiKey, SignError};
use wechat_pay::xml::Document;

use crate::merchants::{Merchant, Merchants};

/// From the end of the time to pay to the last look. `time_expire` only stops new attempts: a payer who began just
/// before it may still be at the bank's page, and WeChat's answers lag behind a payment by seconds.
const EXPIRY_GRACE: Millis = Millis::seconds(15 * 60);
/// WeChat asks not to query orders that are older than a month.
const EXPIRY_AHEAD_MAX: Millis = Millis::seconds(30 * 24 * 3600);

/// What a verified request says about the order it places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) key: OrderKey,
    total_fee: Fen,
    fee_type: Currency,
    pub(crate) appid: AppId,
    sub_mch_id: Option<MchId>,
    time_expire: Option<Timestamp>,
}

/// A request whose signature fits, and by whose key.
#[derive(Debug)]
pub(crate) struct Verified<'m> {
    pub(crate) placed: Placed,
    pub(crate) merchant: &'m Merchant,
    /// The key's place among the merchant's.
    pub(crate) key_index: usize,
}

/// Why a request registers nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unverified<'m> {
    pub(crate) reason: &'static str,
    /// Only if it is one of ours: other numbers are a stranger's text.
    pub(crate) mch_id: Option<&'m str>,
}

/// Reads and verifies in the order parse → merchant → sign → sub merchant → fields.
pub(crate) fn read<'m>(body: &[u8], merchants: &'m Merchants) -> Result<Verified<'m>, Unverified<'m>> {
    let document =
        Document::parse(body).map_err(|error| Unverified { reason: error.reason(), mch_id: None })?;
    let merchant = document
        .get("mch_id")
        .and_then(|mch_id| merchants.find(mch_id))
        .ok_or(Unverified { reason: "unknown_merchant", mch_id: None })?;
    let refused = |reason| Unverified { reason, mch_id: Some(merchant.mch_id.as_str()) };
    let key_index = verify(&document, &merchant.keys).map_err(|error| refused(error.reason()))?;
    let is_listed = |id: &str| merchant.sub_mch_ids.iter().any(|listed| listed == id);
    if !merchant.sub_mch_ids.is_empty() && !filled(&document, "sub_mch_id").is_some_and(is_listed) {
        return Err(refused("wrong_sub_mch_id"));
    }
    let placed = placed(&document).ok_or(refused("invalid_field"))?;
    Ok(Verified { placed, merchant, key_index })
}

impl Placed {
    /// Whether the facts cannot be told without the ledger's clock.
    pub(crate) fn needs_clock(&self) -> bool {
        self.time_expire.is_some()
    }

    /// What to register. `now` is the ledger's clock if it was asked, `waited` how long ago the request came if this
    /// is a later attempt.
    ///
    /// The order was created when its request came, and the first attempt leaves that to the ledger: the document's
    /// `time_start` is the word of another machine's clock, and an SDK that repeats a call writes a new one. Of
    /// `time_expire` the polls need no more than the end: absent means the whole cadence, although a `prepay_id` lives
    /// for 2 h, because the order lives on and may be paid by a fresh one.
    pub(crate) fn application(&self, now: Option<Timestamp>, waited: Option<Duration>) -> Application {
        let ago = waited.map(|waited| Millis(i64::try_from(waited.as_millis()).unwrap_or(i64::MAX)));
        Application {
            total_fee: self.total_fee,
            fee_type: Some(self.fee_type.clone()),
            appid: Some(self.appid.clone()),
            sub_mch_id: self.sub_mch_id.clone(),
            created_at: now.zip(ago).map(|(now, ago)| now - ago),
            expires_at: now.zip(self.time_expire).and_then(|(now, expire)| last_look(expire, now)),
            business_no: None,
        }
    }
}

/// The `expires_at` of an order that cannot be paid after `expire`. None if that is over already: WeChat refuses such
/// an order unless the shop's time zone is wrong, and then the time says nothing.
fn last_look(expire: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (expire > now).then(|| (expire + EXPIRY_GRACE).min(now + EXPIRY_AHEAD_MAX))
}

/// Unlike a notification, a request without `sign_type` is MD5 by definition.
fn verify(document: &Document<'_>, keys: &[ApiKey]) -> Result<usize, SignError> {
    let algorithm = match filled(document, "sign_type") {
        None => Algorithm::Md5,
        Some(text) => text.parse()?,
    };
    let keys: Vec<&ApiKey> = keys.iter().collect();
    sign::verify_any(document, &keys, algorithm)
}

fn placed(document: &Document<'_>) -> Option<Placed> {
    let total_fee = filled(document, "total_fee").and_then(fields::fen)?;
    let sub_mch_id = match filled(document, "sub_mch_id") {
        Some(id) => Some(MchId::new(id).ok()?),
        None => None,
    };
    Some(Placed {
        key: OrderKey::new(filled(document, "mch_id")?, filled(document, "out_trade_no")?).ok()?,
        total_fee: Fen::new(total_fee).ok()?,
        fee_type: Currency::new(filled(document, "fee_type").unwrap_or(fields::FEE_TYPE_DEFAULT)).ok()?,
        appid: AppId::new(filled(document, "appid")?).ok()?,
        sub_mch_id,
        time_expire: filled(document, "time_expire")
            .and_then(beijing::parse_compact)
            .map(Timestamp::from_millis),
    })
}

/// A field's value unless it is absent or empty, which the signature does not tell apart.
fn filled<'d>(document: &'d Document<'_>, name: &str) -> Option<&'d str> {
    document.get(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
#[path = "placed_tests.rs"]
mod tests;
