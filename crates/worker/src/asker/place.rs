//! Placing, over the accounts, rates and alarms that every other call goes over.
//!
//! Says what became of the call, not what to make of it: the cashier tells the shop. An outcome that is not known stays
//! unknown.

use async_trait::async_trait;
use paybell_core::MchId;
use tokio::time::Instant;
use wechat_pay::check::InvalidRequest;
use wechat_pay::client::{CallError, Cause, Priority, RequestError};
use wechat_pay::sign::{Algorithm, ApiKey};
use wechat_pay::unified_order::{UnifiedOrder, UnifiedOrderAnswer};

use super::{Asker, Failed};
use crate::wechat::Wechat;

/// What became of a unifiedorder.
#[derive(Debug)]
pub enum PlaceAsked {
    /// Authentic; it may be an error.
    Answered(Box<UnifiedOrderAnswer>),
    /// Nothing was sent: WeChat would not take it.
    Invalid(InvalidRequest),
    /// Nothing was sent: the merchant is not configured.
    UnknownMerchant,
    /// Nothing was sent: the merchant's rate left no place in time.
    NoSlot,
    /// WeChat and we have different keys, and so it takes none of our requests; or something between us changes answers.
    KeysRefused,
    /// `return_code=FAIL` without a signature, and what it says. It proves nothing.
    RefusedUnsigned(String),
    /// It may have been taken; a word why that is not known.
    Unknown(&'static str),
}

/// WeChat, to who places orders.
#[async_trait]
pub trait Placer: Wechat {
    /// unifiedorder, before all cadence polls.
    async fn place(&self, mch_id: &MchId, order: &UnifiedOrder) -> PlaceAsked;
    /// What the payer's device signs with; `None` while nobody knows which of two keys WeChat has.
    fn device_key(&self, mch_id: &MchId) -> Option<(ApiKey, Algorithm)>;
}

#[async_trait]
impl Placer for Asker {
    async fn place(&self, mch_id: &MchId, order: &UnifiedOrder) -> PlaceAsked {
        let Some(account) = self.accounts.load().get(mch_id.as_str()).cloned() else {
            return PlaceAsked::UnknownMerchant;
        };
        if account.is_in_alarm(Instant::now()) {
            return PlaceAsked::KeysRefused;
        }
        let begun = Instant::now();
        let outcome = match self.client.unified_order(&account.account, order, Priority::Urgent).await {
            Err(RequestError::Invalid(invalid)) => return PlaceAsked::Invalid(invalid),
            // No order needs a certificate.
            Err(RequestError::NoCertificate) => return PlaceAsked::Unknown("no_certificate"),
            Err(RequestError::Call(error)) => Err(error),
            Ok(answer) => Ok(answer),
        };
        let told = outcome.as_ref().err().map(not_answered);
        match self.finished(&account, begun, outcome) {
            Ok(answer) => PlaceAsked::Answered(Box::new(answer)),
            Err(Failed::NoSlot) => PlaceAsked::NoSlot,
            Err(Failed::Answer(_)) => told.unwrap_or(PlaceAsked::Unknown("no_answer")),
        }
    }

    fn device_key(&self, mch_id: &MchId) -> Option<(ApiKey, Algorithm)> {
        let account = self.accounts.load().get(mch_id.as_str()).cloned()?;
        let key = account.account.keys().certain()?;
        Some((key.clone(), account.account.algorithm()))
    }
}

fn not_answered(error: &CallError) -> PlaceAsked {
    match error {
        CallError::NoSlot => PlaceAsked::NoSlot,
        CallError::KeyRefused(_) => PlaceAsked::KeysRefused,
        CallError::Transient(Cause::UnsignedFail { return_msg }) => {
            PlaceAsked::RefusedUnsigned(return_msg.clone())
        }
        CallError::Transient(cause) => PlaceAsked::Unknown(cause.reason()),
    }
}
