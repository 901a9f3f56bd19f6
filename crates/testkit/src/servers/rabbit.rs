//! RabbitMQ: one node, or several joined to a cluster. It knows nothing of what is declared on it.

use std::path::PathBuf;
use std::process::Command;

use super::guard::{Guard, output_of};
use super::papers::Papers;

/// One node. Dropping the last node of a cluster ends the cluster.
pub struct Rabbit {
    guard: Guard,
    name: String,
}

impl Rabbit {
    /// A node by itself; takes about six seconds.
    pub async fn start() -> Self {
        Self { guard: Guard::start("rabbitmq", Vec::new()).await, name: "n1".to_owned() }
    }

    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.port())
    }

    pub fn port(&self) -> u16 {
        self.guard.port(&self.name)
    }

    pub fn process_id(&self) -> u32 {
        self.guard.process_id(&self.name)
    }

    /// What Erlang calls it.
    pub fn node_name(&self) -> String {
        format!("{}@localhost", self.name)
    }

    /// SIGKILL. Returns when it is dead.
    pub async fn kill(&self) {
        self.guard.tell("kill", &self.name).await;
    }

    /// An orderly stop. Returns when it is gone.
    pub async fn stop(&self) {
        self.guard.tell("stop", &self.name).await;
    }

    /// On the same port and folder. Returns when it answers AMQP.
    pub async fn start_again(&self) {
        self.guard.tell("start", &self.name).await;
    }

    /// SIGSTOP: connections stay open, nothing is answered.
    pub async fn pause(&self) {
        self.guard.tell("pause", &self.name).await;
    }

    /// SIGCONT.
    pub async fn resume(&self) {
        self.guard.tell("resume", &self.name).await;
    }

    /// Has a node by itself speak TLS, too. Gives the port, which of a cluster would be the second node's.
    pub async fn speak_tls(&self, papers: &Papers) -> u16 {
        let port = self.port() + 1;
        let [ca, cert, key] = ["ca.pem", "cert.pem", "key.pem"].map(|name| papers.file(name));
        let listen = format!(
            "application:set_env(rabbit, ssl_options, [{{cacertfile, \"{ca}\"}}, {{certfile, \"{cert}\"}}, \
             {{keyfile, \"{key}\"}}, {{verify, verify_none}}]), \
             rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}}}, rabbit_networking:ensure_ssl(), 2)."
        );
        let said = self.ctl(&["eval", &listen]).await;
        assert_eq!(said.trim(), "ok", "the broker listens for TLS");
        port
    }

    /// What a test may have of it that does it no harm.
    pub fn broker(&self) -> Broker {
        Broker { url: self.url(), node: self.node_name(), tool: self.guard.folder().join("tool") }
    }

    /// What `rabbitmqctl` prints for a command, such as `["list_queues", "name", "messages"]`: rows without headers.
    pub async fn ctl(&self, args: &[&str]) -> String {
        self.broker().ctl(args).await
    }

    /// The end of the logs of the whole cluster.
    pub fn log_tail(&self) -> String {
        self.guard.log_tails()
    }
}

/// The address and the tools of a node that somebody else ends.
#[derive(Clone, Debug)]
pub struct Broker {
    url: String,
    node: String,
    tool: PathBuf,
}

impl Broker {
    /// The node at a URL whose tools are run by this program, which is what its guard calls `FOLDER/tool`.
    pub(super) fn at(url: String, tool: PathBuf) -> Self {
        Self { url, node: "n1@localhost".to_owned(), tool }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// What `rabbitmqctl` prints for a command: rows without headers.
    pub async fn ctl(&self, args: &[&str]) -> String {
        let mut command = Command::new(&self.tool);
        command.args(["rabbitmqctl", "-q", "-n", &self.node]).args(args);
        if args.first().is_some_and(|verb| verb.starts_with("list_")) {
            command.arg("--no-table-headers");
        }
        output_of(command).await
    }
}

/// Several nodes in one cluster. Dropping it ends them.
pub struct RabbitCluster {
    nodes: Vec<Rabbit>,
}

impl RabbitCluster {
    /// Three nodes take about 18 s on two cores.
    pub async fn start(count: usize) -> Self {
        let guard = Guard::start("rabbitmq", vec![count.to_string()]).await;
        let node = |number| Rabbit { guard: guard.clone(), name: format!("n{number}") };
        let cluster = Self { nodes: (1..=count).map(node).collect() };
        let size = cluster.node(0).ctl(&["eval", "length(rabbit_nodes:all_running())."]).await;
        assert_eq!(size, count.to_string(), "the nodes did not all join\n{}", guard.log_tails());
        cluster
    }

    pub fn nodes(&self) -> &[Rabbit] {
        &self.nodes
    }

    /// The node of this index, from 0.
    pub fn node(&self, index: usize) -> &Rabbit {
        self.nodes.get(index).unwrap_or_else(|| panic!("there is no node {index}"))
    }

    /// The index of the node that leads a quorum queue or a stream, asked of the node `at`; `None` while nobody does,
    /// or if there is no such queue.
    pub async fn leader_of(&self, queue: &str, at: usize) -> Option<usize> {
        let rows = self.node(at).ctl(&["list_queues", "name", "leader"]).await;
        let row = rows.lines().find_map(|row| row.strip_prefix(queue)?.strip_prefix('\t'))?;
        self.nodes.iter().position(|node| node.node_name() == row.trim())
    }
}
