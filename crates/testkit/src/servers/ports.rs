//! Loopback ports for what this process itself listens on: below the ephemeral range, so that no client of anybody
//! takes a port while nobody listens on it, and apart from the ports that the guards give to servers.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

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
