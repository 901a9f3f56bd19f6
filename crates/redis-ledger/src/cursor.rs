//! A place in a listing, as text. A listing goes by Redis' own cursors, which meet everything that stays but may give
//! more at once than a page holds: then the place names, by their hashes, those of the piece that were shown.
//!
//! A cursor means something to the one process of Redis that gave it, and another would pass orders over without a
//! word. So the place names that process; at another one it is the beginning of what was being gone through.

use paybell_core::ids::OrderKey;
use paybell_core::record::State;

use crate::keys::{Shard, fnv};

/// Hexadecimal digits of a hash: 48 bits, so that two orders of one piece never share one.
const HASH_DIGITS: usize = 12;

/// Shown orders that a place names, at most.
const SHOWN_MAX: usize = 1_024;

const END: &str = "end";

/// Where a listing continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among the keys of the records.
    Keys(Piece),
    /// In the index of a state, in this shard.
    Index(Shard, Piece),
    End,
}

/// A piece of a listing that Redis gives at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Which process of Redis gave the cursor.
    run: u64,
    /// Redis' cursor.
    pub cursor: u64,
    shown: Vec<u64>,
}

impl Place {
    /// The beginning of a listing at the process `run`: pending orders have no index, and are most of what changes.
    pub fn start(state: Option<State>, run: u64) -> Self {
        match (has_index(state), Shard::all().next()) {
            (true, Some(first)) => Place::Index(first, Piece::first(run)),
            _ => Place::Keys(Piece::first(run)),
        }
    }

    /// Where to go on at the process `run`; `None` if it is no place of such a listing.
    pub fn parse(text: &str, state: Option<State>, run: u64) -> Option<Self> {
        if text == END {
            return Some(Place::End);
        }
        let mut parts = text.split('-');
        let place = match (parts.next()?, has_index(state)) {
            ("k", false) => Place::Keys(Piece::parse(&mut parts)?.at(run)),
            ("s", true) => {
                let shard = Shard::numbered(number(parts.next()?)?)?;
                Place::Index(shard, Piece::parse(&mut parts)?.at(run))
            }
            _ => return None,
        };
        parts.next().is_none().then_some(place)
    }

    /// Letters, digits and `-`.
    pub fn to_text(&self) -> String {
        match self {
            Place::Keys(piece) => format!("k-{}", piece.to_text()),
            Place::Index(shard, piece) => format!("s-{}-{}", shard.index(), piece.to_text()),
            Place::End => END.to_owned(),
        }
    }

    /// The piece at this place.
    pub fn piece(&self) -> Option<&Piece> {
        match self {
            Place::Keys(piece) | Place::Index(_, piece) => Some(piece),
            Place::End => None,
        }
    }

    /// The place after this piece, where Redis' cursor goes on with `cursor`.
    pub fn next(&self, cursor: u64) -> Self {
        let piece = Piece { cursor, ..Piece::first(self.piece().map_or(0, |piece| piece.run)) };
        match self {
            Place::Keys(_) if cursor != 0 => Place::Keys(piece),
            Place::Index(shard, _) if cursor != 0 => Place::Index(*shard, piece),
            Place::Index(shard, _) => match Shard::all().nth(shard.index() + 1) {
                Some(next) => Place::Index(next, piece),
                None => Place::End,
            },
            Place::Keys(_) | Place::End => Place::End,
        }
    }

    /// The same piece, of which these were shown too.
    pub fn after_showing<'a>(&self, orders: impl Iterator<Item = &'a OrderKey>) -> Self {
        let mut place = self.clone();
        if let Place::Keys(piece) | Place::Index(_, piece) = &mut place {
            piece.shown.extend(orders.map(hash));
        }
        place
    }
}

impl Piece {
    fn first(run: u64) -> Self {
        Self { run, cursor: 0, shown: Vec::new() }
    }

    /// What another process gave is of no use here: from the beginning.
    fn at(self, run: u64) -> Self {
        if self.run == run { self } else { Self::first(run) }
    }

    /// Whether an earlier page showed the order.
    pub fn has_shown(&self, order: &OrderKey) -> bool {
        !self.shown.is_empty() && self.shown.contains(&hash(order))
    }

    fn to_text(&self) -> String {
        let hashes: String = self.shown.iter().map(|hash| format!("{hash:012x}")).collect();
        format!("{:016x}-{}-{hashes}", self.run, self.cursor)
    }

    fn parse<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let run = parts
            .next()
            .filter(|text| text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        let run = u64::from_str_radix(run, 16).ok()?;
        let (cursor, hashes) = (number(parts.next()?)?, parts.next()?);
        if hashes.len() > HASH_DIGITS * SHOWN_MAX || !hashes.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let (digits, rest) = hashes.as_bytes().as_chunks::<HASH_DIGITS>();
        let shown =
            digits.iter().map(|digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        let shown: Option<Vec<u64>> = shown.collect();
        rest.is_empty().then_some(Piece { run, cursor, shown: shown? })
    }
}

fn has_index(state: Option<State>) -> bool {
    state.is_some_and(|state| state != State::Pending)
}

/// Digits only: no sign, no other form of the same number.
fn number<T: std::str::FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

fn hash(order: &OrderKey) -> u64 {
    let bytes = order.mch_id.as_str().bytes().chain([b':']).chain(order.out_trade_no.as_str().bytes());
    fnv(bytes) & 0xffff_ffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: u64 = 0xabc;

    fn order(number: u32) -> OrderKey {
        OrderKey::new("1900000109", format!("T|*@-{number}")).unwrap()
    }

    #[test]
    fn a_place_survives_its_text_form() {
        let orders = [order(1), order(2)];
        let keys = Place::start(None, RUN).next(u64::MAX);
        let index = Place::start(Some(State::Paid), RUN).next(0).next(7);
        for (place, state) in [
            (keys.clone(), None),
            (keys.after_showing(orders.iter()), Some(State::Pending)),
            (index.after_showing(orders.iter()), Some(State::Paid)),
            (Place::End, None),
        ] {
            let text = place.to_text();
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{text}");
            assert_eq!(Place::parse(&text, state, RUN), Some(place));
        }
    }

    #[test]
    fn what_is_no_place_of_the_listing_is_refused() {
        let paid = Some(State::Paid);
        for (text, state) in [
            ("", None),
            ("start", None),
            ("k", None),
            ("k-R", None),
            ("k-R-1", None),
            ("k-1-", None),
            ("k-0000000000000ab-1-", None),
            ("k-000000000000+abc-1-", None),
            ("k-R-1-00", None),
            ("k-R-1-+0000000000a", None),
            ("k-R-+1-", None),
            ("k-R-01-", None),
            ("k-R-1--", None),
            ("k-R-18446744073709551616-", None),
            ("k-R-1-", paid),
            ("s-0-R-1-", None),
            ("s-16-R-1-", paid),
            ("s-0-R-1-\u{5546}", paid),
        ] {
            let text = text.replace('R', "0000000000000abc");
            assert_eq!(Place::parse(&text, state, RUN), None, "{text}");
        }
        assert!(Place::parse("k-0000000000000abc-1-", None, RUN).is_some());
    }

    #[test]
    fn a_cursor_of_another_process_is_the_beginning_of_its_part() {
        let orders = [order(1)];
        let keys = Place::start(None, RUN).next(7).after_showing(orders.iter());
        assert_eq!(Place::parse(&keys.to_text(), None, RUN + 1), Some(Place::start(None, RUN + 1)));
        let paid = Some(State::Paid);
        let index = Place::start(paid, RUN).next(0).next(7).after_showing(orders.iter());
        assert_eq!(Place::parse(&index.to_text(), paid, RUN + 1), Some(Place::start(paid, RUN + 1).next(0)));
        assert_eq!(Place::parse(END, None, RUN + 1), Some(Place::End));
    }

    #[test]
    fn what_was_shown_is_known_until_the_next_piece() {
        let place = Place::start(None, RUN).after_showing([order(1)].iter());
        assert!(place.piece().unwrap().has_shown(&order(1)));
        assert!(!place.piece().unwrap().has_shown(&order(2)));
        assert!(!place.next(5).piece().unwrap().has_shown(&order(1)));
    }

    #[test]
    fn every_shard_of_an_index_is_walked() {
        let mut place = Place::start(Some(State::Closed), RUN);
        for _ in 0..crate::keys::SHARDS {
            assert!(matches!(place, Place::Index(..)));
            place = place.next(0);
        }
        assert_eq!(place, Place::End);
    }
}
