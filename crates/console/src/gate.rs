//! Who may pass: the name a request calls us by, its token, and what it says its body is. Looks at heads only.

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use hyper::http::request::Parts;

use crate::config::AllowedHosts;
use crate::error::Error;
use crate::routes::Access;
use crate::token::{Scope, Token};

/// Characters of a foreign name that an answer repeats.
const SHOWN_CHARS_MAX: usize = 100;

/// Who calls.
pub(crate) struct Caller {
    /// The token's name, for history and logs.
    pub name: String,
    /// The place of its token; `None` if it needed none.
    pub token: Option<usize>,
    /// `None` opens everything: no token is configured.
    scopes: Option<Vec<Scope>>,
}

impl Caller {
    /// Whoever needs no token.
    pub(crate) fn anonymous() -> Self {
        Self { name: "anonymous".to_owned(), token: None, scopes: None }
    }

    /// Whether the caller reaches so far.
    pub(crate) fn passes(&self, access: Access) -> Result<(), Error> {
        match (access, &self.scopes) {
            (Access::Scope(needed), Some(scopes)) if !scopes.contains(&needed) => {
                Err(Error::WrongScope { name: self.name.clone(), needed })
            }
            _ => Ok(()),
        }
    }
}

/// Refuses requests for other names: a page on a foreign name that resolves to us is no friend.
pub(crate) fn host(head: &Parts, allowed: &AllowedHosts) -> Result<(), Error> {
    let named = only(head, HOST).ok_or(Error::NoHost)?;
    let in_target = head.uri.authority().map(|authority| authority.as_str());
    match [Some(named), in_target].into_iter().flatten().find(|name| !allowed.admits(name)) {
        Some(foreign) => Err(Error::ForeignHost { host: foreign.chars().take(SHOWN_CHARS_MAX).collect() }),
        None => Ok(()),
    }
}

/// Finds out who calls.
pub(crate) fn caller(head: &Parts, tokens: &[Token]) -> Result<Caller, Error> {
    if tokens.is_empty() {
        return Ok(Caller::anonymous());
    }
    let credentials = only(head, AUTHORIZATION).ok_or(Error::NoToken)?;
    let (scheme, offered) = credentials.split_once(' ').ok_or(Error::NoToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::NoToken);
    }
    let (place, token) = Token::find(tokens, offered.trim()).ok_or(Error::WrongToken)?;
    Ok(Caller { name: token.name.clone(), token: Some(place), scopes: Some(token.scopes.clone()) })
}

/// A browser sends this type across origins only after asking, and we never say yes.
pub(crate) fn content_type(head: &Parts) -> Result<(), Error> {
    let media_type = only(head, CONTENT_TYPE).and_then(|text| text.split(';').next()).map(str::trim);
    match media_type {
        Some(media_type) if media_type.eq_ignore_ascii_case("application/json") => Ok(()),
        _ => Err(Error::ContentType),
    }
}

/// The header's value if there is exactly one.
pub(crate) fn only(head: &Parts, name: HeaderName) -> Option<&str> {
    let mut values = head.headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
