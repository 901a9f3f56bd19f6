//! Orders that are placed through us, and the numbers that pay the same order of a shop.

use std::collections::BTreeMap;

use paybell_core::ids::{BusinessNo, OrderKey, OutTradeNo};
use paybell_core::lease::Committed;
use paybell_core::place::{CALL_MAX, Ending, FIRST_LOOK, Offer, Step, Stepped, TradeType, Wish};
use paybell_core::ports::BUSINESS_NUMBERS_MAX;
use paybell_core::record::{Record, State};
use paybell_core::register::{Application, CREATED_AHEAD_MAX, Registered};
use paybell_core::time::Millis;
use tokio::task::JoinSet;

use super::Case;
use super::desk::*;

const URL: &str = "https://pay.example.com/notify/pay/1900000109";

pub const CASES: &[Case] = &[
    Case { name: "nothing is placed that is not registered", run: |desk| Box::pin(unregistered(desk)) },
    Case { name: "the begin and the offer survive a restart", run: |desk| Box::pin(survives(desk)) },
    Case { name: "what was offered is not replaced by another wish", run: |desk| Box::pin(another(desk)) },
    Case {
        name: "an offer that comes too late, or of a begin that is lost, is nobody's",
        run: |desk| Box::pin(too_late(desk)),
    },
    Case { name: "a settled order is not placed again", run: |desk| Box::pin(settled(desk)) },
    Case { name: "a first begin brings an early look", run: |desk| Box::pin(early_look(desk)) },
    Case {
        name: "what is placed under a lease is decided on again, and kept",
        run: |desk| Box::pin(under_a_lease(desk)),
    },
    Case { name: "a registration links its business order", run: |desk| Box::pin(linked(desk)) },
    Case { name: "only a business order's newest numbers are kept", run: |desk| Box::pin(bounded(desk)) },
    Case { name: "the first of many claims stands", run: |desk| Box::pin(claimed(desk)) },
];

fn wish(body: &str) -> Wish {
    let parts = BTreeMap::from([("body".to_owned(), body.to_owned())]);
    Wish { trade_type: TradeType::Native, parts }
}

fn business(text: &str) -> BusinessNo {
    BusinessNo::new(text).unwrap()
}

async fn step(desk: &Desk, key: &OrderKey, step: Step) -> Stepped {
    desk.on.registry.place(key, &step).await.unwrap()
}

async fn begun(desk: &Desk, key: &OrderKey, body: &str) -> Record {
    match step(desk, key, Step::Begin(wish(body), URL.to_owned())).await {
        Stepped::Stored(record) => *record,
        other => panic!("it was to begin: {other:?}"),
    }
}

async fn offer(desk: &Desk, prepay_id: &str) -> Offer {
    let at = desk.now().await;
    Offer { prepay_id: prepay_id.to_owned(), code_url: None, mweb_url: None, at, payer: None }
}

async fn unregistered(desk: Desk) {
    assert_eq!(step(&desk, &key(1), Step::Begin(wish("a"), URL.to_owned())).await, Stepped::Unregistered);
    assert_eq!(desk.stored(&key(1)).await, None);
    desk.leased(notified(&key(2), TX), 1).await;
    assert_eq!(step(&desk, &key(2), Step::Begin(wish("a"), URL.to_owned())).await, Stepped::Unregistered);
}

async fn survives(mut desk: Desk) {
    desk.register(&key(1), 1999).await;
    let record = begun(&desk, &key(1), "a").await;
    let placing = record.placing.clone().unwrap();
    assert_eq!((placing.wish.clone(), placing.offer.clone()), (wish("a"), None));
    assert_eq!(placing.notify_url.as_deref(), Some(URL));
    desk.reopen().await;
    assert_eq!(desk.record(&key(1)).await, record);
    let offer = offer(&desk, "wx1").await;
    let Stepped::Stored(offered) = step(&desk, &key(1), Step::Offered(wish("a"), offer.clone())).await else {
        panic!("the offer was to be kept");
    };
    desk.reopen().await;
    assert_eq!(desk.record(&key(1)).await, *offered);
    let placing = offered.placing.unwrap();
    assert_eq!((placing.offer, placing.since), (Some(offer), record.placing.unwrap().since));
}

async fn another(desk: Desk) {
    desk.register(&key(1), 1999).await;
    begun(&desk, &key(1), "a").await;
    begun(&desk, &key(1), "b").await;
    let offer = offer(&desk, "wx1").await;
    let late = step(&desk, &key(1), Step::Offered(wish("a"), offer.clone())).await;
    assert_eq!(late, Stepped::Outdated, "another wish is under way");
    assert!(matches!(step(&desk, &key(1), Step::Offered(wish("b"), offer)).await, Stepped::Stored(_)));
    let different = step(&desk, &key(1), Step::Begin(wish("c"), URL.to_owned())).await;
    assert_eq!(different, Stepped::Different(vec!["body".to_owned()]));
    let again = begun(&desk, &key(1), "b").await;
    assert!(again.placing.unwrap().offer.is_some(), "it is good until a fresh one comes");
}

async fn too_late(mut desk: Desk) {
    desk.register(&key(1), 1999).await;
    let lost = offer(&desk, "wx1").await;
    let offered = |offer: &Offer| Step::Offered(wish("a"), offer.clone());
    assert_eq!(step(&desk, &key(1), offered(&lost)).await, Stepped::Unregistered, "nobody began");
    let before = begun(&desk, &key(1), "a").await;
    let slow = Offer { at: lost.at - CALL_MAX, ..lost };
    assert_eq!(step(&desk, &key(1), offered(&slow)).await, Stepped::Lapsed);
    desk.reopen().await;
    assert_eq!(desk.record(&key(1)).await, before, "its end stays unknown");
    let ended = Step::Ended(wish("a"), before.placing.unwrap().begun_at, Ending::PlacedElsewhere);
    assert!(matches!(step(&desk, &key(1), ended).await, Stepped::Stored(_)));
    desk.reopen().await;
    assert_eq!(desk.record(&key(1)).await.placing, None);
}

async fn settled(desk: Desk) {
    desk.register(&key(1), 1999).await;
    desk.settle(&key(1), State::Paid).await;
    let before = desk.record(&key(1)).await;
    assert_eq!(
        step(&desk, &key(1), Step::Begin(wish("a"), URL.to_owned())).await,
        Stepped::Settled(State::Paid)
    );
    assert_eq!(desk.record(&key(1)).await, before);
}

async fn early_look(desk: Desk) {
    let created_at = Some(desk.now().await - Millis::seconds(3 * 3600));
    let old = Application { created_at, ..asks(1999) };
    assert_eq!(desk.on.registry.register(&key(1), &old).await.unwrap(), Registered::Added);
    let due = desk.record(&key(1)).await.due.unwrap();
    let record = begun(&desk, &key(1), "a").await;
    let since = record.placing.as_ref().unwrap().since;
    assert!(due.at > since + FIRST_LOOK, "the gaps of an old order are wide");
    assert_eq!(record.due.unwrap().at, since + FIRST_LOOK);
    let again = begun(&desk, &key(1), "a").await;
    assert_eq!((again.due, again.placing.unwrap().since), (record.due, since), "only the first does");
}

async fn under_a_lease(desk: Desk) {
    desk.register(&key(1), 1999).await;
    let leased = desk.leased(manual(&key(1)), 1).await;
    let record = begun(&desk, &key(1), "a").await;
    assert_eq!((record.lease, record.due), (leased.lease, leased.due), "the holder's end is untouched");
    let stale = desk.commit(&leased, 1, |change| change.state = State::Unpaid).await;
    let Committed::Changed(changed) = stale else {
        panic!("given up by a decision that does not know of the placing: {stale:?}");
    };
    assert_eq!(*changed, record);
    assert_eq!(desk.commit(&changed, 1, |change| change.due = leased.due).await, Committed::Ended);
    let stored = desk.record(&key(1)).await;
    assert_eq!((stored.state, stored.placing, stored.lease), (State::Pending, record.placing, None));
}

async fn linked(mut desk: Desk) {
    let of = |number| Application { business_no: Some(business(number)), ..asks(1999) };
    let register = |key, application| {
        let registry = desk.on.registry.clone();
        async move { registry.register(&key, &application).await.unwrap() }
    };
    assert_eq!(register(key(2), of("B/1")).await, Registered::Added);
    assert_eq!(register(key(1), of("B/1")).await, Registered::Added);
    assert_eq!(register(key(2), of("B/1")).await, Registered::Same);
    assert_eq!(register(key(3), of("B/2")).await, Registered::Added);
    assert_eq!(register(key_of("1900000110", 4), of("B/1")).await, Registered::Added);
    let other = register(key(1), of("B/2")).await;
    assert_eq!(other, Registered::Different(vec!["business_no"]));
    let ahead = Some(desk.now().await + CREATED_AHEAD_MAX + Millis::seconds(60));
    let early = register(key(5), Application { created_at: ahead, ..of("B/2") }).await;
    assert_eq!(early, Registered::Ahead);
    desk.reopen().await;
    let mch_id = key(1).mch_id;
    let numbers = desk.on.businesses.numbers(&mch_id, &business("B/2")).await.unwrap();
    assert_eq!(numbers, [key(3).out_trade_no], "what is refused enters no business order");
    let numbers = desk.on.businesses.numbers(&mch_id, &business("B/1")).await.unwrap();
    assert_eq!(numbers, [key(2).out_trade_no, key(1).out_trade_no], "in their order, each once");
    assert_eq!(desk.on.businesses.numbers(&mch_id, &business("B/3")).await.unwrap(), []);
    let registration = desk.record(&key(1)).await.registration.unwrap();
    assert_eq!(registration.business_no, Some(business("B/1")));
}

async fn bounded(desk: Desk) {
    let application = Application { business_no: Some(business("B")), ..asks(1) };
    for number in 0..BUSINESS_NUMBERS_MAX + 2 {
        desk.on.registry.register(&key(number), &application).await.unwrap();
    }
    let numbers = desk.on.businesses.numbers(&key(0).mch_id, &business("B")).await.unwrap();
    assert_eq!(numbers.len(), BUSINESS_NUMBERS_MAX);
    assert_eq!(numbers[0], key(2).out_trade_no);
}

async fn claimed(mut desk: Desk) {
    let mut tasks = JoinSet::new();
    for number in 0..16 {
        let businesses = desk.on.businesses.clone();
        tasks.spawn(async move {
            let key = key(number);
            businesses.claim(&key.mch_id, &business("B"), &key.out_trade_no).await.unwrap()
        });
    }
    let answers: Vec<OutTradeNo> = tasks.join_all().await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    desk.reopen().await;
    let late = desk.on.businesses.claim(&key(99).mch_id, &business("B"), &key(99).out_trade_no).await;
    assert_eq!(late.unwrap(), answers[0]);
    let other = desk.on.businesses.claim(&key(99).mch_id, &business("C"), &key(99).out_trade_no).await;
    assert_eq!(other.unwrap(), key(99).out_trade_no);
}
