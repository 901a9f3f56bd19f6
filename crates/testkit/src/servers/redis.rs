//! Redis, its replicas and its sentinels. It knows nothing of what is stored.

use std::process::Command;

use super::guard::{Guard, try_output_of};
use super::papers::Papers;

const NAME: &str = "redis";
/// The name under which the sentinels know the master.
const SERVICE: &str = "paybell";
/// Only a server that serves nobody cuts off more of `redis-cli` in a row.
const CUTS_MAX: usize = 10;

/// When a write is on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before it is answered.
    Always,
    /// Within a second.
    #[default]
    EverySecond,
}

/// How a Redis is started.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    /// No append-only file: what is killed is empty when it comes again.
    pub is_volatile: bool,
    pub fsync: Fsync,
    /// More settings, such as `--maxmemory` `100mb`.
    pub args: Vec<String>,
}

/// One server. Dropping it ends it.
pub struct Redis {
    guard: Guard,
}

impl Redis {
    /// With an append-only file, synced every second.
    pub async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    pub async fn start_with(options: RedisOptions) -> Self {
        let fsync = match options.fsync {
            Fsync::Always => "always",
            Fsync::EverySecond => "everysec",
        };
        let appendonly = if options.is_volatile { "no" } else { "yes" };
        let mut args = ["--appendonly", appendonly, "--appendfsync", fsync].map(str::to_owned).to_vec();
        args.extend(options.args);
        Self { guard: Guard::start(NAME, args).await }
    }

    /// Has it speak TLS, too, and gives the port.
    pub async fn speak_tls(&self, papers: &Papers) -> u16 {
        let port = self.port() + 1;
        let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| papers.file(name));
        let set =
            ["config", "set", "tls-port", &port.to_string(), "tls-auth-clients", "no"].map(str::to_owned);
        let files =
            ["tls-cert-file", &cert, "tls-key-file", &key, "tls-ca-cert-file", &ca].map(str::to_owned);
        let words: Vec<&str> = set.iter().chain(&files).map(String::as_str).collect();
        let said = self.cli(&words).await;
        assert_eq!(said.trim(), "OK", "this redis-server was built without TLS");
        port
    }

    /// A replica that has caught up with its master.
    pub async fn replica_of(master: &Redis) -> Self {
        let args = ["--replicaof".to_owned(), format!("127.0.0.1 {}", master.port())];
        let replica = Self::start_with(RedisOptions { args: args.to_vec(), ..RedisOptions::default() }).await;
        replica.until("info replication", |info| info.contains("master_link_status:up")).await;
        // The master counts it a moment later.
        let online = format!("port={},state=online", replica.port());
        master.until("info replication", |info| info.contains(&online)).await;
        replica
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    pub fn port(&self) -> u16 {
        self.guard.port(NAME)
    }

    pub fn process_id(&self) -> u32 {
        self.guard.process_id(NAME)
    }

    /// SIGKILL. Returns when it is dead.
    pub async fn kill(&self) {
        self.guard.tell("kill", NAME).await;
    }

    /// SIGTERM. Returns when it is gone.
    pub async fn stop(&self) {
        self.guard.tell("stop", NAME).await;
    }

    /// On the same port and folder, with the same settings. Returns when it serves.
    pub async fn start_again(&self) {
        self.guard.tell("start", NAME).await;
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    pub async fn pause(&self) {
        self.guard.tell("pause", NAME).await;
    }

    /// SIGCONT.
    pub async fn resume(&self) {
        self.guard.tell("resume", NAME).await;
    }

    /// What `redis-cli` prints for a command.
    pub async fn cli(&self, args: &[&str]) -> String {
        cli(self.port(), args).await
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        self.guard.log_tails()
    }

    /// Asks until the answer is so.
    async fn until(&self, command: &str, is_so: impl Fn(&str) -> bool) {
        let args: Vec<&str> = command.split(' ').collect();
        let waited = super::shared::until(|| async { is_so(&self.cli(&args).await) }).await;
        if !waited {
            panic!("redis {}: {command} did not come true\n{}", self.port(), self.guard.log_tails());
        }
    }
}

/// Sentinels that watch one master and fail over within seconds of its death. Dropping them ends them.
pub struct Sentinels {
    guard: Guard,
    names: Vec<String>,
}

impl Sentinels {
    /// Returns when they know each other and every replica that the master has by now.
    pub async fn start(count: usize, master: &Redis) -> Self {
        let args = [count.to_string(), SERVICE.to_owned(), master.port().to_string()];
        let guard = Guard::start("sentinels", args.to_vec()).await;
        Self { guard, names: (1..=count).map(|number| format!("s{number}")).collect() }
    }

    /// `redis+sentinel://HOST:PORT,…/SERVICE`.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.ports().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{SERVICE}", hosts.join(","))
    }

    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.names.iter().map(|name| self.guard.port(name))
    }

    /// SIGKILL to the sentinel of this index.
    pub async fn kill(&self, index: usize) {
        self.guard.tell("kill", self.name(index)).await;
    }

    pub async fn start_again(&self, index: usize) {
        self.guard.tell("start", self.name(index)).await;
    }

    /// Orders a failover, as for maintenance: the master lives. Returns when the sentinel of this index names another
    /// one.
    pub async fn fail_over(&self, index: usize) {
        let (port, before) = (self.guard.port(self.name(index)), self.master_port(index).await.to_string());
        let names_another = || async {
            // One answer about both: a second order would undo a failover that has ended meanwhile.
            let master = cli(port, &["sentinel", "master", SERVICE]).await;
            let field = |name| master.lines().skip_while(|line| *line != name).nth(1).unwrap_or_default();
            if field("port") != before {
                return true;
            }
            if !field("flags").contains("failover_in_progress") {
                let said = cli(port, &["sentinel", "failover", SERVICE]).await;
                // No replica is good enough while the machine keeps this sentinel back; and one that is not promoted in
                // time has the sentinel give the failover up. Both are ordered again.
                let is_answer = ["OK", "INPROG", "NOGOODSLAVE"].iter().any(|word| said.starts_with(word));
                assert!(is_answer, "{said}");
            }
            false
        };
        let has_failed_over = super::shared::until(names_another).await;
        assert!(has_failed_over, "sentinel {port} fails over to nobody\n{}", self.guard.log_tails());
    }

    /// The port of the server that the sentinel of this index takes for the master.
    pub async fn master_port(&self, index: usize) -> u16 {
        let port = self.guard.port(self.name(index));
        let answer = cli(port, &["sentinel", "get-master-addr-by-name", SERVICE]).await;
        answer.lines().nth(1).and_then(|port| port.parse().ok()).expect("a sentinel answers host and port")
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index).unwrap_or_else(|| panic!("there is no sentinel {index}"))
    }
}

/// Sentinels that make a master a replica, or a replica the master, cut off whoever is connected to it. Who was cut off
/// asks again; no command that a test gives means something else the second time.
async fn cli(port: u16, args: &[&str]) -> String {
    let mut cuts = 0;
    loop {
        let mut command = Command::new("redis-cli");
        command.arg("-p").arg(port.to_string()).args(args);
        match try_output_of(command).await {
            Ok(output) => return output,
            Err(failure) if is_cut(&failure) && cuts < CUTS_MAX => cuts += 1,
            Err(failure) => panic!("{failure}"),
        }
    }
}

fn is_cut(failure: &str) -> bool {
    ["closed the connection", "Connection reset", "Broken pipe"].iter().any(|words| failure.contains(words))
}
