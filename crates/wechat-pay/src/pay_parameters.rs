//! What the payer's device gets to open WeChat's payment, signed with the merchant's key.
//!
//! The JSSDK's `chooseWXPay` spells `timestamp` what is signed as `timeStamp`: both shapes come from one signature here.
//! That the device reports success proves nothing; only a query does. Reads no clock and keeps no `prepay_id`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::sign::{self, Algorithm, ApiKey};

/// All but the unreserved characters of RFC 3986, which every reader of addresses takes alike.
const IN_A_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What is signed for a device, and how.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSigner<'s> {
    pub key: &'s ApiKey,
    /// The algorithm that the order was placed with.
    pub algorithm: Algorithm,
    /// Unix seconds.
    pub timestamp_s: i64,
    /// At most 32 letters and digits, new every time.
    pub nonce: &'s str,
}

/// For a page in WeChat or a mini program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsapiParameters {
    pub app_id: String,
    /// Unix seconds, as text: a number makes iOS refuse the call.
    pub time_stamp: String,
    pub nonce_str: String,
    /// `prepay_id=` and the prepay_id.
    pub package: String,
    pub sign_type: &'static str,
    pub pay_sign: String,
}

/// For an app that uses the open platform's SDK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppParameters {
    pub appid: String,
    pub partner_id: String,
    pub prepay_id: String,
    pub nonce_str: String,
    pub timestamp: String,
    pub sign: String,
}

const APP_PACKAGE: &str = "Sign=WXPay";

impl JsapiParameters {
    /// `appid` is [`crate::unified_order::UnifiedOrder::device_appid`].
    #[must_use]
    pub fn new(appid: &str, prepay_id: &str, signer: DeviceSigner<'_>) -> Self {
        let time_stamp = signer.timestamp_s.to_string();
        let package = format!("prepay_id={prepay_id}");
        let sign_type = signer.algorithm.as_str();
        let fields = [
            ("appId", appid),
            ("timeStamp", time_stamp.as_str()),
            ("nonceStr", signer.nonce),
            ("package", package.as_str()),
            ("signType", sign_type),
        ];
        let pay_sign = sign::sign(fields, signer.key, signer.algorithm);
        let (app_id, nonce_str) = (appid.to_owned(), signer.nonce.to_owned());
        Self { app_id, time_stamp, nonce_str, package, sign_type, pay_sign }
    }

    /// For `WeixinJSBridge.invoke("getBrandWCPayRequest", …)`.
    #[must_use]
    pub fn bridge(&self) -> [(&'static str, &str); 6] {
        let [time_stamp, nonce_str, package, sign_type, pay_sign] = self.mini_program();
        [("appId", &self.app_id), time_stamp, nonce_str, package, sign_type, pay_sign]
    }

    /// For `wx.requestPayment`, where the app is known although its name is signed.
    #[must_use]
    pub fn mini_program(&self) -> [(&'static str, &str); 5] {
        [
            ("timeStamp", &self.time_stamp),
            ("nonceStr", &self.nonce_str),
            ("package", &self.package),
            ("signType", self.sign_type),
            ("paySign", &self.pay_sign),
        ]
    }

    /// For the JSSDK's `wx.chooseWXPay`: the same values, but a small `s` in `timestamp`.
    #[must_use]
    pub fn jssdk(&self) -> [(&'static str, &str); 5] {
        let [(_, time_stamp), nonce_str, package, sign_type, pay_sign] = self.mini_program();
        [("timestamp", time_stamp), nonce_str, package, sign_type, pay_sign]
    }
}

impl AppParameters {
    /// `appid` and `partner_id` are [`crate::unified_order::UnifiedOrder::device_appid`] and `device_partner`.
    #[must_use]
    pub fn new(appid: &str, partner_id: &str, prepay_id: &str, signer: DeviceSigner<'_>) -> Self {
        let timestamp = signer.timestamp_s.to_string();
        let fields = [
            ("appid", appid),
            ("partnerid", partner_id),
            ("prepayid", prepay_id),
            ("package", APP_PACKAGE),
            ("noncestr", signer.nonce),
            ("timestamp", timestamp.as_str()),
        ];
        let sign = sign::sign(fields, signer.key, signer.algorithm);
        Self {
            appid: appid.to_owned(),
            partner_id: partner_id.to_owned(),
            prepay_id: prepay_id.to_owned(),
            nonce_str: signer.nonce.to_owned(),
            timestamp,
            sign,
        }
    }

    /// As the SDK's `PayReq` wants them.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, &str); 7] {
        [
            ("appid", &self.appid),
            ("partnerid", &self.partner_id),
            ("prepayid", &self.prepay_id),
            ("package", APP_PACKAGE),
            ("noncestr", &self.nonce_str),
            ("timestamp", &self.timestamp),
            ("sign", &self.sign),
        ]
    }
}

/// An `mweb_url` with the way back. The return says nothing about payment.
#[must_use]
pub fn mweb_url_with_redirect(mweb_url: &str, redirect_url: &str) -> String {
    let mark = if mweb_url.contains('?') { '&' } else { '?' };
    format!("{mweb_url}{mark}redirect_url={}", in_a_query(redirect_url))
}

/// The content of a static QR code of native mode 1 (扫码支付模式一).
#[must_use]
pub fn native_link(appid: &str, mch_id: &str, product_id: &str, signer: DeviceSigner<'_>) -> String {
    let time_stamp = signer.timestamp_s.to_string();
    let fields = [
        ("appid", appid),
        ("mch_id", mch_id),
        ("product_id", product_id),
        ("time_stamp", time_stamp.as_str()),
        ("nonce_str", signer.nonce),
    ];
    let mut link =
        format!("weixin://wxpay/bizpayurl?sign={}", sign::sign(fields, signer.key, signer.algorithm));
    for (name, value) in fields {
        link.push('&');
        link.push_str(name);
        link.push('=');
        link.push_str(&in_a_query(value));
    }
    link
}

pub(crate) fn in_a_query(text: &str) -> String {
    utf8_percent_encode(text, IN_A_QUERY).to_string()
}
