//! How much each caller may ask of us: requests in a second and streams at once per token, and how often an address may
//! come without a right one. Forgets addresses that are quiet; never counts `/healthz` and `/readyz`.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::config::ConsoleConfig;
use crate::rate::{Bucket, Rate};

/// Requests of one address without a right token: enough for a service that starts with an old token file and is
/// mended, far too few to guess.
const STRANGERS: Rate = Rate::with_burst(2, 20);

/// Addresses that are remembered. Beyond it new ones share one place.
const PEERS_MAX: usize = 4096;

/// An address that was quiet for so long is forgotten, once there is no room.
const QUIET: Duration = Duration::from_secs(600);

/// What every caller has left.
pub(crate) struct Limits {
    /// In the order of the configured tokens.
    tokens: Vec<Allowance>,
    /// For an API without tokens.
    anonymous: Allowance,
    peers: Mutex<Peers>,
    streams: Arc<Semaphore>,
}

struct Allowance {
    is_unguessable: bool,
    bucket: Mutex<Bucket>,
    streams: Arc<Semaphore>,
    streams_max: usize,
}

struct Peers {
    by_address: HashMap<IpAddr, Peer>,
    /// All addresses for which there is no room.
    others: Peer,
}

/// What is known of an address.
struct Peer {
    strangers: Bucket,
    /// Tokens that came from there and were right.
    known: HashSet<usize>,
    seen_at: Instant,
}

/// A place among the streams; dropping it frees it.
pub(crate) struct StreamPlace {
    _all: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
}

/// Why there is no place.
pub(crate) enum NoPlace {
    /// All streams are in use.
    All,
    /// The caller's own are: this many.
    Own(usize),
}

impl Limits {
    pub(crate) fn new(config: &ConsoleConfig, now: Instant) -> Self {
        let allowance = |rate, streams_max: usize, is_unguessable| Allowance {
            is_unguessable,
            bucket: Mutex::new(Bucket::full(rate, now)),
            streams: Arc::new(Semaphore::new(places(streams_max))),
            streams_max,
        };
        let tokens = config
            .tokens
            .iter()
            .map(|token| allowance(token.rate, token.streams_max, token.secret.is_unguessable()));
        Self {
            tokens: tokens.collect(),
            anonymous: allowance(config.rate, config.streams_max, false),
            peers: Mutex::new(Peers { by_address: HashMap::new(), others: Peer::new(now) }),
            streams: Arc::new(Semaphore::new(places(config.streams_max))),
        }
    }

    /// Whether an address may come with this token (`None`: none, or a wrong one); if not, for how long.
    ///
    /// An address that keeps coming without a right token is shut out for a while. A right one that nobody can guess is
    /// admitted all the same: one service with an old token must not shut out the others behind the same proxy, also not
    /// just after a restart. A short one is only if it came from there before, or guessing it would go on at full speed.
    pub(crate) fn admit(&self, peer: IpAddr, token: Option<usize>, now: Instant) -> Result<(), Duration> {
        if token.and_then(|token| self.tokens.get(token)).is_some_and(|allowance| allowance.is_unguessable) {
            return Ok(());
        }
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.of(network(peer), now);
        match token {
            Some(token) if peer.known.contains(&token) => Ok(()),
            Some(token) => {
                peer.strangers.has_room(now)?;
                peer.known.insert(token);
                Ok(())
            }
            None => peer.strangers.take(now),
        }
    }

    /// Counts a request of a caller; if it has none left, for how long.
    pub(crate) fn take(&self, token: Option<usize>, now: Instant) -> Result<(), Duration> {
        self.allowance(token).bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }

    /// A place for one more stream of a caller.
    pub(crate) fn stream(&self, token: Option<usize>) -> Result<StreamPlace, NoPlace> {
        let allowance = self.allowance(token);
        let all = self.streams.clone().try_acquire_owned().map_err(|_| NoPlace::All)?;
        let own = allowance.streams.clone().try_acquire_owned();
        let own = own.map_err(|_| NoPlace::Own(allowance.streams_max))?;
        Ok(StreamPlace { _all: all, _own: own })
    }

    fn allowance(&self, token: Option<usize>) -> &Allowance {
        token.and_then(|token| self.tokens.get(token)).unwrap_or(&self.anonymous)
    }
}

impl Peers {
    fn of(&mut self, address: IpAddr, now: Instant) -> &mut Peer {
        let Self { by_address, others } = self;
        if by_address.len() >= PEERS_MAX && !by_address.contains_key(&address) {
            by_address.retain(|_, peer| !peer.is_quiet(now));
            if by_address.len() >= PEERS_MAX {
                return others;
            }
        }
        let peer = by_address.entry(address).or_insert_with(|| Peer::new(now));
        peer.seen_at = now;
        peer
    }
}

impl Peer {
    fn new(now: Instant) -> Self {
        Self { strangers: Bucket::full(STRANGERS, now), known: HashSet::new(), seen_at: now }
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.strangers.is_full(now) && now.duration_since(self.seen_at) >= QUIET
    }
}

fn places(max: usize) -> usize {
    max.clamp(1, Semaphore::MAX_PERMITS)
}

/// Whoever has one IPv6 address has all of its /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(now: Instant) -> Limits {
        Limits::new(&ConsoleConfig::default(), now)
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    /// How often an address may come without a right token.
    fn tries(limits: &Limits, peer: IpAddr, now: Instant) -> usize {
        (0..1000).take_while(|_| limits.admit(peer, None, now).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_is_slow_and_a_right_guess_is_not_rewarded() {
        let now = Instant::now();
        let limits = limits(now);
        assert_eq!(tries(&limits, address(1), now), 20);
        assert!(limits.admit(address(1), Some(0), now).is_err(), "a right token is not looked at now");
        assert_eq!(tries(&limits, address(2), now), 20, "another address is not concerned");
        let hour = now + Duration::from_secs(3600);
        let guesses: usize =
            (1..=3600).map(|second| tries(&limits, address(1), now + Duration::from_secs(second))).sum();
        assert_eq!(guesses, 7200, "2 a second");
        assert!(limits.admit(address(1), Some(0), hour + Duration::from_secs(1)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_is_known_is_not_shut_out_with_its_neighbours() {
        let now = Instant::now();
        let limits = limits(now);
        limits.admit(address(1), Some(3), now).unwrap();
        tries(&limits, address(1), now);
        assert!(limits.admit(address(1), Some(3), now).is_ok());
        assert!(limits.admit(address(1), Some(4), now).is_err(), "a token that never came from there waits");
        assert!(limits.admit(address(1), None, now).is_err());
        let soon = now + Duration::from_millis(500);
        assert!(limits.admit(address(1), Some(4), soon).is_ok(), "and gets in with the next chance");
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_take_bounded_room_and_quiet_ones_go_first() {
        let now = Instant::now();
        let limits = limits(now);
        let size = || limits.peers.lock().unwrap().by_address.len();
        let first = address(0);
        limits.admit(first, Some(0), now).unwrap();
        let others = u32::try_from(PEERS_MAX).unwrap() + 100;
        let mut admitted = 0;
        for number in 1..others {
            admitted += usize::from(limits.admit(address(number), None, now).is_ok());
        }
        assert_eq!(size(), PEERS_MAX);
        assert_eq!(admitted, PEERS_MAX - 1 + 20, "those without a place share one allowance");
        assert!(limits.admit(first, Some(0), now).is_ok(), "who has a place keeps it");
        let later = now + QUIET;
        limits.admit(first, Some(0), later - Duration::from_secs(1)).unwrap();
        limits.admit(address(others), None, later).unwrap();
        assert_eq!(size(), 2, "the quiet ones are forgotten once there is no room");
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1:2:3"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
