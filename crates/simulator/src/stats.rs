//! Counts of what the simulator did, for a summary or an oracle. Relaxed atomics; nothing reads them to decide.

use std::{
    array,
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;

use crate::faults::Fault;

/// A reading of all counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Orders placed, by unifiedorder or control.
    pub orders: u64,
    /// Orders paid.
    pub payments: u64,
    /// Requests to `/pay/unifiedorder`, whatever came of them.
    pub unified_orders: u64,
    pub order_queries: u64,
    pub close_orders: u64,
    pub micropays: u64,
    pub reversals: u64,
    /// Requests to `/secapi/pay/refund`, whatever came of them.
    pub refund_requests: u64,
    pub refund_queries: u64,
    pub bill_downloads: u64,
    /// Codes that were to be exchanged for openids.
    pub openids: u64,
    /// Refunds taken, each once.
    pub refunds: u64,
    /// Genuine notifications of refunds posted, copies included.
    pub refund_notifications_sent: u64,
    pub refund_notifications_acknowledged: u64,
    /// Genuine notifications posted, copies included.
    pub notifications_sent: u64,
    /// Those of them answered as WeChat demands.
    pub notifications_acknowledged: u64,
    /// Orders whose notification was given up after the last point of the cadence.
    pub notifications_exhausted: u64,
    /// Tampered, unsigned and forged notifications posted.
    pub forgeries_sent: u64,
    /// Those of them that the merchant took for good: must be 0.
    pub forgeries_acknowledged: u64,
    /// Faults played, by name; those that never struck are left out.
    pub faults: BTreeMap<&'static str, u64>,
    /// Faults of calls, as `refund.answer_lost`.
    pub call_faults: BTreeMap<String, u64>,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

pub(crate) struct Counters {
    pub(crate) orders: Counter,
    pub(crate) payments: Counter,
    pub(crate) unified_orders: Counter,
    pub(crate) order_queries: Counter,
    pub(crate) close_orders: Counter,
    pub(crate) micropays: Counter,
    pub(crate) reversals: Counter,
    pub(crate) refund_requests: Counter,
    pub(crate) refund_queries: Counter,
    pub(crate) bill_downloads: Counter,
    pub(crate) openids: Counter,
    pub(crate) refunds: Counter,
    pub(crate) refund_notifications_sent: Counter,
    pub(crate) refund_notifications_acknowledged: Counter,
    pub(crate) notifications_sent: Counter,
    pub(crate) notifications_acknowledged: Counter,
    pub(crate) notifications_exhausted: Counter,
    pub(crate) forgeries_sent: Counter,
    pub(crate) forgeries_acknowledged: Counter,
    faults: [(Fault, Counter); Fault::ALL.len()],
}

impl Default for Counters {
    fn default() -> Self {
        let mut all = Fault::ALL.into_iter();
        Counters {
            orders: Counter::default(),
            payments: Counter::default(),
            unified_orders: Counter::default(),
            order_queries: Counter::default(),
            close_orders: Counter::default(),
            micropays: Counter::default(),
            reversals: Counter::default(),
            refund_requests: Counter::default(),
            refund_queries: Counter::default(),
            bill_downloads: Counter::default(),
            openids: Counter::default(),
            refunds: Counter::default(),
            refund_notifications_sent: Counter::default(),
            refund_notifications_acknowledged: Counter::default(),
            notifications_sent: Counter::default(),
            notifications_acknowledged: Counter::default(),
            notifications_exhausted: Counter::default(),
            forgeries_sent: Counter::default(),
            forgeries_acknowledged: Counter::default(),
            faults: array::from_fn(|_| (all.next().expect("one place per fault"), Counter::default())),
        }
    }
}

impl Counters {
    pub(crate) fn struck(&self, fault: Fault) {
        if let Some((_, counter)) = self.faults.iter().find(|(of, _)| *of == fault) {
            counter.add_one();
        }
    }

    pub(crate) fn read(&self) -> Stats {
        let faults = self.faults.iter().map(|(fault, counter)| (fault.name(), counter.get()));
        Stats {
            orders: self.orders.get(),
            payments: self.payments.get(),
            unified_orders: self.unified_orders.get(),
            order_queries: self.order_queries.get(),
            close_orders: self.close_orders.get(),
            micropays: self.micropays.get(),
            reversals: self.reversals.get(),
            refund_requests: self.refund_requests.get(),
            refund_queries: self.refund_queries.get(),
            bill_downloads: self.bill_downloads.get(),
            openids: self.openids.get(),
            refunds: self.refunds.get(),
            refund_notifications_sent: self.refund_notifications_sent.get(),
            refund_notifications_acknowledged: self.refund_notifications_acknowledged.get(),
            notifications_sent: self.notifications_sent.get(),
            notifications_acknowledged: self.notifications_acknowledged.get(),
            notifications_exhausted: self.notifications_exhausted.get(),
            forgeries_sent: self.forgeries_sent.get(),
            forgeries_acknowledged: self.forgeries_acknowledged.get(),
            faults: faults.filter(|(_, count)| *count > 0).collect(),
            call_faults: BTreeMap::new(),
        }
    }
}
