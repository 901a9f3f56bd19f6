//! Reading records: pages, filters, counts.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use paybell_core::ids::{MchId, OrderKey};
use paybell_core::lease::Committed;
use paybell_core::money::Fen;
use paybell_core::observation::Payment;
use paybell_core::paid::{PaidFilter, PaidOrder};
use paybell_core::ports::{OrderFilter, PAGE_ROWS_MAX, Tally};
use paybell_core::record::State;
use paybell_core::time::{Millis, Timestamp};
use tokio::time::timeout;

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case { name: "an unknown order reads as none", run: |desk| Box::pin(unknown(desk)) },
    Case { name: "a walk over pages misses none", run: |desk| Box::pin(pages(desk)) },
    Case { name: "a walk meets what was there from its beginning", run: |desk| Box::pin(grows(desk)) },
    Case { name: "a listing filters by state", run: |desk| Box::pin(by_state(desk)) },
    Case { name: "a listing filters by merchant", run: |desk| Box::pin(by_merchant(desk)) },
    Case { name: "a page has its bound", run: |desk| Box::pin(bounded(desk)) },
    Case { name: "several records are read in their keys' order", run: |desk| Box::pin(many(desk)) },
    Case { name: "payments are walked by their moment and merchant", run: |desk| Box::pin(paid(desk)) },
    Case { name: "a walk over payments meets all that stay", run: |desk| Box::pin(paid_changes(desk)) },
    Case { name: "the tally counts states, letters and unconfirmed fen", run: |desk| Box::pin(tally(desk)) },
];

async fn unknown(desk: Desk) {
    desk.register(&key(1), 1).await;
    assert_eq!(desk.stored(&key(2)).await, None);
    assert_eq!(desk.stored(&key_of("1900000110", 1)).await, None);
}

/// Walks a listing to its end, page by page.
async fn walk(desk: &Desk, filter: &OrderFilter, limit: usize) -> Vec<OrderKey> {
    let (mut keys, mut after) = (Vec::new(), None::<String>);
    loop {
        let page =
            desk.on.records.list(filter, after.as_deref(), limit).await.unwrap().expect("a good cursor");
        assert!(page.records.len() <= limit);
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        assert!(!page.next.is_empty() && page.next.bytes().all(is_safe), "{:?} in a URL", page.next);
        keys.extend(page.records.into_iter().map(|record| record.key));
        if !page.has_more {
            return keys;
        }
        after = Some(page.next);
    }
}

/// A walk may meet a record twice, so only which ones it met counts.
fn sorted(keys: impl IntoIterator<Item = OrderKey>) -> Vec<OrderKey> {
    keys.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

async fn pages(desk: Desk) {
    let numbers = [3, 1, 4, 0, 2];
    for number in numbers {
        desk.register(&key(number), 1).await;
        desk.register(&key_of("18", number), 1).await;
    }
    let expected = sorted(numbers.into_iter().flat_map(|number| [key(number), key_of("18", number)]));
    for limit in [1, 3, 10, 1000] {
        let walked = walk(&desk, &OrderFilter::default(), limit).await;
        assert_eq!(sorted(walked), expected, "in pages of {limit}");
    }
    assert_eq!(desk.on.records.list(&OrderFilter::default(), Some("no-cursor"), 3).await.unwrap(), None);
}

async fn grows(desk: Desk) {
    let number = |number: usize| {
        let registry = desk.on.registry.clone();
        async move { registry.register(&key(number), &asks(1)).await.unwrap() }
    };
    futures_util::future::join_all((0..60).map(&number)).await;
    let (mut met, mut after) = (HashSet::new(), None::<String>);
    let mut next_number = 60;
    loop {
        let filter = OrderFilter::default();
        let page = desk.on.records.list(&filter, after.as_deref(), 7).await.unwrap().unwrap();
        met.extend(page.records.into_iter().map(|record| record.key));
        if !page.has_more {
            break;
        }
        after = Some(page.next);
        if next_number < 2_000 {
            futures_util::future::join_all((next_number..next_number + 200).map(&number)).await;
            next_number += 200;
        }
    }
    let missed: Vec<_> = (0..60).map(key).filter(|key| !met.contains(key)).collect();
    assert!(missed.is_empty(), "a walk misses {missed:?}");
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
        for limit in [1, 2, 10] {
            let keys = walk(&desk, &filter, limit).await;
            assert_eq!(sorted(keys), numbers.iter().copied().map(key).collect::<Vec<_>>(), "{state:?}");
        }
    }
}

async fn by_merchant(desk: Desk) {
    for mch_id in ["18", "1900000109", "2"] {
        desk.register(&key_of(mch_id, 1), 1999).await;
        desk.settle(&key_of(mch_id, 2), State::Paid).await;
    }
    let mch_id = Some(MchId::new("1900000109").unwrap());
    let filter = OrderFilter { state: None, mch_id: mch_id.clone() };
    assert_eq!(sorted(walk(&desk, &filter, 1).await), [key(1), key(2)]);
    let filter = OrderFilter { state: Some(State::Paid), mch_id };
    assert_eq!(sorted(walk(&desk, &filter, 10).await), [key(2)]);
}

async fn bounded(desk: Desk) {
    let registrations = (0..PAGE_ROWS_MAX + 5).map(|number| {
        let registry = desk.on.registry.clone();
        async move { registry.register(&key(number), &asks(1)).await.unwrap() }
    });
    futures_util::future::join_all(registrations).await;
    let page = desk.on.records.list(&OrderFilter::default(), None, usize::MAX).await.unwrap().unwrap();
    assert!(page.records.len() <= PAGE_ROWS_MAX && page.has_more);
    assert_eq!(sorted(walk(&desk, &OrderFilter::default(), PAGE_ROWS_MAX).await).len(), PAGE_ROWS_MAX + 5);
}

async fn many(mut desk: Desk) {
    for number in [1, 3] {
        desk.register(&key(number), 100).await;
    }
    desk.settle(&key(3), State::Paid).await;
    for _ in 0..2 {
        let keys = [key(3), key(2), key(1), key(3)];
        let records = desk.on.records.get_many(&keys).await.unwrap();
        let mut alone = Vec::new();
        for key in &keys {
            alone.push(desk.stored(key).await);
        }
        assert_eq!(records, alone);
        assert_eq!(records.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, true]);
        desk.reopen().await;
    }
    assert_eq!(desk.on.records.get_many(&[]).await.unwrap(), []);
}

/// A payment made so many seconds after [`NOON`].
async fn pays(desk: &Desk, key: &OrderKey, state: State, second: i64) {
    let record = desk.leased(manual(key), 5).await;
    let committed = desk.commit(&record, 5, |change| {
        change.state = state;
        let paid_at = Some(NOON + Millis::seconds(second));
        change.payment = Some(Payment { paid_at, ..payment(TX) });
    });
    assert_eq!(committed.await, Committed::Ended);
}

const NOON: Timestamp = Timestamp::from_millis(1_795_147_200_000);

/// Walks payments of the merchant from one second after noon to before another.
async fn walk_paid(desk: &Desk, seconds: std::ops::Range<i64>, limit: usize) -> Vec<PaidOrder> {
    let filter = PaidFilter {
        mch_id: MchId::new(MERCHANT).unwrap(),
        from: NOON + Millis::seconds(seconds.start),
        until: NOON + Millis::seconds(seconds.end),
    };
    let (mut orders, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = desk.on.records.paid(&filter, after.as_deref(), limit).await.unwrap().expect("a cursor");
        assert!(page.orders.len() <= limit);
        orders.extend(page.orders);
        if !page.has_more {
            orders.sort_by(|one, other| one.out_trade_no.cmp(&other.out_trade_no));
            return orders;
        }
        assert_ne!(after.as_deref(), Some(page.next.as_str()), "a walk goes on");
        after = Some(page.next);
    }
}

async fn paid(mut desk: Desk) {
    desk.register(&key(0), 1999).await;
    for (number, state, second) in [
        (1, State::Paid, -1),
        (2, State::Paid, 0),
        (3, State::Refunded, 5),
        (4, State::Mismatch, 5),
        (5, State::Rejected, 9),
        (6, State::Paid, 10),
        (7, State::Closed, 5),
    ] {
        pays(&desk, &key(number), state, second).await;
    }
    pays(&desk, &key_of("18", 2), State::Paid, 5).await;
    let without_moment = desk.leased(manual(&key(8)), 5).await;
    let committed = desk.commit(&without_moment, 5, |change| {
        change.state = State::Refunded;
        change.payment = Some(Payment { paid_at: None, ..payment(TX) });
    });
    assert_eq!(committed.await, Committed::Ended);
    for _ in 0..2 {
        for limit in [1, 2, 10] {
            let orders = walk_paid(&desk, 0..10, limit).await;
            let short = |order: &PaidOrder| (order.out_trade_no.to_string(), order.state);
            let expected = [
                ("T00002".to_owned(), State::Paid),
                ("T00003".to_owned(), State::Refunded),
                ("T00004".to_owned(), State::Mismatch),
                ("T00005".to_owned(), State::Rejected),
            ];
            assert_eq!(orders.iter().map(short).collect::<Vec<_>>(), expected, "in pages of {limit}");
            let one = PaidOrder::of(&desk.record(&key(3)).await);
            assert_eq!(orders.get(1), one.as_ref(), "all of it");
            assert_eq!(one.unwrap().total_fee, Fen::new(1999).ok());
        }
        desk.reopen().await;
    }
    let filter = PaidFilter { mch_id: MchId::new(MERCHANT).unwrap(), from: NOON, until: NOON };
    assert_eq!(desk.on.records.paid(&filter, Some("no-cursor"), 3).await.unwrap(), None);
}

async fn paid_changes(desk: Desk) {
    for number in 0..40 {
        pays(&desk, &key(number), State::Paid, 1).await;
    }
    let filter =
        PaidFilter { mch_id: MchId::new(MERCHANT).unwrap(), from: NOON, until: NOON + Millis::seconds(60) };
    let (mut met, mut after, mut changed) = (BTreeSet::new(), None::<String>, 0);
    loop {
        let page = desk.on.records.paid(&filter, after.as_deref(), 3).await.unwrap().unwrap();
        met.extend(page.orders.into_iter().map(|order| order.out_trade_no));
        if !page.has_more {
            break;
        }
        after = Some(page.next);
        // Orders are refunded while the walk goes on, and others are paid.
        if changed < 40 {
            pays(&desk, &key(39 - changed), State::Refunded, 1).await;
            pays(&desk, &key(100 + changed), State::Paid, 2).await;
            changed += 1;
        }
    }
    let missed: Vec<_> =
        (0..40).map(|number| key(number).out_trade_no).filter(|no| !met.contains(no)).collect();
    assert!(missed.is_empty(), "a walk misses {missed:?}");
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
