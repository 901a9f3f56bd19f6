//! What a step changes in Redis: the record, the sets it is in, the sums it counts in, and a letter. Pure: from the
//! record before and the record after to the arguments of `store.lua`.

use paybell_core::check::Lane;
use paybell_core::dead::DeadLetter;
use paybell_core::ids::OrderKey;
use paybell_core::record::{Record, State};
use paybell_core::time::Timestamp;
use redis::Cmd;
use uuid::Uuid;

use crate::codec;
use crate::config::Retention;
use crate::error::Fault;
use crate::keys::{Keys, Shard, state_number};

/// Registered fen are summed by merchant, and for what is young once more over the orders of this length of creation time.
pub(crate) const FEN_SPAN_MS: i64 = 10_000;

/// A registered order that is pending for longer counts as unconfirmed; up to [`FEN_SPAN_MS`] sooner.
pub(crate) const UNCONFIRMED_MS: i64 = 120_000;

/// An order whose creation lies further back when it is registered is no young one.
const YOUNG_MS_MAX: i64 = UNCONFIRMED_MS + FEN_SPAN_MS;

/// One compare-and-set.
#[derive(Debug)]
pub(crate) struct Step {
    pub shard: Shard,
    pub record: Option<RecordStep>,
    pub letter: Option<LetterStep>,
}

/// A record to store over the bytes it was decided on.
#[derive(Debug)]
pub(crate) struct RecordStep {
    pub key: String,
    /// Empty if there was none.
    pub expected: Vec<u8>,
    /// Empty to delete it.
    pub new: Vec<u8>,
    moves: Moves,
}

/// A letter to store over the text it was merged with.
#[derive(Debug)]
pub(crate) struct LetterStep {
    pub id: Uuid,
    pub expected: Vec<u8>,
    pub new: Vec<u8>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Moves {
    /// 1 urgent, 2 cadence, 3 both.
    due_out: usize,
    due_in: usize,
    due_score: i64,
    state_out: usize,
    state_in: usize,
    state_score: Score,
    expires_at: Option<i64>,
    fen: Vec<(String, i64)>,
}

/// A score in the index of a state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Score {
    /// It has a due time: it stays.
    #[default]
    Endless,
    /// When it expires, in the server's time.
    At(i64),
}

/// Which sets have an order's entry, and what it counts: all that a step must know of the record before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    lane: usize,
    state: usize,
    fen: Option<Counted>,
}

impl Standing {
    /// Of a record as it stands; no record stands nowhere.
    pub fn of(record: Option<&Record>) -> Self {
        let Some(record) = record else { return Self::default() };
        Self {
            lane: due_of(record).map_or(0, |(lane, _)| lane_number(lane)),
            state: state_number(record.state).unwrap_or_default(),
            fen: Counted::of(record),
        }
    }
}

/// What steps are planned with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planner<'a> {
    pub keys: &'a Keys,
    pub retention: &'a Retention,
    /// The ledger's clock minus the server's: expiry goes by the server's.
    pub shift_ms: i64,
}

impl Planner<'_> {
    /// From `before` (with the bytes that it was read from) to `new`.
    pub fn change(
        &self,
        key: &OrderKey,
        before: Standing,
        bytes: Vec<u8>,
        new: Option<&Record>,
    ) -> Result<Step, Fault> {
        let moves = self.moves(key, before, new);
        let new = new.map(codec::encode).transpose()?.unwrap_or_default();
        Ok(self.step(key, bytes, new, moves))
    }

    /// Puts a record's entries where they belong: `bytes` stay, whatever sets the order was found in.
    pub fn repair(&self, key: &OrderKey, record: Option<&Record>, bytes: Vec<u8>) -> Step {
        let mut moves = self.moves(key, Standing::of(record), record);
        moves.due_out = match moves.due_in {
            1 => 2,
            2 => 1,
            _ => 3,
        };
        self.step(key, bytes.clone(), bytes, moves)
    }

    /// Moves the due time of a record that this process cannot read: `bytes` stay.
    pub fn put_aside(&self, key: &OrderKey, bytes: Vec<u8>, lane: Lane, until: Timestamp) -> Step {
        let moves = Moves { due_in: lane_number(lane), due_score: until.millis(), ..Moves::default() };
        self.step(key, bytes.clone(), bytes, moves)
    }

    fn step(&self, key: &OrderKey, expected: Vec<u8>, new: Vec<u8>, moves: Moves) -> Step {
        let shard = Shard::of(key);
        let record = RecordStep { key: self.keys.of(shard).record(key), expected, new, moves };
        Step { shard, record: Some(record), letter: None }
    }

    fn moves(&self, key: &OrderKey, before: Standing, new: Option<&Record>) -> Moves {
        let after = Standing::of(new);
        let rests = new.filter(|record| record.due.is_none() && record.lease.is_none());
        let expires_at = rests.map(|record| self.expires_at(record));
        let state_score = match expires_at {
            Some(at) => Score::At(at),
            None if new.is_some_and(|record| record.due.is_none()) => Score::At(i64::from(u32::MAX) << 16),
            None => Score::Endless,
        };
        let left = |before: usize, after: usize| if before == after { 0 } else { before };
        Moves {
            due_out: left(before.lane, after.lane),
            due_in: after.lane,
            due_score: new.and_then(due_of).map_or(0, |(_, at)| at.millis()),
            state_out: left(before.state, after.state),
            state_in: after.state,
            state_score,
            expires_at,
            fen: fen_changes(key, before.fen, after.fen),
        }
    }

    fn expires_at(&self, record: &Record) -> i64 {
        let age = self.retention.of(record.state);
        (record.updated_at + age).millis().saturating_sub(self.shift_ms)
    }
}

impl LetterStep {
    /// Adds an occurrence to what is stored under the letter's id.
    pub fn merge(letter: &DeadLetter, stored: Vec<u8>) -> Result<Self, Fault> {
        let merged = match stored.as_slice() {
            [] => letter.clone(),
            text => letter_of(letter.id, text).repeated(letter.clone()),
        };
        let new = serde_json::to_vec(&merged).map_err(|error| {
            Fault::Corrupt(format!("dead letter {} cannot be written: {error}", letter.id))
        })?;
        Ok(Self { id: letter.id, expected: stored, new })
    }
}

/// A letter from its stored text, or what is shown in the place of one that cannot be read.
pub(crate) fn letter_of(id: Uuid, text: &[u8]) -> DeadLetter {
    let read: Result<DeadLetter, _> = serde_json::from_slice(text);
    read.unwrap_or_else(|error| DeadLetter::unreadable(id, &String::from_utf8_lossy(text), error))
}

impl Step {
    /// Appends the step's arguments; the record's key is among the call's keys already.
    pub fn write(&self, to: &mut Cmd) {
        let none = Moves::default();
        let moves = self.record.as_ref().map_or(&none, |record| &record.moves);
        let digits = [
            usize::from(self.record.is_some()),
            moves.due_out,
            moves.due_in,
            moves.state_out,
            moves.state_in,
            usize::from(moves.expires_at.is_some()),
            moves.fen.len(),
            usize::from(self.letter.is_some()),
        ];
        to.arg(digits.map(|digit| b'0'.saturating_add(u8::try_from(digit).unwrap_or(0))).as_slice());
        if let Some(record) = &self.record {
            to.arg(record.expected.as_slice()).arg(record.new.as_slice());
        }
        if moves.due_in != 0 {
            to.arg(moves.due_score);
        }
        if moves.state_in != 0 {
            match moves.state_score {
                Score::Endless => to.arg("+inf"),
                Score::At(at) => to.arg(at),
            };
        }
        if let Some(at) = moves.expires_at {
            to.arg(at);
        }
        for (field, amount) in &moves.fen {
            to.arg(field).arg(*amount);
        }
        if let Some(letter) = &self.letter {
            to.arg(letter.id.to_string()).arg(letter.expected.as_slice()).arg(letter.new.as_slice());
        }
    }
}

fn due_of(record: &Record) -> Option<(Lane, Timestamp)> {
    let due = record.due?;
    Some((if due.cause.is_urgent() { Lane::Urgent } else { Lane::Cadence }, due.at))
}

fn lane_number(lane: Lane) -> usize {
    match lane {
        Lane::Urgent => 1,
        Lane::Cadence => 2,
    }
}

/// What a record counts in the sum of what is registered and pending.
#[derive(Debug, Clone, Copy)]
struct Counted {
    span: i64,
    fen: i64,
    /// Not too old for the sum of its span when it was stored.
    is_young: bool,
}

impl Counted {
    fn of(record: &Record) -> Option<Self> {
        let registration = record.registration.as_ref().filter(|_| record.state == State::Pending)?;
        let span = record.created_at.millis().div_euclid(FEN_SPAN_MS);
        let is_young = record.updated_at.since(record.created_at).0 <= YOUNG_MS_MAX;
        Some(Self { span, fen: registration.total_fee.get(), is_young })
    }

    fn counts_as(one: Option<Self>) -> Option<(i64, i64)> {
        one.map(|Self { span, fen, .. }| (span, fen))
    }
}

/// Most steps change nothing of it. What leaves is taken from the sum of its span, whatever its age by now: `store.lua` takes
/// nothing from a sum that is not there.
fn fen_changes(key: &OrderKey, before: Option<Counted>, after: Option<Counted>) -> Vec<(String, i64)> {
    if Counted::counts_as(before) == Counted::counts_as(after) {
        return Vec::new();
    }
    let before = before.map(|counted| Counted { fen: -counted.fen, is_young: true, ..counted });
    let mut changes = Vec::with_capacity(4);
    for Counted { span, fen, is_young } in before.into_iter().chain(after).filter(|one| one.fen != 0) {
        changes.push((key.mch_id.as_str().to_owned(), fen));
        if is_young {
            changes.push((format!("{}:{span}", key.mch_id.as_str()), fen));
        }
    }
    changes
}
