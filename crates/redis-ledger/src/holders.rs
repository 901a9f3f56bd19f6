//! Who of those that hold leases lives, by what this process has heard. Pure: times are brought.
//!
//! Every process that takes leases says a new word once a second. One that dies leaves its last word as it is, and
//! leases that would keep their orders from everybody for a minute. Who sees the same word for long enough, over one
//! connection that was up and took writes all the while, knows that nobody works under these leases.
//!
//! A wrong judgement costs a second query and no more: fencing refuses what a holder that was only slow would write.
//! Refuses to judge by anybody's clock, by the absence of a word (an older version says none), or by what was heard
//! before a loss of the connection.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use paybell_core::lease::{HOLDER_LOOK, Holder};

/// Between two words.
pub(crate) const BEAT: Duration = Duration::from_secs(1);

/// A holder that says nothing new for so long is dead.
pub(crate) const SILENCE: Duration = Duration::from_secs(7);

/// Two hearings further apart than this say nothing of the time between them: we may have been asleep.
const GAP_MAX: Duration = Duration::from_secs(3);

/// Processes whose leases one process takes, at most: it is one; tests play several.
const OWN_MAX: usize = 64;

// Who finds a lease of a holder that has just died looks again when its death is known.
const _: () = assert!(millis_of(SILENCE) + 2 * millis_of(BEAT) < HOLDER_LOOK.0);

const fn millis_of(seconds: Duration) -> i64 {
    // A few seconds.
    seconds.as_secs().cast_signed() * 1000
}

/// When a question was asked and when it was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hearing {
    pub asked: Duration,
    pub answered: Duration,
}

/// What this process knows of holders.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    own: BTreeSet<u64>,
    words: HashMap<u64, Word>,
    /// The last hearing, if the next one may go on from it.
    last: Option<Hearing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Word {
    said: i64,
    /// When it was first heard; nothing newer came since.
    since: Duration,
}

impl Holders {
    /// This process takes a lease under that name; `true` if it is a new one, of which nobody has heard yet.
    pub fn is_new(&mut self, holder: u64) -> bool {
        !self.own.contains(&holder) && self.own.len() < OWN_MAX && self.own.insert(holder)
    }

    /// The names to speak under.
    pub fn own(&self) -> impl Iterator<Item = u64> {
        self.own.iter().copied()
    }

    /// Takes over everybody's last words, heard together with the server's yes to our own.
    pub fn hear(&mut self, hearing: Hearing, words: impl IntoIterator<Item = (u64, i64)>) {
        let goes_on = self.last.is_some_and(|last| hearing.answered.saturating_sub(last.answered) <= GAP_MAX);
        let since = |holder: &u64, said: i64| {
            let known = self.words.get(holder).filter(|word| goes_on && word.said == said);
            known.map_or(hearing.answered, |word| word.since)
        };
        let words = words.into_iter();
        self.words =
            words.map(|(holder, said)| (holder, Word { said, since: since(&holder, said) })).collect();
        self.last = Some(hearing);
    }

    /// Nothing could be heard, or said: silence begins anew for everybody.
    pub fn interrupt(&mut self) {
        self.last = None;
    }

    /// Whether the holder of a lease lives.
    pub fn judge(&self, holder: u64, now: Duration) -> Holder {
        let Some(word) = self.words.get(&holder) else { return Holder::Unknown };
        let is_silent = |heard: Hearing| {
            now.saturating_sub(heard.answered) <= GAP_MAX && heard.asked.saturating_sub(word.since) >= SILENCE
        };
        if self.last.is_some_and(is_silent) && !self.own.contains(&holder) {
            Holder::Dead
        } else {
            Holder::Alive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHER: u64 = 7;
    const OWN: u64 = 1;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn heard_at(ms: u64) -> Hearing {
        Hearing { asked: at(ms), answered: at(ms + 1) }
    }

    /// A process that has heard `OTHER` say 1 once a second, in `0..=until_s`.
    fn listening(until_s: u64) -> Holders {
        let mut holders = Holders::default();
        assert!(holders.is_new(OWN) && !holders.is_new(OWN));
        for second in 0..=until_s {
            holders.hear(heard_at(second * 1000), [(OTHER, 1), (OWN, 1)]);
        }
        holders
    }

    #[test]
    fn a_holder_that_says_nothing_new_for_seven_seconds_is_dead() {
        assert_eq!(listening(0).judge(OTHER, at(2)), Holder::Alive, "its death would be known in time");
        assert_eq!(listening(7).judge(OTHER, at(7_002)), Holder::Alive, "7 s less 1 ms");
        assert_eq!(listening(8).judge(OTHER, at(8_002)), Holder::Dead);
    }

    #[test]
    fn a_new_word_is_life_whatever_it_says() {
        for said in [2, 0, i64::MIN] {
            let mut holders = listening(8);
            holders.hear(heard_at(9_000), [(OTHER, said)]);
            assert_eq!(holders.judge(OTHER, at(9_002)), Holder::Alive, "a clock may go back");
        }
    }

    #[test]
    fn of_whom_nothing_was_heard_nothing_is_known() {
        let mut holders = listening(8);
        assert_eq!(holders.judge(99, at(8_002)), Holder::Unknown);
        holders.hear(heard_at(9_000), [(OWN, 1)]);
        assert_eq!(
            holders.judge(OTHER, at(9_002)),
            Holder::Unknown,
            "its word was lost with the server's data"
        );
    }

    #[test]
    fn after_an_interruption_silence_begins_anew() {
        let mut holders = listening(6);
        holders.interrupt();
        assert_eq!(holders.judge(OTHER, at(6_500)), Holder::Alive);
        for second in 7..=14 {
            holders.hear(heard_at(second * 1000), [(OTHER, 1)]);
            assert_eq!(holders.judge(OTHER, at(second * 1000 + 2)), Holder::Alive, "{second}");
        }
        holders.hear(heard_at(15_000), [(OTHER, 1)]);
        assert_eq!(holders.judge(OTHER, at(15_002)), Holder::Dead);
    }

    #[test]
    fn who_was_asleep_has_not_listened() {
        let mut holders = listening(3);
        holders.hear(heard_at(30_000), [(OTHER, 1)]);
        assert_eq!(holders.judge(OTHER, at(30_002)), Holder::Alive);
        assert_eq!(listening(8).judge(OTHER, at(12_000)), Holder::Alive, "what was known then is old by now");
    }

    #[test]
    fn a_slow_answer_counts_neither_its_way_there_nor_back_as_silence() {
        let mut holders = Holders::default();
        holders.hear(Hearing { asked: at(0), answered: at(2_000) }, [(OTHER, 1)]);
        for asked in [3_000, 5_000, 7_000] {
            holders.hear(Hearing { asked: at(asked), answered: at(asked + 2_000) }, [(OTHER, 1)]);
        }
        assert_eq!(holders.judge(OTHER, at(9_000)), Holder::Alive, "heard from 2,000 to 7,000");
        holders.hear(Hearing { asked: at(9_000), answered: at(11_000) }, [(OTHER, 1)]);
        assert_eq!(holders.judge(OTHER, at(11_000)), Holder::Dead);
    }

    #[test]
    fn we_ourselves_are_never_dead() {
        assert_eq!(listening(60).judge(OWN, at(60_002)), Holder::Alive);
    }

    #[test]
    fn no_more_names_than_the_bound_are_spoken_under() {
        let mut holders = Holders::default();
        for holder in 0..1_000 {
            holders.is_new(holder);
        }
        assert_eq!(holders.own().count(), OWN_MAX);
    }
}
