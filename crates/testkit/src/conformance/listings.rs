//! Reading records: pages, filters, counts.

use std::time::Duration;

use paybell_core::ids::MchId;
use paybell_core::ports::{OrderFilter, PAGE_ROWS_MAX, Tally};
use paybell_core::record::{Record, State};
use paybell_core::time::Millis;
use tokio::time::timeout;

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case { name: "an unknown order reads as none", run: |desk| Box::pin(unknown(desk)) },
    Case { name: "pages follow the keys and miss none", run: |desk| Box::pin(pages(desk)) },
    Case { name: "a listing filters by state", run: |desk| Box::pin(by_state(desk)) },
    Case { name: "a listing filters by merchant", run: |desk| Box::pin(by_merchant(desk)) },
    Case { name: "a page has its bound", run: |desk| Box::pin(bounded(desk)) },
    Case { name: "the tally counts states, letters and unconfirmed fen", run: |desk| Box::pin(tally(desk)) },
];

async fn unknown(desk: Desk) {
    desk.register(&key(1), 1).await;
    assert_eq!(desk.stored(&key(2)).await, None);
    assert_eq!(desk.stored(&key_of("1900000110", 1)).await, None);
}

async fn pages(desk: Desk) {
    for number in [3, 1, 4, 0, 2] {
        desk.register(&key(number), 1).await;
        desk.register(&key_of("18", number), 1).await;
    }
    let mut expected: Vec<_> = (0..5).map(|number| key_of("18", number)).collect();
    expected.extend((0..5).map(key));
    let mut listed: Vec<Record> = Vec::new();
    loop {
        let after = listed.last().map(|record| record.key.clone());
        let page = desk.on.records.list(&OrderFilter::default(), after.as_ref(), 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert_eq!(listed.iter().map(|record| record.key.clone()).collect::<Vec<_>>(), expected);
    let after_a_gap =
        desk.on.records.list(&OrderFilter::default(), Some(&key_of("18", 99)), 1).await.unwrap();
    assert_eq!(after_a_gap[0].key, key(0), "the key before need not exist");
}

async fn by_state(desk: Desk) {
    for number in 0..6 {
        desk.register(&key(number), 1999).await;
    }
    desk.settle(&key(1), State::Paid).await;
    desk.settle(&key(3), State::Mismatch).await;
    desk.settle(&key(5), State::Mismatch).await;
    for (state, numbers) in [
        (State::Paid, vec![1]),
        (State::Mismatch, vec![3, 5]),
        (State::Pending, vec![0, 2, 4]),
        (State::Refunded, vec![]),
    ] {
        let filter = OrderFilter { state: Some(state), mch_id: None };
        let listed = desk.on.records.list(&filter, None, 10).await.unwrap();
        let keys: Vec<_> = listed.into_iter().map(|record| record.key).collect();
        assert_eq!(keys, numbers.into_iter().map(key).collect::<Vec<_>>(), "{state:?}");
    }
    let filter = OrderFilter { state: Some(State::Pending), mch_id: None };
    let second = desk.on.records.list(&filter, Some(&key(0)), 1).await.unwrap();
    assert_eq!(second[0].key, key(2));
}

async fn by_merchant(desk: Desk) {
    for mch_id in ["18", "1900000109", "2"] {
        desk.register(&key_of(mch_id, 1), 1999).await;
        desk.settle(&key_of(mch_id, 2), State::Paid).await;
    }
    let mch_id = Some(MchId::new("1900000109").unwrap());
    let filter = OrderFilter { state: None, mch_id: mch_id.clone() };
    let both = desk.on.records.list(&filter, None, 10).await.unwrap();
    assert_eq!(both.iter().map(|record| record.key.clone()).collect::<Vec<_>>(), [key(1), key(2)]);
    let filter = OrderFilter { state: Some(State::Paid), mch_id };
    let paid = desk.on.records.list(&filter, Some(&key(1)), 10).await.unwrap();
    assert_eq!(paid.iter().map(|record| record.key.clone()).collect::<Vec<_>>(), [key(2)]);
}

async fn bounded(desk: Desk) {
    let registrations = (0..PAGE_ROWS_MAX + 5).map(|number| {
        let registry = desk.on.registry.clone();
        async move { registry.register(&key(number), &asks(1)).await.unwrap() }
    });
    futures_util::future::join_all(registrations).await;
    let page = desk.on.records.list(&OrderFilter::default(), None, usize::MAX).await.unwrap();
    assert_eq!(page.len(), PAGE_ROWS_MAX);
}

async fn tally(mut desk: Desk) {
    for number in 0..4 {
        desk.register(&key(number), 100).await;
    }
    desk.register(&key_of("18", 1), 7).await;
    desk.leased(notified(&key(9), TX), 1).await;
    desk.settle(&key(0), State::Paid).await;
    desk.on.dead.bury(&letter(1, "")).await.unwrap();
    desk.advance(Millis::seconds(121)).await;
    desk.register(&key(5), 1_000_000).await;
    for _ in 0..2 {
        let is_right = |tally: &Tally| {
            let orders =
                |state| tally.orders.iter().find(|(one, _)| *one == state).map_or(0, |(_, count)| *count);
            let fen = |mch_id: &str| {
                tally.unconfirmed_fen.iter().find(|(one, _)| one.as_str() == mch_id).map(|(_, fen)| *fen)
            };
            (orders(State::Pending), orders(State::Paid), orders(State::Mismatch)) == (6, 1, 0)
                && (fen(MERCHANT), fen("18")) == (Some(300), Some(7))
                && tally.dead_letters == 1
        };
        let right = async {
            while !is_right(&desk.on.records.tally().await.unwrap()) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let is_reached = timeout(PATIENCE, right).await.is_ok();
        assert!(is_reached, "{:?}", desk.on.records.tally().await);
        desk.reopen().await;
    }
}
