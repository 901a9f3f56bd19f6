//! The names of the Redis keys, and which shard an order belongs to.
//!
//! All keys of a shard carry one hash tag, so that they lie in one slot of a Redis Cluster. A record's key is readable:
//! `paybell{7}1900000109:T2026112000000001`. Every other key of a shard goes on with a colon after the tag, which no
//! merchant number begins with.

use paybell_core::check::Lane;
use paybell_core::ids::{BusinessNo, MchId, OrderKey};
use paybell_core::record::State;

/// Fixed for ever: an order's shard is part of its key's name.
pub(crate) const SHARDS: u8 = 16;

/// Keys of a shard that every call of `store.lua` is given, before those of the records.
pub(crate) const FIXED_KEYS: usize = 12;

/// One of the parts that the orders are spread over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Shard(u8);

impl Shard {
    /// The shard of an order.
    pub fn of(key: &OrderKey) -> Self {
        Self::of_parts(key.mch_id.as_str(), key.out_trade_no.as_str())
    }

    /// The same for texts that need not be a key: FNV-1a, because it must never change.
    pub fn of_parts(mch_id: &str, out_trade_no: &str) -> Self {
        let bytes = mch_id.bytes().chain([b':']).chain(out_trade_no.bytes());
        let hash = fnv(bytes);
        // The low bits of FNV alone mix the last characters only.
        let folded = hash ^ (hash >> 32);
        let shard = (folded ^ (folded >> 16)) % u64::from(SHARDS);
        Self(u8::try_from(shard).unwrap_or(0))
    }

    /// Every shard.
    pub fn all() -> impl Iterator<Item = Shard> {
        (0..SHARDS).map(Shard)
    }

    /// Its number.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The shard of that number.
    pub fn numbered(number: u8) -> Option<Self> {
        (number < SHARDS).then_some(Self(number))
    }
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The names of one shard's keys.
#[derive(Debug)]
pub(crate) struct ShardKeys {
    /// In the order that `store.lua` expects.
    pub fixed: [String; FIXED_KEYS],
    /// What a record's key begins with.
    records: String,
}

impl ShardKeys {
    fn new(prefix: &str, shard: Shard) -> Self {
        let tag = format!("{prefix}{{{}}}", shard.0);
        let name = |rest: &str| format!("{tag}:{rest}");
        let [_, unpaid, closed, failed, mismatch, rejected, paid, refunded] =
            State::ALL.map(|state| name(&format!("state:{}", state.as_str())));
        let fixed = [
            name("due:urgent"),
            name("due:cadence"),
            name("fen"),
            name("dead"),
            name("dead:ids"),
            unpaid,
            closed,
            failed,
            mismatch,
            rejected,
            paid,
            refunded,
        ];
        Self { fixed, records: tag }
    }

    /// The key of a record.
    pub fn record(&self, key: &OrderKey) -> String {
        format!("{}{}", self.records, member_of(key))
    }

    /// Characters before the order's own in a record's key.
    pub fn tag_chars(&self) -> usize {
        self.records.len()
    }

    /// The due set of a lane.
    pub fn due(&self, lane: Lane) -> &str {
        let [urgent, cadence, ..] = &self.fixed;
        match lane {
            Lane::Urgent => urgent,
            Lane::Cadence => cadence,
        }
    }

    /// What is registered and pending: by merchant, and of what is young by merchant and span of creation time.
    pub fn fen(&self) -> &str {
        let [_, _, fen, ..] = &self.fixed;
        fen
    }

    /// Dead letters by id.
    pub fn dead(&self) -> &str {
        let [_, _, _, dead, ..] = &self.fixed;
        dead
    }

    /// Ids of dead letters, sorted.
    pub fn dead_ids(&self) -> &str {
        let [_, _, _, _, ids, ..] = &self.fixed;
        ids
    }

    /// The index of a state; `None` for pending, which the due sets show.
    pub fn state(&self, state: State) -> Option<&str> {
        let place = state_number(state)?;
        self.fixed.get(place.checked_add(4)?).map(String::as_str)
    }
}

/// The names of all keys under one prefix.
#[derive(Debug)]
pub(crate) struct Keys {
    shards: Vec<ShardKeys>,
    prefix: String,
    /// Says which layout the keys have.
    pub layout: String,
    /// Says since when there are any.
    pub began: String,
    /// Written before a `WAIT`, so that it covers what others wrote.
    pub fence: String,
    /// The names of all notes.
    pub notes: String,
    /// The holders of leases, each with its last word.
    pub alive: String,
    /// What operators did.
    pub acts: String,
    /// What the process that counted last left for the others.
    pub tally: String,
    /// The right to count, for a while.
    pub counting: String,
}

impl Keys {
    pub fn new(prefix: &str) -> Self {
        Self {
            shards: Shard::all().map(|shard| ShardKeys::new(prefix, shard)).collect(),
            prefix: prefix.to_owned(),
            layout: format!("{prefix}{{meta}}layout"),
            began: format!("{prefix}{{meta}}began"),
            fence: format!("{prefix}{{meta}}fence"),
            notes: format!("{prefix}{{meta}}notes"),
            alive: format!("{prefix}{{meta}}alive"),
            acts: format!("{prefix}{{meta}}acts"),
            tally: format!("{prefix}{{meta}}tally"),
            counting: format!("{prefix}{{meta}}counting"),
        }
    }

    /// The keys of a shard.
    pub fn of(&self, shard: Shard) -> &ShardKeys {
        self.shards.get(shard.index()).expect("there are as many names as shards")
    }

    /// The key of an order's record.
    pub fn record(&self, key: &OrderKey) -> String {
        self.of(Shard::of(key)).record(key)
    }

    /// The key of a note.
    pub fn note(&self, name: &str) -> String {
        format!("{}{{meta}}note:{name}", self.prefix)
    }

    /// The key of a business order. No order's key goes on with a colon after the tag.
    pub fn business(&self, mch_id: &MchId, business_no: &BusinessNo) -> String {
        let shard = Shard::of_parts(mch_id.as_str(), business_no.as_str());
        format!("{}:business:{mch_id}:{business_no}", self.of(shard).records)
    }

    /// A `SCAN` pattern that lets through the records of a merchant, or all, and little else.
    pub fn pattern(&self, mch_id: Option<&str>) -> String {
        match mch_id {
            Some(mch_id) => format!("{}{{[0-9]*}}{mch_id}:*", self.prefix),
            None => format!("{}{{[0-9]*}}[0-9A-Za-z]*", self.prefix),
        }
    }

    /// The order whose record has that key; `None` if it is another key.
    pub fn order_of(&self, key: &[u8]) -> Option<OrderKey> {
        let text = std::str::from_utf8(key).ok()?;
        let rest = text.strip_prefix(self.prefix.as_str())?.strip_prefix('{')?;
        let (number, member) = rest.split_once('}')?;
        let order = order_of(member)?;
        let is_its_shard = number.parse().ok().and_then(Shard::numbered) == Some(Shard::of(&order));
        is_its_shard.then_some(order)
    }
}

/// An order as a member of the sorted sets.
pub(crate) fn member_of(key: &OrderKey) -> String {
    format!("{}:{}", key.mch_id.as_str(), key.out_trade_no.as_str())
}

/// The order of a member; neither part has a colon.
pub(crate) fn order_of(member: &str) -> Option<OrderKey> {
    let (mch_id, out_trade_no) = member.split_once(':')?;
    OrderKey::new(mch_id, out_trade_no).ok()
}

/// The number of a state's index in `store.lua`, from 1; `None` for pending.
pub(crate) fn state_number(state: State) -> Option<usize> {
    State::ALL.iter().position(|one| *one == state).filter(|place| *place > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_an_order_never_changes() {
        let shard = |out_trade_no: &str| Shard::of(&OrderKey::new("1900000109", out_trade_no).unwrap()).0;
        assert_eq!(fnv(*b"foobar"), 0x8594_4171_f739_67e8, "FNV-1a's own test vector");
        assert_eq!(
            [shard("T2026112000000001"), shard("T2026112000000002"), shard("A")],
            [0, 9, 7],
            "records stored by an earlier version would not be found"
        );
    }

    #[test]
    fn orders_spread_evenly() {
        let mut counts = [0_u32; SHARDS as usize];
        for number in 0..16_000 {
            let key = OrderKey::new("1900000109", format!("T20261120{number:08}")).unwrap();
            counts[Shard::of(&key).index()] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_record_s_key_is_read_back_and_no_other_key_is_taken_for_one() {
        let keys = Keys::new("pay");
        let order = OrderKey::new("due", "urgent").unwrap();
        let own = keys.record(&order);
        assert_eq!(keys.order_of(own.as_bytes()), Some(order.clone()));
        assert_eq!(order_of(&member_of(&order)), Some(order.clone()));
        let shard = keys.of(Shard(3));
        let meta = [&keys.layout, &keys.fence, &keys.notes, &keys.alive, &keys.acts, &keys.note("1:2")];
        let meta = meta.into_iter().chain([&keys.began]);
        let business = keys.business(&order.mch_id, &BusinessNo::new("{1}:2").unwrap());
        for other in shard.fixed.iter().chain(meta).chain([&business]) {
            assert_eq!(keys.order_of(other.as_bytes()), None, "{other}");
            assert_ne!(*other, own);
        }
        let wrong_shard = own.replace('{', "{1");
        assert_eq!(keys.order_of(wrong_shard.as_bytes()), None);
    }

    #[test]
    fn every_state_but_pending_has_its_index() {
        let keys = Keys::new("pay");
        let shard = keys.of(Shard(3));
        assert_eq!(shard.state(State::Pending), None);
        for state in State::ALL.into_iter().filter(|state| *state != State::Pending) {
            assert_eq!(shard.state(state).unwrap(), format!("pay{{3}}:state:{}", state.as_str()));
        }
    }
}
