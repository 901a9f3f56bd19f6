//! `paybell simulate` as a process: a WeChat that takes orders and payments, and knows what is true.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::{Value, json};

use super::{APP, Answer, KEY, MCH, Request, Running, get};

/// How much faster than ours its clock runs, where tests wait for WeChat's delays.
const HURRIED: u32 = 100;
/// What lives five minutes lives for 75 seconds here, which is longer than any test is patient.
const UNHURRIED: u32 = 4;

/// A running simulator; it ends with its owner.
pub struct Simulator {
    _process: Running,
    pub address: SocketAddr,
}

impl Simulator {
    pub fn start() -> Self {
        Self::of(&["--merchant", &usual()])
    }

    /// With merchants of one's own.
    pub fn of(merchants: &[&str]) -> Self {
        Self::at_scale(HURRIED, merchants)
    }

    /// With the usual merchant, and more. Its links and codes outlive a wait for a busy machine; `/_sim/clock` ends them.
    pub fn unhurried(more: &[&str]) -> Self {
        Self::at_scale(UNHURRIED, &[&["--merchant", &usual()], more].concat())
    }

    fn at_scale(scale: u32, more: &[&str]) -> Self {
        let scale = scale.to_string();
        let args = [&["simulate", "--listen", "127.0.0.1:0", "--scale", &scale], more].concat();
        let mut process = Running::start(&args);
        let address =
            process.line().split('"').nth(1).unwrap().strip_prefix("http://").unwrap().parse().unwrap();
        Self { _process: process, address }
    }

    /// Rates of faults, and their seed.
    pub fn misbehaves(&self, faults: &Value) {
        self.send("PUT", "/_sim/faults", faults).expect(200);
    }

    /// Queries answer properly from now on, so that the end comes soon.
    pub fn heal(&self) {
        self.misbehaves(&json!({}));
    }

    /// What is true about every order.
    pub fn truth(&self) -> Vec<Value> {
        let (mut all, mut after) = (Vec::new(), "0".to_owned());
        loop {
            let page =
                get(self.address, &format!("/_sim/orders?limit=1000&after={after}")).expect(200).json();
            all.extend(page["orders"].as_array().unwrap().iter().cloned());
            if page["has_more"] == false {
                return all;
            }
            after = page["next"].as_str().unwrap().to_owned();
        }
    }

    /// Orders of which a genuine notification was answered SUCCESS.
    pub fn acknowledged(&self) -> BTreeSet<String> {
        let posts = get(self.address, "/_sim/notifications?limit=1000").expect(200).json();
        let posts = posts["notifications"].as_array().unwrap();
        let acknowledged = posts.iter().filter(|post| post["outcome"] == "acknowledged");
        acknowledged.filter_map(|post| post["out_trade_no"].as_str().map(str::to_owned)).collect()
    }

    pub fn stats(&self) -> Value {
        get(self.address, "/_sim/stats").expect(200).json()
    }

    pub fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        Request::new(method, path).json(body).send(self.address)
    }
}

fn usual() -> String {
    format!("{MCH}:{APP}:{KEY}")
}
