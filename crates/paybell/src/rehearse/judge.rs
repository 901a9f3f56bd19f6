//! What was expected against what was seen. Pure. The words for it are [`crate::rehearse::words`].

use std::collections::BTreeMap;

use super::event::Order;
use super::scene::{Scene, Shipped};
use super::script::{Act, Forgery};
use super::stage::{Answers, Untaken};

/// How one scene ended.
#[derive(Debug, Clone)]
pub struct Judged {
    pub scene: Scene,
    pub expected: Shipped,
    /// How many orders were shipped how often; `None` if nobody was asked.
    pub shipped: Option<BTreeMap<u64, usize>>,
    pub answers: Answers,
    pub faults: Vec<Fault>,
    pub verdict: Verdict,
}

/// The judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
    /// The answers were right; what was done is unknown.
    AnswersOnly,
    /// It cannot be played this way, or nothing of it can be seen this way.
    NotJudged,
}

/// What the subscriber did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// So many orders of the scene were shipped so often; one of them by name.
    Shipped { times: u64, orders: usize, example: String },
    /// An event that was not taken, however often it was told.
    Untaken(Untaken),
    /// A forged webhook was answered with 2xx.
    Believed(Forgery),
}

/// Judges one scene. `shipped` is in the order of its orders.
pub fn judge(act: &Act, answers: Answers, shipped: Option<Vec<u64>>) -> Judged {
    let mut faults: Vec<Fault> = answers.untaken.iter().cloned().map(Fault::Untaken).collect();
    faults.extend(answers.believed.iter().copied().map(Fault::Believed));
    let counted = shipped.map(|shipped| count(&act.orders, &shipped));
    for (times, (orders, example)) in counted.iter().flatten() {
        if !act.expected.includes(*times) {
            faults.push(Fault::Shipped { times: *times, orders: *orders, example: example.clone() });
        }
    }
    let verdict = match (&counted, faults.is_empty()) {
        (_, false) => Verdict::Failed,
        (Some(_), true) => Verdict::Passed,
        (None, true) if answers.has_answers => Verdict::AnswersOnly,
        (None, true) => Verdict::NotJudged,
    };
    let shipped =
        counted.map(|counted| counted.into_iter().map(|(times, (orders, _))| (times, orders)).collect());
    Judged { scene: act.scene, expected: act.expected, shipped, answers, faults, verdict }
}

/// Shipments → how many orders, and the first of them.
fn count(orders: &[Order], shipped: &[u64]) -> BTreeMap<u64, (usize, String)> {
    let mut counted = BTreeMap::new();
    for (order, times) in orders.iter().zip(shipped) {
        let entry = counted.entry(*times).or_insert_with(|| (0, order.out_trade_no.to_string()));
        entry.0 += 1;
    }
    counted
}
