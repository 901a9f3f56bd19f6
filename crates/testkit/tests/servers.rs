//! The test servers themselves: they start, die, come again and pause as told, and nothing of them outlives the test
//! that started them, not even one that is killed.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::servers::{
    Fsync, Proxy, Rabbit, RabbitCluster, Redis, RedisOptions, Sentinels, shared_redis, unique_prefix, wait,
};

const PATIENCE: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_millis(300);

#[track_caller]
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_alive(process: u32) -> bool {
    Path::new(&format!("/proc/{process}")).exists()
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Redis's own words for a ping, or what went wrong.
fn ping(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut answer = [0; 7];
    stream.write_all(b"PING\r\n")?;
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn a_redis_keeps_what_it_fsynced_when_killed() {
    let redis = Redis::start_with(RedisOptions { fsync: Fsync::Always, ..RedisOptions::default() }).await;
    assert!((20_000..28_000).contains(&redis.port()));
    assert_eq!(redis.cli(&["set", "a", "1"]).await, "OK");
    let before = redis.process_id();
    redis.kill().await;
    assert!(!is_alive(before) && connect(redis.port()).is_err());
    redis.start_again().await;
    assert_ne!(redis.process_id(), before);
    assert_eq!(redis.cli(&["get", "a"]).await, "1");
    redis.stop().await;
    assert!(connect(redis.port()).is_err());
    redis.start_again().await;
    assert_eq!(redis.cli(&["config", "get", "appendfsync"]).await, "appendfsync\nalways");
}

#[tokio::test]
async fn a_volatile_redis_forgets_and_a_paused_one_is_silent() {
    let redis = Redis::start_with(RedisOptions { is_volatile: true, ..RedisOptions::default() }).await;
    redis.cli(&["set", "a", "1"]).await;
    redis.kill().await;
    redis.start_again().await;
    assert_eq!(redis.cli(&["get", "a"]).await, "");

    redis.pause().await;
    let mut stream = connect(redis.port()).unwrap();
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    assert!(ping(&mut stream).is_err());
    redis.resume().await;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

#[tokio::test]
async fn sentinels_replace_a_dead_master() {
    let master = Redis::start().await;
    let replica = Redis::replica_of(&master).await;
    let sentinels = Sentinels::start(3, &master).await;
    assert_eq!(sentinels.ports().count(), 3);
    assert!(
        sentinels.url().starts_with("redis+sentinel://127.0.0.1:") && sentinels.url().ends_with("/paybell")
    );
    assert_eq!(sentinels.master_port(0).await, master.port());
    assert_eq!(master.cli(&["wait", "1", "5000"]).await, "1");
    let begun = Instant::now();
    master.kill().await;
    while sentinels.master_port(0).await != replica.port() {
        assert!(begun.elapsed() < PATIENCE, "no failover\n{}", replica.log_tail());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("failed over after {} ms", begun.elapsed().as_millis());
    while !replica.cli(&["role"]).await.starts_with("master") {
        assert!(begun.elapsed() < PATIENCE, "not promoted\n{}", replica.log_tail());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_rabbit_comes_again_with_what_it_had() {
    let rabbit = Rabbit::start().await;
    assert!(rabbit.url().contains(&rabbit.port().to_string()));
    rabbit.ctl(&["add_vhost", "kept"]).await;
    let before = rabbit.process_id();
    rabbit.kill().await;
    assert!(!is_alive(before) && connect(rabbit.port()).is_err());
    rabbit.start_again().await;
    assert!(rabbit.ctl(&["list_vhosts"]).await.lines().any(|row| row == "kept"));
    rabbit.stop().await;
    assert!(connect(rabbit.port()).is_err());
    rabbit.start_again().await;
    assert!(rabbit.ctl(&["list_vhosts"]).await.lines().any(|row| row == "kept"));
}

#[tokio::test]
async fn a_cluster_elects_another_leader() {
    let cluster = RabbitCluster::start(3).await;
    let declare = "rabbit_amqqueue:declare(rabbit_misc:r(<<\"/\">>, queue, <<\"q\">>), true, false, \
                   [{<<\"x-queue-type\">>, longstr, <<\"quorum\">>}], none, <<\"test\">>), ok.";
    cluster.node(1).ctl(&["eval", declare]).await;
    let first = cluster.leader_of("q", 0).await.unwrap();
    cluster.node(first).kill().await;
    let other = (first + 1) % 3;
    let begun = Instant::now();
    loop {
        let leader = cluster.leader_of("q", other).await;
        if leader.is_some_and(|leader| leader != first) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "no other leader\n{}", cluster.node(other).log_tail());
    }
    cluster.node(first).start_again().await;
    let running = cluster.node(first).ctl(&["eval", "length(rabbit_nodes:all_running())."]).await;
    assert_eq!(running, "3");
}

#[tokio::test]
async fn silence_holds_back_and_loses_nothing() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port());
    assert_eq!(proxy.through(&redis.url()), format!("redis://127.0.0.1:{}", proxy.port()));
    let mut before = connect(proxy.port()).unwrap();
    assert_eq!(ping(&mut before).unwrap(), "+PONG\r\n");

    proxy.silence();
    let mut during = connect(proxy.port()).unwrap();
    for stream in [&mut before, &mut during] {
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        let silence = ping(stream).unwrap_err();
        assert!(matches!(silence.kind(), std::io::ErrorKind::WouldBlock), "{silence}");
    }

    proxy.speak();
    for stream in [&mut before, &mut during] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut held_back = [0; 7];
        stream.read_exact(&mut held_back).unwrap();
        assert_eq!(&held_back, b"+PONG\r\n");
        assert_eq!(ping(stream).unwrap(), "+PONG\r\n");
    }
}

#[tokio::test]
async fn a_proxy_cuts_and_refuses() {
    let redis = Redis::start().await;
    let proxy = Proxy::start(redis.port());
    let mut first = connect(proxy.port()).unwrap();
    ping(&mut first).unwrap();
    proxy.cut();
    assert!(ping(&mut first).is_err());
    let mut second = connect(proxy.port()).unwrap();
    ping(&mut second).unwrap();

    for _ in 0..20 {
        proxy.refuse();
        assert!(connect(proxy.port()).is_err());
        proxy.speak();
        ping(&mut connect(proxy.port()).unwrap()).unwrap();
    }
    assert!(ping(&mut second).is_err());

    // A port that somebody takes meanwhile is told, not waited for.
    let lost = Proxy::start(redis.port());
    lost.refuse();
    let _theirs = std::net::TcpListener::bind(("127.0.0.1", lost.port())).unwrap();
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| lost.speak())).unwrap_err();
    assert!(told.downcast_ref::<String>().unwrap().contains("was taken meanwhile"));
    drop(lost);

    // A server that goes away is seen through it.
    let mut third = connect(proxy.port()).unwrap();
    ping(&mut third).unwrap();
    redis.kill().await;
    assert!(ping(&mut third).is_err());
    let mut fourth = connect(proxy.port()).unwrap();
    assert!(ping(&mut fourth).is_err());

    let port = proxy.port();
    drop(proxy);
    assert!(connect(port).is_err());
}

#[test]
fn tests_share_a_redis_and_not_its_keys() {
    let first = wait(shared_redis());
    assert_eq!(wait(shared_redis()), first);
    let (one, other) = (unique_prefix(), unique_prefix());
    assert_ne!(one, other);
    assert!(one.len() == 17 && one.chars().all(|letter| letter.is_ascii_alphanumeric()));
    let port = first.trim_end_matches('/').rsplit(':').next().unwrap().split('/').next().unwrap();
    assert_eq!(ping(&mut connect(port.parse().unwrap()).unwrap()).unwrap(), "+PONG\r\n");
}

/// The processes that work in a folder: every server does, and what it starts inherits it.
fn processes_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let is_in = |path: &PathBuf| {
        std::fs::read_link(path.join("cwd"))
            .is_ok_and(|cwd| cwd.to_string_lossy().starts_with(&*folder.to_string_lossy()))
    };
    let name = |path: PathBuf| std::fs::read_to_string(path.join("cmdline")).unwrap_or_default();
    entries.map(|entry| entry.path()).filter(is_in).map(name).collect()
}

#[track_caller]
fn nothing_is_left(folder: &Path) {
    eventually("the folder goes", || !folder.exists());
    eventually("the processes go", || processes_in(folder).is_empty());
}

/// Plays the test that is killed; by itself it does nothing but start and end servers.
#[test]
#[ignore = "the child of a_killed_test_leaves_nothing"]
fn holds_servers_until_it_ends() {
    let (redis, rabbit) = (wait(Redis::start()), wait(Rabbit::start()));
    for process in [redis.process_id(), rabbit.process_id()] {
        println!("folder {}", std::fs::read_link(format!("/proc/{process}/cwd")).unwrap().display());
    }
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_killed_test_leaves_nothing() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_servers_until_it_ends", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let folders = lines.filter_map(|line| Some(PathBuf::from(line.strip_prefix("folder ")?)));
    let folders: Vec<PathBuf> = folders.take(2).collect();
    assert_eq!(folders.len(), 2);
    for folder in &folders {
        assert!(folder.exists() && !processes_in(folder).is_empty());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    folders.iter().for_each(|folder| nothing_is_left(folder));
}

#[test]
fn a_test_that_ends_while_its_servers_start_leaves_nothing() {
    let guards = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/servers"));
    let mut guard = Command::new(guards.join("rabbitmq"))
        .arg("3")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(guard.stdout.take().unwrap()).lines().map_while(Result::ok);
    let folder = PathBuf::from(lines.next().unwrap().strip_prefix("folder ").unwrap());
    eventually("a node starts", || folder.join("n3.log").metadata().is_ok_and(|log| log.len() > 0));
    assert!(processes_in(&folder).len() >= 4);
    drop(guard.stdin.take());
    guard.wait().unwrap();
    nothing_is_left(&folder);
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let args = ["--maxmemory-policy", "no-such-policy"].map(str::to_owned).to_vec();
    let started = std::thread::spawn(|| {
        wait(Redis::start_with(RedisOptions { args, ..RedisOptions::default() }));
    });
    let cause = started.join().unwrap_err();
    let words = cause.downcast_ref::<String>().unwrap();
    assert!(words.contains("ended by itself") && words.contains("no-such-policy"), "{words}");
}
