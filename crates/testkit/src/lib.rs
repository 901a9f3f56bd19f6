//! Dev only: the seeded simulation, the conformance suite that both engines pass, real servers for tests, and how much
//! time a machine keeps back from them.

pub mod conformance;
pub mod servers;
pub mod sim;
pub mod stalls;
