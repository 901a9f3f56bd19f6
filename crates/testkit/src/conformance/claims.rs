//! Section 6.5: due times become checks, each by one atomic step.

use paybell_core::check::{Lane, Reason};
use paybell_core::claim::CLAIM_LENGTH;
use paybell_core::lease::Cleared;
use paybell_core::record::{Cause, State};
use paybell_core::register::Application;
use paybell_core::time::Millis;

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case { name: "nothing is claimed early", run: |desk| Box::pin(not_early(desk)) },
    Case { name: "a claim carries its number and due time", run: |desk| Box::pin(carries_its_number(desk)) },
    Case { name: "a claim moves the due time past one lease", run: |desk| Box::pin(moves_on(desk)) },
    Case { name: "claims go by lane", run: |desk| Box::pin(by_lane(desk)) },
    Case { name: "a claim keeps the cause", run: |desk| Box::pin(keeps_the_cause(desk)) },
    Case { name: "the earliest are claimed first", run: |desk| Box::pin(earliest_first(desk)) },
    Case { name: "a leased order is claimed at the lease's end", run: |desk| Box::pin(leased_order(desk)) },
    Case { name: "an outgoing event is claimed as urgent", run: |desk| Box::pin(outgoing_is_urgent(desk)) },
    Case { name: "a settled order is never claimed", run: |desk| Box::pin(settled_order(desk)) },
    Case { name: "a claim survives a restart", run: |desk| Box::pin(survives(desk)) },
    Case { name: "the lag is that of the earliest due order", run: |desk| Box::pin(lag(desk)) },
];

async fn not_early(desk: Desk) {
    desk.register(&key(1), 1).await;
    for lane in Lane::ALL {
        assert_eq!(desk.claim(lane, 10).await, []);
    }
    desk.advance(Millis::seconds(15)).await;
    assert_eq!(desk.claim(Lane::Cadence, 10).await.len(), 1);
}

async fn carries_its_number(desk: Desk) {
    desk.register(&key(1), 1).await;
    let before = desk.record(&key(1)).await;
    desk.advance(Millis::seconds(15)).await;
    let check = desk.claim(Lane::Cadence, 10).await.remove(0);
    let stored = desk.record(&key(1)).await;
    assert_eq!((&check.key, check.reason, check.lane()), (&key(1), Reason::Due, Lane::Cadence));
    let claim = check.claim.unwrap();
    assert_eq!((claim.number, claim.due_for), (stored.claim, before.due.unwrap().at));
    assert_eq!(stored.claim, before.claim + 1);
    let mut unchanged = before;
    (unchanged.claim, unchanged.due) = (stored.claim, stored.due);
    assert_eq!(stored, unchanged, "a claim changes nothing else");
}

async fn moves_on(desk: Desk) {
    desk.register(&key(1), 1).await;
    desk.advance(Millis::seconds(15)).await;
    let before = desk.now().await;
    let first = desk.claim(Lane::Cadence, 10).await.remove(0);
    let due = desk.record(&key(1)).await.due.unwrap();
    assert!(due.at >= before + CLAIM_LENGTH && due.at <= desk.now().await + CLAIM_LENGTH);
    assert_eq!(desk.claim(Lane::Cadence, 10).await, []);
    desk.advance(CLAIM_LENGTH).await;
    let second = desk.claim(Lane::Cadence, 10).await.remove(0);
    assert_eq!(second.claim.unwrap().number, first.claim.unwrap().number + 1);
}

async fn by_lane(desk: Desk) {
    desk.register(&key(1), 1).await;
    let leased = desk.leased(notified(&key(2), TX), 1).await;
    desk.on.ledger.put_off(&key(2), leased.lease.unwrap().token, desk.now().await).await.unwrap();
    desk.advance(Millis::seconds(15)).await;
    let urgent = desk.claim(Lane::Urgent, 10).await;
    assert_eq!(urgent.iter().map(|check| &check.key).collect::<Vec<_>>(), [&key(2)]);
    assert_eq!(urgent[0].lane(), Lane::Urgent);
    let cadence = desk.claim(Lane::Cadence, 10).await;
    assert_eq!(cadence.iter().map(|check| &check.key).collect::<Vec<_>>(), [&key(1)]);
}

async fn keeps_the_cause(desk: Desk) {
    let leased = desk.leased(notified(&key(1), TX), 1).await;
    desk.on.ledger.put_off(&key(1), leased.lease.unwrap().token, desk.now().await).await.unwrap();
    for _ in 0..3 {
        let check = desk.claim(Lane::Urgent, 10).await.remove(0);
        assert_eq!(check.claim.unwrap().cause, Cause::Notified);
        desk.advance(CLAIM_LENGTH).await;
    }
}

async fn earliest_first(desk: Desk) {
    let now = desk.now().await;
    // The later the number, the earlier the order.
    for number in 0..20 {
        let age = Millis(1000 * i64::try_from(number).unwrap());
        let application = Application { created_at: Some(now - age), ..asks(1) };
        desk.on.registry.register(&key(number), &application).await.unwrap();
    }
    desk.advance(Millis::seconds(600)).await;
    let mut numbers = Vec::new();
    for _ in 0..4 {
        let claimed = desk.claim(Lane::Cadence, 5).await;
        assert_eq!(claimed.len(), 5, "no more than was asked for, and no less than there is");
        numbers.extend(claimed.iter().map(|check| check.claim.unwrap().due_for));
    }
    assert!(numbers.is_sorted(), "{numbers:?}");
}

/// So long before its end a lease is looked at.
const AHEAD: Millis = Millis::seconds(20);

async fn leased_order(desk: Desk) {
    desk.register(&key(1), 1).await;
    desk.advance(Millis::seconds(15)).await;
    let check = desk.claim(Lane::Cadence, 10).await.remove(0);
    desk.leased(check, 1).await;
    // The clock may move on by itself meanwhile.
    desk.advance(Millis(LEASE.0 - AHEAD.0)).await;
    assert_eq!(desk.claim(Lane::Cadence, 10).await, []);
    desk.advance(AHEAD).await;
    assert_eq!(desk.claim(Lane::Cadence, 10).await.len(), 1);
}

async fn outgoing_is_urgent(desk: Desk) {
    desk.commit_payment(&key(1), 1, State::Paid).await;
    desk.advance(LEASE).await;
    let check = desk.claim(Lane::Urgent, 10).await.remove(0);
    assert_eq!(check.claim.unwrap().cause, Cause::Outgoing);
    let next = desk.leased(check, 2).await;
    assert_eq!(next.outgoing.len(), 1);
    assert_eq!(desk.clear(&key(1), 2).await, Cleared::Done);
}

async fn settled_order(desk: Desk) {
    desk.register(&key(1), 1999).await;
    desk.settle(&key(1), State::Paid).await;
    desk.advance(Millis::seconds(30 * 86_400)).await;
    for lane in Lane::ALL {
        assert_eq!(desk.claim(lane, 10).await, []);
    }
}

async fn survives(mut desk: Desk) {
    desk.register(&key(1), 1).await;
    desk.register(&key(2), 1).await;
    desk.advance(Millis::seconds(15)).await;
    let check = desk.claim(Lane::Cadence, 1).await.remove(0);
    desk.reopen().await;
    let rest = desk.claim(Lane::Cadence, 10).await;
    assert_eq!(rest.len(), 1);
    assert_ne!(rest[0].key, check.key);
    desk.leased(check, 1).await;
}

async fn lag(desk: Desk) {
    assert_eq!(desk.on.due.lag_ms().await.unwrap(), 0);
    desk.register(&key(1), 1).await;
    assert_eq!(desk.on.due.lag_ms().await.unwrap(), 0, "not due yet");
    desk.advance(Millis::seconds(18)).await;
    let lag_ms = desk.on.due.lag_ms().await.unwrap();
    assert!((3_000..20_000).contains(&lag_ms), "{lag_ms}");
    desk.claim(Lane::Cadence, 1).await;
    assert_eq!(desk.on.due.lag_ms().await.unwrap(), 0);
}
