//! Loopback ports for what this process itself listens on, or has others listen on: below the ephemeral range, so that no
//! client of anybody takes a port while nobody listens on it, and apart from the ports that the guards give to servers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Ports that are kept for processes which the test starts.
const KEPT_FIRST: u32 = 12_000;
const KEPT_COUNT: u32 = 8_000;

const FIRST: u32 = 28_000;
const COUNT: u32 = 4_000;
const PER_PROCESS: u32 = 16;

/// A listener on a port that nobody used.
pub(super) fn listen() -> TcpListener {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let offset = std::process::id().wrapping_mul(PER_PROCESS);
    for _ in 0..COUNT {
        let place = offset.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + place).expect("the range lies below 32000");
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}

/// An address for a process that the test starts, kills and starts again. While this process lives nobody else is given
/// it here, also while nobody listens there.
pub fn free_address() -> SocketAddr {
    /// What keeps the ports: names that the system takes back however this process ends.
    static KEPT: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let offset = std::process::id().wrapping_mul(PER_PROCESS);
    for _ in 0..KEPT_COUNT {
        let place = offset.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % KEPT_COUNT;
        let port = u16::try_from(KEPT_FIRST + place).expect("the range lies below 20000");
        let name = net::SocketAddr::from_abstract_name(format!("paybell-test-port-{port}"));
        let name = name.expect("a short name is one");
        let Ok(kept) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
            return (Ipv4Addr::LOCALHOST, port).into();
        }
    }
    panic!("no free port from {KEPT_FIRST} to {}", KEPT_FIRST + KEPT_COUNT);
}
