//! The configuration as its reader sees it: text and variables in, values and refusals out.

mod adoption;
mod apps;
mod certificates;
mod documents;
mod secrets;
mod variables;

use std::{ffi::OsString, fs, path::PathBuf};

use paybell_core::{Cadence, OpenidPolicy, Unregistered, time::Millis};
use tempfile::TempDir;
use wechat_pay::sign::{AcceptedAlgorithm, Algorithm};

use super::*;

const KEY: &str = "192006250b4c09247ec02edce69f6a2d";
const OTHER_KEY: &str = "00000000000000000000000000000000";

/// The least that runs.
const MERCHANT: &str = r#"
[[merchant]]
mch_id = "1900000109"
app_ids = ["wx8888888888888888"]
api_key = "192006250b4c09247ec02edce69f6a2d"
"#;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn load(&self, text: &str, variables: &[(&str, &str)]) -> Loaded {
        load(Some(&self.put("paybell.toml", text)), environment(variables))
    }
}

fn environment(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn config(text: &str, variables: &[(&str, &str)]) -> Config {
    Folder::new().load(text, variables).checked().unwrap_or_else(|problems| panic!("{problems}"))
}

fn problems(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    Folder::new().load(text, variables).problems.iter().map(ToString::to_string).collect()
}

#[test]
fn defaults_are_those_of_the_contract() {
    let config = config(MERCHANT, &[]);
    assert_eq!(config.engine, EngineKind::Embedded);
    assert_eq!(config.data_dir, PathBuf::from("data"));
    assert_eq!(config.rabbitmq.url.reveal(), "amqp://guest:guest@127.0.0.1:5672/%2f");
    assert_eq!((config.rabbitmq.prefix.as_str(), config.rabbitmq.partitions), ("paybell", 4));
    assert_eq!(
        (config.redis.url.reveal(), config.redis.prefix.as_str()),
        ("redis://127.0.0.1:6379", "paybell")
    );
    assert_eq!(config.ingress.listen.as_str(), "0.0.0.0:8080");
    assert_eq!(config.console.listen.as_str(), "127.0.0.1:8081");
    assert_eq!(config.admin_listen.as_str(), "127.0.0.1:8082");
    assert_eq!(config.base_urls, ["https://api.mch.weixin.qq.com", "https://api2.mch.weixin.qq.com"]);
    assert_eq!(config.cadence, Cadence::wechat());
    assert_eq!(config.openid, OpenidPolicy::Omit);
    let days = |days: i64| Millis::seconds(days * 86_400);
    assert_eq!(config.retention, Retention { orders: days(35), events: days(35) });
    let merchant = &config.merchants[0];
    assert_eq!(
        (merchant.algorithm, merchant.accepted),
        (Algorithm::Md5, AcceptedAlgorithm::Only(Algorithm::Md5))
    );
    assert_eq!((merchant.unregistered, merchant.close_unpaid), (Unregistered::Emit, false));
    assert_eq!((merchant.queries_per_second.get(), merchant.keys.len()), (50, 1));
    assert!(
        merchant.sub_mch_ids.is_empty() && config.console.tokens.is_empty() && config.ingress.tls.is_none()
    );
}

#[test]
fn the_sample_says_the_defaults_and_nothing_else() {
    let sample = Folder::new().load(SAMPLE, &[]);
    let said: Vec<String> = sample.problems.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "only the merchant is missing: {said:?}");
    assert!(said[0].contains("no merchant"), "{said:?}");
    let empty = Folder::new().load("", &[]);
    let values = |loaded: &Loaded| -> Vec<_> {
        loaded.shown.iter().map(|shown| (shown.section.clone(), shown.key, shown.value.clone())).collect()
    };
    assert_eq!(values(&sample), values(&empty));
    assert!(
        sample.shown.iter().all(|shown| shown.origin != Origin::Default),
        "each default stands in the sample"
    );
}

/// Every `#key = …` and `#[[section]]` of the sample, with the files that it names.
#[test]
fn the_samples_examples_are_all_known_and_sound() {
    let folder = Folder::new();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (name, text) in [
        ("fullchain.pem", pair.cert.pem()),
        ("privkey.pem", pair.signing_key.serialize_pem()),
        ("apiclient_cert.pem", pair.cert.pem()),
        ("apiclient_key.pem", pair.signing_key.serialize_pem()),
        ("paybell-token", "one".to_owned()),
        ("shop-token", "two\n".to_owned()),
        ("wechat-key", format!("{KEY}\r\n")),
        ("wechat-key-before", OTHER_KEY.to_owned()),
        ("wechat-app-secret", "0123456789abcdef0123456789abcdef\n".to_owned()),
        ("gateway-ca.pem", pair.cert.pem()),
        ("webhook-secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n".to_owned()),
    ] {
        folder.put(name, &text);
    }
    let here = folder.0.path().display().to_string();
    let sample: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(example)
                if example.starts_with(|first: char| first.is_ascii_lowercase() || first == '[') =>
            {
                example
            }
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let sample = ["/etc/paybell/tls", "/etc/paybell", "/run/secrets"]
        .iter()
        .fold(sample, |text, path| text.replace(&format!("{path}/"), &format!("{here}/")));
    let loaded = folder.load(&sample, &[]);
    assert!(loaded.shown.iter().all(|shown| shown.origin != Origin::Default), "{:?}", loaded.shown);
    let config = loaded.checked().unwrap_or_else(|problems| panic!("{problems}"));
    let merchant = &config.merchants[0];
    assert_eq!((merchant.keys.len(), merchant.client_certificate.is_some()), (2, true));
    assert_eq!(config.console.tokens.len(), 2);
    assert_eq!(config.console.tokens[1].scopes, [Scope::Events, Scope::Orders]);
    assert!(config.ingress.tls.is_some() && config.proxy.is_some_and(|proxy| proxy.tls.is_some()));
    let names: Vec<_> = config.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    assert_eq!(names, ["shop", "old-shop"]);
}

/// What is written, and the words that must be said about it.
const WRONG_VALUES: &[(&str, &[&str])] = &[
    ("engine = \"redb\"", &["paybell.toml:1: engine:", "\"embedded\" or \"cluster\""]),
    ("engine = 3", &["engine: must be text in quotes, not a number"]),
    ("\n[ingress]\nlistn = \"0.0.0.0:1\"", &["paybell.toml:3: ingress.listn: unknown key", "\"listen\""]),
    ("[ingres]\nlisten = \"0.0.0.0:1\"", &["paybell.toml:1: ingres: unknown key", "\"ingress\""]),
    ("[[webhooks]]\nurl = \"https://x\"", &["webhooks: unknown key", "\"webhook\""]),
    ("[[merchant]]\nmch_key = \"1\"", &["merchant[0].mch_key: unknown key", "\"mch_id\""]),
    ("ingress = 1", &["ingress: must be a section, [ingress], not a number"]),
    ("merchant = 1", &["merchant: must be a list of sections: write [[merchant]]"]),
    ("[merchant]\nmch_id = \"1\"", &["write [[merchant]] above each"]),
    ("[ingress]\nlisten = \"8080\"", &["paybell.toml:2: ingress.listen:", "HOST:PORT"]),
    ("[ingress]\npublic_url = \"pay.example.com\"", &["ingress.public_url", "https://"]),
    ("[ingress]\ntls_cert_file = \"/x/c.pem\"", &["ingress.tls_cert_file: needs tls_key_file beside it"]),
    ("[ingress]\ntls_key_file = \"/x/k.pem\"", &["ingress.tls_key_file: needs tls_cert_file beside it"]),
    (
        "[ingress]\ntls_cert_file = \"/nowhere/c.pem\"\ntls_key_file = \"/nowhere/k.pem\"",
        &["paybell.toml:2: ingress.tls_cert_file: /nowhere/c.pem: cannot read it"],
    ),
    ("[console]\nlisten = \"0.0.0.0:8081\"", &["console.listen: 0.0.0.0:8081 is not loopback", "token_file"]),
    (
        "[console]\ntoken_file = \"/nowhere/t\"",
        &["console.token_file: cannot read /nowhere/t", "No such file"],
    ),
    (
        "[[console.token]]\nname = \"a\"",
        &["console.token[0].file: missing", "console.token[0].scopes: name at"],
    ),
    ("[[console.token]]\nscopes = [\"root\"]", &["\"root\" must be \"events\" or \"orders\" or \"operate\""]),
    ("[console]\nrate = \"fast\"", &["console.rate: \"fast\" is no rate", "50/s"]),
    ("[console]\nstreams = 0", &["console.streams"]),
    ("[[console.token]]\nrate = \"0/s\"", &["console.token[0].rate: \"0/s\" is no rate"]),
    ("[[console.token]]\nstreams = \"many\"", &["console.token[0].streams"]),
    ("[console]\nallowed_hosts = [\"a/b\"]", &["console.allowed_hosts: \"a/b\" is no host", "HOST:PORT"]),
    ("[admin]\nlisten = \"127.0.0.1:8081\"", &["admin: listen is 127.0.0.1:8081, which console listens on"]),
    ("[wechat]\nbase_urls = []", &["wechat.base_urls: name at least one"]),
    ("[wechat]\nbase_urls = [\"https://x/pay\"]", &["wechat.base_urls", "must not have a path"]),
    ("[wechat]\nbase_urls = \"https://x\"", &["must be a list of texts"]),
    ("[wechat]\nbase_urls = [1]", &["must hold only texts in quotes"]),
    ("[schedule]\ncadence = []", &["schedule.cadence: needs 1 to 64 gaps, there are 0"]),
    ("[schedule]\ncadence = [\"15x\"]", &["\"15x\" is no length of time"]),
    ("[events]\nopenid = \"yes\"", &["\"omit\" or \"include\""]),
    ("[retention]\norders = \"15d\"", &["retention.orders: \"15d\" is too short: at least \"16d\""]),
    ("[rabbitmq]\nurl = \"http://u:hunter2@h\"", &["rabbitmq.url: must be a URL that begins with amqp://"]),
    ("[rabbitmq]\nurl = \"amqp://u:hunter2@h:5672/\"", &["rabbitmq.url: ends in /", "written %2f"]),
    ("[rabbitmq]\nurl = \"amqp://u:hunter2@:5672/%2f\"", &["rabbitmq.url: names no host"]),
    ("[rabbitmq]\npartitions = 0", &["a whole number from 1 to 64"]),
    ("[rabbitmq]\npartitions = 65", &["a whole number from 1 to 64"]),
    ("[rabbitmq]\nprefix = \"a b\"", &["rabbitmq.prefix"]),
    ("[redis]\nurl = \"127.0.0.1\"", &["redis.url: must be a URL"]),
    ("", &["merchant: no merchant: add [[merchant]]"]),
    ("[[merchant]]", &["merchant[0].mch_id: missing", "app_ids: name at least one", "api_key_file: missing"]),
    ("[[merchant]]\nmch_id = 1900000109", &["paybell.toml:2: merchant[0].mch_id: must be text in quotes"]),
    ("[[merchant]]\nmch_id = \"19-1\"", &["\"19-1\" must be 1 to 32 letters or digits"]),
    ("[[merchant]]\nsign_type = \"md5\"", &["\"md5\" must be \"MD5\" or \"HMAC-SHA256\" or \"any\""]),
    ("[[merchant]]\nunregistered = \"drop\"", &["\"emit\" or \"hold\" or \"ignore\""]),
    ("[[merchant]]\nclose_unpaid = \"no\"", &["must be true or false (without quotes), not text"]),
    ("[[merchant]]\nquery_rate = \"50\"", &["such as \"50/s\""]),
    ("[[merchant]]\nclient_cert_file = \"/x\"", &["needs client_key_file beside it"]),
    ("[[merchant]]\napi_key_file = \"/nowhere/key\"", &["cannot read /nowhere/key: No such file"]),
    ("a = ", &["paybell.toml:1: not valid TOML"]),
    ("[ingress]\nlisten = \"a:1\"\nlisten = \"b:1\"", &["paybell.toml:3: not valid TOML: duplicate key"]),
];

#[test]
fn every_wrong_value_is_refused_with_its_place_and_a_way_out() {
    for (text, words) in WRONG_VALUES {
        let said = problems(text, &[]).join("\n");
        for word in *words {
            assert!(said.contains(word), "{text:?}\nshould say {word:?}, says\n{said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let text = "engine = \"x\"\n[ingress]\nlisten = \"x\"\n[retention]\norders = \"1d\"\nevnts = \"1d\"\n";
    assert_eq!(problems(&format!("{text}{MERCHANT}"), &[]).len(), 4);
}

#[test]
fn tokens_open_the_console_to_others() {
    let folder = Folder::new();
    let token = folder.put("token", "s3cret-token \n").display().to_string();
    let empty = folder.put("empty", " \n").display().to_string();
    let open = format!("[console]\nlisten = \"0.0.0.0:8081\"\ntoken_file = \"{token}\"\n{MERCHANT}");
    let config = folder.load(&open, &[]).checked().unwrap();
    assert_eq!(config.console.tokens[0].secret.reveal(), "s3cret-token");
    assert_eq!(config.console.tokens[0].scopes.len(), 4);
    assert!(!format!("{config:?}").contains("s3cret"));

    let limits = |config: &Config| {
        let of_tokens = config.console.tokens.iter().map(|token| (token.rate, token.streams));
        (config.console.rate, config.console.streams, of_tokens.collect::<Vec<_>>())
    };
    assert_eq!(limits(&config), (2000, 256, vec![(2000, 256)]), "the only token may have all streams");
    let own = format!(
        "[console]\nrate = \"50/s\"\nstreams = 9\n[[console.token]]\nname = \"shop\"\nfile = \"{token}\"\n\
         scopes = [\"events\"]\nrate = \"7/s\"\nstreams = 3\n{MERCHANT}"
    );
    let config = folder.load(&own, &[]).checked().unwrap();
    assert_eq!(limits(&config), (50, 9, vec![(7, 3)]));
    let inherited = own.replace("rate = \"7/s\"\nstreams = 3\n", "");
    let config = folder.load(&inherited, &[]).checked().unwrap();
    assert_eq!(limits(&config), (50, 9, vec![(50, 128)]));

    let said = folder.load(&open.replace(&token, &empty), &[]).problems;
    assert!(said.len() == 1 && said[0].to_string().contains("is empty"), "{said:?}");
    let block = format!("[[console.token]]\nname = \"shop\"\nfile = \"{token}\"\nscopes = [\"events\"]\n");
    let said = Problems(folder.load(&format!("{block}{block}{MERCHANT}"), &[]).problems).to_string();
    assert!(
        said.contains("two tokens have the name \"shop\"") && said.contains("are the same token"),
        "{said}"
    );
}

#[test]
fn a_missing_file_is_an_error_only_if_it_was_named() {
    let named = load(Some(std::path::Path::new("/nowhere/paybell.toml")), []);
    assert!(named.problems[0].to_string().contains("/nowhere/paybell.toml: cannot read it"));
    assert!(named.checked().is_err());
}

#[test]
fn what_is_shown_hides_secrets_and_names_origins() {
    let folder = Folder::new();
    let loaded = folder.load(
        &format!("{MERCHANT}[rabbitmq]\nurl = \"amqp://shop:hunter2@mq.example/%2f\"\n"),
        &[("PAYBELL__REDIS__URL", "redis://:hun/ter2@cache:6379"), ("PAYBELL__EVENTS__OPENID", "include")],
    );
    let text = as_toml(&loaded.shown);
    for word in [
        "url = \"amqp://shop:***@mq.example/%2f\"",
        "url = \"redis://:***@cache:6379\"",
        "[[merchant]]",
        "api_key = \"***\"",
        "# PAYBELL__EVENTS__OPENID",
        "# default",
        "paybell.toml:5",
    ] {
        assert!(text.contains(word), "{word} in\n{text}");
    }
    let json = as_json(&loaded.shown).to_string();
    for shown in [&text, &json] {
        assert!(!shown.contains("hun") && !shown.contains("ter2") && !shown.contains(KEY), "{shown}");
    }
    assert!(
        json.contains(r#""key":"merchant[0].mch_id""#) && json.contains(r#""set_by":"environment""#),
        "{json}"
    );
    assert!(toml::from_str::<toml::Table>(&text).is_ok(), "{text}");
}
