//! Everything in a running process that a new configuration replaces. First all is prepared that may fail, then all is
//! swapped: there is no half of a configuration. Reads no file; each part says itself what becomes of what is in hand.

use std::sync::Arc;

use console::{Console, KnownMerchants, Token};
use http_server::TlsConfig;
use ingress::Ingress;
use paybell_core::ports::{CheckQueue, DeadLetters};
use tokio_util::sync::CancellationToken;
use worker::{Asker, Policies};

use crate::{
    boot::{
        merchants::LiveMerchants,
        proxy, revival,
        tasks::Tasks,
        views::{accounts, ingress_merchants, policies_by_number, tokens},
    },
    config::Config,
    error::Error,
    keys::KeyCounts,
};

/// What the roles of this process hold, as far as they run here.
pub struct Targets {
    pub ingress: Option<Arc<Ingress>>,
    pub ingress_tls: Option<TlsConfig>,
    pub proxy: Option<Arc<::proxy::Proxy>>,
    pub proxy_tls: Option<TlsConfig>,
    pub worker: Option<Worker>,
    pub console: Option<Console>,
    /// To the private API and to registrations by message.
    pub known: KnownMerchants,
    /// To deliveries and gauges.
    pub merchants: LiveMerchants,
    pub keys: KeyCounts,
}

/// What the worker role looks up.
pub struct Worker {
    pub asker: Arc<Asker>,
    pub policies: Arc<Policies>,
    pub dead: Arc<dyn DeadLetters>,
    pub queue: Arc<dyn CheckQueue>,
}

/// A configuration of which nothing more can fail.
pub struct Prepared {
    ingress: ingress::Merchants,
    proxy: Vec<::proxy::Merchant>,
    tokens: Vec<Token>,
}

impl Targets {
    /// Everything that reads files or may refuse; blocks.
    pub fn prepare(config: &Config) -> Result<Prepared, Error> {
        Ok(Prepared {
            ingress: ingress_merchants(config)?,
            proxy: proxy::merchants(&config.merchants)?,
            tokens: tokens(config)?,
        })
    }

    /// Swaps. What asks comes before what lets in, so that nothing is let in that nobody could ask about.
    pub fn adopt(&self, config: &Config, prepared: Prepared) -> Result<(), Error> {
        if let Some(proxy) = &self.proxy {
            // Refuses as a whole, and then nothing has been changed yet.
            proxy.replace_merchants(prepared.proxy).map_err(|error| Error::Usage(error.to_string()))?;
        }
        self.keys.know(config.merchants.iter().map(|merchant| merchant.mch_id.as_str()));
        self.merchants.store(Arc::new(config.merchants.clone()));
        self.known.replace(config.merchants.iter().map(|merchant| merchant.mch_id.clone()));
        if let Some(worker) = &self.worker {
            worker.policies.replace(policies_by_number(config));
            worker.asker.replace_accounts(accounts(config));
        }
        if let Some(console) = &self.console {
            console.replace_tokens(prepared.tokens);
        }
        present(self.ingress_tls.as_ref(), config.ingress.tls.as_ref());
        present(self.proxy_tls.as_ref(), config.proxy.as_ref().and_then(|proxy| proxy.tls.as_ref()));
        if let Some(ingress) = &self.ingress {
            ingress.replace_merchants(prepared.ingress);
        }
        Ok(())
    }
}

/// A listener keeps its kind until a restart: what it presents is all that changes.
fn present(listener: Option<&TlsConfig>, certificate: Option<&TlsConfig>) {
    if let (Some(listener), Some(certificate)) = (listener, certificate) {
        listener.adopt(certificate);
    }
}
