//! Who answers at the notify URL: Paybell, or something in front of it. Asked by a GET, which Paybell refuses in words
//! of its own, and by an unsigned document as long as WeChat's can be.

use hyper::header::SERVER;
use wechat_pay::xml;

use super::Reached;
use crate::finding::Finding;
use crate::net::{Answer, NetError, Request};
use crate::random;
use crate::wechat::Merchant;

/// As long as a notification with a long `promotion_detail` may get; Paybell takes 64 KiB.
const LONG_BYTES: usize = 60 * 1024;

/// True if it is Paybell that answers.
pub(super) async fn look(reached: &Reached<'_>, findings: &mut Vec<Finding>) -> bool {
    let answer = match ask(reached, Request::get()).await {
        Ok(answer) => answer,
        Err(error) => {
            findings.push(silent(reached, &error));
            return false;
        }
    };
    if !is_our_refusal(&answer) {
        findings.push(somebody_else(reached, &answer));
        return false;
    }
    let ms = answer.took.as_millis();
    let about = url(reached);
    let finding = Finding::ok("notify-url-is-paybell", about)
        .seen(format!("Paybell answers, in {ms} ms"), format!("Paybell 有应答，{ms} 毫秒"));
    findings.push(finding);
    unsigned(reached, findings).await;
    true
}

async fn ask(reached: &Reached<'_>, request: Request) -> Result<Answer, NetError> {
    reached.place.exchange_at(&reached.addresses, request, &reached.notify.roots).await
}

fn url(reached: &Reached<'_>) -> String {
    format!("{}/notify/pay", reached.notify.public_url.trim_end_matches('/'))
}

/// Only Paybell refuses a GET with a FAIL in WeChat's own form.
fn is_our_refusal(answer: &Answer) -> bool {
    answer.status == 405 && is_our_fail(answer)
}

fn is_our_fail(answer: &Answer) -> bool {
    answer.body.starts_with(b"<xml><return_code><![CDATA[FAIL]]></return_code>")
}

/// An unsigned document must be refused, long or short.
async fn unsigned(reached: &Reached<'_>, findings: &mut Vec<Finding>) {
    let merchant = reached.notify.merchants.first();
    let long = ask(reached, Request::xml(document(merchant, LONG_BYTES))).await;
    let answer = match long {
        Ok(answer) if answer.status == 413 => {
            findings.push(body_limit(reached, &answer));
            ask(reached, Request::xml(document(merchant, 100))).await
        }
        other => other,
    };
    findings.push(match answer {
        Ok(answer) if answer.status == 401 && is_our_fail(&answer) => {
            Finding::ok("unsigned-refused", url(reached)).seen("an unsigned notification is refused", "未签名的通知被拒绝")
        }
        Ok(answer) if (200..300).contains(&answer.status) => Finding::error("unsigned-accepted", url(reached))
            .seen(
                format!("an unsigned notification was answered HTTP {}: {}", answer.status, answer.excerpt()),
                format!("未签名的通知得到 HTTP {}：{}", answer.status, answer.excerpt()),
            )
            .remedy(
                "something in front of Paybell answers POST requests itself: whoever knows the URL can claim payments; let it pass POST on",
                "Paybell 前面的程序自行应答 POST 请求：任何人都能伪造支付通知；请让 POST 请求到达 Paybell",
            ),
        Ok(answer) => somebody_else(reached, &answer),
        Err(error) => silent(reached, &error),
    });
}

/// A notification of the first merchant, without a sign.
fn document(merchant: Option<&Merchant>, bytes: usize) -> String {
    let number = format!("PAYBELLDOCTOR{}", random::letters(19));
    let attach = "x".repeat(bytes);
    xml::write([
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("mch_id", merchant.map_or("", |merchant| merchant.mch_id.as_str())),
        ("out_trade_no", number.as_str()),
        ("attach", attach.as_str()),
    ])
}

fn body_limit(reached: &Reached<'_>, answer: &Answer) -> Finding {
    let server = answer.header(SERVER.as_str());
    Finding::warning("notify-url-body-limit", url(reached))
        .seen(
            format!("a document of {LONG_BYTES} bytes is too long for {}", or_somebody(server)),
            format!("{LONG_BYTES} 字节的通知被 {} 拒绝（413）", or_somebody(server)),
        )
        .remedy(
            "allow bodies of 64 KiB, as Paybell does (nginx: client_max_body_size 64k): a notification with promotion_detail gets long",
            "请允许 64 KiB 的请求体（nginx：client_max_body_size 64k）：带 promotion_detail 的通知较长",
        )
}

fn silent(reached: &Reached<'_>, error: &NetError) -> Finding {
    Finding::error("notify-url-silent", url(reached))
        .seen(format!("connected, but no answer: {error}"), format!("已连接但没有应答：{error}"))
        .remedy(
            "see that nginx passes the request on and that paybell runs and listens where nginx looks (ingress.listen)",
            "确认 nginx 已转发请求，且 paybell 正在运行并监听 nginx 转发的地址（ingress.listen）",
        )
}

fn somebody_else(reached: &Reached<'_>, answer: &Answer) -> Finding {
    let about = url(reached);
    let server = answer.header(SERVER.as_str());
    let (status, excerpt) = (answer.status, answer.excerpt());
    let seen_en = format!("HTTP {status} from {}: {excerpt}", or_somebody(server));
    let seen_zh = format!("{} 返回 HTTP {status}：{excerpt}", or_somebody(server));
    match status {
        300..=399 => {
            let to = answer.header("location");
            Finding::error("notify-url-redirects", about)
                .seen(format!("HTTP {status} to {to}: WeChat follows no redirect"), format!("HTTP {status} 跳转到 {to}：微信不会跟随跳转"))
                .remedy(
                    "give the final address in ingress.public_url and in notify_url, and take login, www and http→https redirects off this path",
                    "在 ingress.public_url 和 notify_url 中填写最终地址，并取消该路径上的登录、www、http→https 跳转",
                )
        }
        401 | 403 | 407 | 429 => Finding::error("notify-url-blocked", about).seen(seen_en, seen_zh).remedy(
            "a login, a firewall (WAF) or a list of sources stands before it: let /notify/pay through without any. Base no rule on a \
             fixed list of WeChat's addresses: it changes, and the signature is what protects",
            "前面有登录、WAF 或来源限制：请对 /notify/pay 全部放行。不要按固定的微信 IP 列表过滤：列表会变化，真正的保护是签名",
        ),
        502..=504 => Finding::error("notify-url-behind-down", about).seen(seen_en, seen_zh).remedy(
            "what stands in front runs, Paybell behind it does not answer: start it, and compare ingress.listen with nginx's proxy_pass",
            "前面的代理在运行，但后面的 Paybell 没有应答：请启动它，并核对 ingress.listen 与 nginx 的 proxy_pass",
        ),
        _ => Finding::error("notify-url-not-paybell", about).seen(seen_en, seen_zh).remedy(
            "another program answers here: pass the path /notify/pay on to ingress.listen unchanged (deploy/nginx has a snippet)",
            "应答的是其他程序：请把 /notify/pay 原样转发到 ingress.listen（deploy/nginx 中有示例）",
        ),
    }
}

fn or_somebody(server: &str) -> &str {
    if server.is_empty() { "somebody" } else { server }
}
