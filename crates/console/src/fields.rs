//! A JSON body, read strictly: one object, no key twice, no key that we do not know. A misspelt key that is ignored
//! would register something else than the caller meant.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use crate::error::Error;

/// Characters of a key that an answer repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// The fields of a body.
#[derive(Debug)]
pub(crate) struct Fields(Vec<(String, Value)>);

impl Fields {
    /// One object with keys out of `known`.
    pub(crate) fn read(body: &[u8], known: &[&str]) -> Result<Self, Error> {
        let fields: Fields =
            serde_json::from_slice(body).map_err(|error| Error::NotJson(error.to_string()))?;
        match fields.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((unknown, _)) => Err(unknown_key(unknown, known)),
            None => Ok(fields),
        }
    }

    /// The same, where no body at all is as good as `{}`.
    pub(crate) fn read_optional(body: &[u8], known: &[&str]) -> Result<Self, Error> {
        if body.is_empty() { Ok(Self(Vec::new())) } else { Self::read(body, known) }
    }

    /// A value that is present and not null.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        let pair = self.0.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// A text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| Error::field(name, "must be a text in quotes"))
    }

    /// True or false.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| Error::field(name, "must be true or false, without quotes"))
    }

    /// An object with keys out of `known`.
    pub(crate) fn object(&self, name: &str, known: &[&str]) -> Result<Option<Fields>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let Some(object) = value.as_object() else { return Err(Error::field(name, "must be an object")) };
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            Some(unknown) => Err(Error::field(name, unknown_key(unknown, known).to_string())),
            None => {
                Ok(Some(Self(object.iter().map(|(name, value)| (name.clone(), value.clone())).collect())))
            }
        }
    }
}

fn unknown_key(key: &str, known: &[&str]) -> Error {
    let shown: String = key.chars().take(SHOWN_CHARS_MAX).collect();
    let nearest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&shown.to_lowercase(), name), name))
        .min()
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(2));
    let remedy = match nearest {
        Some((_, name)) => format!("did you mean \"{name}\"?"),
        None if known.is_empty() => "this body takes no fields".to_owned(),
        None => format!("known: {}", known.join(", ")),
    };
    Error::field(shown, format!("unknown key; {remedy}"))
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields: Vec<(String, Value)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if fields.iter().any(|(earlier, _)| *earlier == name) {
                return Err(A::Error::custom("a key stands twice"));
            }
            fields.push((name, value));
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        Fields::read(body.as_bytes(), &["total_fee", "fee_type"]).unwrap_err().to_string()
    }

    #[test]
    fn unknown_keys_are_answered_with_the_nearest_known_one() {
        assert!(refusal(r#"{"totalfee":1}"#).contains("did you mean \"total_fee\""));
        assert!(refusal(r#"{"amount":1}"#).contains("known: total_fee, fee_type"));
    }

    #[test]
    fn only_one_object_without_repeated_keys_is_read() {
        for bad in ["", "[]", "1", "{", r#"{"total_fee":1,"total_fee":2}"#, r#"{"total_fee":1} x"#] {
            assert!(refusal(bad).contains("no JSON object"), "{bad}");
        }
        assert!(Fields::read_optional(b"", &[]).unwrap().0.is_empty());
        assert!(Fields::read_optional(b" ", &[]).is_err());
    }
}
