//! The signature of API v2: sorted `name=value` pairs, the key behind them, MD5 or HMAC-SHA256, upper-case hex.
//!
//! Signs what is given and verifies what was received, field by field of the document and never from a struct, so
//! that fields nobody knows yet take part. Chooses an algorithm, never a merchant: whose key applies is the caller's
//! business. A verified document goes on to [`crate::notification`] or [`crate::query`].

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::xml::Document;

const KEY_LENGTH: usize = 32;
const MD5_SIGN_LENGTH: usize = 32;
const HMAC_SIGN_LENGTH: usize = 64;

/// How a document is signed; `sign_type` on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Algorithm {
    Md5,
    HmacSha256,
}

impl Algorithm {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::HmacSha256 => "HMAC-SHA256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Exact, as WeChat writes it: `md5` is no algorithm.
impl FromStr for Algorithm {
    type Err = SignError;

    fn from_str(text: &str) -> Result<Self, SignError> {
        match text {
            "MD5" => Ok(Self::Md5),
            "HMAC-SHA256" => Ok(Self::HmacSha256),
            _ => Err(SignError::UnsupportedType),
        }
    }
}

/// A merchant's API key (API密钥, the v2 key): shown nowhere, wiped when dropped.
#[derive(Clone)]
pub struct ApiKey(Zeroizing<[u8; KEY_LENGTH]>);

impl ApiKey {
    /// Takes exactly 32 visible ASCII characters, as the merchant platform demands.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::Characters);
        }
        match text.as_bytes().try_into() {
            Ok(bytes) => Ok(Self(Zeroizing::new(bytes))),
            Err(_) => Err(KeyError::Length(text.len())),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(***)")
    }
}

/// In constant time.
impl PartialEq for ApiKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl Eq for ApiKey {}

/// Why a text is no API key. Says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("an API key has {KEY_LENGTH} characters, this text has {0}")]
    Length(usize),
    #[error("an API key has only visible ASCII characters: no blanks, line ends or other letters")]
    Characters,
}

/// Why a document is not taken for authentic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("the document carries no sign")]
    Missing,
    #[error("the sign does not fit the document, the key or the expected algorithm")]
    Mismatch,
    #[error("the sign_type is neither MD5 nor HMAC-SHA256")]
    UnsupportedType,
}

impl SignError {
    /// A stable word for counters and logs.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing_sign",
            Self::Mismatch => "bad_signature",
            Self::UnsupportedType => "unsupported_sign_type",
        }
    }
}

/// Which algorithms a receiver accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcceptedAlgorithm {
    /// The one its orders are placed with; a `sign_type` in the document must say the same.
    Only(Algorithm),
    /// What the document says, else what the sign's length tells.
    Any,
}

/// Decides by which algorithm a document is to be verified.
///
/// Notifications of orders placed with HMAC-SHA256 come without `sign_type`, and some MD5 ones come with it.
pub fn choose(document: &Document<'_>, accepted: AcceptedAlgorithm) -> Result<Algorithm, SignError> {
    let declared = match document.get("sign_type") {
        None | Some("") => None,
        Some(text) => Some(text.parse::<Algorithm>()?),
    };
    match (accepted, declared) {
        (AcceptedAlgorithm::Only(algorithm), Some(declared)) if algorithm != declared => {
            Err(SignError::Mismatch)
        }
        (AcceptedAlgorithm::Only(algorithm), _) => Ok(algorithm),
        (AcceptedAlgorithm::Any, Some(declared)) => Ok(declared),
        (AcceptedAlgorithm::Any, None) => by_length(document.get("sign").unwrap_or_default()),
    }
}

/// Verifies a document's `sign` in constant time, exactly as it was sent: capitals, no blanks.
pub fn verify(document: &Document<'_>, key: &ApiKey, algorithm: Algorithm) -> Result<(), SignError> {
    verify_any(document, &[key], algorithm).map(|_| ())
}

/// Verifies by the first key that fits and tells its place in `keys`. The document is put in order only once.
pub fn verify_any(
    document: &Document<'_>,
    keys: &[&ApiKey],
    algorithm: Algorithm,
) -> Result<usize, SignError> {
    let sign = document.get("sign").filter(|sign| !sign.is_empty()).ok_or(SignError::Missing)?;
    let text = canonical(document.iter());
    keys.iter()
        .position(|key| Sign::of(&text, key, algorithm).as_bytes().ct_eq(sign.as_bytes()).into())
        .ok_or(SignError::Mismatch)
}

/// The `sign` of the given fields. Leaves out `sign` and empty values, and sorts, itself.
#[must_use]
pub fn sign<'a>(
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    key: &ApiKey,
    algorithm: Algorithm,
) -> String {
    Sign::of(&canonical(fields), key, algorithm).as_str().to_owned()
}

/// The signed text without its last part, `&key=` and the key: for people who look for a difference.
#[must_use]
pub fn canonical<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let fields = fields.into_iter();
    let mut signed = Vec::with_capacity(fields.size_hint().1.unwrap_or(0).min(crate::xml::FIELDS_MAX));
    signed.extend(fields.filter(|(name, value)| *name != "sign" && !value.is_empty()));
    signed.sort_unstable();
    let length = signed.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    let mut text = String::with_capacity(length);
    for (name, value) in signed {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(name);
        text.push('=');
        text.push_str(value);
    }
    text
}

fn by_length(sign: &str) -> Result<Algorithm, SignError> {
    match sign.len() {
        0 => Err(SignError::Missing),
        MD5_SIGN_LENGTH => Ok(Algorithm::Md5),
        HMAC_SIGN_LENGTH => Ok(Algorithm::HmacSha256),
        _ => Err(SignError::Mismatch),
    }
}

/// Upper-case hex without an allocation.
struct Sign {
    hex: [u8; HMAC_SIGN_LENGTH],
    length: usize,
}

impl Sign {
    /// The key is fed behind the text, so that no copy of it lies about in a string.
    fn of(canonical: &str, key: &ApiKey, algorithm: Algorithm) -> Self {
        let mark: &[u8] = if canonical.is_empty() { b"key=" } else { b"&key=" };
        match algorithm {
            Algorithm::Md5 => {
                let mut hash = Md5::new();
                hash.update(canonical.as_bytes());
                hash.update(mark);
                hash.update(key.as_bytes());
                Self::from_digest(&hash.finalize())
            }
            Algorithm::HmacSha256 => {
                let mut hash =
                    Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
                hash.update(canonical.as_bytes());
                hash.update(mark);
                hash.update(key.as_bytes());
                Self::from_digest(&hash.finalize().into_bytes())
            }
        }
    }

    fn from_digest(digest: &[u8]) -> Self {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 };
        let mut hex = [b'0'; HMAC_SIGN_LENGTH];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Self { hex, length: digest.len() * 2 }
    }

    fn as_bytes(&self) -> &[u8] {
        self.hex.get(..self.length).expect("a digest has at most 32 bytes")
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("hex is ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::write;

    const KEY: &str = "192006250b4c09247ec02edce69f6a2d";
    const FIELDS: [(&str, &str); 5] = [
        ("appid", "wxd930ea5d5a258f4f"),
        ("mch_id", "10000100"),
        ("device_info", "1000"),
        ("body", "test"),
        ("nonce_str", "ibuaiVcKdpRxkhJA"),
    ];
    const MD5_SIGN: &str = "9A0A8659F005D6984697E2CA0A9CF3B7";
    const HMAC_SIGN: &str = "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6";

    fn key() -> ApiKey {
        ApiKey::new(KEY).unwrap()
    }

    fn judged(extra: &[(&str, &str)], accepted: AcceptedAlgorithm) -> Result<Algorithm, SignError> {
        let body = write(FIELDS.iter().chain(extra).copied());
        let document = Document::parse(body.as_bytes()).unwrap();
        let algorithm = choose(&document, accepted)?;
        verify(&document, &key(), algorithm).map(|()| algorithm)
    }

    #[test]
    fn the_published_example() {
        assert_eq!(sign(FIELDS, &key(), Algorithm::Md5), MD5_SIGN);
        assert_eq!(sign(FIELDS, &key(), Algorithm::HmacSha256), HMAC_SIGN);
    }

    #[test]
    fn the_algorithm_follows_what_is_accepted_then_the_document_then_the_length() {
        use AcceptedAlgorithm::{Any, Only};
        use Algorithm::{HmacSha256, Md5};
        assert_eq!(judged(&[("sign", MD5_SIGN)], Any), Ok(Md5));
        assert_eq!(judged(&[("sign", HMAC_SIGN)], Any), Ok(HmacSha256));
        assert_eq!(judged(&[("sign", HMAC_SIGN)], Only(HmacSha256)), Ok(HmacSha256));
        assert_eq!(judged(&[("sign", MD5_SIGN)], Only(HmacSha256)), Err(SignError::Mismatch));
        assert_eq!(judged(&[("sign", HMAC_SIGN)], Only(Md5)), Err(SignError::Mismatch));
        assert_eq!(judged(&[("sign", MD5_SIGN), ("sign_type", "")], Any), Ok(Md5));
        assert_eq!(judged(&[("sign", MD5_SIGN), ("sign_type", "RSA")], Any), Err(SignError::UnsupportedType));
        assert_eq!(
            judged(&[("sign", MD5_SIGN), ("sign_type", "md5")], Only(Md5)),
            Err(SignError::UnsupportedType)
        );
        assert_eq!(judged(&[("sign", &MD5_SIGN[1..])], Any), Err(SignError::Mismatch));
        assert_eq!(judged(&[("sign", "")], Any), Err(SignError::Missing));
        assert_eq!(judged(&[], Only(Md5)), Err(SignError::Missing));

        let typed = sign(FIELDS.into_iter().chain([("sign_type", "HMAC-SHA256")]), &key(), HmacSha256);
        let extra = [("sign", typed.as_str()), ("sign_type", "HMAC-SHA256")];
        assert_eq!(judged(&extra, Any), Ok(HmacSha256));
        assert_eq!(judged(&extra, Only(Md5)), Err(SignError::Mismatch));

        let liar = sign(FIELDS.into_iter().chain([("sign_type", "HMAC-SHA256")]), &key(), Md5);
        let extra = [("sign", liar.as_str()), ("sign_type", "HMAC-SHA256")];
        assert_eq!(judged(&extra, Only(Md5)), Err(SignError::Mismatch), "it says what is not accepted");
    }

    #[test]
    fn the_key_that_fits_is_told() {
        let other = ApiKey::new("00000000000000000000000000000000").unwrap();
        let body = write(FIELDS.into_iter().chain([("sign", MD5_SIGN)]));
        let document = Document::parse(body.as_bytes()).unwrap();
        assert_eq!(verify_any(&document, &[&other, &key()], Algorithm::Md5), Ok(1));
        assert_eq!(verify_any(&document, &[&other], Algorithm::Md5), Err(SignError::Mismatch));
        assert_eq!(verify_any(&document, &[], Algorithm::Md5), Err(SignError::Mismatch));
    }

    #[test]
    fn a_key_is_32_visible_characters_and_never_shown() {
        assert_eq!(format!("{:?}", key()), "ApiKey(***)");
        assert_eq!(ApiKey::new("").unwrap_err(), KeyError::Length(0));
        assert_eq!(ApiKey::new(&KEY[1..]).unwrap_err(), KeyError::Length(31));
        assert_eq!(ApiKey::new(&format!("{}\n", &KEY[1..])).unwrap_err(), KeyError::Characters);
        assert!(!ApiKey::new(&KEY.replace('1', "中")).unwrap_err().to_string().contains("92006250"));
    }
}
