//! Why a request is refused. Each cause knows its status and a text for the person who reads it: what is wrong,
//! where, what to do. The problem document is written in `problem`.

use std::net::IpAddr;
use std::time::Duration;

use hyper::StatusCode;
use paybell_core::dead::DeadReason;
use paybell_core::place;
use paybell_core::place::CashierError;
use paybell_core::ports::{Cursor, PortError};
use paybell_core::record::State;
use paybell_core::refund::Refusal;
use paybell_core::register::CREATED_AHEAD_MAX;

use crate::token::Scope;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the request has no Host header, or several")]
    NoHost,
    #[error(
        "this API does not answer for host \"{host}\"; call it by the name it listens on, or add the name to its allowed hosts"
    )]
    ForeignHost { host: String },
    #[error("send the header `Authorization: Bearer TOKEN`")]
    NoToken,
    #[error("the bearer token is none of the configured ones; look at the token file of this caller")]
    WrongToken,
    #[error(
        "the token \"{name}\" has no scope \"{needed}\", which this route needs; add it in the configuration"
    )]
    WrongScope { name: String, needed: Scope },
    #[error("there is nothing at this path; GET / lists the routes")]
    NoRoute,
    #[error("this path does not take that method; it takes {allow}")]
    Method { allow: String },
    #[error("a change needs the header `Content-Type: application/json`, also with an empty body")]
    ContentType,
    #[error("the request body did not come whole: {0}")]
    Body(#[from] http_server::BodyError),
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
    #[error("the body is no JSON object: {0}")]
    NotJson(String),
    #[error(
        "created_at: lies more than {} minutes ahead of the ledger's clock; look at the caller's clock",
        CREATED_AHEAD_MAX.0 / 60_000
    )]
    Ahead,
    #[error("merchant {mch_id} is not configured here; add it to the configuration, or correct mch_id")]
    UnknownMerchant { mch_id: String },
    #[error("there is no record of this order")]
    UnknownOrder,
    #[error(
        "there is no record of this order: no look has found it at WeChat; register it, or look at out_trade_no"
    )]
    OrderNotFound,
    #[error("there is no dead letter of this id")]
    UnknownLetter,
    #[error("there is no [[webhook]] or [[legacy]] of this name; GET /v1/endpoints lists them")]
    UnknownEndpoint,
    #[error("the log keeps no event of this id")]
    UnknownEvent,
    #[error("nobody ever looked for a bill of this merchant and day; POST …/reconcile has it done now")]
    UnknownBill,
    #[error(
        "the endpoint gets no such event: look at its types and mch_ids; events of shadow mode are told to nobody"
    )]
    UnwantedEvent,
    #[error("64 wishes wait for this endpoint already; is a worker running that serves it?")]
    TooManyWishes,
    #[error(
        "the order is registered with a different {}; a registration never changes: use a new out_trade_no",
        .fields.join(", ")
    )]
    Different { fields: Vec<&'static str> },
    #[error("there is no refund of this number; GET …/refunds lists those of the order")]
    UnknownRefund,
    #[error(
        "a refund of this number was asked for with a different {}; repeat it as it was, or take a new out_refund_no for \
         another refund", .fields.join(", ")
    )]
    DifferentRefund { fields: Vec<&'static str> },
    #[error("the order's state is {}: no payment is known that could go back; POST …/check asks WeChat now", .state.as_str())]
    NotRefundable { state: State },
    #[error("the order has 50 refunds: WeChat takes no more of one order")]
    TooManyRefunds,
    #[error("{other_refunds} of {paid} fen go back by other refunds already; {} are left", .paid - .other_refunds)]
    MoreThanPaid { paid: i64, other_refunds: i64 },
    #[error("{field}: the order was paid with {paid}; say the same, or leave it out")]
    NotAsPaid { field: &'static str, paid: String },
    #[error("WeChat refused the refund ({}): {}", .refusal.code, refusal_text(.refusal))]
    RefundRefused { refusal: Box<Refusal> },
    #[error("the order's state is {}; {ruling} needs {needs}", .state.as_str())]
    NotWaiting { state: State, ruling: &'static str, needs: &'static str },
    #[error(
        "nothing of this order was withheld: what was decided of it was told, or there is nothing to tell yet"
    )]
    NothingWithheld,
    #[error("transaction_id: the record shows another payment; read the order again and decide on that one")]
    OtherTransaction,
    #[error("the letter ({}) names no order of a configured merchant, so there is nothing to check; DELETE drops it", .reason.as_str())]
    NoReplay { reason: DeadReason },
    #[error(
        "this version of paybell cannot read the letter ({}): a newer version wrote it, or it is damaged; replay it with \
         that version, or look at the order and DELETE the letter", .reason.as_str()
    )]
    UnreadableLetter { reason: DeadReason },
    #[error("the problem came again while the letter was being dropped: read it once more, then drop it")]
    RepeatedLetter,
    #[error("the registration cannot be taken this time either: {cause}; DELETE drops the letter")]
    RefusedAgain { cause: String },
    #[error(
        "the event after which you want to continue is not in the log (pruned, lost, or another log); continue after `oldest`, and read orders that you are unsure of"
    )]
    Gone { oldest: Cursor },
    #[error(
        "too many requests from {peer} without a right token; wait {} s, and look at the token file of whoever calls \
         from there", seconds(.wait)
    )]
    ShutOut { peer: IpAddr, wait: Duration },
    #[error(
        "\"{name}\" asks more often than its rate allows; wait {} s, or raise `rate` in the configuration", seconds(.wait)
    )]
    TooFast { name: String, wait: Duration },
    #[error(
        "\"{name}\" has all of its {max} event streams open; close one, or raise `streams` in the configuration"
    )]
    OwnStreams { name: String, max: usize },
    #[error("all {max} event streams are in use; read /v1/events by pages, or try again later")]
    StreamsExhausted { max: usize },
    #[error("this process is stopping; call another one or try again")]
    Draining,
    #[error("{}", refusal_in_words(.0))]
    Demand(Box<place::Refusal>),
    #[error("{}", engine_text(.0))]
    Engine(#[from] PortError),
}

impl From<CashierError> for Error {
    fn from(error: CashierError) -> Self {
        match error {
            CashierError::Refused(refusal) => Error::Demand(refusal),
            CashierError::Engine(error) => Error::Engine(error),
        }
    }
}

impl Error {
    /// A parameter or body field with what is wrong with it.
    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Error::Field { field: field.into(), problem: problem.into() }
    }

    /// Status, the last word of the problem's type, and its title.
    pub(crate) fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Error::NoHost => (S::BAD_REQUEST, "no-host", "No host named"),
            Error::ForeignHost { .. } => (S::MISDIRECTED_REQUEST, "foreign-host", "Foreign host"),
            Error::NoToken => (S::UNAUTHORIZED, "no-token", "A token is needed"),
            Error::WrongToken => (S::UNAUTHORIZED, "wrong-token", "Unknown token"),
            Error::WrongScope { .. } => (S::FORBIDDEN, "wrong-scope", "The token does not reach that far"),
            Error::NoRoute => (S::NOT_FOUND, "no-route", "No such path"),
            Error::Method { .. } => (S::METHOD_NOT_ALLOWED, "method", "No such method here"),
            Error::ContentType => (S::UNSUPPORTED_MEDIA_TYPE, "content-type", "Not announced as JSON"),
            Error::Body(error) => (error.status(), "body", "The body did not come whole"),
            Error::Field { .. } => (S::BAD_REQUEST, "field", "A field or parameter is wrong"),
            Error::NotJson(_) => (S::BAD_REQUEST, "not-json", "Not a JSON object"),
            Error::Ahead => (S::BAD_REQUEST, "ahead", "Created in the future"),
            Error::UnknownMerchant { .. } => (S::NOT_FOUND, "unknown-merchant", "Unknown merchant"),
            Error::UnknownOrder | Error::OrderNotFound => (S::NOT_FOUND, "unknown-order", "Unknown order"),
            Error::UnknownLetter => (S::NOT_FOUND, "unknown-dead-letter", "Unknown dead letter"),
            Error::UnknownEndpoint => (S::NOT_FOUND, "unknown-endpoint", "Unknown endpoint"),
            Error::UnknownEvent => (S::NOT_FOUND, "unknown-event", "Unknown event"),
            Error::UnknownBill => (S::NOT_FOUND, "unknown-bill", "Unknown bill"),
            Error::UnwantedEvent => (S::CONFLICT, "unwanted-event", "The endpoint does not want it"),
            Error::TooManyWishes => (S::CONFLICT, "too-many-wishes", "Too much is asked for already"),
            Error::Different { .. } => (S::CONFLICT, "different-registration", "Registered differently"),
            Error::NotWaiting { .. } => (S::CONFLICT, "not-waiting", "The order waits for no such word"),
            Error::UnknownRefund => (S::NOT_FOUND, "unknown-refund", "Unknown refund"),
            Error::DifferentRefund { .. } => (S::CONFLICT, "different-refund", "Asked for differently"),
            Error::NotRefundable { .. } => (S::CONFLICT, "not-refundable", "Nothing to send back"),
            Error::TooManyRefunds => (S::CONFLICT, "too-many-refunds", "Too many refunds"),
            Error::MoreThanPaid { .. } => (S::CONFLICT, "more-than-paid", "More than was paid"),
            Error::NotAsPaid { .. } => (S::CONFLICT, "not-as-paid", "Not as it was paid"),
            Error::RefundRefused { .. } => (S::CONFLICT, "refund-refused", "WeChat refused the refund"),
            Error::NothingWithheld => (S::CONFLICT, "nothing-withheld", "Nothing to release"),
            Error::OtherTransaction => (S::CONFLICT, "other-transaction", "Another payment"),
            Error::NoReplay { .. } => (S::CONFLICT, "no-replay", "Nothing to replay"),
            Error::UnreadableLetter { .. } => (S::CONFLICT, "no-replay", "Nothing to replay"),
            Error::RepeatedLetter => (S::CONFLICT, "repeated-dead-letter", "It came again"),
            Error::RefusedAgain { .. } => (S::CONFLICT, "refused-again", "Refused again"),
            Error::Gone { .. } => (S::GONE, "cursor-gone", "The place is gone"),
            Error::ShutOut { .. } => (S::TOO_MANY_REQUESTS, "shut-out", "Too many wrong tokens"),
            Error::TooFast { .. } => (S::TOO_MANY_REQUESTS, "too-fast", "Too many requests"),
            Error::OwnStreams { .. } => {
                (S::TOO_MANY_REQUESTS, "own-streams", "Too many streams of one caller")
            }
            Error::StreamsExhausted { .. } => (S::SERVICE_UNAVAILABLE, "streams", "Too many streams"),
            Error::Draining => (S::SERVICE_UNAVAILABLE, "draining", "Stopping"),
            Error::Demand(refusal) => {
                let status = StatusCode::from_u16(refusal.kind.status());
                (status.unwrap_or(StatusCode::CONFLICT), refusal.kind.slug(), refusal.kind.title())
            }
            Error::Engine(PortError::Unavailable { .. }) => {
                (S::SERVICE_UNAVAILABLE, "engine-away", "An engine is unavailable")
            }
            Error::Engine(PortError::Corrupt { .. }) => {
                (S::INTERNAL_SERVER_ERROR, "engine-unreadable", "An engine holds something unreadable")
            }
        }
    }
}

/// Whole seconds, as `Retry-After` tells them: who waits so long gets through.
pub(crate) fn seconds(wait: &Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// WeChat's own words, or else ours.
fn refusal_text(refusal: &Refusal) -> &str {
    if refusal.said.is_empty() { &refusal.cause } else { &refusal.said }
}

/// Cause and remedy in one line, and whom WeChat's words came from.
fn refusal_in_words(refusal: &place::Refusal) -> String {
    let mut words = refusal.words.cause.to_string();
    if let Some(code) = &refusal.err_code {
        words.push_str(&format!(" ({code}"));
        if let Some(described) = &refusal.err_code_des {
            words.push_str(&format!(": {described}"));
        }
        words.push(')');
    }
    if let Some(other) = &refusal.out_trade_no {
        words.push_str(&format!("; the other order is {other}"));
    }
    if !refusal.fields.is_empty() {
        words.push_str(&format!("; it is about {}", refusal.fields.join(", ")));
    }
    format!("{words}; {}", refusal.words.remedy)
}

/// Without the engine's own words: they go to the log, which has other readers than this API.
fn engine_text(error: &PortError) -> String {
    match error {
        PortError::Unavailable { part, .. } => {
            format!("the {part} does not answer; nothing is lost, repeat the request after a moment")
        }
        PortError::Corrupt { part, .. } => {
            format!("the {part} holds something that cannot be read; the log names it, an operator is needed")
        }
    }
}
