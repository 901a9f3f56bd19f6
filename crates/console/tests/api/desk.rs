//! A console over the engine in memory, requests in one line, and answers taken apart.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use console::{Body, Console, ConsoleConfig, ConsoleMetrics, Ports};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, Response};
use paybell_core::observation::{NotPaid, Payment};
use paybell_core::*;
use prometheus_client::registry::Registry;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::bills::Days;
use crate::cashier::Scripted;
use crate::endpoints::{Memory, configured};
use crate::engine::Engine;

pub const MCH: &str = "1900000109";
/// Where requests come from.
pub const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
pub const TX: &str = "4200001234202611200123456789";

pub struct Desk {
    pub engine: Arc<Engine>,
    pub notes: Arc<Memory>,
    pub cashier: Arc<Scripted>,
    pub console: Console,
    pub drain: CancellationToken,
    pub metrics: Registry,
}

pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answered {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Desk {
    pub fn open() -> Self {
        Self::with(|_| {})
    }

    pub fn with(configure: impl FnOnce(&mut ConsoleConfig)) -> Self {
        let engine = Engine::new();
        let mut config = ConsoleConfig {
            mch_ids: [MchId::new(MCH).unwrap()].into_iter().collect(),
            ..ConsoleConfig::default()
        };
        configure(&mut config);
        let (notes, cashier) = (Arc::new(Memory::default()), Arc::new(Scripted::default()));
        let ports = Ports {
            queue: engine.clone(),
            registry: engine.clone(),
            records: engine.clone(),
            dead: engine.clone(),
            log: engine.clone(),
            endpoints: delivery::Desk::new(&configured(), notes.clone(), engine.clone()),
            ledger: engine.clone(),
            acts: engine.clone(),
            cashier: cashier.clone(),
            bills: Arc::new(Days),
        };
        let mut metrics = Registry::default();
        let console = Console::new(ports, config, ConsoleMetrics::register(&mut metrics));
        Self { engine, notes, cashier, console, drain: CancellationToken::new(), metrics }
    }

    /// `"PUT /path\nHeader: value\n\nbody"`: a `Host`, and for changes the content type, are added where they are missing.
    pub async fn send(&self, request: &str) -> Response<Body> {
        self.console.handle(parse(request), PEER, self.drain.clone()).await
    }

    pub async fn ask(&self, request: &str) -> Answered {
        Self::read(self.send(request).await).await
    }

    /// The same from another address.
    pub async fn ask_from(&self, peer: IpAddr, request: &str) -> Answered {
        Self::read(self.console.handle(parse(request), peer, self.drain.clone()).await).await
    }

    async fn read(response: Response<Body>) -> Answered {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answered { status: head.status.as_u16(), headers: head.headers, text }
    }

    /// What takes posted registrations in, over the same engine.
    pub fn posted(&self) -> console::Posted {
        console::Posted {
            registry: self.engine.clone(),
            dead: self.engine.clone(),
            ledger: self.engine.clone(),
            mch_ids: [MchId::new(MCH).unwrap()].into_iter().collect(),
        }
    }

    /// An order registered over 100 fen, and what a look then finds.
    pub async fn order(&self, out_trade_no: &str, found: Option<&Answer>) {
        let put = format!("PUT /v1/orders/{MCH}/{out_trade_no}\n\n{{\"total_fee\":100}}");
        assert_eq!(self.ask(&put).await.status, 201);
        let Some(found) = found else { return };
        let check = format!("POST /v1/orders/{MCH}/{out_trade_no}/check");
        assert_eq!(self.ask(&check).await.status, 202);
        self.engine.work(found);
    }
}

pub fn key(out_trade_no: &str) -> OrderKey {
    OrderKey::new(MCH, out_trade_no).unwrap()
}

pub fn paid(fen: i64) -> Answer {
    Answer::Observed(Observation::Payment(Box::new(payment(fen))))
}

pub fn payment(fen: i64) -> Payment {
    Payment {
        refunded: false,
        appid: Some(AppId::new("wx8888888888888888").unwrap()),
        sub_mch_id: None,
        transaction_id: Some(TransactionId::new(TX).unwrap()),
        total_fee: Some(Fen::new(fen).unwrap()),
        fee_type: Currency::CNY,
        cash_fee: Some(Fen::new(fen).unwrap()),
        settlement_total_fee: None,
        coupon_fee: None,
        coupons: Vec::new(),
        trade_type: Some("JSAPI".to_owned()),
        bank_type: Some("OTHERS".to_owned()),
        attach: None,
        paid_at: Some(Timestamp::parse_rfc3339("2026-11-20T11:59:58+08:00").unwrap()),
        openid: None,
    }
}

pub fn not_paid() -> Answer {
    Answer::Observed(Observation::NotPaid(NotPaid::NotPay))
}

pub fn not_exist() -> Answer {
    Answer::Observed(Observation::NotPaid(NotPaid::NotExist))
}

pub async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

fn parse(request: &str) -> Request<Full<Bytes>> {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let mut lines = head.lines();
    let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
    let mut builder = Request::builder().method(method).uri(path);
    let headers: Vec<(&str, &str)> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let has = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if !has("host") {
        builder = builder.header("host", "localhost:8081");
    }
    if method != "GET" && !has("content-type") {
        builder = builder.header("content-type", "application/json");
    }
    for (name, value) in headers {
        if value != "-" {
            builder = builder.header(name, value);
        }
    }
    builder.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}
