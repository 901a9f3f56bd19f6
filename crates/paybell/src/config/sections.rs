//! What each section holds once it is checked. No later code checks again: an address can be bound, a key has its
//! length, certificate and key belong together.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use http_server::TlsConfig;
pub use paybell_core::Mode;
use paybell_core::{Cadence, OpenidPolicy, time::Millis};

use super::{
    reader::Section,
    secret::{PemPair, Secret, read_file, read_token},
    values::{
        ListenAddress, base_url, duration, duration_from, duration_to, one_of, openid, path, per_second,
        prefix, public_url, url_of,
    },
};

/// Which engine keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// One SQLite file in this process.
    Embedded,
    /// RabbitMQ and Redis.
    Cluster,
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedded => "embedded",
            Self::Cluster => "cluster",
        })
    }
}

/// `[rabbitmq]`.
#[derive(Debug, Clone)]
pub struct Rabbitmq {
    pub url: Secret,
    /// Certificate authorities (PEM) to trust instead of the public ones.
    pub authorities: Option<Vec<u8>>,
    pub prefix: String,
    pub partitions: u32,
}

/// `[redis]`.
#[derive(Debug, Clone)]
pub struct Redis {
    pub url: Secret,
    pub authorities: Option<Vec<u8>>,
    pub prefix: String,
}

/// `[ingress]`.
#[derive(Debug, Clone)]
pub struct Ingress {
    pub listen: ListenAddress,
    pub tls: Option<TlsConfig>,
    pub public_url: Option<String>,
}

/// `[wechat]`.
#[derive(Debug, Clone)]
pub struct Wechat {
    pub base_urls: Vec<String>,
    pub openid_base_url: String,
    pub prepay_life: Millis,
    pub mweb_life: Millis,
}

/// What the bearer of a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Events,
    Orders,
    Operate,
    Refunds,
}

/// Half of all: a caller in a loop leaves room for the others.
const STREAMS_OF_A_TOKEN: u32 = 128;

/// A token of the private listener.
#[derive(Debug, Clone)]
pub struct Token {
    pub name: String,
    pub secret: Secret,
    pub scopes: Vec<Scope>,
    /// Requests in a second.
    pub rate: u32,
    /// Event streams at once.
    pub streams: u32,
}

/// `[console]`.
#[derive(Debug, Clone)]
pub struct Console {
    pub listen: ListenAddress,
    /// Names under which services reach the listener, beside loopback and `listen` itself.
    pub allowed_hosts: Vec<String>,
    pub tokens: Vec<Token>,
    /// Requests in a second: of a token that has no rate of its own, or of all callers where there is no token.
    pub rate: u32,
    /// Event streams at once, of all callers.
    pub streams: u32,
}

/// `[retention]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub orders: Millis,
    pub events: Millis,
}

pub(super) fn engine(root: &mut Section<'_>) -> EngineKind {
    let words = [("embedded", EngineKind::Embedded), ("cluster", EngineKind::Cluster)];
    root.value("engine", "embedded", |text| one_of(text, &words))
}

pub(super) fn mode(root: &mut Section<'_>) -> Mode {
    root.value("mode", "live", |text| one_of(text, &[("live", Mode::Live), ("shadow", Mode::Shadow)]))
}

pub(super) fn data_dir(root: &mut Section<'_>) -> PathBuf {
    root.section("embedded", |section| section.value("data_dir", "data", path))
}

pub(super) fn rabbitmq(root: &mut Section<'_>) -> Rabbitmq {
    root.section("rabbitmq", |section| Rabbitmq {
        url: server_url(section, "amqp://guest:guest@127.0.0.1:5672/%2f", amqp_url),
        authorities: section.optional("ca_file", authorities),
        prefix: section.value("prefix", "paybell", prefix),
        partitions: section.integer("partitions", 4, 1..=64),
    })
}

pub(super) fn redis(root: &mut Section<'_>) -> Redis {
    let schemes = &["redis", "rediss", "redis+sentinel", "rediss+sentinel"];
    root.section("redis", |section| Redis {
        url: server_url(section, "redis://127.0.0.1:6379", url_of(schemes)),
        authorities: section.optional("ca_file", authorities),
        prefix: section.value("prefix", "paybell", prefix),
    })
}

/// A server's URL, which may hold a password: in the file itself, or in a file of its own.
fn server_url(
    section: &mut Section<'_>,
    default: &'static str,
    judge: impl Fn(&str) -> Result<String, String>,
) -> Secret {
    let in_file = section.optional("url_file", |path| {
        let secret = read_file(Path::new(path))?;
        judge(secret.reveal()).map(Secret::new).map_err(|what| format!("the text in {path} {what}"))
    });
    let in_line = Secret::new(section.url("url", default, &judge));
    if section.is_given("url") && section.is_given("url_file") {
        section.problem("url_file", "give url or url_file, not both".to_owned());
    }
    in_file.unwrap_or(in_line)
}

/// A broker's URL, judged as the client will read it.
fn amqp_url(text: &str) -> Result<String, String> {
    let url = url_of(&["amqp", "amqps"])(text)?;
    rabbitmq::judge_url(&url).map_err(|error| error.to_string().replacen("rabbitmq.url: it ", "", 1))?;
    Ok(url)
}

/// The text of a PEM file with at least one certificate; what is in it is judged by whoever trusts it.
fn authorities(path: &str) -> Result<Vec<u8>, String> {
    const BYTES_MAX: usize = 1 << 20;
    let pem = std::fs::read(path).map_err(|cause| format!("cannot read {path}: {cause}"))?;
    let has_one = pem.windows(CERTIFICATE.len()).any(|text| text == CERTIFICATE);
    if pem.len() > BYTES_MAX || !has_one {
        return Err(format!("{path} holds no certificate (PEM, -----BEGIN CERTIFICATE-----)"));
    }
    Ok(pem)
}

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

pub(super) fn ingress(root: &mut Section<'_>) -> Ingress {
    root.section("ingress", |section| Ingress {
        listen: section.value("listen", "0.0.0.0:8080", ListenAddress::parse),
        tls: pem_pair(section, "tls_cert_file", "tls_key_file").and_then(|pair| {
            pair.load().map_err(|error| section.problem("tls_cert_file", error.to_string())).ok()
        }),
        public_url: section.optional("public_url", public_url),
    })
}

/// Two files that are only of use together.
pub(super) fn pem_pair(section: &mut Section<'_>, cert: &'static str, key: &'static str) -> Option<PemPair> {
    match (section.optional(cert, path), section.optional(key, path)) {
        (Some(cert_file), Some(key_file)) => Some(PemPair { cert_file, key_file }),
        (Some(_), None) => {
            section.problem(cert, format!("needs {key} beside it"));
            None
        }
        (None, Some(_)) => {
            section.problem(key, format!("needs {cert} beside it"));
            None
        }
        (None, None) => None,
    }
}

pub(super) fn console(root: &mut Section<'_>) -> Console {
    root.section("console", |section| {
        let listen = section.value("listen", "127.0.0.1:8081", ListenAddress::parse);
        let allowed_hosts = section.list("allowed_hosts", &[], super::values::host);
        let (rate, streams) =
            (section.value("rate", "2000/s", per_second), section.integer("streams", 256, 1..=100_000));
        let all = vec![Scope::Events, Scope::Orders, Scope::Operate, Scope::Refunds];
        let problems_before = section.problem_count();
        let single = section.optional("token_file", read_token);
        let mut tokens: Vec<Token> = single
            .map(|secret| Token { name: "token_file".to_owned(), secret, scopes: all, rate, streams })
            .into_iter()
            .collect();
        tokens.extend(section.sections("token", |section| token(section, rate)).into_iter().flatten());
        refuse_likes(section, &tokens);
        let tokens_are_sound = section.problem_count() == problems_before;
        if tokens.is_empty() && tokens_are_sound && !listen.is_loopback() {
            section.problem(
                "listen",
                format!(
                    "{} is not loopback: set token_file or [[console.token]], or listen on 127.0.0.1",
                    listen.as_str()
                ),
            );
        }
        Console { listen, allowed_hosts, tokens, rate, streams }
    })
}

fn token(section: &mut Section<'_>, rate_default: u32) -> Option<Token> {
    let name = section.optional("name", prefix);
    let secret = section.optional("file", read_token);
    let words = [
        ("events", Scope::Events),
        ("orders", Scope::Orders),
        ("operate", Scope::Operate),
        ("refunds", Scope::Refunds),
    ];
    let scopes = section.list("scopes", &[], |text| one_of(text, &words));
    section.require("name", "a short name, for the log");
    section.require("file", "the file that holds the token");
    let rate = section.optional("rate", per_second).unwrap_or(rate_default);
    let streams = section.integer("streams", STREAMS_OF_A_TOKEN, 1..=100_000);
    if scopes.is_empty() {
        section.problem("scopes", "name at least one of \"events\", \"orders\", \"operate\", \"refunds\"");
    }
    Some(Token { name: name?, secret: secret?, scopes, rate, streams })
}

/// Of two tokens with one text the second would never be recognised; of two with one name the log would not tell.
fn refuse_likes(section: &mut Section<'_>, tokens: &[Token]) {
    for (number, token) in tokens.iter().enumerate() {
        for earlier in tokens.iter().take(number) {
            if earlier.name == token.name {
                section.problem("token", format!("two tokens have the name \"{}\"", token.name));
            }
            if earlier.secret == token.secret {
                section.problem(
                    "token",
                    format!("\"{}\" and \"{}\" are the same token", earlier.name, token.name),
                );
            }
        }
    }
}

/// `[canary]`: how often a canary is sent; `None` for `"off"`. It goes over the public URL, so there must be one.
pub(super) fn canary(root: &mut Section<'_>, ingress: &Ingress) -> Option<Millis> {
    root.section("canary", |section| {
        let interval = section.value("interval", "off", |text| match text {
            "off" => Ok(None),
            text => duration_from("30s")(text).map(Some),
        });
        if interval.is_some() && ingress.public_url.is_none() {
            section.problem("interval", "needs ingress.public_url, over which it is sent");
        }
        interval
    })
}

pub(super) fn admin(root: &mut Section<'_>) -> ListenAddress {
    root.section("admin", |section| section.value("listen", "127.0.0.1:8082", ListenAddress::parse))
}

/// `[wechat]`: the hosts of payments, and the one of openids.
pub(super) fn wechat(root: &mut Section<'_>) -> Wechat {
    let defaults = ["https://api.mch.weixin.qq.com", "https://api2.mch.weixin.qq.com"];
    root.section("wechat", |section| {
        let before = section.problem_count();
        let urls = section.list("base_urls", &defaults, base_url);
        if urls.is_empty() && section.problem_count() == before {
            section.problem("base_urls", "name at least one");
        }
        Wechat {
            base_urls: urls,
            openid_base_url: section.value("openid_base_url", "https://api.weixin.qq.com", base_url),
            prepay_life: section.value("prepay_life", "2h", duration_to("2h")),
            mweb_life: section.value("mweb_life", "5m", duration_to("5m")),
        }
    })
}

pub(super) fn cadence(root: &mut Section<'_>) -> Cadence {
    let defaults =
        ["15s", "15s", "30s", "3m", "10m", "20m", "30m", "30m", "30m", "60m", "3h", "3h", "3h", "6h", "6h"];
    root.section("schedule", |section| {
        let before = section.problem_count();
        let gaps = section.list("cadence", &defaults, duration);
        let count = gaps.len();
        match Cadence::from_gaps(gaps) {
            Ok(cadence) => cadence,
            Err(_) => {
                if section.problem_count() == before {
                    section.problem("cadence", format!("needs 1 to 64 gaps, there are {count}"));
                }
                Cadence::default()
            }
        }
    })
}

pub(super) fn events_openid(root: &mut Section<'_>) -> OpenidPolicy {
    root.section("events", |section| section.value("openid", "omit", openid))
}

pub(super) fn retention(root: &mut Section<'_>) -> Retention {
    root.section("retention", |section| Retention {
        orders: section.value("orders", "35d", duration_from("16d")),
        events: section.value("events", "35d", duration),
    })
}
