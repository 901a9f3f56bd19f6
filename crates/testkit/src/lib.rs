//! Dev only: the seeded simulation, the conformance suite that both engines pass, and real servers for tests.

pub mod conformance;
pub mod servers;
pub mod sim;
