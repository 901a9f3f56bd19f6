//! `paybell bench pipeline`: from the notification to the event, through all roles of a real process, against a real
//! simulator, to a subscriber of the event stream.
//!
//! Two phases. *Sustained*: a bounded number of payments is under way at any time, the next is notified when an event
//! comes. *Steady*: payments are notified at a given rate, whatever becomes of them, so that waiting shows. The orders
//! are placed and paid at the simulator beforehand, silently; the notifications are sent by this process. On the cluster
//! engine all roles are one process too, between RabbitMQ and Redis.

mod costs;
mod orders;
mod steps;
mod subscriber;

use std::{net::SocketAddr, path::Path, rc::Rc, time::Duration};

use clap::Args as ClapArgs;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    API_KEY, APP_ID, Common, MCH_ID,
    child::Child,
    client::Connection,
    float, millis,
    notifications::Notifications,
    per_second,
    report::{Aim, Report},
    servers::{EngineArg, Kind, RabbitArg, RedisArg, Servers},
    while_doing,
};
use crate::{error::Error, output};
use costs::Costs;
use steps::Steps;
use subscriber::Expected;

/// Notifications on their way to the ingress at once.
const CONNECTIONS: usize = 64;
/// The last events may take so long.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    engine: EngineArg,
    #[command(flatten)]
    rabbitmq: RabbitArg,
    #[command(flatten)]
    redis: RedisArg,
    /// Orders of the sustained phase
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(1..=400_000))]
    orders: u32,
    /// Payments under way at once in the sustained phase
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    /// Orders per second of the steady phase [default: half of what was sustained]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Seconds of the steady phase; 0 leaves it out
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=60))]
    seconds: u8,
    #[command(flatten)]
    pub common: Common,
}

impl Args {
    /// What it borrows.
    pub fn servers(&self) -> Result<Servers, Error> {
        Servers::of(&self.engine, Some(&self.rabbitmq), Some(&self.redis))
    }
}

/// The processes, and what is under way between them.
struct Bench {
    servers: Servers,
    simulator: Child,
    simulator_address: SocketAddr,
    paybell: Child,
    ingress: SocketAddr,
    admin: SocketAddr,
    notifications: Rc<Notifications>,
    expected: Rc<Expected>,
}

pub async fn measure(args: Args, servers: Servers) -> Result<Report, Error> {
    let mut report = Report::begin("pipeline");
    let folder = args.common.folder()?;
    let sustained = u64::from(args.orders);
    let rate_max = u64::from(args.rate.unwrap_or(10_000));
    let all = sustained + rate_max * u64::from(args.seconds);
    let bench = Bench::start(folder.path(), servers, usize::try_from(all).unwrap_or(usize::MAX)).await?;
    describe(&mut report, &args, bench.servers.engine());
    let mut streaming = JoinSet::new();
    let stream = Connection::open(bench.console()?).await.map_err(while_doing("subscribing to events"))?;
    let stream = subscriber::subscribe(stream).await?;
    streaming.spawn_local(stream.keep_counting(bench.expected.clone()));
    let phases = async {
        let per_second = bench.sustain(&mut report, sustained, args.in_flight.into()).await?;
        // Half of a rate is no guess about what can be kept up.
        let rate = args.rate.map_or(per_second / 2.0, f64::from).min(float(rate_max));
        if args.seconds > 0 {
            bench.keep_steady(&mut report, sustained, (rate, args.seconds)).await?;
        }
        Ok::<_, Error>(())
    };
    tokio::select! {
        done = phases => done?,
        Some(ended) = streaming.join_next() => {
            let cause = ended.map_err(|error| Error::Failed(format!("the subscriber ended: {error}")))?;
            cause.map_err(while_doing("the event stream"))?;
        }
    }
    report.figure("repeated_events", float(bench.expected.repeated()), "");
    report.figure("paybell.rss_peak_mb", bench.paybell.usage().rss_peak_mb(), "MB");
    report.figure("simulator.rss_peak_mb", bench.simulator.usage().rss_peak_mb(), "MB");
    bench.paybell.end().await?;
    bench.simulator.end().await?;
    Ok(report)
}

fn describe(report: &mut Report, args: &Args, engine: Kind) {
    report.method(format!(
        "sustained.*: {} orders with {} payments under way at once; steady.*: {} s at a fixed rate, from the moment the \
         notification was to be sent to its event at the subscriber",
        args.orders, args.in_flight, args.seconds
    ));
    report.method(format!(
        "orders unregistered, paid at the simulator beforehand; notifications over {CONNECTIONS} connections; one \
         subscriber over SSE; load, simulator and paybell share the processors"
    ));
    if engine == Kind::Cluster {
        report.method(
            "cluster engine, all roles in one process; RabbitMQ and Redis share the processors too, if they are on this \
             machine",
        );
    }
}

impl Bench {
    async fn start(folder: &Path, servers: Servers, orders: usize) -> Result<Self, Error> {
        if servers.engine() == Kind::Cluster {
            // Both are asked first, so that one that is away is told at once.
            drop((servers.baseline().await?, servers.gauge().await?));
        }
        let merchant = format!("{MCH_ID}:{APP_ID}:{API_KEY}");
        let arguments =
            ["simulate", "--listen", "127.0.0.1:0", "--log", "error", "--merchant", merchant.as_str()];
        let simulator = Child::start(&arguments).await?;
        let base_url = simulator.announced.split('"').nth(1).unwrap_or_default().to_owned();
        let simulator_address = base_url.strip_prefix("http://").and_then(|text| text.parse().ok());
        let simulator_address = simulator_address
            .ok_or_else(|| Error::Failed(format!("no address in {:?}", simulator.announced)))?;
        let paybell = start_paybell(folder, &base_url, &servers).await?;
        let (ingress, admin) = (paybell.address_of("ingress")?, paybell.address_of("admin")?);
        output::remark(&format!("signing {orders} notifications"));
        let notifications = Rc::new(Notifications::sign(orders, ingress)?);
        let expected = Rc::new(Expected::new(orders));
        Ok(Self { servers, simulator, simulator_address, paybell, ingress, admin, notifications, expected })
    }

    fn console(&self) -> Result<SocketAddr, Error> {
        self.paybell.address_of("console")
    }

    /// The first `count` orders, as fast as they go. Returns orders per second.
    async fn sustain(&self, report: &mut Report, count: u64, in_flight: usize) -> Result<f64, Error> {
        let serials = 0..usize::try_from(count).unwrap_or(usize::MAX);
        output::remark(&format!("placing and paying {count} orders"));
        orders::prepare(self.simulator_address, serials.clone()).await?;
        output::remark(&format!("{count} notifications, {in_flight} payments under way at once"));
        let steps_before = Steps::read(self.admin).await?;
        let before = Costs::now(self).await?;
        self.expected.open_window(in_flight);
        let begun = Instant::now();
        let pace = move |_: usize| None;
        let acks = self.notify(serials, pace).await?;
        self.expected.all(count, PATIENCE).await?;
        let took = begun.elapsed();
        let speed = per_second(count, took);
        let aim = match self.servers.engine() {
            Kind::Embedded => 4_000.0,
            Kind::Cluster => 2_000.0,
        };
        report.aimed("sustained.orders_per_second", speed, "orders/s", Aim::AtLeast(aim));
        let latency = self.expected.take_latency();
        report.figure("sustained.event_p50_ms", latency.millis_at(0.5), "ms");
        report.figure("sustained.event_p99_ms", latency.millis_at(0.99), "ms");
        report.figure("sustained.ack_mean_ms", millis(acks) / float(count), "ms");
        Costs::now(self).await?.since(before).tell(report, count, took);
        Steps::read(self.admin).await?.since(&steps_before).tell(report);
        Ok(speed)
    }

    /// Orders behind the first `after` at a rate.
    async fn keep_steady(
        &self,
        report: &mut Report,
        after: u64,
        (rate, seconds): (f64, u8),
    ) -> Result<(), Error> {
        let length = Duration::from_secs(seconds.into());
        let gap = Duration::from_secs_f64(1.0 / rate.max(1.0));
        let first = usize::try_from(after).unwrap_or(usize::MAX);
        let count = usize::try_from(length.as_nanos() / gap.as_nanos().max(1)).unwrap_or(0);
        output::remark(&format!("placing and paying {count} orders"));
        orders::prepare(self.simulator_address, first..first + count).await?;
        output::remark(&format!("{count} notifications in {seconds} s"));
        self.expected.open_window(count);
        let begun = Instant::now();
        let pace = move |serial: usize| Some(begun + gap * u32::try_from(serial - first).unwrap_or(u32::MAX));
        self.notify(first..first + count, pace).await?;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.expected.all(after + count, PATIENCE).await?;
        let latency = self.expected.take_latency();
        report.figure("steady.orders_per_second", per_second(count, length), "orders/s");
        report.figure("steady.event_p50_ms", latency.millis_at(0.5), "ms");
        report.figure("steady.event_p99_ms", latency.millis_at(0.99), "ms");
        report.figure("steady.event_p999_ms", latency.millis_at(0.999), "ms");
        Ok(())
    }

    /// Sends these notifications, each at its time; returns how long their answers took, all together.
    async fn notify(
        &self,
        serials: std::ops::Range<usize>,
        pace: impl Fn(usize) -> Option<Instant> + Copy + 'static,
    ) -> Result<Duration, Error> {
        let left = Rc::new(std::cell::RefCell::new(serials));
        let mut senders = JoinSet::new();
        for _ in 0..CONNECTIONS {
            let mut connection =
                Connection::open(self.ingress).await.map_err(while_doing("connecting to the ingress"))?;
            let (left, notifications, expected) =
                (left.clone(), self.notifications.clone(), self.expected.clone());
            senders.spawn_local(async move {
                let (mut request, mut waited) = (Vec::new(), Duration::ZERO);
                loop {
                    expected.place().await;
                    let Some(serial) = left.borrow_mut().next() else {
                        // For the next sender that waits: nothing more comes that would give it one.
                        expected.give_back();
                        return Ok(waited);
                    };
                    let asked_at = on_time(pace(serial)).await;
                    notifications.write(serial, &mut request);
                    expected.notified(serial, asked_at);
                    let sent_at = Instant::now();
                    let answer = connection.exchange(&request).await?;
                    waited += sent_at.elapsed();
                    if answer.status != 200 {
                        let status = answer.status;
                        return Err(std::io::Error::other(format!("a notification was answered {status}")));
                    }
                }
            });
        }
        let mut waited = Duration::ZERO;
        while let Some(ended) = senders.join_next().await {
            let ended = ended.map_err(|error| Error::Failed(format!("a task ended: {error}")))?;
            waited += ended.map_err(while_doing("notifying"))?;
        }
        Ok(waited)
    }
}

async fn start_paybell(folder: &Path, base_url: &str, servers: &Servers) -> Result<Child, Error> {
    let config = folder.join("paybell.toml");
    let (data_dir, engine) = (folder.join("data"), servers.as_toml());
    let text = format!(
        "{engine}[embedded]\ndata_dir = {data_dir:?}\n[ingress]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n[wechat]\nbase_urls = [\"{base_url}\"]\n\
         [[merchant]]\nmch_id = \"{MCH_ID}\"\napp_ids = [\"{APP_ID}\"]\napi_key = \"{API_KEY}\"\nquery_rate = \"100000/s\"\n"
    );
    std::fs::write(&config, text).map_err(while_doing("writing the configuration"))?;
    let config = config.to_string_lossy();
    let child = Child::start(&["run", "--print-addresses", "--log", "error", "--config", &config]).await?;
    child.ready().await?;
    Ok(child)
}

/// Waits for the time, if there is one and it is not past. A latency counts from when the request was to be sent: if
/// that is past, the wait for a free connection is a part of it.
async fn on_time(at: Option<Instant>) -> Instant {
    match at {
        Some(at) if at > Instant::now() => {
            sleep_until(at).await;
            Instant::now()
        }
        Some(at) => at,
        None => Instant::now(),
    }
}
