//! The event log: order, cursors, filters, and knowing when a cursor is no longer good.

use paybell_core::event::{Event, EventType};
use paybell_core::ids::MchId;
use paybell_core::ports::{Cursor, EventFilter, LogRead, PAGE_ROWS_MAX, PortError};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case { name: "events are read in the order they were appended", run: |desk| Box::pin(in_order(desk)) },
    Case { name: "pages of the log miss none and repeat none", run: |desk| Box::pin(pages(desk)) },
    Case { name: "an empty page says where to continue", run: |desk| Box::pin(empty_page(desk)) },
    Case { name: "a repeat of an id is kept out", run: |desk| Box::pin(repeat(desk)) },
    Case { name: "the log filters by type and merchant", run: |desk| Box::pin(filters(desk)) },
    Case { name: "a filter that matches nothing still moves on", run: |desk| Box::pin(moves_on(desk)) },
    Case { name: "a cursor whose event is not there is gone", run: |desk| Box::pin(gone(desk)) },
    Case { name: "a cursor beyond the end is gone or waits", run: |desk| Box::pin(beyond_the_end(desk)) },
    Case { name: "a place ahead of a replica is waited for", run: |desk| Box::pin(comes_up(desk)) },
    Case { name: "the start of a whole log is a place", run: |desk| Box::pin(start(desk)) },
    Case { name: "the end is the place after the newest", run: |desk| Box::pin(end(desk)) },
    Case { name: "a page of the log has its bound", run: |desk| Box::pin(bounded(desk)) },
    Case { name: "growing wakes who waits", run: |desk| Box::pin(grown(desk)) },
    Case { name: "a log that has grown keeps nobody waiting", run: |desk| Box::pin(has_grown(desk)) },
    Case { name: "log and cursors survive a restart", run: |desk| Box::pin(survives(desk)) },
    Case { name: "events appended at once are all there", run: |desk| Box::pin(at_once(desk)) },
];

fn of_page(page: &[(Cursor, Event)]) -> Vec<Event> {
    page.iter().map(|(_, event)| event.clone()).collect()
}

async fn in_order(desk: Desk) {
    let events = events(5);
    desk.on.log.append(&events[..2]).await.unwrap();
    desk.on.log.append(&events[2..]).await.unwrap();
    let page = desk.page(None, 10).await;
    assert_eq!(of_page(&page.events), events);
    assert!(page.events.is_sorted_by(|one, other| one.0.position < other.0.position));
    assert!(page.events.iter().all(|(cursor, event)| cursor.id == event.id));
    assert_eq!((page.next, page.has_more), (page.events[4].0, false));
}

async fn pages(desk: Desk) {
    let events = events(10);
    desk.on.log.append(&events).await.unwrap();
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let page = desk.page(after, 3).await;
        assert!(page.events.len() <= 3);
        read.extend(of_page(&page.events));
        after = Some(page.next);
        if !page.has_more {
            break;
        }
    }
    assert_eq!(read, events);
}

async fn empty_page(desk: Desk) {
    let events = events(3);
    let nothing = desk.page(None, 10).await;
    assert_eq!((nothing.events.len(), nothing.has_more), (0, false));
    desk.on.log.append(&events[..2]).await.unwrap();
    assert_eq!(of_page(&desk.page(Some(nothing.next), 10).await.events), events[..2]);
    let at_end = desk.page(None, 10).await.next;
    let empty = desk.page(Some(at_end), 10).await;
    assert_eq!((empty.events.len(), empty.next, empty.has_more), (0, at_end, false));
    desk.on.log.append(&events[2..]).await.unwrap();
    assert_eq!(of_page(&desk.page(Some(empty.next), 10).await.events), events[2..]);
}

async fn repeat(mut desk: Desk) {
    if !desk.keeps_repeats_out() {
        return;
    }
    let events = events(3);
    desk.on.log.append(&events[..2]).await.unwrap();
    desk.on.log.append(&events).await.unwrap();
    let before = desk.page(None, 10).await;
    assert_eq!(of_page(&before.events), events);
    desk.on.log.append(&[events[1].clone(), events[0].clone(), events[0].clone()]).await.unwrap();
    assert_eq!(desk.page(None, 10).await, before, "each event stays at its place");
    desk.reopen().await;
    desk.on.log.append(&events[..1]).await.unwrap();
    assert_eq!(desk.page(None, 10).await, before);
}

/// Nine events: three merchants, each paid, closed, paid.
fn mixed() -> Vec<Event> {
    let mut events = Vec::new();
    for mch_id in ["1900000109", "18", "2"] {
        events.push(event(&key_of(mch_id, 1), EventType::Paid, TX));
        events.push(event(&key_of(mch_id, 2), EventType::Closed, ""));
        events.push(event(&key_of(mch_id, 3), EventType::Paid, TX));
    }
    events
}

async fn filters(desk: Desk) {
    let all = mixed();
    desk.on.log.append(&all).await.unwrap();
    let merchant = MchId::new("18").unwrap();
    for (kind, mch_id) in [
        (Some(EventType::Closed), None),
        (None, Some(merchant.clone())),
        (Some(EventType::Paid), Some(merchant)),
    ] {
        let filter = EventFilter { kind, mch_id };
        let wanted: Vec<_> = all
            .iter()
            .filter(|event| filter.kind.is_none_or(|kind| kind == event.kind))
            .filter(|event| filter.mch_id.as_ref().is_none_or(|mch_id| mch_id == event.mch_id()))
            .cloned()
            .collect();
        let (mut read, mut after) = (Vec::new(), None);
        loop {
            let page = desk.page_of(after, &filter, 1).await;
            read.extend(of_page(&page.events));
            after = Some(page.next);
            if !page.has_more {
                break;
            }
        }
        assert_eq!(read, wanted, "{filter:?}");
    }
}

async fn moves_on(desk: Desk) {
    desk.on.log.append(&mixed()).await.unwrap();
    let filter = EventFilter { kind: Some(EventType::Unpaid), mch_id: None };
    let mut page = desk.page_of(None, &filter, 10).await;
    while page.has_more {
        page = desk.page_of(Some(page.next), &filter, 10).await;
    }
    assert_eq!((page.events.len(), page.next), (0, desk.on.log.end().await.unwrap()));
}

async fn gone(desk: Desk) {
    desk.on.log.append(&events(3)).await.unwrap();
    let page = desk.page(None, 10).await;
    let good = page.events[1].0;
    for bad in [
        Cursor { id: Uuid::from_u128(7), ..good },
        Cursor { id: page.events[2].0.id, ..good },
        Cursor { id: Uuid::nil(), ..good },
    ] {
        let read = desk.on.log.read(Some(bad), &EventFilter::default(), 10).await.unwrap();
        let LogRead::Gone { oldest } = read else { panic!("{bad:?} reads as {read:?}") };
        assert_eq!(of_page(&desk.page(Some(oldest), 10).await.events), of_page(&page.events));
    }
    assert_eq!(desk.page(Some(good), 10).await.events.len(), 1);
}

async fn beyond_the_end(desk: Desk) {
    desk.on.log.append(&events(3)).await.unwrap();
    let end = desk.on.log.end().await.unwrap();
    for beyond in [Cursor { position: end.position + 1, ..end }, Cursor { position: u64::MAX, ..end }] {
        let read = desk.on.log.read(Some(beyond), &EventFilter::default(), 10).await;
        if desk.reads_replicas() {
            // Told that it is gone, its owner would begin at the oldest: only what is known to be gone may be called so.
            assert!(matches!(read, Err(PortError::Unavailable { .. })), "a replica may lag: {read:?}");
        } else {
            assert!(matches!(read, Ok(LogRead::Gone { .. })), "a lost tail is noticed: {read:?}");
        }
        timeout(PATIENCE, desk.on.log.grown(beyond)).await.expect("reading will tell").unwrap();
    }
}

/// The next place is known to one who reads a replica that is further.
async fn comes_up(desk: Desk) {
    if !desk.reads_replicas() {
        return;
    }
    let events = events(3);
    desk.on.log.append(&events[..1]).await.unwrap();
    let end = desk.on.log.end().await.unwrap();
    let next = Cursor { position: end.position + 1, id: events[1].id };
    let everything = EventFilter::default();
    let (read, appended) =
        tokio::join!(desk.on.log.read(Some(next), &everything, 10), desk.on.log.append(&events[1..2]));
    appended.unwrap();
    let read = read.unwrap();
    let LogRead::Page(page) = read else { panic!("{next:?} reads as {read:?}") };
    assert_eq!((page.events.len(), page.next), (0, next));
    desk.on.log.append(&events[2..]).await.unwrap();
    assert_eq!(of_page(&desk.page(Some(next), 10).await.events), events[2..]);
}

async fn start(desk: Desk) {
    desk.on.log.append(&events(2)).await.unwrap();
    assert_eq!(desk.page(Some(Cursor::START), 10).await, desk.page(None, 10).await);
}

async fn end(desk: Desk) {
    let empty = desk.on.log.end().await.unwrap();
    desk.on.log.append(&events(2)).await.unwrap();
    assert_eq!(desk.page(Some(empty), 10).await.events.len(), 2, "the end of an empty log is a place");
    let end = desk.on.log.end().await.unwrap();
    assert_eq!(end, desk.page(None, 10).await.next);
    assert_eq!(desk.page(Some(end), 10).await.events, []);
}

async fn bounded(desk: Desk) {
    desk.on.log.append(&events(PAGE_ROWS_MAX + 5)).await.unwrap();
    let page = desk.page(None, usize::MAX).await;
    assert!(page.events.len() <= PAGE_ROWS_MAX && page.has_more);
}

async fn grown(desk: Desk) {
    let events = events(10);
    for event in events {
        let past = desk.on.log.end().await.unwrap();
        let log = desk.on.log.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            timeout(PATIENCE, log.grown(past)).await.expect("somebody wakes us").unwrap();
            log.read(Some(past), &EventFilter::default(), 10).await.unwrap()
        });
        tokio::task::yield_now().await;
        desk.on.log.append(std::slice::from_ref(&event)).await.unwrap();
        let read = tasks.join_all().await.remove(0);
        let LogRead::Page(page) = read else { panic!("{read:?}") };
        assert_eq!(of_page(&page.events), [event]);
    }
}

async fn has_grown(mut desk: Desk) {
    let past = desk.on.log.end().await.unwrap();
    desk.on.log.append(&events(2)).await.unwrap();
    for _ in 0..2 {
        timeout(PATIENCE, desk.on.log.grown(past)).await.expect("it has grown").unwrap();
        desk.reopen().await;
    }
}

async fn survives(mut desk: Desk) {
    let events = events(4);
    desk.on.log.append(&events[..3]).await.unwrap();
    let before = desk.page(None, 10).await;
    desk.reopen().await;
    assert_eq!(desk.page(None, 10).await, before);
    desk.on.log.append(&events[3..]).await.unwrap();
    assert_eq!(of_page(&desk.page(Some(before.next), 10).await.events), events[3..]);
}

async fn at_once(desk: Desk) {
    let mut tasks = JoinSet::new();
    for event in events(200) {
        let log = desk.on.log.clone();
        tasks.spawn(async move { log.append(&[event]).await.unwrap() });
    }
    tasks.join_all().await;
    let page = desk.page(None, 1000).await;
    let mut ids: Vec<_> = page.events.iter().map(|(_, event)| event.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    assert!(page.events.is_sorted_by(|one, other| one.0.position < other.0.position));
}
