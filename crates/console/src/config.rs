//! What the console is told at start: who may call it, under which names, for which merchants. Reads no file and
//! no environment; the binary fills it in.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use paybell_core::{Mode, ModeKeeper};

use crate::known::KnownMerchants;
use crate::rate::Rate;
use crate::token::Token;

/// Event streams served at once, unless configured otherwise.
const STREAMS_MAX: usize = 256;

/// The console's configuration. The default is open, answers to loopback names only, and knows no merchant.
#[derive(Debug, Clone)]
pub struct ConsoleConfig {
    /// Without any the API is open: the binary sees to it that it then listens on loopback only.
    pub tokens: Vec<Token>,
    /// The configured merchants: orders of others are not registered and not checked.
    pub mch_ids: KnownMerchants,
    /// Told by the index, so that nobody waits for events that nobody tells.
    pub modes: Arc<ModeKeeper>,
    /// The names under which the API may be called.
    pub allowed_hosts: AllowedHosts,
    /// What an API without tokens serves: one rate for all who call it.
    pub rate: Rate,
    /// Event streams served at once; one more is refused with 503.
    pub streams_max: usize,
}

impl Default for ConsoleConfig {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            mch_ids: KnownMerchants::default(),
            modes: Arc::new(ModeKeeper::fixed(Mode::Live)),
            allowed_hosts: AllowedHosts::loopback(),
            rate: Rate::DEFAULT,
            streams_max: STREAMS_MAX,
        }
    }
}

/// Which `Host` headers are answered. A web page on a foreign name cannot reach the API by pointing that name at us.
#[derive(Debug, Clone)]
pub struct AllowedHosts {
    names: HashSet<String>,
    any_address: bool,
}

impl AllowedHosts {
    /// `localhost` and the loopback addresses.
    pub fn loopback() -> Self {
        Self { names: HashSet::from(["localhost".to_owned()]), any_address: false }
    }

    /// Adds a name: `HOST`, `HOST:PORT` or a URL (its host counts). The wildcard addresses `0.0.0.0` and `::` admit
    /// every IP address, because a caller names the machine's real one, and an address cannot be a foreign name.
    pub fn allow(&mut self, host: &str) {
        let after_scheme = host.split_once("://").map_or(host, |(_, rest)| rest);
        let authority = after_scheme.split(['/', '?', '#']).next().unwrap_or_default();
        let Some(name) = host_of(authority) else { return };
        match name.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() => self.any_address = true,
            _ => drop(self.names.insert(name)),
        }
    }

    /// Whether a request with this `Host` header is for us.
    pub(crate) fn admits(&self, authority: &str) -> bool {
        let Some(name) = host_of(authority) else { return false };
        if self.names.contains(&name) {
            return true;
        }
        name.parse::<IpAddr>().is_ok_and(|address| self.any_address || address.is_loopback())
    }
}

/// The host of `HOST[:PORT]` or `[V6][:PORT]`, in small letters; `None` if it is neither.
fn host_of(authority: &str) -> Option<String> {
    if authority.parse::<IpAddr>().is_ok() {
        return Some(authority.to_ascii_lowercase());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, rest.strip_prefix(':').or(rest.is_empty().then_some("0"))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "0")),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_host = !host.is_empty() && !host.contains(['@', ' ', '[', ']']);
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
    (is_host && is_port).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_names_are_admitted_and_foreign_ones_are_not() {
        let hosts = AllowedHosts::loopback();
        for own in
            ["localhost", "LOCALHOST:8081", "localhost.", "127.0.0.1:1", "127.8.8.8", "[::1]:8081", "[::1]"]
        {
            assert!(hosts.admits(own), "{own}");
        }
        for foreign in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "[::2]:8081",
            "[::1]x",
            "localhost:80a",
            "evil@localhost",
        ] {
            assert!(!hosts.admits(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_listen_address_or_a_url_adds_its_host() {
        let mut hosts = AllowedHosts::loopback();
        hosts.allow("https://Pay.Example.com:8443/x");
        hosts.allow("10.0.0.1:8081");
        assert!(hosts.admits("pay.example.com") && hosts.admits("10.0.0.1") && !hosts.admits("10.0.0.2"));
        hosts.allow("[::]:8081");
        assert!(hosts.admits("10.0.0.2:8081") && hosts.admits("[2001:db8::1]"));
        assert!(!hosts.admits("evil.example"), "a wildcard admits addresses, not names");
    }
}
