//! Why the simulator does not start, or a control call is refused. Faults that it plays on its callers are no errors.

use std::{fmt, io, path::PathBuf};

use wechat_pay::sign::KeyError;

use crate::{order::TradeState, refund::RefundState, wire::Refusal};

/// A refusal, in words for the person who runs the simulator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{key}: {problem}")]
    Config { key: &'static str, problem: &'static str },
    #[error("API key: {0}")]
    Key(#[from] KeyError),
    #[error(transparent)]
    Listen(#[from] http_server::Error),
    #[error("{}: {problem}", folder.display())]
    Certificates { folder: PathBuf, problem: io::Error },
    #[error("no merchant {0} is configured")]
    UnknownMerchant(String),
    #[error("no order {0} of that merchant")]
    UnknownOrder(String),
    #[error("order {0} exists already")]
    OrderExists(String),
    #[error("an order in state {0} cannot be paid")]
    NotPayable(TradeState),
    #[error("the order is not paid")]
    NotPaid,
    #[error("a refund is at least 1 fen and at most the {left} fen left")]
    RefundAmount { left: u64 },
    #[error("no app {0} is configured, nor bound to a merchant")]
    UnknownApp(String),
    #[error("no refund {0} of that merchant")]
    UnknownRefund(String),
    #[error("refund number {0} belongs to a refund of another order")]
    RefundNumberTaken(String),
    #[error("a refund in state {0} cannot become {1}")]
    RefundState(RefundState, RefundState),
    #[error("refused as WeChat does: {0}")]
    Refused(Refused),
    /// In the words that the payer sees.
    #[error("the payer's device says: {0}")]
    Device(&'static str),
    #[error("the coupons' sum is over the order's amount of {total_fee} fen")]
    CouponsTooLarge { total_fee: u64 },
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: &'static str },
    #[error("transaction {0} belongs to another order")]
    TransactionTaken(String),
    #[error("full: {0} orders are kept (orders_max)")]
    Full(usize),
}

/// A refusal in WeChat's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub(crate) Refusal);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Refusal::Unsigned(text) => f.write_str(text),
            Refusal::Business { code, text } => write!(f, "{code} {text}"),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        Error::Refused(Refused(refusal))
    }
}

impl Error {
    pub(crate) fn config(key: &'static str, problem: &'static str) -> Error {
        Error::Config { key, problem }
    }

    pub(crate) fn invalid(field: &'static str, problem: &'static str) -> Error {
        Error::Invalid { field, problem }
    }

    /// The HTTP status of the control API.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Error::UnknownApp(_) => 404,
            Error::UnknownMerchant(_) | Error::UnknownOrder(_) | Error::UnknownRefund(_) => 404,
            Error::OrderExists(_) | Error::NotPayable(_) | Error::NotPaid | Error::TransactionTaken(_) => 409,
            Error::RefundNumberTaken(_) | Error::RefundState(..) | Error::Refused(_) | Error::Device(_) => {
                409
            }
            Error::Full(_) => 507,
            Error::Listen(_) | Error::Certificates { .. } => 500,
            _ => 400,
        }
    }
}
