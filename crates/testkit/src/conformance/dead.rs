//! Dead letters.

use paybell_core::OutRefundNo;
use paybell_core::dead::{DeadLetter, DeadReason, Removed};
use paybell_core::time::Timestamp;
use uuid::Uuid;

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case { name: "a letter comes back as it was buried", run: |desk| Box::pin(comes_back(desk)) },
    Case { name: "a repeat raises the count", run: |desk| Box::pin(repeat(desk)) },
    Case { name: "a letter without an order is kept", run: |desk| Box::pin(without_an_order(desk)) },
    Case { name: "letters come in pages", run: |desk| Box::pin(pages(desk)) },
    Case { name: "a dead registration keeps its document", run: |desk| Box::pin(with_its_document(desk)) },
    Case { name: "a refund's letter keeps its refund", run: |desk| Box::pin(of_a_refund(desk)) },
    Case { name: "a removed letter is gone", run: |desk| Box::pin(removed(desk)) },
    Case { name: "only the letter that was read is removed", run: |desk| Box::pin(as_it_was_read(desk)) },
    Case {
        name: "a letter of a newer version hides no other",
        run: |desk| Box::pin(of_a_newer_version(desk)),
    },
];

async fn comes_back(mut desk: Desk) {
    let buried = letter(1, "附加 'quoted' \"text\"");
    desk.on.dead.bury(&buried).await.unwrap();
    desk.reopen().await;
    assert_eq!(desk.on.dead.get(buried.id).await.unwrap(), Some(buried));
    assert_eq!(desk.on.dead.get(Uuid::from_u128(1)).await.unwrap(), None);
}

async fn repeat(desk: Desk) {
    let first = letter(1, "first");
    let second = DeadLetter { last_at: Timestamp::from_millis(1_795_147_260_000), ..letter(1, "second") };
    desk.on.dead.bury(&first).await.unwrap();
    desk.on.dead.bury(&second).await.unwrap();
    assert_eq!(desk.on.dead.list(None, 10).await.unwrap(), [first.repeated(second)]);
}

async fn without_an_order(desk: Desk) {
    let malformed = DeadLetter::malformed("not a check document", Timestamp::from_millis(1_795_147_200_000));
    desk.on.dead.bury(&malformed).await.unwrap();
    assert_eq!(desk.on.dead.get(malformed.id).await.unwrap(), Some(malformed));
}

async fn with_its_document(mut desk: Desk) {
    let at = Timestamp::from_millis(1_795_147_200_000);
    let of = |document: &str| DeadLetter::registration(Some(&key(1)), document.to_owned(), "why", at);
    desk.on.dead.bury(&of("{\"total_fee\":\"5\"}")).await.unwrap();
    desk.on.dead.bury(&of("{\"total_fee\":'附加'}")).await.unwrap();
    desk.reopen().await;
    let stored = desk.on.dead.get(of("").id).await.unwrap().unwrap();
    assert_eq!((stored.count, stored.document.as_deref()), (2, Some("{\"total_fee\":'附加'}")));
}

async fn of_a_refund(mut desk: Desk) {
    let of = |number: &str| letter(1, "").of_refund(&OutRefundNo::new(number).unwrap());
    for buried in [letter(1, ""), of("R1"), of("R2"), of("R2")] {
        desk.on.dead.bury(&buried).await.unwrap();
    }
    desk.reopen().await;
    for (letter, count) in [(letter(1, ""), 1), (of("R1"), 1), (of("R2"), 2)] {
        let expected = DeadLetter { count, ..letter };
        assert_eq!(desk.on.dead.get(expected.id).await.unwrap(), Some(expected));
    }
}

async fn pages(desk: Desk) {
    let mut expected = Vec::new();
    for number in 0..7 {
        desk.on.dead.bury(&letter(number, "")).await.unwrap();
        expected.push(letter(number, "").id);
    }
    expected.sort();
    let mut listed: Vec<Uuid> = Vec::new();
    loop {
        let page = desk.on.dead.list(listed.last().copied(), 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|letter| letter.id));
    }
    assert_eq!(listed, expected);
}

async fn removed(mut desk: Desk) {
    desk.on.dead.bury(&letter(1, "")).await.unwrap();
    desk.on.dead.bury(&letter(2, "")).await.unwrap();
    assert_eq!(desk.on.dead.remove(&letter(1, "")).await.unwrap(), Removed::Gone);
    assert_eq!(desk.on.dead.remove(&letter(1, "")).await.unwrap(), Removed::Absent);
    desk.reopen().await;
    assert_eq!(desk.on.dead.list(None, 10).await.unwrap(), [letter(2, "")]);
    desk.on.dead.bury(&letter(1, "anew")).await.unwrap();
    assert_eq!(desk.on.dead.get(letter(1, "").id).await.unwrap().unwrap().count, 1);
}

/// Somebody reads a letter and has its order looked at again; that look leaves the same letter before the first is gone.
async fn as_it_was_read(mut desk: Desk) {
    let read = letter(1, "first");
    desk.on.dead.bury(&read).await.unwrap();
    let again = DeadLetter { last_at: Timestamp::from_millis(1_795_147_260_000), ..letter(1, "again") };
    desk.on.dead.bury(&again).await.unwrap();
    assert_eq!(desk.on.dead.remove(&read).await.unwrap(), Removed::Repeated);
    desk.reopen().await;
    let stored = desk.on.dead.get(read.id).await.unwrap().unwrap();
    assert_eq!(stored, read.repeated(again));
    assert_eq!(desk.on.dead.remove(&stored).await.unwrap(), Removed::Gone);
    assert_eq!(desk.on.dead.get(stored.id).await.unwrap(), None);
    // The same text again is another letter only by its time.
    let late = DeadLetter { first_at: again_at(), last_at: again_at(), ..letter(1, "first") };
    desk.on.dead.bury(&late).await.unwrap();
    assert_eq!(desk.on.dead.remove(&letter(1, "first")).await.unwrap(), Removed::Repeated);
}

fn again_at() -> Timestamp {
    Timestamp::from_millis(1_795_147_320_000)
}

async fn of_a_newer_version(mut desk: Desk) {
    let newer = DeadLetter { reason: DeadReason::Unknown("moon_phase".to_owned()), ..letter(2, "full") };
    for buried in [&letter(1, ""), &newer, &letter(3, "")] {
        desk.on.dead.bury(buried).await.unwrap();
    }
    desk.reopen().await;
    assert_eq!(desk.on.dead.list(None, 10).await.unwrap().len(), 3);
    assert_eq!(desk.on.dead.get(newer.id).await.unwrap(), Some(newer.clone()), "as it stands");
    assert_eq!(desk.on.dead.remove(&newer).await.unwrap(), Removed::Gone, "a person may drop it");
}
