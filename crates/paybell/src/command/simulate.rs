//! `paybell simulate`: the WeChat Pay v2 simulator alone, until a signal. What it does is the simulator's own
//! business; this names its merchants and prints where it listens.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args as ClapArgs;
use simulator::{AppConfig, MerchantConfig, SecretKey, Simulator, SimulatorConfig, TlsListen};
use tokio_util::sync::CancellationToken;

use super::config::ConfigFile;
use crate::{
    boot::{signals::Signals, telemetry},
    cli::in_runtime,
    config::{Merchant, load, process_environment},
    error::Error,
    output,
};

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8090]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// How much faster than real the clock runs: 1000 turns 24 h 4 m of notifications into 87 s [default: 1]
    #[arg(long, value_name = "FACTOR")]
    scale: Option<f64>,
    /// Also listen with TLS, where refunds need a merchant's certificate
    #[arg(long, value_name = "HOST:PORT", requires = "certificates")]
    tls_listen: Option<String>,
    /// Where the certificates for it are, or are made: ca.pem, and apiclient_cert.pem and apiclient_key.pem in a folder for
    /// each merchant
    #[arg(long, value_name = "DIR", requires = "tls_listen")]
    certificates: Option<PathBuf>,
    /// An official account or mini program and its secret; may be repeated. Never a real secret
    #[arg(long = "app", value_name = "APPID:SECRET")]
    apps: Vec<String>,
    /// Faults, settings and the rest from a TOML file, as in the simulator's README; arguments stand over it
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,
    /// A merchant, its appid and its 32-character API key; may be repeated. Never a real key
    #[arg(
        long = "merchant",
        value_name = "MCH_ID:APPID:KEY",
        conflicts_with = "config",
        required_unless_present_any = ["config", "world"]
    )]
    merchants: Vec<String>,
    #[command(flatten)]
    from: ConfigFile,
    #[command(flatten)]
    log: telemetry::LogArgs,
}

/// Runs the simulator until a signal.
pub fn run(args: Args) -> Result<(), Error> {
    telemetry::begin(&args.log)?;
    let merchants = if args.merchants.is_empty() && args.from.config.is_none() && args.world.is_some() {
        Vec::new()
    } else if args.merchants.is_empty() {
        let config = load(args.from.config.as_deref(), process_environment()).checked()?;
        config.merchants.into_iter().map(of_config).collect()
    } else {
        args.merchants.iter().map(|text| of_argument(text)).collect::<Result<Vec<_>, _>>()?
    };
    let mut config = match &args.world {
        None => here(),
        Some(file) => of_file(file)?,
    };
    config.merchants.extend(merchants);
    for app in &args.apps {
        config.apps.push(of_app(app)?);
    }
    if let (Some(listen), Some(folder)) = (args.tls_listen, args.certificates) {
        config.tls = Some(TlsListen { listen, folder });
    }
    config.listen = args.listen.unwrap_or(config.listen);
    config.clock_scale = args.scale.unwrap_or(config.clock_scale);
    in_runtime(simulate(config))
}

async fn simulate(config: SimulatorConfig) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let simulator = Simulator::start(config, stop.clone()).await.map_err(|error| match error {
        simulator::Error::Listen(error) => Error::Listen(error),
        other => Error::Usage(other.to_string()),
    })?;
    output::line(&format!("base_urls = [\"{}\"]", simulator.base_url()))?;
    if let Some(url) = simulator.tls_base_url() {
        output::line(&format!("# with TLS: {url}"))?;
    }
    signals.next().await;
    stop.cancel();
    tokio::select! {
        () = simulator.stopped() => Ok(()),
        _ = signals.next() => Err(Error::Interrupted),
    }
}

fn of_config(merchant: Merchant) -> MerchantConfig {
    let mut keys = merchant.keys.into_iter().map(SecretKey::from);
    let api_key = keys.next().expect("a checked merchant has a current key");
    MerchantConfig {
        mch_id: merchant.mch_id.to_string(),
        app_ids: merchant.app_ids.iter().map(ToString::to_string).collect(),
        api_key,
        previous_api_key: keys.next(),
        sub_mch_ids: merchant.sub_mch_ids.iter().map(ToString::to_string).collect(),
    }
}

fn here() -> SimulatorConfig {
    SimulatorConfig { listen: "127.0.0.1:8090".to_owned(), ..SimulatorConfig::default() }
}

fn of_file(file: &Path) -> Result<SimulatorConfig, Error> {
    let refused = |problem: String| Error::Usage(format!("--world {}: {problem}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    // The message alone: the line that it would show may hold a key.
    let config: SimulatorConfig =
        toml::from_str(&text).map_err(|error| refused(error.message().to_owned()))?;
    let names_no_place = config.listen == SimulatorConfig::default().listen;
    Ok(if names_no_place { SimulatorConfig { listen: here().listen, ..config } } else { config })
}

fn of_app(text: &str) -> Result<AppConfig, Error> {
    match text.split_once(':') {
        Some((appid, secret)) if !appid.is_empty() && !secret.is_empty() => {
            Ok(AppConfig { appid: appid.to_owned(), secret: secret.to_owned(), redirect_hosts: Vec::new() })
        }
        _ => Err(Error::Usage("--app: write APPID:SECRET".to_owned())),
    }
}

fn of_argument(text: &str) -> Result<MerchantConfig, Error> {
    let mut parts = text.splitn(3, ':');
    let (Some(mch_id), Some(app_id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::Usage("--merchant: write MCH_ID:APPID:KEY".to_owned()));
    };
    MerchantConfig::new(mch_id, app_id, key).map_err(|error| Error::Usage(format!("--merchant: {error}")))
}
