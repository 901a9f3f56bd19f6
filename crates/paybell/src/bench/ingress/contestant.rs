//! Who is measured, and one measurement of each. Prints nothing; what comes of it goes to the table.

use std::{net::SocketAddr, path::Path, rc::Rc, time::Duration};

use rabbitmq::Baseline;
use tokio::process::Command;

use super::{Args, WARM_UP, raw};
use crate::{
    bench::{
        API_KEY, APP_ID, MCH_ID,
        child::Child,
        load::{Extent, Latency, Load, Measured, apply},
        machine::{Usage, busy},
        micros_each,
        notifications::Notifications,
        per_second,
        report::Report,
        servers::{Kind, PEER, RAW, Servers},
        while_doing,
    },
    error::Error,
};

/// A server under test.
pub struct HttpServer {
    pub name: &'static str,
    pub address: SocketAddr,
    pub child: Child,
}

/// All of them, in the order in which they take their turns.
pub struct Contestants {
    bare: HttpServer,
    verify: HttpServer,
    broker: Option<Broker>,
    peer: Option<HttpServer>,
    paybell: HttpServer,
}

/// RabbitMQ past the engine.
struct Broker {
    baseline: Rc<Baseline>,
    queue: String,
}

/// One measurement.
pub struct Sample {
    pub contestant: &'static str,
    pub connections: u16,
    pub per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub cpu_us: f64,
    /// Processor time of everybody else, in percent of one processor.
    pub others_percent: f64,
}

impl Contestants {
    pub async fn start(args: &Args, servers: &Servers, folder: &Path) -> Result<Self, Error> {
        let (bare, verify) = (HttpServer::without("bare").await?, HttpServer::without("verify").await?);
        let (mut broker, mut peer) = (None, None);
        if servers.engine() == Kind::Cluster {
            let mut baseline = servers.baseline().await?;
            let declared = |error: rabbitmq::topology::Unasked| Error::Failed(format!("RabbitMQ: {error}"));
            let queue = baseline.declare(RAW).await.map_err(declared)?;
            if let Some(folder) = &args.peer {
                let queue = baseline.declare(PEER).await.map_err(declared)?;
                peer = Some(HttpServer::peer(folder, servers, &queue).await?);
            }
            broker = Some(Broker { baseline: Rc::new(baseline), queue });
        }
        let paybell = HttpServer::paybell(folder, servers).await?;
        Ok(Self { bare, verify, broker, peer, paybell })
    }

    /// Where the load goes if nobody says otherwise.
    pub fn address(&self) -> SocketAddr {
        self.paybell.address
    }

    /// One turn of each.
    pub async fn measure(
        &self,
        connections: u16,
        seconds: u8,
        notifications: &Rc<Notifications>,
        samples: &mut Vec<Sample>,
    ) -> Result<(), Error> {
        let measured = Duration::from_secs(seconds.into());
        samples.push(self.bare.sample(connections, measured, notifications).await?);
        samples.push(self.verify.sample(connections, measured, notifications).await?);
        if let Some(Broker { baseline, queue }) = &self.broker {
            samples.push(raw::sample(baseline, queue, connections, measured).await?);
            self.empty().await?;
        }
        if let Some(peer) = &self.peer {
            samples.push(peer.sample(connections, measured, notifications).await?);
            self.empty().await?;
        }
        samples.push(self.paybell.sample(connections, measured, notifications).await?);
        self.empty().await
    }

    /// Ends all of them, and tells how much memory each server took.
    pub async fn end(self, report: &mut Report) -> Result<(), Error> {
        let servers = [Some(self.bare), Some(self.verify), self.peer, Some(self.paybell)];
        for server in servers.into_iter().flatten() {
            let peak_mb = server.child.usage().rss_peak_mb();
            report.figure(format!("{}.rss_peak_mb", server.name), peak_mb, "MB");
            server.child.end().await?;
        }
        Ok(())
    }

    async fn empty(&self) -> Result<(), Error> {
        let Some(broker) = &self.broker else { return Ok(()) };
        let purged = broker.baseline.purge().await;
        purged.map(drop).map_err(|error| Error::Failed(format!("RabbitMQ: emptying the queues: {error}")))
    }
}

impl HttpServer {
    /// What is left out is a baseline.
    async fn without(name: &'static str) -> Result<Self, Error> {
        let child = Child::start(&["bench", "serve", name]).await?;
        let address = child.announced.trim().parse();
        let address =
            address.map_err(|_| Error::Failed(format!("{name}: no address in {:?}", child.announced)))?;
        Ok(Self { name, address, child })
    }

    /// The product itself, ingress role only.
    pub async fn paybell(folder: &Path, servers: &Servers) -> Result<Self, Error> {
        let config = folder.join("paybell.toml");
        let (data_dir, engine) = (folder.join("data"), servers.as_toml());
        let text = format!(
            "{engine}[embedded]\ndata_dir = {data_dir:?}\n[ingress]\nlisten = \"127.0.0.1:0\"\n\
             [admin]\nlisten = \"127.0.0.1:0\"\n\
             [[merchant]]\nmch_id = \"{MCH_ID}\"\napp_ids = [\"{APP_ID}\"]\napi_key = \"{API_KEY}\"\n"
        );
        std::fs::write(&config, text).map_err(while_doing("writing the configuration"))?;
        let config = config.to_string_lossy();
        let arguments = ["run", "ingress", "--print-addresses", "--log", "error", "--config", &config];
        let child = Child::start(&arguments).await?;
        child.ready().await?;
        let address = child.address_of("ingress")?;
        Ok(Self { name: "paybell", address, child })
    }

    /// The same job in Node. The URL may hold a password: it goes by the environment.
    async fn peer(folder: &Path, servers: &Servers, queue: &str) -> Result<Self, Error> {
        let mut command = Command::new("node");
        command.arg(folder.join("server.js")).args(["--port", "0", "--queue", queue, "--key", API_KEY]);
        command.args(["--mch-id", MCH_ID]).env("AMQP_URL", &servers.rabbit().url);
        let child = Child::announcing(command, "starting the peer with node").await?;
        let port = child.announced.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
        let port: u16 =
            port.ok_or_else(|| Error::Failed(format!("the peer: no port in {:?}", child.announced)))?;
        Ok(Self { name: "node", address: ([127, 0, 0, 1], port).into(), child })
    }

    async fn sample(
        &self,
        connections: u16,
        measured: Duration,
        notifications: &Rc<Notifications>,
    ) -> Result<Sample, Error> {
        let extent = Extent::Time(WARM_UP, measured);
        let load = Load { server: self.address, connections: connections.into(), extent };
        let before = Costs::now(Some(&self.child));
        let Measured { answered, refused, time, latency } = apply(load, notifications).await?;
        let costs = Costs::now(Some(&self.child)).since(before);
        if refused > 0 || answered == 0 {
            let name = self.name;
            return Err(Error::Failed(format!("{name}: {refused} notifications were refused")));
        }
        Ok(Sample::of((self.name, connections), (answered, time), &latency, costs))
    }
}

/// Processor time: of the server under test, of this process, of the whole machine.
#[derive(Clone, Copy)]
pub struct Costs {
    server: Duration,
    load: Duration,
    all: Duration,
}

impl Costs {
    /// Without a server it is this process that is under test.
    pub fn now(server: Option<&Child>) -> Self {
        let own = Usage::of("self").cpu;
        match server {
            Some(child) => Self { server: child.usage().cpu, load: own, all: busy() },
            None => Self { server: own, load: Duration::ZERO, all: busy() },
        }
    }

    pub fn since(self, before: Self) -> Self {
        Self {
            server: self.server.saturating_sub(before.server),
            load: self.load.saturating_sub(before.load),
            all: self.all.saturating_sub(before.all),
        }
    }
}

impl Sample {
    pub fn of(
        (contestant, connections): (&'static str, u16),
        (answered, time): (u64, Duration),
        latency: &Latency,
        costs: Costs,
    ) -> Self {
        let whole = WARM_UP + time;
        let others = costs.all.saturating_sub(costs.server + costs.load);
        Self {
            contestant,
            connections,
            per_second: per_second(answered, time),
            p50_ms: latency.millis_at(0.5),
            p99_ms: latency.millis_at(0.99),
            p999_ms: latency.millis_at(0.999),
            // The warm-up is as fast as the rest: its share is taken off by time.
            cpu_us: micros_each(costs.server.mul_f64(time.as_secs_f64() / whole.as_secs_f64()), answered),
            others_percent: others.as_secs_f64() / whole.as_secs_f64() * 100.0,
        }
    }
}
