//! The judgement: payments as Paybell decided them beside what the handler saw. Pure.
//!
//! With order numbers on both sides every finding names its order. With a bare access log only counts and times can be
//! compared: each accepted hit is set against the oldest payment that none was set against yet, so that the number of
//! missed payments is a lower bound, and is said to be one.

use std::collections::{BTreeMap, HashMap, VecDeque};

use paybell_core::Timestamp;

use super::{Payment, Period, Seen, access_log::Hit};

/// WeChat's `time_end` and the handler's clock may disagree by so much.
const CLOCKS_MS: i64 = 5_000;

/// In what the two disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Paid, and the handler never saw it.
    Missed,
    /// Seen, but WeChat took no payment: forged, or for somebody else.
    NotPaid,
    AmountDiffers,
    TransactionDiffers,
    /// Paybell holds the payment back: it is not what was registered.
    Mismatch,
    Late,
    /// Seen more than once. Usual with WeChat; harmful where the handler acts twice.
    Doubled,
    /// The notify URL answered something that WeChat does not take.
    Refused,
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Missed,
        Kind::NotPaid,
        Kind::AmountDiffers,
        Kind::TransactionDiffers,
        Kind::Mismatch,
        Kind::Late,
        Kind::Doubled,
        Kind::Refused,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Missed => "missed",
            Kind::NotPaid => "not_paid",
            Kind::AmountDiffers => "amount_differs",
            Kind::TransactionDiffers => "transaction_differs",
            Kind::Mismatch => "mismatch",
            Kind::Late => "late",
            Kind::Doubled => "doubled",
            Kind::Refused => "refused",
        }
    }
}

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub kind: Kind,
    pub out_trade_no: Option<String>,
    pub payment: Option<Payment>,
    /// What the handler said, oldest first.
    pub seen: Vec<Seen>,
    /// For a refused hit: its line, time and status.
    pub hit: Option<Hit>,
    /// For [`Kind::NotPaid`]: what Paybell knows of the order.
    pub state: Option<String>,
}

/// Delays in milliseconds, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delays(Vec<i64>);

impl Delays {
    fn of(mut delays: Vec<i64>) -> Self {
        delays.sort_unstable();
        Self(delays)
    }

    /// The smallest that so many of a thousand do not exceed.
    pub fn permille(&self, permille: usize) -> Option<i64> {
        let last = self.0.len().checked_sub(1)?;
        self.0.get((self.0.len() * permille).div_ceil(1_000).saturating_sub(1).min(last)).copied()
    }
}

/// Everything that was compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub payments: usize,
    /// Fen.
    pub total_fee: i64,
    /// Lines or hits of the handler's side.
    pub rows: usize,
    pub findings: Vec<Finding>,
    /// From `paid_at` to the handler, for what it saw.
    pub handler: Delays,
    /// From `paid_at` to Paybell's decision.
    pub paybell: Delays,
    /// With a bare access log: at least so many payments have no accepted hit. Then nothing is said of single orders.
    pub missed_at_least: Option<usize>,
    /// Orders of [`Kind::NotPaid`] that Paybell was not asked about: there are too many of them.
    pub not_asked: usize,
}

impl Report {
    pub fn count(&self, kind: Kind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).count()
    }

    /// Fen of the payments that the findings of this kind are about.
    pub fn fen(&self, kind: Kind) -> i64 {
        let of_kind = self.findings.iter().filter(|finding| finding.kind == kind);
        of_kind.filter_map(|finding| finding.payment.as_ref()).map(|payment| payment.total_fee).sum()
    }
}

/// What a report is made of, and for which time.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub period: Period,
    /// From when on a payment was seen late.
    pub late_ms: i64,
}

/// Compares order by order. What is [`Kind::NotPaid`] is only suspected here: the caller asks what is known of those.
pub fn orders(payments: &[Payment], seen: &[Seen], frame: Frame) -> Report {
    let mut by_order: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for row in seen {
        by_order.entry(&row.out_trade_no).or_default().push(row);
    }
    by_order.values_mut().for_each(|rows| rows.sort_by_key(|row| row.at));
    let mut report = begin(payments, frame);
    report.rows = seen.len();
    let mut delays = Vec::new();
    let mut known: HashMap<&str, Vec<&Payment>> = HashMap::new();
    for payment in payments {
        known.entry(&payment.out_trade_no).or_default().push(payment);
    }
    for payment in payments.iter().filter(|payment| frame.period.holds(payment.paid_at)) {
        let rows = by_order.get(payment.out_trade_no.as_str()).map_or(&[][..], Vec::as_slice);
        let rows: Vec<&Seen> = rows.iter().copied().filter(|row| is_about(row, payment)).collect();
        delays.extend(rows.first().map(|row| row.at.since(payment.paid_at).0));
        let kinds = Kind::ALL.into_iter().filter(|kind| disagrees(*kind, payment, &rows, frame.late_ms));
        report.findings.extend(kinds.map(|kind| finding(kind, payment, &rows)));
    }
    for (order, rows) in by_order {
        let paid = known.get(order).map_or(&[][..], Vec::as_slice);
        let strange = rows.into_iter().filter(|row| !paid.iter().any(|payment| is_about(row, payment)));
        let strange: Vec<Seen> = strange.filter(|row| frame.period.holds(row.at)).cloned().collect();
        if !strange.is_empty() {
            report.findings.push(Finding {
                kind: Kind::NotPaid,
                out_trade_no: Some(order.to_owned()),
                payment: None,
                seen: strange,
                hit: None,
                state: None,
            });
        }
    }
    report.handler = Delays::of(delays);
    report
}

/// Compares with the hits of an access log: order by order if their URLs name the orders, else by number and time.
pub fn hits(payments: &[Payment], hits: &[Hit], frame: Frame) -> Report {
    let orders_known: HashMap<&str, &Payment> =
        payments.iter().map(|payment| (payment.out_trade_no.as_str(), payment)).collect();
    let order_of = |hit: &Hit| hit.parts().find(|part| orders_known.contains_key(part)).map(str::to_owned);
    let named: Vec<(&Hit, Option<String>)> = hits.iter().map(|hit| (hit, order_of(hit))).collect();
    let is_named = named.iter().any(|(_, order)| order.is_some());
    let taken = named.iter().filter(|(hit, _)| hit.is_taken());
    let mut report = if is_named {
        let seen: Vec<Seen> = taken.filter_map(|(hit, order)| Some(seen_of(hit, order.clone()?))).collect();
        orders(payments, &seen, frame)
    } else {
        by_number(payments, taken.map(|(hit, _)| *hit).collect(), frame)
    };
    report.rows = hits.len();
    let refused = named.into_iter().filter(|(hit, _)| !hit.is_taken() && frame.period.holds(hit.at));
    report.findings.extend(refused.map(|(hit, order)| Finding {
        kind: Kind::Refused,
        payment:
            order.as_ref().and_then(|order| orders_known.get(order.as_str())).map(|known| (*known).clone()),
        out_trade_no: order,
        seen: Vec::new(),
        hit: Some(hit.clone()),
        state: None,
    }));
    report
}

fn begin(payments: &[Payment], frame: Frame) -> Report {
    let within = || payments.iter().filter(|payment| frame.period.holds(payment.paid_at));
    Report {
        payments: within().count(),
        total_fee: within().map(|payment| payment.total_fee).sum(),
        paybell: Delays::of(within().map(|payment| payment.learned_at.since(payment.paid_at).0).collect()),
        ..Report::default()
    }
}

fn is_about(row: &Seen, payment: &Payment) -> bool {
    row.mch_id.as_ref().is_none_or(|mch_id| *mch_id == payment.mch_id)
}

fn disagrees(kind: Kind, payment: &Payment, rows: &[&Seen], late_ms: i64) -> bool {
    match kind {
        Kind::Missed => rows.is_empty(),
        Kind::AmountDiffers => {
            rows.iter().any(|row| row.total_fee.is_some_and(|fee| fee != payment.total_fee))
        }
        Kind::TransactionDiffers => {
            let differs = |id: &String| *id != payment.transaction_id;
            rows.iter().any(|row| row.transaction_id.as_ref().is_some_and(differs))
        }
        Kind::Mismatch => payment.mismatch.is_some(),
        Kind::Late => rows.first().is_some_and(|row| row.at.since(payment.paid_at).0 > late_ms),
        Kind::Doubled => rows.len() > 1,
        Kind::NotPaid | Kind::Refused => false,
    }
}

fn finding(kind: Kind, payment: &Payment, rows: &[&Seen]) -> Finding {
    Finding {
        kind,
        out_trade_no: Some(payment.out_trade_no.clone()),
        payment: Some(payment.clone()),
        seen: rows.iter().map(|row| (*row).clone()).collect(),
        hit: None,
        state: None,
    }
}

fn seen_of(hit: &Hit, out_trade_no: String) -> Seen {
    Seen { line: hit.line, mch_id: None, out_trade_no, at: hit.at, transaction_id: None, total_fee: None }
}

/// A hit shortly after the period may be about its last payments: without it they would count as missed.
fn by_number(payments: &[Payment], mut taken: Vec<&Hit>, frame: Frame) -> Report {
    let mut report = begin(payments, frame);
    let end = frame.period.to.map(|to| Timestamp::from_millis(to.millis().saturating_add(frame.late_ms)));
    let within = Period { to: end, ..frame.period };
    taken.retain(|hit| within.holds(hit.at));
    let mut paid: Vec<Timestamp> = payments.iter().map(|payment| payment.paid_at).collect();
    paid.retain(|at| frame.period.holds(*at));
    paid.sort_unstable();
    taken.sort_by_key(|hit| hit.at);
    let (mut coming, mut open, mut delays) = (paid.into_iter().peekable(), VecDeque::new(), Vec::new());
    for hit in taken {
        while let Some(at) = coming.next_if(|at| at.since(hit.at).0 <= CLOCKS_MS) {
            open.push_back(at);
        }
        // One that finds nothing open is a repeat, or forged.
        delays.extend(open.pop_front().map(|at: Timestamp| hit.at.since(at).0));
    }
    report.missed_at_least = Some(open.len() + coming.count());
    report.handler = Delays::of(delays);
    report
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
