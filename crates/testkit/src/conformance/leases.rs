//! I5 and I8: who may work on an order, and until when.

use paybell_core::check::Check;
use paybell_core::dead::DeadReason;
use paybell_core::ids::{LeaseToken, OrderKey};
use paybell_core::lease::{Cleared, FRESH, LOST_BEFORE_POISON, LeaseRequest, POISON_GAP, Taken};
use paybell_core::record::{Cause, Due, State};
use paybell_core::time::Millis;

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case { name: "the clock moves on and is steady", run: |desk| Box::pin(clock_moves(desk)) },
    Case { name: "taking creates the record", run: |desk| Box::pin(taking_creates(desk)) },
    Case { name: "a leased order has a due time", run: |desk| Box::pin(leased_is_due(desk)) },
    Case { name: "a taken lease makes others busy", run: |desk| Box::pin(others_are_busy(desk)) },
    Case { name: "a lease given up on is free to its taker", run: |desk| Box::pin(given_up(desk)) },
    Case { name: "a repeated wish has its own lease", run: |desk| Box::pin(repeated_wish(desk)) },
    Case { name: "orders do not share a lease", run: |desk| Box::pin(orders_are_apart(desk)) },
    Case { name: "a lease expires", run: |desk| Box::pin(expires(desk)) },
    Case { name: "a lease survives a restart", run: |desk| Box::pin(survives(desk)) },
    Case { name: "a put-off gives the lease back", run: |desk| Box::pin(put_off_gives_back(desk)) },
    Case { name: "a put-off needs the lease", run: |desk| Box::pin(put_off_is_fenced(desk)) },
    Case { name: "a manual check of a fresh look is answered", run: |desk| Box::pin(fresh(desk)) },
    Case { name: "lost leases are counted and forgiven", run: |desk| Box::pin(lost_are_counted(desk)) },
    Case { name: "ten lost leases leave a dead letter", run: |desk| Box::pin(poison(desk)) },
];

async fn clock_moves(desk: Desk) {
    let before = desk.on.ledger.clock().await.unwrap();
    desk.advance(Millis::seconds(90)).await;
    let after = desk.on.ledger.clock().await.unwrap();
    assert!(before.is_steady && after.is_steady);
    assert!(after.now.since(before.now) >= Millis::seconds(90));
}

async fn taking_creates(desk: Desk) {
    assert_eq!(desk.stored(&key(1)).await, None);
    let leased = desk.leased(notified(&key(1), TX), 1).await;
    let stored = desk.record(&key(1)).await;
    assert_eq!(stored, leased);
    assert_eq!((stored.state, stored.registration), (State::Pending, None));
    assert!(stored.progress.notified && stored.progress.quick.is_some());
}

async fn leased_is_due(desk: Desk) {
    let leased = desk.leased(notified(&key(1), TX), 1).await;
    let due = leased.due.unwrap();
    assert_eq!((due.at, due.cause), (leased.lease.unwrap().until, Cause::Notified));
    assert!(leased.keeps_its_due_time());
}

async fn others_are_busy(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    assert_eq!(desk.take(notified(&key(1), TX), 2).await, Taken::Busy);
    assert_eq!(desk.take(manual(&key(1)), 3).await, Taken::Busy);
    let stored = desk.record(&key(1)).await;
    assert_eq!(stored.lease, leased.lease);
    let (stored, leased) = (stored.due.unwrap(), leased.due.unwrap());
    assert!(
        stored.at <= leased.at && stored.cause == leased.cause,
        "an engine may look earlier, never later"
    );
}

async fn given_up(desk: Desk) {
    desk.leased(manual(&key(1)), 1).await;
    let again = |token, given_up| LeaseRequest {
        given_up: Some(LeaseToken(given_up)),
        ..request(notified(&key(1), TX), token)
    };
    assert_eq!(desk.on.ledger.take(&again(2, 9)).await.unwrap(), Taken::Busy, "somebody else's is not");
    let taken = desk.on.ledger.take(&again(2, 1)).await.unwrap();
    let Taken::Leased(record) = taken else { panic!("{taken:?}") };
    assert_eq!((record.lease.unwrap().token.0, record.leases_lost), (2, 0));
    assert_eq!(desk.clear(&key(1), 1).await, Cleared::Lost, "the old token opens nothing");
}

/// A take whose answer was lost is repeated as it was, and may have been stored all the same.
async fn repeated_wish(desk: Desk) {
    desk.leased(notified(&key(1), TX), 1).await;
    let again = desk.leased(notified(&key(1), TX), 1).await;
    assert_eq!((again.lease.unwrap().token.0, again.leases_lost), (1, 0));
    assert_eq!(desk.record(&key(1)).await, again);
    assert_eq!(desk.take(notified(&key(1), TX), 2).await, Taken::Busy);
    assert_eq!(desk.clear(&key(1), 1).await, Cleared::Done);
}

async fn orders_are_apart(desk: Desk) {
    desk.leased(manual(&key(1)), 1).await;
    desk.leased(manual(&key(2)), 2).await;
    desk.leased(manual(&key_of("1900000110", 1)), 3).await;
    assert_eq!(desk.take(manual(&key(1)), 4).await, Taken::Busy);
}

async fn expires(desk: Desk) {
    desk.leased(manual(&key(1)), 1).await;
    desk.advance(LEASE).await;
    let second = desk.leased(manual(&key(1)), 2).await;
    assert_eq!(second.lease.unwrap().token.0, 2);
    assert_eq!(second.leases_lost, 1);
}

async fn survives(mut desk: Desk) {
    let leased = desk.leased(notified(&key(1), TX), u128::MAX).await;
    desk.reopen().await;
    assert_eq!(desk.record(&key(1)).await, leased);
    assert_eq!(desk.take(manual(&key(1)), 2).await, Taken::Busy);
    assert_eq!(desk.clear(&key(1), u128::MAX).await, Cleared::Done);
}

async fn put_off_gives_back(desk: Desk) {
    let leased = desk.leased(notified(&key(1), TX), 1).await;
    let at = desk.now().await + Millis::seconds(5);
    assert_eq!(
        desk.on.ledger.put_off(&key(1), leased.lease.unwrap().token, at).await.unwrap(),
        Cleared::Done
    );
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.lease, stored.leases_lost), (None, 0));
    let due = stored.due.unwrap();
    assert_eq!((due.at, due.cause), (at, Cause::Notified), "what was urgent stays urgent");
    desk.leased(manual(&key(1)), 2).await;
}

async fn put_off_is_fenced(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    let token = |token| paybell_core::LeaseToken(token);
    let at = desk.now().await + Millis::seconds(5);
    assert_eq!(desk.on.ledger.put_off(&key(1), token(2), at).await.unwrap(), Cleared::Lost);
    assert_eq!(desk.on.ledger.put_off(&key(9), token(1), at).await.unwrap(), Cleared::Lost);
    assert_eq!(desk.stored(&key(9)).await, None);
    desk.advance(LEASE).await;
    assert_eq!(desk.on.ledger.put_off(&key(1), token(1), at).await.unwrap(), Cleared::Lost);
    assert_eq!(desk.record(&key(1)).await, leased);
}

/// So often a scene is played whose answer holds for a moment of the ledger's clock only.
const ROUNDS: usize = 20;

async fn fresh(desk: Desk) {
    for number in 0..ROUNDS {
        if shows_fresh(&desk, &key(number)).await {
            return;
        }
    }
    panic!("the clock moved on in each of {ROUNDS} rounds");
}

/// Whether the answer came before the clock had moved on too far.
async fn shows_fresh(desk: &Desk, key: &OrderKey) -> bool {
    let leased = desk.leased(manual(key), 1).await;
    let now = desk.now().await;
    let later = now + Millis::seconds(60);
    desk.commit(&leased, 1, |change| {
        change.progress.looked_at = Some(now);
        stays_due(later)(change);
    })
    .await;
    let taken = desk.take(manual(key), 2).await;
    if taken != Taken::Fresh {
        assert!(desk.now().await >= now + FRESH, "{taken:?} of what was looked at just now");
        return false;
    }
    let due = desk.record(key).await.due;
    assert_eq!(due, Some(Due { at: now + FRESH, cause: Cause::Manual }), "it is asked for later, not never");
    desk.advance(Millis::seconds(3)).await;
    desk.leased(manual(key), 2).await;
    true
}

async fn lost_are_counted(desk: Desk) {
    for token in 0..3 {
        let leased = desk.leased(Check::manual(key(1)), token).await;
        assert_eq!(u128::from(leased.leases_lost), token);
        desk.advance(LEASE).await;
    }
    let third = desk.leased(manual(&key(1)), 9).await;
    assert_eq!(third.leases_lost, 3);
    let due = third.due.unwrap();
    assert_eq!(
        due.at.since(third.lease.unwrap().until),
        Millis::seconds(2),
        "one backoff after the lease's end"
    );
    let later = due.at;
    desk.commit(&third, 9, stays_due(later)).await;
    assert_eq!(desk.record(&key(1)).await.leases_lost, 0);
}

async fn poison(desk: Desk) {
    for token in 0..u128::from(LOST_BEFORE_POISON) {
        desk.leased(manual(&key(1)), token).await;
        desk.advance(LEASE).await;
    }
    assert_eq!(desk.on.dead.list(None, 10).await.unwrap(), []);
    let last = desk.leased(manual(&key(1)), 99).await;
    assert_eq!(last.due.unwrap().at.since(last.lease.unwrap().until), POISON_GAP);
    let letters = desk.on.dead.list(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].reason.clone(), letters[0].key()), (DeadReason::Poison, Some(key(1))));
    desk.advance(LEASE).await;
    assert_eq!(desk.take(notified(&key(1), TX), 100).await, Taken::Busy, "it rests until its look");
}
