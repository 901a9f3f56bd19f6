//! What compose and Kubernetes keep behind `#refunds `: with the marks away, workers get the merchant's API certificate,
//! and nobody else does.

use serde_json::Value;

use crate::{
    configuration::{Secrets, is_sound},
    read, texts,
};

/// The documents of a file whose marks are away.
fn unmarked(path: &str) -> Vec<Value> {
    let text = read(path);
    assert!(text.matches("#refunds ").count() > 3, "{path} has marks");
    serde_saphyr::from_multiple(&text.replace("#refunds ", ""))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn variables(pairs: impl Iterator<Item = (String, String)>) -> Vec<(String, String)> {
    let pairs: Vec<_> = pairs.filter(|(name, _)| !name.ends_with("BASE_URLS")).collect();
    let certificate = pairs.iter().filter(|(name, _)| name.contains("__CLIENT_")).count();
    assert_eq!(certificate, 2, "both files are named: {pairs:?}");
    pairs
}

#[test]
fn compose_gives_workers_the_certificate() {
    let compose = unmarked("docker-compose.yml").remove(0);
    let worker = &compose["services"]["worker"];
    let secrets = texts(&worker["secrets"]);
    for secret in &secrets {
        assert!(compose["secrets"][secret]["file"].is_string(), "there is no secret {secret}");
    }
    for role in ["ingress", "scheduler", "console"] {
        assert!(!texts(&compose["services"][role]["secrets"]).contains(&"client-key"), "{role}");
    }
    let pairs = worker["environment"].as_object().unwrap().iter();
    let environment =
        variables(pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())));
    is_sound(
        "deploy/compose/paybell.toml",
        &environment,
        &Secrets { place: "/run/secrets", names: &secrets },
    );
}

#[test]
fn kubernetes_gives_workers_the_certificate() {
    let worker = unmarked("deploy/kubernetes/base/worker.yaml").remove(0);
    let pod = &worker["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let (mounts, volumes) =
        (container["volumeMounts"].as_array().unwrap(), pod["volumes"].as_array().unwrap());
    let mount = mounts.iter().find(|mount| mount["name"] == "certificate").unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "certificate").unwrap();
    let secrets = crate::yaml("deploy/kubernetes/secrets.example.yaml");
    let is_it = |secret: &&Value| secret["metadata"]["name"] == volume["secret"]["secretName"];
    let keys = secrets.iter().find(is_it).unwrap()["stringData"].as_object().unwrap();
    let mut names = vec!["amqp-url", "redis-url", "wechat-key"];
    names.extend(keys.keys().map(String::as_str));
    let pairs = container["env"].as_array().unwrap().iter();
    let text = |pair: &Value, name: &str| pair[name].as_str().unwrap().to_owned();
    // Two places in the container, one folder here.
    let place = |value: String| value.replace(mount["mountPath"].as_str().unwrap(), "/run/secrets/paybell");
    let environment = variables(pairs.map(|pair| (text(pair, "name"), place(text(pair, "value")))));
    is_sound(
        "deploy/kubernetes/base/paybell.toml",
        &environment,
        &Secrets { place: "/run/secrets/paybell", names: &names },
    );
}
