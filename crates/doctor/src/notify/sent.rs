//! The canaries of a look: one for each merchant, and what their answers mean.

use futures_util::future::join_all;

use super::{Canary, Reached};
use crate::beside::Beside;
use crate::canary::{self, Outcome, notify_url};
use crate::finding::Finding;
use crate::net::Place;
use crate::wechat::Merchant;

/// Canaries of one look at most, and at once.
const CANARIES_MAX: usize = 16;

/// An answer later than this leaves little of WeChat's patience on a bad day.
const SLOW_MS: u128 = 1_000;

pub(super) async fn canaries(reached: &Reached<'_>, found: &mut Vec<Finding>) {
    if reached.notify.canary == Canary::LeaveOut {
        let finding = Finding::unseen("canary-left-out", reached.notify.public_url)
            .seen("no canary was sent, as asked", "按要求未发送探测通知");
        return found.push(finding);
    }
    let merchants = reached.notify.merchants;
    let mut beside = Beside::of(merchants.len().min(CANARIES_MAX), found);
    let sent =
        beside.each().zip(merchants).map(async |(found, merchant)| found.push(one(reached, merchant).await));
    join_all(sent).await;
}

async fn one(reached: &Reached<'_>, merchant: &Merchant) -> Finding {
    let url = notify_url(reached.notify.public_url, &merchant.mch_id);
    let Some(place) = Place::parse(&url) else { return strange(url, "") };
    let outcome = canary::send_at(&place, &reached.addresses, merchant, &reached.notify.roots).await;
    told(url, &outcome)
}

fn told(url: String, outcome: &Outcome) -> Finding {
    match outcome {
        Outcome::Accepted { took } if took.as_millis() <= SLOW_MS => {
            let ms = took.as_millis();
            Finding::ok("canary-good", url).seen(
                format!("a signed notification was stored and answered with the exact bytes in {ms} ms"),
                format!("签名的通知已落盘，{ms} 毫秒内得到逐字节正确的应答"),
            )
        }
        Outcome::Accepted { took } => slow(Finding::warning("canary-slow", url), took.as_millis()),
        Outcome::Late { took } => slow(Finding::error("canary-slow", url), took.as_millis()),
        Outcome::Changed { what } => Finding::error("canary-answer-changed", url)
            .seen(format!("taken, but the answer is not what Paybell sent: {what}"), format!("通知已被接受，但应答在途中被改动：{what}"))
            .remedy(
                "something in front rewrites answers (adds text, another status): WeChat would repeat every notification for a day; switch that off for /notify/pay",
                "前面的程序改写了应答（添加内容或改变状态码）：微信会在一天内反复重发每个通知；请对 /notify/pay 关闭改写",
            ),
        Outcome::Refused => Finding::error("canary-refused", url)
            .seen("the service that runs there refuses the signature or the merchant", "运行中的服务不接受该签名或商户")
            .remedy(
                "it runs with another configuration than this one, or was not restarted since a change: compare mch_id, api_key and sign_type, then restart",
                "运行中的服务使用了另一份配置，或修改后没有重启：请核对 mch_id、api_key、sign_type 后重启",
            ),
        Outcome::NotStored => Finding::error("canary-not-stored", url)
            .seen("503: the notification could not be stored in time", "503：通知未能及时落盘")
            .remedy(
                "the engine is away, full or slow: see the findings about the service, RabbitMQ or this machine's disk",
                "存储引擎不可用、已满或过慢：见服务、RabbitMQ 或本机磁盘的检查结果",
            ),
        Outcome::Strange { what } => strange(url, what),
        Outcome::Unreachable(error) => strange(url, &error.to_string()),
    }
}

fn slow(finding: Finding, ms: u128) -> Finding {
    finding
        .seen(format!("answered after {ms} ms; WeChat gives up after 5 s"), format!("{ms} 毫秒后才应答；微信 5 秒后放弃"))
        .remedy(
            "see what takes the time: the disk (see fsync below), the broker, or the way from nginx to Paybell",
            "查找耗时之处：磁盘（见 fsync 检查）、消息队列，或 nginx 到 Paybell 的链路",
        )
}

fn strange(url: String, what: &str) -> Finding {
    Finding::error("canary-lost", url)
        .seen(format!("the notification did not get through: {what}"), format!("通知没有送达：{what}"))
        .remedy(
            "POST requests to this path do not reach Paybell whole: compare what is in front of it (nginx location, WAF, body filters)",
            "发往该路径的 POST 请求没有完整到达 Paybell：请检查前面的 nginx location、WAF 和内容过滤",
        )
}
