//! Who may call at this moment: the tokens, what each of them has left, and how a token that is taken away ends what it
//! has open. Replaced as a whole while requests are in hand; they end with what they began with.

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::ConsoleConfig;
use crate::limits::Limits;
use crate::token::Token;

pub(crate) struct Admission {
    pub(crate) tokens: Vec<Token>,
    pub(crate) limits: Limits,
    /// In the order of the tokens.
    taken_away: Vec<CancellationToken>,
    /// For callers of an API without tokens.
    closed: CancellationToken,
}

impl Admission {
    pub(crate) fn new(config: &ConsoleConfig, now: Instant) -> Self {
        let tokens = config.tokens.clone();
        let limits = Limits::new(config, now);
        let taken_away = tokens.iter().map(|_| CancellationToken::new()).collect();
        Self { tokens, limits, taken_away, closed: CancellationToken::new() }
    }

    /// The same API with other tokens; `None` if they are no others. Every caller begins with a full allowance.
    pub(crate) fn with_tokens(
        &self,
        tokens: Vec<Token>,
        config: &ConsoleConfig,
        now: Instant,
    ) -> Option<Self> {
        if tokens == self.tokens {
            return None;
        }
        let config = ConsoleConfig { tokens, ..config.clone() };
        let mut next = Self::new(&config, now);
        for (token, taken_away) in next.tokens.iter().zip(&mut next.taken_away) {
            if let Some(kept) = self.place_of(token).and_then(|place| self.taken_away.get(place)) {
                *taken_away = kept.clone();
            }
        }
        if self.tokens.is_empty() && next.tokens.is_empty() {
            next.closed = self.closed.clone();
        }
        Some(next)
    }

    /// Ends the streams of those whom `next` does not let in as before.
    pub(crate) fn end_what_is_gone(&self, next: &Admission) {
        if !next.tokens.is_empty() {
            self.closed.cancel();
        }
        for (token, taken_away) in self.tokens.iter().zip(&self.taken_away) {
            if next.place_of(token).is_none() {
                taken_away.cancel();
            }
        }
    }

    /// Cancelled when the caller with this token is not let in any more.
    pub(crate) fn end_of(&self, token: Option<usize>) -> CancellationToken {
        token.and_then(|token| self.taken_away.get(token)).unwrap_or(&self.closed).clone()
    }

    /// Where the same token with the same scopes is.
    fn place_of(&self, token: &Token) -> Option<usize> {
        let is_same = |other: &Token| other.secret == token.secret && other.scopes == token.scopes;
        self.tokens.iter().position(is_same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate::Rate;
    use crate::token::{Scope, Secret};

    fn token(secret: &str, scope: Scope) -> Token {
        let secret = Secret::new(secret).unwrap();
        Token { name: "shop".to_owned(), secret, scopes: vec![scope], rate: Rate::DEFAULT, streams_max: 1 }
    }

    #[test]
    fn only_what_is_gone_ends() {
        let now = Instant::now();
        let [stays, goes, shrinks] = ["stays", "goes", "shrinks"].map(|secret| token(secret, Scope::Events));
        let tokens = vec![stays.clone(), goes, shrinks];
        let config = ConsoleConfig { tokens: tokens.clone(), ..ConsoleConfig::default() };
        let before = Admission::new(&config, now);
        assert!(before.with_tokens(tokens, &config, now).is_none());
        let ends: Vec<CancellationToken> = (0..3).map(|place| before.end_of(Some(place))).collect();
        let tokens = vec![token("new", Scope::Orders), token("shrinks", Scope::Orders), stays];
        let after = before.with_tokens(tokens, &config, now).unwrap();
        before.end_what_is_gone(&after);
        let ended: Vec<bool> = ends.iter().map(CancellationToken::is_cancelled).collect();
        assert_eq!(ended, [false, true, true]);
        let later = after.with_tokens(Vec::new(), &config, now).unwrap();
        after.end_what_is_gone(&later);
        assert!(ends.iter().all(CancellationToken::is_cancelled), "also after it was kept once");
    }

    #[test]
    fn an_open_api_that_gets_a_token_ends_the_streams_of_all_who_had_none() {
        let (now, config) = (Instant::now(), ConsoleConfig::default());
        let open = Admission::new(&config, now);
        let anonymous = open.end_of(None);
        let shut = open.with_tokens(vec![token("t", Scope::Events)], &config, now).unwrap();
        open.end_what_is_gone(&shut);
        assert!(anonymous.is_cancelled() && !shut.end_of(Some(0)).is_cancelled());
    }
}
