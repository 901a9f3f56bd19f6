//! Whether the ledger is younger than the log: whoever has no place in it then may have had one before.
//!
//! The first process that delivers leaves a note that says which endpoints began while the log already had events. A
//! ledger that kept its data has the note; one that was emptied has it no more, nor any place. Moves nobody: the warning
//! and the gauge that come of it ask a person, because to send the whole log again is no better than to send nothing.

use paybell_core::ports::{EventFilter, EventLog, LogRead, Notes};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::shelf;

/// Outside of the names of books.
const NAME: &str = "deliveries/birth";

/// What the note says.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Birth {
    /// Endpoints that were configured when the ledger was new and the log was not.
    after_log: Vec<String>,
}

/// Whether the endpoint, which has no book, was served already when the ledger was found without any, beside a log with
/// events. `names` are all endpoints that are configured now.
pub(crate) async fn is_after_log(
    notes: &dyn Notes,
    log: &dyn EventLog,
    names: &[String],
    name: &str,
) -> Result<bool, Error> {
    let note = match notes.read(NAME).await? {
        Some(note) => Some(note),
        None => {
            // Text of a struct of texts.
            let text = serde_json::to_string(&birth(notes, log, names).await?).unwrap_or_default();
            // If another process wrote it just now, its word holds.
            notes.write(NAME, None, &text).await?;
            notes.read(NAME).await?
        }
    };
    let unreadable =
        |cause: serde_json::Error| Error::Unreadable { name: NAME.to_owned(), cause: cause.to_string() };
    let birth: Birth = match note {
        Some(note) => serde_json::from_str(&note.text).map_err(unreadable)?,
        None => Birth::default(),
    };
    Ok(birth.after_log.iter().any(|after| after == name))
}

async fn birth(notes: &dyn Notes, log: &dyn EventLog, names: &[String]) -> Result<Birth, Error> {
    // A version that left no note left books.
    let is_known = !notes.list(shelf::PREFIX).await?.is_empty();
    let has_events = match log.read(None, &EventFilter::default(), 1).await? {
        LogRead::Page(page) => !page.events.is_empty(),
        LogRead::Gone { .. } => true,
    };
    let after_log = if has_events && !is_known { names.to_vec() } else { Vec::new() };
    Ok(Birth { after_log })
}
