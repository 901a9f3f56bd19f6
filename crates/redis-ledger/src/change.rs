//! Compare and set: runs a transition of `paybell-core` on the record that is stored, or is guessed to be, and stores
//! what it says if that guess was right. Otherwise it runs the transition again, on what Redis says is there.

use std::sync::Arc;

use paybell_core::dead::DeadLetter;
use paybell_core::ids::OrderKey;
use paybell_core::lease::Write;
use paybell_core::ports::PortError;
use paybell_core::record::Record;
use paybell_core::time::Timestamp;
use redis::{Pipeline, Value};

use crate::codec;
use crate::engine::{Inner, within};
use crate::error::{Fault, unavailable};
use crate::keys::Shard;
use crate::recent::Stored;
use crate::session::Session;
use crate::step::{LetterStep, Standing, Step};
use crate::writer::Outcome;

/// How often a step may find that somebody was faster; each time somebody else has got on.
const TRIES_MAX: usize = 256;

/// What a transition says.
pub(crate) struct Decided<T> {
    pub write: Write,
    pub letter: Option<DeadLetter>,
    pub answer: T,
}

/// What a step begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Ask Redis.
    Read,
    /// There is none.
    Absent,
    /// What this process stored last, if it remembers.
    Recent,
}

/// What is stored, or guessed to be.
struct Known {
    stored: Option<Stored>,
    is_guess: bool,
    /// With whom it was read. What a refused write brought back is as safe as a write.
    read_on: Option<Arc<Session>>,
}

impl Inner {
    /// One atomic step on an order's record, within the deadline of every call.
    pub async fn change<T>(
        &self,
        key: &OrderKey,
        begin: Begin,
        run: impl Fn(Option<&Record>, Timestamp) -> Decided<T> + Send + Sync,
    ) -> Result<T, PortError>
    where
        T: Send,
    {
        within(self.try_change(key, begin, run)).await
    }

    /// Stores a letter that belongs to no step.
    pub async fn bury(&self, letter: &DeadLetter) -> Result<(), PortError> {
        let shard = Shard::of_parts(&letter.mch_id, &letter.out_trade_no);
        let mut known = Vec::new();
        for _ in 0..TRIES_MAX {
            let letter = Some(LetterStep::merge(letter, known)?);
            match self.writer.store(Step { shard, record: None, letter }).await? {
                Outcome::Stored => return Ok(()),
                Outcome::Refused { letter, .. } => known = letter,
            }
        }
        Err(too_many())
    }

    async fn try_change<T>(
        &self,
        key: &OrderKey,
        begin: Begin,
        run: impl Fn(Option<&Record>, Timestamp) -> Decided<T> + Send + Sync,
    ) -> Result<T, PortError> {
        let mut known = self.begin(key, begin).await?;
        let mut letter_known = Vec::new();
        for _ in 0..TRIES_MAX {
            let now = self.reading()?.now;
            let decided = run(known.stored.as_ref().map(|stored| &stored.record), now);
            let Some(step) = self.plan(key, &known, &decided, &letter_known)? else {
                if known.is_guess {
                    known = self.load(key).await?;
                    continue;
                }
                if let Some(session) = &known.read_on {
                    self.confirm(session).await?;
                }
                return Ok(decided.answer);
            };
            let new = step.record.as_ref().map(|record| record.new.clone()).unwrap_or_default();
            match self.writer.store(step).await? {
                Outcome::Stored => {
                    if let Write::Put(record) = decided.write {
                        self.recent.remember(Stored { bytes: new, record: *record }, now);
                    }
                    return Ok(decided.answer);
                }
                Outcome::Refused { record, letter } => {
                    known = Known { stored: stored_of(key, record)?, is_guess: false, read_on: None };
                    letter_known = letter;
                }
            }
        }
        Err(too_many())
    }

    /// `None` where there is nothing to store.
    fn plan<T>(
        &self,
        key: &OrderKey,
        known: &Known,
        decided: &Decided<T>,
        letter_known: &[u8],
    ) -> Result<Option<Step>, PortError> {
        let new = match &decided.write {
            Write::Keep => return Ok(None),
            Write::Put(record) => Some(record.as_ref()),
            Write::Delete => None,
        };
        let before = Standing::of(known.stored.as_ref().map(|stored| &stored.record));
        let bytes = known.stored.as_ref().map(|stored| stored.bytes.clone()).unwrap_or_default();
        let mut step = self.planner().change(key, before, bytes, new)?;
        let letter = decided.letter.as_ref();
        step.letter = letter.map(|letter| LetterStep::merge(letter, letter_known.to_vec())).transpose()?;
        Ok(Some(step))
    }

    async fn begin(&self, key: &OrderKey, begin: Begin) -> Result<Known, PortError> {
        let guessed = match begin {
            Begin::Read => return self.load(key).await,
            Begin::Absent => None,
            Begin::Recent => match self.recent.take(key) {
                None => return self.load(key).await,
                remembered => remembered,
            },
        };
        Ok(Known { stored: guessed, is_guess: true, read_on: None })
    }

    async fn load(&self, key: &OrderKey) -> Result<Known, PortError> {
        let session = self.link.session()?;
        let mut question = Pipeline::new();
        question.cmd("GET").arg(self.keys.record(key));
        let answer = session.read_for_answer(question).await?.pop().unwrap_or(Value::Nil);
        Ok(Known { stored: stored_of(key, bytes_of(answer)?)?, is_guess: false, read_on: Some(session) })
    }

    /// The record as a replica that is there has it, too.
    pub async fn settled(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        let known = self.load(key).await?;
        if let Some(session) = &known.read_on {
            self.confirm(session).await?;
        }
        Ok(known.stored.map(|stored| stored.record))
    }

    /// The record that is stored.
    pub async fn stored(&self, key: &OrderKey) -> Result<Option<Stored>, PortError> {
        let mut question = Pipeline::new();
        question.cmd("GET").arg(self.keys.record(key));
        let answer = self.read(&question).await?.pop().unwrap_or(Value::Nil);
        Ok(stored_of(key, bytes_of(answer)?)?)
    }
}

/// The bytes of an answer, none where there is nothing.
pub(crate) fn bytes_of(answer: Value) -> Result<Vec<u8>, Fault> {
    match answer {
        Value::Nil => Ok(Vec::new()),
        Value::BulkString(bytes) => Ok(bytes),
        _ => Err(Fault::strange("a read")),
    }
}

/// The record of bytes; no bytes, no record.
pub(crate) fn stored_of(key: &OrderKey, bytes: Vec<u8>) -> Result<Option<Stored>, Fault> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(Stored { record: codec::decode(key, &bytes)?, bytes }))
}

fn too_many() -> PortError {
    unavailable(format!("somebody else was faster {TRIES_MAX} times in a row"))
}
