//! A shop with customers: orders are placed and paid at the simulator, some are registered, and WeChat's notifications
//! come to the ingresses, again until one is answered SUCCESS. A quarter of the payments is never notified.

use std::{
    collections::BTreeSet,
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
    harness::{MCH, Notification, Request, SUCCESS, Stalls},
    rig::Rig,
};

/// Customers at once.
const CUSTOMERS: usize = 4;
/// Between two orders of one customer.
const GAP: Duration = Duration::from_millis(80);
/// Between two notifications of one payment; WeChat's own are further apart.
const AGAIN: Duration = Duration::from_millis(500);

/// What the customers share.
struct Shared {
    ingresses: Vec<SocketAddr>,
    consoles: Vec<SocketAddr>,
    simulator: SocketAddr,
    is_over: AtomicBool,
    next: AtomicUsize,
    turn: AtomicUsize,
    paid: Mutex<BTreeSet<String>>,
    registered: Mutex<BTreeSet<String>>,
    acknowledged: Mutex<BTreeSet<String>>,
    /// Answers that are to be judged: from which ingress, when it was asked, when it answered.
    answers: Mutex<Vec<(usize, Instant, Instant)>>,
    unexpected: Mutex<Vec<String>>,
}

/// Running customers.
pub struct Load {
    shared: Arc<Shared>,
    customers: Vec<JoinHandle<()>>,
    /// Of each ingress.
    stalls: Vec<Stalls>,
    begun: Instant,
    first: usize,
}

/// What they did.
pub struct Loaded {
    shared: Arc<Shared>,
    slowest: Duration,
    first: usize,
}

impl Load {
    /// Orders are numbered from `first`.
    pub fn start(rig: &Rig, first: usize) -> Self {
        let shared = Arc::new(Shared {
            ingresses: rig.ingress_addresses(),
            consoles: rig.console_addresses(),
            simulator: rig.simulator.address,
            is_over: AtomicBool::new(false),
            next: AtomicUsize::new(first),
            turn: AtomicUsize::new(0),
            paid: Mutex::default(),
            registered: Mutex::default(),
            acknowledged: Mutex::default(),
            answers: Mutex::default(),
            unexpected: Mutex::default(),
        });
        let customer = |_| {
            let shared = shared.clone();
            thread::spawn(move || shared.shop_on())
        };
        let customers = (0..CUSTOMERS).map(customer).collect();
        let stalls = shared.ingresses.iter().map(|ingress| Stalls::watch(*ingress)).collect();
        Self { shared, customers, stalls, begun: Instant::now(), first }
    }

    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    pub fn successes(&self) -> usize {
        self.shared.acknowledged.lock().unwrap().len()
    }

    pub fn acknowledged(&self) -> BTreeSet<String> {
        self.shared.acknowledged.lock().unwrap().clone()
    }

    pub fn stop(self) -> Loaded {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.customers.into_iter().for_each(|customer| customer.join().unwrap());
        let stalled: Vec<_> = self.stalls.into_iter().map(Stalls::end).collect();
        let answers = std::mem::take(&mut *self.shared.answers.lock().unwrap());
        let own_times = answers.iter().map(|(of, begun, ended)| stalled[*of].own_time(*begun, *ended));
        let slowest = own_times.max().unwrap_or_default();
        Loaded { shared: self.shared, slowest, first: self.first }
    }
}

impl Loaded {
    pub fn orders(&self) -> usize {
        self.shared.next.load(Ordering::SeqCst) - self.first
    }

    /// Orders that money was taken for and that somebody can know of: notified with success, or registered.
    pub fn knowable(&self) -> BTreeSet<String> {
        let paid = self.shared.paid.lock().unwrap();
        let known: BTreeSet<String> = self.registered().union(&self.acknowledged()).cloned().collect();
        paid.intersection(&known).cloned().collect()
    }

    pub fn acknowledged(&self) -> BTreeSet<String> {
        self.shared.acknowledged.lock().unwrap().clone()
    }

    pub fn registered(&self) -> BTreeSet<String> {
        self.shared.registered.lock().unwrap().clone()
    }

    /// Of all answers of a live ingress the longest, without the time that the machine took.
    pub fn slowest(&self) -> Duration {
        self.slowest
    }

    /// Answers that no ingress may give.
    pub fn unexpected(&self) -> Vec<String> {
        self.shared.unexpected.lock().unwrap().clone()
    }
}

impl Shared {
    fn shop_on(&self) {
        let mut unanswered: Vec<(String, String, Instant)> = Vec::new();
        let mut next = Instant::now();
        loop {
            let is_over = self.is_over.load(Ordering::SeqCst);
            if is_over && unanswered.is_empty() {
                return;
            }
            if !is_over && Instant::now() >= next {
                next = Instant::now() + GAP;
                unanswered.extend(self.buy());
            }
            unanswered = unanswered.into_iter().filter_map(|waiting| self.notify(waiting)).collect();
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// One order, paid; its notification, if WeChat sends one.
    fn buy(&self) -> Option<(String, String, Instant)> {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let (order, fee) = (format!("F{number:06}"), 100 + i64::try_from(number).unwrap());
        let nowhere = "http://127.0.0.1:9/notify";
        let placed = json!({ "mch_id": MCH, "out_trade_no": order, "total_fee": fee, "notify_url": nowhere });
        Request::new("POST", "/_sim/orders").json(&placed).send(self.simulator).expect(201);
        let is_silent = number.is_multiple_of(4);
        if is_silent || number.is_multiple_of(2) {
            self.register(&order, fee);
        }
        let path = format!("/_sim/orders/{MCH}/{order}/pay");
        Request::new("POST", &path).json(&json!({ "silent": true })).send(self.simulator).expect(200);
        self.paid.lock().unwrap().insert(order.clone());
        if is_silent {
            return None;
        }
        let path = format!("/_sim/orders/{MCH}/{order}");
        let truth: Value = Request::new("GET", &path).send(self.simulator).expect(200).json();
        let body = Notification::of(&order, fee)
            .with("transaction_id", truth["transaction_id"].as_str().unwrap())
            .signed();
        Some((order, body, Instant::now()))
    }

    /// A shop that gets no answer goes on without.
    fn register(&self, order: &str, fee: i64) {
        let path = format!("/v1/orders/{MCH}/{order}");
        for console in &self.consoles {
            let answer =
                Request::new("PUT", &path).json(&json!({ "total_fee": fee })).try_send(*console).ok();
            if answer.is_some_and(|answer| matches!(answer.status, 200 | 201)) {
                self.registered.lock().unwrap().insert(order.to_owned());
                return;
            }
        }
    }

    /// Posts if it is time; gives back what has to be posted again.
    fn notify(&self, waiting: (String, String, Instant)) -> Option<(String, String, Instant)> {
        let (order, body, at) = waiting;
        if Instant::now() < at {
            return Some((order, body, at));
        }
        // The other one the next time: WeChat's connections are spread, too.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let of = turn % self.ingresses.len();
        let ingress = self.ingresses[of];
        let begun = Instant::now();
        let answer = Request::new("POST", "/notify/pay").xml(body.as_bytes().to_vec()).try_send(ingress).ok();
        let Some(answer) = answer else { return Some((order, body, Instant::now() + AGAIN)) };
        self.answers.lock().unwrap().push((of, begun, Instant::now()));
        match answer.status {
            200 if answer.body == SUCCESS => {
                self.acknowledged.lock().unwrap().insert(order);
                None
            }
            503 if answer.body.contains("FAIL") => Some((order, body, Instant::now() + AGAIN)),
            status => {
                self.unexpected.lock().unwrap().push(format!("{order}: {status} {}", answer.body));
                None
            }
        }
    }
}
