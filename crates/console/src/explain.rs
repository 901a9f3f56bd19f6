//! Why each kind of refusal comes and what to do about it, in English and Chinese: part of every problem document, and
//! the table in `docs/errors.md`. Holds no logic; what is special to one request stands in the document's `detail`.

/// A kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The last word of the problem's type.
    pub word: &'static str,
    /// The statuses it comes with.
    pub status: &'static str,
    pub cause: &'static str,
    pub remedy: &'static str,
    pub cause_zh: &'static str,
    pub remedy_zh: &'static str,
}

/// What is said of a word. Every word of [`crate::error::Error`] has its row, as a test shows.
pub(crate) fn explained(word: &str) -> Option<&'static Explained> {
    PROBLEMS.iter().find(|row| row.word == word)
}

const fn row(
    word: &'static str,
    status: &'static str,
    [cause, remedy, cause_zh, remedy_zh]: [&'static str; 4],
) -> Explained {
    Explained { word, status, cause, remedy, cause_zh, remedy_zh }
}

/// All of them, in the order of a request's way: how it is asked, who asks, what for, what stands against it.
#[rustfmt::skip] // One word per paragraph reads better than one argument per line.
pub static PROBLEMS: &[Explained] = &[
    row("no-host", "400", [
        "The request names no host, or several", "Send exactly one Host header; HTTP libraries do",
        "请求没有 Host 头，或有多个", "只发送一个 Host 头（HTTP 库会自动处理）"]),
    row("foreign-host", "421", [
        "The request is addressed to a host that is not this API", "Call it by the name it listens on, or add the name to console.allowed_hosts",
        "请求的 Host 不是本接口的地址", "使用监听地址访问，或把该名称加入 console.allowed_hosts"]),
    row("no-route", "404", [
        "There is nothing at this path", "GET / lists the routes; out_trade_no is percent-encoded in a path",
        "没有这个路径", "GET / 会列出全部路径；商户订单号在路径中需做百分号编码"]),
    row("method", "405", [
        "The path does not take this method", "Use one of those that the header Allow names",
        "该路径不支持此方法", "使用响应头 Allow 中列出的方法"]),
    row("content-type", "415", [
        "A change was sent without Content-Type: application/json", "Send that header with every PUT, POST and DELETE, also with an empty body",
        "修改类请求缺少 Content-Type: application/json", "PUT、POST、DELETE 都要带该请求头，即使请求体为空"]),
    row("body", "400, 408, 413", [
        "The body broke off, took over 15 s, or has more than 64 KiB", "Send the whole body at once and keep it small",
        "请求体中断、超过 15 秒未传完，或大于 64 KiB", "一次性完整发送，并控制大小"]),
    row("not-json", "400", [
        "The body is not one JSON object, or a key stands twice in it", "Send one object in UTF-8, each key once",
        "请求体不是一个 JSON 对象，或有重复的键", "发送一个 UTF-8 编码的 JSON 对象，键不可重复"]),
    row("field", "400", [
        "A field or parameter is missing, unknown or malformed; `field` names it", "Correct what `detail` says; amounts are whole fen without quotes",
        "字段或参数缺失、未知或格式错误，见 field", "按 detail 的提示更正；金额是不带引号的整数（单位：分）"]),
    row("ahead", "400", [
        "created_at lies more than 5 minutes in the future", "Set the caller's clock; send the offset with the time (+08:00)",
        "created_at 比当前时间超前 5 分钟以上", "校准调用方时钟；时间要带时区（+08:00）"]),
    row("no-token", "401", [
        "The request carries no token", "Send `Authorization: Bearer TOKEN`",
        "请求没有令牌", "发送 `Authorization: Bearer TOKEN`"]),
    row("wrong-token", "401", [
        "The token is none of the configured ones", "Compare the caller's token file with console.token_file or [[console.token]]",
        "令牌不在配置中", "核对调用方的令牌文件与 console.token_file 或 [[console.token]]"]),
    row("wrong-scope", "403", [
        "The token may not do this; `scope` names what is missing", "Add the scope to the token in the configuration, or use another token",
        "令牌权限不足，缺少的权限见 scope", "在配置中为该令牌增加权限，或换用其他令牌"]),
    row("shut-out", "429", [
        "Too many requests with wrong tokens came from this address", "Wait as long as Retry-After says; find the caller with the wrong token",
        "该地址使用错误令牌的请求过多", "按 Retry-After 等待，并找出使用错误令牌的调用方"]),
    row("too-fast", "429", [
        "The caller asks more often than its rate allows", "Wait as long as Retry-After says, or raise console.rate or the token's rate",
        "请求超过该令牌的速率", "按 Retry-After 等待，或调高 console.rate 或令牌的 rate"]),
    row("own-streams", "429", [
        "The token has all of its event streams open", "Close one, or raise the token's streams",
        "该令牌的事件流已全部占用", "关闭一个，或调高令牌的 streams"]),
    row("streams", "503", [
        "All event streams of this process are in use", "Read /v1/events by pages, come back later, or raise console.streams",
        "本进程的事件流已全部占用", "改为分页读取 /v1/events，或稍后重试，或调高 console.streams"]),
    row("draining", "503", [
        "The process is stopping", "Repeat the request; another process or the restarted one answers",
        "进程正在停止", "重试请求，由其他进程或重启后的进程处理"]),
    row("engine-away", "503", [
        "The store, RabbitMQ or Redis does not answer", "Repeat the same request after a moment: nothing is lost, and a repeat does nothing twice",
        "存储、RabbitMQ 或 Redis 无响应", "稍后重试相同请求：不会丢失，也不会重复执行"]),
    row("engine-unreadable", "500", [
        "Something stored cannot be read", "An operator is needed: the log names the record",
        "存储的数据无法读取", "需要运维处理：日志中有具体记录"]),
    row("unknown-merchant", "404", [
        "The merchant number is not configured here", "Add a [[merchant]] block, or correct mch_id in the path",
        "该商户号未配置", "增加 [[merchant]] 配置，或更正路径中的商户号"]),
    row("unknown-order", "404", [
        "There is no record of this order, and WeChat does not know it", "Register the order before the payer pays; check out_trade_no",
        "没有该订单的记录，微信支付也没有", "在付款前登记订单；核对商户订单号"]),
    row("unknown-event", "404", [
        "The event log keeps no event of this id", "Check the id; events are kept as long as retention.events says",
        "事件日志中没有该事件", "核对事件 id；事件按 retention.events 保留"]),
    row("unknown-bill", "404", [
        "Nobody ever looked for a bill of this merchant and day, or it was over 40 days ago", "POST /v1/bills/{mch_id}/{date}/reconcile has it done now",
        "从未查找过该商户当日的账单，或已超过 40 天", "POST /v1/bills/{mch_id}/{date}/reconcile 可立即对账"]),
    row("unknown-endpoint", "404", [
        "No [[webhook]] or [[legacy]] has this name", "GET /v1/endpoints lists them",
        "没有这个名称的 [[webhook]] 或 [[legacy]]", "GET /v1/endpoints 会列出全部"]),
    row("unknown-dead-letter", "404", [
        "There is no dead letter of this id", "GET /v1/dead lists them; somebody may have replayed or dropped it",
        "没有这封死信", "GET /v1/dead 会列出全部；可能已被重放或删除"]),
    row("different-registration", "409", [
        "The order is registered with other facts; `fields` names them", "A registration never changes: use a new out_trade_no, and close the old order if it is unpaid",
        "订单已按不同内容登记，不同的字段见 fields", "登记内容不可更改：使用新的商户订单号，旧订单未支付时先关单"]),
    row("not-waiting", "409", [
        "The order waits for no such word; `state` is its state", "Read the order again: accept needs mismatch or rejected, reject needs mismatch",
        "订单当前状态不需要该操作，状态见 state", "重新查看订单：accept 需要 mismatch 或 rejected，reject 需要 mismatch"]),
    row("other-transaction", "409", [
        "The record shows another payment than the request names", "Read the order again and decide on the payment that it shows now",
        "记录中的支付与请求所指的不同", "重新查看订单，按现在的支付再决定"]),
    row("unknown-refund", "404", [
        "The order has no refund of this number", "GET .../refunds lists those it has; check out_refund_no",
        "该订单没有这个退款单", "GET .../refunds 会列出全部退款；核对商户退款单号"]),
    row("different-refund", "409", [
        "This out_refund_no was asked for with other facts; `fields` names them", "Repeat it exactly as it was: WeChat refunds a number once. For another refund take a new number",
        "该商户退款单号已按不同内容申请，不同的字段见 fields", "按原内容重复请求：同一退款单号只会退款一次；另一笔退款请用新的退款单号"]),
    row("not-refundable", "409", [
        "No payment of the order is known; `state` is its state", "POST .../check asks WeChat now; refund once the order is paid",
        "订单没有已知的支付，状态见 state", "POST .../check 立即查询；订单支付成功后再退款"]),
    row("too-many-refunds", "409", [
        "The order has 50 refunds, and WeChat takes no more", "Pay the rest back another way, such as a transfer",
        "该订单已有 50 笔退款，微信支付不再受理", "剩余金额请通过转账等其他方式退还"]),
    row("more-than-paid", "409", [
        "Together with the order's other refunds it is more than was paid", "GET .../refunds shows them; ask for what is left at most",
        "加上其他退款后超过了支付金额", "GET .../refunds 查看已有退款；退款金额不得超过剩余金额"]),
    row("not-as-paid", "409", [
        "total_fee or fee_type is not what the order was paid with; `field` names it", "Leave it out, or say what was paid",
        "total_fee 或 fee_type 与实际支付不符，见 field", "省略该字段，或填写实际支付的内容"]),
    row("refund-refused", "409", [
        "WeChat refused the refund; `code` is its word, and cause and remedy are those of the code", "Do what the remedy says, then send the same refund again under the same number",
        "微信支付拒绝了退款，错误码见 code，原因与办法以该错误码为准", "按办法处理后，用相同的退款单号重新申请"]),
    row("nothing-withheld", "409", [
        "Shadow mode withheld nothing of this order", "Nothing to do: it was told already, or there is nothing to tell yet",
        "影子模式没有扣留该订单的事件", "无需处理：事件已发出，或尚无事件"]),
    row("no-replay", "409", [
        "The dead letter names no order of a configured merchant, or this version cannot read it", "Configure the merchant or run the newer version, and replay again; or drop the letter",
        "死信没有对应已配置商户的订单，或本版本读不了它", "配置该商户，或换回更新的版本，然后重放；或删除死信"]),
    row("repeated-dead-letter", "409", [
        "The problem came again while the letter was being dropped; the new occurrence is kept", "Read the letter once more, then drop it",
        "删除死信时同一问题再次发生；新的一次已保留", "重新查看该死信，再删除"]),
    row("refused-again", "409", [
        "The registration in the dead letter cannot be taken this time either", "Correct it at its sender and drop the letter",
        "死信中的登记这次仍无法受理", "在发送方更正后删除死信"]),
    row("unwanted-event", "409", [
        "The endpoint does not want this event", "Look at its types and mch_ids; events of shadow mode are told to nobody",
        "该端点不接收此事件", "检查端点的 types 和 mch_ids；影子模式的事件不会发出"]),
    row("too-many-wishes", "409", [
        "64 wishes wait for the endpoint already", "See whether a worker runs that serves it, enable it if it is disabled, then repeat",
        "该端点已有 64 个待处理请求", "确认有 worker 正在服务该端点；若它已停用，先启用；然后重试"]),
    row("cursor-gone", "410", [
        "The event after which to continue is not in the log any more. A place that this node does not have yet is 503, not this", "Continue after `oldest`, and read the orders that you are unsure of",
        "游标对应的事件已不在日志中。本节点尚未收到的位置返回 503，不是 410", "从 oldest 继续，并查询不确定的订单"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_explained_once_and_in_both_languages() {
        for row in PROBLEMS {
            let Explained { word, status, cause, remedy, cause_zh, remedy_zh } = row;
            assert_eq!(explained(word), Some(row), "{word} stands twice");
            assert!(status.split(", ").all(|status| status.parse::<u16>().is_ok_and(|status| status >= 400)));
            for english in [cause, remedy] {
                assert!(!english.is_empty() && english.is_ascii(), "{word}: {english}");
            }
            for chinese in [cause_zh, remedy_zh] {
                assert!(!chinese.is_ascii(), "{word}: {chinese}");
            }
            for text in [cause, remedy, cause_zh, remedy_zh] {
                assert!(!text.contains(['|', '\n']), "{word}: it stands in a table");
                assert!(!text.ends_with(['.', '。']), "{word}: {text}");
            }
        }
    }
}
