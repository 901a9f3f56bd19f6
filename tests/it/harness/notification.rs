//! A payment notification as WeChat writes one.

use std::collections::BTreeMap;

use wechat_pay::{
    sign::{self, Algorithm, ApiKey},
    xml,
};

use super::{APP, KEY, MCH, wechat};

/// Fields to be changed before they are signed.
#[derive(Clone)]
pub struct Notification(BTreeMap<String, String>);

impl Notification {
    /// Says that an order is paid.
    pub fn of(out_trade_no: &str, total_fee: i64) -> Self {
        let common = [
            ("return_code", "SUCCESS"),
            ("result_code", "SUCCESS"),
            ("appid", APP),
            ("mch_id", MCH),
            ("nonce_str", "5d2b6c2a8db53831f7eda20af46e531c"),
        ];
        let fields = common.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let payment = wechat::payment(out_trade_no, total_fee);
        let payment = payment.into_iter().filter(|(name, _)| name != "trade_state");
        Self(fields.chain(payment).collect())
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn signed(&self) -> String {
        self.signed_by(KEY, Algorithm::Md5)
    }

    pub fn signed_by(&self, key: &str, algorithm: Algorithm) -> String {
        let key = ApiKey::new(key).unwrap();
        let pairs = || self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let sign = sign::sign(pairs(), &key, algorithm);
        xml::write(pairs().chain([("sign", sign.as_str())]))
    }

    pub fn unsigned(&self) -> String {
        xml::write(self.0.iter())
    }
}
