//! The manifests: what they run exists, their configuration is sound with the secrets they mount, probes and services
//! go to ports that are there, and kustomize builds them. No cluster is asked.

use std::process::Command;

use serde_json::Value;

use crate::{
    configuration::{Secrets, is_command, is_sound},
    installed, output_of, read, root, texts, yaml,
};

const BASE: &str = "deploy/kubernetes/base";
const ROLES: [&str; 4] = ["ingress", "worker", "scheduler", "console"];

/// Every document of the base.
fn documents() -> Vec<Value> {
    let kustomization = yaml(&format!("{BASE}/kustomization.yaml")).remove(0);
    texts(&kustomization["resources"]).iter().flat_map(|file| yaml(&format!("{BASE}/{file}"))).collect()
}

#[track_caller]
fn find<'d>(documents: &'d [Value], kind: &str, name: &str) -> &'d Value {
    let is_it = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
    documents.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn container(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

/// The keys of a secret of the example.
fn secret_keys(name: &str) -> Vec<String> {
    let secrets = yaml("deploy/kubernetes/secrets.example.yaml");
    find(&secrets, "Secret", name)["stringData"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn every_role_runs_with_a_sound_configuration() {
    let documents = documents();
    for role in ROLES {
        let deployment = find(&documents, "Deployment", &format!("paybell-{role}"));
        let container = container(deployment);
        let args = texts(&container["args"]);
        is_command(&args);
        assert_eq!(args[..2], ["run", role]);
        let environment: Vec<(String, String)> = container["env"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| {
                (pair["name"].as_str().unwrap().to_owned(), pair["value"].as_str().unwrap().to_owned())
            })
            .collect();
        let pod = &deployment["spec"]["template"]["spec"];
        let secret = pod["volumes"][1]["secret"]["secretName"].as_str().unwrap();
        let keys = secret_keys(secret);
        let names: Vec<&str> = keys.iter().map(String::as_str).collect();
        let place = container["volumeMounts"][1]["mountPath"].as_str().unwrap();
        is_sound(&format!("{BASE}/paybell.toml"), &environment, &Secrets { place, names: &names });
        assert!(deployment["spec"]["replicas"].as_u64().unwrap() >= 2, "{role} runs alone");
        // 5 s of preStop and 27 s for an orderly end.
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() >= 32, "{role}");
    }
    // The public listener's processes hold no token of the private API.
    assert!(!secret_keys("paybell").contains(&"console-token".to_owned()));
}

#[test]
fn probes_and_services_go_to_ports_that_listen() {
    let documents = documents();
    let config: toml::Table = read(&format!("{BASE}/paybell.toml")).parse().unwrap();
    let listens = |section: &str| -> u64 {
        config[section]["listen"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()
    };
    let port_named = |deployment: &Value, name: &str| {
        let ports = container(deployment)["ports"].as_array().unwrap().clone();
        ports.iter().find(|port| port["name"] == name).unwrap()["containerPort"].as_u64().unwrap()
    };
    for role in ROLES {
        let deployment = find(&documents, "Deployment", &format!("paybell-{role}"));
        assert_eq!(port_named(deployment, "admin"), listens("admin"));
        for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
            let get = &container(deployment)[probe]["httpGet"];
            assert_eq!((get["path"].as_str(), get["port"].as_str()), (Some(path), Some("admin")), "{role}");
        }
        let budget = find(&documents, "PodDisruptionBudget", &format!("paybell-{role}"));
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels, "{role}");
        assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels, "{role}");
    }
    for (role, port) in [("ingress", "http"), ("console", "api")] {
        let service = find(&documents, "Service", &format!("paybell-{role}"));
        let deployment = find(&documents, "Deployment", &format!("paybell-{role}"));
        assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
        let exposed = &service["spec"]["ports"][0];
        assert_eq!(exposed["targetPort"], port);
        assert_eq!(exposed["port"].as_u64().unwrap(), port_named(deployment, port));
        // And the network policy lets just this port in.
        let policy_name = if role == "ingress" { "paybell-public" } else { "paybell-console" };
        let policy = find(&documents, "NetworkPolicy", policy_name);
        assert_eq!(policy["spec"]["ingress"][0]["ports"][0]["port"], exposed["port"]);
    }
    assert_eq!(port_named(find(&documents, "Deployment", "paybell-ingress"), "http"), listens("ingress"));
    let metrics = find(&documents, "NetworkPolicy", "paybell-metrics");
    assert_eq!(metrics["spec"]["ingress"][0]["ports"][0]["port"].as_u64().unwrap(), listens("admin"));
}

/// Whether a policy's selector takes a pod in.
fn selects(selector: &Value, labels: &Value) -> bool {
    let has = |key: &str, value: &Value| labels.get(key) == Some(value);
    let matched = selector["matchLabels"].as_object().into_iter().flatten();
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    matched.into_iter().all(|(key, value)| has(key, value))
        && expressions.into_iter().all(|expression| {
            assert_eq!(expression["operator"], "In", "{selector}");
            let values = expression["values"].as_array().unwrap();
            values.iter().any(|value| has(expression["key"].as_str().unwrap(), value))
        })
}

/// Whoever calls WeChat or an endpoint has 443, whoever does not has not, and all have their servers.
#[test]
fn a_role_that_calls_wechat_gets_out() {
    let documents = documents();
    for role in ROLES {
        let deployment = find(&documents, "Deployment", &format!("paybell-{role}"));
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        let ports: Vec<u64> = documents
            .iter()
            .filter(|document| document["kind"] == "NetworkPolicy")
            .filter(|policy| selects(&policy["spec"]["podSelector"], labels))
            .flat_map(|policy| policy["spec"]["egress"].as_array().into_iter().flatten())
            .flat_map(|rule| rule["ports"].as_array().unwrap())
            .map(|port| port["port"].as_u64().unwrap())
            .collect();
        // The worker queries, refunds and posts webhooks; the scheduler fetches bills and sends canaries; the console
        // places, closes and asks for openids. The ingress believes signatures and asks nobody.
        assert_eq!(ports.contains(&443), role != "ingress", "{role} reaches {ports:?}");
        for server in [53, 5672, 6379, 26379] {
            assert!(ports.contains(&server), "{role} reaches {ports:?}, not {server}");
        }
    }
}

#[test]
fn the_public_door_has_one_path_to_the_ingress() {
    let documents = documents();
    let rules = &find(&documents, "Ingress", "paybell")["spec"]["rules"];
    let paths = rules[0]["http"]["paths"].as_array().unwrap();
    assert_eq!(paths.len(), 1);
    assert_eq!(paths[0]["path"], "/notify/");
    assert_eq!(paths[0]["backend"]["service"]["name"], "paybell-ingress");
    let config: toml::Table = read(&format!("{BASE}/paybell.toml")).parse().unwrap();
    let public_url = config["ingress"]["public_url"].as_str().unwrap();
    assert_eq!(public_url, format!("https://{}", rules[0]["host"].as_str().unwrap()));
}

/// The operator's nodes are configured as those of deploy/rabbitmq, but for what the operator sets itself.
#[test]
fn the_operators_rabbitmq_has_the_same_settings() {
    let documents = yaml("deploy/kubernetes/rabbitmq.yaml");
    let cluster = find(&documents, "RabbitmqCluster", "rabbitmq");
    let settings = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#') && !line.is_empty());
        lines
            .filter(|line| !line.starts_with("listeners.") && !line.starts_with("definitions.local.path"))
            .map(str::to_owned)
            .collect()
    };
    let theirs = cluster["spec"]["rabbitmq"]["additionalConfig"].as_str().unwrap();
    assert_eq!(settings(theirs), settings(&read("deploy/rabbitmq/rabbitmq.conf")));
    let mounted = "/spec/override/statefulSet/spec/template/spec/containers/0/volumeMounts/0/mountPath";
    let place = cluster.pointer(mounted).unwrap().as_str().unwrap();
    assert!(theirs.contains(&format!("definitions.local.path = {place}/definitions.json")), "{theirs}");
    let image = read("docker-compose.yml");
    assert!(image.contains(&format!(":-{}}}", cluster["spec"]["image"].as_str().unwrap())));
}

#[test]
fn kustomize_builds_the_base() {
    let Some(kubectl) = installed("kubectl") else { return };
    let built = output_of(Command::new(kubectl).arg("kustomize").arg(root().join(BASE)));
    let built: Vec<Value> = serde_saphyr::from_multiple(&built).unwrap();
    assert_eq!(built.len(), documents().len() + 1, "every document, and the generated configuration");
    let generated = built.iter().find(|document| document["kind"] == "ConfigMap").unwrap();
    for role in ROLES {
        let deployment = find(&built, "Deployment", &format!("paybell-{role}"));
        assert_eq!(deployment["metadata"]["namespace"], "paybell");
        let volume = &deployment["spec"]["template"]["spec"]["volumes"][0];
        assert_eq!(volume["configMap"]["name"], generated["metadata"]["name"]);
        assert_eq!(container(deployment)["image"], "paybell:0.1.0");
    }
}
