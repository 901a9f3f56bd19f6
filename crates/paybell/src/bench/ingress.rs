//! `paybell bench ingress`: what taking notifications costs, beside what HTTP alone costs on the same machine.
//!
//! Three processes: *bare* (hyper, a constant answer), *verify* (the ingress, its queue keeps nothing) and *paybell*
//! (`paybell run ingress` on the embedded engine). They are loaded in turn, several rounds, and the medians count, so
//! that a disturbance hits all three alike. Nothing takes checks out: the queue only grows.

use std::{net::SocketAddr, path::Path, rc::Rc, time::Duration};

use clap::Args as ClapArgs;
use serde_json::Value;

use super::{
    API_KEY, APP_ID, Common, MCH_ID,
    child::Child,
    load::{Extent, Load, Measured, apply},
    machine::{Usage, busy},
    median, micros_each,
    notifications::Notifications,
    per_second,
    report::{Aim, Report, Table, rounded},
    while_doing,
};
use crate::{error::Error, output};

const WARM_UP: Duration = Duration::from_millis(500);
/// Distinct notifications, fewest and most; when they are used up they come again, and are stored again.
const DISTINCT: [u32; 2] = [100_000, 1_000_000];
/// Connections of the run that counts memory.
const MEMORY_CONNECTIONS: usize = 64;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Numbers of connections to measure at
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,64,256",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: Vec<u16>,
    /// Interleaved rounds, whose medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=30))]
    rounds: u8,
    /// Measured seconds of each server in each round, after half a second of warm-up
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=60))]
    seconds: u8,
    /// Notifications of the run that counts the server's memory; 0 leaves it out
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    notifications: u32,
    #[command(flatten)]
    pub common: Common,
}

/// A server under test.
struct Server {
    name: &'static str,
    address: SocketAddr,
    child: Child,
}

/// One measurement.
struct Sample {
    server: &'static str,
    connections: u16,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    cpu_us: f64,
    /// Processor time of everybody else, in percent of one processor.
    others_percent: f64,
}

pub async fn measure(args: Args) -> Result<Report, Error> {
    let mut report = Report::begin("ingress");
    let folder = args.common.folder()?;
    let servers = start_servers(folder.path()).await?;
    let address = servers.first().map(|server| server.address).expect("three servers were started");
    let [fewest, most] = DISTINCT;
    let distinct = usize::try_from(args.notifications.clamp(fewest, most)).unwrap_or(usize::MAX);
    output::remark(&format!("signing {distinct} notifications"));
    let notifications = Rc::new(Notifications::sign(distinct, address)?);
    let mut samples = Vec::new();
    for round in 1..=args.rounds {
        for connections in &args.connections {
            output::remark(&format!("round {round} of {}: {connections} connections", args.rounds));
            for server in &servers {
                samples.push(sample(server, *connections, &args, &notifications).await?);
            }
        }
    }
    describe(&mut report, &args, distinct);
    tell_samples(&mut report, &args, &samples, &servers);
    for server in servers {
        server.child.end().await?;
    }
    if args.notifications > 0 {
        let folder = args.common.folder()?;
        memory(&mut report, folder.path(), u64::from(args.notifications), &notifications).await?;
    }
    Ok(report)
}

async fn start_servers(folder: &Path) -> Result<[Server; 3], Error> {
    Ok([baseline("bare").await?, baseline("verify").await?, paybell(folder).await?])
}

async fn baseline(name: &'static str) -> Result<Server, Error> {
    let child = Child::start(&["bench", "serve", name]).await?;
    let address = child.announced.trim().parse();
    let address =
        address.map_err(|_| Error::Failed(format!("{name}: no address in {:?}", child.announced)))?;
    Ok(Server { name, address, child })
}

/// The product itself, ingress role only.
async fn paybell(folder: &Path) -> Result<Server, Error> {
    let config = folder.join("paybell.toml");
    let data_dir = folder.join("data");
    let text = format!(
        "[embedded]\ndata_dir = {data_dir:?}\n[ingress]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[merchant]]\nmch_id = \"{MCH_ID}\"\napp_ids = [\"{APP_ID}\"]\napi_key = \"{API_KEY}\"\n"
    );
    std::fs::write(&config, text).map_err(while_doing("writing the configuration"))?;
    let config = config.to_string_lossy();
    let child =
        Child::start(&["run", "ingress", "--print-addresses", "--log", "error", "--config", &config]).await?;
    let address = address_of(&child.announced, "ingress")?;
    Ok(Server { name: "paybell", address, child })
}

/// One of the addresses that `run --print-addresses` printed.
pub fn address_of(announced: &str, listener: &str) -> Result<SocketAddr, Error> {
    let addresses: Value = serde_json::from_str(announced).unwrap_or_default();
    let address = addresses.get(listener).and_then(Value::as_str).and_then(|text| text.parse().ok());
    address.ok_or_else(|| Error::Failed(format!("no address of {listener} in {announced:?}")))
}

async fn sample(
    server: &Server,
    connections: u16,
    args: &Args,
    notifications: &Rc<Notifications>,
) -> Result<Sample, Error> {
    let measured = Duration::from_secs(args.seconds.into());
    let load = Load {
        server: server.address,
        connections: connections.into(),
        extent: Extent::Time(WARM_UP, measured),
    };
    let before = (server.child.usage().cpu, Usage::of("self").cpu, busy());
    let Measured { answered, refused, time, latency } = apply(load, notifications).await?;
    let after = (server.child.usage().cpu, Usage::of("self").cpu, busy());
    if refused > 0 || answered == 0 {
        return Err(Error::Failed(format!("{}: {refused} notifications were refused", server.name)));
    }
    let whole = WARM_UP + measured;
    let (served, loaded) = (after.0 - before.0, after.1 - before.1);
    let others = (after.2 - before.2).saturating_sub(served + loaded);
    Ok(Sample {
        server: server.name,
        connections,
        per_second: per_second(answered, time),
        p50_ms: latency.millis_at(0.5),
        p99_ms: latency.millis_at(0.99),
        p999_ms: latency.millis_at(0.999),
        // The warm-up is as fast as the rest: its share is taken off by time.
        cpu_us: micros_each(served.mul_f64(measured.as_secs_f64() / whole.as_secs_f64()), answered),
        others_percent: others.as_secs_f64() / whole.as_secs_f64() * 100.0,
    })
}

fn describe(report: &mut Report, args: &Args, distinct: usize) {
    let Args { rounds, seconds, .. } = args;
    report.method(format!(
        "{rounds} interleaved rounds of {seconds} s after {} ms of warm-up; medians; ratios are medians of the rounds' ratios",
        WARM_UP.as_millis()
    ));
    report.method(format!(
        "closed loop on one thread of another process over loopback; {distinct} distinct pre-signed notifications in turn"
    ));
    report.method(
        "paybell: `run ingress` on the embedded engine, every check fsynced before its answer; no worker: checks pile up",
    );
}

fn tell_samples(report: &mut Report, args: &Args, samples: &[Sample], servers: &[Server; 3]) {
    let headers = vec![
        "connections",
        "server",
        "requests/s",
        "/ bare",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "cpu us/request",
        "others %",
    ];
    let mut table = Table { headers, rows: Vec::new() };
    for connections in &args.connections {
        for server in servers {
            table.rows.push(tell_cell(report, samples, *connections, server.name));
        }
    }
    for server in servers {
        report.figure(format!("{}.rss_peak_mb", server.name), server.child.usage().rss_peak_mb(), "MB");
    }
    report.table(table);
}

fn tell_cell(report: &mut Report, samples: &[Sample], connections: u16, server: &str) -> Vec<String> {
    let of = |name: &str| -> Vec<&Sample> {
        samples.iter().filter(|sample| sample.connections == connections && sample.server == name).collect()
    };
    let (bare, cell) = (of("bare"), of(server));
    let middle = |value: fn(&Sample) -> f64| median(cell.iter().map(|sample| value(sample)));
    let ratio = median(cell.iter().zip(&bare).map(|(one, bare)| one.per_second / bare.per_second));
    let name = |figure: &str| format!("{connections}.{server}.{figure}");
    report.cell(name("requests_per_second"), middle(|sample| sample.per_second), "1/s");
    match (server, connections) {
        ("bare", _) => {}
        ("paybell", 64 | 256) => report.aimed(name("to_bare"), ratio, "", Aim::AtLeast(0.45)),
        _ => report.cell(name("to_bare"), ratio, ""),
    }
    report.cell(name("p50_ms"), middle(|sample| sample.p50_ms), "ms");
    let p99_ms = middle(|sample| sample.p99_ms);
    match (server, connections) {
        ("paybell", 64) => report.aimed(name("p99_ms"), p99_ms, "ms", Aim::AtMost(10.0)),
        _ => report.cell(name("p99_ms"), p99_ms, "ms"),
    }
    report.cell(name("p999_ms"), middle(|sample| sample.p999_ms), "ms");
    report.cell(name("cpu_us_per_request"), middle(|sample| sample.cpu_us), "us");
    report.cell(name("others_percent"), middle(|sample| sample.others_percent), "% of one processor");
    let shown: [fn(&Sample) -> f64; 5] = [
        |sample| sample.p50_ms,
        |sample| sample.p99_ms,
        |sample| sample.p999_ms,
        |sample| sample.cpu_us,
        |sample| sample.others_percent,
    ];
    let first = [
        connections.to_string(),
        server.to_owned(),
        rounded(middle(|sample| sample.per_second)),
        rounded(ratio),
    ];
    first.into_iter().chain(shown.map(|value| rounded(middle(value)))).collect()
}

/// A fresh server, so many notifications, and the most memory it ever held.
async fn memory(
    report: &mut Report,
    folder: &Path,
    count: u64,
    notifications: &Rc<Notifications>,
) -> Result<(), Error> {
    output::remark(&format!("{count} notifications into a fresh server"));
    let server = paybell(folder).await?;
    let load = Load { server: server.address, connections: MEMORY_CONNECTIONS, extent: Extent::Count(count) };
    let Measured { answered, refused, time, latency } = apply(load, notifications).await?;
    if refused > 0 {
        return Err(Error::Failed(format!("{refused} notifications were refused")));
    }
    let usage = server.child.usage();
    report.method(format!(
        "many.*: {count} notifications into a fresh server over {MEMORY_CONNECTIONS} connections"
    ));
    report.aimed("many.rss_peak_mb", usage.rss_peak_mb(), "MB", Aim::AtMost(64.0));
    report.figure("many.requests_per_second", per_second(answered, time), "1/s");
    report.figure("many.p99_ms", latency.millis_at(0.99), "ms");
    report.figure("many.cpu_us_per_request", micros_each(usage.cpu, answered), "us");
    let size = std::fs::metadata(folder.join("data/paybell.db")).map_or(0, |file| file.len());
    report.figure(
        "many.file_bytes_per_check",
        super::float(size / 1024) * 1024.0 / super::float(answered),
        "bytes",
    );
    server.child.end().await
}
