//! What the operator configures of one endpoint, parsed once.
//!
//! Refuses what could not be delivered or would show a secret; reads no file. The parts go to [`crate::courier`] and
//! [`crate::machine`].

use std::collections::HashSet;
use std::fmt;

use hyper::Uri;
use paybell_core::MchId;
use paybell_core::event::{Event, EventType};
use paybell_core::ports::EventFilter;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::schedule::Schedule;
use crate::secret::WebhookSecrets;

/// Longest name of an endpoint, in characters.
pub const NAME_CHARS_MAX: usize = 64;

/// Secrets of one webhook at once: the new one, the old one, and one in reserve.
pub const SECRETS_MAX: usize = 4;

/// One place that events are brought to.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub name: EndpointName,
    pub url: EndpointUrl,
    pub wanted: Wanted,
    pub begin: Begin,
    pub kind: Kind,
}

/// In which form, and how the answer is judged.
#[derive(Debug, Clone)]
pub enum Kind {
    /// The event as it is, signed by Standard Webhooks; one signature per secret.
    Webhook(WebhookSecrets),
    /// A WeChat v2 payment notification for every `order.paid`.
    Legacy(Refunded),
}

/// What to do with a payment that went back, in part or whole, before the old handler was told of it. Such a handler
/// knows only "paid", and would ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refunded {
    /// Tell nothing, show it, and let a person resend it.
    #[default]
    HoldBack,
    /// Tell that it was paid, as WeChat would have at that time.
    Tell,
}

/// Where an endpoint that was never served begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Begin {
    /// With the next event.
    #[default]
    Now,
    /// With the oldest that the log keeps.
    Oldest,
}

/// A name for labels, notes and people: `a-z 0-9 _ -`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct EndpointName(String);

impl EndpointName {
    /// 1 to [`NAME_CHARS_MAX`] of small letters, digits, `_` and `-`.
    pub fn new(text: &str) -> Result<Self, Error> {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
        if (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            let rule = format!("1 to {NAME_CHARS_MAX} of a-z 0-9 _ -");
            Err(Error::Config(format!("the name {text:?} of an endpoint must be {rule}")))
        }
    }

    /// For an endpoint that nobody named: the word and a print of its address, whatever its place in the file.
    pub fn of_url(word: &str, url: &str) -> Result<Self, Error> {
        let print: String = Sha256::digest(url).iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Self::new(&format!("{word}-{print}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the operator says of an endpoint's surroundings; each is a word against the stricter default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// The endpoint may lie in a private network, on this machine, or wherever its name leads. Allows http too.
    pub allow_private: bool,
    /// Events may travel unencrypted.
    pub allow_http: bool,
}

/// An absolute http or https address. Shown without its query, which may hold a token.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    uri: Uri,
    pub reach: Reach,
}

impl EndpointUrl {
    pub fn parse(text: &str, reach: Reach) -> Result<Self, Error> {
        let refuse = |why: &str| Err(Error::Config(format!("the url of an endpoint {why}")));
        if text.contains('#') {
            return refuse("has a fragment (#), which is never sent: remove it");
        }
        let Ok(uri) = text.parse::<Uri>() else { return refuse("is no URL") };
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if reach.allow_http || reach.allow_private => {}
            Some("http") => return refuse("is http: use https, or set allow_http = true"),
            _ => return refuse("must begin with https://"),
        }
        if authority.contains('@') {
            return refuse("names a user: an endpoint knows us by the signature, remove it");
        }
        if uri.host().is_none_or(str::is_empty) {
            return refuse("names no host");
        }
        Ok(Self { uri, reach })
    }

    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Tells whether the configuration of an endpoint still means the same place; gives nothing away.
    pub fn print(&self) -> String {
        let text = format!("{} {}", self.uri, self.reach.allow_private);
        Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        let authority = self.uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let query = if self.uri.query().is_some() { "?…" } else { "" };
        write!(f, "{scheme}://{authority}{}{query}", self.uri.path())
    }
}

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Which events an endpoint gets. An empty list means all; what was decided in shadow is for nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub types: Vec<EventType>,
    pub mch_ids: Vec<MchId>,
}

impl Wanted {
    pub(crate) fn fits(&self, event: &Event) -> bool {
        let type_fits = self.types.is_empty() || self.types.contains(&event.kind);
        !event.is_shadow() && type_fits && (self.mch_ids.is_empty() || self.mch_ids.contains(event.mch_id()))
    }

    /// What the log can leave out by itself; lists of several are left to [`Wanted::fits`].
    pub(crate) fn filter(&self) -> EventFilter {
        let kind = if let [kind] = self.types.as_slice() { Some(*kind) } else { None };
        let mch_id = if let [mch_id] = self.mch_ids.as_slice() { Some(mch_id.clone()) } else { None };
        EventFilter { kind, mch_id }
    }
}

/// Refuses two endpoints of one name: they would share a book.
pub fn distinct(endpoints: &[Endpoint]) -> Result<(), Error> {
    let mut names = HashSet::new();
    match endpoints.iter().find(|endpoint| !names.insert(&endpoint.name)) {
        Some(endpoint) => {
            Err(Error::Config(format!("two endpoints have the name {}: rename one", endpoint.name)))
        }
        None => Ok(()),
    }
}

impl Endpoint {
    /// Checks what the parts cannot know of each other. A legacy endpoint gets `order.paid` and nothing else.
    pub fn checked(mut self) -> Result<Self, Error> {
        match &self.kind {
            Kind::Webhook(secrets) if !(1..=SECRETS_MAX).contains(&secrets.count()) => {
                let rule = format!("1 to {SECRETS_MAX} secrets, not {}", secrets.count());
                return Err(Error::Config(format!("the webhook {} needs {rule}", self.name)));
            }
            Kind::Webhook(_) => {}
            Kind::Legacy(_) => self.wanted.types = vec![EventType::Paid],
        }
        Ok(self)
    }

    /// The word in views and notes.
    pub fn kind_word(&self) -> &'static str {
        match self.kind {
            Kind::Webhook(_) => "webhook",
            Kind::Legacy(_) => "legacy",
        }
    }

    pub(crate) fn schedule(&self) -> Schedule {
        match self.kind {
            Kind::Webhook(_) => Schedule::Webhook,
            Kind::Legacy(_) => Schedule::Legacy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: Reach = Reach { allow_private: false, allow_http: false };

    fn refused(text: &str) -> String {
        EndpointUrl::parse(text, STRICT).unwrap_err().to_string()
    }

    #[test]
    fn an_address_is_absolute_encrypted_and_without_a_user() {
        assert!(EndpointUrl::parse("https://shop.example:8443/hook?x=1", STRICT).is_ok());
        for reach in [Reach { allow_http: true, ..STRICT }, Reach { allow_private: true, ..STRICT }] {
            assert!(EndpointUrl::parse("http://10.0.0.7/hook", reach).is_ok());
        }
        assert!(refused("http://shop.example/").contains("allow_http"));
        for text in ["", "/hook", "shop.example/hook", "ftp://shop.example/", "https:///x", "https://a b/"] {
            refused(text);
        }
        let with_user = refused("https://user:hunter2@shop.example/");
        assert!(with_user.contains("user") && !with_user.contains("hunter2"), "{with_user}");
        assert!(refused("https://shop.example/#x").contains('#'));
    }

    #[test]
    fn a_query_is_not_shown() {
        let url = EndpointUrl::parse("https://shop.example/hook?token=hunter2", STRICT).unwrap();
        assert_eq!(format!("{url}"), "https://shop.example/hook?…");
        assert_eq!(format!("{url:?}"), "https://shop.example/hook?…");
    }

    #[test]
    fn names_fit_into_labels() {
        assert!(EndpointName::new("shop_1-a").is_ok());
        for text in ["", "Shop", "a/b", "a b", "商", &"x".repeat(65)] {
            assert!(EndpointName::new(text).is_err(), "{text}");
        }
        // printf %s https://shop.example/hook | sha256sum
        let unnamed = EndpointName::of_url("webhook", "https://shop.example/hook").unwrap();
        assert_eq!(unnamed.as_str(), "webhook-cc41546b");
    }
}
