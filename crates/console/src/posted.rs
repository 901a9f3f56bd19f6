//! Registrations that come by message instead of by `PUT`: nobody waits for the answer, so what cannot be taken becomes
//! a dead letter that says why and can be replayed. Knows neither queues nor brokers: whoever receives hands the body in
//! and acknowledges after this returned.

use std::sync::Arc;

use paybell_core::ports::{DeadLetters, Ledger, PortError, Registry};
use paybell_core::register::Registered;
use paybell_core::{DeadLetter, OrderKey};
use serde_json::Value;

use crate::error::Error;
use crate::known::KnownMerchants;
use crate::registration;

/// Characters of a document that its dead letter keeps: a registration has a few hundred.
const DOCUMENT_CHARS_MAX: usize = 8_192;

/// Takes posted registrations in.
pub struct Posted {
    pub registry: Arc<dyn Registry>,
    pub dead: Arc<dyn DeadLetters>,
    pub ledger: Arc<dyn Ledger>,
    pub mch_ids: KnownMerchants,
}

impl Posted {
    /// Registers the order of a body, or buries it with the reason; either is stored when this returns `Ok` with a
    /// word for the count.
    pub async fn take_in(&self, body: &[u8]) -> Result<&'static str, PortError> {
        let (key, cause) = match register(self.registry.as_ref(), &self.mch_ids, body).await {
            Ok(Ok(word)) => return Ok(word),
            Ok(Err(refused)) => refused,
            // It would come again for ever, and nobody hears of it.
            Err(error @ PortError::Corrupt { .. }) => {
                (registration::read_posted(body).ok().map(|(key, _)| key), error.to_string())
            }
            Err(error) => return Err(error),
        };
        let document = document(body);
        let now = self.ledger.clock().await?.now;
        self.dead.bury(&DeadLetter::registration(key.as_ref(), document, cause, now)).await?;
        Ok("refused")
    }
}

/// What the letter keeps. A document that is none of a registration may name its payer, whom nobody is to read here.
fn document(body: &[u8]) -> String {
    let names_a_payer = |text: &str| text.to_ascii_lowercase().contains("openid");
    let text = String::from_utf8_lossy(body);
    let kept = match serde_json::from_slice(body) {
        Ok(Value::Object(mut fields)) => {
            let of_payer = |(name, value): &(&String, &mut Value)| names_a_payer(&format!("{name}{value}"));
            let mut masked = 0;
            fields.iter_mut().filter(of_payer).for_each(|(_, value)| {
                *value = Value::from("***");
                masked += 1;
            });
            if masked == 0 { text.into_owned() } else { Value::Object(fields).to_string() }
        }
        Ok(other) if names_a_payer(&other.to_string()) => withheld(body),
        Err(_) if names_a_payer(&text) => withheld(body),
        Ok(_) | Err(_) => text.into_owned(),
    };
    kept.chars().take(DOCUMENT_CHARS_MAX).collect()
}

fn withheld(body: &[u8]) -> String {
    format!("({} bytes that name a payer: not kept)", body.len())
}

/// One posted registration; what is wrong with it in words, and its order if it names one.
pub(crate) async fn register(
    registry: &dyn Registry,
    mch_ids: &KnownMerchants,
    body: &[u8],
) -> Result<Result<&'static str, (Option<OrderKey>, String)>, PortError> {
    let (key, application) = match registration::read_posted(body) {
        Ok(read) => read,
        Err((key, error)) => return Ok(Err((key, error.to_string()))),
    };
    if !mch_ids.contains(&key.mch_id) {
        let cause = format!("merchant {} is not in the configuration", key.mch_id);
        return Ok(Err((Some(key), cause)));
    }
    let error = match registry.register(&key, &application).await? {
        Registered::Added => return Ok(Ok("added")),
        Registered::Same => return Ok(Ok("same")),
        Registered::Different(fields) => Error::Different { fields },
        Registered::Ahead => Error::Ahead,
    };
    Ok(Err((Some(key), error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i10_a_letter_keeps_no_payer() {
        const PAYER: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";
        let kept = |body: String| document(body.as_bytes());
        assert_eq!(kept("{\"total_fee\":1}".to_owned()), "{\"total_fee\":1}");
        assert_eq!(kept("no json".to_owned()), "no json");
        assert_eq!(
            kept(format!("{{\"mch_id\":\"1\",\"openid\":\"{PAYER}\"}}")),
            "{\"mch_id\":\"1\",\"openid\":\"***\"}"
        );
        for body in [
            format!("{{\"sub_openid\":\"{PAYER}\"}}"),
            format!("{{\"payer\":{{\"openid\":\"{PAYER}\"}}}}"),
            format!("[{{\"openid\":\"{PAYER}\"}}]"),
            format!("<xml><openid>{PAYER}</openid></xml>"),
            format!("{{\"openid\":\"{PAYER}\","),
            format!("{{\"open\\u0069d\":\"{PAYER}\"}}"),
        ] {
            let kept = kept(body.clone());
            assert!(!kept.contains(PAYER), "{body}: {kept}");
        }
    }
}
