//! How often a merchant's queries may be sent: a token bucket whose burst is one second of its rate.
//!
//! Urgent calls come before those of the cadence. Nobody hands out tokens: each waiter knows its place, sleeps until
//! the bucket holds enough for itself and everybody before it, and leaves the queue by being dropped. So there is no
//! task to own, and a cancelled call costs nothing. Knows nothing of what is sent; [`super::Client`] asks first.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

const SECOND_NS: u64 = 1_000_000_000;

/// Whose turn comes first when a merchant's slots are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits: a notification, a shop, an operator.
    Urgent,
    /// A poll that was due.
    Cadence,
}

/// The wait would have been, or was, too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoSlot;

#[derive(Debug)]
pub(super) struct Slots {
    interval_ns: u64,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Saved-up time; `interval_ns` of it buy one slot. `None` before the first call: full.
    credit: Option<(u64, Instant)>,
    next_ticket: u64,
    urgent: VecDeque<u64>,
    cadence: VecDeque<u64>,
}

impl Slots {
    pub(super) fn new(rate_per_second: NonZeroU32) -> Self {
        let interval_ns = SECOND_NS / u64::from(rate_per_second.get());
        Self { interval_ns: interval_ns.max(1), queue: Mutex::default() }
    }

    /// The same merchant's with another rate: what is saved up stays, so that a change of the rate gives no second
    /// burst. Who waits at the old ones is served there.
    pub(super) fn with_rate(&self, rate_per_second: NonZeroU32) -> Self {
        let changed = Self::new(rate_per_second);
        changed.lock().credit = self.lock().credit;
        changed
    }

    pub(super) fn has_rate(&self, rate_per_second: NonZeroU32) -> bool {
        self.interval_ns == Self::new(rate_per_second).interval_ns
    }

    /// Takes a slot, waiting at most `wait_max`; gives up at once when the wait is sure to be longer.
    pub(super) async fn acquire(&self, priority: Priority, wait_max: Duration) -> Result<(), NoSlot> {
        let deadline = Instant::now() + wait_max;
        let place = Place { slots: self, priority, ticket: self.lock().join(priority) };
        loop {
            match place.take(Instant::now()) {
                Ok(()) => return Ok(()),
                Err(ready_at) if ready_at > deadline => return Err(NoSlot),
                Err(ready_at) => sleep_until(ready_at).await,
            }
        }
    }

    /// Counts a repeat that cannot wait: the next calls wait for it.
    pub(super) fn take_at_once(&self) {
        let mut queue = self.lock();
        let credit = queue.refill(Instant::now());
        queue.spend(credit, self.interval_ns);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn join(&mut self, priority: Priority) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiters(priority).push_back(ticket);
        ticket
    }

    fn waiters(&mut self, priority: Priority) -> &mut VecDeque<u64> {
        match priority {
            Priority::Urgent => &mut self.urgent,
            Priority::Cadence => &mut self.cadence,
        }
    }

    fn ahead_of(&self, priority: Priority, ticket: u64) -> usize {
        let before = |waiters: &VecDeque<u64>| waiters.iter().take_while(|other| **other != ticket).count();
        match priority {
            Priority::Urgent => before(&self.urgent),
            Priority::Cadence => self.urgent.len() + before(&self.cadence),
        }
    }

    fn refill(&mut self, now: Instant) -> u64 {
        let credit = match self.credit {
            None => SECOND_NS,
            Some((credit, at)) => {
                let passed = u64::try_from(now.saturating_duration_since(at).as_nanos()).unwrap_or(SECOND_NS);
                credit.saturating_add(passed).min(SECOND_NS)
            }
        };
        self.credit = Some((credit, now));
        credit
    }

    fn spend(&mut self, credit: u64, interval_ns: u64) {
        if let Some((left, _)) = &mut self.credit {
            *left = credit.saturating_sub(interval_ns);
        }
    }
}

/// A place in the queue, given up on drop.
struct Place<'s> {
    slots: &'s Slots,
    priority: Priority,
    ticket: u64,
}

impl Place<'_> {
    /// Takes a slot if there is one beside those of everybody ahead, else tells when there will be.
    fn take(&self, now: Instant) -> Result<(), Instant> {
        let mut queue = self.slots.lock();
        let credit = queue.refill(now);
        let ahead = u64::try_from(queue.ahead_of(self.priority, self.ticket)).unwrap_or(u64::MAX);
        let needed = ahead.saturating_add(1).saturating_mul(self.slots.interval_ns);
        if credit < needed {
            return Err(now + Duration::from_nanos(needed - credit));
        }
        queue.spend(credit, self.slots.interval_ns);
        Ok(())
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.slots.lock().waiters(self.priority).retain(|ticket| *ticket != self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::task::JoinSet;

    use super::*;

    fn slots(rate: u32) -> Arc<Slots> {
        Arc::new(Slots::new(NonZeroU32::new(rate).unwrap()))
    }

    async fn drain(slots: &Slots, count: u32) {
        for _ in 0..count {
            assert_eq!(slots.acquire(Priority::Cadence, Duration::ZERO).await, Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_of_burst_then_the_rate() {
        let slots = slots(10);
        drain(&slots, 10).await;
        assert_eq!(slots.acquire(Priority::Cadence, Duration::ZERO).await, Err(NoSlot));
        let start = Instant::now();
        for _ in 0..5 {
            slots.acquire(Priority::Cadence, Duration::from_secs(1)).await.unwrap();
        }
        let took = start.elapsed();
        assert!((490..=520).contains(&took.as_millis()), "{took:?}");
        tokio::time::advance(Duration::from_secs(100)).await;
        drain(&slots, 10).await;
        assert_eq!(slots.acquire(Priority::Cadence, Duration::ZERO).await, Err(NoSlot));
    }

    #[tokio::test(start_paused = true)]
    async fn urgent_calls_are_served_first() {
        let slots = slots(10);
        drain(&slots, 10).await;
        let mut waiting = JoinSet::new();
        for (priority, name) in [
            (Priority::Cadence, "cadence 1"),
            (Priority::Cadence, "cadence 2"),
            (Priority::Urgent, "urgent 1"),
            (Priority::Urgent, "urgent 2"),
        ] {
            let slots = Arc::clone(&slots);
            waiting
                .spawn(async move { slots.acquire(priority, Duration::from_secs(1)).await.map(|()| name) });
            tokio::task::yield_now().await;
        }
        let mut served = Vec::new();
        while let Some(name) = waiting.join_next().await {
            served.push(name.unwrap().unwrap());
        }
        assert_eq!(served, ["urgent 1", "urgent 2", "cadence 1", "cadence 2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_sure_to_be_too_long_is_not_begun() {
        let slots = slots(2);
        drain(&slots, 2).await;
        let start = Instant::now();
        assert_eq!(slots.acquire(Priority::Urgent, Duration::from_millis(400)).await, Err(NoSlot));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_waiter_leaves_the_queue() {
        let slots = slots(10);
        drain(&slots, 10).await;
        let gone = tokio::time::timeout(
            Duration::from_millis(50),
            slots.acquire(Priority::Urgent, Duration::from_secs(1)),
        );
        gone.await.unwrap_err();
        assert!(slots.lock().urgent.is_empty());
        let start = Instant::now();
        slots.acquire(Priority::Cadence, Duration::from_secs(1)).await.unwrap();
        assert!(start.elapsed() <= Duration::from_millis(60), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_rate_gives_no_second_burst() {
        let before = slots(10);
        drain(&before, 10).await;
        let after = before.with_rate(NonZeroU32::new(100).unwrap());
        assert_eq!(after.acquire(Priority::Urgent, Duration::ZERO).await, Err(NoSlot));
        tokio::time::advance(Duration::from_millis(50)).await;
        drain(&after, 5).await;
        assert_eq!(after.acquire(Priority::Urgent, Duration::ZERO).await, Err(NoSlot));
    }

    #[tokio::test(start_paused = true)]
    async fn repeats_are_paid_for_by_the_next_calls() {
        let slots = slots(10);
        drain(&slots, 9).await;
        slots.take_at_once();
        assert_eq!(slots.acquire(Priority::Urgent, Duration::ZERO).await, Err(NoSlot));
    }
}
