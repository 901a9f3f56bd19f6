//! Everything in a running process that a new configuration replaces. First all is prepared that may fail, then all is
//! swapped: there is no half of a configuration. Reads no file; each part says itself what becomes of what is in hand.

use std::sync::Arc;

use ::cashier::Desk;
use console::{Console, KnownMerchants, Token};
use delivery::{Endpoint, Kind, WebhookSecrets};
use http_server::TlsConfig;
use ingress::Ingress;
use tokio::sync::Notify;
use worker::{Account, Asker, Policies};

use crate::{
    boot::{
        cashier,
        merchants::LiveMerchants,
        proxy,
        views::{accounts, ingress_merchants, mch_ids, notified_of_refunds, policies, tokens},
    },
    config::{Config, ListenAddress},
    error::Error,
    keys::KeyCounts,
};

/// What the roles of this process hold, as far as they run here.
pub struct Targets {
    /// As the process began: what only a restart changes is taken from here.
    began: Config,
    ingress: Option<Arc<Ingress>>,
    proxy: Option<Arc<::proxy::Proxy>>,
    /// What a listener and the configuration that it was bound with share.
    certificates: Vec<(TlsConfig, CertificateOf)>,
    /// Calls WeChat, for whoever does in this process.
    pub asker: Option<Arc<Asker>>,
    pub worker: Option<Worker>,
    pub cashier: Option<Arc<Desk>>,
    /// Where WeChat reaches the ingress, since the start.
    pub notify_base: Option<String>,
    pub console: Option<Console>,
    /// For the private API and for registrations by message.
    pub known: KnownMerchants,
    /// For deliveries and gauges.
    merchants: LiveMerchants,
    pub keys: KeyCounts,
}

/// Where a listener's certificate is in a configuration.
type CertificateOf = fn(&Config) -> Option<&TlsConfig>;

/// What the worker role looks up.
pub struct Worker {
    pub policies: Arc<Policies>,
    /// Told when merchants may have come.
    pub news: Arc<Notify>,
}

/// What can be made of a configuration without touching the process.
pub struct Prepared {
    ingress: ingress::Merchants,
    proxy: Vec<::proxy::Merchant>,
    accounts: Vec<Account>,
    tokens: Vec<Token>,
}

impl Prepared {
    /// Everything that reads files or may refuse; blocks.
    pub fn of(config: &Config) -> Result<Self, Error> {
        Ok(Self {
            ingress: ingress_merchants(config)?,
            proxy: proxy::merchants(&config.merchants)?,
            accounts: accounts(config)?,
            tokens: tokens(config)?,
        })
    }
}

impl Targets {
    /// Of a process that runs no role yet.
    pub fn new(config: &Config, merchants: LiveMerchants, keys: KeyCounts) -> Self {
        Self {
            began: config.clone(),
            ingress: None,
            proxy: None,
            certificates: Vec::new(),
            asker: None,
            worker: None,
            cashier: None,
            notify_base: None,
            console: None,
            known: config.merchants.iter().map(|merchant| merchant.mch_id.clone()).collect(),
            merchants,
            keys,
        }
    }

    pub fn serve_ingress(&mut self, ingress: &Arc<Ingress>) {
        self.ingress = Some(ingress.clone());
        self.present(|config| config.ingress.tls.as_ref());
    }

    pub fn serve_proxy(&mut self, proxy: &Arc<::proxy::Proxy>) {
        self.proxy = Some(proxy.clone());
        self.present(|config| config.proxy.as_ref()?.tls.as_ref());
    }

    /// A listener that was bound with a certificate.
    fn present(&mut self, of: CertificateOf) {
        self.certificates.extend(of(&self.began).cloned().map(|tls| (tls, of)));
    }

    /// Swaps. What asks comes before what lets in, so that nothing is let in that nobody could ask about. Refuses as a
    /// whole, before anything is changed.
    pub fn adopt(&self, config: &Config, prepared: Prepared) -> Result<(), Error> {
        if self.console.is_some() {
            refuse_to_open(&self.began.console.listen, &prepared.tokens)?;
        }
        if let Some(proxy) = &self.proxy {
            proxy.replace_merchants(prepared.proxy).map_err(|error| Error::Usage(error.to_string()))?;
        }
        self.keys.know(mch_ids(config));
        self.merchants.store(Arc::new(config.merchants.clone()));
        self.known.replace(config.merchants.iter().map(|merchant| merchant.mch_id.clone()));
        if let Some(asker) = &self.asker {
            let public_url = self.began.ingress.public_url.as_deref();
            asker.replace_accounts(notified_of_refunds(prepared.accounts, public_url));
        }
        if let Some(cashier) = &self.cashier {
            cashier.replace(cashier::settings(&config.merchants, self.notify_base.as_deref()));
        }
        if let Some(worker) = &self.worker {
            let in_effect = Config { merchants: config.merchants.clone(), ..self.began.clone() };
            worker.policies.replace(policies(&in_effect));
            worker.news.notify_one();
        }
        if let Some(console) = &self.console {
            console.replace_tokens(prepared.tokens);
        }
        for (began, endpoint) in webhooks(&self.began, config) {
            began.adopt(endpoint);
        }
        for (presented, of) in &self.certificates {
            // A listener that is to lose its certificate keeps it until the restart that this needs.
            of(config).into_iter().for_each(|certificate| presented.adopt(certificate));
        }
        if let Some(ingress) = &self.ingress {
            ingress.replace_merchants(prepared.ingress);
        }
        Ok(())
    }
}

/// A configuration without tokens is sound for an API on loopback, but the listener stays where it was bound: without the
/// last token everybody who reaches it could call.
fn refuse_to_open(bound: &ListenAddress, tokens: &[Token]) -> Result<(), Error> {
    if tokens.is_empty() && !bound.is_loopback() {
        return Err(Error::Usage(format!(
            "[console]: no token is left, and until its restart this process serves the private API on {}, which is not \
             loopback: leave a token, or restart",
            bound.as_str()
        )));
    }
    Ok(())
}

/// The secrets of the webhooks that both name: what is running signs with those that `began` holds.
fn webhooks<'c>(
    began: &'c Config,
    config: &'c Config,
) -> impl Iterator<Item = (&'c WebhookSecrets, &'c WebhookSecrets)> {
    let secrets = |endpoint: &'c Endpoint| match &endpoint.kind {
        Kind::Webhook(secrets) => Some((&endpoint.name, secrets)),
        Kind::Legacy(_) => None,
    };
    let named = config.endpoints.iter().filter_map(secrets);
    let of_name = move |name| named.clone().find(|(other, _)| *other == name);
    began
        .endpoints
        .iter()
        .filter_map(secrets)
        .filter_map(move |(name, running)| Some((running, of_name(name)?.1)))
}

#[cfg(test)]
mod tests {
    use console::{Rate, Secret};

    use super::*;

    #[test]
    fn an_api_that_others_reach_keeps_its_last_token_until_the_restart() {
        let [open, loopback] =
            ["0.0.0.0:8081", "127.0.0.1:8081"].map(|text| ListenAddress::parse(text).unwrap());
        let secret = Secret::new("a-token").unwrap();
        let name = "shop".to_owned();
        let token = Token { name, secret, scopes: Vec::new(), rate: Rate::DEFAULT, streams_max: 1 };
        let refusal = refuse_to_open(&open, &[]).unwrap_err().to_string();
        assert!(refusal.contains("0.0.0.0:8081"), "{refusal}");
        assert!(refuse_to_open(&open, std::slice::from_ref(&token)).is_ok());
        assert!(refuse_to_open(&loopback, &[]).is_ok());
    }
}
