//! A service whose private API wants a token, with orders of every kind and one webhook.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Answer, MCH, Request, Say, Settings, Shop, receiver::Receiver};

pub const TOKEN: &str = "tok-3f9a1c77e2d04b58";

/// The service, and what it works with.
pub struct Guarded {
    pub shop: Shop,
    pub receiver: Receiver,
    _token: TempDir,
}

impl Guarded {
    #[track_caller]
    pub fn open() -> Self {
        let (receiver, folder) = (Receiver::start(), TempDir::new().unwrap());
        let token = folder.path().join("token");
        std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
        let top = format!("console.token_file = {:?}", token.to_str().unwrap());
        let webhook = format!(
            "query_rate = \"10000/s\"\n[[webhook]]\nname = \"shop\"\nurl = \"{}\"\nallow_private = true\n\
             secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n",
            receiver.url("/hook")
        );
        let shop = Shop::open(&Settings { top: &top, merchant: &webhook, ..Settings::default() });
        Self { shop, receiver, _token: folder }
    }

    /// Where the private API listens.
    pub fn address(&self) -> SocketAddr {
        self.shop.service.address("console")
    }

    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let request = Request::new(method, path).token(TOKEN);
        match body {
            Some(body) => request.json(body),
            None => request,
        }
        .send_at_last(self.address())
    }

    /// Orders that are pending, paid, waiting for a person, and a dead letter, whose id it gives.
    #[track_caller]
    pub fn fill(&self) -> String {
        let wechat = &self.shop.wechat;
        wechat.says("PAID", Say::paid("PAID", 100));
        wechat.says("WRONG", Say::paid("WRONG", 90));
        wechat.says("DEAD", Say::error("SIGNERROR"));
        wechat.says("PENDING", Say::state("PENDING", "NOTPAY"));
        for (order, state) in
            [("PENDING", "pending"), ("PAID", "paid"), ("WRONG", "mismatch"), ("DEAD", "pending")]
        {
            let path = format!("/v1/orders/{MCH}/{order}");
            self.ask("PUT", &path, Some(&json!({ "total_fee": 100 }))).expect(201);
            let looked = self.ask("POST", &format!("{path}/check?wait=20s"), Some(&json!({})));
            assert_eq!(looked.expect(200).json()["state"], state, "{order}");
        }
        let letters = self.ask("GET", "/v1/dead", None).expect(200).json();
        letters["dead_letters"][0]["id"].as_str().unwrap().to_owned()
    }
}
