//! Whether a replica followed the master that sentinels named, and since when none does. It asks nobody.
//!
//! A failover that people order cuts the replica off first, and the old master takes writes for seconds more; what it
//! takes then is thrown away. So its word alone is none before the sentinels have had time to name another one.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::address::Host;

/// After so long sentinels that follow somebody else have said so.
const FAILOVER_MAX: Duration = Duration::from_secs(10);

/// The server that a replica followed, and since when that is missed.
#[derive(Default)]
pub(crate) struct Followed(Mutex<Option<(Host, Option<Duration>)>>);

impl Followed {
    /// A replica follows the server.
    pub fn note(&self, host: &Host) {
        *self.lock() = Some((host.clone(), None));
    }

    /// Whether one did, and nobody has said that it is gone for good.
    pub fn is_known(&self, host: &Host) -> bool {
        self.lock().as_ref().is_some_and(|(followed, _)| followed == host)
    }

    /// None follows now: whether a failover that began with that would be over.
    pub fn miss(&self, host: &Host, now: Duration) -> bool {
        let mut lock = self.lock();
        let Some((_, missed)) = lock.as_mut().filter(|(followed, _)| followed == host) else { return true };
        now.saturating_sub(*missed.get_or_insert(now)) >= FAILOVER_MAX
    }

    /// It is gone for good.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Host, Option<Duration>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_gone_when_a_failover_would_be_over() {
        let host = |port| Host { name: "::1".to_owned(), port };
        let at = Duration::from_secs;
        let followed = Followed::default();
        assert!(!followed.is_known(&host(1)) && followed.miss(&host(1), at(0)), "there never was one");
        followed.note(&host(1));
        assert!(followed.is_known(&host(1)));
        assert!(!followed.miss(&host(1), at(50)), "it counts from when it is missed first");
        assert!(!followed.miss(&host(1), at(59)) && followed.miss(&host(1), at(60)));
        followed.note(&host(1));
        assert!(!followed.miss(&host(1), at(61)), "it came again");
        assert!(!followed.is_known(&host(2)) && followed.miss(&host(2), at(61)), "nothing of another server");
        followed.forget();
        assert!(!followed.is_known(&host(1)));
    }
}
