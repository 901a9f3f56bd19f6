//! The shop's side: signed requests as SDKs write them, and raw connections.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use wechat_pay::sign::{self, Algorithm, ApiKey};
use wechat_pay::xml::{self, Document};

use crate::wechat::{header, read_message};

pub const MCH_ID: &str = "1900000109";
pub const APPID: &str = "wx8888888888888888";
pub const KEY: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";
pub const PREVIOUS: &str = "PAs55YPJwrDdIOBBtY8YR51AlptScZJw";
pub const STRANGER: &str = "0123456789abcdef0123456789abcdef";

pub fn key(text: &str) -> ApiKey {
    ApiKey::new(text).unwrap()
}

/// A signed unifiedorder; `changes` replace or add fields.
pub fn order(out_trade_no: &str, total_fee: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    signed(out_trade_no, total_fee, changes, (KEY, Algorithm::Md5))
}

pub fn signed(
    out_trade_no: &str,
    total_fee: &str,
    changes: &[(&str, &str)],
    (by, algorithm): (&str, Algorithm),
) -> Vec<u8> {
    let plain = [
        ("appid", APPID),
        ("mch_id", MCH_ID),
        ("nonce_str", "5K8264ILTKCH16CQ2502SI8ZNMTM67VS"),
        ("body", "茶叶 & <杯>"),
        ("out_trade_no", out_trade_no),
        ("product_id", "1"),
        ("total_fee", total_fee),
        ("spbill_create_ip", "127.0.0.1"),
        ("notify_url", "http://127.0.0.1:9/notify/pay"),
        ("trade_type", "NATIVE"),
    ];
    let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    let kept = plain.iter().filter(|(name, _)| !is_changed(name));
    let mut fields: Vec<_> = kept.chain(changes).copied().collect();
    let sign = sign::sign(fields.iter().copied(), &key(by), algorithm);
    fields.push(("sign", &sign));
    xml::write(fields).into_bytes()
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    pub is_whole: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }

    /// `return_code` and `return_msg` as an SDK reads them.
    pub fn failure(&self) -> (String, String) {
        let document = Document::parse(&self.body).unwrap();
        let text = |name| document.get(name).unwrap().to_owned();
        (text("return_code"), text("return_msg"))
    }
}

/// A connection that is kept.
pub struct Shop(pub TcpStream);

impl Shop {
    pub async fn connect(address: std::net::SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub async fn post(&mut self, path: &str, body: &[u8]) -> Answer {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.send(&[head.as_bytes(), body].concat()).await
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Answer {
        self.0.write_all(bytes).await.unwrap();
        self.read().await
    }

    pub async fn read(&mut self) -> Answer {
        let message = read_message(&mut self.0, true).await.expect("the proxy answers");
        let status = message.head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: message.head, body: message.body, is_whole: message.is_whole }
    }
}

/// One post on a connection of its own.
pub async fn post(address: std::net::SocketAddr, path: &str, body: &[u8]) -> Answer {
    Shop::connect(address).await.post(path, body).await
}
