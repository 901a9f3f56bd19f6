//! redis.conf, replicated.conf, sentinel.conf and the users of make-secrets, on real servers: what is acknowledged is on
//! disk, nothing is thrown out, nobody does more than he may, and a replica and a sentinel come in.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    guard::{Guard, moved, shown},
    make_secrets, output_of, read,
};

const GUARD: &str = "tests/deploy/guarded";
const PATIENCE: Duration = Duration::from_secs(60);

/// A guard with the secrets, and a folder for each server's data.
fn guard() -> (Guard, PathBuf) {
    let guard = Guard::start(GUARD);
    let secrets = guard.folder.join("secrets");
    make_secrets(&secrets);
    (guard, secrets)
}

/// Writes redis.conf as `name`, its folder and its users' file moved to where the test may write.
fn redis_conf(guard: &Guard, name: &str) -> PathBuf {
    let data = guard.folder.join(format!("{name}-data"));
    fs::create_dir(&data).unwrap();
    let users = guard.folder.join("secrets/redis-users.acl");
    let places = [("/var/lib/redis", shown(&data)), ("/etc/redis/redis-users.acl", shown(&users))];
    let text = moved(&read("deploy/redis/redis.conf"), &places);
    guard.write(&format!("{name}-redis.conf"), &moved(&text, &[("bind * -::*", "bind 127.0.0.1")]))
}

/// Writes replicated.conf, which includes the other and the replicas' password.
fn replicated_conf(guard: &Guard, name: &str) -> PathBuf {
    let base = redis_conf(guard, name);
    let password = guard.folder.join("secrets/redis-replication.conf");
    let places =
        [("/etc/redis/paybell.conf", shown(&base)), ("/etc/redis/redis-replication.conf", shown(&password))];
    // Only the lines that are read: the head speaks of the same paths.
    let text: Vec<String> = read("deploy/redis/replicated.conf")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    guard.write(&format!("{name}.conf"), &moved(&text.join("\n"), &places))
}

/// What a command answers to a user; the default one, if there is no name.
fn ask(guard: &Guard, port: u16, user: Option<&str>, words: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &port.to_string()]);
    if let Some(user) = user {
        let file = guard.folder.join(format!("secrets/redis-{user}-password"));
        let password = fs::read_to_string(file).unwrap();
        command.args(["--no-auth-warning", "--user", user, "--pass", password.trim()]);
    }
    output_of(command.args(words)).trim().to_owned()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what} did not come");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn one_server_keeps_every_answered_write_and_its_users_to_their_limits() {
    let (mut guard, _) = guard();
    let (port, conf) = (guard.port(0), redis_conf(&guard, "one"));
    guard.launch("one", port, &format!("redis-server {} --port {port}", shown(&conf)));

    // Without a name: a health check, nothing else.
    assert_eq!(ask(&guard, port, None, &["ping"]), "PONG");
    for words in [&["get", "paybell{1}x"][..], &["info"], &["set", "a", "b"]] {
        assert!(ask(&guard, port, None, words).starts_with("NOPERM"), "{words:?}");
    }
    // What Paybell does.
    let paybell = |words: &[&str]| ask(&guard, port, Some("paybell"), words);
    for (key, value) in [
        ("appendonly", "yes"),
        ("appendfsync", "always"),
        ("no-appendfsync-on-rewrite", "no"),
        ("maxmemory-policy", "noeviction"),
        ("maxmemory", "1073741824"),
    ] {
        assert_eq!(paybell(&["config", "get", key]), format!("{key}\n{value}"));
    }
    assert_eq!(
        paybell(&["eval", "return redis.call('set', KEYS[1], ARGV[1])", "1", "paybell{1}x", "1999"]),
        "OK"
    );
    for words in [&["time"][..], &["role"], &["info", "replication"], &["scan", "0"], &["wait", "0", "1"]] {
        assert!(!paybell(words).contains("NOPERM"), "{words:?}");
    }
    // What it never does, and nobody in its name.
    for words in [
        &["flushall"][..],
        &["keys", "*"],
        &["config", "set", "maxmemory", "1"],
        &["acl", "list"],
        &["shutdown"],
        &["set", "other", "1"],
    ] {
        assert!(paybell(words).starts_with("NOPERM"), "{words:?}");
    }

    the_documented_commands_work(&guard, port);

    guard.tell("kill one");
    guard.tell("start one");
    until("the loaded file", || ask(&guard, port, None, &["ping"]) == "PONG");
    assert_eq!(
        ask(&guard, port, Some("paybell"), &["get", "paybell{1}x"]),
        "1999",
        "the answered write is gone"
    );
}

/// What docs/operations.md has a person do after a restore, with the password typed in.
fn the_documented_commands_work(guard: &Guard, port: u16) {
    let password = guard.folder.join("secrets/redis-paybell-password");
    for document in ["docs/operations.md", "docs/operations.zh-CN.md"] {
        let text = read(document);
        let commands: Vec<&str> = text.lines().filter(|line| line.starts_with("redis-cli ")).collect();
        let run = |line: &str| {
            let line = line.replacen("redis-cli", &format!("redis-cli -p {port}"), 1);
            let typed = fs::File::open(&password).unwrap();
            let output = Command::new("sh").args(["-c", &line]).stdin(typed).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            said.trim().lines().next_back().unwrap_or_default().to_owned()
        };
        let said: Vec<String> = commands.iter().map(|line| run(line)).collect();
        let [set, got] = &said[..] else { panic!("{document} has {commands:?}") };
        assert_eq!(set, "OK", "{document}: {commands:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let ago = now.checked_sub(got.parse().unwrap_or_else(|_| panic!("{document}: {got}")));
        assert!(ago.is_some_and(|ago| ago < 60_000), "{document}: {got} at {now}");
    }
}

#[test]
fn a_replica_and_a_sentinel_come_in_with_the_made_secrets() {
    let (mut guard, secrets) = guard();
    let (master, replica, sentinel) = (guard.port(0), guard.port(1), guard.port(2));
    let conf = replicated_conf(&guard, "master");
    guard.launch("master", master, &format!("redis-server {} --port {master}", shown(&conf)));
    // No replica, no write: what a cut-off master took would be thrown away.
    let set = |guard: &Guard| ask(guard, master, Some("paybell"), &["set", "paybell{1}x", "1"]);
    assert!(set(&guard).starts_with("NOREPLICAS"), "{}", set(&guard));

    let conf = replicated_conf(&guard, "replica");
    let command = format!("redis-server {} --port {replica} --replicaof 127.0.0.1 {master}", shown(&conf));
    guard.launch("replica", replica, &command);
    until("the replica", || set(&guard) == "OK");
    assert_eq!(ask(&guard, master, Some("paybell"), &["wait", "1", "10000"]), "1");
    assert_eq!(
        ask(&guard, master, Some("paybell"), &["config", "get", "appendfsync"]),
        "appendfsync\neverysec"
    );

    let data = guard.folder.join("sentinel-data");
    fs::create_dir(&data).unwrap();
    let text = read("deploy/redis/sentinel.conf");
    let monitored = format!("127.0.0.1 {master} 2");
    let places = [("192.0.2.11 6379 2", &*monitored), ("/var/lib/redis", shown(&data)), ("port 26379", "")];
    let password = fs::read_to_string(secrets.join("redis-sentinel.conf")).unwrap();
    let text = format!("{}\n{password}", moved(&moved(&text, &places), &[("bind * -::*", "bind 127.0.0.1")]));
    let conf = guard.write("sentinel.conf", &text);
    guard.launch("sentinel", sentinel, &format!("redis-sentinel {} --port {sentinel}", shown(&conf)));
    until("the sentinel's view", || {
        let view = ask(&guard, sentinel, None, &["sentinel", "master", "paybell"]);
        let field = |name: &str| view.lines().skip_while(|line| *line != name).nth(1).map(str::to_owned);
        field("flags").as_deref() == Some("master") && field("num-slaves").as_deref() == Some("1")
    });
    let address = ask(&guard, sentinel, None, &["sentinel", "get-master-addr-by-name", "paybell"]);
    assert_eq!(address, format!("127.0.0.1\n{master}"));
}
