//! Registrations that come by message instead of by `PUT`: nobody waits for the answer, so what cannot be taken becomes
//! a dead letter that says why and can be replayed. Knows neither queues nor brokers: whoever receives hands the body in
//! and acknowledges after this returned.

use std::sync::Arc;

use paybell_core::ports::{DeadLetters, Ledger, PortError, Registry};
use paybell_core::register::Registered;
use paybell_core::{DeadLetter, OrderKey};

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
        match register(self.registry.as_ref(), &self.mch_ids, body).await? {
            Ok(word) => Ok(word),
            Err((key, cause)) => {
                let document: String =
                    String::from_utf8_lossy(body).chars().take(DOCUMENT_CHARS_MAX).collect();
                let now = self.ledger.clock().await?.now;
                self.dead.bury(&DeadLetter::registration(key.as_ref(), document, cause, now)).await?;
                Ok("refused")
            }
        }
    }
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
