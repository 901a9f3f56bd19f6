//! Secrets of webhooks and the signature made with them: [Standard Webhooks](https://www.standardwebhooks.com),
//! symmetric, `v1`.
//!
//! Signs text that is given and shows no secret. The headers go to [`crate::courier`].

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What the text of a secret begins with.
pub const PREFIX: &str = "whsec_";

/// Fewest and most bytes of a secret, as the specification recommends.
pub const SECRET_BYTES_MIN: usize = 24;
/// See [`SECRET_BYTES_MIN`].
pub const SECRET_BYTES_MAX: usize = 64;

/// One secret of a webhook: shown nowhere, wiped when dropped.
#[derive(Clone)]
pub struct WebhookSecret(Zeroizing<Vec<u8>>);

/// The secrets of one webhook, the newest first. Clones share them, so that [`WebhookSecrets::adopt`] on one changes what
/// all of them sign with.
#[derive(Debug, Clone)]
pub struct WebhookSecrets(Arc<ArcSwap<Vec<WebhookSecret>>>);

impl WebhookSecrets {
    /// As many as there are just now.
    pub fn count(&self) -> usize {
        self.0.load().len()
    }

    /// Signs with the secrets of `other` from the next attempt on.
    pub fn adopt(&self, other: &WebhookSecrets) {
        self.0.store(other.0.load_full());
    }

    pub(crate) fn now(&self) -> Arc<Vec<WebhookSecret>> {
        self.0.load_full()
    }
}

impl From<Vec<WebhookSecret>> for WebhookSecrets {
    fn from(secrets: Vec<WebhookSecret>) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(secrets)))
    }
}

/// Why a text is no secret. Says nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("a webhook secret is {PREFIX} followed by base64")]
    Form,
    #[error("a webhook secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, this one has {0}")]
    Length(usize),
}

impl WebhookSecret {
    /// Reads `whsec_` and base64. The prefix may be left out, as some tools do.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).unwrap_or(text);
        let bytes = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| SecretError::Form)?);
        if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(SecretError::Length(bytes.len()))
        }
    }

    fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body.as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookSecret(***)")
    }
}

/// The value of `webhook-signature`: one signature per secret, so that a receiver may know either during a rotation.
pub fn signatures(secrets: &[WebhookSecret], id: &str, timestamp: i64, body: &str) -> String {
    secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn the_published_example() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = "{\"test\": 2432232314}";
        let signed = signatures(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let shown = format!("{:?}", WebhookSecret::parse(text).unwrap());
        assert_eq!(shown, "WebhookSecret(***)");
        assert_eq!(WebhookSecret::parse("whsec_***").unwrap_err(), SecretError::Form);
        assert_eq!(WebhookSecret::parse("whsec_AAAA").unwrap_err(), SecretError::Length(3));
    }
}
