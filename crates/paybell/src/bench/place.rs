//! `paybell bench place`: what placing costs beside the call that it makes. The same orders three times, over the same
//! number of connections: straight to the simulator with the protocol's own client, through `POST …/place` of a real
//! process with all roles, and the same again, which is answered from the record.
//!
//! The simulator answers at once, as WeChat does not: the difference between the first two is our own.

use std::{
    cell::RefCell, io, net::SocketAddr, num::NonZeroU32, ops::Range, path::Path, rc::Rc, time::Duration,
};

use clap::Args as ClapArgs;
use tokio::{task::JoinSet, time::Instant};
use wechat_pay::{
    client::{Client, ClientConfig, KeyRing, MerchantAccount, Priority},
    request::OrderRef,
    sign::{Algorithm, ApiKey},
    unified_order::{Trade, UnifiedOrder, UnifiedOrderResult},
};

use super::{
    API_KEY, APP_ID, Common, MCH_ID,
    child::Child,
    client::Connection,
    float,
    load::Latency,
    machine::Usage,
    notifications::{TOTAL_FEE, out_trade_no},
    per_second,
    report::Report,
    servers::{EngineArg, Kind, RabbitArg, RedisArg, Servers},
    while_doing,
};
use crate::{error::Error, output};

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    engine: EngineArg,
    #[command(flatten)]
    rabbitmq: RabbitArg,
    #[command(flatten)]
    redis: RedisArg,
    /// Orders
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    orders: u32,
    /// Demands under way at once
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    #[command(flatten)]
    pub common: Common,
}

impl Args {
    /// What it borrows.
    pub fn servers(&self) -> Result<Servers, Error> {
        Servers::of(&self.engine, Some(&self.rabbitmq), Some(&self.redis))
    }
}

/// The orders that are left, and how long those took that are not.
struct Laps {
    left: RefCell<Range<usize>>,
    latency: RefCell<Latency>,
}

/// How it went over all connections.
struct Lap {
    took: Duration,
    latency: Latency,
}

pub async fn measure(args: Args, servers: Servers) -> Result<Report, Error> {
    let mut report = Report::begin("place");
    let (orders, connections) = (usize::try_from(args.orders).unwrap_or(usize::MAX), args.connections);
    let folder = args.common.folder()?;
    if servers.engine() == Kind::Cluster {
        // Both are asked first, so that one that is away is told at once.
        drop((servers.baseline().await?, servers.gauge().await?));
    }
    let merchant = format!("{MCH_ID}:{APP_ID}:{API_KEY}");
    let arguments = ["simulate", "--listen", "127.0.0.1:0", "--log", "error", "--merchant", &merchant];
    let simulator = Child::start(&arguments).await?;
    let base_url = simulator.announced.split('"').nth(1).unwrap_or_default().to_owned();
    let paybell = start(folder.path(), &base_url, &servers).await?;
    let console = paybell.address_of("console")?;
    report.method(format!(
        "{orders} NATIVE orders over {connections} connections. wechat.*: unifiedorder straight to the simulator; place.*: \
         POST …/place, which registers, begins, calls, and stores the offer; repeat.*: the same again, from the record"
    ));
    report.method("load, simulator and paybell (all roles in one process) share the processors");
    output::remark(&format!("{orders} orders straight to the simulator"));
    let before = simulator.usage();
    // Numbers of their own: the simulator is to place each order of each lap.
    let lap = straight(&base_url, orders..orders * 2, connections).await?;
    tell(&mut report, "wechat", orders, &lap);
    report.figure("wechat.simulator_cpu_us", cpu_us(before, simulator.usage(), orders), "µs/order");
    for (name, status) in [("place", 201), ("repeat", 200)] {
        output::remark(&format!("{orders} demands ({name})"));
        let before = (paybell.usage(), simulator.usage());
        let lap = demand(console, 0..orders, (connections, status)).await?;
        tell(&mut report, name, orders, &lap);
        report.figure(
            format!("{name}.paybell_cpu_us"),
            cpu_us(before.0, paybell.usage(), orders),
            "µs/order",
        );
        let of_simulator = cpu_us(before.1, simulator.usage(), orders);
        report.figure(format!("{name}.simulator_cpu_us"), of_simulator, "µs/order");
    }
    report.figure("paybell.rss_peak_mb", paybell.usage().rss_peak_mb(), "MB");
    paybell.end().await?;
    simulator.end().await?;
    Ok(report)
}

fn tell(report: &mut Report, name: &str, orders: usize, lap: &Lap) {
    let orders = u64::try_from(orders).unwrap_or(u64::MAX);
    report.figure(format!("{name}.per_second"), per_second(orders, lap.took), "orders/s");
    report.figure(format!("{name}.p50_ms"), lap.latency.millis_at(0.5), "ms");
    report.figure(format!("{name}.p99_ms"), lap.latency.millis_at(0.99), "ms");
}

fn cpu_us(before: Usage, after: Usage, orders: usize) -> f64 {
    let used = after.cpu.saturating_sub(before.cpu).as_secs_f64();
    used * 1e6 / float(u64::try_from(orders).unwrap_or(u64::MAX))
}

/// Places with the protocol's own client.
async fn straight(base_url: &str, serials: Range<usize>, connections: u16) -> Result<Lap, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Failed(format!("calling the simulator: {error}"));
    let key = ApiKey::new(API_KEY).map_err(|error| failed(&error))?;
    let rate = NonZeroU32::new(100_000).expect("it is not zero");
    let app_ids = vec![APP_ID.to_owned()];
    let ring = KeyRing::new(key, None);
    let account = Rc::new(MerchantAccount::new(MCH_ID, app_ids, ring, Algorithm::Md5, rate));
    let config = ClientConfig { base_urls: vec![base_url.to_owned()], ..ClientConfig::default() };
    let client = Rc::new(Client::new(config).map_err(|error| failed(&error))?);
    let total_fee = i64::try_from(TOTAL_FEE).unwrap_or(i64::MAX);
    let laps = Laps::of(serials);
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (laps, account, client) = (laps.clone(), account.clone(), client.clone());
        tasks.spawn_local(async move {
            while let Some(serial) = laps.next() {
                let number = out_trade_no(serial);
                let trade = Trade::Native { product_id: number.clone() };
                let order = OrderRef::new(APP_ID, &*number);
                let mut order = UnifiedOrder::new(order, trade, "bench", total_fee);
                order.notify_url = "http://127.0.0.1:9/notify/pay".to_owned();
                let sent_at = Instant::now();
                let answer = client.unified_order(&account, &order, Priority::Urgent).await;
                let answer = answer.map_err(io::Error::other)?.into_inner();
                laps.took(sent_at.elapsed());
                if !matches!(answer.result, UnifiedOrderResult::Placed(_)) {
                    return Err(io::Error::other(format!("{number} was refused")));
                }
            }
            Ok(())
        });
    }
    laps.end(tasks).await
}

/// Places through the private API; each demand is answered with `status`.
async fn demand(
    console: SocketAddr,
    serials: Range<usize>,
    (connections, status): (u16, u16),
) -> Result<Lap, Error> {
    let body = format!("{{\"trade_type\":\"NATIVE\",\"total_fee\":{TOTAL_FEE},\"body\":\"bench\"}}");
    let mut open = Vec::new();
    for _ in 0..connections {
        let connection = Connection::open(console).await;
        open.push(connection.map_err(while_doing("connecting to the private API"))?);
    }
    let laps = Laps::of(serials);
    let mut tasks = JoinSet::new();
    for mut connection in open {
        let (laps, body) = (laps.clone(), body.clone());
        tasks.spawn_local(async move {
            while let Some(serial) = laps.next() {
                let (number, length) = (out_trade_no(serial), body.len());
                let request = format!(
                    "POST /v1/orders/{MCH_ID}/{number}/place HTTP/1.1\r\nHost: {console}\r\n\
                     Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                let sent_at = Instant::now();
                let answer = connection.exchange(request.as_bytes()).await?;
                laps.took(sent_at.elapsed());
                if answer.status != status {
                    let said = String::from_utf8_lossy(answer.body);
                    return Err(io::Error::other(format!("{number} was answered {}: {said}", answer.status)));
                }
            }
            Ok(())
        });
    }
    laps.end(tasks).await
}

impl Laps {
    fn of(serials: Range<usize>) -> Rc<Self> {
        Rc::new(Self { left: RefCell::new(serials), latency: RefCell::new(Latency::new()) })
    }

    fn next(&self) -> Option<usize> {
        self.left.borrow_mut().next()
    }

    fn took(&self, time: Duration) {
        self.latency.borrow_mut().record(time);
    }

    async fn end(self: Rc<Self>, mut tasks: JoinSet<io::Result<()>>) -> Result<Lap, Error> {
        let begun = Instant::now();
        while let Some(ended) = tasks.join_next().await {
            let ended = ended.map_err(|error| Error::Failed(format!("a task ended: {error}")))?;
            ended.map_err(while_doing("placing orders"))?;
        }
        Ok(Lap { took: begun.elapsed(), latency: self.latency.replace(Latency::new()) })
    }
}

async fn start(folder: &Path, base_url: &str, servers: &Servers) -> Result<Child, Error> {
    let config = folder.join("paybell.toml");
    let (data_dir, engine) = (folder.join("data"), servers.as_toml());
    let text = format!(
        "{engine}[embedded]\ndata_dir = {data_dir:?}\n[ingress]\nlisten = \"127.0.0.1:0\"\n\
         [console]\nlisten = \"127.0.0.1:0\"\nrate = \"100000/s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [wechat]\nbase_urls = [\"{base_url}\"]\n\
         [[merchant]]\nmch_id = \"{MCH_ID}\"\napp_ids = [\"{APP_ID}\"]\napi_key = \"{API_KEY}\"\nquery_rate = \"100000/s\"\n"
    );
    std::fs::write(&config, text).map_err(while_doing("writing the configuration"))?;
    let config = config.to_string_lossy();
    let child = Child::start(&["run", "--print-addresses", "--log", "error", "--config", &config]).await?;
    child.ready().await?;
    Ok(child)
}
