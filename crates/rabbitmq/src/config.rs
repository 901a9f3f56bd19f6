//! What the engine is told at the start, judged before anything is connected. The URL's password leaves this file only
//! inside the client library's own address, which prints nothing of it.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use lapin::uri::AMQPUri;
use tokio::sync::Mutex;
use tokio_util::task::TaskTracker;

use crate::error::ConfigError;
use crate::link::Trust;
use crate::topology::Shape;

/// Queues per lane, at most: each takes a channel of the connection that publishes, and brokers are often told to allow
/// 256 of those.
pub(crate) const PARTITIONS_MAX: u16 = 64;

/// Characters of a prefix: a queue's name has room for 255.
const PREFIX_CHARS_MAX: usize = 64;

/// Seconds between heartbeats unless the URL says otherwise: a peer that fell silent is noticed after two of them.
const HEARTBEAT_S: u16 = 5;

/// Settings of the engine.
#[derive(Clone)]
pub struct RabbitConfig {
    /// `amqp://USER:PASSWORD@HOST:PORT/VHOST`, or `amqps://`; `?heartbeat=SECONDS` if five do not fit.
    pub url: String,
    /// Certificate authorities (PEM) to trust with `amqps://` instead of the public ones.
    pub authorities: Option<Vec<u8>>,
    /// The beginning of every name.
    pub prefix: String,
    /// Queues per lane of checks that this process publishes to. It consumes all that exist.
    pub partitions: u16,
    /// How often the broker hands a check out before it puts it aside.
    pub delivery_limit: u32,
    /// How long the event log keeps events.
    pub events_age: Duration,
    /// What the event log forgets at once, in bytes: [`Shape::SEGMENT_BYTES`] unless a test wants less.
    pub segment_bytes: u32,
    /// Urgent checks that this process holds, in hand or waiting for one.
    pub urgent_prefetch: u16,
    /// The same for cadence polls.
    pub cadence_prefetch: u16,
    /// How long a document of a newer format is held before it goes to the end of its queue again.
    pub newer_pause: Duration,
    /// How often partitions are looked for that processes with more of them declared.
    pub look_pause: Duration,
}

impl RabbitConfig {
    /// The defaults, for a broker at this URL.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            authorities: None,
            prefix: "paybell".to_owned(),
            partitions: 4,
            delivery_limit: 20,
            events_age: Duration::from_secs(35 * 24 * 3600),
            segment_bytes: Shape::SEGMENT_BYTES,
            urgent_prefetch: 512,
            cadence_prefetch: 128,
            newer_pause: Duration::from_secs(30),
            look_pause: Duration::from_secs(300),
        }
    }

    /// What the topology under this prefix depends on.
    pub fn shape(&self) -> Shape {
        Shape {
            prefix: self.prefix.clone(),
            partitions: self.partitions,
            delivery_limit: self.delivery_limit,
            events_age: self.events_age,
            segment_bytes: self.segment_bytes,
        }
    }
}

impl fmt::Debug for RabbitConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitConfig")
            .field("url", &"hidden")
            .field("prefix", &self.prefix)
            .field("partitions", &self.partitions)
            .field("delivery_limit", &self.delivery_limit)
            .field("events_age", &self.events_age)
            .finish_non_exhaustive()
    }
}

/// The judged settings, shared by everything of one engine.
pub(crate) struct Settings {
    pub uri: AMQPUri,
    pub trust: Trust,
    pub shape: Shape,
    pub urgent_prefetch: u16,
    pub cadence_prefetch: u16,
    pub newer_pause: Duration,
    pub look_pause: Duration,
    /// Every task of the engine; `close` waits for them.
    pub tasks: TaskTracker,
    /// Connections of one process declare one after the other: a broker dislikes twins.
    pub declaring: Mutex<()>,
    pub told: Told,
}

/// What this process has said about the topology: it does so once, not at every connection.
#[derive(Default)]
pub(crate) struct Told {
    pub aged: AtomicBool,
    pub uncompared: AtomicBool,
}

impl Settings {
    /// Where the broker is: nothing else of its URL.
    pub fn address(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    pub fn judged(config: &RabbitConfig) -> Result<Self, ConfigError> {
        let is_named = |prefix: &str| {
            (1..=PREFIX_CHARS_MAX).contains(&prefix.len())
                && prefix.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        if !is_named(&config.prefix) {
            return Err(ConfigError::Prefix(config.prefix.clone()));
        }
        if !(1..=PARTITIONS_MAX).contains(&config.partitions) {
            return Err(ConfigError::Partitions(config.partitions));
        }
        for (name, value) in [
            ("delivery_limit", config.delivery_limit),
            ("segment_bytes", config.segment_bytes),
            ("urgent_prefetch", config.urgent_prefetch.into()),
            ("cadence_prefetch", config.cadence_prefetch.into()),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero(name));
            }
        }
        let trust = config.authorities.as_deref().map(Trust::only).transpose()?;
        Ok(Self {
            uri: address(&config.url)?,
            trust: trust.unwrap_or_default(),
            shape: config.shape(),
            urgent_prefetch: config.urgent_prefetch,
            cadence_prefetch: config.cadence_prefetch,
            newer_pause: config.newer_pause,
            look_pause: config.look_pause,
            tasks: TaskTracker::new(),
            declaring: Mutex::new(()),
            told: Told::default(),
        })
    }
}

/// What is wrong with a broker's URL, in words that repeat nothing of it.
pub fn judge_url(url: &str) -> Result<(), ConfigError> {
    address(url).map(drop)
}

/// The client library's own words about a bad URL may repeat it, password and all: ours never do.
fn address(url: &str) -> Result<AMQPUri, ConfigError> {
    let told = |text: &str| Err(ConfigError::Url(text.to_owned()));
    let Some((scheme, rest)) = url.split_once("://") else { return told("it has no ://") };
    if !matches!(scheme, "amqp" | "amqps") {
        return told("it begins with neither amqp:// nor amqps://");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() || host.starts_with(':') {
        return told("it names no host");
    }
    let Ok(mut uri) = url.parse::<AMQPUri>() else {
        return told("its host, port, virtual host or options cannot be read");
    };
    // `…:5672/` means the virtual host whose name is empty, which no broker has: who writes it means `/`.
    if uri.vhost.is_empty() {
        return told(
            "it ends in / and so names a virtual host without a name; the one that is called / is written %2f",
        );
    }
    // The library takes an IPv6 address for no host at all and would go to localhost.
    if let Some((inside, _)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        inside.clone_into(&mut uri.authority.host);
    }
    if matches!(uri.query.heartbeat, None | Some(0)) {
        uri.query.heartbeat = Some(HEARTBEAT_S);
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_as_an_operator_means_it() {
        let uri = address("amqps://shop:p%40ss@mq.example/%2f?heartbeat=9").unwrap();
        assert_eq!((uri.authority.host.as_str(), uri.authority.port), ("mq.example", 5671));
        assert_eq!((uri.authority.userinfo.password.as_str(), uri.vhost.as_str()), ("p@ss", "/"));
        assert_eq!(uri.query.heartbeat, Some(9));
        let uri = address("amqp://guest:guest@[::1]:5673/vhost?heartbeat=0").unwrap();
        assert_eq!(
            (uri.authority.host.as_str(), uri.authority.port, uri.vhost.as_str()),
            ("::1", 5673, "vhost")
        );
        assert_eq!(uri.query.heartbeat, Some(HEARTBEAT_S), "silence is always noticed");
    }

    #[test]
    fn a_bad_setting_is_told_without_the_password() {
        for url in [
            "hunter2",
            "http://u:hunter2@h/",
            "amqp://u:hunter2@/%2f",
            "amqp://u:hunter2@:5672",
            "amqp://u:hunter2@h:99999/",
            "amqp://u:hunter2@h/%2f?heartbeat=often",
            "amqp://u:hunter2@h/",
            "amqps://u:hunter2@h:5671/?heartbeat=9",
        ] {
            let error = Settings::judged(&RabbitConfig::at(url)).err().unwrap().to_string();
            assert!(error.starts_with("rabbitmq.url: ") && !error.contains("hunter2"), "{url}: {error}");
        }
        let error = judge_url("amqp://u:hunter2@h:5672/").unwrap_err().to_string();
        assert!(error.contains("is written %2f"), "{error}");
        let config = RabbitConfig::at("amqp://u:hunter2@h");
        assert!(!format!("{config:?}").contains("hunter2"));
        let with = |change: fn(&mut RabbitConfig)| {
            let mut config = config.clone();
            change(&mut config);
            Settings::judged(&config).err()
        };
        assert_eq!(
            with(|config| config.prefix = "a b".to_owned()),
            Some(ConfigError::Prefix("a b".to_owned()))
        );
        assert_eq!(with(|config| config.partitions = 0), Some(ConfigError::Partitions(0)));
        assert_eq!(with(|config| config.partitions = 64), None);
        assert_eq!(with(|config| config.partitions = 65), Some(ConfigError::Partitions(65)));
        assert_eq!(with(|config| config.delivery_limit = 0), Some(ConfigError::Zero("delivery_limit")));
        let without_authority = |pem: &[u8]| {
            let config = RabbitConfig { authorities: Some(pem.to_vec()), ..config.clone() };
            Settings::judged(&config).err().unwrap().to_string()
        };
        for pem in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let told = without_authority(pem.as_bytes());
            assert!(told.starts_with("rabbitmq.ca_file: "), "{told}");
        }
        assert_eq!(with(|_| ()), None);
    }
}
