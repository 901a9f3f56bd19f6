//! A shop that has its orders placed and its refunds made: each customer's order is placed, paid by what the device was
//! handed, and refunded in part as soon as it is known as paid. Whoever gets no answer asks for the same again, as the
//! documents tell shops to; every third refund is asked for at both consoles at once.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    harness::{Answer, MCH, Request, wait_for},
    rig::Rig,
};

/// Customers at once.
const CUSTOMERS: usize = 8;
/// Between two tries of one request.
const AGAIN: Duration = Duration::from_millis(100);
/// A shop that gets no yes for so long is left in the lurch.
const PATIENCE: Duration = Duration::from_secs(120);
/// What goes back of each order.
pub const REFUND_FEE: u64 = 50;

struct Shared {
    consoles: Vec<SocketAddr>,
    simulator: SocketAddr,
    is_over: AtomicBool,
    next: AtomicUsize,
    /// What a shop heard that it had to ask again after: how often, by status and kind.
    heard: Mutex<BTreeMap<String, usize>>,
    refused: Mutex<Vec<String>>,
}

/// Running customers.
pub struct Trade {
    shared: Arc<Shared>,
    customers: Vec<JoinHandle<()>>,
}

pub fn order(number: usize) -> String {
    format!("M{number:06}")
}

pub fn refund(number: usize) -> String {
    format!("R{number:06}")
}

pub fn fee(number: usize) -> u64 {
    1_000 + u64::try_from(number).unwrap()
}

impl Trade {
    /// Orders are numbered from `first`.
    pub fn start(rig: &Rig, first: usize) -> Self {
        let shared = Arc::new(Shared {
            consoles: rig.console_addresses(),
            simulator: rig.simulator.address,
            is_over: AtomicBool::new(false),
            next: AtomicUsize::new(first),
            heard: Mutex::default(),
            refused: Mutex::default(),
        });
        let customer = |_| {
            let shared = shared.clone();
            thread::spawn(move || shared.shop_on())
        };
        Self { customers: (0..CUSTOMERS).map(customer).collect(), shared }
    }

    /// The number that the next order gets.
    pub fn next(&self) -> usize {
        self.shared.next.load(Ordering::SeqCst)
    }

    /// Whether somebody was kept waiting by a refusal or a broken connection.
    pub fn heard(&self) -> BTreeMap<String, usize> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// Lets every customer finish. Gives the number after the last order.
    pub fn stop(self) -> usize {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.customers.into_iter().for_each(|customer| customer.join().unwrap());
        let refused = self.shared.refused.lock().unwrap();
        assert!(refused.is_empty(), "a shop got no yes: {refused:#?}");
        self.shared.next.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn shop_on(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if let Err(refused) = self.serve(number) {
                self.refused.lock().unwrap().push(refused);
            }
        }
    }

    /// One customer: placed, paid, a part of it given back.
    fn serve(&self, number: usize) -> Result<(), String> {
        let order = order(number);
        let wish = json!({
            "trade_type": "NATIVE", "total_fee": fee(number), "body": "绿茶 green tea",
            "business_no": format!("B{number}"),
        });
        let placed = self.insist(number, &format!("/v1/orders/{MCH}/{order}/place"), &wish)?.json();
        let device = json!({ "code_url": placed["pay"]["code_url"] });
        Request::new("POST", "/_sim/device").json(&device).send(self.simulator).expect(200);
        let path = format!("/v1/orders/{MCH}/{order}/refunds");
        let wish = json!({ "out_refund_no": refund(number), "refund_fee": REFUND_FEE });
        if !number.is_multiple_of(3) {
            return self.insist(number, &path, &wish).map(drop);
        }
        thread::scope(|scope| {
            let other = scope.spawn(|| self.insist(number + 1, &path, &wish));
            let mine = self.insist(number, &path, &wish);
            mine.and(other.join().unwrap()).map(drop)
        })
    }

    /// The same request until there is a yes, at the consoles in turn.
    fn insist(&self, turn: usize, path: &str, body: &Value) -> Result<Answer, String> {
        let begun = Instant::now();
        let mut last = String::new();
        for turn in turn.. {
            if begun.elapsed() > PATIENCE {
                break;
            }
            let console = self.consoles[turn % self.consoles.len()];
            match Request::new("POST", path).json(body).try_send(console) {
                Ok(answer) if matches!(answer.status, 200 | 201) => return Ok(answer),
                Ok(answer) => last = format!("{} {}", answer.status, problem(&answer)),
                Err(error) => last = format!("broken: {}", error.kind()),
            }
            *self.heard.lock().unwrap().entry(last.clone()).or_default() += 1;
            let next = Instant::now() + AGAIN;
            wait_for("the next try", || (Instant::now() >= next).then_some(()));
        }
        Err(format!("{path}: {last}"))
    }
}

fn problem(answer: &Answer) -> String {
    let document: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    document["type"].as_str().unwrap_or("no problem document").to_owned()
}
