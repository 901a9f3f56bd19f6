//! One base URL: its addresses, and whether it is worth calling.

use std::time::Duration;

use hyper::Uri;
use tokio::time::Instant;

use super::circuit::Circuit;
use super::{Cause, ConfigError};
use crate::{bill, close, query, refund, refund_query, unified_order};

#[derive(Debug)]
pub(super) struct Host {
    base: String,
    pub(super) order_query: Uri,
    pub(super) close_order: Uri,
    pub(super) unified_order: Uri,
    pub(super) refund: Uri,
    pub(super) refund_query: Uri,
    pub(super) download_bill: Uri,
    pub(super) circuit: Circuit,
}

impl Host {
    pub(super) fn new(base: &str, pause: Duration) -> Result<Self, ConfigError> {
        let trimmed = base.trim_end_matches('/');
        let uri = |path: &str| match format!("{trimmed}{path}").parse::<Uri>() {
            Ok(uri) if is_usable(&uri, path) => Ok(uri),
            _ => Err(ConfigError::BaseUrl(base.to_owned())),
        };
        Ok(Self {
            order_query: uri(query::PATH)?,
            close_order: uri(close::PATH)?,
            unified_order: uri(unified_order::PATH)?,
            refund: uri(refund::PATH)?,
            refund_query: uri(refund_query::PATH)?,
            download_bill: uri(bill::PATH)?,
            base: trimmed.to_owned(),
            circuit: Circuit::new(pause),
        })
    }

    /// Only a host that cannot be reached or let a whole time-out pass has failed; one that answers badly is there.
    pub(super) fn judge(&self, cause: &Cause) {
        match cause {
            Cause::Connect(_) | Cause::Timeout => {}
            Cause::HttpStatus(_) | Cause::TooLarge => return self.circuit.succeeded(),
            _ => return,
        }
        if self.circuit.failed(Instant::now()) {
            tracing::warn!(host = self.base, cause = %cause, "{} failed three times in a row, left alone", self.base);
        }
    }
}

fn is_usable(uri: &Uri, path: &str) -> bool {
    let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
    let whole = uri.path().ends_with(path) && uri.query().is_none();
    scheme && whole && uri.host().is_some_and(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Client, ClientConfig};

    #[test]
    fn base_urls_are_checked_when_the_client_is_made() {
        let client = |urls: &[&str]| {
            Client::new(ClientConfig {
                base_urls: urls.iter().map(|url| (*url).to_owned()).collect(),
                ..ClientConfig::default()
            })
        };
        assert!(Client::new(ClientConfig::default()).is_ok());
        assert!(client(&["http://127.0.0.1:1/"]).is_ok());
        let prefixed = Host::new("https://pay.example/wechat/", Duration::ZERO).unwrap();
        assert_eq!(prefixed.order_query, "https://pay.example/wechat/pay/orderquery");
        assert!(matches!(client(&[]), Err(ConfigError::NoBaseUrl)));
        for url in
            ["", "api.mch.weixin.qq.com", "ftp://x", "https://", "https://x?a=b", "https://x y", "http://x#f"]
        {
            assert!(matches!(client(&[url]), Err(ConfigError::BaseUrl(_))), "{url}");
        }
    }
}
