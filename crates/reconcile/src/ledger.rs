//! The port to what is held against the bill: the ledger of an engine, or a shop's own list of orders.
//!
//! Blocking, because a comparison runs on a thread of its own. Whoever implements it bounds its pages.

use paybell_core::ids::OutTradeNo;
use paybell_core::money::{Currency, Fen};
use paybell_core::ports::PortError;
use paybell_core::record::State;
use paybell_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::standing::Standing;

/// Orders that are asked for at once.
pub const PAGE_ROWS: usize = 1000;

/// What the bill is held against, of one merchant.
pub trait Ledger {
    /// Walks the payments that are held with a moment of success from `from` to before `until`, in its own order. A
    /// walk meets every payment that is there from its beginning to its end.
    fn held(
        &mut self,
        from: Timestamp,
        until: Timestamp,
        after: Option<&str>,
    ) -> Result<HeldPage, LedgerError>;

    /// How these orders stand, in their order; `None` for one that is not known. At most [`PAGE_ROWS`] at once.
    fn standings(&mut self, numbers: &[OutTradeNo]) -> Result<Vec<Option<Standing>>, LedgerError>;

    /// Whether it knows what was refunded; a shop's list may not.
    fn knows_refunds(&self) -> bool {
        true
    }
}

/// A payment that is held, as short as the walk needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub out_trade_no: String,
    pub transaction_id: Option<String>,
    pub fee: Option<Fen>,
    pub fee_type: Currency,
    /// One of those that stand on a payment.
    pub state: State,
    pub paid_at: Timestamp,
}

/// A page of a walk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldPage {
    pub held: Vec<Held>,
    /// Where to continue; `None` at the end. A page may be short, even empty, while there is more.
    pub next: Option<String>,
}

/// The ledger could not be asked. Nothing is known then.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(transparent)]
    Port(#[from] PortError),
    #[error("{0}")]
    Other(String),
}
