//! Bearer tokens: who a caller is and what it may do. Shows no secret, and compares secrets in constant time.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::rate::Rate;

/// What a token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Reading the event log.
    Events,
    /// Registering, reading and checking orders.
    Orders,
    /// `accept`, `reject` and dead letters.
    Operate,
    /// Sending money back.
    Refunds,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::Events, Scope::Orders, Scope::Operate, Scope::Refunds];

    /// The word used in configuration and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Events => "events",
            Scope::Orders => "orders",
            Scope::Operate => "operate",
            Scope::Refunds => "refunds",
        }
    }

    /// The scope of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A secret of so many bytes is random, because nobody thinks up such a one.
const UNGUESSABLE_BYTES_MIN: usize = 24;

/// The secret half of a token.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Without its trailing white space, which files end with; `None` if nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let secret = text.trim_end();
        (!secret.is_empty()).then(|| Self(secret.to_owned()))
    }

    /// Whether it is so long that it cannot be found by trying, at whatever speed.
    pub(crate) fn is_unguessable(&self) -> bool {
        self.0.len() >= UNGUESSABLE_BYTES_MIN
    }

    fn is(&self, offered: &str) -> bool {
        self.0.as_bytes().ct_eq(offered.as_bytes()).into()
    }
}

/// In constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// One caller's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Stands for the caller in history and logs.
    pub name: String,
    pub secret: Secret,
    pub scopes: Vec<Scope>,
    /// Requests in a second; one more is refused with 429.
    pub rate: Rate,
    /// Event streams at once; one more is refused with 429.
    pub streams_max: usize,
}

impl Token {
    /// Event streams of one token at once, unless configured otherwise: a caller in a loop leaves room for others.
    pub const STREAMS_MAX: usize = 128;

    /// The token whose secret was offered, and its place. Looks at all of them, whichever matches.
    pub(crate) fn find<'a>(tokens: &'a [Token], offered: &str) -> Option<(usize, &'a Token)> {
        let either =
            |found, one: (usize, &'a Token)| if one.1.secret.is(offered) { Some(one) } else { found };
        tokens.iter().enumerate().fold(None, either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_loses_trailing_white_space_and_shows_nowhere() {
        let secret = Secret::new("s3cret \r\n").unwrap();
        assert!(secret.is("s3cret") && !secret.is("s3cret ") && !secret.is("s3cre") && !secret.is(""));
        let (name, scopes) = ("shop".to_owned(), vec![Scope::Orders]);
        let token = Token { name, secret, scopes, rate: Rate::DEFAULT, streams_max: 1 };
        assert!(!format!("{token:?}").contains("s3cret"));
        assert!(Secret::new(" \n").is_none(), "an empty token file must not open the API");
    }
}
