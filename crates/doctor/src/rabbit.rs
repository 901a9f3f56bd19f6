//! What a RabbitMQ's facts mean for us. Asks nothing itself.
//!
//! AMQP tells of a queue how long it is and how many take from it, not its policies, its bindings or its members; what
//! needs the management API or `rabbitmqctl` is said so.

use std::net::IpAddr;

use rabbitmq::probe::{Denied, Emitting, Facts, Publishing, Unasked};
use rabbitmq::topology::{Finding as Difference, Kind};
use rabbitmq::{Trouble, Words};

use crate::finding::Finding;

mod queues;

/// The oldest that keeps what we declare, and the oldest that we recommend.
const VERSION_MIN: (u32, u32) = (3, 10);
const VERSION_GOOD: (u32, u32) = (3, 13);

/// Judges what was found under a prefix. `subscribers` are the queues that were asked for beside ours.
#[must_use]
pub fn judge(outcome: &Result<Facts, Unasked>, prefix: &str, subscribers: &[String]) -> Vec<Finding> {
    let facts = match outcome {
        Ok(facts) => facts,
        Err(error) => return vec![unasked(error)],
    };
    let mut findings = vec![version(facts)];
    findings.extend(login(facts));
    findings.push(publishing(facts));
    findings.extend(emitting(facts, prefix));
    findings.extend(topology(facts, prefix));
    findings.extend(queues::judge(facts, prefix, subscribers));
    findings
}

fn unasked(error: &Unasked) -> Finding {
    match error {
        Unasked::Config(error) => Finding::error("rabbitmq-unreachable", "rabbitmq.url")
            .seen(error.to_string(), format!("配置有误：{error}")),
        Unasked::Away { trouble, cause } => {
            let key = trouble.words().key;
            let finding = match trouble {
                Trouble::Login => Finding::error("rabbitmq-login-refused", key),
                Trouble::VirtualHost => Finding::error("rabbitmq-vhost-refused", key),
                _ => Finding::error("rabbitmq-unreachable", key),
            };
            said(finding, *trouble, cause)
        }
    }
}

/// A trouble in the words of everybody who tells it.
fn said(finding: Finding, trouble: Trouble, cause: &str) -> Finding {
    let Words { seen: [en, zh], remedy: [do_en, do_zh], .. } = trouble.words();
    finding.seen(format!("{en}: {cause}"), format!("{zh}：{cause}")).remedy(do_en, do_zh)
}

fn version(facts: &Facts) -> Finding {
    let numbers = facts.version.as_deref().and_then(numbers);
    let shown = facts.version.as_deref().unwrap_or("?");
    match numbers {
        None => Finding::unseen("rabbitmq-version-unknown", &facts.host)
            .seen("the broker does not say which version it is", "RabbitMQ 没有告知版本"),
        Some(found) if found < VERSION_MIN => Finding::error("rabbitmq-version-old", &facts.host)
            .seen(
                format!("RabbitMQ {shown} accepts arguments that it does not keep"),
                format!("RabbitMQ {shown} 会忽略部分队列参数"),
            )
            .remedy("upgrade to 3.10 or later, better 3.13 or 4.x", "请升级到 3.10 以上，建议 3.13 或 4.x"),
        Some(found) if found < VERSION_GOOD => Finding::hint("rabbitmq-version-aging", &facts.host)
            .seen(
                format!("RabbitMQ {shown} works; quorum queues have had fixes since"),
                format!("RabbitMQ {shown} 可用；此后的版本修复了仲裁队列的问题"),
            )
            .remedy(
                "plan for 3.13 or 4.x (first to 3.11.18 or 3.12, feature flags enabled)",
                "建议升级到 3.13 或 4.x（先到 3.11.18 或 3.12，并启用 feature flags）",
            ),
        Some(_) => Finding::ok("rabbitmq-version-good", &facts.host)
            .seen(format!("RabbitMQ {shown}"), format!("RabbitMQ {shown}")),
    }
}

/// The first two numbers of a version.
pub(crate) fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

fn login(facts: &Facts) -> Vec<Finding> {
    if is_loopback(&facts.host) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if facts.user == "guest" {
        let finding = Finding::warning("rabbitmq-guest", &facts.host)
            .seen(
                "the user guest is let in from other machines: everybody knows its password",
                "guest 用户可从其他机器登录，而其密码人尽皆知",
            )
            .remedy(
                "make a user of your own, and take loopback_users.guest = false back",
                "请新建用户，并撤销 loopback_users.guest = false",
            );
        findings.push(finding);
    }
    if !facts.is_tls {
        let finding = Finding::hint("rabbitmq-plain", &facts.host)
            .seen(
                "amqp:// carries the password and payers' orders in clear",
                "amqp:// 明文传输密码和订单信息",
            )
            .remedy("fine within a private network; otherwise amqps://", "内网可接受；否则请使用 amqps://");
        findings.push(finding);
    }
    findings
}

/// Whether only this machine is meant.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn publishing(facts: &Facts) -> Finding {
    match &facts.publishing {
        Publishing::Works => Finding::ok("rabbitmq-publishes", &facts.host)
            .seen("a publish is confirmed, there is no alarm", "发布得到确认，没有告警"),
        Publishing::Blocked(reason) => Finding::error("rabbitmq-alarm", &facts.host)
            .seen(format!("the broker takes nothing: {reason}"), format!("RabbitMQ 拒收消息：{reason}"))
            .remedy(
                "rabbitmq-diagnostics alarms; free memory or disk, or raise vm_memory_high_watermark / lower disk_free_limit. WeChat is answered 503 meanwhile and comes again for 24 h 4 m",
                "执行 rabbitmq-diagnostics alarms；释放内存或磁盘，或调整 vm_memory_high_watermark / disk_free_limit。期间微信得到 503，会在 24 小时 4 分内重发",
            ),
        Publishing::Failed(cause) => Finding::error("rabbitmq-publish-failed", &facts.host)
            .seen(format!("a publish was not confirmed: {cause}"), format!("发布没有得到确认：{cause}"))
            .remedy("the user needs write permission on amq.default; otherwise see the broker's log", "用户需要 amq.default 的写权限；否则请查看 RabbitMQ 日志"),
    }
}

/// Whether events reach the exchange of subscribers. That it is not there, the topology says.
fn emitting(facts: &Facts, prefix: &str) -> Option<Finding> {
    let exchange = format!("{prefix}.events");
    Some(match &facts.emitting {
        Emitting::Missing => return None,
        Emitting::Works => Finding::ok("rabbitmq-events-good", exchange)
            .seen("every event may be published to subscribers", "所有事件都可以发布给订阅者"),
        Emitting::Failed(cause) => Finding::unseen("rabbitmq-events-unseen", exchange)
            .seen(cause.clone(), format!("无法检查：{cause}")),
        Emitting::Denied { keys, cause } => {
            let (all, shown) = (keys.is_empty(), keys.join(" "));
            let (en, zh) = if all { ("everything", "全部事件") } else { (&*shown, &*shown) };
            let [do_en, do_zh] = least_permissions(prefix);
            Finding::error("rabbitmq-events-denied", exchange)
                .seen(
                    format!("the user may not publish this to subscribers of the exchange: {en} ({cause})"),
                    format!("用户无权向该交换机的订阅者发布：{zh}（{cause}）"),
                )
                .remedy(do_en, do_zh)
        }
    })
}

fn topology(facts: &Facts, prefix: &str) -> Vec<Finding> {
    let differences = match &facts.topology {
        Ok(differences) => differences,
        Err(denied) => return vec![undeclared(denied, prefix)],
    };
    if differences.is_empty() {
        return vec![
            Finding::ok("rabbitmq-topology-good", &facts.host)
                .seen("every queue and exchange is as it has to be", "队列和交换机全部符合要求"),
        ];
    }
    let is_missing =
        |one: &&Difference| matches!(one, Difference::Missing { .. } | Difference::Forbidden { .. });
    let missing = differences.iter().filter(is_missing).count();
    let uncompared = differences.iter().filter(|one| matches!(one, Difference::Uncompared { .. })).count();
    let mut findings = Vec::new();
    if missing > 0 && uncompared > 0 {
        findings.push(forbidden(facts, missing));
    } else if missing > 0 {
        let finding = Finding::warning("rabbitmq-topology-missing", &facts.host)
            .seen(
                format!("{missing} queues or exchanges are not there yet"),
                format!("缺少 {missing} 个队列或交换机"),
            )
            .remedy(
                "`paybell topology apply` makes them; a start of the service does too",
                "执行 paybell topology apply 创建；服务启动时也会自动创建",
            );
        findings.push(finding);
    }
    if uncompared > 0 {
        findings.push(not_compared(facts, uncompared));
    }
    findings.extend(differences.iter().filter_map(difference));
    findings
}

/// Something is missing, and nobody but an administrator can make it.
fn forbidden(facts: &Facts, missing: usize) -> Finding {
    Finding::error("rabbitmq-topology-forbidden", &facts.host)
        .seen(
            format!("{missing} queues or exchanges are not there, and this user may not create them"),
            format!("缺少 {missing} 个队列或交换机，而该用户无权创建"),
        )
        .remedy(
            "as an administrator import what `paybell topology show --definitions VHOST` prints (rabbitmqctl import_definitions FILE)",
            "请由管理员导入 `paybell topology show --definitions VHOST` 的输出（rabbitmqctl import_definitions 文件）",
        )
}

fn not_compared(facts: &Facts, count: usize) -> Finding {
    Finding::hint("rabbitmq-topology-uncompared", &facts.host)
        .seen(
            format!("{count} queues or exchanges are there; without the configure permission their arguments cannot be compared"),
            format!("{count} 个队列或交换机已存在；没有 configure 权限，无法比较其参数"),
        )
        .remedy(
            "fine where only administrators create queues; to compare, run `paybell topology check` with PAYBELL__RABBITMQ__URL of a user that has the permission",
            "若只允许管理员创建队列，则属正常；要比较参数，请用有权限的用户（PAYBELL__RABBITMQ__URL）执行 paybell topology check",
        )
}

fn difference(one: &Difference) -> Option<Finding> {
    Some(match one {
        Difference::Missing { .. } | Difference::Forbidden { .. } | Difference::Uncompared { .. } => return None,
        Difference::Aged { name, .. } => Finding::warning("rabbitmq-log-age", name)
            .seen(one.to_string(), format!("事件日志的保留时间与 retention.events 不同，仍按原样使用：{one}"))
            .remedy(
                "set a policy for max-age on the stream (it needs no restart and loses nothing), or restore retention.events: docs/operations.md, \"How long the event log keeps events\"",
                "用策略（policy）为该 stream 设置 max-age（无需重启，不丢数据），或恢复 retention.events：见 docs/operations.zh-CN.md “事件日志保留多久”",
            ),
        Difference::Different { name, kind: Kind::Stream, .. } => Finding::error("rabbitmq-topology-different", name)
            .seen(one.to_string(), format!("与要求不符：{one}"))
            .remedy(
                "arguments cannot be changed: delete the stream (rabbitmqctl delete_queue), let Paybell declare it again, then `paybell events republish --since …`",
                "参数无法修改：删除该 stream（rabbitmqctl delete_queue），由 Paybell 重新创建，然后执行 paybell events republish --since …",
            ),
        Difference::Different { name, .. } => Finding::error("rabbitmq-topology-different", name)
            .seen(one.to_string(), format!("与要求不符：{one}"))
            .remedy(
                "arguments cannot be changed: delete it once it is empty and run `paybell topology apply`",
                "队列参数无法修改：请在清空后删除，再执行 paybell topology apply",
            ),
        Difference::Ignored { name, .. } => Finding::error("rabbitmq-topology-ignored", name)
            .seen(one.to_string(), format!("RabbitMQ 接受却不执行该参数：{one}"))
            .remedy("upgrade the broker: without this argument dead checks can be lost", "请升级 RabbitMQ：缺少该参数可能丢失死信"),
    })
}

fn undeclared(denied: &Denied, prefix: &str) -> Finding {
    if denied.is_permission {
        let [en, zh] = least_permissions(prefix);
        let finding = Finding::error("rabbitmq-permission", "rabbitmq.url");
        return said(finding, Trouble::Permission, &denied.cause).remedy(en, zh);
    }
    Finding::unseen("rabbitmq-topology-unseen", "rabbitmq.url")
        .seen(denied.cause.clone(), format!("无法检查：{}", denied.cause))
}

/// What to give the user, with the prefix filled in.
fn least_permissions(prefix: &str) -> [String; 2] {
    // A prefix may hold dots, which mean any character in a pattern.
    let ours = prefix.replace('.', "\\.");
    Trouble::Permission.words().remedy.map(|remedy| remedy.replace("PREFIX", &ours))
}
