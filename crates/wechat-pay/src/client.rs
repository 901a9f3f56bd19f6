//! Calls WeChat for merchants, within each one's rate, over hosts that may be away.
//!
//! Returns verified answers or says why there is none; never repeats what is not repeatable, keeps no orders and
//! decides nothing about them. One call goes: slot → key → host → answer. Hosts are tried in their order, those with
//! an open circuit left out; a refused key is followed at once by the merchant's other key.

mod account;
mod calls;
mod certificate;
mod circuit;
mod config;
mod download;
mod error;
mod host;
mod openid;
mod slots;
mod transport;

use std::fmt;
use std::time::Duration;

use hyper::Uri;
use tokio::time::{Instant, timeout};

use crate::answer::{AnswerError, Verified};
use crate::close::CloseAnswer;
use crate::query::OrderQueryAnswer;
use crate::request::{self, OrderRef, Signer};
use crate::sign::{Algorithm, ApiKey};

pub use account::{KeyRing, MerchantAccount};
pub use calls::RequestError;
pub use certificate::{CertificateError, ClientCertificate};
pub use config::{BASE_URLS, ClientConfig, ConfigError};
pub use download::{BILL_BYTES_MAX, BillDownload, DownloadError};
pub use error::{CallError, Cause};
pub use openid::{ExchangeError, OpenIdClient};
pub use slots::Priority;
pub use transport::ANSWER_BYTES_MAX;

use host::Host;
use transport::Transport;

/// A pooled connection may be closed by the host in the moment it is used again.
const EXCHANGES_PER_HOST_MAX: usize = 2;

/// A client for any number of merchants. Share it: it holds the connections and the circuits.
pub struct Client {
    transport: Transport,
    hosts: Vec<Host>,
    connect_timeout: Duration,
    request_timeout: Duration,
    total_timeout: Duration,
    slot_wait_max: Duration,
}

impl Client {
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let host = |base: &String| Host::new(base, config.circuit_pause);
        let hosts = config.base_urls.iter().map(host).collect::<Result<Vec<_>, _>>()?;
        if hosts.is_empty() {
            return Err(ConfigError::NoBaseUrl);
        }
        Ok(Self {
            transport: Transport::new(config.connect_timeout)?,
            hosts,
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            total_timeout: config.total_timeout,
            slot_wait_max: config.slot_wait_max,
        })
    }

    /// Asks what became of an order. A signed `err_code` is an answer too.
    pub async fn order_query(
        &self,
        account: &MerchantAccount,
        order: &OrderRef,
        priority: Priority,
    ) -> Result<Verified<OrderQueryAnswer>, CallError> {
        let call = Call {
            account,
            transport: &self.transport,
            path: |host| &host.order_query,
            write: &|signer, nonce| request::write(order, signer, nonce),
            parse: OrderQueryAnswer::parse,
        };
        self.perform(&call, priority).await
    }

    /// Closes an unpaid order, not earlier than five minutes after it was placed.
    pub async fn close_order(
        &self,
        account: &MerchantAccount,
        order: &OrderRef,
        priority: Priority,
    ) -> Result<Verified<CloseAnswer>, CallError> {
        let call = Call {
            account,
            transport: &self.transport,
            path: |host| &host.close_order,
            write: &|signer, nonce| request::write(order, signer, nonce),
            parse: CloseAnswer::parse,
        };
        self.perform(&call, priority).await
    }

    async fn perform<T>(&self, call: &Call<'_, T>, priority: Priority) -> Result<Verified<T>, CallError> {
        let slot = call.account.slots().acquire(priority, self.slot_wait_max).await;
        slot.map_err(|slots::NoSlot| CallError::NoSlot)?;
        let mut attempts = Attempts::default();
        match timeout(self.total_timeout, self.with_each_key(call, &mut attempts)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Transient(Cause::Timeout)),
        }
    }

    async fn with_each_key<T>(
        &self,
        call: &Call<'_, T>,
        attempts: &mut Attempts,
    ) -> Result<Verified<T>, CallError> {
        let keys = call.account.keys();
        let mut refusals: Vec<Cause> = Vec::new();
        for (key_used, key) in keys.in_order() {
            match self.over_hosts(call, key, attempts).await {
                Ok(answer) => {
                    keys.worked(key_used);
                    return Ok(answer.with_key(key_used).after(attempts.made));
                }
                Err(cause) if cause.may_be_the_keys() => refusals.push(cause),
                Err(cause) => return Err(CallError::Transient(cause)),
            }
        }
        let keys_refused = refusals.iter().all(Cause::is_the_keys);
        let last =
            refusals.pop().expect("a key ring has at least one key, and each ended in a return or a refusal");
        Err(if keys_refused { CallError::KeyRefused(last) } else { CallError::Transient(last) })
    }

    async fn over_hosts<T>(
        &self,
        call: &Call<'_, T>,
        key: &ApiKey,
        attempts: &mut Attempts,
    ) -> Result<Verified<T>, Cause> {
        let mut failure = None;
        for host in &self.hosts {
            if host.circuit.admit(Instant::now()) {
                match self.at_host(host, call, key, attempts).await {
                    Err(cause) if cause.is_the_hosts() => failure = Some(cause),
                    outcome => return outcome,
                }
            }
        }
        if let Some(cause) = failure {
            return Err(cause);
        }
        // Every circuit is open: asking the likeliest host is better than not asking.
        let next = self.hosts.iter().min_by_key(|host| host.circuit.trial_at());
        self.at_host(next.expect("a client is never made without hosts"), call, key, attempts).await
    }

    async fn at_host<T>(
        &self,
        host: &Host,
        call: &Call<'_, T>,
        key: &ApiKey,
        attempts: &mut Attempts,
    ) -> Result<Verified<T>, Cause> {
        let mut outcome = self.exchange(host, call, key, attempts).await;
        for _ in 1..EXCHANGES_PER_HOST_MAX {
            if matches!(outcome, Err(Cause::Broken(_))) {
                outcome = self.exchange(host, call, key, attempts).await;
            }
        }
        outcome
    }

    /// One exchange, with a nonce and a signature of its own.
    async fn exchange<T>(
        &self,
        host: &Host,
        call: &Call<'_, T>,
        key: &ApiKey,
        attempts: &mut Attempts,
    ) -> Result<Verified<T>, Cause> {
        attempts.count(call.account);
        let algorithm = call.account.algorithm();
        let signer = Signer { mch_id: call.account.mch_id(), key, algorithm };
        let body = (call.write)(signer, &nonce()?);
        match call.transport.post((call.path)(host), body, self.request_timeout).await {
            Ok(answer) => {
                host.circuit.succeeded();
                Ok((call.parse)(&answer, key, algorithm)?)
            }
            Err(cause) => {
                host.judge(&cause);
                Err(cause)
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// One call: in whose name, over which connections, where to, what is sent and how the answer is read.
struct Call<'c, T> {
    account: &'c MerchantAccount,
    transport: &'c Transport,
    path: fn(&Host) -> &Uri,
    write: &'c (dyn Fn(Signer<'_>, &str) -> String + Sync),
    parse: Parse<T>,
}

type Parse<T> = fn(&[u8], &ApiKey, Algorithm) -> Result<Verified<T>, AnswerError>;

#[derive(Default)]
struct Attempts {
    made: u32,
}

impl Attempts {
    /// The first exchange was paid for by waiting; repeats are taken off the merchant's rate afterwards.
    fn count(&mut self, account: &MerchantAccount) {
        if self.made > 0 {
            account.slots().take_at_once();
        }
        self.made += 1;
    }
}

fn nonce() -> Result<String, Cause> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Cause::NoRandomness)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonces_are_32_hex_digits_and_differ() {
        let (first, second) = (nonce().unwrap(), nonce().unwrap());
        assert_eq!(first.len(), 32);
        assert!(first.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(first, second);
    }
}
