//! A WeChat that says what it is told, order by order, and remembers what it was asked. Requests with a wrong sign are
//! refused as the real one does; answers are signed with the request's key and algorithm.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use wechat_pay::{
    beijing,
    sign::{self, Algorithm, ApiKey},
    xml::{self, Document},
};

use super::{KEY, acceptor::Acceptor, now_ms};

pub type Fields = Vec<(String, String)>;

/// One answer.
#[derive(Clone)]
pub enum Say {
    /// These fields after the common block, signed.
    Signed(Fields),
    /// These bytes.
    Body(Vec<u8>),
    /// This HTTP status and an HTML page.
    Status(u16),
    /// Nothing: the connection breaks.
    Nothing,
}

impl Say {
    /// SUCCESS with the usual payment.
    pub fn paid(out_trade_no: &str, total_fee: i64) -> Self {
        Say::Signed(payment(out_trade_no, total_fee))
    }

    /// The same with other or more fields.
    pub fn paid_with(out_trade_no: &str, total_fee: i64, changes: &[(&str, &str)]) -> Self {
        let mut fields = payment(out_trade_no, total_fee);
        for (name, value) in changes {
            fields.retain(|(of, _)| of != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        Say::Signed(fields)
    }

    /// A state without a payment.
    pub fn state(out_trade_no: &str, trade_state: &str) -> Self {
        Say::Signed(owned(&[("out_trade_no", out_trade_no), ("trade_state", trade_state)]))
    }

    /// A signed refusal.
    pub fn error(code: &str) -> Self {
        Say::Signed(owned(&[("result_code", "FAIL"), ("err_code", code), ("err_code_des", "no")]))
    }
}

/// The payment block of an order, paid now.
pub fn payment(out_trade_no: &str, total_fee: i64) -> Fields {
    let fee = total_fee.to_string();
    owned(&[
        ("trade_state", "SUCCESS"),
        ("out_trade_no", out_trade_no),
        ("transaction_id", &transaction_id(out_trade_no)),
        ("total_fee", &fee),
        ("cash_fee", &fee),
        ("fee_type", "CNY"),
        ("openid", OPENID),
        ("is_subscribe", "N"),
        ("trade_type", "JSAPI"),
        ("bank_type", "OTHERS"),
        ("time_end", &beijing::format_compact(now_ms()).unwrap()),
    ])
}

/// What an order that is placed is offered, unless a test says otherwise.
fn offer(trade_type: &str) -> Fields {
    owned(&[
        ("trade_type", trade_type),
        ("prepay_id", "wx201410272009395522657a690389285100"),
        ("code_url", "weixin://wxpay/bizpayurl?pr=Xq0Tm"),
        ("mweb_url", "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx2014&package=1"),
    ])
}

/// WeChat's number of an order's first payment.
pub fn transaction_id(out_trade_no: &str) -> String {
    format!("4200{out_trade_no}")
}

/// Every payer here.
pub const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

fn owned(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[derive(Default)]
struct State {
    /// By path and order; the last answer stays.
    says: HashMap<(String, String), VecDeque<Say>>,
    asked: Vec<BTreeMap<String, String>>,
    keys: Vec<String>,
    delay: Duration,
    /// Nobody gets an answer.
    is_held: bool,
}

/// Listens until it is dropped.
pub struct Wechat {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _acceptor: Acceptor,
}

impl Wechat {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State { keys: vec![KEY.to_owned()], ..State::default() }));
        let shared = state.clone();
        let acceptor = Acceptor::start(move |stream, is_over| serve(stream, &shared, is_over));
        Self { address: acceptor.address, state, _acceptor: acceptor }
    }

    /// What queries about an order are told from now on.
    pub fn says(&self, out_trade_no: &str, say: Say) {
        self.says_in_turn(out_trade_no, vec![say]);
    }

    /// One after the other; the last one stays.
    pub fn says_in_turn(&self, out_trade_no: &str, says: Vec<Say>) {
        self.answers("/pay/orderquery", out_trade_no, says);
    }

    /// What closeorder is told.
    pub fn closes(&self, out_trade_no: &str, say: Say) {
        self.answers("/pay/closeorder", out_trade_no, vec![say]);
    }

    fn answers(&self, path: &str, out_trade_no: &str, says: Vec<Say>) {
        self.state.lock().unwrap().says.insert((path.to_owned(), out_trade_no.to_owned()), says.into());
    }

    /// Every answer takes so long.
    pub fn takes(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    /// No answer comes any more until it lets go.
    pub fn holds(&self) {
        self.state.lock().unwrap().is_held = true;
    }

    /// What was held is answered, as was decided when it was asked.
    pub fn lets_go(&self) {
        self.state.lock().unwrap().is_held = false;
    }

    /// Keys that requests may be signed with.
    pub fn has_keys(&self, keys: &[&str]) {
        self.state.lock().unwrap().keys = keys.iter().map(|key| (*key).to_owned()).collect();
    }

    /// The requests about an order so far, each with its `path`.
    pub fn asked(&self, out_trade_no: &str) -> Vec<BTreeMap<String, String>> {
        let state = self.state.lock().unwrap();
        let about = |fields: &&BTreeMap<String, String>| fields["out_trade_no"] == out_trade_no;
        state.asked.iter().filter(about).cloned().collect()
    }

    /// Whose turn it was, query by query.
    pub fn turns(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.asked.iter().map(|fields| fields["out_trade_no"].clone()).collect()
    }

    /// Every order that was asked about.
    pub fn orders_asked(&self) -> Vec<String> {
        let mut orders: Vec<String> =
            self.state.lock().unwrap().asked.iter().map(|fields| fields["out_trade_no"].clone()).collect();
        orders.sort();
        orders.dedup();
        orders
    }
}

/// One request and its answer. A client that breaks off is no concern of ours.
fn serve(stream: TcpStream, state: &Mutex<State>, is_over: &AtomicBool) {
    let Some((path, body)) = read_request(&stream) else { return };
    let document = Document::parse(&body).unwrap();
    let mut fields: BTreeMap<String, String> =
        document.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    fields.insert("path".to_owned(), path.clone());
    let (say, key, delay) = {
        let mut state = state.lock().unwrap();
        state.asked.push(fields.clone());
        let key = state.keys.iter().map(|key| ApiKey::new(key).unwrap()).find(|key| {
            algorithm(&fields).is_some_and(|algorithm| sign::verify(&document, key, algorithm).is_ok())
        });
        // A refund is asked about by its own number, a bill by its day.
        let named = fields.get("out_trade_no").or(fields.get("out_refund_no")).cloned().unwrap_or_default();
        let is_placing = path == "/pay/unifiedorder";
        let unknown = if path == "/pay/refundquery" { "REFUNDNOTEXIST" } else { "ORDERNOTEXIST" };
        let say = match state.says.get_mut(&(path, named)) {
            None if is_placing => Say::Signed(offer(&fields["trade_type"])),
            None => Say::error(unknown),
            Some(says) if says.len() > 1 => says.pop_front().unwrap(),
            Some(says) => says[0].clone(),
        };
        (say, key, state.delay)
    };
    if !delay.is_zero() {
        thread::sleep(delay);
    }
    while state.lock().unwrap().is_held {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    let fail = xml::write([("return_code", "FAIL"), ("return_msg", "签名错误")]).into_bytes();
    let (status, body) = match (say, key) {
        (Say::Nothing, _) => return,
        (Say::Status(status), _) => (status, b"<html>busy</html>".to_vec()),
        (Say::Body(body), _) => (200, body),
        (Say::Signed(_), None) => (200, fail),
        (Say::Signed(said), Some(key)) => (200, signed(&said, &fields, &key).into_bytes()),
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = (&stream).write_all(&[head.as_bytes(), &body].concat());
}

/// What a request is signed with.
fn algorithm(request: &BTreeMap<String, String>) -> Option<Algorithm> {
    request.get("sign_type").map_or("MD5", String::as_str).parse().ok()
}

fn signed(said: &Fields, request: &BTreeMap<String, String>, key: &ApiKey) -> String {
    let mut fields: BTreeMap<&str, &str> = [
        ("return_code", "SUCCESS"),
        ("return_msg", "OK"),
        ("result_code", "SUCCESS"),
        ("nonce_str", "abcdefabcdefabcdef"),
    ]
    .into();
    for name in ["appid", "mch_id", "sub_mch_id"] {
        if let Some(value) = request.get(name) {
            fields.insert(name, value);
        }
    }
    fields.extend(said.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let algorithm = algorithm(request).unwrap();
    let sign = sign::sign(fields.iter().map(|(name, value)| (*name, *value)), key, algorithm);
    fields.insert("sign", &sign);
    xml::write(fields)
}

fn read_request(stream: &TcpStream) -> Option<(String, Vec<u8>)> {
    stream.set_read_timeout(Some(super::PATIENCE)).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}
