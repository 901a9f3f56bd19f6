//! What operators did: numbered, kept, listed from both ends.

use paybell_core::act::{ACT_AGE_MAX, Act, ActEntry, Action, DONE};
use paybell_core::ids::MchId;
use paybell_core::ports::{ActFilter, ActOrder, ActPage, PAGE_ROWS_MAX};
use paybell_core::time::{Millis, Timestamp};
use tokio::task::JoinSet;

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case { name: "an act comes back as it was stored", run: |desk| Box::pin(comes_back(desk)) },
    Case { name: "the first outcome of an act stands", run: |desk| Box::pin(outcomes(desk)) },
    Case { name: "acts are listed from both ends in pages", run: |desk| Box::pin(pages(desk)) },
    Case { name: "a filter meets every act that it means", run: |desk| Box::pin(filtered(desk)) },
    Case { name: "a new act lets go of what is too old", run: |desk| Box::pin(forgotten(desk)) },
    Case { name: "no number of an act is given twice", run: |desk| Box::pin(many_writers(desk)) },
];

const AT: Timestamp = Timestamp::from_millis(1_795_147_200_123);

fn act(action: Action, mch_id: Option<&str>, at: Timestamp) -> Act {
    Act {
        at,
        who: "alice".to_owned(),
        peer: "2001:db8::1".to_owned(),
        action: action.as_str().to_owned(),
        object: "orders/1900000109/T1".to_owned(),
        mch_id: mch_id.map(|mch_id| MchId::new(mch_id).unwrap()),
        why: "电话确认 'quoted' \"\u{1f514}\"".to_owned(),
    }
}

fn of(order: ActOrder) -> ActFilter {
    ActFilter { order, ..ActFilter::default() }
}

async fn all(desk: &Desk, filter: &ActFilter, limit: usize) -> Vec<ActEntry> {
    let mut entries: Vec<ActEntry> = Vec::new();
    let mut after = None;
    loop {
        let page = desk.on.acts.list(filter, after, limit).await.unwrap();
        assert!(page.entries.len() <= limit);
        entries.extend(page.entries);
        if !page.has_more {
            return entries;
        }
        assert_ne!(after, Some(page.next), "a page goes on");
        after = Some(page.next);
    }
}

async fn comes_back(mut desk: Desk) {
    let empty = desk.on.acts.list(&ActFilter::default(), None, 10).await.unwrap();
    assert_eq!(empty, ActPage { entries: Vec::new(), next: 0, has_more: false });
    let (full, bare) = (act(Action::Accept, Some(MERCHANT), AT), act(Action::DeadDrop, None, AT));
    assert_eq!(desk.on.acts.begin(&full).await.unwrap(), 1);
    assert_eq!(desk.on.acts.begin(&bare).await.unwrap(), 2);
    desk.on.acts.conclude(1, DONE).await.unwrap();
    desk.reopen().await;
    let expected = [
        ActEntry { number: 2, act: bare, outcome: None },
        ActEntry { number: 1, act: full, outcome: Some(DONE.to_owned()) },
    ];
    assert_eq!(all(&desk, &ActFilter::default(), 10).await, expected);
}

async fn outcomes(desk: Desk) {
    let number = desk.on.acts.begin(&act(Action::Accept, None, AT)).await.unwrap();
    desk.on.acts.conclude(number, "not-waiting").await.unwrap();
    desk.on.acts.conclude(number, DONE).await.unwrap();
    desk.on.acts.conclude(number + 1, DONE).await.unwrap();
    let entries = all(&desk, &ActFilter::default(), 10).await;
    assert_eq!(entries.len(), 1, "an outcome makes no act");
    assert_eq!(entries[0].outcome.as_deref(), Some("not-waiting"));
    let next = desk.on.acts.begin(&act(Action::Accept, None, AT)).await.unwrap();
    assert_eq!(next, number + 1);
    assert_eq!(all(&desk, &ActFilter::default(), 10).await[0].outcome, None);
}

async fn pages(desk: Desk) {
    for _ in 0..7 {
        desk.on.acts.begin(&act(Action::Check, None, AT)).await.unwrap();
    }
    let numbers = |entries: Vec<ActEntry>| entries.iter().map(|entry| entry.number).collect::<Vec<_>>();
    assert_eq!(numbers(all(&desk, &of(ActOrder::OldestFirst), 3).await), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(numbers(all(&desk, &of(ActOrder::NewestFirst), 3).await), [7, 6, 5, 4, 3, 2, 1]);
    let end = desk.on.acts.list(&of(ActOrder::OldestFirst), Some(7), 3).await.unwrap();
    assert_eq!(end, ActPage { entries: Vec::new(), next: 7, has_more: false });
    desk.on.acts.begin(&act(Action::Check, None, AT)).await.unwrap();
    let grown = desk.on.acts.list(&of(ActOrder::OldestFirst), Some(end.next), 3).await.unwrap();
    assert_eq!(numbers(grown.entries), [8], "the end of a walk is where it goes on");
    let beyond = desk.on.acts.list(&of(ActOrder::NewestFirst), Some(u64::MAX), 2).await.unwrap();
    assert_eq!(numbers(beyond.entries), [8, 7]);
    for strange in [Some(0), Some(1)] {
        let none = desk.on.acts.list(&of(ActOrder::NewestFirst), strange, 2).await.unwrap();
        assert_eq!((none.entries.len(), none.has_more), (0, false), "nothing is before {strange:?}");
    }
}

async fn filtered(desk: Desk) {
    let rare = act(Action::Reject, Some("1800000001"), AT);
    desk.on.acts.begin(&rare).await.unwrap();
    // More than one look of an engine may span.
    let mut tasks = JoinSet::new();
    for _ in 0..=PAGE_ROWS_MAX {
        let acts = desk.on.acts.clone();
        tasks.spawn(async move { acts.begin(&act(Action::Check, Some(MERCHANT), AT)).await.unwrap() });
    }
    tasks.join_all().await;
    desk.on.acts.begin(&rare).await.unwrap();
    for order in [ActOrder::NewestFirst, ActOrder::OldestFirst] {
        let rejects = ActFilter { action: Some(Action::Reject), ..of(order) };
        assert_eq!(all(&desk, &rejects, 1).await.len(), 2, "{order:?}");
        let foreign = ActFilter { mch_id: Some(MchId::new("1800000001").unwrap()), ..of(order) };
        assert_eq!(all(&desk, &foreign, 10).await.len(), 2, "{order:?}");
        let none = ActFilter { action: Some(Action::Check), ..foreign };
        assert_eq!(all(&desk, &none, 10).await, [], "{order:?}");
    }
}

async fn forgotten(mut desk: Desk) {
    for _ in 0..3 {
        let number = desk.on.acts.begin(&act(Action::Accept, None, AT)).await.unwrap();
        desk.on.acts.conclude(number, DONE).await.unwrap();
    }
    let at_the_edge = AT + ACT_AGE_MAX;
    desk.on.acts.begin(&act(Action::Accept, None, at_the_edge)).await.unwrap();
    assert_eq!(all(&desk, &ActFilter::default(), 10).await.len(), 4, "100 days are kept whole");
    desk.on.acts.begin(&act(Action::Reject, None, at_the_edge + Millis(1))).await.unwrap();
    desk.reopen().await;
    let numbers = |entries: Vec<ActEntry>| entries.iter().map(|entry| entry.number).collect::<Vec<_>>();
    assert_eq!(numbers(all(&desk, &of(ActOrder::OldestFirst), 10).await), [4, 5]);
    assert_eq!(numbers(all(&desk, &of(ActOrder::NewestFirst), 1).await), [5, 4]);
    desk.on.acts.conclude(1, DONE).await.unwrap();
    assert_eq!(all(&desk, &ActFilter::default(), 10).await.len(), 2, "what is gone stays gone");
    let far = at_the_edge + ACT_AGE_MAX + ACT_AGE_MAX;
    assert_eq!(desk.on.acts.begin(&act(Action::Accept, None, far)).await.unwrap(), 6);
    assert_eq!(numbers(all(&desk, &of(ActOrder::OldestFirst), 10).await), [6]);
}

async fn many_writers(desk: Desk) {
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let acts = desk.on.acts.clone();
        tasks.spawn(async move { acts.begin(&act(Action::Check, None, AT)).await.unwrap() });
    }
    let mut numbers = tasks.join_all().await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=50).collect::<Vec<u64>>());
}
