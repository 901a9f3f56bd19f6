//! Refunds in their order's record: asked for without a lease, looked at under one, due with it.

use paybell_core::check::{Check, Lane};
use paybell_core::decide::RefundFound;
use paybell_core::lease::{Committed, FRESH, Taken};
use paybell_core::record::{Cause, Due, Record, SeenAs, State};
use paybell_core::refund::{
    Receiver, Refund, RefundAccount, RefundApplication, RefundAsked, RefundDenial, RefundFacts, RefundState,
};
use paybell_core::time::Millis;
use paybell_core::{AppId, Currency, Fen, OutRefundNo, RefundId};

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case { name: "a refund is added, same, different or denied", run: |desk| Box::pin(asked(desk)) },
    Case { name: "a refund wakes its order urgently", run: |desk| Box::pin(wakes(desk)) },
    Case { name: "a refund survives a restart, whole", run: |desk| Box::pin(survives(desk)) },
    Case { name: "a try is counted before it can be sent", run: |desk| Box::pin(counted(desk)) },
    Case { name: "a fresh look leaves a wish for refunds", run: |desk| Box::pin(wished_anew(desk)) },
    Case { name: "a commit on older facts is refused: refund", run: |desk| Box::pin(facts(desk)) },
    Case { name: "a commit changes the refund it is about", run: |desk| Box::pin(one_of_two(desk)) },
    Case { name: "a refund's notification is a wish of its own", run: |desk| Box::pin(hinted(desk)) },
    Case { name: "an order known by a refund only stays so", run: |desk| Box::pin(refund_only(desk)) },
    Case { name: "the last refund takes an unknown order with it", run: |desk| Box::pin(forgotten(desk)) },
];

fn number(text: &str) -> OutRefundNo {
    OutRefundNo::new(text).unwrap()
}

fn wish(out_refund_no: &str, refund_fee: i64) -> RefundApplication {
    RefundApplication {
        out_refund_no: number(out_refund_no),
        refund_fee: Fen::new(refund_fee).unwrap(),
        total_fee: None,
        fee_type: None,
        refund_account: None,
        refund_desc: None,
        seen_as: None,
        who: "shop".to_owned(),
    }
}

async fn ask(desk: &Desk, order: usize, wish: &RefundApplication) -> RefundAsked {
    desk.on.registry.refund(&key(order), wish).await.unwrap()
}

/// What a look at a refund stores: the refund as `edit` makes it.
fn found(record: &Record, out_refund_no: &str, edit: impl FnOnce(&mut Refund)) -> (OutRefundNo, RefundFound) {
    let mut refund = record.refund(&number(out_refund_no)).unwrap().clone();
    edit(&mut refund);
    (number(out_refund_no), RefundFound::Kept(Box::new(refund)))
}

async fn asked(desk: Desk) {
    desk.settle(&key(1), State::Paid).await;
    assert_eq!(ask(&desk, 1, &wish("R1", 500)).await, RefundAsked::Added);
    let stored = desk.record(&key(1)).await;
    assert_eq!(ask(&desk, 1, &wish("R1", 500)).await, RefundAsked::Same);
    assert_eq!(ask(&desk, 1, &wish("R1", 501)).await, RefundAsked::Different(vec!["refund_fee"]));
    let paid = Fen::new(1999).unwrap();
    let more = RefundDenial::MoreThanPaid { paid, other_refunds: 500 };
    assert_eq!(ask(&desk, 1, &wish("R2", 1500)).await, RefundAsked::Denied(more));
    assert_eq!(ask(&desk, 2, &wish("R1", 5)).await, RefundAsked::Denied(RefundDenial::TotalFeeNeeded));
    assert_eq!(desk.record(&key(1)).await, stored);
    assert_eq!(desk.stored(&key(2)).await, None, "what is denied stores nothing");
}

async fn wakes(desk: Desk) {
    desk.settle(&key(1), State::Paid).await;
    ask(&desk, 1, &wish("R1", 500)).await;
    assert_eq!(desk.record(&key(1)).await.due.unwrap().cause, Cause::Refund);
    assert_eq!(desk.claim(Lane::Cadence, 10).await, []);
    let check = desk.claim(Lane::Urgent, 10).await.remove(0);
    assert_eq!((&check.key, check.claim.unwrap().cause), (&key(1), Cause::Refund));
    let leased = desk.leased(check, 1).await;
    assert_eq!(leased.refund_in_hand().unwrap().out_refund_no, number("R1"));
}

async fn survives(mut desk: Desk) {
    let whole = RefundApplication {
        total_fee: Fen::new(1999).ok(),
        fee_type: Some(Currency::CNY),
        refund_account: Some(RefundAccount::RechargeFunds),
        refund_desc: Some("商品破损".to_owned()),
        seen_as: Some(SeenAs { appid: AppId::new("wx8888888888888888").unwrap(), sub_mch_id: None }),
        ..wish(&"R".repeat(64), 500)
    };
    assert_eq!(ask(&desk, 1, &whole).await, RefundAsked::Added);
    let stored = desk.record(&key(1)).await;
    desk.reopen().await;
    assert_eq!(desk.record(&key(1)).await, stored);
    let request = stored.refunds[0].request.as_ref().unwrap();
    assert_eq!((request.refund_account, &request.refund_desc), (whole.refund_account, &whole.refund_desc));
    let leased = desk.leased(Check::refund_notified(key(1), whole.out_refund_no.clone()), 1).await;
    let facts = RefundFacts {
        refund_id: RefundId::new("50000000382019052709732678859").unwrap(),
        refund_fee: Fen::new(500).unwrap(),
        settlement_refund_fee: Fen::new(500).ok(),
        cash_refund_fee: Fen::new(400).ok(),
        coupon_refund_fee: Fen::new(100).ok(),
        account: Some("REFUND_SOURCE_RECHARGE_FUNDS".to_owned()),
        received_by: Some(Receiver("招商银行信用卡0403".to_owned())),
        succeeded_at: Some(whole_seconds(desk.now().await)),
        transaction_id: Some(tx(TX)),
        total_fee: Fen::new(1999).ok(),
        fee_type: Currency::CNY,
        appid: AppId::new("wx8888888888888888").ok(),
        sub_mch_id: None,
    };
    let settled = found(&leased, &"R".repeat(64), |refund| {
        (refund.state, refund.facts, refund.next_at) = (RefundState::Succeeded, Some(facts.clone()), None);
    });
    assert_eq!(desk.commit(&leased, 1, |change| change.refund = Some(settled)).await, Committed::Ended);
    desk.reopen().await;
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.refunds[0].facts.as_ref(), stored.state), (Some(&facts), State::Refunded));
}

async fn counted(desk: Desk) {
    desk.settle(&key(1), State::Paid).await;
    ask(&desk, 1, &wish("R1", 500)).await;
    let check = desk.claim(Lane::Urgent, 10).await.remove(0);
    assert!(desk.leased(check, 1).await.refund_in_hand().unwrap().is_unsent());
    assert_eq!(desk.record(&key(1)).await.refunds[0].tries, 1, "stored, should its holder die now");
    desk.advance(LEASE).await;
    let check = desk.claim(Lane::Urgent, 10).await.remove(0);
    assert!(!desk.leased(check, 2).await.refund_in_hand().unwrap().is_unsent());
}

async fn wished_anew(desk: Desk) {
    // A look is fresh for a second of the ledger's clock, which may move on by itself.
    for number in 0..20 {
        if wishes_within_a_second(&desk, number).await {
            return;
        }
    }
    panic!("the clock moved on in each round");
}

/// `false` if the clock moved on too far to show anything.
async fn wishes_within_a_second(desk: &Desk, order: usize) -> bool {
    desk.settle(&key(order), State::Paid).await;
    ask(desk, order, &wish("R1", 500)).await;
    let leased = desk.leased(urgent_of(desk, order).await, 1).await;
    let given_up = found(&leased, "R1", |refund| {
        (refund.state, refund.next_at) = (RefundState::Processing, None);
    });
    let now = desk.now().await;
    let committed = desk.commit(&leased, 1, |change| {
        (change.refund, change.progress.looked_at) = (Some(given_up), Some(now));
    });
    assert_eq!(committed.await, Committed::Ended);
    assert_eq!(desk.record(&key(order)).await.due, None);
    if desk.take(Check::manual(key(order)), 2).await != Taken::Fresh {
        assert!(desk.now().await >= now + FRESH);
        return false;
    }
    let due = Some(Due { at: now + FRESH, cause: Cause::Refund });
    assert_eq!(desk.record(&key(order)).await.due, due, "the look at the order said nothing of its refund");
    desk.advance(Millis::seconds(2)).await;
    let leased = desk.leased(urgent_of(desk, order).await, 3).await;
    assert_eq!(leased.refund_in_hand().unwrap().out_refund_no, number("R1"));
    true
}

async fn urgent_of(desk: &Desk, order: usize) -> Check {
    let claimed = desk.claim(Lane::Urgent, 100).await;
    claimed.into_iter().find(|check| check.key == key(order)).unwrap()
}

async fn facts(desk: Desk) {
    desk.settle(&key(1), State::Paid).await;
    let leased = desk.leased(notified(&key(1), "42"), 1).await;
    assert_eq!(ask(&desk, 1, &wish("R1", 500)).await, RefundAsked::Added);
    let committed = desk.commit(&leased, 1, |_| {}).await;
    let Committed::Changed(changed) = committed else { panic!("{committed:?}") };
    assert_eq!(desk.commit(&changed, 1, |_| {}).await, Committed::Ended);
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.refunds.len(), stored.due.unwrap().cause), (1, Cause::Refund));
    assert!(stored.due.unwrap().at <= desk.now().await, "it waited for the lease's end");
}

async fn one_of_two(desk: Desk) {
    desk.settle(&key(1), State::Paid).await;
    ask(&desk, 1, &wish("R1", 500)).await;
    ask(&desk, 1, &wish("R2", 500)).await;
    let check = desk.claim(Lane::Urgent, 10).await.remove(0);
    let leased = desk.leased(check, 1).await;
    let in_hand = leased.refund_in_hand().unwrap().out_refund_no.as_str().to_owned();
    let later = desk.now().await + Millis::seconds(600);
    let taken = found(&leased, &in_hand, |refund| {
        (refund.state, refund.next_at) = (RefundState::Processing, Some(later));
    });
    assert_eq!(desk.commit(&leased, 1, |change| change.refund = Some(taken)).await, Committed::Ended);
    let stored = desk.record(&key(1)).await;
    let states: Vec<RefundState> = stored.refunds.iter().map(|refund| refund.state).collect();
    assert!(states.contains(&RefundState::Processing) && states.contains(&RefundState::Asked), "{states:?}");
    assert_eq!(desk.claim(Lane::Urgent, 10).await.len(), 1, "the other one is due still");
}

async fn hinted(desk: Desk) {
    desk.settle(&key(1), State::Paid).await;
    ask(&desk, 1, &wish("R1", 500)).await;
    let check = desk.claim(Lane::Urgent, 10).await.remove(0);
    let leased = desk.leased(check, 1).await;
    assert_eq!(desk.take(Check::refund_notified(key(1), number("R1")), 2).await, Taken::Busy);
    assert_eq!(desk.take(Check::refund_notified(key(1), number("R9")), 3).await, Taken::Busy);
    let later = desk.now().await + Millis::seconds(600);
    let looked = found(&leased, "R1", |refund| {
        (refund.state, refund.next_at) = (RefundState::Processing, Some(later));
    });
    assert_eq!(desk.commit(&leased, 1, |change| change.refund = Some(looked)).await, Committed::Ended);
    let stored = desk.record(&key(1)).await;
    assert!(stored.refunds.iter().all(|refund| refund.next_at.unwrap() < later), "both are looked at again");
    assert!(!stored.progress.notified && stored.progress.quick.is_none(), "it says nothing of the payment");
    assert_eq!(desk.claim(Lane::Urgent, 10).await.len(), 1);
}

async fn refund_only(mut desk: Desk) {
    let leased = desk.leased(Check::refund_notified(key(1), number("R1")), 1).await;
    assert!(leased.progress.refund_only && leased.refund_in_hand().is_some());
    let settled = found(&leased, "R1", |refund| {
        (refund.state, refund.next_at) = (RefundState::Succeeded, None);
    });
    assert_eq!(desk.commit(&leased, 1, |change| change.refund = Some(settled)).await, Committed::Ended);
    desk.reopen().await;
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.state, stored.due), (State::Refunded, None));
    assert_eq!(desk.take(Check::refund_notified(key(1), number("R1")), 2).await, Taken::Duplicate);
    let met = desk.leased(notified(&key(1), TX), 3).await;
    assert!(!met.progress.refund_only && met.progress.notified);
    assert_eq!((met.state, met.refund_in_hand()), (State::Pending, None));
    let later = desk.now().await + Millis::seconds(600);
    assert_eq!(desk.commit(&met, 3, stays_due(later)).await, Committed::Ended);
    let due = Some(Due { at: later, cause: Cause::Cadence });
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.state, stored.due, stored.order_due), (State::Pending, due, due));
}

async fn forgotten(desk: Desk) {
    let leased = desk.leased(Check::refund_notified(key(1), number("R1")), 1).await;
    let forget = |change: &mut paybell_core::decide::Change| {
        let nothing = RefundFound::Nothing { hints: leased.refunds[0].hints };
        (change.refund, change.forget) = (Some((number("R1"), nothing)), true);
    };
    assert_eq!(desk.commit(&leased, 1, forget).await, Committed::Ended);
    assert_eq!(desk.stored(&key(1)).await, None);
    let leased = desk.leased(Check::refund_notified(key(2), number("R1")), 2).await;
    desk.take(Check::refund_notified(key(2), number("R2")), 3).await;
    assert_eq!(desk.commit(&leased, 2, forget).await, Committed::Ended);
    assert_eq!(desk.record(&key(2)).await.refunds.len(), 1, "another one came meanwhile");
}
