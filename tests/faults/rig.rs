//! Two of each role over servers that the test brings, a simulator behind them, and one fault at a time.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::servers::unique_prefix;

use crate::{
    harness::{APP, Answer, KEY, MCH, Request, Service, Simulator, wait_for},
    load::Load,
    promise,
};

/// Looks come quickly, so that what is lost is found within the test.
const CADENCE: &str =
    "[\"1s\", \"1s\", \"2s\", \"2s\", \"4s\", \"4s\", \"8s\", \"8s\", \"16s\", \"30s\", \"1h\"]";

/// Load before and after the fault.
const CALM: Duration = Duration::from_secs(3);

/// What the design keeps in a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Everything,
    /// The ledger was emptied: payments that nobody notified wait for the bill.
    Acknowledged,
}

/// Everything of ours.
pub struct Rig {
    pub ingresses: Vec<Service>,
    pub workers: Vec<Service>,
    pub schedulers: Vec<Service>,
    pub consoles: Vec<Service>,
    pub simulator: Simulator,
    pub prefix: String,
    /// How long everything may take to be told after a fault.
    pub told_within: Duration,
    folder: TempDir,
    /// Orders so far, so that each fault has its own.
    placed: usize,
}

impl Rig {
    #[track_caller]
    pub fn start(rabbitmq: &str, redis: &str) -> Self {
        let (folder, simulator, prefix) = (TempDir::new().unwrap(), Simulator::start(), unique_prefix());
        let text = format!(
            "engine = \"cluster\"\nrabbitmq.url = \"{rabbitmq}\"\nrabbitmq.prefix = \"{prefix}\"\n\
             rabbitmq.partitions = 2\nredis.url = \"{redis}\"\nredis.prefix = \"{prefix}\"\n\
             ingress.listen = \"127.0.0.1:0\"\nconsole.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n\
             wechat.base_urls = [\"http://{}\"]\nschedule.cadence = {CADENCE}\n\
             [[merchant]]\nmch_id = \"{MCH}\"\napp_ids = [\"{APP}\"]\napi_key = \"{KEY}\"\nquery_rate = \"1000/s\"\n",
            simulator.address
        );
        std::fs::write(folder.path().join("paybell.toml"), text).unwrap();
        let config = folder.path().join("paybell.toml");
        let two = |role| (0..2).map(|_| start_role(&config, role)).collect::<Vec<_>>();
        let (ingresses, workers) = (two("ingress"), two("worker"));
        let (schedulers, consoles) = (two("scheduler"), two("console"));
        let (told_within, placed) = (promise::TOLD_WITHIN, 0);
        let rig =
            Self { ingresses, workers, schedulers, consoles, simulator, prefix, told_within, folder, placed };
        for service in rig.services() {
            wait_for("a role is ready", || is_ready(service.address("admin")).then_some(()));
        }
        rig
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("paybell.toml")
    }

    pub fn services(&self) -> impl Iterator<Item = &Service> {
        [&self.ingresses, &self.workers, &self.schedulers, &self.consoles].into_iter().flatten()
    }

    /// One fault under load: `fault` begins it, and gives back when it is over. Then the promise is checked. Gives how
    /// long it took until everything was told.
    #[track_caller]
    pub fn suffer(&mut self, name: &str, fault: impl FnOnce(&mut Rig)) -> Duration {
        self.suffer_and_keep(name, Kept::Everything, fault)
    }

    /// The same for a fault that may cost the registrations.
    #[track_caller]
    pub fn suffer_and_keep(&mut self, name: &str, kept: Kept, fault: impl FnOnce(&mut Rig)) -> Duration {
        let load = Load::start(self, self.placed);
        wait_for("the load runs", || (load.elapsed() >= CALM && load.successes() >= 20).then_some(()));
        fault(self);
        let ended = Instant::now();
        let recovered = promise::waits_for_a_fresh_payment(self, &load);
        let calm = Instant::now();
        wait_for("some more load", || (calm.elapsed() >= CALM).then_some(()));
        let loaded = load.stop();
        self.placed += loaded.orders();
        let told = promise::is_kept(self, &loaded, kept, name);
        eprintln!(
            "FAULT {name}: {} orders, {} answered SUCCESS, slowest answer {} ms; recovered {:.1} s after its end, \
             all told after {:.1} s",
            loaded.orders(),
            loaded.acknowledged().len(),
            loaded.slowest().as_millis(),
            recovered.duration_since(ended).as_secs_f64(),
            told.duration_since(ended).as_secs_f64()
        );
        told.duration_since(ended)
    }

    /// SIGKILL for one of these.
    pub fn kill(services: &mut Vec<Service>) {
        services.remove(0).process.kill();
    }

    /// A service manager brings back what was killed.
    #[track_caller]
    pub fn refill(&mut self) {
        let config = self.config();
        for (services, role) in [
            (&mut self.ingresses, "ingress"),
            (&mut self.workers, "worker"),
            (&mut self.schedulers, "scheduler"),
            (&mut self.consoles, "console"),
        ] {
            while services.len() < 2 {
                services.push(start_role(&config, role));
            }
        }
    }

    /// The record of an order, if a console can say.
    pub fn record(&self, order: &str) -> Option<Value> {
        let answer = self.api("GET", &format!("/v1/orders/{MCH}/{order}"), None)?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Whether every process of these is ready, or none.
    pub fn readiness(services: &[Service]) -> Vec<bool> {
        services.iter().map(|service| is_ready(service.address("admin"))).collect()
    }

    /// A request to whichever console answers.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        self.consoles.iter().find_map(|console| {
            let request = Request::new(method, path);
            let request = if let Some(body) = body { request.json(body) } else { request };
            request.try_send(console.address("console")).ok()
        })
    }

    pub fn ingress_addresses(&self) -> Vec<SocketAddr> {
        self.ingresses.iter().map(|ingress| ingress.address("ingress")).collect()
    }

    pub fn console_addresses(&self) -> Vec<SocketAddr> {
        self.consoles.iter().map(|console| console.address("console")).collect()
    }
}

/// Whether a process says that it can work.
pub fn is_ready(admin: SocketAddr) -> bool {
    Request::new("GET", "/readyz").try_send(admin).is_ok_and(|answer| answer.status == 200)
}

fn start_role(config: &std::path::Path, role: &str) -> Service {
    Service::start_role(config, role)
}
