//! Dev only: the seeded simulation and the conformance suite that both engines pass.

pub mod conformance;
pub mod sim;
