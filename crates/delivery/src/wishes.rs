//! What people ask of an endpoint, in a note beside its book: anybody may add, the holder of the lease fulfils.
//!
//! A wish has a number, and the book says which was the last that was fulfilled: a crash in between fulfils none twice.

use std::sync::Arc;

use paybell_core::ports::Notes;
use serde::{Deserialize, Serialize};

use crate::book::Resend;
use crate::config::EndpointName;
use crate::error::Error;

/// Parts of the log that wait to be sent again, at most; beside them there is room for one [`Wish::Enable`].
pub const WISHES_MAX: usize = 64;

/// Tries of a change that others keep spoiling.
const TRIES_MAX: usize = 20;

/// One wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wish {
    /// Send a part of the log again.
    Resend(Resend),
    /// Send again after a 410.
    Enable,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Wishes {
    /// The number of the last wish that was ever made.
    last: u64,
    waiting: Vec<(u64, Wish)>,
}

/// The note of one endpoint's wishes.
#[derive(Clone)]
pub(crate) struct WishBox {
    notes: Arc<dyn Notes>,
    name: String,
}

impl WishBox {
    pub fn new(notes: Arc<dyn Notes>, name: &EndpointName) -> Self {
        Self { notes, name: format!("delivery-wishes/{name}") }
    }

    /// Adds a wish; `false` if too many wait. Nothing keeps anybody from enabling, which may be what makes room: the last
    /// such wish stands for those before it.
    pub async fn add(&self, wish: Wish) -> Result<bool, Error> {
        for _ in 0..TRIES_MAX {
            let (version, mut wishes) = self.load().await?;
            let is_other = |known: &(u64, Wish)| known.1 != Wish::Enable;
            match wish {
                Wish::Enable => wishes.waiting.retain(is_other),
                Wish::Resend(_)
                    if wishes.waiting.iter().filter(|known| is_other(known)).count() >= WISHES_MAX =>
                {
                    return Ok(false);
                }
                Wish::Resend(_) => {}
            }
            wishes.last += 1;
            wishes.waiting.push((wishes.last, wish));
            if self.notes.write(&self.name, version, &text(&wishes)).await? {
                return Ok(true);
            }
        }
        Err(Error::Contended(self.name.clone()))
    }

    /// The wishes after the last that was fulfilled, oldest first.
    pub async fn waiting(&self, done: u64) -> Result<Vec<(u64, Wish)>, Error> {
        let (_, wishes) = self.load().await?;
        Ok(wishes.waiting.into_iter().filter(|(number, _)| *number > done).collect())
    }

    /// Forgets what was fulfilled. Where somebody adds at this moment, the next call does.
    pub async fn forget(&self, done: u64) -> Result<(), Error> {
        let (version, mut wishes) = self.load().await?;
        wishes.waiting.retain(|(number, _)| *number > done);
        self.notes.write(&self.name, version, &text(&wishes)).await?;
        Ok(())
    }

    async fn load(&self) -> Result<(Option<u64>, Wishes), Error> {
        let Some(note) = self.notes.read(&self.name).await? else { return Ok((None, Wishes::default())) };
        let unreadable = |error: serde_json::Error| Error::Unreadable {
            name: self.name.clone(),
            cause: error.to_string(),
        };
        Ok((Some(note.version), serde_json::from_str(&note.text).map_err(unreadable)?))
    }
}

fn text(wishes: &Wishes) -> String {
    // A struct of numbers and words always has a JSON form.
    serde_json::to_string(wishes).unwrap_or_default()
}
