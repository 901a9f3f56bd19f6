//! From an event to the v2 notification that an old handler expects. Only what WeChat said in its verified answer.

use paybell_core::Payment;
use paybell_core::event::Event;
use paybell_core::observation::Openid;
use wechat_pay::notification::write::{self, Coupon, Details, WriteError};
use wechat_pay::query::OpenId;
use wechat_pay::request::Signer;
use wechat_pay::sign::{Algorithm, ApiKey};

/// With what a merchant's notifications are signed: its current key, and the algorithm that its orders use.
#[derive(Debug, Clone)]
pub struct MerchantKey {
    pub key: ApiKey,
    pub algorithm: Algorithm,
}

/// Who paid: from the event or, where events leave it out, from the record's payment if it is the same one.
pub(crate) fn payer<'p>(event: &'p Event, stored: Option<&'p Payment>) -> Option<&'p Openid> {
    let data = event.order()?;
    let stored = stored.filter(|payment| payment.transaction_id == data.transaction_id);
    data.openid.as_ref().or_else(|| stored.and_then(|payment| payment.openid.as_ref()))
}

/// The signed document of an `order.paid`.
pub fn notification(
    event: &Event,
    payer: Option<&Openid>,
    merchant: &MerchantKey,
    nonce: &str,
) -> Result<String, WriteError> {
    let missing = |name: &str| WriteError::Field(name.to_owned());
    let data = event.order().ok_or_else(|| missing("out_trade_no"))?;
    let openid = payer.map(|payer| OpenId::from(payer.0.clone()));
    let payment = write::Payment {
        appid: data.appid.as_ref().ok_or_else(|| missing("appid"))?.as_str(),
        out_trade_no: data.out_trade_no.as_str(),
        transaction_id: data.transaction_id.as_ref().ok_or_else(|| missing("transaction_id"))?.as_str(),
        total_fee: data.total_fee.ok_or_else(|| missing("total_fee"))?.get(),
        time_end_ms: data.paid_at.ok_or_else(|| missing("time_end"))?.millis(),
        fee_type: data.fee_type.as_ref().ok_or_else(|| missing("fee_type"))?.as_str(),
        details: Details {
            sub_mch_id: data.sub_mch_id.as_ref().map(|id| id.as_str()),
            openid: openid.as_ref(),
            trade_type: data.trade_type.as_deref(),
            bank_type: data.bank_type.as_deref(),
            cash_fee: data.cash_fee.map(|fee| fee.get()),
            settlement_total_fee: data.settlement_total_fee.map(|fee| fee.get()),
            coupon_fee: data.coupon_fee.map(|fee| fee.get()),
            coupons: data
                .coupons
                .iter()
                .map(|coupon| Coupon { id: &coupon.id, kind: coupon.kind.as_deref(), fee: coupon.fee.get() })
                .collect(),
            attach: data.attach.as_deref(),
        },
    };
    let signer = Signer { mch_id: data.mch_id.as_str(), key: &merchant.key, algorithm: merchant.algorithm };
    write::write(&payment, signer, nonce)
}
