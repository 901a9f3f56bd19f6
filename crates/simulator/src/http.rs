//! The simulator's socket: merchants' requests to the endpoints, `/_sim/` to the control API. Holds no state.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_server::{BodyError, Limits, Listener, Peer, read_body};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body, Frame, Incoming, SizeHint},
    header::{CONTENT_TYPE, HeaderValue, LOCATION},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use wechat_pay::xml::BODY_BYTES_MAX;

use crate::{
    bill::BillStream,
    config::SimulatorConfig,
    control::Control,
    control_api,
    endpoint::{self, Answer, Content, Mishap, Shown},
    error::Error,
    settings::Certificate,
    tls::TlsListener,
    wire::unsigned_fail,
    world::World,
};

/// Stands for a client certificate over plain HTTP.
const CERTIFICATE: &str = "x-sim-certificate";
/// Says who holds the device.
const PERSON: &str = "x-sim-person";
const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const GZIP: HeaderValue = HeaderValue::from_static("application/x-gzip");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// A running simulator. Dropping it does not stop it; its token does.
pub struct Simulator {
    world: Arc<World>,
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
}

impl Simulator {
    /// Binds and begins to serve. Cancelling `stop` ends it: requests in hand are finished, notifications are not.
    pub async fn start(config: SimulatorConfig, stop: CancellationToken) -> Result<Simulator, Error> {
        let listen = config.listen.clone();
        let tls = match &config.tls {
            None => None,
            Some(tls) => {
                let mch_ids: Vec<_> =
                    config.merchants.iter().map(|merchant| merchant.mch_id.clone()).collect();
                config.check()?;
                Some(TlsListener::bind(tls, &mch_ids).await?)
            }
        };
        let world = World::new(config, stop.clone())?;
        let listener = Listener::bind(&listen, Limits::default(), None).await?;
        let address = listener.local_addr();
        let service = {
            let world = world.clone();
            move |request, peer| serve(request, peer, world.clone(), None)
        };
        world.spawn(listener.serve(service, stop));
        tracing::info!(listen = %address, "simulator listens on {address}");
        let tls_address = tls.as_ref().map(|listener| listener.address);
        if let Some(listener) = tls {
            world.spawn(listener.serve(world.clone()));
        }
        Ok(Simulator { world, address, tls_address })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// What to configure in place of `https://api.mch.weixin.qq.com`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The same under TLS, if it listens so.
    #[must_use]
    pub fn tls_base_url(&self) -> Option<String> {
        self.tls_address.map(|address| format!("https://{address}"))
    }

    /// The payer's and the tester's side.
    #[must_use]
    pub fn control(&self) -> Control {
        Control(self.world.clone())
    }

    /// Completes when its token was cancelled and everything has ended.
    pub async fn stopped(&self) {
        self.world.stop.cancelled().await;
        self.world.tasks.close();
        self.world.tasks.wait().await;
    }
}

/// Answers one request. `certificate` is what the connection showed, if it could.
pub(crate) async fn serve(
    request: Request<Incoming>,
    peer: Peer,
    world: Arc<World>,
    certificate: Option<Shown>,
) -> Response<AnswerBody> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let body = match read_body(body, BODY_BYTES_MAX, peer.request_deadline).await {
        Ok(body) => body,
        Err(error) => return unreadable(error),
    };
    if let Some(rest) = path.strip_prefix("/_sim") {
        let content_type =
            head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        let request = control_api::Request {
            method: &head.method,
            path: rest,
            query: head.uri.query().unwrap_or_default(),
            is_json: media_type.eq_ignore_ascii_case("application/json"),
            body: &body,
        };
        return in_json(control_api::answer(&request, &Control(world)).await);
    }
    if head.method == Method::GET {
        let person = head.headers.get(PERSON).and_then(|value| value.to_str().ok());
        let query = head.uri.query().unwrap_or_default();
        if let Some(answer) = endpoint::openid::answer(path, query, person, &world) {
            return play(answer).await;
        }
    }
    if head.method != Method::POST {
        return whole(StatusCode::OK, XML, unsigned_fail("请使用POST方法"));
    }
    let shown = certificate.unwrap_or_else(|| stand_in(&head.headers, &world));
    match endpoint::answer(path, &body, &shown, &world) {
        Some(answer) => play(answer).await,
        None => {
            in_json(control_api::problem(StatusCode::NOT_FOUND, "no such endpoint; GET /_sim/ lists them"))
        }
    }
}

/// Sends an answer, or does to it what the fault demands.
async fn play(answer: Answer) -> Response<AnswerBody> {
    if !answer.delay.is_zero() {
        sleep(answer.delay).await;
    }
    match answer.mishap {
        Some(Mishap::Http500) => return whole(StatusCode::INTERNAL_SERVER_ERROR, XML, String::new()),
        Some(Mishap::Html) => return whole(StatusCode::BAD_GATEWAY, HTML, page("502 Bad Gateway")),
        Some(Mishap::Lost) => {
            return with_type(StatusCode::OK, XML, AnswerBody::Half(Bytes::new(), Ending::Break));
        }
        Some(Mishap::Cut | Mishap::Short) | None => {}
    }
    let ending = match answer.mishap {
        Some(Mishap::Cut) => Some(Ending::Break),
        Some(Mishap::Short) => Some(Ending::Quiet),
        _ => None,
    };
    match (answer.content, ending) {
        (Content::NoCertificate, _) => {
            whole(StatusCode::BAD_REQUEST, HTML, page("400 No required SSL certificate was sent"))
        }
        (Content::Xml(body), None) => whole(StatusCode::OK, XML, body),
        (Content::Xml(body), Some(ending)) => {
            with_type(StatusCode::OK, XML, AnswerBody::Half(Bytes::from(body), ending))
        }
        (Content::Bill(bill), ending) => of_bill(bill, ending),
        (Content::Json(body), None) => whole(StatusCode::OK, TEXT, body),
        (Content::Json(body), Some(ending)) => {
            with_type(StatusCode::OK, TEXT, AnswerBody::Half(Bytes::from(body), ending))
        }
        (Content::Page(text), _) => whole(StatusCode::OK, HTML, page(&text)),
        (Content::Found(location), _) => found(&location),
    }
}

fn found(location: &str) -> Response<AnswerBody> {
    let Ok(location) = HeaderValue::from_str(location) else {
        return whole(StatusCode::OK, HTML, page("10003 redirect_uri域名与后台配置不一致"));
    };
    let mut response = whole(StatusCode::FOUND, HTML, String::new());
    response.headers_mut().insert(LOCATION, location);
    response
}

fn of_bill(mut bill: Box<BillStream>, ending: Option<Ending>) -> Response<AnswerBody> {
    let content_type = if bill.is_packed() { GZIP } else { TEXT };
    let body = match ending {
        None => AnswerBody::Bill(bill),
        // A bill that cannot be written breaks off, too.
        Some(ending) => AnswerBody::Half(bill.begin().unwrap_or_default(), ending),
    };
    with_type(StatusCode::OK, content_type, body)
}

/// Whose certificate a request over plain HTTP is taken to come with.
fn stand_in(headers: &HeaderMap, world: &World) -> Shown {
    match world.settings().certificate {
        Certificate::Assumed => Shown::Anyone,
        Certificate::Missing => Shown::Nothing,
        Certificate::Header => match headers.get(CERTIFICATE).and_then(|value| value.to_str().ok()) {
            Some(mch_id) => Shown::Of(mch_id.to_owned()),
            None => Shown::Nothing,
        },
    }
}

fn page(title: &str) -> String {
    format!("<html>\r\n<head><title>{title}</title></head>\r\n<body></body>\r\n</html>\r\n")
}

fn unreadable(error: BodyError) -> Response<AnswerBody> {
    whole(error.status(), XML, unsigned_fail("XML格式错误"))
}

fn in_json((status, value): control_api::Reply) -> Response<AnswerBody> {
    let content_type = if status.is_success() { JSON } else { PROBLEM };
    match value {
        Some(value) => whole(status, content_type, value.to_string()),
        None => {
            let mut response = Response::new(AnswerBody::Whole(None));
            *response.status_mut() = status;
            response
        }
    }
}

fn whole(status: StatusCode, content_type: HeaderValue, body: String) -> Response<AnswerBody> {
    let body = if body.is_empty() { None } else { Some(Bytes::from(body)) };
    with_type(status, content_type, AnswerBody::Whole(body))
}

fn with_type(status: StatusCode, content_type: HeaderValue, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// An answer's body: whole, a bill piece by piece, or one that ends in its middle.
pub(crate) enum AnswerBody {
    Whole(Option<Bytes>),
    Bill(Box<BillStream>),
    Half(Bytes, Ending),
    Ended,
}

/// How a body ends that is not whole.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    /// The connection breaks.
    Break,
    /// As if that were all.
    Quiet,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Poll::Ready(match &mut *self {
            AnswerBody::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            AnswerBody::Bill(bill) => bill.piece().transpose().map(|piece| piece.map(Frame::data)),
            AnswerBody::Half(bytes, Ending::Break) if bytes.is_empty() => {
                Some(Err(io::ErrorKind::ConnectionReset.into()))
            }
            AnswerBody::Half(bytes, ending) => {
                let half = bytes.split_to(bytes.len() / 2);
                bytes.clear();
                if matches!(ending, Ending::Quiet) {
                    *self = AnswerBody::Ended;
                }
                Some(Ok(Frame::data(half)))
            }
            AnswerBody::Ended => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, AnswerBody::Whole(None) | AnswerBody::Ended)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            AnswerBody::Whole(None) => SizeHint::with_exact(0),
            AnswerBody::Whole(Some(bytes)) => SizeHint::with_exact(
                u64::try_from(bytes.len()).expect("a body in memory has a length of 64 bits"),
            ),
            _ => SizeHint::default(),
        }
    }
}
