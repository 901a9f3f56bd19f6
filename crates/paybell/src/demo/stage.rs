//! Everything that the demo needs, in one process over real sockets: the simulator, the embedded engine in a temporary
//! folder, and all four roles, started by the same code as `paybell run`. Plays nothing; [`super::shop`] does.

use std::{collections::HashSet, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use paybell_core::{AppId, Cadence, MchId, OpenidPolicy, Unregistered, cadence::WECHAT_GAPS_S, time::Millis};
use simulator::{Control, MerchantConfig, Simulator, SimulatorConfig};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use wechat_pay::sign::{AcceptedAlgorithm, Algorithm, ApiKey};

use super::plan::{API_KEY, APP_ID, MCH_ID, Plan};
use crate::{
    boot::{self, Process, Role, listeners::Listeners, signals::Signals},
    config::{
        BillScope, Config, Console, EngineKind, Ingress, ListenAddress, Merchant, Mode, Rabbitmq, Reconcile,
        Redis, Retention, Secret,
    },
    engine::{Engine, Needs},
    error::Error,
};

const FREE_PORT: &str = "127.0.0.1:0";
/// The simulator knows no limit; what the demo shows is not how long a queue for queries gets.
const QUERIES_PER_SECOND: NonZeroU32 = NonZeroU32::new(10_000).expect("is not 0");

/// The same for the private API, which the demo's shop and screen call.
const REQUESTS_PER_SECOND: u32 = 100_000;

/// How many times faster than real the clocks of WeChat and of the polls run.
#[derive(Debug, Clone, Copy)]
pub struct Scale(f64);

impl Scale {
    /// From 1 to 7.5: beyond it the first poll would come less than 2 s after the order, and might overtake a
    /// notification, so that the table would depend on the machine.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(factor) if (1.0..=7.5).contains(&factor) => Ok(Self(factor)),
            _ => Err("must be a number from 1 to 7.5".to_owned()),
        }
    }

    /// The factor itself.
    pub fn factor(self) -> f64 {
        self.0
    }

    /// So many seconds of WeChat's.
    pub fn seconds(self, seconds: u32) -> Duration {
        Duration::from_secs(u64::from(seconds)).div_f64(self.0)
    }

    /// WeChat's cadence, divided.
    fn cadence(self) -> Cadence {
        let gaps = WECHAT_GAPS_S.map(|gap| self.millis(u32::try_from(gap).unwrap_or(u32::MAX)));
        Cadence::from_gaps(gaps).expect("no gap of WeChat's divided by at most 7.5 is under a millisecond")
    }

    fn millis(self, seconds: u32) -> Millis {
        Millis(i64::try_from(self.seconds(seconds).as_millis()).unwrap_or(i64::MAX))
    }
}

/// Everything that runs.
pub struct Stage {
    simulator: Simulator,
    simulator_stop: CancellationToken,
    process: Process,
    engine: Arc<Engine>,
    folder: TempDir,
    /// Addresses, as `HOST:PORT`.
    pub ingress: String,
    pub console: String,
}

impl Stage {
    /// Starts all of it.
    pub async fn start(plan: &Plan, scale: Scale) -> Result<Self, Error> {
        let simulator_stop = CancellationToken::new();
        let merchant = MerchantConfig::new(MCH_ID, APP_ID, API_KEY).map_err(of_simulator)?;
        let simulator_config = SimulatorConfig {
            merchants: vec![merchant],
            faults: plan.faults.clone(),
            clock_scale: scale.factor(),
            ..SimulatorConfig::default()
        };
        let simulator =
            Simulator::start(simulator_config, simulator_stop.clone()).await.map_err(of_simulator)?;
        let folder = tempfile::Builder::new().prefix("paybell-demo-").tempdir()?;
        let config = config(simulator.base_url(), folder.path().to_owned(), scale);
        let engine = Arc::new(Engine::open(&config, Needs::ALL).await?);
        let roles = HashSet::from(Role::ALL);
        let listeners = Listeners::bind(&config, &roles).await?;
        let addresses = listeners.addresses();
        let process = Process::start(&config, &roles, &engine, listeners, None)?;
        let (ingress, console) = addresses.ingress.zip(addresses.console).expect("both roles were named");
        Ok(Self { simulator, simulator_stop, process, engine, folder, ingress, console })
    }

    /// The payer's side of WeChat, and what is true there.
    pub fn control(&self) -> Control {
        self.simulator.control()
    }

    /// Where WeChat is.
    pub fn wechat(&self) -> String {
        self.simulator.base_url()
    }

    /// Where WeChat is to send notifications.
    pub fn notify_url(&self) -> String {
        format!("http://{}/notify/pay", self.ingress)
    }

    /// Waits for a role that ends although nobody told it to.
    pub async fn first_to_fall(&mut self) -> Error {
        let fallen = self.process.first_to_fall().await;
        Error::Failed(format!("{} {}", fallen.name, fallen.cause))
    }

    /// Drains the roles, closes the engine, removes the folder. A second signal ends it at once.
    pub async fn end(self, signals: &mut Signals) -> Result<(), Error> {
        self.simulator_stop.cancel();
        let ending = async {
            self.process.finish().await;
            self.simulator.stopped().await;
        };
        tokio::select! {
            () = ending => {}
            _ = signals.next() => return Err(Error::Interrupted),
        }
        boot::close(&self.engine, signals).await?;
        Ok(self.folder.close()?)
    }
}

/// What `paybell run` would read from a file.
fn config(wechat: String, data_dir: PathBuf, scale: Scale) -> Config {
    let free_port = || ListenAddress::parse(FREE_PORT).expect("is an address");
    let nowhere = || (Secret::new(""), String::new());
    let ((rabbitmq_url, rabbitmq_prefix), (redis_url, redis_prefix)) = (nowhere(), nowhere());
    let kept = Millis::seconds(35 * 86_400);
    Config {
        engine: EngineKind::Embedded,
        mode: Mode::Live,
        // A demonstration is over before its first bill.
        reconcile: Reconcile {
            automatic: false,
            after: Millis::seconds(10 * 3600),
            folder: data_dir.join("bills"),
        },
        data_dir,
        rabbitmq: Rabbitmq { url: rabbitmq_url, authorities: None, prefix: rabbitmq_prefix, partitions: 1 },
        redis: Redis { url: redis_url, authorities: None, prefix: redis_prefix },
        ingress: Ingress { listen: free_port(), tls: None, public_url: None },
        proxy: None,
        console: Console {
            listen: free_port(),
            allowed_hosts: Vec::new(),
            tokens: Vec::new(),
            rate: REQUESTS_PER_SECOND,
            streams: 16,
        },
        admin_listen: free_port(),
        canary: None,
        openid_base_url: wechat.clone(),
        prepay_life: scale.millis(2 * 3_600),
        mweb_life: scale.millis(300),
        base_urls: vec![wechat],
        cadence: scale.cadence(),
        openid: OpenidPolicy::Omit,
        retention: Retention { orders: kept, events: kept },
        merchants: vec![Merchant {
            mch_id: MchId::new(MCH_ID).expect("is a merchant number"),
            app_ids: vec![AppId::new(APP_ID).expect("is an appid")],
            sub_mch_ids: Vec::new(),
            keys: vec![ApiKey::new(API_KEY).expect("has 32 characters")],
            algorithm: Algorithm::Md5,
            accepted: AcceptedAlgorithm::Only(Algorithm::Md5),
            unregistered: Unregistered::Emit,
            close_unpaid: false,
            queries_per_second: QUERIES_PER_SECOND,
            client_certificate: None,
            apps: Vec::new(),
            bills: BillScope::default(),
        }],
        endpoints: Vec::new(),
    }
}

pub(super) fn of_simulator(error: simulator::Error) -> Error {
    Error::Failed(format!("the simulator does not start: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_divides_the_cadence_and_leaves_notifications_two_seconds() {
        for text in ["0.9", "7.6", "1000", "NaN", "fast", ""] {
            assert!(Scale::parse(text).is_err(), "{text}");
        }
        let fastest = Scale::parse("7.5").unwrap();
        assert_eq!(fastest.seconds(15), Duration::from_secs(2));
        assert_eq!(Scale::parse("1").unwrap().cadence(), Cadence::wechat());
        let gaps = WECHAT_GAPS_S.map(|gap| Millis(gap * 1000 / 5));
        assert_eq!(Scale::parse("5").unwrap().cadence(), Cadence::from_gaps(gaps).unwrap());
    }
}
