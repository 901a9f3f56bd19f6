//! The mode of an installation, which is a note that all its processes keep.

use std::sync::Arc;

use paybell_core::agreed::MODE_NOTE;
use paybell_core::ports::PortError;
use paybell_core::time::Millis;
use paybell_core::{AgreedMode, Mode, ModeKeeper};

use super::Case;
use super::desk::*;

pub const CASES: &[Case] = &[
    Case {
        name: "the first process settles the mode, and the others hear it",
        run: |desk| Box::pin(first(desk)),
    },
    Case { name: "nothing is withheld on yesterday's word", run: |desk| Box::pin(asks_now(desk)) },
    Case {
        name: "a change of the mode is told again to who lost it",
        run: |desk| Box::pin(told_again(desk)),
    },
    Case { name: "of two modes that nobody changed the older holds", run: |desk| Box::pin(older(desk)) },
    Case { name: "a mode that cannot be read settles nothing", run: |desk| Box::pin(unreadable(desk)) },
];

fn process(desk: &Desk, configured: Mode) -> ModeKeeper {
    ModeKeeper::shared(configured, desk.on.notes.clone(), desk.on.ledger.clone())
}

/// Puts another text in place of the note, as an old backup does.
async fn put(desk: &Desk, text: &str) {
    let stored = desk.on.notes.read(MODE_NOTE).await.unwrap();
    let version = stored.map(|note| note.version);
    assert!(desk.on.notes.write(MODE_NOTE, version, text).await.unwrap());
}

async fn text(desk: &Desk) -> String {
    desk.on.notes.read(MODE_NOTE).await.unwrap().unwrap().text
}

async fn first(mut desk: Desk) {
    let one = process(&desk, Mode::Live);
    assert_eq!(one.hear().await.unwrap(), None);
    assert_eq!(one.look().await.unwrap(), Mode::Live);
    desk.reopen().await;
    let other = process(&desk, Mode::Shadow);
    assert_eq!(other.current(), Mode::Shadow, "before it heard anything");
    assert_eq!(other.settled().await.unwrap(), Mode::Live);
    assert_eq!((other.current(), other.configured()), (Mode::Live, Mode::Shadow));
    assert_eq!(other.agreed(), one.agreed());
    // Many at once settle one mode.
    put(&desk, &text(&desk).await).await;
    let all = (0..16).map(|number| process(&desk, if number % 2 == 0 { Mode::Live } else { Mode::Shadow }));
    let all: Vec<_> = all.map(Arc::new).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for one in &all {
        let one = one.clone();
        tasks.spawn(async move { one.look().await.unwrap() });
    }
    assert!(tasks.join_all().await.into_iter().all(|mode| mode == Mode::Live));
}

async fn asks_now(desk: Desk) {
    let left = process(&desk, Mode::Shadow);
    assert_eq!(left.settled().await.unwrap(), Mode::Shadow);
    let operator = process(&desk, Mode::Live);
    let changed = operator.change(Mode::Live, "alice", "take-over").await.unwrap().unwrap();
    assert_eq!((changed.mode, changed.by.as_str(), changed.why.as_str()), (Mode::Live, "alice", "take-over"));
    assert_eq!(left.current(), Mode::Shadow, "nobody told it");
    assert_eq!(left.settled().await.unwrap(), Mode::Live, "it asked");
    let again = operator.change(Mode::Live, "bob", "again").await.unwrap().unwrap();
    assert_eq!(again, changed, "nothing was changed");
    operator.change(Mode::Shadow, "alice", "").await.unwrap();
    assert_eq!(left.look().await.unwrap(), Mode::Shadow);
    assert_eq!(left.agreed().unwrap().by, "alice");
}

async fn told_again(desk: Desk) {
    let one = process(&desk, Mode::Shadow);
    one.look().await.unwrap();
    let early = text(&desk).await;
    one.change(Mode::Live, "alice", "").await.unwrap();
    let late = text(&desk).await;
    put(&desk, &early).await;
    assert_eq!(
        process(&desk, Mode::Live).look().await.unwrap(),
        Mode::Shadow,
        "who knows nothing believes it"
    );
    assert_eq!(one.look().await.unwrap(), Mode::Live);
    assert_eq!(text(&desk).await, late);
    // Two changes in one millisecond of the ledger's clock are two changes.
    let (back, forth) = (process(&desk, Mode::Live), process(&desk, Mode::Live));
    let back = back.change(Mode::Shadow, "alice", "").await.unwrap().unwrap();
    let forth = forth.change(Mode::Live, "alice", "").await.unwrap().unwrap();
    assert!(back.change < forth.change, "{back:?} {forth:?}");
}

async fn older(desk: Desk) {
    let fleet = process(&desk, Mode::Live);
    fleet.look().await.unwrap();
    let known = text(&desk).await;
    desk.advance(Millis::seconds(5)).await;
    // The ledger was emptied, and a stray process was the first to notice.
    let since = desk.on.ledger.clock().await.unwrap().now;
    let stray = AgreedMode { mode: Mode::Shadow, since, ..fleet.agreed().unwrap() };
    put(&desk, &stray.to_text().unwrap()).await;
    let stray = process(&desk, Mode::Shadow);
    assert_eq!(stray.settled().await.unwrap(), Mode::Shadow);
    assert_eq!(fleet.look().await.unwrap(), Mode::Live);
    assert_eq!(text(&desk).await, known);
    assert_eq!(stray.settled().await.unwrap(), Mode::Live);
}

async fn unreadable(desk: Desk) {
    let live = process(&desk, Mode::Live);
    live.look().await.unwrap();
    put(&desk, "{\"mode\":\"maintenance\"}").await;
    assert!(matches!(live.look().await, Err(PortError::Corrupt { .. })));
    assert_eq!(live.settled().await.unwrap(), Mode::Live, "it goes on as it was");
    let new = process(&desk, Mode::Shadow);
    assert!(matches!(new.settled().await, Err(PortError::Corrupt { .. })), "it decides nothing");
    assert_eq!(new.agreed(), None);
}
