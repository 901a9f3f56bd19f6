//! Which of a merchant's API keys verified what: notifications, WeChat's answers, and requests that came through the
//! proxy. The roles count; this adds up, and says now and then that a previous key is still in use. It knows keys by
//! their place only.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::Gauge,
    },
    registry::Registry,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock::seconds_since_1970;

/// Between two looks at the counts.
const LOOK_GAP: Duration = Duration::from_secs(10);
/// A line about one merchant's previous key is followed by another after this time at the earliest.
const TELL_GAP: Duration = Duration::from_secs(3600);

type Labels = Vec<(&'static str, String)>;

/// What one role counts, by `mch_id` and `key`.
pub type KeyUsed = Family<Labels, Counter>;

const KEYS: [&str; 2] = ["current", "previous"];
const PREVIOUS: &str = "previous";
const DOCUMENTS: [&str; 3] = ["notification", "answer", "request"];

/// The counts of all roles in this process.
#[derive(Clone, Default)]
pub struct KeyCounts {
    /// Counted by the ingress.
    pub notifications: KeyUsed,
    /// Counted by the worker.
    pub answers: KeyUsed,
    /// Counted by the proxy.
    pub requests: KeyUsed,
    last_used: Family<Labels, Gauge<f64, AtomicU64>>,
    /// Every merchant since the start: what was counted stays.
    mch_ids: Arc<Mutex<BTreeSet<String>>>,
}

impl KeyCounts {
    /// Registers what is shown of them.
    pub fn register<'m>(registry: &mut Registry, mch_ids: impl IntoIterator<Item = &'m str>) -> Self {
        let counts = Self::default();
        counts.know(mch_ids);
        registry.register_collector(Box::new(counts.clone()));
        registry.register(
            "paybell_previous_key_used_timestamp_seconds",
            "When a merchant's previous API key verified something last, since the start of this process",
            counts.last_used.clone(),
        );
        counts
    }

    /// Shows these merchants too from now on.
    pub fn know<'m>(&self, mch_ids: impl IntoIterator<Item = &'m str>) {
        self.mch_ids().extend(mch_ids.into_iter().map(str::to_owned));
    }

    /// Says that previous keys are in use, until `end` is cancelled.
    pub async fn watch_previous(self, end: CancellationToken) {
        let mut previous = Previous::default();
        while !end.is_cancelled() {
            let mch_ids = self.mch_ids().clone();
            for mch_id in &mch_ids {
                let look = previous.look(mch_id, self.of(mch_id, PREVIOUS), Instant::now());
                if look.is_used {
                    let labels = vec![("mch_id", mch_id.clone())];
                    self.last_used.get_or_create(&labels).set(seconds_since_1970());
                }
                if let Some(counts) = look.to_tell {
                    tell(mch_id, counts);
                }
            }
            tokio::select! {
                () = end.cancelled() => {}
                () = sleep(LOOK_GAP) => {}
            }
        }
    }

    /// In the order of [`DOCUMENTS`].
    fn of(&self, mch_id: &str, key: &str) -> [u64; 3] {
        let labels = vec![("mch_id", mch_id.to_owned()), ("key", key.to_owned())];
        [&self.notifications, &self.answers, &self.requests]
            .map(|of_role| of_role.get(&labels).map_or(0, |counter| counter.get()))
    }

    fn mch_ids(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.mch_ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(mch_id: &str, [notifications, answers, requests]: [u64; 3]) {
    tracing::warn!(
        merchant.mch_id = mch_id,
        notifications,
        answers,
        requests,
        "the previous API key of merchant {mch_id} is still in use: since the last line it verified {notifications} \
         notifications and {answers} answers of WeChat, and {requests} requests of the shop; leave it in the \
         configuration"
    );
}

/// What is known of each merchant's previous key.
#[derive(Default)]
struct Previous(BTreeMap<String, Seen>);

#[derive(Default)]
struct Seen {
    counts: [u64; 3],
    told: [u64; 3],
    told_at: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
struct Look {
    is_used: bool,
    /// What came since the last line, if it is time for another.
    to_tell: Option<[u64; 3]>,
}

impl Previous {
    fn look(&mut self, mch_id: &str, counts: [u64; 3], now: Instant) -> Look {
        let seen = self.0.entry(mch_id.to_owned()).or_default();
        let is_used = counts != seen.counts;
        seen.counts = counts;
        let is_time = seen.told_at.is_none_or(|told_at| now.duration_since(told_at) >= TELL_GAP);
        if counts == seen.told || !is_time {
            return Look { is_used, to_tell: None };
        }
        let mut since = counts;
        since.iter_mut().zip(seen.told).for_each(|(count, told)| *count = count.saturating_sub(told));
        (seen.told, seen.told_at) = (counts, Some(now));
        Look { is_used, to_tell: Some(since) }
    }
}

impl Collector for KeyCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mch_ids = self.mch_ids().clone();
        let each = || mch_ids.iter().flat_map(|mch_id| KEYS.map(|key| (mch_id, key, self.of(mch_id, key))));
        let help = "Documents verified by merchant and API key";
        let mut used = encoder.encode_descriptor("paybell_key_used", help, None, MetricType::Counter)?;
        for (mch_id, key, counts) in each() {
            let labels = [("mch_id", mch_id.as_str()), ("key", key)];
            ConstCounter::new(counts.iter().sum::<u64>()).encode(used.encode_family(&labels)?)?;
        }
        let help = "The same by what was verified";
        let mut verified =
            encoder.encode_descriptor("paybell_key_verified", help, None, MetricType::Counter)?;
        for (mch_id, key, counts) in each() {
            for (document, count) in DOCUMENTS.iter().zip(counts) {
                let labels = [("mch_id", mch_id.as_str()), ("key", key), ("document", document)];
                ConstCounter::new(count).encode(verified.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for KeyCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCounts").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn count(of: &KeyUsed, mch_id: &str, key: &str, times: u64) {
        of.get_or_create(&vec![("mch_id", mch_id.to_owned()), ("key", key.to_owned())]).inc_by(times);
    }

    #[test]
    fn what_each_role_verified_is_shown_and_added_up() {
        let mut registry = Registry::default();
        let counts = KeyCounts::register(&mut registry, ["1900000109"]);
        count(&counts.notifications, "1900000109", "previous", 3);
        count(&counts.answers, "1900000109", "previous", 4);
        count(&counts.requests, "1900000109", "current", 5);
        count(&counts.answers, "1900000222", "current", 6);
        counts.know(["1900000222"]);
        let mut shown = String::new();
        encode(&mut shown, &registry).unwrap();
        for line in [
            "paybell_key_used_total{mch_id=\"1900000109\",key=\"previous\"} 7\n",
            "paybell_key_used_total{mch_id=\"1900000109\",key=\"current\"} 5\n",
            "paybell_key_used_total{mch_id=\"1900000222\",key=\"current\"} 6\n",
            "paybell_key_verified_total{mch_id=\"1900000109\",key=\"previous\",document=\"notification\"} 3\n",
            "paybell_key_verified_total{mch_id=\"1900000109\",key=\"previous\",document=\"answer\"} 4\n",
            "paybell_key_verified_total{mch_id=\"1900000109\",key=\"current\",document=\"request\"} 5\n",
            "# TYPE paybell_key_used counter\n",
        ] {
            assert!(shown.contains(line), "{line} in\n{shown}");
        }
    }

    #[test]
    fn a_previous_key_is_told_of_once_an_hour_and_only_while_it_is_used() {
        let mut previous = Previous::default();
        let begun = Instant::now();
        let mut look =
            |counts, minutes: u64| previous.look("1", counts, begun + Duration::from_secs(minutes * 60));
        assert_eq!(look([0, 0, 0], 0), Look { is_used: false, to_tell: None });
        assert_eq!(look([1, 0, 0], 1), Look { is_used: true, to_tell: Some([1, 0, 0]) }, "at once");
        assert_eq!(look([5, 2, 0], 30), Look { is_used: true, to_tell: None });
        assert_eq!(look([5, 2, 0], 60), Look { is_used: false, to_tell: None }, "an hour is not over");
        assert_eq!(look([5, 2, 0], 61), Look { is_used: false, to_tell: Some([4, 2, 0]) });
        assert_eq!(look([5, 2, 0], 600), Look { is_used: false, to_tell: None }, "nothing new");
        assert_eq!(look([5, 2, 1], 601), Look { is_used: true, to_tell: Some([0, 0, 1]) });
    }
}
