//! What `refund.*` adds to an order's event.

use serde::{Deserialize, Serialize};

use crate::ids::{OutRefundNo, RefundId};
use crate::money::Fen;
use crate::refund::Receiver;
use crate::time::{Timestamp, rfc3339_option};

/// A refund as WeChat's verified answer told it. A field is only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundData {
    pub out_refund_no: OutRefundNo,
    pub refund_id: RefundId,
    /// Fen, as all amounts.
    pub refund_fee: Fen,
    pub settlement_refund_fee: Option<Fen>,
    pub cash_refund_fee: Option<Fen>,
    /// WeChat's own word.
    pub refund_status: String,
    pub refund_account: Option<String>,
    /// Spelt as WeChat spells it; masked by WeChat.
    pub refund_recv_accout: Option<Receiver>,
    #[serde(with = "rfc3339_option")]
    pub refund_success_time: Option<Timestamp>,
}
