//! `[proxy]`: where the shop's own SDK reaches us, and who may. Without `listen` there is no proxy. Whom it forwards to
//! is `[wechat]`, in whose name is `[[merchant]]`.

use http_server::TlsConfig;
use proxy::{SourceRange, Trust};

use super::{
    reader::Section,
    sections::pem_pair,
    values::{ListenAddress, path},
};

/// `[proxy]`.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub listen: ListenAddress,
    pub tls: Option<TlsConfig>,
    /// Who may call; never empty off loopback.
    pub sources: Vec<SourceRange>,
    /// Whose word on the certificates of `wechat.base_urls` counts.
    pub trust: Trust,
}

pub(super) fn proxy(root: &mut Section<'_>) -> Option<Proxy> {
    root.section("proxy", |section| {
        let listen = section.optional("listen", ListenAddress::parse);
        let before = section.problem_count();
        let sources = section.list("sources", &[], source);
        let sources_are_sound = section.problem_count() == before;
        let pair = pem_pair(section, "tls_cert_file", "tls_key_file");
        let tls = pair
            .and_then(|pair| pair.load().map_err(|error| section.problem("tls_cert_file", error.to_string())).ok());
        let authority = section.optional("upstream_ca_file", authority);
        let has_more = !sources.is_empty() || tls.is_some() || authority.is_some();
        if has_more && !section.is_given("listen") {
            section.problem("listen", "missing: without it there is no proxy; give HOST:PORT");
        }
        let listen = listen?;
        if !listen.is_loopback() && sources.is_empty() && sources_are_sound {
            let what = "is not loopback: whoever reaches the proxy needs only the API key for a refund; list the \
                        shop's machines in sources, such as [\"10.0.0.0/8\"]";
            section.problem("listen", format!("{} {what}", listen.as_str()));
        }
        Some(Proxy { listen, tls, sources, trust: authority.unwrap_or(Trust::WebRoots) })
    })
}

fn source(text: &str) -> Result<SourceRange, String> {
    text.parse().map_err(|error: proxy::Error| error.to_string())
}

fn authority(text: &str) -> Result<Trust, String> {
    let file = path(text)?;
    let pem = std::fs::read(&file).map_err(|cause| format!("cannot read {text}: {cause}"))?;
    Trust::pem(pem).map_err(|error| format!("{text}: {error}"))
}
