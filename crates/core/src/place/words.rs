//! The words of our own refusals: cause and remedy, English and Chinese. Holds no logic.

use crate::place::refused::RefusalKind;

pub(super) fn words_of(kind: RefusalKind) -> [&'static str; 4] {
    let row = WORDS.iter().find(|(one, _)| *one == kind);
    row.map(|(_, words)| *words).expect("a test asks for the words of every kind")
}

#[rustfmt::skip] // One refusal per paragraph reads better than one argument per line.
static WORDS: [(RefusalKind, [&str; 4]); 26] = [
    (RefusalKind::InvalidRequest, [
        "WeChat would not take the request", "Correct the named fields and send it again; nothing was placed",
        "请求内容不会被微信支付接受", "更正所列字段后重新发送；此次没有下单"]),
    (RefusalKind::UnknownMerchant, [
        "The merchant is not configured here", "Add it to the configuration, or correct mch_id",
        "该商户号没有在配置中", "在配置中加入该商户，或更正 mch_id"]),
    (RefusalKind::UnknownOrder, [
        "There is no record of this order", "Look at out_trade_no; an order that another system placed is registered first",
        "没有这个订单的记录", "核对 out_trade_no；其他系统下的单须先登记"]),
    (RefusalKind::NoNotifyUrl, [
        "The configuration does not say where WeChat reaches us", "Set ingress.public_url to the public address of the notification listener",
        "配置中没有微信支付可以访问的通知地址", "将 ingress.public_url 设为通知服务的公网地址"]),
    (RefusalKind::NoAppSecret, [
        "No AppSecret is configured for this appid", "Configure app_secret_file for it, from the official account or mini program platform",
        "该 appid 没有配置 AppSecret", "从公众平台取得 AppSecret，并配置 app_secret_file"]),
    (RefusalKind::DifferentOrder, [
        "Another order was placed or registered under this number", "Send what was sent before, or place under a new out_trade_no with the same business_no, which closes the old one",
        "该订单号已用于内容不同的订单", "用原内容重试；或用新的 out_trade_no 和相同的 business_no 下单，旧订单会被关闭"]),
    (RefusalKind::OrderPaid, [
        "The order is paid", "Ship it on order.paid; if the payment is not wanted, refund it",
        "订单已支付", "收到 order.paid 后发货；不需要这笔支付时请退款"]),
    (RefusalKind::OrderClosed, [
        "The order is closed and cannot be paid any more", "Place under a new out_trade_no",
        "订单已关闭，不能再支付", "使用新的 out_trade_no 下单"]),
    (RefusalKind::OrderOver, [
        "The order was given up: it failed or was not paid in time", "Place under a new out_trade_no",
        "订单已结束：支付失败或超时未支付", "使用新的 out_trade_no 下单"]),
    (RefusalKind::TooYoung, [
        "WeChat closes no order that is younger than five minutes", "Ask again after Retry-After",
        "微信支付不允许关闭下单不足五分钟的订单", "在 Retry-After 之后重试"]),
    (RefusalKind::NotClosed, [
        "WeChat closed nothing and the order can still be paid: it is being placed, its payer is at it, or WeChat does not know it until its payer opens what was offered", "Ask again after Retry-After; count the order as payable until it is closed, or order.closed comes",
        "微信支付没有关单，订单仍可支付：正在下单，付款人正在支付，或付款人打开支付页面之前微信支付还查不到该订单", "在 Retry-After 之后重试；在关单成功或收到 order.closed 之前，按可支付处理"]),
    (RefusalKind::BusinessPaid, [
        "Another number of the same business order is paid already", "Do not let the payer pay again: act on the order that is named; what is bought anew needs a new business_no",
        "同一业务订单的另一个订单号已经支付", "不要让付款人再次支付：按所列订单处理；重新购买须使用新的 business_no"]),
    (RefusalKind::BusinessPaying, [
        "The payer is paying under another number of the same business order at this moment", "Ask again after Retry-After",
        "付款人此刻正在用同一业务订单的另一个订单号支付", "在 Retry-After 之后重试"]),
    (RefusalKind::BusinessTooYoung, [
        "Another number of the same business order can still be paid, and WeChat does not close it before it is five minutes old", "Offer that number to the payer again, or ask again after Retry-After",
        "同一业务订单的另一个订单号仍可支付，且下单不足五分钟，微信支付不允许关单", "让付款人继续支付原订单号，或在 Retry-After 之后重试"]),
    (RefusalKind::BusinessNotClosed, [
        "Another number of the same business order can still be paid, and WeChat did not close it: its payer is at it, or WeChat does not know it until its payer opens what was offered", "Offer that number to the payer again, or ask again after Retry-After",
        "同一业务订单的另一个订单号仍可支付，微信支付没有关单：付款人正在支付，或付款人打开支付页面之前微信支付还查不到该订单", "让付款人继续支付原订单号，或在 Retry-After 之后重试"]),
    (RefusalKind::BusinessBusy, [
        "Another number of the same business order is being placed at this moment", "Offer that number to the payer, or ask again after Retry-After",
        "同一业务订单的另一个订单号正在下单", "让付款人支付该订单号，或在 Retry-After 之后重试"]),
    (RefusalKind::BusinessSuperseded, [
        "A newer number of the same business order can be paid", "Offer the newer number to the payer, or place under yet another one",
        "同一业务订单已有更新的订单号可以支付", "让付款人支付较新的订单号，或再用新的订单号下单"]),
    (RefusalKind::BusinessTooManyNumbers, [
        "The business order has had too many numbers", "Look for a program that places again and again; a new purchase needs a new business_no",
        "该业务订单使用过的订单号太多", "检查是否有程序在反复下单；新的购买须使用新的 business_no"]),
    (RefusalKind::NumberUsed, [
        "WeChat knows another order under this number", "Send what was sent before; or query and close the old order, then place under a new number",
        "微信支付已有使用该订单号的不同订单", "用原内容重试；或查询并关闭旧订单后换新的订单号"]),
    (RefusalKind::RefusedByWechat, [
        "WeChat refused the request", "Read err_code and err_code_des",
        "微信支付拒绝了请求", "查看 err_code 和 err_code_des"]),
    (RefusalKind::RefusedUnsigned, [
        "WeChat refused the request without a signature, so nothing is sure about the order", "Mend what the text names, then send the same request again",
        "微信支付返回了无签名的失败，订单状态不能确定", "按提示内容更正后，重新发送相同的请求"]),
    (RefusalKind::KeysRefused, [
        "WeChat accepts none of the merchant's API keys", "Compare api_key with the merchant platform (v2 key, not v3), the mch_id and the sign_type",
        "商户的 API 密钥均不被微信支付接受", "与商户平台核对 api_key（v2 密钥，不是 v3）、商户号和签名类型"]),
    (RefusalKind::CodeRefused, [
        "WeChat gives no openid for this code", "Send the payer through the authorization again",
        "微信没有为该 code 返回 openid", "请付款人重新授权"]),
    (RefusalKind::WechatBusy, [
        "The merchant's rate leaves no place for this call now", "Send the same request again after Retry-After; raise query_rate if this is frequent",
        "当前该商户的调用频率已满", "在 Retry-After 之后重新发送相同的请求；经常出现时提高 query_rate"]),
    (RefusalKind::WechatAway, [
        "WeChat could not be asked, so nothing was placed or closed", "Send the same request again",
        "无法访问微信支付，此次没有下单或关单", "重新发送相同的请求"]),
    (RefusalKind::OutcomeUnknown, [
        "WeChat was called and no answer that can be believed came back: what became of the call is unknown", "Send the same request again, unchanged; never take a new number because of this",
        "已调用微信支付，但没有得到可信的应答：结果未知", "原样重新发送相同的请求；不要因此更换订单号"]),
];
