//! What the doctor says of the configuration itself: its problems, and the files that hold secrets.

use std::path::{Path, PathBuf};

use doctor::{Finding, files};

use crate::{
    boot::bills::begins_anew,
    config::{Config, Origin, Problems, Shown},
};

/// Files with secrets that the configuration names or is.
pub(super) fn files(shown: &[Shown]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = shown.iter().flat_map(|one| [named(one), holding(one)].concat()).collect();
    found.sort();
    found.dedup();
    found
}

/// Findings about a configuration and its files.
pub(super) fn look(checked: &Result<Config, Problems>, secrets: Vec<PathBuf>) -> Vec<Finding> {
    let mut findings = match checked {
        Ok(config) => sound(config),
        Err(problems) => problems.0.iter().map(|problem| wrong(&problem.to_string())).collect(),
    };
    findings.extend(secrets.iter().filter_map(|path| files::secret(path)));
    findings
}

/// The files that a key names: everything with a secret in it. Certificates are public.
fn named(one: &Shown) -> Vec<PathBuf> {
    let is_public = one.key.contains("cert_file") || one.key.contains("ca_file");
    let is_file = one.key.ends_with("_file") || one.key.ends_with("_files") || one.key == "file";
    if !is_file || is_public {
        Vec::new()
    } else {
        texts(&one.value).into_iter().map(PathBuf::from).collect()
    }
}

/// The configuration file itself, where it holds a secret.
fn holding(one: &Shown) -> Vec<PathBuf> {
    let is_secret = one.value.contains("***");
    match &one.origin {
        Origin::File { file, .. } if is_secret => vec![PathBuf::from(&**file)],
        _ => Vec::new(),
    }
}

/// The texts of a value as `config show` prints it.
fn texts(value: &str) -> Vec<String> {
    let Ok(mut table) = format!("value = {value}").parse::<toml::Table>() else { return Vec::new() };
    match table.remove("value") {
        Some(toml::Value::String(text)) => vec![text],
        Some(toml::Value::Array(items)) => {
            items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

fn wrong(problem: &str) -> Finding {
    Finding::error("config-problem", "").seen(problem, format!("配置有误：{problem}")).remedy(
        "correct it; `paybell config sample` prints every key with its default",
        "请更正；paybell config sample 会打印所有配置项及默认值",
    )
}

fn sound(config: &Config) -> Vec<Finding> {
    let (engine, count) = (config.engine, config.merchants.len());
    let noun = if count == 1 { "merchant" } else { "merchants" };
    let mut findings = vec![
        Finding::ok("config-sound", "")
            .seen(format!("engine {engine}, {count} {noun}"), format!("{engine} 引擎，{count} 个商户")),
    ];
    if config.ingress.public_url.is_none() {
        let finding = Finding::warning("public-url-missing", "ingress.public_url")
            .seen(
                "not set, so the way from WeChat to here cannot be looked at",
                "未设置，无法检查微信到本服务的链路",
            )
            .remedy(
                "set it to what notify_url begins with: public_url = \"https://pay.example.com\"",
                "请设置为 notify_url 的开头部分：public_url = \"https://pay.example.com\"",
            );
        findings.push(finding);
    }
    findings.extend(exposed(config));
    findings.extend(begins_anew(config).into_iter().map(|mch_id| forgettable(mch_id.as_str())));
    let of_clients = config.merchants.iter().filter_map(|merchant| merchant.client_certificate.as_ref());
    findings.extend(of_clients.map(|pair| files::certificate(Path::new(&pair.cert_file))));
    findings
}

/// Only Redis knows since when the merchant is ours.
fn forgettable(mch_id: &str) -> Finding {
    Finding::warning("active-since-missing", format!("merchant {mch_id}"))
        .seen(
            "no active_since: only Redis knows since when this merchant is yours, and after Redis was emptied bills only report what was paid before",
            "未设置 active_since：只有 Redis 记得该商户从何时起归本安装处理；Redis 被清空后，对账只报告此前的支付，不再处理",
        )
        .remedy(
            "set it to the moment of the installation, not earlier: active_since = \"2026-11-20T00:00:00+08:00\"",
            "请设置为安装时刻，不要更早：active_since = \"2026-11-20T00:00:00+08:00\"",
        )
}

/// Listeners that other machines reach and that say or take something in clear.
fn exposed(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !config.admin_listen.is_loopback() {
        let finding = Finding::hint("admin-exposed", config.admin_listen.as_str())
            .seen(
                "/metrics and /readyz ask for no token, and this address is not loopback",
                "/metrics 和 /readyz 不需要令牌，且监听地址不是本机回环",
            )
            .remedy(
                "let only Prometheus and the probes of your orchestrator reach it",
                "请只允许 Prometheus 和健康检查访问",
            );
        findings.push(finding);
    }
    if !config.console.listen.is_loopback() {
        let finding = Finding::hint("console-plain", config.console.listen.as_str())
            .seen(
                "the private API is reached from other machines without TLS: tokens and orders pass in clear",
                "其他机器未经 TLS 访问私有 API：令牌和订单信息明文传输",
            )
            .remedy(
                "fine within a private network; otherwise listen on 127.0.0.1 and let nginx in front of it do TLS, or use a tunnel",
                "内网可接受；否则请监听 127.0.0.1，由前面的 nginx 提供 TLS，或使用隧道",
            );
        findings.push(finding);
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(key: &'static str, value: &str, origin: Origin) -> Shown {
        Shown { section: "merchant[0]".to_owned(), key, value: value.to_owned(), origin }
    }

    #[test]
    fn every_file_with_a_secret_is_found_and_no_other() {
        let file = Origin::File { file: "paybell.toml".into(), line: 3 };
        let all = [
            shown("api_key_file", "\"/run/key\"", file.clone()),
            shown("secret_files", "[\"/run/a\", \"/run/b\"]", file.clone()),
            shown("file", "\"/run/token\"", file.clone()),
            shown("tls_cert_file", "\"/run/cert.pem\"", file.clone()),
            shown("upstream_ca_file", "\"/run/ca.pem\"", file.clone()),
            shown("mch_id", "\"1900000109\"", file.clone()),
        ];
        let expected = ["/run/a", "/run/b", "/run/key", "/run/token"].map(PathBuf::from);
        assert_eq!(files(&all), expected);
        let inline = [shown("api_key", "\"***\"", file.clone()), shown("url", "\"amqp://u:***@h\"", file)];
        assert_eq!(files(&inline), [PathBuf::from("paybell.toml")]);
        let from_environment = Origin::Environment { variable: "PAYBELL__X".into() };
        assert!(files(&[shown("api_key", "\"***\"", from_environment)]).is_empty());
    }
}
