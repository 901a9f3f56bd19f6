//! `paybell healthcheck`: whether the process on this machine is ready, for containers and scripts that have no HTTP
//! client of their own. One request, no token, no redirect; the answer is the exit code.

use std::{net::IpAddr, time::Duration};

use clap::Args as ClapArgs;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::time::timeout;

use super::config::ConfigFile;
use crate::{
    config::{ListenAddress, load, process_environment},
    error::Error,
    output,
};

/// A probe that waits longer than its caller does is killed by it, and says nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// What `/readyz` says of failed parts is a few lines.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Ask this address instead of the configured admin listener's /readyz (http only)
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    url: Option<String>,
    #[command(flatten)]
    from: ConfigFile,
}

/// Exit 0 if the answer is a success, 1 otherwise.
pub async fn run(args: Args) -> Result<(), Error> {
    let url = match args.url {
        Some(url) => url,
        None => {
            let loaded = load(args.from.config.as_deref(), process_environment());
            match loaded.admin_listen() {
                Some(listen) => readyz(listen),
                None => readyz(&loaded.checked()?.admin_listen),
            }
        }
    };
    let uri: Uri = url.parse().map_err(|_| not_a_url(&url))?;
    if uri.scheme_str() != Some("http") || uri.host().is_none() {
        return Err(not_a_url(&url));
    }
    let asked = timeout(ANSWER_TIMEOUT, ask(uri)).await;
    let slow = || Error::Failed(format!("{url} gave no answer within {} s", ANSWER_TIMEOUT.as_secs()));
    let (status, text) = asked.map_err(|_| slow())?.map_err(|cause| {
        Error::Failed(format!("cannot reach {url}: {cause}; is `paybell run` up there? (--url URL)"))
    })?;
    let text = text.trim();
    if status.is_success() {
        return output::line(text);
    }
    Err(Error::Failed(format!("{url} answers {}: {text}", status.as_u16())))
}

fn not_a_url(url: &str) -> Error {
    Error::Usage(format!("--url {url}: must be http://HOST:PORT/PATH"))
}

/// The listener's address as this machine reaches it: a wildcard is asked on loopback.
fn readyz(listen: &ListenAddress) -> String {
    let address = listen.as_str();
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "80"));
    let host = match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(wildcard)) if wildcard.is_unspecified() => "127.0.0.1",
        Ok(IpAddr::V6(wildcard)) if wildcard.is_unspecified() => "[::1]",
        _ => host,
    };
    format!("http://{host}:{port}/readyz")
}

async fn ask(uri: Uri) -> Result<(StatusCode, String), String> {
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(HttpConnector::new());
    let request = Request::get(uri).body(Empty::new()).map_err(|error| error.to_string())?;
    let response = client.request(request).await.map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        cause.to_string()
    })?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_asked_on_loopback() {
        for (listen, url) in [
            ("127.0.0.1:8082", "http://127.0.0.1:8082/readyz"),
            ("0.0.0.0:9", "http://127.0.0.1:9/readyz"),
            ("[::]:9", "http://[::1]:9/readyz"),
            ("10.0.0.7:9", "http://10.0.0.7:9/readyz"),
        ] {
            assert_eq!(readyz(&ListenAddress::parse(listen).unwrap()), url);
        }
    }
}
