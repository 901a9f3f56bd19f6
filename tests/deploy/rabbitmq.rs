//! rabbitmq.conf, cluster.conf, definitions.json and the subscribers' rules on a real broker: it takes every key, makes
//! no guest, keeps a subscriber to what is its own, no subscriber stops the fan-out, and no restart undoes what was set.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
        QueueDeclareOptions, QueuePurgeOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};

use crate::{
    guard::{Guard, moved, shown},
    make_secrets, output_of, read, root,
};

const SHOP_PASSWORD: &str = "of-the-shop";

/// A node with our files, its database new.
struct Broker {
    guard: Guard,
    secrets: PathBuf,
}

impl Broker {
    fn start() -> Self {
        let mut guard = Guard::start("tests/servers/rabbitmq");
        guard.tell("stop n1");
        fs::remove_dir_all(guard.folder.join("n1")).unwrap();
        let secrets = guard.folder.join("secrets");
        make_secrets(&secrets);
        let listen = format!("listeners.tcp.default = {}", guard.port("n1"));
        let definitions = secrets.join("rabbitmq-definitions.json");
        let places = [
            ("listeners.tcp.default = 5672", &*listen),
            ("/etc/rabbitmq/definitions.json", shown(&definitions)),
            // A machine that builds this may have a nearly full disk.
            ("disk_free_limit.absolute = 2GB", "disk_free_limit.absolute = 50MB"),
        ];
        guard.write("rabbitmq.conf", &moved(&read("deploy/rabbitmq/rabbitmq.conf"), &places));
        guard.write("enabled_plugins", "[rabbitmq_shovel].\n");
        guard.tell("start n1");
        let broker = Self { guard, secrets };
        broker.ctl(&["await_startup"]);
        broker
    }

    #[track_caller]
    fn ctl(&self, args: &[&str]) -> String {
        let mut command = Command::new(self.guard.folder.join("tool"));
        output_of(command.args(["rabbitmqctl", "-q", "-n", "n1@localhost"]).args(args))
    }

    /// Rows of a listing without its header.
    fn rows(&self, args: &[&str]) -> Vec<String> {
        let said = self.ctl(&[args, &["--no-table-headers"]].concat());
        let mut rows: Vec<String> = said.lines().map(str::to_owned).collect();
        rows.sort();
        rows
    }

    /// What applies to a queue, the operator's bounds included.
    fn effective_policy(&self, queue: &str) -> String {
        let name = format!("rabbit_misc:r(<<\"paybell\">>, queue, <<\"{queue}\">>)");
        let lookup = format!("{{ok, Queue}} = rabbit_amqqueue:lookup({name})");
        self.ctl(&["eval", &format!("{lookup}, rabbit_policy:effective_definition(Queue).")])
    }

    fn secret(&self, name: &str) -> String {
        fs::read_to_string(self.secrets.join(name)).unwrap().trim().to_owned()
    }

    /// What definitions can have, but for queues and their like.
    fn state(&self) -> [Vec<String>; 4] {
        let listings: [&[&str]; 4] = [
            &["list_users"],
            &["list_permissions", "-p", "paybell"],
            &["list_policies", "-p", "paybell"],
            &["list_user_limits", "--user", "sub-shop"],
        ];
        listings.map(|listing| self.rows(listing))
    }

    fn queues_max(&self) -> i64 {
        let said = self.ctl(&["list_vhost_limits", "-p", "paybell"]);
        let limits: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        limits["max-queues"].as_i64().unwrap()
    }

    fn restart(&mut self) {
        self.guard.tell("stop n1");
        self.guard.tell("start n1");
        self.ctl(&["await_startup"]);
    }

    /// As an operator runs it.
    fn add_subscriber(&self, name: &str) -> Command {
        let tool = format!("{} rabbitmqctl -n n1@localhost", shown(&self.guard.folder.join("tool")));
        let mut command = Command::new(root().join("deploy/rabbitmq/add-subscriber"));
        command.env("RABBITMQCTL", tool).arg(name);
        command
    }

    async fn subscriber(&self) -> Connection {
        self.connect("sub-shop", SHOP_PASSWORD, "paybell").await
    }

    async fn connect(&self, user: &str, password: &str, vhost: &str) -> Connection {
        let url = format!("amqp://{user}:{password}@127.0.0.1:{}/{vhost}", self.guard.port("n1"));
        Connection::connect(&url, ConnectionProperties::default()).await.unwrap()
    }

    /// Where Paybell reaches it, as make-secrets wrote it, but for the port.
    fn url(&self) -> String {
        let made = self.secret("amqp-url");
        moved(&made, &[("@rabbitmq:5672/paybell", &format!("@127.0.0.1:{}/paybell", self.guard.port("n1")))])
    }

    async fn paybell(&self) -> Channel {
        let connection = Connection::connect(&self.url(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        channel
    }
}

fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    arguments
}

async fn declare(channel: &Channel, queue: &str) -> lapin::Result<()> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.into(), options, quorum()).await.map(drop)
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> lapin::Result<()> {
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await
}

/// Publishes as the fan-out does: persistent, confirmed, not mandatory. Whether the broker took it.
async fn publish(channel: &Channel, exchange: &str, key: &str, body: &str) -> bool {
    let properties = BasicProperties::default().with_delivery_mode(2).with_message_id(body.into());
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties).await;
    match sent {
        Ok(confirm) => matches!(confirm.await, Ok(Confirmation::Ack(None))),
        Err(_) => false,
    }
}

/// Every body in a queue, taken one by one.
async fn bodies(channel: &Channel, queue: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    while let Some(message) = channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap()
    {
        bodies.push(String::from_utf8(message.delivery.data.clone()).unwrap());
    }
    bodies
}

/// One broker for everything: it takes most of the time.
#[tokio::test]
async fn the_broker_runs_with_our_files() {
    let mut broker = Broker::start();
    takes_the_settings(&broker);
    paybell_may_use_its_own_names(&broker).await;
    the_script_adds_a_subscriber(&broker);
    a_subscriber_is_kept_to_its_own(&broker).await;
    a_full_subscriber_stops_nobody(&broker).await;
    a_subscriber_with_too_many_queues_stops_nobody(&broker).await;
    a_subscriber_of_its_own_vhost_gets_the_events(&broker).await;
    a_restart_undoes_nothing(&mut broker).await;
    the_cluster_settings_are_taken(&mut broker);
}

fn takes_the_settings(broker: &Broker) {
    assert_eq!(broker.rows(&["list_users"]), ["paybell\t[]"], "and no guest");
    let settings = [
        ("consumer_timeout", "1800000"),
        ("queue_leader_locator", "<<\"balanced\">>"),
        ("cluster_partition_handling", "pause_minority"),
        ("heartbeat", "15"),
        ("channel_max", "256"),
        ("max_message_size", "1048576"),
        ("vm_memory_high_watermark", "0.6"),
    ];
    // All in one: a call of the tool takes most of a second.
    let same = settings.map(|(key, value)| format!("application:get_env(rabbit, {key}) == {{ok, {value}}}"));
    let said = broker.ctl(&["eval", &format!("[{}].", same.join(", "))]);
    let wrong: Vec<&str> = settings
        .iter()
        .zip(said.trim().trim_matches(['[', ']']).split(','))
        .filter(|(_, is_same)| is_same.trim() != "true")
        .map(|((key, _), _)| *key)
        .collect();
    assert!(wrong.is_empty() && said.matches("true").count() == settings.len(), "{wrong:?} in {said}");
}

/// A broker that has not answered by then never does.
const PATIENCE: Duration = Duration::from_secs(60);

/// All that Paybell declares, through its own code; a broker that is busy a moment after it began is asked again.
async fn applied(broker: &Broker) -> ::rabbitmq::topology::Applied {
    let config = ::rabbitmq::RabbitConfig::at(broker.url());
    let begun = Instant::now();
    loop {
        match ::rabbitmq::topology::apply(&config).await {
            Ok(applied) => return applied,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
    }
}

async fn paybell_may_use_its_own_names(broker: &Broker) {
    let applied = applied(broker).await;
    assert!(applied.findings.is_empty(), "{:?}", applied.findings);
    assert!(applied.created.iter().any(|name| name == "paybell.checks.0"), "{:?}", applied.created);
    let channel = broker.paybell().await;
    assert!(publish(&channel, "", "paybell.checks.0", "check").await);
    assert_eq!(bodies(&channel, "paybell.checks.0").await, ["check"]);
    let refused = declare(&channel, "other.queue").await.unwrap_err().to_string();
    assert!(refused.contains("ACCESS_REFUSED") || refused.contains("403"), "{refused}");
}

async fn a_subscriber_is_kept_to_its_own(broker: &Broker) {
    let connection = broker.subscriber().await;
    let channel = connection.create_channel().await.unwrap();
    declare(&channel, "sub.shop.orders").await.unwrap();
    bind(&channel, "sub.shop.orders", "paybell.events", "order.paid.#").await.unwrap();
    let paybell = broker.paybell().await;
    assert!(publish(&paybell, "paybell.events", "order.paid.1900000109", "paid").await);
    assert!(publish(&paybell, "paybell.events", "order.closed.1900000109", "closed").await);
    assert_eq!(bodies(&channel, "sub.shop.orders").await, ["paid"]);

    // Each refusal closes its channel.
    let mut refusals = Vec::new();
    for attempt in 0..7 {
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let (checks, none) = ("paybell.checks.0".into(), FieldTable::default());
        refusals.push(match attempt {
            0 => {
                channel.basic_consume(checks, "".into(), BasicConsumeOptions::default(), none).await.is_err()
            }
            1 => channel.queue_purge(checks, QueuePurgeOptions::default()).await.is_err(),
            2 => declare(&channel, "sub.other.orders").await.is_err(),
            3 => declare(&channel, "paybell.checks.9").await.is_err(),
            4 => bind(&channel, "sub.shop.orders", "amq.topic", "#").await.is_err(),
            5 => !publish(&channel, "paybell.events", "order.paid.1900000109", "forged").await,
            _ => !publish(&channel, "", "paybell.checks.0", "forged").await,
        });
    }
    assert_eq!(refusals, [true; 7]);
    assert_eq!(bodies(&broker.paybell().await, "paybell.checks.0").await, [""; 0]);
}

/// With the bounds made small: a full queue loses its oldest events, and the broker confirms every publish.
async fn a_full_subscriber_stops_nobody(broker: &Broker) {
    let shop = broker.effective_policy("sub.shop.orders");
    for part in ["<<\"drop-head\">>", "268435456", "604800000", "1209600000", "<<\"sub.shop.dead\">>"] {
        assert!(shop.contains(part), "no {part} in {shop}");
    }
    let checks = broker.effective_policy("paybell.checks.0");
    assert!(!checks.contains("max-length"), "a subscriber's bounds are on our own queue: {checks}");

    let small = [
        "set_operator_policy",
        "-p",
        "paybell",
        "--apply-to",
        "queues",
        "small",
        r"^sub\.",
        r#"{"max-length": 5}"#,
        "--priority",
        "9",
    ];
    broker.ctl(&small);
    let channel = broker.paybell().await;
    for number in 0..20 {
        assert!(
            publish(&channel, "paybell.events", "order.paid.1", &number.to_string()).await,
            "event {number}"
        );
    }
    let connection = broker.subscriber().await;
    let kept = bodies(&connection.create_channel().await.unwrap(), "sub.shop.orders").await;
    assert_eq!(kept, ["15", "16", "17", "18", "19"]);
    broker.ctl(&["clear_operator_policy", "-p", "paybell", "small"]);
}

/// With the bound drawn close: no other queue comes, and Paybell's own are declared again as before.
async fn a_subscriber_with_too_many_queues_stops_nobody(broker: &Broker) {
    let count = broker.rows(&["list_queues", "-p", "paybell", "name"]).len();
    let close = format!("{{\"max-queues\": {}}}", count + 1);
    broker.ctl(&["set_vhost_limits", "-p", "paybell", &close]);
    let connection = broker.subscriber().await;
    let channel = connection.create_channel().await.unwrap();
    declare(&channel, "sub.shop.one").await.unwrap();
    let refused = declare(&channel, "sub.shop.two").await.unwrap_err().to_string();
    assert!(refused.contains("limit"), "{refused}");
    let applied = applied(broker).await;
    assert!(applied.findings.is_empty(), "{:?}", applied.findings);
    assert!(publish(&broker.paybell().await, "", "paybell.checks.0", "check").await);
    assert_eq!(bodies(&broker.paybell().await, "paybell.checks.0").await, ["check"]);
    broker.ctl(&["set_vhost_limits", "-p", "paybell", r#"{"max-queues": 100}"#]);
}

/// Twice: the second time changes nothing.
fn the_script_adds_a_subscriber(broker: &Broker) {
    let password = broker.guard.write("shop-password", SHOP_PASSWORD);
    broker.ctl(&["clear_vhost_limits", "-p", "paybell"]);
    for _ in 0..2 {
        output_of(broker.add_subscriber("shop").arg(&password));
    }
    let [_, permissions, policies, limits] = broker.state();
    let may = ["sub-shop", r"^sub\.shop\.", r"^sub\.shop\.", r"^(sub\.shop\..*|paybell\.events)$"].join("\t");
    assert!(permissions.contains(&may), "no {may} in {permissions:?}");
    assert!(policies.iter().any(|row| row.contains("\tsub-shop-dead\t")), "{policies:?}");
    let limits: Value = serde_json::from_str(&limits.concat()).unwrap();
    assert_eq!(limits, json!({ "max-connections": 8, "max-channels": 32 }));
    assert_eq!(broker.queues_max(), 100, "there was no limit");
    let refused = broker.add_subscriber("a.b").output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "a name that is a pattern reaches further than its own");
}

/// What the documents have an operator set is there after a restart; a changed file is applied, and is no subscriber's
/// business.
async fn a_restart_undoes_nothing(broker: &mut Broker) {
    broker.ctl(&["change_password", "paybell", "rotated"]);
    broker.ctl(&["set_vhost_limits", "-p", "paybell", r#"{"max-queues": 200}"#]);
    let least = ["^$", r"^(paybell\..*|amq\.default)$", r"^paybell\."];
    broker.ctl(&[&["set_permissions", "-p", "paybell", "paybell"][..], &least].concat());
    let before = broker.state();
    broker.restart();
    assert_eq!(broker.state(), before);
    drop(broker.connect("paybell", "rotated", "paybell").await);
    drop(broker.subscriber().await);

    let file = broker.secrets.join("rabbitmq-definitions.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, moved(&text, &[(r#""max-queues": 100"#, r#""max-queues": 300"#)])).unwrap();
    broker.restart();
    assert_eq!(broker.queues_max(), 300);
    drop(broker.paybell().await);
    drop(broker.subscriber().await);
}

async fn a_subscriber_of_its_own_vhost_gets_the_events(broker: &Broker) {
    broker.ctl(&["import_definitions", shown(&root().join("deploy/rabbitmq/subscriber-own-vhost.json"))]);
    broker.ctl(&["change_password", "sub-erp", "erp"]);
    let connection = broker.connect("sub-erp", "erp", "sub-erp").await;
    let channel = connection.create_channel().await.unwrap();
    declare(&channel, "sub.erp.orders").await.unwrap();
    bind(&channel, "sub.erp.orders", "paybell.events", "order.paid.#").await.unwrap();
    let others = async {
        for number in 1..16 {
            declare(&channel, &format!("sub.erp.{number}")).await.unwrap();
        }
        let other = connection.create_channel().await.unwrap();
        declare(&other, "sub.erp.16").await.unwrap_err().to_string()
    };
    let refused = others.await;
    assert!(refused.contains("limit"), "sixteen queues are enough: {refused}");
    // It waits in the relay's queue until the shovel runs.
    assert!(publish(&broker.paybell().await, "paybell.events", "order.paid.1900000109", "shovelled").await);
    for _ in 0..300 {
        let got = bodies(&channel, "sub.erp.orders").await;
        if !got.is_empty() {
            assert_eq!(got, ["shovelled"]);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("no event came through:\n{}", broker.ctl(&["shovel_status"]));
}

fn the_cluster_settings_are_taken(broker: &mut Broker) {
    let path = broker.guard.folder.join("rabbitmq.conf");
    let both = format!("{}\n{}", fs::read_to_string(&path).unwrap(), read("deploy/rabbitmq/cluster.conf"));
    fs::write(&path, both).unwrap();
    broker.restart();
    let said = broker.ctl(&["eval", "application:get_env(rabbit, cluster_nodes)."]);
    assert!(said.contains("rabbit@rabbitmq-3"), "{said}");
}
