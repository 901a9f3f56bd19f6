//! Has every part looked at, all at once, each within a time of its own.

use std::time::Duration;

use doctor::{
    Area, Finding, Language, Report, Text, endpoints, machine,
    net::Roots,
    notify::{self, Answers, Canary, Notify},
    rabbit, redis, service,
    wechat::{self, Merchant},
};
use tokio::{task::spawn_blocking, time::timeout};

use super::{Args, mode};
use crate::{
    boot::canary::merchant,
    config::{Config, EngineKind, Mode},
    engine::{rabbit_config, redis_config},
    output,
};

/// The whole of an area. Every step inside has a shorter one; together they may pass it where everything hangs.
const AREA_MAX: Duration = Duration::from_secs(25);

/// Adds what was found, area by area.
pub(super) async fn everything(config: &Config, args: &Args, language: Language, report: &mut Report) {
    let progress = Text::new(
        "looking at the machine, WeChat, the notify URL, the service and its servers: at most half a minute …",
        "正在检查本机、微信、通知地址、服务及其依赖，最多半分钟……",
    );
    output::progress(progress.of(language));
    let merchants: Vec<Merchant> = config.merchants.iter().map(merchant).collect();
    let is_cluster = config.engine == EngineKind::Cluster;
    let (machine, wechat, notify, service, rabbitmq, redis, endpoints) = tokio::join!(
        bounded(async |found| of_machine(config, found).await),
        bounded(async |found| wechat::look(&merchants, &config.base_urls, &Roots::public(), found).await),
        bounded(async |found| of_notify(config, &merchants, args, found).await),
        bounded(async |found| found.extend(of_service(config, args).await)),
        bounded(async |found| {
            if is_cluster {
                found.extend(of_rabbitmq(config, &args.subscriber_queue).await);
            }
        }),
        bounded(async |found| {
            if is_cluster {
                found.extend(of_redis(config).await);
            }
        }),
        bounded(async |found| of_endpoints(config, found).await),
    );
    report.add(Area::Machine, machine);
    report.add(Area::WeChat, wechat);
    report.add(Area::Notify, notify);
    report.add(Area::Service, service);
    report.add(Area::Rabbitmq, rabbitmq);
    report.add(Area::Redis, redis);
    report.add(Area::Endpoints, endpoints);
}

/// Each look adds what it finds as it goes, so that what hangs hides nothing that was found before.
async fn bounded(look: impl AsyncFnOnce(&mut Vec<Finding>)) -> Vec<Finding> {
    let mut found = Vec::new();
    if timeout(AREA_MAX, look(&mut found)).await.is_err() {
        let seconds = AREA_MAX.as_secs();
        let finding = Finding::unseen("took-too-long", "")
            .seen(
                format!("not done within {seconds} s; what was found until then is told"),
                format!("{seconds} 秒内未完成；此前的检查结果仍列出"),
            )
            .remedy(
                "something hangs instead of refusing: look at the first error, here or in the other areas, then again",
                "有服务挂起而不应答：请先解决这里或其他部分的第一个错误，再运行一次",
            );
        found.push(finding);
    }
    found
}

async fn of_machine(config: &Config, found: &mut Vec<Finding>) {
    let (of_folder, of_files) = (config.data_dir.clone(), config.data_dir.clone());
    // Only a panic inside ends otherwise, and that is printed already.
    let files = spawn_blocking(move || machine::files(&of_files));
    if config.engine == EngineKind::Embedded {
        found.extend(spawn_blocking(move || machine::folder(&of_folder)).await.unwrap_or_default());
    }
    found.extend(files.await);
}

async fn of_notify(config: &Config, merchants: &[Merchant], args: &Args, found: &mut Vec<Finding>) {
    let Some(public_url) = &config.ingress.public_url else { return };
    let canary = if args.no_canary { Canary::LeaveOut } else { Canary::Send };
    let answers = match config.mode {
        Mode::Live => Answers::Paybell,
        Mode::Shadow => Answers::OldHandler,
    };
    notify::look(&Notify { public_url, merchants, canary, answers, roots: Roots::public() }, found).await;
}

async fn of_service(config: &Config, args: &Args) -> Vec<Finding> {
    let admin = args.admin.clone().unwrap_or_else(|| reachable(config.admin_listen.as_str()));
    let mch_ids: Vec<&str> = config.merchants.iter().map(|merchant| merchant.mch_id.as_str()).collect();
    service::look(&admin, &mch_ids).await
}

/// Where a listener on every address is reached from here.
fn reachable(listen: &str) -> String {
    listen.replacen("0.0.0.0:", "127.0.0.1:", 1).replacen("[::]:", "[::1]:", 1)
}

async fn of_rabbitmq(config: &Config, subscribers: &[String]) -> Vec<Finding> {
    let mch_ids: Vec<&str> = config.merchants.iter().map(|merchant| merchant.mch_id.as_str()).collect();
    let facts = rabbitmq::probe::probe(&rabbit_config(config), subscribers, &mch_ids).await;
    rabbit::judge(&facts, &config.rabbitmq.prefix, subscribers)
}

async fn of_redis(config: &Config) -> Vec<Finding> {
    match redis_config(config) {
        Ok(address) => {
            let facts = redis_ledger::probe::probe(&address).await;
            let mut found = redis::judge(&facts);
            if facts.is_ok() {
                found.extend(mode::look(config, &address).await);
            }
            found
        }
        Err(error) => redis::judge(&Err(redis_ledger::probe::Unasked::Away(error.to_string()))),
    }
}

async fn of_endpoints(config: &Config, found: &mut Vec<Finding>) {
    let endpoint = |endpoint: &delivery::Endpoint| endpoints::Endpoint {
        name: endpoint.name.to_string(),
        url: endpoint.url.uri().to_string(),
        allows_private: endpoint.url.reach.allow_private,
    };
    let all: Vec<_> = config.endpoints.iter().map(endpoint).collect();
    endpoints::look(&all, &Roots::public(), found).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_asked_on_this_machine() {
        assert_eq!(reachable("0.0.0.0:8082"), "127.0.0.1:8082");
        assert_eq!(reachable("[::]:8082"), "[::1]:8082");
        assert_eq!(reachable("10.0.0.5:8082"), "10.0.0.5:8082");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_told_and_hides_nothing_that_was_found_before() {
        let findings = bounded(async |found| {
            found.push(Finding::ok("key-good", ""));
            std::future::pending().await
        })
        .await;
        let codes: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["key-good", "took-too-long"]);
    }
}
