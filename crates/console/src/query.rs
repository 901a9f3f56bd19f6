//! Query parameters, read strictly: an unknown or repeated one is refused, because a misspelt filter that is
//! ignored shows the wrong orders.

use std::time::Duration;

use paybell_core::MchId;
use paybell_core::ids::IdError;
use paybell_core::ports::PAGE_ROWS_MAX;
use percent_encoding::percent_decode_str;

use crate::error::Error;

/// Rows per page where the caller does not say.
const ROWS_DEFAULT: usize = 100;

/// Parameters that were checked against what a route knows.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of a request whose route knows the parameters `known`.
    pub(crate) fn read(raw: Option<&str>, known: &[&str]) -> Result<Self, Error> {
        let pairs = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let mut read: Vec<(String, String)> = Vec::new();
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Error::field(name, format!("no such query parameter here; known: {known}")));
            }
            if read.iter().any(|(earlier, _)| *earlier == name) {
                return Err(Error::field(name, "given more than once"));
            }
            read.push((name, value));
        }
        Ok(Self(read))
    }

    /// A parameter that is present. An empty place is none, so that a walk can begin like it goes on; an empty filter is
    /// somebody's empty variable, and would show more than was asked for: its reader refuses it.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty() || name != "after")
    }

    /// Rows per page.
    pub(crate) fn limit(&self) -> Result<usize, Error> {
        let Some(text) = self.get("limit") else { return Ok(ROWS_DEFAULT) };
        let limit = text.parse().ok().filter(|limit| (1..=PAGE_ROWS_MAX).contains(limit));
        limit
            .ok_or_else(|| Error::field("limit", format!("must be a whole number from 1 to {PAGE_ROWS_MAX}")))
    }

    /// A merchant to filter by.
    pub(crate) fn mch_id(&self) -> Result<Option<MchId>, Error> {
        self.get("mch_id")
            .map(|text| MchId::new(text).map_err(|error| id_error("mch_id", &error)))
            .transpose()
    }

    /// How long to wait: `500ms` or `5s`, up to `wait_max`.
    pub(crate) fn wait(&self, wait_max: Duration) -> Result<Option<Duration>, Error> {
        let Some(text) = self.get("wait") else { return Ok(None) };
        let wait = duration(text).filter(|wait| *wait <= wait_max).ok_or_else(|| {
            Error::field("wait", format!("must be like 500ms or 5s, {} s at most", wait_max.as_secs()))
        })?;
        Ok(Some(wait))
    }
}

/// An identifier's rule as the problem of a field.
pub(crate) fn id_error(field: &str, error: &IdError) -> Error {
    let text = error.to_string();
    Error::field(field, text.strip_prefix(field).unwrap_or(&text).trim_start())
}

fn decode(text: &str) -> Result<String, Error> {
    let spaced = text.replace('+', " ");
    match percent_decode_str(&spaced).decode_utf8() {
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(Error::field("query", "is not UTF-8")),
    }
}

fn duration(text: &str) -> Option<Duration> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let number: u32 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number.into())),
        "s" => Some(Duration::from_secs(number.into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        for bad in ["5", "s", "-1s", "1.5s", "5m", "5 s", ""] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn parameters_are_decoded_and_unknown_ones_are_named() {
        let query = Query::read(Some("state=pa%69d&&after="), &["state", "after"]).unwrap();
        assert_eq!((query.get("state"), query.get("after")), (Some("paid"), None));
        let text = |raw| Query::read(Some(raw), &["state"]).err().unwrap().to_string();
        let empty = Query::read(Some("limit=&mch_id=&wait"), &["limit", "mch_id", "wait"]).unwrap();
        assert!(empty.limit().is_err() && empty.mch_id().is_err() && empty.wait(Duration::MAX).is_err());
        assert!(text("stat=paid").starts_with("stat: ") && text("stat=paid").contains("known: state"));
        assert!(text("state=paid&state=closed").contains("more than once"));
    }
}
