//! The worker's metrics.

use paybell_core::event::{Event, EventType, LearnedBy};
use paybell_core::refund::Refund;
use paybell_core::time::Millis;
use paybell_core::{Reason, Timestamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::time::Duration;
use tokio::time::Instant;

/// Where a refund waits for something. One in doubt is asked for as well.
const UNSETTLED: [&str; 5] = ["asked", "doubt", "notified", "processing", "abnormal"];
const LEARNED_BY: [LearnedBy; 4] =
    [LearnedBy::Notification, LearnedBy::Poll, LearnedBy::Bill, LearnedBy::Manual];
const AGES: [&str; 4] = ["under_1h", "under_1d", "under_7d", "over_7d"];

type Labels = Vec<(&'static str, String)>;

/// `paybell_key_used_total{mch_id,key}`: owned by the process, counted here and by the ingress.
pub type KeyUsed = Family<Labels, Counter>;

/// What the worker counts.
#[derive(Clone)]
pub struct WorkerMetrics {
    checks: Family<[(&'static str, &'static str); 2], Counter>,
    events: Family<Labels, Counter>,
    withheld: Family<Labels, Counter>,
    paid_to_emitted: Histogram,
    queries: Family<Labels, Counter>,
    query_seconds: Family<Labels, Histogram>,
    step_seconds: Family<[(&'static str, &'static str); 1], Histogram>,
    refund_looks: Family<[(&'static str, &'static str); 2], Counter>,
    key_used: KeyUsed,
}

impl WorkerMetrics {
    /// Registers the metrics. What is sure to be counted one day begins at 0, so that a rate is seen from its first
    /// count on.
    pub fn register<'m>(
        registry: &mut Registry,
        mch_ids: impl IntoIterator<Item = &'m str>,
        key_used: &KeyUsed,
    ) -> Self {
        let metrics = Self {
            checks: Family::default(),
            events: Family::default(),
            withheld: Family::default(),
            paid_to_emitted: Histogram::new([
                0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 300.0, 3_600.0, 86_640.0,
            ]),
            queries: Family::default(),
            query_seconds: Family::new_with_constructor(query_histogram),
            step_seconds: Family::new_with_constructor(step_histogram),
            refund_looks: Family::default(),
            key_used: key_used.clone(),
        };
        registry.register("paybell_checks", "Checks by reason and outcome", metrics.checks.clone());
        registry.register("paybell_events", "Events emitted by type and source", metrics.events.clone());
        registry.register(
            "paybell_shadow_events",
            "Events decided in shadow mode by type and source, and told to nobody",
            metrics.withheld.clone(),
        );
        registry.register(
            "paybell_paid_to_emitted_seconds",
            "From WeChat's time_end to the emission of order.paid",
            metrics.paid_to_emitted.clone(),
        );
        registry.register(
            "paybell_queries",
            "Calls to WeChat by merchant and result",
            metrics.queries.clone(),
        );
        registry.register(
            "paybell_query_seconds",
            "Duration of calls to WeChat",
            metrics.query_seconds.clone(),
        );
        registry.register(
            "paybell_check_step_seconds",
            "Duration of a check's steps at the engines",
            metrics.step_seconds.clone(),
        );
        registry.register(
            "paybell_refund_looks",
            "Looks that left a refund unsettled, by its state and age",
            metrics.refund_looks.clone(),
        );
        metrics.begin_at_zero(mch_ids);
        metrics
    }

    /// Does one step at an engine and counts how long it took.
    pub(crate) async fn timed<T>(&self, step: &'static str, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let done = work.await;
        self.step_seconds.get_or_create(&[("step", step)]).observe(begun.elapsed().as_secs_f64());
        done
    }

    fn begin_at_zero<'m>(&self, mch_ids: impl IntoIterator<Item = &'m str>) {
        for reason in [Reason::Notified, Reason::Due, Reason::Billed, Reason::Manual] {
            for outcome in ["paid", "transient", "given_back"] {
                self.checks.get_or_create(&[("reason", reason.as_str()), ("outcome", outcome)]).inc_by(0);
            }
        }
        // Counts every check, whatever comes of it: an alert asks whether any worker takes one.
        drop(self.step_seconds.get_or_create(&[("step", "take")]));
        for kind in EventType::ALL {
            for learned_by in LEARNED_BY {
                self.events.get_or_create(&event_labels(kind, learned_by)).inc_by(0);
                self.withheld.get_or_create(&event_labels(kind, learned_by)).inc_by(0);
            }
        }
        for state in UNSETTLED {
            for age in AGES {
                self.refund_looks.get_or_create(&[("state", state), ("age", age)]).inc_by(0);
            }
        }
        mch_ids.into_iter().for_each(|mch_id| self.begin_merchant(mch_id));
    }

    /// A look found that a refund is not settled yet. One that lasts is looked at every six hours, so counting looks tells
    /// how many wait and for how long, and asks nothing of an engine.
    pub(crate) fn refund_looked(&self, refund: &Refund, now: Timestamp) {
        let state = if refund.is_in_doubt() { "doubt" } else { refund.state.as_str() };
        if let Some(state) = UNSETTLED.into_iter().find(|one| *one == state) {
            let labels = [("state", state), ("age", age_of(now.since(refund.known_at)))];
            self.refund_looks.get_or_create(&labels).inc();
        }
    }

    /// The same for one merchant, which may come while the process runs.
    pub(crate) fn begin_merchant(&self, mch_id: &str) {
        let merchant = ("mch_id", mch_id.to_owned());
        drop(self.query_seconds.get_or_create(&vec![merchant.clone()]));
        for result in ["answered", "key_refused"] {
            let labels = vec![merchant.clone(), ("result", result.to_owned())];
            self.queries.get_or_create(&labels).inc_by(0);
        }
        for key in ["current", "previous"] {
            let labels = vec![("mch_id", mch_id.to_owned()), ("key", key.to_owned())];
            self.key_used.get_or_create(&labels).inc_by(0);
        }
    }

    pub(crate) fn checked(&self, reason: Reason, outcome: &'static str) {
        self.checks.get_or_create(&[("reason", reason.as_str()), ("outcome", outcome)]).inc();
    }

    pub(crate) fn emitted(&self, event: &Event, now: Timestamp) {
        let events = if event.is_shadow() { &self.withheld } else { &self.events };
        events.get_or_create(&event_labels(event.kind, event.learned_by())).inc();
        if let (EventType::Paid, Some(paid_at)) = (event.kind, event.order().and_then(|data| data.paid_at)) {
            let after = u64::try_from(now.since(paid_at).0).unwrap_or(0);
            self.paid_to_emitted.observe(Duration::from_millis(after).as_secs_f64());
        }
    }

    pub(crate) fn queried(&self, mch_id: &str, result: &'static str, after: Duration) {
        let merchant = ("mch_id", mch_id.to_owned());
        self.query_seconds.get_or_create(&vec![merchant.clone()]).observe(after.as_secs_f64());
        self.queries.get_or_create(&vec![merchant, ("result", result.to_owned())]).inc();
    }

    pub(crate) fn key_used(&self, mch_id: &str, key: &'static str) {
        let labels = vec![("mch_id", mch_id.to_owned()), ("key", key.to_owned())];
        self.key_used.get_or_create(&labels).inc();
    }
}

fn age_of(age: Millis) -> &'static str {
    const HOUR: i64 = 3_600_000;
    match age.0 {
        ..HOUR => "under_1h",
        HOUR..86_400_000 => "under_1d",
        86_400_000..604_800_000 => "under_7d",
        _ => "over_7d",
    }
}

fn event_labels(kind: EventType, learned_by: LearnedBy) -> Labels {
    vec![("type", kind.as_str().to_owned()), ("learned_by", learned_by.as_str().to_owned())]
}

fn step_histogram() -> Histogram {
    Histogram::new([0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5])
}

fn query_histogram() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

#[cfg(test)]
mod tests {
    use paybell_core::refund::{RefundApplication, RefundState, Refusal, request};
    use paybell_core::{Fen, OrderKey, OutRefundNo};

    use super::*;

    fn refund() -> Refund {
        let wish = RefundApplication {
            out_refund_no: OutRefundNo::new("R1").unwrap(),
            refund_fee: Fen::new(1).unwrap(),
            total_fee: Some(Fen::new(1).unwrap()),
            fee_type: None,
            refund_account: None,
            refund_desc: None,
            seen_as: None,
            who: String::new(),
        };
        let (record, _) = request(None, &OrderKey::new("1", "T1").unwrap(), &wish, Timestamp::from_millis(0));
        record.unwrap().refunds.remove(0)
    }

    fn refusal() -> Refusal {
        let [code, said, cause, remedy, cause_zh, remedy_zh] = [(); 6].map(|()| String::new());
        Refusal { code, said, cause, remedy, cause_zh, remedy_zh }
    }

    /// A series that appears with its first count shows no rise, and its alert never fires.
    #[test]
    fn what_an_alert_counts_begins_at_zero() {
        let mut registry = Registry::default();
        WorkerMetrics::register(&mut registry, ["1"], &KeyUsed::default());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let is_there = |line: String| assert!(text.contains(&format!("{line} 0\n")), "{line} in\n{text}");
        for learned_by in ["notification", "poll", "bill", "manual"] {
            for kind in ["order.paid", "order.duplicate_payment"] {
                let labels = format!("{{type=\"{kind}\",learned_by=\"{learned_by}\"}}");
                is_there(format!("paybell_events_total{labels}"));
                is_there(format!("paybell_shadow_events_total{labels}"));
            }
        }
        for reason in ["notified", "due", "billed", "manual"] {
            is_there(format!("paybell_checks_total{{reason=\"{reason}\",outcome=\"transient\"}}"));
            is_there(format!("paybell_checks_total{{reason=\"{reason}\",outcome=\"given_back\"}}"));
        }
        is_there("paybell_check_step_seconds_count{step=\"take\"}".to_owned());
        is_there("paybell_queries_total{mch_id=\"1\",result=\"key_refused\"}".to_owned());
    }

    #[test]
    fn looks_at_refunds_that_wait_are_counted_by_state_and_age_from_zero_on() {
        let mut registry = Registry::default();
        let metrics = WorkerMetrics::register(&mut registry, [], &KeyUsed::default());
        let shown = |registry: &Registry, state: &str, age: &str| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
            let name = format!("paybell_refund_looks_total{{state=\"{state}\",age=\"{age}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)).map(|count| count.parse::<u32>().unwrap())
        };
        for state in RefundState::ALL {
            for (hours, age) in [(0, "under_1h"), (1, "under_1d"), (24, "under_7d"), (168, "over_7d")] {
                let waits = !matches!(state.as_str(), "succeeded" | "closed" | "refused");
                assert_eq!(shown(&registry, state.as_str(), age), waits.then_some(0), "{state:?}");
                let refund = Refund { state, ..refund() };
                metrics.refund_looked(&refund, Timestamp::from_millis(hours * 3_600_000));
                assert_eq!(shown(&registry, state.as_str(), age), waits.then_some(1), "{state:?} {age}");
            }
        }
        let doubtful = Refund { refusal: Some(refusal()), ..refund() };
        metrics.refund_looked(&doubtful, Timestamp::from_millis(0));
        assert_eq!(shown(&registry, "doubt", "under_1h"), Some(1));
        assert_eq!(shown(&registry, "asked", "under_1h"), Some(1), "it is not counted as asked, too");
    }
}
