//! What a service's counters tell: which notifications it refused, and why that may be. They count since its start.

use super::bills;
use crate::finding::{Finding, Severity, Text};
use crate::samples::Samples;

const NOTIFICATIONS: Counted =
    Counted { metric: "paybell_notifications_total", words: ["notifications", "通知"] };
const REFUND_NOTIFICATIONS: Counted =
    Counted { metric: "paybell_refund_notifications_total", words: ["refund notifications", "退款通知"] };

/// What a service counts by its result.
struct Counted {
    metric: &'static str,
    words: [&'static str; 2],
}

/// A due order that waits longer is late.
const LATE_S: f64 = 60.0;

/// The same for a page of text, for who has one.
#[must_use]
pub fn judge_page(page: &str, mch_ids: &[&str]) -> Vec<Finding> {
    judge(&Samples::read(page), mch_ids)
}

pub(super) fn judge(samples: &Samples, mch_ids: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(mch_ids.iter().filter_map(|mch_id| silent_merchant(samples, mch_id)));
    findings.extend(REFUSALS.iter().filter_map(|refusal| refusal.judge(&NOTIFICATIONS, samples)));
    findings
        .extend(REFUND_REFUSALS.iter().filter_map(|refusal| refusal.judge(&REFUND_NOTIFICATIONS, samples)));
    findings.extend(mch_ids.iter().filter_map(|mch_id| old_key(samples, mch_id)));
    findings.extend(waiting(samples));
    findings.extend(mch_ids.iter().flat_map(|mch_id| bills::judge(samples, mch_id)));
    findings
}

/// Parts of the engine that did not answer at the last sample. Only of a service that is not ready now: a sample may be
/// seconds old.
pub(super) fn parts(samples: &Samples) -> Vec<Finding> {
    let down = samples.by("paybell_engine_up", "part").filter(|(_, up)| *up < 1.0);
    down.map(|(part, _)| {
        Finding::error("engine-part-down", part)
            .seen(
                format!("the engine's {part} does not answer the service"),
                format!("引擎的 {part} 部分没有应答"),
            )
            .remedy(
                "see the findings about RabbitMQ, Redis or this machine's disk",
                "见 RabbitMQ、Redis 或本机磁盘的检查结果",
            )
    })
    .collect()
}

/// No notification was ever taken: the place for what only WeChat's own consoles show.
fn silent_merchant(samples: &Samples, mch_id: &str) -> Option<Finding> {
    let accepted = samples.sum(NOTIFICATIONS.metric, &[("mch_id", mch_id), ("result", "accepted")]);
    (accepted < 1.0).then(|| {
        Finding::hint("no-notification-yet", merchant(mch_id))
            .seen("no notification was accepted since the service started", "服务启动以来没有收到有效通知")
            .remedy(
                "orders must be placed with this notify_url (it goes with every order, there is nothing to set in the platform); \
                 JSAPI also needs the page's directory under pay.weixin.qq.com → 产品中心 → 开发配置 → 支付授权目录, and for \
                 wx.config the domain under mp.weixin.qq.com → 设置与开发 → 公众号设置 → 功能设置 → JS接口安全域名. No firewall rule \
                 may rest on a fixed list of WeChat's addresses",
                "notify_url 随每笔订单提交，下单时须填写本地址（平台上无需配置）；JSAPI 支付还需在商户平台 → 产品中心 → 开发配置 \
                 → 支付授权目录 中登记页面目录，使用 wx.config 需在公众平台 → 设置与开发 → 公众号设置 → 功能设置 → JS接口安全域名 \
                 中登记域名。不要按固定的微信 IP 列表设置防火墙",
            )
    })
}

pub(super) fn merchant(mch_id: &str) -> Text {
    Text::new(format!("merchant {mch_id}"), format!("商户 {mch_id}"))
}

/// A kind of refusal, and what to do about it.
struct Refusal {
    code: &'static str,
    /// The words that the service counts it under.
    results: &'static [&'static str],
    /// How bad it is while some notifications are accepted.
    severity: Severity,
    seen: [&'static str; 2],
    remedy: [&'static str; 2],
}

const REFUSALS: [Refusal; 9] = [
    Refusal {
        code: "notifications-v3",
        results: &["json_body"],
        severity: Severity::Error,
        seen: ["came as JSON: they are of API v3", "是 JSON 格式：属于 APIv3"],
        remedy: [
            "the orders are placed through API v3 (/v3/pay/…), whose notifications Paybell does not take: place them through v2 (/pay/unifiedorder), or leave their notify_url with the v3 handler",
            "这些订单通过 APIv3（/v3/pay/…）下单，Paybell 不处理其通知：请改用 V2 统一下单（/pay/unifiedorder），或让其 notify_url 指向原 V3 程序",
        ],
    },
    Refusal {
        code: "notifications-badly-signed",
        results: &["bad_signature", "unsupported_sign_type"],
        severity: Severity::Warning,
        seen: ["had a sign that does not fit", "签名不匹配"],
        remedy: [
            "compare the key finding above; if that is good, the orders are placed with another sign_type than configured (set sign_type = \"any\" to take both), or somebody forges. `paybell verify --config FILE < notification.xml` explains one",
            "先看上面的密钥检查；若密钥正确，可能是下单的签名类型与配置不同（可设 sign_type = \"any\"），或有人伪造。用 paybell verify --config 文件 < 通知.xml 可分析单个通知",
        ],
    },
    Refusal {
        code: "notifications-unknown-merchant",
        results: &["unknown_merchant"],
        severity: Severity::Warning,
        seen: ["were for a merchant number that is not configured", "的商户号未配置"],
        remedy: [
            "add a [[merchant]] for it; in provider mode mch_id is the provider's",
            "请添加对应的 [[merchant]]；服务商模式下 mch_id 是服务商的商户号",
        ],
    },
    Refusal {
        code: "notifications-wrong-app",
        results: &["wrong_appid"],
        severity: Severity::Warning,
        seen: [
            "were rightly signed, for an appid that is not in app_ids",
            "签名正确，但 appid 不在 app_ids 中",
        ],
        remedy: [
            "add the appid of every app, mini program and official account that sells under the merchant number",
            "请把该商户号下所有 APP、小程序、公众号的 appid 都加入 app_ids",
        ],
    },
    Refusal {
        code: "notifications-wrong-sub-merchant",
        results: &["wrong_sub_mch_id"],
        severity: Severity::Warning,
        seen: ["were for a sub merchant that is not in sub_mch_ids", "的特约商户号不在 sub_mch_ids 中"],
        remedy: ["add it, or leave sub_mch_ids empty to take all", "请添加，或将 sub_mch_ids 留空以接受全部"],
    },
    Refusal {
        code: "notifications-wrong-path",
        results: &["wrong_path"],
        severity: Severity::Warning,
        seen: ["came to the path of another merchant number", "发到了其他商户号的路径"],
        remedy: [
            "the number in notify_url (/notify/pay/MCH_ID) must be the order's own",
            "notify_url（/notify/pay/商户号）中的商户号必须与订单一致",
        ],
    },
    Refusal {
        code: "notifications-unsigned",
        results: &["missing_sign", "return_code_fail"],
        severity: Severity::Hint,
        seen: ["had no sign (one for each look of this doctor)", "没有签名（每次运行本检查会产生一个）"],
        remedy: [
            "WeChat signs every one: others are trying, and are refused",
            "微信的通知都有签名：其余是他人的尝试，已被拒绝",
        ],
    },
    Refusal {
        code: "notifications-not-stored",
        results: &["not_durable", "overloaded"],
        severity: Severity::Warning,
        seen: ["were answered 503, because they could not be stored in time", "因未能及时落盘而返回 503"],
        remedy: [
            "WeChat comes again; see what was slow or away then: disk, RabbitMQ, an alarm",
            "微信会重发；请查看当时的磁盘、RabbitMQ 或告警",
        ],
    },
    Refusal {
        code: "notifications-malformed",
        results: &[
            "invalid_xml",
            "invalid_encoding",
            "dtd_forbidden",
            "duplicate_field",
            "nested_element",
            "unexpected_root",
            "unexpected_text",
            "empty_document",
            "missing_field",
            "invalid_field",
            "too_large",
            "too_slow",
            "broken_off",
        ],
        severity: Severity::Hint,
        seen: ["were broken, cut short, or no notifications at all", "格式错误、不完整，或根本不是通知"],
        remedy: [
            "scanners do that; if the number rises with your orders, something in front changes bodies (WAF, gateway)",
            "多为扫描器所致；若随订单量上升，则是前面的程序（WAF、网关）改写了请求体",
        ],
    },
];

const REFUND_REFUSALS: [Refusal; 2] = [
    Refusal {
        code: "refund-notifications-v3",
        results: &["json_body"],
        severity: Severity::Error,
        seen: ["came as JSON: they are of API v3", "是 JSON 格式：属于 APIv3"],
        remedy: [
            "the refunds are made through API v3 (/v3/refund/…), whose notifications Paybell does not take: make them through v2 or through Paybell, or leave their notify_url with the v3 handler",
            "这些退款通过 APIv3（/v3/refund/…）发起，Paybell 不处理其通知：请改用 V2 或 Paybell 退款，或让其 notify_url 指向原 V3 程序",
        ],
    },
    Refusal {
        code: "refund-notifications-not-opened",
        results: &["not_decrypted", "missing_req_info"],
        severity: Severity::Warning,
        seen: ["could not be decrypted with any key of the merchant", "用商户的所有密钥都无法解密"],
        remedy: [
            "they are encrypted with the API key: see the key finding above; after a change keep the one before as previous_api_key for some days. Otherwise somebody forges. Refunds made here are polled all the same",
            "退款通知用 API 密钥加密：先看上面的密钥检查；更换密钥后请保留旧密钥（previous_api_key）几天。否则可能有人伪造。通过 Paybell 发起的退款仍会轮询",
        ],
    },
];

impl Refusal {
    fn judge(&self, counted: &Counted, samples: &Samples) -> Option<Finding> {
        let of_result = |result: &&str| samples.sum(counted.metric, &[("result", *result)]);
        let count: f64 = self.results.iter().map(of_result).sum();
        if count < 1.0 {
            return None;
        }
        let accepted = samples.sum(counted.metric, &[("result", "accepted")]);
        let is_all = accepted < 1.0 && self.severity == Severity::Warning;
        let finding = match self.severity {
            Severity::Error => Finding::error(self.code, ""),
            Severity::Warning if is_all => Finding::error(self.code, ""),
            Severity::Warning => Finding::warning(self.code, ""),
            _ => Finding::hint(self.code, ""),
        };
        let ([of_en, of_zh], [seen_en, seen_zh]) = (counted.words, self.seen);
        let [remedy_en, remedy_zh] = self.remedy;
        Some(
            finding
                .seen(
                    format!("{count} {of_en} since the start {seen_en}; {accepted} were accepted"),
                    format!("启动以来有 {count} 个{of_zh}{seen_zh}；{accepted} 个被接受"),
                )
                .remedy(remedy_en, remedy_zh),
        )
    }
}

fn old_key(samples: &Samples, mch_id: &str) -> Option<Finding> {
    let count = samples.sum("paybell_key_used_total", &[("mch_id", mch_id), ("key", "previous")]);
    (count >= 1.0).then(|| {
        Finding::hint("previous-key-in-use", merchant(mch_id))
            .seen(format!("the previous key verified {count} documents since the start"), format!("启动以来旧密钥验证了 {count} 个文档"))
            .remedy(
                "keep it while this number rises; if it still does a day after the change, an SDK still signs with the old key",
                "此数字仍在增长时请保留旧密钥；更换一天后仍在增长，说明还有程序使用旧密钥",
            )
    })
}

fn waiting(samples: &Samples) -> Vec<Finding> {
    let mut findings = Vec::new();
    let dead = samples.sum("paybell_dead_letters", &[]);
    if dead >= 1.0 {
        let finding = Finding::warning("dead-letters-waiting", "")
            .seen(format!("{dead} dead letters wait for a person"), format!("{dead} 个死信等待人工处理"))
            .remedy(
                "`paybell dead list` shows each with its reason; then replay or drop",
                "用 paybell dead list 查看原因，然后重放或丢弃",
            );
        findings.push(finding);
    }
    let late = samples.sum("paybell_due_lag_seconds", &[]);
    if late > LATE_S {
        let finding = Finding::warning("orders-late", "")
            .seen(
                format!("the earliest due order waits for {late:.0} s"),
                format!("最早到期的订单已等待 {late:.0} 秒"),
            )
            .remedy(
                "start more workers, or raise query_rate as far as WeChat allows",
                "请增加 worker，或在微信允许的范围内提高 query_rate",
            );
        findings.push(finding);
    }
    let refused = samples.sum("paybell_event_fanout_refused_total", &[]);
    if refused >= 1.0 {
        let finding = Finding::warning("subscriber-refuses", "")
            .seen(format!("subscribers' queues refused {refused} events since the start"), format!("启动以来订阅队列拒收了 {refused} 个事件"))
            .remedy(
                "a full queue with overflow=reject-publish: start its reader; it finds what it missed in the event log (/v1/events)",
                "有队列已满且 overflow=reject-publish：请启动其消费者；漏掉的事件可从事件日志（/v1/events）补取",
            );
        findings.push(finding);
    }
    findings
}
