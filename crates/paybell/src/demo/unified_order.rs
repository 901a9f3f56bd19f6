//! Places orders at WeChat as a shop does: a signed `unifiedorder` over HTTP, its answer verified. Knows no Paybell;
//! [`super::shop`] registers the order afterwards.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, header::CONTENT_TYPE};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;
use wechat_pay::{
    sign::{self, Algorithm, ApiKey},
    xml::{self, BODY_BYTES_MAX, Document},
};

use super::plan::{API_KEY, APP_ID, Planned};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The shop's connection to WeChat.
pub struct Wechat {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    notify_url: String,
    key: ApiKey,
}

impl Wechat {
    /// Connects with the first order.
    pub fn at(base_url: &str, notify_url: String) -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            url: format!("{base_url}/pay/unifiedorder"),
            notify_url,
            key: ApiKey::new(API_KEY).expect("has 32 characters"),
        }
    }

    /// Places an order; a refusal is told in WeChat's words.
    pub async fn place(&self, order: &Planned, nonce: &str) -> Result<(), String> {
        let request = Request::post(&self.url)
            .header(CONTENT_TYPE, "text/xml; charset=utf-8")
            .body(Full::from(self.write(order, nonce)))
            .map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
            let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
            body.map(|body| body.to_bytes()).map_err(|error| error.to_string())
        };
        let slow = |_| format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
        let answer = timeout(ANSWER_TIMEOUT, exchange).await.map_err(slow)??;
        self.read(&answer)
    }

    fn write(&self, order: &Planned, nonce: &str) -> String {
        let total_fee = order.total_fee.to_string();
        let mut fields = vec![
            ("appid", APP_ID),
            ("mch_id", order.key.mch_id.as_str()),
            ("nonce_str", nonce),
            ("body", "Paybell demo"),
            ("out_trade_no", order.key.out_trade_no.as_str()),
            ("product_id", order.key.out_trade_no.as_str()),
            ("total_fee", total_fee.as_str()),
            ("spbill_create_ip", "127.0.0.1"),
            ("notify_url", self.notify_url.as_str()),
            ("trade_type", "NATIVE"),
        ];
        let sign = sign::sign(fields.iter().copied(), &self.key, Algorithm::Md5);
        fields.push(("sign", &sign));
        xml::write(fields)
    }

    fn read(&self, answer: &[u8]) -> Result<(), String> {
        let document = Document::parse(answer).map_err(|error| error.to_string())?;
        let text = |name| document.get(name).unwrap_or_default();
        if text("return_code") != "SUCCESS" {
            return Err(text("return_msg").to_owned());
        }
        sign::verify(&document, &self.key, Algorithm::Md5).map_err(|error| error.to_string())?;
        match text("result_code") {
            "SUCCESS" => Ok(()),
            _ => Err(format!("{} {}", text("err_code"), text("err_code_des"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(fields: &[(&str, &str)], key: &ApiKey) -> String {
        let sign = sign::sign(fields.iter().copied(), key, Algorithm::Md5);
        xml::write(fields.iter().copied().chain([("sign", sign.as_str())]))
    }

    #[test]
    fn only_an_authentic_success_is_a_placed_order() {
        let shop = Wechat::at("http://127.0.0.1:9", String::new());
        let success = [("return_code", "SUCCESS"), ("result_code", "SUCCESS")];
        assert_eq!(shop.read(signed(&success, &shop.key).as_bytes()), Ok(()));
        let stranger = ApiKey::new("0123456789abcdef0123456789abcdef").unwrap();
        assert!(shop.read(signed(&success, &stranger).as_bytes()).is_err());
        let used = [("return_code", "SUCCESS"), ("result_code", "FAIL"), ("err_code", "OUT_TRADE_NO_USED")];
        let refusal = shop.read(signed(&used, &shop.key).as_bytes()).unwrap_err();
        assert!(refusal.contains("OUT_TRADE_NO_USED"), "{refusal}");
        let fail = xml::write([("return_code", "FAIL"), ("return_msg", "签名错误")]);
        assert_eq!(shop.read(fail.as_bytes()), Err("签名错误".to_owned()));
    }
}
