//! Two of each role over servers that the test brings, a simulator behind them, and one fault at a time.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::servers::{free_address, unique_prefix};

use crate::{
    harness::{APP, Answer, KEY, MCH, Request, Service, Simulator, wait_for},
    load::Load,
    promise,
};

/// Looks come quickly, so that what is lost is found within the test.
const CADENCE: &str =
    "[\"1s\", \"1s\", \"2s\", \"2s\", \"4s\", \"4s\", \"8s\", \"8s\", \"16s\", \"30s\", \"1h\"]";

const ANYWHERE: &str = "127.0.0.1:0";

/// Load before and after the fault.
const CALM: Duration = Duration::from_secs(3);

/// What the design keeps in a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Everything,
    /// The ledger was emptied: payments that nobody notified wait for the bill.
    Acknowledged,
}

/// What a rig is made of.
pub struct Setup {
    pub rabbitmq: String,
    pub redis: String,
    pub prefix: String,
    /// Lines before every section.
    pub top: String,
    /// Lines of the one merchant beside its number, app and key.
    pub merchant: String,
    /// Queries per second and worker.
    pub query_rate: u32,
    /// Where WeChat reaches the first ingress by itself; otherwise the load brings it the notifications.
    pub front: Option<SocketAddr>,
}

impl Setup {
    pub fn of(rabbitmq: &str, redis: &str) -> Self {
        Self {
            rabbitmq: rabbitmq.to_owned(),
            redis: redis.to_owned(),
            prefix: unique_prefix(),
            top: String::new(),
            merchant: String::new(),
            query_rate: 1_000,
            front: None,
        }
    }

    fn to_toml(&self, simulator: SocketAddr, ingress: &str) -> String {
        let Self { rabbitmq, redis, prefix, top, merchant, query_rate, front } = self;
        let public = front.map(|front| format!("ingress.public_url = \"http://{front}\"\n"));
        let public = public.unwrap_or_default();
        format!(
            "engine = \"cluster\"\nrabbitmq.url = \"{rabbitmq}\"\nrabbitmq.prefix = \"{prefix}\"\n\
             rabbitmq.partitions = 2\nredis.url = \"{redis}\"\nredis.prefix = \"{prefix}\"\n\
             ingress.listen = \"{ingress}\"\nconsole.listen = \"{ANYWHERE}\"\nadmin.listen = \"{ANYWHERE}\"\n\
             wechat.base_urls = [\"http://{simulator}\"]\nschedule.cadence = {CADENCE}\n{public}{top}\n\
             [[merchant]]\nmch_id = \"{MCH}\"\napp_ids = [\"{APP}\"]\napi_key = \"{KEY}\"\n\
             query_rate = \"{query_rate}/s\"\n{merchant}\n"
        )
    }
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
        Self::with(&Setup::of(rabbitmq, redis), Simulator::start())
    }

    #[track_caller]
    pub fn with(setup: &Setup, simulator: Simulator) -> Self {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, ingress: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, setup.to_toml(simulator.address, ingress)).unwrap();
            path
        };
        let config = write("paybell.toml", ANYWHERE);
        let front = write("front.toml", &setup.front.map_or(ANYWHERE.to_owned(), |front| front.to_string()));
        let two = |role| (0..2).map(|_| start_role(&config, role)).collect::<Vec<_>>();
        let ingresses = vec![start_role(&front, "ingress"), start_role(&config, "ingress")];
        let (workers, schedulers, consoles) = (two("worker"), two("scheduler"), two("console"));
        let (told_within, placed, prefix) = (promise::TOLD_WITHIN, 0, setup.prefix.clone());
        let rig =
            Self { ingresses, workers, schedulers, consoles, simulator, prefix, told_within, folder, placed };
        rig.is_ready();
        rig
    }

    /// Waits until every process can work.
    #[track_caller]
    pub fn is_ready(&self) {
        for service in self.services() {
            wait_for("a role is ready", || is_ready(service.address("admin")).then_some(()));
        }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("paybell.toml")
    }

    pub fn services(&self) -> impl Iterator<Item = &Service> {
        [&self.ingresses, &self.workers, &self.schedulers, &self.consoles].into_iter().flatten()
    }

    /// One fault under load: `fault` begins it, and gives back when it is over. Then the promise is checked.
    #[track_caller]
    pub fn suffer(&mut self, name: &str, fault: impl FnOnce(&mut Rig)) {
        self.suffer_and_keep(name, Kept::Everything, fault);
    }

    /// The same for a fault that may cost the registrations.
    #[track_caller]
    pub fn suffer_and_keep(&mut self, name: &str, kept: Kept, fault: impl FnOnce(&mut Rig)) {
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

    /// What a person has to look at.
    #[track_caller]
    pub fn dead_letters(&self) -> Value {
        let answer = wait_for("the dead letters are listed", || {
            self.api("GET", "/v1/dead", None).filter(|answer| answer.status == 200)
        });
        answer.json()["dead_letters"].clone()
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

/// On an address of its own: who still calls one that was killed must not meet somebody else's process.
fn start_role(config: &Path, role: &str) -> Service {
    let address = free_address();
    let own = format!("{role}.listen = \"{address}\"");
    let text = std::fs::read_to_string(config).unwrap();
    let path = config.with_file_name(format!("{}.toml", address.port()));
    std::fs::write(&path, text.replace(&format!("{role}.listen = \"{ANYWHERE}\""), &own)).unwrap();
    Service::start_role(&path, role)
}
