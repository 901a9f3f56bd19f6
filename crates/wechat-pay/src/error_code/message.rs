//! Texts without a code: what WeChat says in unsigned answers, in the payer's WeChat, in a browser or in an app.
//!
//! For people only. An unsigned text proves nothing, so no state of an order may follow from it: a hint at where to
//! look, and no more.

use super::Explanation;

/// A text that merchants meet, by the parts that it is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownMessage {
    /// A stable word for links into documents.
    pub name: &'static str,
    /// Any of these in the text, compared without blanks and without regard to capitals.
    pub parts: &'static [&'static str],
    pub explanation: Explanation,
}

/// The known message that a text is, the first of [`KNOWN_MESSAGES`] that fits.
#[must_use]
pub fn known_message(text: &str) -> Option<&'static KnownMessage> {
    let text = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_lowercase();
    KNOWN_MESSAGES.iter().find(|known| known.parts.iter().any(|part| text.contains(part)))
}

#[rustfmt::skip] // One message per paragraph reads better than one argument per line.
pub static KNOWN_MESSAGES: [KnownMessage; 24] = [
    message("order_number_repeated", &["商户订单号重复"], [
        "The same out_trade_no was placed before with other data: amount, text, expiry or way of paying", "Query the old order and close it if unpaid, then place under a new number; one business order may have several numbers",
        "同一商户订单号曾以不同内容下单（金额、描述、有效期或支付方式不同）", "查询旧订单，未支付则关单，再用新的商户订单号下单；一个业务订单可对应多个订单号"]),
    message("unregistered_directory", &["当前页面的url未注册", "url未注册", "支付目录"], [
        "The page that calls JSAPI lies in no authorized directory", "Register the page's directory, to its last slash, under the product's development settings in the merchant platform",
        "发起支付的页面不在已授权的支付目录中", "在商户平台 产品中心 / 开发配置 中添加该页面所在目录（以 / 结尾）"]),
    message("ip_mismatch", &["网络环境未能通过安全验证"], [
        "The address that pays is not the spbill_create_ip of the MWEB order", "Send the payer's own public address; behind a proxy take it from the trusted header, IPv6 as well",
        "支付时的 IP 与下单时的 spbill_create_ip 不一致", "下单时传付款人的真实公网 IP；经代理时取可信的转发头，注意 IPv6"]),
    message("empty_referer", &["商家参数格式有误", "referer"], [
        "The mweb_url was opened without a Referer, or from a domain that is not registered", "Open it from a page under the registered H5 domain; apps set the Referer; no rel=noreferrer",
        "打开 mweb_url 时 Referer 为空，或来自未登记的域名", "从已登记的 H5 支付域名的页面打开；APP 内需自行设置 Referer；不要使用 noreferrer"]),
    message("h5_domain", &["商家存在未配置的参数"], [
        "The domain that opened the mweb_url is not the registered one", "Register the domain for H5 payment in the merchant platform",
        "打开 mweb_url 的域名与登记的 H5 支付域名不一致", "在商户平台登记该 H5 支付域名"]),
    message("h5_inside_wechat", &["请在微信外打开"], [
        "An mweb_url was opened inside WeChat", "MWEB is for browsers outside WeChat; inside WeChat place a JSAPI order",
        "在微信内打开了 mweb_url", "H5 支付只用于微信外的浏览器；微信内请使用 JSAPI 下单"]),
    message("h5_another_account", &["签名验证失败"], [
        "One mweb_url was opened by two WeChat accounts", "Place the same order again for a fresh link, and give each link to one payer",
        "同一个 mweb_url 被不同的微信号打开", "用原参数重新下单以获取新的链接，每个链接只给一位付款人"]),
    message("expired_link", &["支付请求已失效", "订单已失效", "二维码已过期"], [
        "An mweb_url lives for 5 minutes, a prepay_id and a code_url for 2 hours", "Place the same order again unchanged for a fresh one",
        "mweb_url 有效期 5 分钟，prepay_id 和 code_url 有效期 2 小时", "用原参数重新下单以获取新的链接"]),
    message("missing_openid", &["缺少必填参数openid", "缺少参数openid", "openid必传", "必须传openid"], [
        "A JSAPI order needs the payer's openid under the appid of the order", "Get it by the authorize URL, or by jscode2session in a mini program",
        "JSAPI 下单必须传入付款人在该 appid 下的 openid", "通过网页授权或小程序 jscode2session 获取 openid"]),
    message("openid_of_another_app", &["appid和openid不匹配", "openid与appid不匹配", "invalidopenid", "无效的openid"], [
        "The openid was obtained under another app", "Get the openid with the appid that places the order; in provider mode use sub_openid with sub_appid",
        "openid 不是在下单的 appid 下取得的", "用下单的 appid 获取 openid；服务商模式使用 sub_appid 和 sub_openid"]),
    message("sub_appid_not_bound", &["sub_mch_id与sub_appid不匹配", "sub_appid与sub_mch_id不匹配", "sub_appid和sub_mch_id不匹配"], [
        "The sub merchant's app is not bound to this sub merchant number", "Bind sub_appid to sub_mch_id in the provider's platform (sub merchant configuration), or leave sub_appid out and use the provider's openid",
        "sub_appid 与特约商户号没有绑定关系", "在服务商平台的特约商户配置中绑定 sub_appid；或不传 sub_appid，改用服务商 appid 下的 openid"]),
    message("no_provider_relation", &["受理关系不存在", "未授权服务商"], [
        "The sub merchant has not let this provider act for it", "Check mch_id and sub_mch_id; the sub merchant grants the product to the provider in its own platform",
        "特约商户与服务商没有受理关系或未授权该产品", "核对商户号和特约商户号；由特约商户在其商户平台授权"]),
    message("appid_not_bound", &["appid和mch_id不匹配", "appid与mch_id不匹配", "mch_id与appid不匹配", "未绑定"], [
        "The app is not bound to this merchant number", "Bind them in the merchant platform (product centre, appid management)",
        "该 appid 与商户号没有绑定关系", "在商户平台 产品中心 / AppID 账号管理 中绑定"]),
    message("wrong_sign", &["签名错误", "验证签名失败", "signerror"], [
        "WeChat does not accept the signature", "Check the API key (v2, not v3), the mch_id, the sign_type, and that device parameters use the order's algorithm",
        "签名不被微信支付接受", "检查 API 密钥（v2 而非 v3）、商户号、签名类型；调起支付的签名算法须与下单一致"]),
    message("expiry_illegal", &["交易有效截止时间非法", "time_expire"], [
        "time_expire is too early, or not Beijing time", "Send Beijing time, at least 5 minutes ahead",
        "time_expire 过早或不是北京时间", "使用北京时间，且至少在 5 分钟之后"]),
    message("certificate", &["证书验证失败", "证书已过期", "norequiredsslcertificate", "证书"], [
        "The client certificate is missing, expired or another merchant's", "Download the API certificate anew in the merchant platform and configure both PEM files",
        "客户端证书缺失、过期或属于其他商户", "在商户平台重新下载 API 证书并配置两个 PEM 文件"]),
    message("payer_ip", &["spbill_create_ip"], [
        "spbill_create_ip is missing or is no address that WeChat takes", "Send the payer's address for MWEB and APP, the server's for NATIVE; IPv4, or IPv6 without brackets",
        "spbill_create_ip 缺失或格式不被接受", "MWEB、APP 传付款人 IP，NATIVE 传服务器 IP；IPv4 或不带方括号的 IPv6"]),
    message("device_parameters", &["缺少参数", "支付场景非法"], [
        "The call on the payer's device lacks a parameter or misspells one; total_fee in this text means that package holds no valid prepay_id", "Hand all fields of the answer to the device unchanged; spelling and capitals count; a prepay_id belongs to its trade_type and lives 2 hours",
        "调起支付时参数缺失或拼写错误；提示 total_fee 时表示 package 中的 prepay_id 无效", "把接口返回的字段原样传给前端，注意大小写；prepay_id 只能用于下单时的支付方式，有效期 2 小时"]),
    message("payer_cancelled", &["get_brand_wcpay_request:cancel", "requestpayment:failcancel", "choosewxpay:cancel", "errcode:-2"], [
        "The payer went back without paying", "Let the payer try again with the same order; query the order before closing it",
        "付款人取消了支付", "可用同一订单再次发起支付；关单前先查询订单"]),
    message("device_failed", &["get_brand_wcpay_request:fail", "requestpayment:fail", "choosewxpay:fail", "errcode:-1"], [
        "The payer's WeChat refused the parameters", "Compare the app, its registered directory (APP: package name and its signature), the sign and the age of the prepay_id; the text after fail names it",
        "付款人的微信拒绝了调起参数", "核对 appid、支付目录（APP：包名与应用签名）、签名以及 prepay_id 是否过期；fail 之后的文字为具体原因"]),
    message("merchant_restricted", &["收款功能已被限制", "补充相关资料", "商户已被限制", "商户状态异常"], [
        "WeChat has restricted this merchant", "Look for the notice in the merchant platform and hand in what it asks for",
        "商户被微信支付限制", "在商户平台查看通知并按要求补充资料"]),
    message("too_often", &["频率限制", "频率超限", "过于频繁", "frequency"], [
        "Too many calls for this merchant", "Slow down; repeat with the same numbers later",
        "调用过于频繁", "降低频率，稍后用相同单号重试"]),
    message("scope_domain", &["10003", "redirect_uri域名与后台配置不一致"], [
        "The host of redirect_uri is not the registered domain", "Register it as the page authorization domain of the official account",
        "redirect_uri 的域名与后台配置不一致", "在公众平台设置网页授权域名"]),
    message("not_opened", &["无权限", "未开通", "权限"], [
        "The merchant has not been granted this product", "Apply for it in the merchant platform",
        "商户号未开通该产品权限", "在商户平台开通相应产品"]),
];

const fn message(
    name: &'static str,
    parts: &'static [&'static str],
    [cause, remedy, cause_zh, remedy_zh]: [&'static str; 4],
) -> KnownMessage {
    KnownMessage { name, parts, explanation: Explanation { cause, remedy, cause_zh, remedy_zh } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_merchants_meet_are_explained_in_both_languages() {
        for (text, name) in [
            ("201 商户订单号重复", "order_number_repeated"),
            ("当前页面的URL未注册：https://shop.example.com/pay", "unregistered_directory"),
            ("网络环境未能通过安全验证，请稍后再试", "ip_mismatch"),
            ("商家参数格式有误，请联系商家解决", "empty_referer"),
            ("商家存在未配置的参数，请联系商家解决", "h5_domain"),
            ("请在微信外打开订单，进行支付", "h5_inside_wechat"),
            ("签名验证失败", "h5_another_account"),
            ("支付验证签名失败", "wrong_sign"),
            ("支付请求已失效，请重新发起支付", "expired_link"),
            ("sub_mch_id与sub_appid不匹配", "sub_appid_not_bound"),
            ("受理关系不存在", "no_provider_relation"),
            ("缺少参数spbill_create_ip", "payer_ip"),
            ("调用支付JSAPI缺少参数: total_fee", "device_parameters"),
            ("get_brand_wcpay_request:cancel", "payer_cancelled"),
            ("requestPayment:fail cancel", "payer_cancelled"),
            ("requestPayment:fail no permission", "device_failed"),
            ("此商家的收款功能已被限制，暂无法支付", "merchant_restricted"),
            ("缺少必填参数 openid", "missing_openid"),
            ("appid和openid不匹配", "openid_of_another_app"),
            ("appid和mch_id不匹配", "appid_not_bound"),
            ("签名错误", "wrong_sign"),
            ("交易有效截止时间非法", "expiry_illegal"),
            ("证书已过期", "certificate"),
            ("频率限制", "too_often"),
            ("10003 redirect_uri域名与后台配置不一致", "scope_domain"),
            ("商户号该产品权限未开通", "not_opened"),
        ] {
            assert_eq!(known_message(text).map(|known| known.name), Some(name), "{text}");
        }
        assert_eq!(known_message("something new"), None);
        let mut names: Vec<&str> = KNOWN_MESSAGES.iter().map(|known| known.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KNOWN_MESSAGES.len());
        for known in &KNOWN_MESSAGES {
            let Explanation { cause, remedy, cause_zh, remedy_zh } = known.explanation;
            assert!(cause.is_ascii() && remedy.is_ascii() && !cause_zh.is_ascii() && !remedy_zh.is_ascii());
            assert!(
                known.parts.iter().all(|part| *part == part.to_lowercase() && !part.contains(' ')),
                "{}",
                known.name
            );
        }
    }
}
