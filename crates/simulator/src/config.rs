//! What a simulator is told before it starts; everything has a default except the merchants. Checks itself and reads
//! neither files nor the environment; [`crate::Simulator::start`] takes it.

use std::{collections::HashSet, fmt, path::PathBuf};

use serde::Deserialize;
use wechat_pay::sign::{ApiKey, KeyError};

use crate::{error::Error, faults::Faults, openid::AppConfig, settings::Settings};

/// Configuration of a simulator; as TOML or JSON every key is optional except those of a merchant.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatorConfig {
    /// `HOST:PORT`; port 0 takes a free one.
    pub listen: String,
    /// A second socket, under TLS, where refunds and reversals need a merchant's certificate.
    pub tls: Option<TlsListen>,
    /// Whose orders it keeps. At least one.
    pub merchants: Vec<MerchantConfig>,
    /// Official accounts and mini programs with their secrets.
    pub apps: Vec<AppConfig>,
    /// Faults from the first moment on; they can be changed while it runs.
    pub faults: Faults,
    /// Divides the delays of the protocol (cadence, 5 minutes before a close): 1.0 is real time, 1000.0 turns the
    /// cadence's 24 h 4 m into 87 s. Times in documents keep the real pace, the 5 s for an answer stay real. 0.001 to 1,000,000.
    pub clock_scale: f64,
    /// Wall time in documents starts this far from the real one: -86400 begins yesterday.
    pub clock_offset_s: i64,
    /// Rules with numbers; they can be changed while it runs.
    pub settings: Settings,
    /// Notifications under way at once.
    pub notifications_in_flight_max: usize,
    /// How long a merchant may take to answer a notification.
    pub notification_timeout_ms: u64,
    /// Notifications remembered for `GET /_sim/notifications`; the oldest are forgotten.
    pub notification_log_max: usize,
    /// Orders kept; above it unifiedorder answers `SYSTEMERROR`.
    pub orders_max: usize,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        SimulatorConfig {
            listen: "127.0.0.1:0".to_owned(),
            tls: None,
            merchants: Vec::new(),
            apps: Vec::new(),
            faults: Faults::default(),
            clock_scale: 1.0,
            clock_offset_s: 0,
            settings: Settings::default(),
            notifications_in_flight_max: 256,
            notification_timeout_ms: 5_000,
            notification_log_max: 100_000,
            orders_max: 1_000_000,
        }
    }
}

/// Where to listen with TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsListen {
    /// `HOST:PORT`; port 0 takes a free one.
    pub listen: String,
    /// Where the certificates are, or are made: `ca.pem`, and `apiclient_cert.pem` and `apiclient_key.pem` in a folder for
    /// each merchant.
    pub folder: PathBuf,
}

/// A merchant, or a service provider if `sub_mch_ids` is not empty.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MerchantConfig {
    pub mch_id: String,
    /// The apps bound to the merchant. Empty means any.
    #[serde(default)]
    pub app_ids: Vec<String>,
    pub api_key: SecretKey,
    /// Also accepted in requests, while a key is being replaced. An answer is signed with the key of its request.
    #[serde(default)]
    pub previous_api_key: Option<SecretKey>,
    /// Sub merchants of a service provider; then each request must name one of them.
    #[serde(default)]
    pub sub_mch_ids: Vec<String>,
}

impl MerchantConfig {
    /// A direct merchant with one app.
    pub fn new(mch_id: &str, app_id: &str, api_key: &str) -> Result<MerchantConfig, Error> {
        Ok(MerchantConfig {
            mch_id: mch_id.to_owned(),
            app_ids: vec![app_id.to_owned()],
            api_key: SecretKey::new(api_key)?,
            previous_api_key: None,
            sub_mch_ids: Vec::new(),
        })
    }
}

/// An API key that does not show itself.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct SecretKey(pub(crate) ApiKey);

impl SecretKey {
    /// 32 visible ASCII characters.
    pub fn new(text: &str) -> Result<SecretKey, Error> {
        Ok(SecretKey(ApiKey::new(text)?))
    }
}

impl TryFrom<String> for SecretKey {
    type Error = KeyError;

    fn try_from(text: String) -> Result<SecretKey, KeyError> {
        ApiKey::new(&text).map(SecretKey)
    }
}

impl From<ApiKey> for SecretKey {
    fn from(key: ApiKey) -> SecretKey {
        SecretKey(key)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(***)")
    }
}

impl SimulatorConfig {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut seen = HashSet::new();
        if self.merchants.is_empty() {
            return Err(Error::config("merchants", "name at least one merchant"));
        }
        for merchant in &self.merchants {
            if !is_number(&merchant.mch_id) || !merchant.sub_mch_ids.iter().all(|id| is_number(id)) {
                return Err(Error::config("merchants.mch_id", "a merchant number has 1 to 32 digits"));
            }
            if !seen.insert(&merchant.mch_id) {
                return Err(Error::config("merchants.mch_id", "two merchants have the same number"));
            }
        }
        if !(0.001..=1_000_000.0).contains(&self.clock_scale) {
            return Err(Error::config("clock_scale", "must lie between 0.001 and 1000000"));
        }
        if self.notifications_in_flight_max == 0 || self.orders_max == 0 {
            return Err(Error::config("notifications_in_flight_max, orders_max", "must be at least 1"));
        }
        self.settings.check()?;
        self.faults.check()
    }
}

fn is_number(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn one_merchant() -> SimulatorConfig {
        let merchants = vec![MerchantConfig::new("1900000109", "wx1", KEY).unwrap()];
        SimulatorConfig { merchants, ..SimulatorConfig::default() }
    }

    #[test]
    fn a_configuration_is_read_with_defaults_and_without_showing_keys() {
        let text = format!(r#"{{"clock_scale":1000,"merchants":[{{"mch_id":"19","api_key":"{KEY}"}}]}}"#);
        let config: SimulatorConfig = serde_json::from_str(&text).unwrap();
        config.check().unwrap();
        assert_eq!(config.notification_timeout_ms, 5_000);
        assert!(!format!("{config:?}").contains(KEY));
        let short = text.replace(KEY, "short");
        let error = serde_json::from_str::<SimulatorConfig>(&short).unwrap_err().to_string();
        assert!(error.contains("32 characters") && !error.contains("\"short\""), "{error}");
        assert!(
            serde_json::from_str::<SimulatorConfig>(r#"{"clock":1}"#).is_err(),
            "unknown keys are refused"
        );
    }

    type Breakage = fn(&mut SimulatorConfig);

    #[test]
    fn nonsense_is_refused_by_name() {
        let broken: [(Breakage, &str); 6] = [
            (|c| c.merchants.clear(), "merchants"),
            (|c| c.merchants.extend(c.merchants.clone()), "same number"),
            (|c| c.clock_scale = f64::NAN, "clock_scale"),
            (|c| c.clock_scale = 0.0, "clock_scale"),
            (|c| c.faults.duplicate = 1.5, "duplicate"),
            (|c| c.orders_max = 0, "orders_max"),
        ];
        one_merchant().check().unwrap();
        for (break_it, named) in broken {
            let mut config = one_merchant();
            break_it(&mut config);
            let said = config.check().unwrap_err().to_string();
            assert!(said.contains(named), "{said}");
        }
    }
}
