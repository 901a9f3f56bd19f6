//! What is said about base URLs, keys and apps, and where in WeChat's own consoles to look. No logic but the choice of
//! words.

use std::time::Duration;

use wechat_pay::sign::Algorithm;

use super::Merchant;
use super::verdict::Verdict;
use crate::finding::{Finding, Text};
use crate::net::{NetError, Place, TlsFault};

/// Where the key is set. Only the super administrator (超级管理员) gets there, with an operation certificate or a text message.
const WHERE_KEY_EN: &str =
    "pay.weixin.qq.com → 账户中心 → API安全 → APIv2密钥 (only the super administrator may set it)";
const WHERE_KEY_ZH: &str =
    "商户平台 pay.weixin.qq.com → 账户中心 → API安全 → 设置APIv2密钥（仅超级管理员可设置）";
const WHERE_APP_EN: &str = "pay.weixin.qq.com → 产品中心 → AppID账号管理";
const WHERE_APP_ZH: &str = "商户平台 → 产品中心 → AppID账号管理";

fn current_key(merchant: &Merchant) -> Text {
    let mch_id = &merchant.mch_id;
    Text::new(format!("merchant {mch_id}, current key"), format!("商户 {mch_id}，当前密钥"))
}

fn previous_key(merchant: &Merchant) -> Text {
    let mch_id = &merchant.mch_id;
    Text::new(format!("merchant {mch_id}, previous key"), format!("商户 {mch_id}，旧密钥"))
}

pub(super) fn reachable(base: &str, took: Duration) -> Finding {
    let ms = took.as_millis();
    Finding::ok("wechat-reachable", base).seen(format!("answers in {ms} ms"), format!("{ms} 毫秒内应答"))
}

pub(super) fn plain_http(base: &str) -> Finding {
    Finding::hint("wechat-plain-http", base)
        .seen("answers, without TLS: a simulator, not WeChat", "有应答，但未加密：这是模拟器，不是微信支付")
        .remedy(
            "leave wechat.base_urls out before you go live: the default is WeChat's own two hosts",
            "上线前请删除 wechat.base_urls：默认即为微信支付官方的两个域名",
        )
}

pub(super) fn unreachable(base: &str, error: &NetError) -> Finding {
    let finding =
        Finding::error("wechat-unreachable", base).seen(error.to_string(), format!("无法访问：{error}"));
    match error {
        NetError::Name(..) => finding.remedy(
            "check the resolver of this machine (/etc/resolv.conf)",
            "检查本机的域名解析（/etc/resolv.conf）",
        ),
        NetError::Tls(TlsFault::Expired | TlsFault::NotYetValid) => finding.remedy(
            "WeChat's certificate is good: this machine's clock is probably wrong; set it by NTP",
            "微信的证书没有问题，多半是本机时钟错误：请用 NTP 校时",
        ),
        NetError::Tls(_) => finding.remedy(
            "something between here and WeChat answers in its place (a proxy that inspects TLS?): let this host through",
            "中间有设备代替微信应答（例如解密 TLS 的代理）：请放行该域名",
        ),
        _ => unreachable_place(finding, base),
    }
}

fn unreachable_place(finding: Finding, base: &str) -> Finding {
    let port = Place::parse(base).map_or(443, |place| place.port);
    if Place::parse(base).is_some_and(|place| !place.is_https) {
        return finding.remedy(
            format!(
                "without TLS only a simulator can be meant: start it (`paybell simulate`) and let this machine out to its port {port}, or leave wechat.base_urls out"
            ),
            format!(
                "未加密的地址只能是模拟器：请启动它（paybell simulate）并放行本机到 {port} 端口的访问，或删除 wechat.base_urls"
            ),
        );
    }
    finding.remedy(
        format!("let this machine out to port {port} of the host (firewall, security group, egress rules)"),
        format!("放行本机到该域名 {port} 端口的出站访问（防火墙、安全组）"),
    )
}

pub(super) fn not_wechat(base: &str, what: &str) -> Finding {
    Finding::error("wechat-not-there", base)
        .seen(format!("somebody answers, but not as API v2 does: {what}"), format!("有应答，但不是微信支付 V2 接口：{what}"))
        .remedy(
            "correct wechat.base_urls, or take the gateway out of the way; the v2 host is https://api.mch.weixin.qq.com",
            "更正 wechat.base_urls，或去掉中间的网关；V2 接口的域名是 https://api.mch.weixin.qq.com",
        )
}

pub(super) fn not_asked(mch_ids: &str) -> Finding {
    Finding::unseen("key-not-asked", Text::new(format!("merchant {mch_ids}"), format!("商户 {mch_ids}")))
        .seen("no base URL answers, so no key could be tried", "没有可用的微信域名，无法验证密钥")
        .remedy("mend that first, then look again", "先解决上面的问题，再运行一次")
}

pub(super) fn key_good(merchant: &Merchant) -> Finding {
    Finding::ok("key-good", current_key(merchant))
        .seen("WeChat accepts it and signs with it", "微信接受该密钥，应答的签名也正确")
}

/// The current key, where nothing proves it.
pub(super) fn of_key(merchant: &Merchant, verdict: &Verdict) -> Finding {
    let about = current_key(merchant);
    match verdict {
        Verdict::SignRefused(text) => refused(about, text),
        Verdict::MerchantUnknown(text) => merchant_unknown(about, text),
        Verdict::AppUnknown(text) => Finding::error("appid-unknown", about)
            .seen(format!("the key could not be tried, WeChat knows no such appid: {text}"), format!("无法验证密钥，appid 不存在：{text}"))
            .remedy(
                format!("correct app_ids; the apps of a merchant number stand under {WHERE_APP_EN}"),
                format!("更正 app_ids；商户号绑定的 AppID 见 {WHERE_APP_ZH}"),
            ),
        Verdict::Busy(text) => busy(about, text),
        Verdict::BadlySigned => Finding::error("answer-badly-signed", about)
            .seen("an answer came that this key did not sign", "收到的应答不是用该密钥签名的")
            .remedy(
                "somebody between here and WeChat changes answers, or the key has just been changed: look again, then take the proxy out",
                "中间有设备改写了应答，或密钥刚刚更换：请再试一次，然后去掉中间的代理",
            ),
        // Unsigned, so that it says nothing of the key.
        verdict @ (Verdict::AppNotBound(_) | Verdict::SubMerchant(_) | Verdict::NotAllowed(_)) => {
            let app_id = merchant.app_ids.first().map_or("", String::as_str);
            of_app(merchant, app_id, verdict)
        }
        verdict => strange(about, verdict),
    }
}

fn busy(about: Text, text: &str) -> Finding {
    Finding::unseen("wechat-busy", about)
        .seen(format!("WeChat had no time: {text}"), format!("微信系统繁忙：{text}"))
        .remedy("look again in a minute", "一分钟后再试")
}

fn merchant_unknown(about: Text, text: &str) -> Finding {
    Finding::error("mch-id-unknown", about)
            .seen(format!("WeChat knows no such merchant number: {text}"), format!("微信不认识该商户号：{text}"))
            .remedy(
                "mch_id is the number under pay.weixin.qq.com → 账户中心 → 商户信息; a provider's is its own, not the sub merchant's",
                "mch_id 见商户平台 → 账户中心 → 商户信息；服务商模式下填服务商自己的商户号，不是特约商户的",
            )
}

fn refused(about: Text, text: &str) -> Finding {
    Finding::error("key-refused", about)
        .seen(format!("WeChat refuses the signature: {text}"), format!("微信不接受签名：{text}"))
        .remedy(
            format!(
                "likely: (1) the APIv3 key was put here, which is another one with the same 32 characters; (2) the key of \
                 another merchant number; (3) it was changed in the platform. It cannot be read there, only set anew: \
                 {WHERE_KEY_EN}. Set a new one, keep the old one as previous_api_key_file for a day"
            ),
            format!(
                "常见原因：（1）误填 APIv3 密钥（同为 32 位，但不是同一个）；（2）填了其他商户号的密钥；（3）平台上已更换密钥。\
                 平台上看不到原密钥，只能重新设置：{WHERE_KEY_ZH}。设置新密钥后，把旧密钥作为 previous_api_key_file 保留一天"
            ),
        )
}

pub(super) fn sign_type(merchant: &Merchant, other: Algorithm) -> Finding {
    let ours = merchant.algorithm;
    Finding::error("sign-type-mismatch", current_key(merchant))
        .seen(
            format!("refused with {ours}, accepted with {other}: the key is right, the algorithm is not"),
            format!("用 {ours} 签名被拒绝，用 {other} 被接受：密钥正确，签名类型不对"),
        )
        .remedy(
            format!("set sign_type = \"{other}\" for this merchant, as the shop places its orders"),
            format!("把该商户的 sign_type 设为 \"{other}\"，与商城下单时一致"),
        )
}

pub(super) fn only_previous(merchant: &Merchant) -> Finding {
    Finding::error("only-previous-key-works", current_key(merchant))
        .seen(
            "WeChat refuses the current key and still takes the previous one",
            "微信拒绝当前密钥，但仍接受旧密钥",
        )
        .remedy(
            format!("the new key is not set at WeChat yet, or was mistyped here: {WHERE_KEY_EN}"),
            format!("新密钥尚未在微信生效，或这里填错：{WHERE_KEY_ZH}"),
        )
}

pub(super) fn previous_works(merchant: &Merchant) -> Finding {
    Finding::hint("previous-key-works", previous_key(merchant))
        .seen("WeChat still takes it", "微信仍接受旧密钥")
        .remedy(
            "leave it in until 24 h 4 m after the change: notifications of that time are repeated under it",
            "请保留到更换后 24 小时 4 分：此前的通知可能仍用旧密钥重发",
        )
}

pub(super) fn previous_refused(merchant: &Merchant) -> Finding {
    Finding::hint("previous-key-over", previous_key(merchant))
        .seen("WeChat takes it no more", "微信已不再接受旧密钥")
        .remedy(
            "24 h 4 m after the change take previous_api_key out: an old key that leaked could still sign notifications",
            "更换满 24 小时 4 分后请删除 previous_api_key：泄露的旧密钥仍能伪造通知",
        )
}

pub(super) fn previous_unclear(merchant: &Merchant, verdict: &Verdict) -> Finding {
    let finding = of_key(merchant, verdict);
    Finding { about: previous_key(merchant), ..finding }
}

/// One app, asked about with a key that works; the first app's answer was the key's.
pub(super) fn of_app(merchant: &Merchant, app_id: &str, verdict: &Verdict) -> Finding {
    let mch_id = &merchant.mch_id;
    let about =
        Text::new(format!("merchant {mch_id}, appid {app_id}"), format!("商户 {mch_id}，appid {app_id}"));
    match verdict {
        Verdict::Known => Finding::ok("appid-good", about)
            .seen("bound to the merchant number", "已与商户号绑定"),
        Verdict::AppNotBound(text) => Finding::error("appid-not-bound", about)
            .seen(format!("not bound to the merchant number: {text}"), format!("未与商户号绑定：{text}"))
            .remedy(
                format!("bind it under {WHERE_APP_EN}, and confirm it at mp.weixin.qq.com → 微信支付; or correct app_ids"),
                format!("在 {WHERE_APP_ZH} 关联，并在公众平台 mp.weixin.qq.com → 微信支付 中确认；或更正 app_ids"),
            ),
        Verdict::AppUnknown(text) => Finding::error("appid-unknown", about)
            .seen(format!("WeChat knows no such appid: {text}"), format!("appid 不存在：{text}"))
            .remedy(
                format!("correct app_ids; the apps of a merchant number stand under {WHERE_APP_EN}"),
                format!("更正 app_ids；商户号绑定的 AppID 见 {WHERE_APP_ZH}"),
            ),
        Verdict::SubMerchant(text) => Finding::error("sub-mch-id-refused", about)
            .seen(format!("the sub merchant is not ours, or is missing: {text}"), format!("特约商户号缺失或与服务商无受理关系：{text}"))
            .remedy(
                "a service provider lists its sub merchants in sub_mch_ids; who they are stands under pay.weixin.qq.com → 特约商户管理",
                "服务商请在 sub_mch_ids 中填写特约商户号，见服务商平台 → 特约商户管理",
            ),
        Verdict::NotAllowed(text) => Finding::error("merchant-not-allowed", about)
            .seen(format!("the merchant may not use this interface: {text}"), format!("商户无此接口权限：{text}"))
            .remedy(
                "apply for the product (JSAPI, Native, APP, H5) under pay.weixin.qq.com → 产品中心 → 我的产品",
                "在商户平台 → 产品中心 → 我的产品 中开通相应产品（JSAPI、Native、APP、H5）",
            ),
        Verdict::MerchantUnknown(text) => merchant_unknown(about, text),
        Verdict::Busy(text) => busy(about, text),
        verdict => strange(about, verdict),
    }
}

fn strange(about: Text, verdict: &Verdict) -> Finding {
    let text = match verdict {
        Verdict::NotWeChat(text) | Verdict::Other(text) => text.as_str(),
        _ => "",
    };
    Finding::warning("wechat-answer-strange", about)
        .seen(
            format!("WeChat gave an answer that says nothing of the key: {text}"),
            format!("微信的应答无法判断密钥是否正确：{text}"),
        )
        .remedy(
            "look again in a minute; if it stays, look the text up in WeChat's documentation",
            "一分钟后再试；若仍如此，请在微信支付文档中查询该错误信息",
        )
}
