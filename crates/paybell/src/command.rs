//! The commands but `run`: their arguments beside what they do. Each is short, because the work is done in the crates
//! or behind the private API.

mod asking;
pub mod audit;
pub mod config;
pub mod dead;
pub mod doctor;
pub mod endpoint;
pub mod events;
pub mod healthcheck;
pub mod mode;
pub mod operations;
pub mod order;
pub mod placing;
pub mod reconcile;
pub mod refund;
pub mod rehearse;
pub mod republish;
pub mod rows;
pub mod shadow;
pub mod sign;
pub mod simulate;
pub mod topology;
pub mod verify;
