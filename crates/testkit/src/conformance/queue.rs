//! The check queue: nothing published is lost, and whatever is not settled comes again.

use std::collections::HashSet;

use paybell_core::check::{Check, Claim, Lane};
use paybell_core::ids::OrderKey;
use paybell_core::record::Cause;
use paybell_core::time::Timestamp;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case { name: "a check is delivered as it was published", run: |desk| Box::pin(as_published(desk)) },
    Case { name: "checks travel in their lanes", run: |desk| Box::pin(lanes(desk)) },
    Case { name: "the backlog counts what waits and what is in hand", run: |desk| Box::pin(backlog(desk)) },
    Case { name: "a done check never comes again", run: |desk| Box::pin(done(desk)) },
    Case { name: "a dropped delivery comes again", run: |desk| Box::pin(dropped(desk)) },
    Case {
        name: "what was in hand comes again after a restart",
        run: |desk| Box::pin(in_hand_at_restart(desk)),
    },
    Case { name: "a receiver waits for a check", run: |desk| Box::pin(waits(desk)) },
    Case { name: "a receiver that goes loses nothing", run: |desk| Box::pin(goes(desk)) },
    Case { name: "a receiver gets no more than it asked for", run: |desk| Box::pin(no_more(desk)) },
    Case { name: "many receivers share thousands of checks", run: |desk| Box::pin(many(desk)) },
    Case { name: "publishing nothing is no error", run: |desk| Box::pin(nothing_at_all(desk)) },
];

fn due(number: usize, cause: Cause) -> Check {
    Check::due(key(number), Claim { number: 3, due_for: Timestamp::from_millis(1_795_147_200_123), cause })
}

async fn as_published(desk: Desk) {
    let checks = [
        notified(&key(1), TX),
        Check::notified(key(2), None),
        manual(&OrderKey::new("1900000109", "a|b*c@d_e-f").unwrap()),
        due(4, Cause::Outgoing),
    ];
    desk.on.queue.publish(&checks).await.unwrap();
    let mut received = Vec::new();
    for delivery in desk.receive(Lane::Urgent, 4).await {
        received.push(delivery.check.clone());
        delivery.done().await.unwrap();
    }
    assert!(checks.iter().all(|check| received.contains(check)), "{received:?}");
}

async fn lanes(desk: Desk) {
    desk.on.queue.publish(&[due(1, Cause::Cadence), manual(&key(2)), due(3, Cause::Notified)]).await.unwrap();
    let cadence = desk.receive(Lane::Cadence, 1).await;
    assert_eq!(cadence[0].check, due(1, Cause::Cadence));
    let urgent: HashSet<_> =
        desk.receive(Lane::Urgent, 2).await.iter().map(|delivery| delivery.check.key.clone()).collect();
    assert_eq!(urgent, HashSet::from([key(2), key(3)]));
}

async fn backlog(mut desk: Desk) {
    desk.on.queue.publish(&[manual(&key(1)), manual(&key(2)), due(3, Cause::Cadence)]).await.unwrap();
    desk.backlog_becomes(Lane::Urgent, 2).await;
    desk.backlog_becomes(Lane::Cadence, 1).await;
    let mut in_hand = desk.receive(Lane::Urgent, 2).await;
    desk.backlog_becomes(Lane::Urgent, 2).await;
    in_hand.remove(0).done().await.unwrap();
    desk.backlog_becomes(Lane::Urgent, 1).await;
    drop(in_hand);
    desk.backlog_becomes(Lane::Urgent, 1).await;
    desk.reopen().await;
    desk.backlog_becomes(Lane::Urgent, 1).await;
    desk.backlog_becomes(Lane::Cadence, 1).await;
}

async fn done(mut desk: Desk) {
    desk.on.queue.publish(&[manual(&key(1)), manual(&key(2))]).await.unwrap();
    for delivery in desk.receive(Lane::Urgent, 2).await {
        if delivery.check.key == key(1) {
            delivery.done().await.unwrap();
        }
    }
    desk.reopen().await;
    desk.on.queue.publish(&[manual(&key(3))]).await.unwrap();
    let keys: HashSet<_> =
        desk.receive(Lane::Urgent, 2).await.iter().map(|delivery| delivery.check.key.clone()).collect();
    assert_eq!(keys, HashSet::from([key(2), key(3)]));
}

async fn dropped(desk: Desk) {
    desk.on.queue.publish(&[notified(&key(1), TX)]).await.unwrap();
    for _ in 0..3 {
        let again = desk.receive(Lane::Urgent, 1).await;
        assert_eq!(again[0].check, notified(&key(1), TX));
        drop(again);
    }
    desk.receive(Lane::Urgent, 1).await.remove(0).done().await.unwrap();
    desk.backlog_becomes(Lane::Urgent, 0).await;
}

async fn in_hand_at_restart(mut desk: Desk) {
    desk.on.queue.publish(&[manual(&key(1)), due(2, Cause::Cadence)]).await.unwrap();
    let in_hand = desk.receive(Lane::Urgent, 1).await;
    desk.reopen().await;
    assert_eq!(desk.receive(Lane::Urgent, 1).await[0].check, manual(&key(1)));
    assert_eq!(desk.receive(Lane::Cadence, 1).await[0].check, due(2, Cause::Cadence));
    drop(in_hand);
}

async fn waits(desk: Desk) {
    for number in 0..10 {
        let source = desk.on.source.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let received = timeout(PATIENCE, source.receive(Lane::Urgent, 1)).await.unwrap().unwrap();
            for delivery in received {
                delivery.done().await.unwrap();
            }
        });
        tokio::task::yield_now().await;
        desk.on.queue.publish(&[manual(&key(number))]).await.unwrap();
        tasks.join_all().await;
    }
}

async fn goes(desk: Desk) {
    for number in 0..50 {
        {
            let waiting = desk.on.source.receive(Lane::Urgent, 10);
            let published = [manual(&key(number))];
            let publishing = desk.on.queue.publish(&published);
            tokio::select! {
                biased;
                received = waiting => drop(received.unwrap()),
                published = publishing => published.unwrap(),
            }
        }
        if desk.on.queue.backlog(Lane::Urgent).await.unwrap() == 0 {
            desk.on.queue.publish(&[manual(&key(number))]).await.unwrap();
        }
        for delivery in desk.receive(Lane::Urgent, 1).await {
            assert_eq!(delivery.check, manual(&key(number)));
            delivery.done().await.unwrap();
        }
        desk.backlog_becomes(Lane::Urgent, 0).await;
    }
}

async fn no_more(desk: Desk) {
    let checks: Vec<_> = (0..10).map(|number| manual(&key(number))).collect();
    desk.on.queue.publish(&checks).await.unwrap();
    let first = desk.on.source.receive(Lane::Urgent, 3).await.unwrap();
    assert!((1..=3).contains(&first.len()));
    let rest = desk.receive(Lane::Urgent, 10 - first.len()).await;
    let keys: HashSet<_> = first.iter().chain(&rest).map(|delivery| delivery.check.key.clone()).collect();
    assert_eq!(keys.len(), 10, "what is in hand is in no other hand");
}

async fn many(desk: Desk) {
    const CHECKS: usize = 3000;
    let mut receivers = JoinSet::new();
    for _ in 0..4 {
        let source = desk.on.source.clone();
        receivers.spawn(async move {
            let mut keys = Vec::new();
            while let Ok(received) = timeout(PATIENCE, source.receive(Lane::Urgent, 64)).await {
                for delivery in received.unwrap() {
                    if delivery.check.key == key_of("18", 0) {
                        delivery.done().await.unwrap();
                        return keys;
                    }
                    keys.push(delivery.check.key.clone());
                    delivery.done().await.unwrap();
                }
            }
            panic!("the end never came after {} checks", keys.len());
        });
    }
    for start in (0..CHECKS).step_by(100) {
        let checks: Vec<_> = (start..start + 100).map(|number| manual(&key(number))).collect();
        desk.on.queue.publish(&checks).await.unwrap();
    }
    desk.backlog_becomes(Lane::Urgent, 0).await;
    desk.on.queue.publish(&[manual(&key_of("18", 0))]).await.unwrap();
    let mut keys = Vec::new();
    while let Some(received) = receivers.join_next().await {
        keys.extend(received.unwrap());
        if !receivers.is_empty() {
            desk.on.queue.publish(&[manual(&key_of("18", 0))]).await.unwrap();
        }
    }
    assert_eq!(keys.len(), CHECKS);
    assert_eq!(keys.into_iter().collect::<HashSet<_>>().len(), CHECKS);
}

async fn nothing_at_all(desk: Desk) {
    desk.on.queue.publish(&[]).await.unwrap();
    desk.on.log.append(&[]).await.unwrap();
    desk.backlog_becomes(Lane::Urgent, 0).await;
}
