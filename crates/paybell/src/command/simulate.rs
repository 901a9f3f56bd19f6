//! `paybell simulate`: the WeChat Pay v2 simulator alone, until a signal. What it does is the simulator's own
//! business; this names its merchants and prints where it listens.

use clap::Args as ClapArgs;
use simulator::{MerchantConfig, SecretKey, Simulator, SimulatorConfig};
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
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8090")]
    listen: String,
    /// How much faster than real the clock runs: 1000 turns 24 h 4 m of notifications into 87 s
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,
    /// A merchant, its appid and its 32-character API key; may be repeated. Never a real key
    #[arg(
        long = "merchant",
        value_name = "MCH_ID:APPID:KEY",
        conflicts_with = "config",
        required_unless_present = "config"
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
    let merchants = if args.merchants.is_empty() {
        let config = load(args.from.config.as_deref(), process_environment()).checked()?;
        config.merchants.into_iter().map(of_config).collect()
    } else {
        args.merchants.iter().map(|text| of_argument(text)).collect::<Result<Vec<_>, _>>()?
    };
    let config = SimulatorConfig {
        listen: args.listen,
        clock_scale: args.scale,
        merchants,
        ..SimulatorConfig::default()
    };
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

fn of_argument(text: &str) -> Result<MerchantConfig, Error> {
    let mut parts = text.splitn(3, ':');
    let (Some(mch_id), Some(app_id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::Usage("--merchant: write MCH_ID:APPID:KEY".to_owned()));
    };
    MerchantConfig::new(mch_id, app_id, key).map_err(|error| Error::Usage(format!("--merchant: {error}")))
}
