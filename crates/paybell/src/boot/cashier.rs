//! The cashier's desk: what it is told of the configuration, at the start and at every reload. Where WeChat reaches us
//! and the host of openids are as at the start; merchants and AppSecrets are those of now.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::cashier::{AppAccount, CashierMetrics, Desk, Lives, Parts, Settings, Shop};
use hyper::Uri;
use prometheus_client::registry::Registry;
use wechat_pay::{client::OpenIdClient, openid::AppSecret};
use worker::Asker;

use crate::{
    config::{Config, ListenAddress, Merchant},
    engine::Engine,
    error::Error,
};

/// One exchange of a code, connecting included; the payer waits.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(6);

/// A desk over the engine's ports, calling through `asker`.
pub fn build(
    config: &Config,
    notify_base: Option<&str>,
    engine: &Engine,
    asker: &Arc<Asker>,
    registry: &mut Registry,
) -> Result<Desk, Error> {
    let openids = OpenIdClient::new(&config.openid_base_url, EXCHANGE_TIMEOUT)
        .map_err(|error| Error::Usage(format!("wechat.openid_base_url: {error}")))?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::Failed(format!("the system gives no random numbers: {error}")))?;
    let ports = engine.ledger();
    Ok(Desk::new(Parts {
        ledger: ports.ledger.clone(),
        registry: ports.registry.clone(),
        records: ports.records.clone(),
        businesses: ports.businesses.clone(),
        queue: engine.queue.clone(),
        wechat: asker.clone(),
        openids,
        settings: settings(&config.merchants, notify_base),
        lives: Lives { prepay: config.prepay_life, mweb: config.mweb_life },
        metrics: CashierMetrics::register(registry),
        seed,
    }))
}

/// For whom orders are placed, and whose codes are exchanged.
pub fn settings(merchants: &[Merchant], notify_base: Option<&str>) -> Settings {
    let shop = |merchant: &Merchant| Shop {
        mch_id: merchant.mch_id.clone(),
        app_ids: merchant.app_ids.clone(),
        sub_mch_ids: merchant.sub_mch_ids.clone(),
        notify_url: notify_base.map(|base| format!("{base}/notify/pay/{}", merchant.mch_id)),
    };
    let apps = merchants.iter().flat_map(|merchant| &merchant.apps);
    let account = |app: &crate::config::App| AppAccount {
        appid: app.appid.clone(),
        secret: AppSecret::new(app.secret.reveal()),
    };
    Settings { shops: merchants.iter().map(shop).collect(), apps: apps.map(account).collect() }
}

/// Where WeChat reaches the ingress: as configured. A simulator on this machine reaches it where it is bound, so that an
/// order can be placed there without further ado.
pub fn notify_base(config: &Config, bound: Option<SocketAddr>) -> Option<String> {
    if let Some(public_url) = &config.ingress.public_url {
        return Some(public_url.clone());
    }
    if !config.base_urls.iter().all(|url| is_on_this_machine(url)) {
        return None;
    }
    let mut address = bound?;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    let scheme = if config.ingress.tls.is_some() { "https" } else { "http" };
    Some(format!("{scheme}://{address}"))
}

fn is_on_this_machine(url: &str) -> bool {
    let uri: Option<Uri> = url.parse().ok();
    let authority = uri.as_ref().and_then(Uri::authority);
    let with_port =
        authority.map(|authority| format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)));
    with_port.and_then(|text| ListenAddress::parse(&text).ok()).is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use paybell_core::MchId;

    use super::*;
    use crate::config::load;

    fn config(lines: &str) -> Config {
        let text = format!(
            "{lines}\n[[merchant]]\nmch_id = \"1900000109\"\napp_ids = [\"wx8888888888888888\"]\n\
             api_key = \"192006250b4c09247ec02edce69f6a2d\"\n[[merchant.app]]\nappid = \"wx1\"\napp_secret = \"s3cret\"\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("paybell.toml");
        std::fs::write(&file, text).unwrap();
        load(Some(&file), []).checked().unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn wechat_is_told_the_public_address_and_a_simulator_here_the_bound_one() {
        let bound: Option<SocketAddr> = "0.0.0.0:8080".parse().ok();
        let base = |lines: &str, bound| notify_base(&config(lines), bound);
        assert_eq!(base("", bound), None, "nobody knows where WeChat would reach us");
        let public = "ingress.public_url = \"https://pay.example.com/wx/\"";
        assert_eq!(base(public, bound).as_deref(), Some("https://pay.example.com/wx"));
        for here in ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"] {
            let here = format!("wechat.base_urls = [\"{here}\"]");
            assert_eq!(base(&here, bound).as_deref(), Some("http://127.0.0.1:8080"), "{here}");
            assert_eq!(base(&here, None), None, "another process has the listener");
            assert_eq!(
                base(&format!("{public}\n{here}"), bound).as_deref(),
                Some("https://pay.example.com/wx")
            );
        }
        let one_is_real = "wechat.base_urls = [\"http://127.0.0.1:9000\", \"https://api.mch.weixin.qq.com\"]";
        assert_eq!(base(one_is_real, bound), None);
    }

    #[test]
    fn each_merchant_is_notified_on_a_path_of_its_own_and_no_secret_shows() {
        let settings = settings(&config("").merchants, Some("https://pay.example.com"));
        assert_eq!(settings.shops[0].mch_id, MchId::new("1900000109").unwrap());
        assert_eq!(
            settings.shops[0].notify_url.as_deref(),
            Some("https://pay.example.com/notify/pay/1900000109")
        );
        assert_eq!(settings.apps.len(), 1);
        assert!(!format!("{settings:?}").contains("s3cret"));
    }
}
