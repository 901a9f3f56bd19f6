//! The proxy over real sockets: scripted hosts on one side, raw connections of a shop on the other, a ledger in memory
//! that runs core's own registration.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time and fails loudly"
)]

mod certificates;
mod failures;
mod guards;
mod ledger;
mod load;
mod misses;
mod registration;
mod rig;
mod secrecy;
mod shop;
mod simulated;
mod transparent;
mod wechat;
