//! docker-compose.yml: everything it refers to exists, every role's configuration is sound with what its container is
//! handed, and every process is bounded. No container is run.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    configuration::{Secrets, is_command, is_sound},
    read, root, texts, yaml,
};

const ROLES: [&str; 4] = ["ingress", "worker", "scheduler", "console"];
/// Longest orderly end of `paybell run`: 15 s for what is in hand, 2 s for the admin listener, 10 s for the engine.
const END_SECONDS_MAX: u64 = 27;

fn compose() -> Value {
    yaml("docker-compose.yml").remove(0)
}

fn names(map: &Value) -> BTreeSet<String> {
    map.as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default()
}

/// The names that a service lists, in the short or the long form.
fn sources(list: &Value) -> Vec<String> {
    let name = |item: &Value| item["source"].as_str().or(item.as_str()).unwrap().to_owned();
    list.as_array().map(|items| items.iter().map(name).collect()).unwrap_or_default()
}

/// `${NAME:-default}` as it is without the variable.
fn plain(text: &str) -> String {
    match text.split_once("${").and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (variable, after))) => {
            let (_, default) = variable.split_once(":-").unwrap_or_else(|| panic!("{text} has no default"));
            format!("{before}{default}{after}")
        }
        None => text.to_owned(),
    }
}

fn environment(service: &Value) -> Vec<(String, String)> {
    let pairs = service["environment"].as_object().unwrap();
    pairs.iter().map(|(name, value)| (name.clone(), plain(value.as_str().unwrap()))).collect()
}

#[test]
fn every_reference_resolves() {
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        for kind in ["configs", "secrets", "networks"] {
            let known = names(&compose[kind]);
            for source in sources(&service[kind]) {
                assert!(known.contains(&source), "{name} names {source}, which is not among the {kind}");
            }
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let volume = volume.as_str().unwrap().split(':').next().unwrap();
            assert!(names(&compose["volumes"]).contains(volume), "{name}: {volume}");
        }
        for needed in names(&service["depends_on"]) {
            assert_eq!(service["depends_on"][&needed]["condition"], "service_healthy", "{name} → {needed}");
            assert!(!services[&needed]["healthcheck"].is_null(), "{name} waits for {needed}'s health");
        }
        if let Some(dockerfile) = service["build"]["dockerfile"].as_str() {
            assert!(root().join(dockerfile).is_file(), "{dockerfile}");
        }
    }
    for (name, config) in compose["configs"].as_object().unwrap() {
        let file = config["file"].as_str().unwrap();
        assert!(root().join(file).is_file(), "config {name}: {file}");
    }
    let folder = tempfile::tempdir().unwrap();
    crate::make_secrets(folder.path());
    for (name, secret) in compose["secrets"].as_object().unwrap() {
        let file = secret["file"].as_str().unwrap().strip_prefix("deploy/compose/secrets/").unwrap();
        assert!(folder.path().join(file).is_file(), "secret {name}: deploy/make-secrets makes no {file}");
    }
}

#[test]
fn every_role_runs_twice_with_a_sound_configuration() {
    let compose = compose();
    for role in ROLES {
        let service = &compose["services"][role];
        let command = texts(&service["command"]);
        is_command(&command);
        assert_eq!(command[..2], ["run", role]);
        assert_eq!(service["scale"], 2, "{role}");
        let config = service["configs"][0]["target"].as_str().unwrap();
        assert!(command.contains(&config), "{role} reads {command:?}, its configuration is at {config}");
        let secrets = texts(&service["secrets"]);
        is_sound(
            "deploy/compose/paybell.toml",
            &environment(service),
            &Secrets { place: "/run/secrets", names: &secrets },
        );
    }
    let simulator = &compose["services"]["simulator"];
    is_command(&texts(&simulator["command"]));
    assert!(texts(&simulator["profiles"]).contains(&"simulator"));
}

#[test]
fn the_simulator_is_named_where_its_file_says() {
    let compose = compose();
    let file = read("deploy/compose/simulator.env");
    let variables: Vec<(&str, &str)> =
        file.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect();
    let port = texts(&compose["services"]["simulator"]["command"])[2].rsplit(':').next().unwrap();
    let url = format!("http://simulator:{port}");
    assert_eq!(variables, [("COMPOSE_PROFILES", "simulator"), ("PAYBELL_WECHAT_BASE_URLS", &url)]);
    assert!(read("docker-compose.yml").contains("${PAYBELL_WECHAT_BASE_URLS:-"));
}

#[test]
fn every_container_is_bounded_and_unprivileged() {
    for (name, service) in compose()["services"].as_object().unwrap() {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"][0], "ALL", "{name}");
        assert_eq!(service["security_opt"][0], "no-new-privileges:true", "{name}");
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert!(
            service["mem_limit"].is_string() && service["logging"]["options"]["max-size"].is_string(),
            "{name}"
        );
        // Prometheus's image names a user of its own.
        if name != "prometheus" {
            let user = service["user"].as_str().unwrap().split(':').next().unwrap();
            assert!(user.parse::<u32>().unwrap() > 0, "{name} is root");
            let grace = service["stop_grace_period"].as_str().unwrap().strip_suffix('s').unwrap();
            assert!(grace.parse::<u64>().unwrap() >= END_SECONDS_MAX, "{name} is killed after {grace} s");
        }
        for port in service["ports"].as_array().into_iter().flatten() {
            let port = port.as_str().unwrap();
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} to everybody");
        }
    }
}

/// A port that is published, proxied or scraped is one that a process listens on.
#[test]
fn the_ports_agree() {
    let compose = compose();
    let config: toml::Table = read("deploy/compose/paybell.toml").parse().unwrap();
    let port_of = |address: &str| address.rsplit(':').next().unwrap().to_owned();
    let published = |service: &str| {
        let text = compose["services"][service]["ports"][0].as_str().unwrap().to_owned();
        let parts: Vec<String> = text.split(':').map(str::to_owned).collect();
        (parts[1].clone(), parts[2].clone())
    };
    let (outside, inside) = published("ingress");
    assert_eq!(inside, port_of(config["ingress"]["listen"].as_str().unwrap()));
    let (first, last) = outside.split_once('-').unwrap();
    let nginx = read("deploy/nginx/paybell.conf");
    for port in [first, last] {
        assert!(nginx.contains(&format!("server 127.0.0.1:{port} ")), "nginx does not know {port}");
    }
    let console = environment(&compose["services"]["console"]);
    let listen = console.iter().find(|(name, _)| name == "PAYBELL__CONSOLE__LISTEN").unwrap();
    assert_eq!(published("console").1, port_of(&listen.1));
    let scrape = &yaml("deploy/prometheus/prometheus.yml")[0]["scrape_configs"][0]["dns_sd_configs"][0];
    assert_eq!(texts(&scrape["names"]), ROLES);
    let admin = crate::image::admin_address();
    assert_eq!(scrape["port"].to_string(), port_of(&admin));
    let probe = &compose["services"]["simulator"]["healthcheck"]["test"];
    assert!(texts(probe).last().unwrap().starts_with("http://127.0.0.1:8090/_sim/"));
    let probe = texts(probe);
    assert_eq!(probe[..2], ["CMD", "/usr/bin/paybell"]);
    crate::configuration::is_command(&probe[2..]);
}

/// What one container calls another by: the service's name and the port of that server's own file.
#[test]
fn the_engines_are_where_the_secrets_say() {
    let folder = tempfile::tempdir().unwrap();
    crate::make_secrets(folder.path());
    let url = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let services = names(&compose()["services"]);
    for (secret, path, key) in [
        ("amqp-url", "deploy/rabbitmq/rabbitmq.conf", "listeners.tcp.default = "),
        ("redis-url", "deploy/redis/redis.conf", "port "),
    ] {
        let url = url(secret);
        let address = url.trim().rsplit('@').next().unwrap().split('/').next().unwrap();
        let (host, port) = address.split_once(':').unwrap();
        assert!(services.contains(host), "{secret}: there is no service {host}");
        let text = read(path);
        let configured = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        assert_eq!(port, configured, "{path}");
    }
}
