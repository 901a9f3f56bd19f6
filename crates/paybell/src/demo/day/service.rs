//! Paybell as a process of its own that can be killed, and the simulator that it talks to. Its folder, certificate and
//! configuration lie in one temporary folder, which goes with it.

use std::{fmt::Write, net::SocketAddr, path::PathBuf, time::Duration};

use paybell_core::cadence::WECHAT_GAPS_S;
use simulator::{Control, MerchantConfig, Settings, Simulator, SimulatorConfig, TlsListen};
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;

use super::script::Script;
use crate::{
    bench::child::Child,
    clock,
    demo::{
        plan::{API_KEY, APP_ID, MCH_ID},
        stage::{Scale, of_simulator},
    },
    error::Error,
};

const DAY_MS: i64 = 86_400_000;
const NOON_MS: i64 = DAY_MS / 2;
/// Beijing is eight hours ahead.
const BEIJING_MS: i64 = 8 * 3_600_000;
/// Money is on its way back for so long, in WeChat's seconds.
const REFUND_S: u64 = 5;

/// The simulator and the process.
pub struct Service {
    simulator: Simulator,
    simulator_stop: CancellationToken,
    process: Option<Child>,
    folder: TempDir,
    scale: Scale,
    /// The day that is played, `2026-11-19`.
    pub day: String,
    /// Addresses, as `HOST:PORT`: the same after a restart, as WeChat and the shop know them.
    ingress: Address,
    console: Address,
}

impl Service {
    /// Starts both.
    pub async fn start(script: &Script, scale: Scale) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("paybell-day-").tempdir()?;
        let now_ms = i64::try_from(clock::whole_seconds_since_1970()).unwrap_or(i64::MAX / 2) * 1000;
        let today = (now_ms + BEIJING_MS).div_euclid(DAY_MS) * DAY_MS - BEIJING_MS;
        let yesterday = today - DAY_MS;
        let day =
            wechat_pay::beijing::format_spaced(yesterday).and_then(|text| text.get(..10).map(str::to_owned));
        let day = day.ok_or_else(|| Error::Failed("this machine's clock is out of all reason".to_owned()))?;
        let simulator_stop = CancellationToken::new();
        let merchant = MerchantConfig::new(MCH_ID, APP_ID, API_KEY).map_err(of_simulator)?;
        let listen = "127.0.0.1:0".to_owned();
        let config = SimulatorConfig {
            merchants: vec![merchant],
            faults: script.faults.clone(),
            clock_scale: scale.factor(),
            clock_offset_s: (yesterday + NOON_MS - now_ms) / 1000,
            settings: Settings { refund_delay_s: REFUND_S, ..Settings::default() },
            // Only for the merchant's certificate, which it makes.
            tls: Some(TlsListen { listen, folder: folder.path().join("certificates") }),
            ..SimulatorConfig::default()
        };
        let simulator = Simulator::start(config, simulator_stop.clone()).await.map_err(of_simulator)?;
        let (ingress, console) = (Address::held()?, Address::held()?);
        let mut service =
            Self { simulator, simulator_stop, process: None, folder, scale, day, ingress, console };
        service.start_again().await?;
        Ok(service)
    }

    /// SIGKILL: it finishes nothing.
    pub async fn kill(&mut self) -> Result<(), Error> {
        match self.process.take() {
            Some(process) => process.end().await,
            None => Ok(()),
        }
    }

    /// On the same folder and the same addresses.
    pub async fn start_again(&mut self) -> Result<(), Error> {
        let config = self.config();
        tokio::fs::write(&config, self.toml()).await?;
        let config = config.display().to_string();
        let process =
            Child::start(&["run", "--config", &config, "--print-addresses", "--log", "error"]).await?;
        process.ready().await?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends both, and removes the folder.
    pub async fn end(mut self) -> Result<(), Error> {
        self.kill().await?;
        self.simulator_stop.cancel();
        self.simulator.stopped().await;
        Ok(self.folder.close()?)
    }

    /// The payers' side of WeChat, and what is true there.
    pub fn control(&self) -> Control {
        self.simulator.control()
    }

    /// Where WeChat is.
    pub fn wechat(&self) -> String {
        self.simulator.base_url()
    }

    /// Where WeChat is to send notifications.
    pub fn notify_url(&self) -> String {
        format!("http://{}/notify/pay", self.ingress.shown)
    }

    /// Where the private API is, as `HOST:PORT`.
    pub fn console(&self) -> &str {
        &self.console.shown
    }

    /// What `paybell run` reads.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("paybell.toml")
    }

    fn toml(&self) -> String {
        let folder = self.folder.path();
        let papers = folder.join("certificates").join(MCH_ID);
        let mut cadence = String::new();
        for gap in WECHAT_GAPS_S {
            let gap =
                self.scale.seconds(u32::try_from(gap).unwrap_or(u32::MAX)).max(Duration::from_millis(1));
            // Writing to a text always succeeds.
            let _ = write!(cadence, "\"{}ms\", ", gap.as_millis());
        }
        format!(
            "embedded.data_dir = {data:?}\nwechat.base_urls = [{wechat:?}]\nschedule.cadence = [{cadence}]\n\
             ingress.listen = {ingress:?}\ningress.public_url = \"http://{ingress}\"\nconsole.listen = {console:?}\n\
             admin.listen = \"127.0.0.1:0\"\nreconcile.automatic = false\n\n[[merchant]]\nmch_id = {MCH_ID:?}\n\
             app_ids = [{APP_ID:?}]\napi_key = {API_KEY:?}\nquery_rate = \"1000/s\"\n\
             active_since = \"{day}T00:00:00+08:00\"\nclient_cert_file = {cert:?}\nclient_key_file = {key:?}\n",
            data = folder.join("data").display().to_string(),
            wechat = self.wechat(),
            ingress = self.ingress.shown,
            console = self.console.shown,
            day = self.day,
            cert = papers.join("apiclient_cert.pem").display().to_string(),
            key = papers.join("apiclient_key.pem").display().to_string(),
        )
    }
}

/// An address that the service has whenever it runs, and that nobody else is given while it does not.
struct Address {
    shown: String,
    /// Bound, and never listening: only who names the port itself may listen on it beside this.
    _held: TcpSocket,
}

impl Address {
    fn held() -> Result<Self, Error> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        Ok(Self { shown: socket.local_addr()?.to_string(), _held: socket })
    }
}
