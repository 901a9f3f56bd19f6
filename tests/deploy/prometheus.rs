//! Alerts and board: every metric, label and value that an expression uses is one that Paybell gives, and promtool
//! plays each alert. Prometheus itself is not run.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::{Value, json};

use crate::{files_below, installed, output_of, read, root, yaml};

/// Every metric that docs/operations.md lists.
fn listed() -> BTreeSet<String> {
    let text = read("docs/operations.md");
    let names = text.split('`').skip(1).step_by(2).filter(|word| word.starts_with("paybell_"));
    names.map(|word| word.split('{').next().unwrap().to_owned()).collect()
}

/// Every expression of the alerts and of the board, with the place where it stands.
fn expressions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for rule in yaml("deploy/prometheus/rules.yml")[0]["groups"][0]["rules"].as_array().unwrap() {
        let text = |key: &str| rule[key].as_str().unwrap().to_owned();
        found.push((format!("alert {}", text("alert")), text("expr")));
    }
    let board: Value = serde_json::from_str(&read("deploy/grafana/paybell.json")).unwrap();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let place = format!("panel {}", panel["title"].as_str().unwrap());
            found.push((place, target["expr"].as_str().unwrap().to_owned()));
        }
    }
    found
}

/// The words of an expression that are names of ours.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("paybell_"));
    let of_histogram = |word: &str| {
        let name = word.strip_suffix("_bucket").or_else(|| word.strip_suffix("_count"));
        name.unwrap_or(word).to_owned()
    };
    ours.map(of_histogram).collect()
}

/// `label="value"` and `label=~"a|b"` of an expression.
fn matchers_in(expression: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for inner in expression.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()) {
        for matcher in inner.split(',') {
            let (label, value) = matcher.split_once('=').unwrap();
            let value = value.trim_start_matches('~').trim_matches('"');
            found.extend(
                value
                    .split('|')
                    .map(|value| (label.trim().trim_end_matches('!').to_owned(), value.to_owned())),
            );
        }
    }
    found
}

/// Metrics that neither alert nor panel needs: what the binary does not show yet, and what the alert for dead letters
/// covers, or the one for a configuration that differs, or the one for previous keys.
const NOT_WATCHED: &[&str] = &[
    "paybell_posted_registrations_total",
    "paybell_reloads_total",
    "paybell_config_loaded_timestamp_seconds",
    "paybell_previous_key_used_timestamp_seconds",
];

#[test]
fn every_metric_in_an_expression_exists() {
    let listed = listed();
    assert!(listed.len() >= 14, "docs/operations.md lists only {listed:?}");
    let expressions = expressions();
    let mut used = BTreeSet::new();
    for (place, expression) in &expressions {
        let metrics = metrics_in(expression);
        assert!(!metrics.is_empty() || expression.contains("up{job="), "{place} asks for nothing of ours");
        for metric in &metrics {
            assert!(listed.contains(metric), "{place}: there is no metric {metric}");
        }
        used.extend(metrics);
    }
    let is_watched = |metric: &&String| !NOT_WATCHED.iter().any(|prefix| metric.starts_with(prefix));
    let unused: BTreeSet<&String> = listed.difference(&used).filter(is_watched).collect();
    assert!(unused.is_empty(), "neither alert nor panel uses {unused:?}");
}

/// A misspelt value never matches, and its alert never fires: each is a word of the code.
#[test]
fn every_value_in_an_expression_is_a_word_of_the_code() {
    let is_source = |path: &std::path::Path| {
        let text = path.to_str().unwrap();
        text.ends_with(".rs") && text.contains("/src/")
    };
    let paths = files_below("crates").into_iter().filter(|path| is_source(path));
    let code: String = paths.map(|path| fs::read_to_string(path).unwrap()).collect();
    let documents = read("docs/operations.md");
    let mut found = 0;
    for (place, expression) in expressions() {
        for (label, value) in matchers_in(&expression) {
            found += 1;
            if label == "job" {
                let jobs = &yaml("deploy/prometheus/prometheus.yml")[0]["scrape_configs"];
                assert_eq!(jobs[0]["job_name"], value, "{place}");
                continue;
            }
            assert!(code.contains(&format!("\"{value}\"")), "{place}: nothing says {label}=\"{value}\"");
            let is_listed = documents
                .split('{')
                .skip(1)
                .any(|rest| rest.split('}').next().unwrap().split(',').any(|listed| listed == label));
            assert!(is_listed, "{place}: docs/operations.md knows no label {label}");
        }
    }
    assert!(found >= 10, "only {found} matchers");
}

#[test]
fn every_alert_says_what_to_do() {
    for rule in yaml("deploy/prometheus/rules.yml")[0]["groups"][0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        let runbook =
            rule["annotations"]["runbook"].as_str().unwrap_or_else(|| panic!("{name} has no runbook"));
        assert!(runbook.len() > 80 && rule["annotations"]["summary"].is_string(), "{name}");
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")), "{name}");
    }
}

/// Whoever is called may read Chinese. The texts name the same labels, metrics, alerts, commands and documents.
#[test]
fn every_alert_speaks_both_languages() {
    for rule in yaml("deploy/prometheus/rules.yml")[0]["groups"][0]["rules"].as_array().unwrap() {
        let name = rule["alert"].as_str().unwrap();
        for key in ["summary", "runbook"] {
            let text = |key: &str| {
                rule["annotations"][key].as_str().unwrap_or_else(|| panic!("{name} has no {key}"))
            };
            let (english, chinese) = (text(key), text(&format!("{key}_zh")));
            let is_chinese = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
            assert!(chinese.contains(is_chinese), "{name}: {chinese}");
            assert_eq!(named_in(english), named_in(chinese), "{name}: {chinese}");
        }
    }
}

/// What a text names that is the same in every language.
fn named_in(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_-/.".contains(letter);
    let words: Vec<&str> = text
        .split(|letter: char| !is_part(letter))
        .filter(|word| word.contains(char::is_alphanumeric))
        .collect();
    let is_name =
        |word: &&&str| word.starts_with("paybell_") || word.len() > 7 && word.starts_with("Paybell");
    let plain = |word: &str| word.trim_end_matches('.').to_owned();
    let names = words.iter().filter(is_name).map(|word| plain(word));
    let has_parts = |word: &str| {
        ["config", "dead", "endpoint", "events", "operations", "order", "shadow", "topology"].contains(&word)
    };
    let behind = words.split(|word| *word == "paybell").skip(1);
    let commands = behind.map(|words| {
        let parts = words.first().map_or(0, |first| 1 + usize::from(has_parts(first)));
        words
            .iter()
            .take(parts)
            .fold("paybell".to_owned(), |command, word| format!("{command} {}", plain(word)))
    });
    let documents =
        words.iter().filter(|word| word.starts_with("docs/")).map(|word| plain(word).replace(".zh-CN", ""));
    let values = text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim().to_owned());
    names.chain(commands).chain(documents).chain(values).collect()
}

/// rules.test.yml has a case in which each alert fires.
#[test]
fn every_alert_is_played() {
    let tests = yaml("deploy/prometheus/rules.test.yml");
    let cases = tests[0]["tests"].as_array().unwrap();
    let fired: BTreeSet<&str> = cases
        .iter()
        .flat_map(|case| case["promql_expr_test"][0]["exp_samples"].as_array().unwrap())
        .map(|sample| sample["labels"].as_str().unwrap().split('"').nth(1).unwrap())
        .collect();
    let rules = yaml("deploy/prometheus/rules.yml");
    let rules = rules[0]["groups"][0]["rules"].as_array().unwrap();
    let named: BTreeSet<&str> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(fired, named);
    let Some(program) = installed("promtool") else { return };
    let folder = root().join("deploy/prometheus");
    let promtool = |args: [&str; 3]| output_of(Command::new(&program).args(args).current_dir(&folder));
    promtool(["check", "config", "prometheus.yml"]);
    promtool(["test", "rules", "rules.test.yml"]);
}

#[test]
fn the_panels_are_sound_expressions() {
    let board: Value = serde_json::from_str(&read("deploy/grafana/paybell.json")).unwrap();
    let mut ids = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have the id {}", panel["id"]);
    }
    let Some(promtool) = installed("promtool") else { return };
    let rules: Vec<Value> = expressions()
        .into_iter()
        .enumerate()
        .map(|(number, (_, expression))| json!({ "record": format!("panel:{number}"), "expr": expression }))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("panels.yml");
    fs::write(&path, json!({ "groups": [{ "name": "panels", "rules": rules }] }).to_string()).unwrap();
    output_of(Command::new(promtool).args(["check", "rules"]).arg(&path));
}
