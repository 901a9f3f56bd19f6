//! A running simulator with a client that signs, and a merchant's server that answers notifications as told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use http_server::{Limits, Listener, Peer, read_body};
use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use simulator::{Control, Faults, MerchantConfig, NewOrder, OrderKey, Post, Simulator, SimulatorConfig};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;
use wechat_pay::{
    sign::{self, Algorithm, ApiKey},
    xml::{self, Document},
};

pub const MCH: &str = "1900000109";
pub const PROVIDER: &str = "1900000110";
pub const SUB: &str = "1900000111";
pub const OTHER_SUB: &str = "1900000112";
pub const APP: &str = "wx8888888888888888";
pub const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Nobody listens there.
pub const NOWHERE: &str = "http://127.0.0.1:9/notify";
pub const PATIENCE: Duration = Duration::from_secs(60);

pub type Map = BTreeMap<String, String>;

pub fn key() -> ApiKey {
    ApiKey::new(KEY).unwrap()
}

pub fn map(fields: &[(&str, &str)]) -> Map {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub fn config(faults: Faults) -> SimulatorConfig {
    let direct = MerchantConfig::new(MCH, APP, KEY).unwrap();
    let mut provider = MerchantConfig::new(PROVIDER, APP, KEY).unwrap();
    provider.sub_mch_ids = vec![SUB.to_owned(), OTHER_SUB.to_owned()];
    let merchants = vec![direct, provider];
    SimulatorConfig { merchants, faults, clock_scale: 1000.0, ..SimulatorConfig::default() }
}

pub struct Sim {
    pub control: Control,
    base_url: String,
    client: Client<HttpConnector, Full<Bytes>>,
    simulator: Simulator,
    stop: CancellationToken,
}

impl Sim {
    pub async fn start(config: SimulatorConfig) -> Sim {
        let stop = CancellationToken::new();
        let simulator = Simulator::start(config, stop.clone()).await.unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Sim { control: simulator.control(), base_url: simulator.base_url(), client, simulator, stop }
    }

    pub fn tls_base_url(&self) -> Option<String> {
        self.simulator.tls_base_url()
    }

    pub async fn plain() -> Sim {
        Sim::start(config(Faults::default())).await
    }

    pub async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.simulator.stopped()).await.expect("the simulator ends");
    }

    /// Any request; an error is a broken connection.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<(StatusCode, String), String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base_url))
            .header("content-type", content_type)
            .body(Full::new(body.into()))
            .unwrap();
        let response = timeout(PATIENCE, self.client.request(request)).await.expect("an answer");
        let response = response.map_err(|error| error.to_string())?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, String::from_utf8(bytes.to_vec()).unwrap()))
    }

    /// A signed call; the answer's fields, its sign verified by the request's algorithm unless it is unsigned.
    pub async fn call(&self, path: &str, fields: &Map, algorithm: Algorithm) -> Map {
        let (status, body) = self.post_signed(path, fields, algorithm).await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        let document = Document::parse(body.as_bytes()).unwrap();
        if document.get("return_code") == Some("SUCCESS") {
            sign::verify(&document, &key(), algorithm).expect(&body);
        } else {
            assert_eq!(document.get("sign"), None);
        }
        to_map(&document)
    }

    pub async fn post_signed(
        &self,
        path: &str,
        fields: &Map,
        algorithm: Algorithm,
    ) -> Result<(StatusCode, String), String> {
        self.request(Method::POST, path, "text/xml", self.signed(fields, algorithm)).await
    }

    /// The same with an answer in bytes and its content type; an error is a broken connection.
    pub async fn download(&self, path: &str, fields: &Map) -> Result<(StatusCode, String, Bytes), String> {
        let body = self.signed(fields, Algorithm::Md5);
        let request = Request::post(format!("{}{path}", self.base_url)).body(Full::new(body.into())).unwrap();
        let response = self.client.request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        let bytes = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((status, content_type, bytes))
    }

    /// A person opens a page: where it sends them, or what it says.
    pub async fn visit(&self, path: &str, person: &str) -> (StatusCode, String) {
        let mut request = Request::get(format!("{}{path}", self.base_url));
        if !person.is_empty() {
            request = request.header("x-sim-person", person);
        }
        let response = self.client.request(request.body(Full::default()).unwrap()).await.unwrap();
        let location = response.headers().get("location").map(|value| value.to_str().unwrap().to_owned());
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, location.unwrap_or_else(|| String::from_utf8(bytes.to_vec()).unwrap()))
    }

    /// The same, showing the certificate of `mch_id` by the header.
    pub async fn post_as(&self, mch_id: &str, path: &str, body: String) -> (StatusCode, String) {
        let request = Request::post(format!("{}{path}", self.base_url)).header("x-sim-certificate", mch_id);
        let response = self.client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// The body of a signed call.
    pub fn signed(&self, fields: &Map, algorithm: Algorithm) -> String {
        let mut fields = fields.clone();
        fields.insert("nonce_str".to_owned(), "5K8264ILTKCH16CQ2502SI8ZNMTM67VS".to_owned());
        if algorithm == Algorithm::HmacSha256 {
            fields.insert("sign_type".to_owned(), "HMAC-SHA256".to_owned());
        }
        let sign = sign::sign(fields.iter().map(|(name, value)| (&**name, &**value)), &key(), algorithm);
        fields.insert("sign".to_owned(), sign);
        xml::write(fields)
    }

    pub async fn query(&self, order: &OrderKey, algorithm: Algorithm) -> Map {
        self.call("/pay/orderquery", &query_of(order), algorithm).await
    }

    pub fn key(&self, number: &str) -> OrderKey {
        OrderKey { mch_id: MCH.to_owned(), out_trade_no: number.to_owned() }
    }

    /// An order that is to be announced at `notify_url`.
    pub fn order(&self, number: &str, notify_url: &str) -> OrderKey {
        self.control.create_order(NewOrder::new(MCH, number, 1999, notify_url)).unwrap()
    }

    /// Waits until as many posts as `count` are logged for an order.
    pub async fn posts(&self, order: &OrderKey, count: usize) -> Vec<Post> {
        let control = &self.control;
        until(|| {
            let posts = control.posts(Some(order), 1000);
            (posts.len() >= count).then_some(posts)
        })
        .await
    }
}

pub fn query_of(order: &OrderKey) -> Map {
    map(&[("appid", APP), ("mch_id", &order.mch_id), ("out_trade_no", &order.out_trade_no)])
}

pub fn to_map(document: &Document<'_>) -> Map {
    document.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Asks again and again until there is an answer.
pub async fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let asking = async {
        loop {
            tick.tick().await;
            if let Some(answer) = ask() {
                return answer;
            }
        }
    };
    timeout(PATIENCE, asking).await.expect("it comes true")
}

/// What a merchant's server does with a notification.
#[derive(Clone, Copy)]
pub enum Reply {
    Acknowledge,
    Say(u16, &'static str),
    Hang,
}

pub const ACKNOWLEDGEMENT: &str =
    "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";

/// A merchant's server; the n-th notification gets the n-th reply, the last one from then on.
#[derive(Clone)]
pub struct Shop {
    pub notify_url: String,
    state: Arc<State>,
}

struct State {
    replies: Vec<Reply>,
    received: Mutex<Vec<(Instant, String)>>,
    news: Notify,
}

impl Shop {
    pub async fn open(replies: &[Reply]) -> Shop {
        let listener = Listener::bind("127.0.0.1:0", Limits::default(), None).await.unwrap();
        let address: SocketAddr = listener.local_addr();
        let state =
            Arc::new(State { replies: replies.to_vec(), received: Mutex::default(), news: Notify::new() });
        let service = {
            let state = state.clone();
            move |request, peer| answer(request, peer, state.clone())
        };
        tokio::spawn(listener.serve(service, CancellationToken::new()));
        Shop { notify_url: format!("http://{address}/notify"), state }
    }

    pub fn received(&self) -> Vec<(Instant, String)> {
        self.state.received.lock().unwrap().clone()
    }

    /// Waits for as many notifications as `count`.
    pub async fn wait_for(&self, count: usize) -> Vec<(Instant, String)> {
        let waiting = async {
            loop {
                let news = self.state.news.notified();
                let received = self.received();
                if received.len() >= count {
                    return received;
                }
                news.await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("notifications come")
    }
}

async fn answer(request: Request<Incoming>, peer: Peer, state: Arc<State>) -> Response<Full<Bytes>> {
    assert_eq!(request.method(), Method::POST);
    let bytes = read_body(request.into_body(), 65_536, peer.request_deadline).await.unwrap();
    let number = {
        let mut received = state.received.lock().unwrap();
        received.push((Instant::now(), String::from_utf8(bytes.to_vec()).unwrap()));
        received.len() - 1
    };
    state.news.notify_waiters();
    let (status, body) = match state.replies.get(number).or(state.replies.last()).unwrap() {
        Reply::Acknowledge => (200, ACKNOWLEDGEMENT),
        Reply::Say(status, body) => (*status, *body),
        Reply::Hang => std::future::pending().await,
    };
    Response::builder().status(status).body(Full::new(Bytes::from_static(body.as_bytes()))).unwrap()
}

/// A payer's browser.
pub const SCENE: &str = r#"{"h5_info":{"type":"Wap","wap_url":"https://shop.example.com","wap_name":"茶"}}"#;

/// A good order to place.
pub fn unified(number: &str) -> Map {
    map(&[
        ("appid", APP),
        ("mch_id", MCH),
        ("body", "茶-绿茶"),
        ("out_trade_no", number),
        ("total_fee", "1999"),
        ("spbill_create_ip", "127.0.0.1"),
        ("notify_url", NOWHERE),
        ("trade_type", "JSAPI"),
        ("openid", "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"),
        ("attach", "store=7&till=<2>"),
    ])
}

pub fn with(mut fields: Map, name: &str, value: &str) -> Map {
    fields.insert(name.to_owned(), value.to_owned());
    fields
}

pub fn without(mut fields: Map, name: &str) -> Map {
    assert!(fields.remove(name).is_some(), "{name} was not there");
    fields
}
