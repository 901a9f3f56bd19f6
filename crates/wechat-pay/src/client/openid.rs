//! Exchanges codes for openids at `api.weixin.qq.com`, another host than the payments'.
//!
//! A code works once, so nothing is repeated here. The address holds the AppSecret: it is in no error and no log.

use std::fmt;
use std::time::Duration;

use hyper::Uri;

use super::transport::Transport;
use super::{Cause, ConfigError};
use crate::openid::{self, AddressWithSecret, AppSecret, Identity, OpenIdError};

/// Asks who pays. Share it: it holds connections.
pub struct OpenIdClient {
    transport: Transport,
    base: String,
    timeout: Duration,
}

/// Why an exchange brought no openid.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("no answer to the exchange of a code: {0}")]
    Call(Cause),
    #[error(transparent)]
    Answer(#[from] OpenIdError),
}

impl OpenIdClient {
    /// `base` is [`openid::API_BASE_URL`], but for simulators.
    pub fn new(base: &str, timeout: Duration) -> Result<Self, ConfigError> {
        let base = base.trim_end_matches('/');
        let uri: Option<Uri> = format!("{base}/sns").parse().ok();
        let usable = uri.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.query().is_none()
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !usable {
            return Err(ConfigError::BaseUrl(base.to_owned()));
        }
        Ok(Self { transport: Transport::new(timeout)?, base: base.to_owned(), timeout })
    }

    /// The code of a page in WeChat.
    pub async fn page_code(
        &self,
        appid: &str,
        secret: &AppSecret,
        code: &str,
    ) -> Result<Identity, ExchangeError> {
        self.exchange(&openid::access_token_url(&self.base, appid, secret, code)).await
    }

    /// The code of a mini program (`wx.login`).
    pub async fn mini_program_code(
        &self,
        appid: &str,
        secret: &AppSecret,
        code: &str,
    ) -> Result<Identity, ExchangeError> {
        self.exchange(&openid::code_to_session_url(&self.base, appid, secret, code)).await
    }

    async fn exchange(&self, address: &AddressWithSecret) -> Result<Identity, ExchangeError> {
        let uri =
            address.as_str().parse::<Uri>().map_err(|_| ExchangeError::Answer(OpenIdError::Malformed))?;
        let body = self.transport.get(uri, self.timeout).await.map_err(ExchangeError::Call)?;
        Ok(Identity::parse(&body)?)
    }
}

impl fmt::Debug for OpenIdClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenIdClient").field("base", &self.base).finish_non_exhaustive()
    }
}
