//! `paybell bench ingress`: what taking notifications costs, beside what HTTP alone costs on the same machine, and on
//! the cluster engine beside the client library alone and a peer that does the same job in Node.
//!
//! Each contestant is a process of its own, but for the client library, which is loaded from here. They are loaded in
//! turn, several rounds, and the medians count, so that a disturbance hits all alike. Nothing takes checks out: the
//! queue only grows, and on the cluster engine it is emptied between measurements.

mod contestant;
mod raw;
mod table;

use std::{path::PathBuf, rc::Rc, time::Duration};

use clap::Args as ClapArgs;

use super::{
    Common,
    load::{Extent, Load, Measured, apply},
    micros_each,
    notifications::Notifications,
    per_second,
    report::{Aim, Report},
    servers::{EngineArg, Kind, RabbitArg, Servers},
};
use crate::{error::Error, output};
use contestant::{Contestants, HttpServer};

const WARM_UP: Duration = Duration::from_millis(500);
/// Distinct notifications, fewest and most; when they are used up they come again, and are stored again.
const DISTINCT: [u32; 2] = [100_000, 1_000_000];
/// Connections of the run that counts memory.
const MEMORY_CONNECTIONS: usize = 64;
/// Notifications of that run: a broker keeps them too, and in memory.
const MEMORY_NOTIFICATIONS: [u32; 2] = [1_000_000, 200_000];

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    engine: EngineArg,
    #[command(flatten)]
    rabbitmq: RabbitArg,
    /// Measure a peer too: the folder tests/peers/node of the sources, after `npm ci` in it (cluster engine)
    #[arg(long, value_name = "FOLDER")]
    peer: Option<PathBuf>,
    /// Numbers of connections to measure at
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,64,256",
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: Vec<u16>,
    /// Interleaved rounds, whose medians count
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=30))]
    rounds: u8,
    /// Measured seconds of each contestant in each round, after half a second of warm-up
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=60))]
    seconds: u8,
    /// Notifications of the run that counts the server's memory; 0 leaves it out [default: 1000000; cluster: 200000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    notifications: Option<u32>,
    #[command(flatten)]
    pub common: Common,
}

impl Args {
    /// What it borrows.
    pub fn servers(&self) -> Result<Servers, Error> {
        let servers = Servers::of(&self.engine, Some(&self.rabbitmq), None)?;
        match &self.peer {
            Some(_) if servers.engine() == Kind::Embedded => {
                Err(Error::Usage("--peer is for --engine cluster: the peer publishes to RabbitMQ".to_owned()))
            }
            Some(folder) if !folder.join("node_modules").is_dir() => Err(Error::Usage(format!(
                "--peer: {} has no node_modules: run npm ci there first",
                folder.display()
            ))),
            _ => Ok(servers),
        }
    }

    fn memory_notifications(&self, engine: Kind) -> u32 {
        let [embedded, cluster] = MEMORY_NOTIFICATIONS;
        self.notifications.unwrap_or(if engine == Kind::Embedded { embedded } else { cluster })
    }
}

pub async fn measure(args: Args, servers: Servers) -> Result<Report, Error> {
    let mut report = Report::begin("ingress");
    let folder = args.common.folder()?;
    let contestants = Contestants::start(&args, &servers, folder.path()).await?;
    let [fewest, most] = DISTINCT;
    let many = args.memory_notifications(servers.engine());
    let distinct = usize::try_from(many.clamp(fewest, most)).unwrap_or(usize::MAX);
    output::remark(&format!("signing {distinct} notifications"));
    let notifications = Rc::new(Notifications::sign(distinct, contestants.address())?);
    let mut samples = Vec::new();
    for round in 1..=args.rounds {
        for connections in &args.connections {
            output::remark(&format!("round {round} of {}: {connections} connections", args.rounds));
            contestants.measure(*connections, args.seconds, &notifications, &mut samples).await?;
        }
    }
    describe(&mut report, &args, servers.engine(), distinct);
    table::tell(&mut report, &args.connections, &samples, servers.engine());
    contestants.end(&mut report).await?;
    if many > 0 {
        memory(&mut report, (&args, &servers), u64::from(many), &notifications).await?;
    }
    Ok(report)
}

fn describe(report: &mut Report, args: &Args, engine: Kind, distinct: usize) {
    let Args { rounds, seconds, .. } = args;
    report.method(format!(
        "{rounds} interleaved rounds of {seconds} s after {} ms of warm-up; medians; ratios are medians of the rounds' ratios",
        WARM_UP.as_millis()
    ));
    report.method(format!(
        "closed loop on one thread of another process over loopback; {distinct} distinct pre-signed notifications in turn"
    ));
    report.method(match engine {
        Kind::Embedded => {
            "paybell: `run ingress` on the embedded engine, every check fsynced before its answer; no worker: checks pile up"
        }
        Kind::Cluster => {
            "paybell: `run ingress` on the cluster engine, every check confirmed by its quorum queue before its answer; no \
             worker: checks pile up, and are purged between measurements; raw: the AMQP client library alone, one \
             connection and channel, as many confirms awaited as there are connections, bodies of a check's size, to one \
             queue with the same arguments; others %: RabbitMQ and everybody else"
        }
    });
}

/// A fresh server, so many notifications, and the most memory it ever held.
async fn memory(
    report: &mut Report,
    (args, servers): (&Args, &Servers),
    count: u64,
    notifications: &Rc<Notifications>,
) -> Result<(), Error> {
    output::remark(&format!("{count} notifications into a fresh server"));
    let folder = args.common.folder()?;
    let server = HttpServer::paybell(folder.path(), servers).await?;
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
    if servers.engine() == Kind::Embedded {
        let size = std::fs::metadata(folder.path().join("data/paybell.db")).map_or(0, |file| file.len());
        let bytes_each = super::float(size / 1024) * 1024.0 / super::float(answered);
        report.figure("many.file_bytes_per_check", bytes_each, "bytes");
    }
    server.child.end().await
}
