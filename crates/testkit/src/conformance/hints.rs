//! I5, I6: look again, duplicates, and stale claims.

use paybell_core::check::{Check, Lane};
use paybell_core::lease::{Cleared, Committed, Taken};
use paybell_core::record::{Cause, Hint, State};
use paybell_core::time::Millis;

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case { name: "look again keeps the hint", run: |desk| Box::pin(keeps_the_hint(desk)) },
    Case { name: "two different hints count as any", run: |desk| Box::pin(hints_merge(desk)) },
    Case { name: "look again makes the order due at once", run: |desk| Box::pin(due_at_once(desk)) },
    Case { name: "a clear hands look again on", run: |desk| Box::pin(clear_hands_on(desk)) },
    Case { name: "a clear drops a look again that is answered", run: |desk| Box::pin(clear_drops(desk)) },
    Case { name: "an expired lease hands look again on", run: |desk| Box::pin(next_holder_sees(desk)) },
    Case { name: "a put-off keeps the notification", run: |desk| Box::pin(put_off_keeps(desk)) },
    Case { name: "a duplicate is dropped once nothing is outgoing", run: |desk| Box::pin(duplicate(desk)) },
    Case { name: "another transaction is no duplicate", run: |desk| Box::pin(no_duplicate(desk)) },
    Case {
        name: "a due check of an unknown order creates nothing",
        run: |desk| Box::pin(stale_unknown(desk)),
    },
    Case { name: "an older claim is stale and touches nothing", run: |desk| Box::pin(stale_older(desk)) },
    Case { name: "a commit makes older claims stale", run: |desk| Box::pin(stale_after_commit(desk)) },
];

async fn keeps_the_hint(desk: Desk) {
    desk.leased(manual(&key(1)), 1).await;
    desk.take(notified(&key(1), TX), 2).await;
    desk.take(notified(&key(1), TX), 3).await;
    let again = desk.record(&key(1)).await.look_again.unwrap();
    assert_eq!((again.cause, again.notified), (Cause::Notified, Some(Hint::One(tx(TX)))));
}

async fn hints_merge(desk: Desk) {
    for (number, second) in [(1, Some(tx("42"))), (2, None)] {
        desk.leased(manual(&key(number)), 1).await;
        desk.take(notified(&key(number), TX), 2).await;
        desk.take(Check::notified(key(number), second), 3).await;
        assert_eq!(desk.record(&key(number)).await.look_again.unwrap().notified, Some(Hint::Any));
    }
}

async fn due_at_once(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    desk.take(notified(&key(1), TX), 2).await;
    let later = desk.now().await + Millis::seconds(600);
    assert_eq!(desk.commit(&leased, 1, stays_due(later)).await, Committed::Ended);
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.lease, stored.look_again), (None, None));
    assert!(stored.due.unwrap().at <= desk.now().await && stored.due.unwrap().cause == Cause::Notified);
    assert!(stored.progress.notified);
    assert_eq!(desk.claim(Lane::Urgent, 10).await.len(), 1);
}

async fn clear_hands_on(desk: Desk) {
    desk.commit_payment(&key(1), 1, State::Paid).await;
    assert_eq!(desk.take(notified(&key(1), "42"), 2).await, Taken::Busy);
    assert_eq!(desk.clear(&key(1), 1).await, Cleared::Done);
    let stored = desk.record(&key(1)).await;
    assert!(stored.due.unwrap().at <= desk.now().await && stored.due.unwrap().cause == Cause::Notified);
}

async fn clear_drops(desk: Desk) {
    desk.commit_payment(&key(1), 1, State::Paid).await;
    assert_eq!(desk.take(notified(&key(1), TX), 2).await, Taken::Busy);
    assert_eq!(desk.clear(&key(1), 1).await, Cleared::Done);
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.due, stored.look_again, stored.lease), (None, None, None));
}

async fn next_holder_sees(desk: Desk) {
    desk.leased(manual(&key(1)), 1).await;
    desk.take(notified(&key(1), TX), 2).await;
    desk.advance(LEASE).await;
    let next = desk.leased(manual(&key(1)), 3).await;
    assert_eq!(next.look_again, None, "taking a lease clears look again");
    assert_eq!(next.progress.quick.unwrap().hint, Hint::One(tx(TX)));
    assert!(next.due.unwrap().cause.is_urgent());
}

async fn put_off_keeps(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    desk.take(notified(&key(1), TX), 2).await;
    let at = desk.now().await + Millis::seconds(5);
    desk.on.ledger.put_off(&key(1), leased.lease.unwrap().token, at).await.unwrap();
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.look_again, stored.due.unwrap().at), (None, at));
    assert!(stored.progress.notified && stored.progress.quick.is_some());
}

async fn duplicate(desk: Desk) {
    desk.commit_payment(&key(1), 1, State::Paid).await;
    assert_eq!(desk.take(notified(&key(1), TX), 2).await, Taken::Busy, "something is still outgoing");
    desk.clear(&key(1), 1).await;
    let before = desk.record(&key(1)).await;
    assert_eq!(desk.take(notified(&key(1), TX), 3).await, Taken::Duplicate);
    assert_eq!(desk.record(&key(1)).await, before);
}

async fn no_duplicate(desk: Desk) {
    desk.settle(&key(1), State::Paid).await;
    let leased = desk.leased(notified(&key(1), "42"), 2).await;
    assert_eq!(leased.state, State::Paid);
    desk.clear(&key(1), 2).await;
    desk.leased(Check::notified(key(1), None), 3).await;
}

async fn stale_unknown(desk: Desk) {
    desk.register(&key(1), 1).await;
    desk.advance(Millis::seconds(15)).await;
    let claimed = desk.claim(Lane::Cadence, 1).await;
    let unknown = Check { key: key(2), ..claimed[0].clone() };
    assert_eq!(desk.take(unknown, 1).await, Taken::Stale);
    assert_eq!(desk.stored(&key(2)).await, None);
}

async fn stale_older(desk: Desk) {
    desk.register(&key(1), 1).await;
    desk.advance(Millis::seconds(15)).await;
    let older = desk.claim(Lane::Cadence, 1).await.remove(0);
    desk.advance(Millis::seconds(60)).await;
    let newer = desk.claim(Lane::Cadence, 1).await.remove(0);
    let leased = desk.leased(newer, 1).await;
    assert_eq!(desk.take(older, 2).await, Taken::Stale);
    assert_eq!(desk.record(&key(1)).await, leased, "no look again");
}

async fn stale_after_commit(desk: Desk) {
    desk.register(&key(1), 1).await;
    desk.advance(Millis::seconds(15)).await;
    let claimed = desk.claim(Lane::Cadence, 1).await.remove(0);
    let leased = desk.leased(claimed.clone(), 1).await;
    let later = desk.now().await + Millis::seconds(60);
    desk.commit(&leased, 1, stays_due(later)).await;
    assert_eq!(desk.take(claimed, 2).await, Taken::Stale);
}
