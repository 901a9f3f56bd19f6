//! One request from head to answer: name, path, token, method, media type, body, then its handler. The order
//! matters: nobody without a token learns which paths there are, and no body is read before its sender may send it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use delivery::Desk;
use hyper::http::request::Parts;
use hyper::{Request, Response};
use paybell_core::OrderKey;
use paybell_core::ids::{MchId, OutTradeNo};
use paybell_core::place::CodeOf;
use paybell_core::ports::{Acts, Cashier, CheckQueue, DeadLetters, EventLog, Ledger, Records, Registry};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::answer::Body;
use crate::bills::BillDesk;
use crate::config::ConsoleConfig;
use crate::error::Error;
use crate::gate::Caller;
use crate::limits::{NoPlace, StreamPlace};
use crate::metrics::{ConsoleMetrics, OpenStream};
use crate::query::{Query, id_error};
use crate::readiness::Readiness;
use crate::routes::{Access, Found, Operation, Routes};
use crate::ruling::Word;
use crate::token::Token;
use crate::wait::Waits;
use crate::{
    audit, bills, check, dead, endpoints, events, gate, orders, pages, payer, problem, refunds, release,
    ruling, stream, till,
};

/// The largest request body.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// From the end of a request's head to the end of its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// The engines, as the console needs them.
#[derive(Clone)]
pub struct Ports {
    pub queue: Arc<dyn CheckQueue>,
    pub registry: Arc<dyn Registry>,
    pub records: Arc<dyn Records>,
    pub dead: Arc<dyn DeadLetters>,
    pub log: Arc<dyn EventLog>,
    /// Where events are brought to.
    pub endpoints: Desk,
    /// For its clock only: the console takes no lease.
    pub ledger: Arc<dyn Ledger>,
    /// Calls WeChat while a shop waits.
    pub cashier: Arc<dyn Cashier>,
    pub acts: Arc<dyn Acts>,
    /// Where bills are looked after.
    pub bills: Arc<dyn BillDesk>,
}

/// The private API. Cloning is cheap and shares everything.
#[derive(Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

/// What all requests share.
pub(crate) struct Shared {
    pub ports: Ports,
    pub config: ConsoleConfig,
    pub waits: Waits,
    pub readiness: Readiness,
    admission: ArcSwap<Admission>,
    routes: Routes,
    metrics: ConsoleMetrics,
}

/// A request that may be handled.
pub(crate) struct Call {
    pub params: HashMap<String, String>,
    pub head: Parts,
    pub body: Bytes,
    /// Who asks, for history and logs.
    pub who: String,
    /// Where the caller was let in.
    admission: Arc<Admission>,
    /// The place of the token it asks with.
    token: Option<usize>,
    /// The address that the request came from: a proxy's where one stands before us.
    pub peer: IpAddr,
    /// Ends streams and waits.
    pub drain: CancellationToken,
}

impl Console {
    /// Over the given engines.
    pub fn new(ports: Ports, config: ConsoleConfig, metrics: ConsoleMetrics) -> Self {
        let admission = ArcSwap::from_pointee(Admission::new(&config, Instant::now()));
        let (waits, readiness, routes) = (Waits::default(), Readiness::default(), Routes::new());
        Self { shared: Arc::new(Shared { ports, config, waits, readiness, admission, routes, metrics }) }
    }

    /// Lets in whoever has one of these tokens from the next request on. What is in hand ends as it began, but for the
    /// event streams of tokens that are gone: those end at once.
    pub fn replace_tokens(&self, tokens: Vec<Token>) {
        let before = self.shared.admission.load_full();
        if let Some(next) = before.with_tokens(tokens, &self.shared.config, Instant::now()) {
            let next = Arc::new(next);
            self.shared.admission.store(next.clone());
            before.end_what_is_gone(&next);
        }
    }

    /// Answers one request from `peer`. `drain` ends its waits and streams; the answer is always a complete one.
    pub async fn handle<B>(
        &self,
        request: Request<B>,
        peer: IpAddr,
        drain: CancellationToken,
    ) -> Response<Body>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        let shared = &*self.shared;
        let (head, body) = request.into_parts();
        let found = shared.routes.find(head.uri.path());
        let route = found.as_ref().map_or("unmatched", Found::template);
        let response = match shared.answer(found, (head, body), peer.to_canonical(), drain).await {
            Ok(response) => response,
            Err(error) => {
                log_fault(&error, route);
                problem::respond(&error)
            }
        };
        shared.metrics.answered(route, response.status());
        response
    }
}

impl Shared {
    async fn answer<B>(
        &self,
        found: Option<Found<'_>>,
        (head, body): (Parts, B),
        peer: IpAddr,
        drain: CancellationToken,
    ) -> Result<Response<Body>, Error>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
    {
        gate::host(&head, &self.config.allowed_hosts)?;
        let endpoint = found.as_ref().map(|found| found.endpoint(&head.method));
        let is_open = matches!(&endpoint, Some(Ok(endpoint)) if endpoint.access == Access::Open);
        let admission = self.admission.load_full();
        let caller = if is_open { Caller::anonymous() } else { self.let_in(&admission, &head, peer)? };
        let (Some(found), Some(endpoint)) = (found, endpoint) else { return Err(Error::NoRoute) };
        let endpoint = endpoint?;
        caller.passes(endpoint.access)?;
        let mut bytes = Bytes::new();
        if endpoint.is_change() {
            gate::content_type(&head)?;
            bytes = http_server::read_body(body, BODY_BYTES_MAX, Instant::now() + BODY_TIMEOUT).await?;
        }
        let Caller { name: who, token, .. } = caller;
        let call = Call { params: found.params, head, body: bytes, who, admission, token, peer, drain };
        self.dispatch(endpoint.operation, &call).await
    }

    /// Who calls, if it may call just now.
    fn let_in(&self, admission: &Admission, head: &Parts, peer: IpAddr) -> Result<Caller, Error> {
        let now = Instant::now();
        let Admission { tokens, limits, .. } = admission;
        let caller = gate::caller(head, tokens);
        if !tokens.is_empty() {
            let token = caller.as_ref().ok().and_then(|caller| caller.token);
            limits.admit(peer, token, now).map_err(|wait| {
                self.metrics.limited("unknown", "tokens");
                Error::ShutOut { peer, wait }
            })?;
        }
        let caller = caller?;
        limits.take(caller.token, now).map_err(|wait| {
            self.metrics.limited(&caller.name, "rate");
            Error::TooFast { name: caller.name.clone(), wait }
        })?;
        Ok(caller)
    }

    /// Room for one more stream of the caller.
    pub(crate) fn stream_place(&self, call: &Call) -> Result<(StreamPlace, OpenStream), Error> {
        let place = call.admission.limits.stream(call.token).map_err(|none| {
            self.metrics.limited(&call.who, "streams");
            match none {
                NoPlace::All => Error::StreamsExhausted { max: self.config.streams_max },
                NoPlace::Own(max) => Error::OwnStreams { name: call.who.clone(), max },
            }
        })?;
        Ok((place, self.metrics.stream_opens()))
    }

    async fn dispatch(&self, operation: Operation, call: &Call) -> Result<Response<Body>, Error> {
        match operation {
            Operation::Index => Ok(pages::index(self)),
            Operation::OpenApi => Ok(pages::openapi()),
            Operation::Healthz => Ok(pages::healthz()),
            Operation::Readyz => pages::readyz(self, call).await,
            Operation::OrderList => orders::list(self, call).await,
            Operation::OrderPut => orders::put(self, call).await,
            Operation::OrderGet => orders::get(self, call).await,
            Operation::OrderCheck => check::check(self, call).await,
            Operation::OrderAccept => ruling::rule(self, call, Word::ACCEPT).await,
            Operation::OrderReject => ruling::rule(self, call, Word::REJECT).await,
            Operation::OrderRelease => release::release(self, call).await,
            Operation::RefundList => refunds::list(self, call).await,
            Operation::RefundAsk => refunds::ask(self, call).await,
            Operation::RefundGet => refunds::get(self, call).await,
            Operation::OrderPlace => till::place(self, call).await,
            Operation::OrderClose => till::close(self, call).await,
            Operation::OpenIdUrl => payer::authorize_url(self, call).await,
            Operation::OpenIdCode => payer::exchange(self, call, CodeOf::Page).await,
            Operation::OpenIdJscode => payer::exchange(self, call, CodeOf::MiniProgram).await,
            Operation::EventList => events::list(self, call).await,
            Operation::EventStream => stream::open(self, call).await,
            Operation::DeadList => dead::list(self, call).await,
            Operation::DeadShow => dead::show(self, call).await,
            Operation::DeadReplay => dead::replay(self, call).await,
            Operation::DeadDrop => dead::discard(self, call).await,
            Operation::AuditList => audit::list(self, call).await,
            Operation::EndpointList => endpoints::list(self, call).await,
            Operation::EndpointShow => endpoints::show(self, call).await,
            Operation::EndpointResend => endpoints::resend(self, call).await,
            Operation::EndpointEnable => endpoints::enable(self, call).await,
            Operation::BillList => bills::list(self, call).await,
            Operation::BillShow => bills::show(self, call).await,
            Operation::BillReconcile => bills::reconcile(self, call).await,
        }
    }

    /// Refuses merchants that nobody configured: their checks would only become dead letters.
    pub(crate) fn known_merchant(&self, mch_id: &MchId) -> Result<(), Error> {
        if self.config.mch_ids.contains(mch_id) {
            Ok(())
        } else {
            Err(Error::UnknownMerchant { mch_id: mch_id.as_str().to_owned() })
        }
    }
}

impl Call {
    /// A variable part of the path.
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// Cancelled when its token is taken away.
    pub(crate) fn end(&self) -> CancellationToken {
        self.admission.end_of(self.token)
    }

    /// The order that the path names.
    pub(crate) fn key(&self) -> Result<OrderKey, Error> {
        let mch_id = MchId::new(self.param("mch_id")).map_err(|error| id_error("mch_id", &error))?;
        let out_trade_no = OutTradeNo::new(self.param("out_trade_no"));
        let out_trade_no = out_trade_no.map_err(|error| id_error("out_trade_no", &error))?;
        Ok(OrderKey { mch_id, out_trade_no })
    }

    /// The query, which may hold the parameters `known`.
    pub(crate) fn query(&self, known: &[&str]) -> Result<Query, Error> {
        Query::read(self.head.uri.query(), known)
    }
}

/// Only what an operator must mend or wait for is worth a line; a caller's mistake is told to the caller.
fn log_fault(error: &Error, route: &'static str) {
    if let Error::Engine(cause) = error {
        tracing::warn!(http.route = route, %cause, "{route}: {cause}");
    }
}
