//! What the tests are made with: the process, a client, a WeChat that says what it is told, and a shop that joins them.
//! Everything waits for a condition with a deadline, and everything that was started ends with its owner.

pub mod acceptor;
pub mod engine;
pub mod http;
pub mod notification;
pub mod process;
pub mod receiver;
pub mod shop;
pub mod simulator;
pub mod stalls;
pub mod wechat;

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

pub use engine::Engine;
pub use http::{Answer, Request, get, post_xml};
pub use notification::Notification;
pub use process::{Ran, Running, Service, run};
pub use shop::{Settings, Shop};
pub use simulator::Simulator;
pub use stalls::Stalls;
pub use wechat::{Say, Wechat};

pub const MCH: &str = "1900000109";
pub const APP: &str = "wx8888888888888888";
pub const KEY: &str = "192006250b4c09247ec02edce69f6a2d";

/// So long anything may take on a slow, busy machine before a test falls.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The one answer that WeChat takes for a yes.
pub const SUCCESS: &str =
    "<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";

/// Asks until there is an answer.
#[track_caller]
pub fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, ask)
}

/// The same with a patience of its own.
#[track_caller]
pub fn wait_within<T>(patience: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < patience, "{what}: not within {} s", patience.as_secs());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Asks until it is so.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Milliseconds since 1970.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A moment as the private API takes it, so many seconds from now.
pub fn rfc3339_in(seconds: i64) -> String {
    wechat_pay::beijing::format_spaced(now_ms() + seconds * 1000).unwrap().replace(' ', "T") + "+08:00"
}

/// Says on the terminal, past the test runner's capture, that a test does nothing here and why.
pub fn skip(why: &str) {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {name}: {why}");
}

/// Whether tests may take minutes.
pub fn is_full() -> bool {
    std::env::var_os("PAYBELL_TEST_FULL").is_some()
}
