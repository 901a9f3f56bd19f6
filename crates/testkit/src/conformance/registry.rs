//! Section 5: registering, accepting and rejecting, each one compare-and-set without a lease.

use paybell_core::ids::AppId;
use paybell_core::lease::Committed;
use paybell_core::record::{Cause, State};
use paybell_core::register::{Application, Registered};
use paybell_core::time::Millis;
use paybell_core::verdict::{Judged, Judgement, Ruling};

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case {
        name: "a registration is added, same, or different",
        run: |desk| Box::pin(added_same_different(desk)),
    },
    Case { name: "a registration keeps every field", run: |desk| Box::pin(keeps_every_field(desk)) },
    Case { name: "a registration survives a restart", run: |desk| Box::pin(survives(desk)) },
    Case { name: "a registration too far ahead stores nothing", run: |desk| Box::pin(ahead(desk)) },
    Case { name: "a new order is due at the first cadence point", run: |desk| Box::pin(first_point(desk)) },
    Case { name: "registering a known order makes it due at once", run: |desk| Box::pin(known_order(desk)) },
    Case { name: "registering a leased order asks to look again", run: |desk| Box::pin(leased_order(desk)) },
    Case { name: "a ruling needs an order that waits for it", run: |desk| Box::pin(nothing_waits(desk)) },
    Case { name: "accept stores who and what, and wakes the order", run: |desk| Box::pin(accept(desk)) },
    Case {
        name: "a ruling on another transaction is refused",
        run: |desk| Box::pin(other_transaction(desk)),
    },
    Case { name: "reject can be overruled, not repeated", run: |desk| Box::pin(reject(desk)) },
];

async fn added_same_different(desk: Desk) {
    assert_eq!(desk.register(&key(1), 1999).await, Registered::Added);
    let stored = desk.record(&key(1)).await;
    assert_eq!(desk.register(&key(1), 1999).await, Registered::Same);
    assert_eq!(desk.register(&key(1), 2000).await, Registered::Different(vec!["total_fee"]));
    assert_eq!(desk.record(&key(1)).await, stored);
    assert_eq!(desk.register(&key_of("1900000110", 1), 5).await, Registered::Added, "a key has two parts");
}

async fn keeps_every_field(desk: Desk) {
    let now = desk.now().await;
    let application = Application {
        total_fee: paybell_core::Fen::new(1999).unwrap(),
        fee_type: Some(paybell_core::Currency::new("USD").unwrap()),
        appid: Some(AppId::new("wx8888888888888888").unwrap()),
        sub_mch_id: Some(paybell_core::MchId::new("1900000110").unwrap()),
        created_at: Some(now - Millis::seconds(7)),
        expires_at: Some(now + Millis::seconds(900)),
        business_no: paybell_core::BusinessNo::new("B1").ok(),
    };
    assert_eq!(desk.on.registry.register(&key(1), &application).await.unwrap(), Registered::Added);
    assert_eq!(desk.on.registry.register(&key(1), &application).await.unwrap(), Registered::Same);
    let stored = desk.record(&key(1)).await;
    let registration = stored.registration.unwrap();
    assert_eq!(Some(registration.fee_type), application.fee_type);
    assert_eq!((registration.appid, registration.sub_mch_id), (application.appid, application.sub_mch_id));
    assert_eq!(
        (Some(stored.created_at), registration.expires_at),
        (application.created_at, application.expires_at)
    );
}

async fn survives(mut desk: Desk) {
    desk.register(&key(1), 1999).await;
    let before = desk.record(&key(1)).await;
    desk.reopen().await;
    assert_eq!(desk.record(&key(1)).await, before);
    assert_eq!(desk.register(&key(1), 1).await, Registered::Different(vec!["total_fee"]));
}

async fn ahead(desk: Desk) {
    let created_at = Some(desk.now().await + Millis::seconds(400));
    let application = Application { created_at, ..asks(1) };
    assert_eq!(desk.on.registry.register(&key(1), &application).await.unwrap(), Registered::Ahead);
    assert_eq!(desk.stored(&key(1)).await, None);
}

async fn first_point(desk: Desk) {
    desk.register(&key(1), 1).await;
    let stored = desk.record(&key(1)).await;
    let due = stored.due.unwrap();
    assert_eq!((due.at, due.cause), (stored.created_at + Millis::seconds(15), Cause::Cadence));
}

async fn known_order(desk: Desk) {
    desk.settle(&key(1), State::Paid).await;
    assert_eq!(desk.register(&key(1), 1).await, Registered::Added);
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.state, stored.facts), (State::Paid, 1));
    assert!(stored.due.unwrap().at <= desk.now().await);
    assert_eq!(stored.due.unwrap().cause, Cause::Registered);
}

async fn leased_order(desk: Desk) {
    let leased = desk.leased(notified(&key(1), TX), 1).await;
    assert_eq!(desk.register(&key(1), 1).await, Registered::Added);
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.lease, stored.due), (leased.lease, leased.due));
    assert_eq!(stored.look_again.unwrap().cause, Cause::Registered);
}

fn says(ruling: Ruling, transaction_id: Option<&str>) -> Judgement {
    Judgement {
        ruling,
        who: "ann".to_owned(),
        why: "the price was cut".to_owned(),
        transaction_id: transaction_id.map(tx),
    }
}

async fn nothing_waits(desk: Desk) {
    let judge = |ruling| {
        let registry = desk.on.registry.clone();
        async move { registry.judge(&key(1), &says(ruling, None)).await.unwrap() }
    };
    assert_eq!(judge(Ruling::Accept).await, Judged::Unknown);
    assert_eq!(desk.stored(&key(1)).await, None);
    desk.register(&key(1), 1).await;
    assert_eq!(judge(Ruling::Accept).await, Judged::NotWaiting(State::Pending));
    desk.settle(&key(1), State::Paid).await;
    assert_eq!(judge(Ruling::Reject).await, Judged::NotWaiting(State::Paid));
}

async fn accept(mut desk: Desk) {
    desk.settle(&key(1), State::Mismatch).await;
    let judged = desk.on.registry.judge(&key(1), &says(Ruling::Accept, Some(TX))).await.unwrap();
    assert_eq!(judged, Judged::Stored);
    desk.reopen().await;
    let stored = desk.record(&key(1)).await;
    let verdict = stored.verdict.clone().unwrap();
    assert_eq!((verdict.who.as_str(), verdict.total_fee.get()), ("ann", 1999));
    assert_eq!(stored.state, State::Mismatch, "only the check that it makes due decides");
    assert_eq!(stored.due.unwrap().cause, Cause::Accepted);
    let leased = desk.leased(manual(&key(1)), 1).await;
    assert_eq!(desk.commit(&leased, 1, |change| change.state = State::Paid).await, Committed::Ended);
    assert_eq!(desk.record(&key(1)).await.verdict, stored.verdict, "a commit never writes what accept wrote");
}

async fn other_transaction(desk: Desk) {
    desk.settle(&key(1), State::Mismatch).await;
    let before = desk.record(&key(1)).await;
    let judged = desk.on.registry.judge(&key(1), &says(Ruling::Accept, Some("42"))).await.unwrap();
    assert_eq!(judged, Judged::OtherTransaction);
    assert_eq!(desk.record(&key(1)).await, before);
}

async fn reject(desk: Desk) {
    desk.settle(&key(1), State::Mismatch).await;
    let rule = |ruling| {
        let registry = desk.on.registry.clone();
        async move { registry.judge(&key(1), &says(ruling, None)).await.unwrap() }
    };
    assert_eq!(rule(Ruling::Reject).await, Judged::Stored);
    assert_eq!(desk.record(&key(1)).await.state, State::Rejected);
    assert_eq!(rule(Ruling::Reject).await, Judged::NotWaiting(State::Rejected));
    assert_eq!(rule(Ruling::Accept).await, Judged::Stored);
    assert!(desk.record(&key(1)).await.verdict.is_some());
}
