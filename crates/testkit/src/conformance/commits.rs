//! I5, I7, I8: what a commit and a clear store, and when they are refused.

use paybell_core::event::EventType;
use paybell_core::lease::{Cleared, Committed, Taken};
use paybell_core::ports::OrderFilter;
use paybell_core::record::{Cause, Due, State};
use paybell_core::time::Millis;
use paybell_core::verdict::{Judgement, Ruling};

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case {
        name: "a commit with nothing outgoing ends the lease",
        run: |desk| Box::pin(ends_the_lease(desk)),
    },
    Case {
        name: "a commit with events keeps lease and due time",
        run: |desk| Box::pin(keeps_the_lease(desk)),
    },
    Case { name: "everything of a record comes back", run: |desk| Box::pin(comes_back(desk)) },
    Case { name: "a clear moves events into the history", run: |desk| Box::pin(clear_moves(desk)) },
    Case {
        name: "a clear replaces the due time by the decided one",
        run: |desk| Box::pin(clear_decides(desk)),
    },
    Case { name: "a commit needs the lease", run: |desk| Box::pin(commit_is_fenced(desk)) },
    Case { name: "a commit after the lease's end is refused", run: |desk| Box::pin(expired_commit(desk)) },
    Case { name: "a clear needs the lease", run: |desk| Box::pin(clear_is_fenced(desk)) },
    Case {
        name: "a clear after the lease's end is done if nobody came",
        run: |desk| Box::pin(late_clear(desk)),
    },
    Case { name: "the next holder gets what is outgoing", run: |desk| Box::pin(next_holder_publishes(desk)) },
    Case {
        name: "a commit on older facts is refused: registered",
        run: |desk| Box::pin(facts_registered(desk)),
    },
    Case { name: "a commit on older facts is refused: accepted", run: |desk| Box::pin(facts_accepted(desk)) },
    Case { name: "a forgotten order is gone", run: |desk| Box::pin(forgets(desk)) },
    Case {
        name: "an order that is looked at again is not forgotten",
        run: |desk| Box::pin(not_forgotten(desk)),
    },
    Case {
        name: "a commit stores its dead letter, a refused one none",
        run: |desk| Box::pin(dead_letter(desk)),
    },
    Case { name: "a commit survives a restart", run: |desk| Box::pin(survives(desk)) },
];

async fn ends_the_lease(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    let later = desk.now().await + Millis::seconds(30);
    assert_eq!(desk.commit(&leased, 1, stays_due(later)).await, Committed::Ended);
    let stored = desk.record(&key(1)).await;
    assert_eq!(stored.lease, None);
    assert_eq!(stored.due, Some(Due { at: later, cause: Cause::Cadence }));
    assert_eq!(stored.claim, leased.claim + 1);
    assert_eq!(stored.history.len(), 1);
}

async fn keeps_the_lease(desk: Desk) {
    let event = desk.commit_payment(&key(1), 1, State::Paid).await;
    let stored = desk.record(&key(1)).await;
    let lease = stored.lease.unwrap();
    assert!(lease.committed && lease.token.0 == 1);
    assert_eq!((stored.outgoing.as_slice(), stored.state), ([event].as_slice(), State::Paid));
    assert_eq!(stored.due, Some(Due { at: lease.until, cause: Cause::Outgoing }));
    assert_eq!(desk.take(manual(&key(1)), 2).await, Taken::Busy);
}

async fn comes_back(desk: Desk) {
    desk.register(&key(1), 1999).await;
    let event = desk.settle(&key(1), State::Mismatch).await;
    let stored = desk.record(&key(1)).await;
    assert_eq!(stored.payment, Some(payment(TX)));
    assert_eq!(stored.registration.as_ref().unwrap().total_fee.get(), 1999);
    assert_eq!(stored.events().collect::<Vec<_>>(), [&event]);
    assert_eq!(stored.version, 1);
    let listed = desk.on.records.list(&OrderFilter::default(), None, 10).await.unwrap().unwrap();
    assert_eq!(listed.records, std::slice::from_ref(&stored));
    let leased = desk.leased(manual(&key(1)), 5).await;
    assert_eq!((leased.payment, leased.history), (stored.payment, stored.history));
}

async fn clear_moves(desk: Desk) {
    let event = desk.commit_payment(&key(1), 1, State::Paid).await;
    assert_eq!(desk.clear(&key(1), 1).await, Cleared::Done);
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.outgoing.len(), stored.lease, stored.due), (0, None, None));
    let emitted = stored.history.last().unwrap();
    assert_eq!((emitted.what.as_str(), emitted.event.as_deref()), ("emitted", Some(&event)));
    assert_eq!(desk.clear(&key(1), 1).await, Cleared::Lost, "a lease ends once");
}

async fn clear_decides(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    let at = desk.now().await + Millis::seconds(600);
    let told = event(&key(1), EventType::Mismatch, TX);
    desk.commit(&leased, 1, |change| {
        pay(change, State::Pending, told);
        change.due = Some(Due { at, cause: Cause::Cadence });
    })
    .await;
    assert_ne!(desk.record(&key(1)).await.due.unwrap().at, at, "until the clear it is the lease's end");
    desk.clear(&key(1), 1).await;
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.due, stored.due_decided), (Some(Due { at, cause: Cause::Cadence }), None));
}

async fn commit_is_fenced(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    assert_eq!(desk.commit(&leased, 2, |change| change.state = State::Closed).await, Committed::Lost);
    assert_eq!(desk.record(&key(1)).await, leased);
    let mut elsewhere = leased.clone();
    elsewhere.key = key(2);
    assert_eq!(desk.commit(&elsewhere, 1, |change| change.state = State::Closed).await, Committed::Lost);
    assert_eq!(desk.stored(&key(2)).await, None);
}

async fn expired_commit(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    desk.advance(LEASE).await;
    assert_eq!(desk.commit(&leased, 1, |change| change.state = State::Closed).await, Committed::Lost);
    let second = desk.leased(manual(&key(1)), 2).await;
    assert_eq!(desk.commit(&leased, 1, |change| change.state = State::Closed).await, Committed::Lost);
    assert_eq!(desk.record(&key(1)).await, second);
    assert_eq!(desk.commit(&second, 2, |change| change.state = State::Closed).await, Committed::Ended);
}

async fn clear_is_fenced(desk: Desk) {
    desk.commit_payment(&key(1), 1, State::Paid).await;
    let before = desk.record(&key(1)).await;
    assert_eq!(desk.clear(&key(1), 2).await, Cleared::Lost);
    assert_eq!(desk.clear(&key(2), 1).await, Cleared::Lost);
    assert_eq!(desk.record(&key(1)).await, before);
}

async fn late_clear(desk: Desk) {
    desk.commit_payment(&key(1), 1, State::Paid).await;
    desk.advance(LEASE).await;
    assert_eq!(desk.clear(&key(1), 1).await, Cleared::Done);
    desk.commit_payment(&key(2), 1, State::Paid).await;
    desk.advance(LEASE).await;
    desk.leased(manual(&key(2)), 2).await;
    assert_eq!(desk.clear(&key(2), 1).await, Cleared::Lost, "somebody came");
    assert_eq!(desk.record(&key(2)).await.outgoing.len(), 1);
}

async fn next_holder_publishes(mut desk: Desk) {
    let event = desk.commit_payment(&key(1), 1, State::Paid).await;
    desk.reopen().await;
    desk.advance(LEASE).await;
    let next = desk.leased(notified(&key(1), TX), 2).await;
    assert_eq!(next.outgoing, [event]);
    assert_eq!(next.leases_lost, 0, "the lease that committed was not lost");
    assert_eq!(desk.clear(&key(1), 2).await, Cleared::Done);
}

async fn facts_registered(desk: Desk) {
    let leased = desk.leased(notified(&key(1), TX), 1).await;
    desk.register(&key(1), 5).await;
    let committed = desk.commit(&leased, 1, |change| change.state = State::Closed).await;
    let Committed::Changed(changed) = committed else { panic!("not refused: {committed:?}") };
    assert_eq!(changed.registration.as_ref().unwrap().total_fee.get(), 5);
    assert_eq!((changed.state, changed.lease), (State::Pending, leased.lease));
    assert_eq!(desk.commit(&changed, 1, |change| change.state = State::Closed).await, Committed::Ended);
    let stored = desk.record(&key(1)).await;
    assert_eq!(stored.registration, changed.registration, "a commit never writes what registering wrote");
    assert_eq!(stored.due.unwrap().cause, Cause::Registered);
}

async fn facts_accepted(desk: Desk) {
    desk.settle(&key(1), State::Mismatch).await;
    let leased = desk.leased(manual(&key(1)), 1).await;
    let judgement = Judgement {
        ruling: Ruling::Accept,
        who: "ann".to_owned(),
        why: "ok".to_owned(),
        transaction_id: None,
    };
    desk.on.registry.judge(&key(1), &judgement).await.unwrap();
    let committed = desk.commit(&leased, 1, |_| {}).await;
    let Committed::Changed(changed) = committed else { panic!("not refused: {committed:?}") };
    assert_eq!(changed.verdict.unwrap().who, "ann");
}

async fn forgets(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    assert_eq!(desk.commit(&leased, 1, |change| change.forget = true).await, Committed::Ended);
    assert_eq!(desk.stored(&key(1)).await, None);
    assert_eq!(desk.on.records.list(&OrderFilter::default(), None, 10).await.unwrap().unwrap().records, []);
    desk.advance(Millis::seconds(600)).await;
    for lane in paybell_core::Lane::ALL {
        assert_eq!(desk.claim(lane, 10).await, []);
    }
}

async fn not_forgotten(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    desk.take(notified(&key(1), TX), 2).await;
    assert_eq!(desk.commit(&leased, 1, |change| change.forget = true).await, Committed::Ended);
    let stored = desk.record(&key(1)).await;
    assert!(stored.due.is_some_and(|due| due.cause == Cause::Notified));
}

async fn dead_letter(desk: Desk) {
    let leased = desk.leased(manual(&key(1)), 1).await;
    let later = desk.now().await + Millis::seconds(30);
    desk.commit(&leased, 2, |change| change.dead = Some(letter(1, "refused"))).await;
    assert_eq!(desk.on.dead.list(None, 10).await.unwrap(), []);
    desk.commit(&leased, 1, |change| {
        change.dead = Some(letter(1, "stored"));
        stays_due(later)(change);
    })
    .await;
    assert_eq!(desk.on.dead.list(None, 10).await.unwrap(), [letter(1, "stored")]);
}

async fn survives(mut desk: Desk) {
    desk.register(&key(1), 1999).await;
    desk.settle(&key(1), State::Paid).await;
    desk.commit_payment(&key(2), 1, State::Paid).await;
    let before = (desk.record(&key(1)).await, desk.record(&key(2)).await);
    desk.reopen().await;
    assert_eq!((desk.record(&key(1)).await, desk.record(&key(2)).await), before);
    assert_eq!(desk.clear(&key(2), 1).await, Cleared::Done);
}
