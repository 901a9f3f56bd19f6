//! What the tests of the worker share: the ports that a scene has no use for.

#![allow(clippy::panic, reason = "a test may fall")]

use async_trait::async_trait;
use paybell_core::dead::Removed;
use paybell_core::ports::{Businesses, DeadLetters, PortError};
use paybell_core::{BusinessNo, DeadLetter, MchId, OutTradeNo};
use uuid::Uuid;

/// No orders are one sale, and no letter is written: whoever asks has made a mistake.
pub struct Nobody;

#[async_trait]
impl Businesses for Nobody {
    async fn numbers(&self, _: &MchId, _: &BusinessNo) -> Result<Vec<OutTradeNo>, PortError> {
        panic!("no business here")
    }

    async fn claim(&self, _: &MchId, _: &BusinessNo, _: &OutTradeNo) -> Result<OutTradeNo, PortError> {
        panic!("no business here")
    }
}

#[async_trait]
impl DeadLetters for Nobody {
    async fn bury(&self, _: &DeadLetter) -> Result<(), PortError> {
        panic!("every record can be read")
    }

    async fn list(&self, _: Option<Uuid>, _: usize) -> Result<Vec<DeadLetter>, PortError> {
        panic!("a worker reads no letters")
    }

    async fn get(&self, _: Uuid) -> Result<Option<DeadLetter>, PortError> {
        panic!("a worker reads no letters")
    }

    async fn remove(&self, _: &DeadLetter) -> Result<Removed, PortError> {
        panic!("a worker removes no letters")
    }
}
