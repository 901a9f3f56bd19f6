//! The words of a rehearsal in English and Chinese: what happens in each scene, what to mend, and what was seen. Names
//! of fields and types stay as they are on the wire.

use doctor::Text;

use super::judge::{Fault, Verdict};
use super::scene::{Scene, Shipped};
use super::script::Forgery;

/// What happens in the scene.
pub fn story(scene: Scene) -> Text {
    of(&STORIES, scene)
}

const STORIES: [(Scene, &str, &str); 22] = [
    (Scene::Paid, "a plain order.paid", "一次普通的 order.paid"),
    (
        Scene::Duplicate,
        "the same order.paid five times, one after the other",
        "同一个 order.paid 先后到达五次",
    ),
    (
        Scene::AtOnce,
        "the same order.paid eight times at the same moment",
        "同一个 order.paid 在同一时刻到达八次",
    ),
    (
        Scene::Late,
        "order.unpaid, and later order.paid with late: true",
        "先 order.unpaid，后来 order.paid 且 late: true",
    ),
    (Scene::Mismatch, "order.mismatch: half the price was paid", "order.mismatch：只付了一半的金额"),
    (
        Scene::Accepted,
        "order.mismatch, then order.paid because a person accepted it",
        "先 order.mismatch，人工接受（accept）后 order.paid",
    ),
    (
        Scene::SecondPayment,
        "order.paid, then order.mismatch with second_transaction: paid twice under one number",
        "先 order.paid，再 order.mismatch（second_transaction）：同一单号付了两次",
    ),
    (Scene::Refunded, "order.paid, then order.refunded", "先 order.paid，再 order.refunded"),
    (
        Scene::RefundedFirst,
        "order.refunded (version 2) arrives before its order.paid (version 1)",
        "order.refunded（version 2）先于它的 order.paid（version 1）到达",
    ),
    (
        Scene::FoundRefunded,
        "order.paid with trade_state REFUND: refunded before anybody heard of it; then order.refunded",
        "order.paid 的 trade_state 是 REFUND：得知付款时已经退款；随后 order.refunded",
    ),
    (
        Scene::DeniedAfterPaid,
        "order.paid, then an order.unpaid or order.closed of the same order, with a lower and a higher version",
        "先 order.paid，再到达同一订单的 order.unpaid 或 order.closed，version 较低的和较高的各一次",
    ),
    (
        Scene::Denied,
        "order.unpaid, order.closed and order.failed, with null in every field of the payment",
        "order.unpaid、order.closed、order.failed，付款字段全部为 null",
    ),
    (
        Scene::Nulls,
        "order.paid with null in every field that may be null",
        "order.paid，所有可以为 null 的字段都为 null",
    ),
    (
        Scene::UnknownType,
        "events of types that do not exist yet: one with the data of a payment, one about no order at all",
        "目前还不存在的事件类型：一个 data 与付款相同，一个与任何订单无关",
    ),
    (
        Scene::UnknownField,
        "order.paid with fields that do not exist yet",
        "order.paid 带有目前还不存在的字段",
    ),
    (
        Scene::Unregistered,
        "order.paid with registered: false over one fen, for an order that costs more",
        "order.paid 的 registered 为 false，只付了 1 分钱，而订单价格更高",
    ),
    (
        Scene::RawBody,
        "order.paid whose JSON is spelled otherwise: indented, escaped, with Chinese text",
        "order.paid 的 JSON 写法不同：有缩进、有转义、含中文",
    ),
    (
        Scene::WrongSignature,
        "webhooks with another secret's signature, a changed body, a changed webhook-id, no signature",
        "签名用的是别的密钥、正文被改、webhook-id 被改、没有签名的 webhook",
    ),
    (
        Scene::Stale,
        "correctly signed webhooks whose timestamp is ten minutes old, or ten minutes ahead",
        "签名正确，但时间戳是十分钟前或十分钟后的 webhook",
    ),
    (
        Scene::Rotation,
        "a webhook with two signatures, of which the second fits: a secret is being rotated",
        "带两个签名的 webhook，第二个才匹配：正在更换密钥",
    ),
    (
        Scene::LostAnswer,
        "the connection breaks before the answer, and the same event comes again at once",
        "应答之前连接断开，同一事件立刻再次到达",
    ),
    (Scene::Burst, "many orders are paid at once", "大量订单同时付款"),
];

/// What to do when the scene failed.
pub fn remedy(scene: Scene) -> Text {
    of(&REMEDIES, scene)
}

const REMEDIES: [(Scene, &str, &str); 22] = [
    (
        Scene::Paid,
        "Ship on order.paid and answer 2xx when it is stored. If nothing was shipped at all: does the check URL \
             count these orders, and does the subscriber know them (--orders lists them, to be created before)?",
        "收到 order.paid 后发货，落库之后再应答 2xx。若一单都没有发：检查地址统计的是这些订单吗？订阅方认识这些订单吗\
             （--orders 可列出，请先创建）？",
    ),
    (
        Scene::Duplicate,
        "Store the event's id (unique) in the same database transaction as the effect; answer 2xx to a known id.",
        "把事件 id（唯一约束）与业务结果写入同一个数据库事务；已知的 id 直接应答 2xx。",
    ),
    (
        Scene::AtOnce,
        "Asking first whether the id is known and storing it later leaves a gap. Insert the id first, under a \
             unique constraint, in the transaction of the effect: the second one then waits or fails.",
        "先查 id 是否存在、之后再写入，中间有空档。应在同一事务里先插入 id（唯一约束），再产生业务结果：后来者会等待或失败。",
    ),
    (
        Scene::LostAnswer,
        "Asking first whether the id is known and storing it later leaves a gap. Insert the id first, under a \
             unique constraint, in the transaction of the effect: the second one then waits or fails.",
        "先查 id 是否存在、之后再写入，中间有空档。应在同一事务里先插入 id（唯一约束），再产生业务结果：后来者会等待或失败。",
    ),
    (
        Scene::Late,
        "A denial is not the end: order.paid with late: true follows when the payer paid after all. Ship, or \
             refund (then rehearse with --late refund).",
        "否定事件不是终点：用户之后付了款，会有 late: true 的 order.paid。请发货，或退款（退款的店请用 --late refund 演练）。",
    ),
    (
        Scene::Mismatch,
        "order.mismatch is not a payment. Ship on type order.paid only, never because there is a transaction_id \
             or trade_state SUCCESS.",
        "order.mismatch 不是付款成功。只在 type 为 order.paid 时发货，不要凭 transaction_id 或 trade_state SUCCESS 发货。",
    ),
    (
        Scene::Accepted,
        "order.mismatch waits for a person. When it is accepted, order.paid of the same payment follows: ship then.",
        "order.mismatch 等待人工处理。接受之后会有同一笔付款的 order.paid：此时发货。",
    ),
    (
        Scene::SecondPayment,
        "A second payment changes nothing about the first: keep the shipment, ship nothing more, and let a person \
             refund the second payment.",
        "第二笔付款不影响第一笔：保留已有发货，不要再发，由人工退掉第二笔。",
    ),
    (
        Scene::Refunded,
        "order.refunded is no second payment: never ship on it. Answer 2xx, and stop or recall the shipment.",
        "order.refunded 不是再次付款：不要因它发货。应答 2xx，并拦截或追回货物。",
    ),
    (
        Scene::RefundedFirst,
        "Events may arrive in another order. Remember that the order is refunded, and do not let order.paid with a \
             lower version undo it.",
        "事件可能乱序到达。记住订单已退款，不要让 version 更低的 order.paid 推翻它。",
    ),
    (
        Scene::FoundRefunded,
        "Look at data.trade_state before shipping: with REFUND at least part of the money is gone already. Leave \
             it to a person.",
        "发货前先看 data.trade_state：为 REFUND 时至少一部分钱已经退回。交给人工处理。",
    ),
    (
        Scene::DeniedAfterPaid,
        "Once an order is known as paid, ignore every order.unpaid, order.closed and order.failed of it, whatever \
             its version; still answer 2xx.",
        "订单一旦已付款，就忽略它的所有 order.unpaid、order.closed、order.failed，不论 version 大小；仍应答 2xx。",
    ),
    (
        Scene::Denied,
        "A denial has null in every field of the payment, appid and trade_state too: accept null there, ship \
             nothing, answer 2xx.",
        "否定事件的付款字段都是 null，appid 和 trade_state 也可能是 null：要能接受 null，不发货，应答 2xx。",
    ),
    (
        Scene::Nulls,
        "Of a payment only transaction_id, total_fee, fee_type and trade_state are sure to be there. Accept null in \
             all other fields.",
        "付款事件中只有 transaction_id、total_fee、fee_type、trade_state 一定有值，其他字段都要能接受 null。",
    ),
    (
        Scene::UnknownType,
        "New types will come. Answer 2xx to a type that you do not know and do nothing; never treat the rest as paid.",
        "以后会增加新类型。对不认识的类型应答 2xx 且什么都不做；不要把“其他”当作已付款。",
    ),
    (
        Scene::UnknownField,
        "Fields are only ever added: ignore those that you do not know instead of refusing the document.",
        "字段只增不减：忽略不认识的字段，不要因此拒绝整个文档。",
    ),
    (
        Scene::Unregistered,
        "With registered: false nobody compared the amount: compare total_fee with your own price before shipping, \
             or set unregistered = \"hold\" for the merchant (then --skip unregistered).",
        "registered 为 false 表示没有人核对过金额：发货前请用自己的价格核对 total_fee，或为商户设置 \
             unregistered = \"hold\"（然后加 --skip unregistered）。",
    ),
    (
        Scene::RawBody,
        "Verify the signature over the bytes that came, before any framework parses them: JSON that is written \
             again has other bytes.",
        "对收到的原始字节验签，在框架解析之前取得；重新序列化的 JSON 字节会不同。",
    ),
    (
        Scene::WrongSignature,
        "Verify every request: HMAC-SHA256 over webhook-id.webhook-timestamp.body, compared in constant time; answer \
             401 and do nothing when no signature fits.",
        "每个请求都要验签：对 webhook-id.webhook-timestamp.正文 做 HMAC-SHA256，常数时间比较；没有匹配的签名就应答 401，什么都不做。",
    ),
    (
        Scene::Stale,
        "Refuse a webhook-timestamp more than five minutes away from your clock: otherwise whoever recorded a request \
             can send it again for ever.",
        "拒绝与本机时钟相差超过五分钟的 webhook-timestamp：否则录下请求的人可以永远重放。",
    ),
    (
        Scene::Rotation,
        "webhook-signature may hold several signatures with blanks between them: one that fits is enough.",
        "webhook-signature 里可能有多个以空格分隔的签名：有一个匹配即可。",
    ),
    (
        Scene::Burst,
        "Answer when the event is stored and work later if work is slow; answer 429 or 503 when there is too much, \
             never 2xx for what was not stored.",
        "事件落库即应答，慢的工作放到之后；忙不过来时应答 429 或 503，没有落库绝不应答 2xx。",
    ),
];

/// A scene's row. A test looks every scene up.
fn of(rows: &[(Scene, &str, &str)], scene: Scene) -> Text {
    let row = rows.iter().find(|(found, ..)| *found == scene);
    row.map_or_else(Text::default, |(_, en, zh)| Text::new(*en, *zh))
}

/// What has to be the case in the end.
pub fn expected(shipped: Shipped, is_forged: bool) -> Text {
    let words = times(shipped.min, shipped.max);
    if is_forged {
        return Text::new(format!("all refused, {}", words.en), format!("全部拒绝，{}", words.zh));
    }
    words
}

fn times(min: u64, max: u64) -> Text {
    match (min, max) {
        (0, 0) => Text::new("not shipped", "不发货"),
        (1, 1) => Text::new("shipped once", "发货 1 次"),
        (0, 1) => Text::new("shipped at most once", "至多发货 1 次"),
        _ => Text::new(format!("shipped {min} to {max} times"), format!("发货 {min} 至 {max} 次")),
    }
}

/// How often something was shipped.
pub fn shipped(count: u64) -> Text {
    match count {
        0 | 1 => times(count, count),
        _ => Text::new(format!("shipped {count} times"), format!("发货 {count} 次")),
    }
}

/// One word for the judgement.
pub fn verdict(verdict: Verdict) -> Text {
    match verdict {
        Verdict::Passed => Text::new("passed", "通过"),
        Verdict::Failed => Text::new("FAILED", "失败"),
        Verdict::AnswersOnly => Text::new("answers only", "仅看应答"),
        Verdict::NotJudged => Text::new("not judged", "未判定"),
    }
}

/// One thing that was wrong.
pub fn fault(fault: &Fault) -> Text {
    match fault {
        Fault::Shipped { times, orders, example } => {
            let seen = shipped(*times);
            Text::new(
                format!("{orders} orders {}, such as {example}", seen.en),
                format!("{orders} 个订单{}，例如 {example}", seen.zh),
            )
        }
        Fault::Untaken(untaken) => {
            let hint = hint(&untaken.why);
            Text::new(
                format!(
                    "{} was not taken after {} tries: {}{}",
                    untaken.kind, untaken.tries, untaken.why, hint.en
                ),
                format!("{} 发送 {} 次仍未被接受：{}{}", untaken.kind, untaken.tries, untaken.why, hint.zh),
            )
        }
        Fault::Believed(forgery) => {
            let what = forged(*forgery);
            Text::new(format!("answered 2xx to {}", what.en), format!("对{}应答了 2xx", what.zh))
        }
    }
}

/// What an answer often means.
fn hint(why: &str) -> Text {
    match why.strip_prefix("HTTP ") {
        Some("401" | "403") => {
            Text::new(" (does it verify with this very secret?)", "（它验签用的是这个密钥吗？）")
        }
        Some("404" | "405") => Text::new(" (is this the right path?)", "（路径正确吗？）"),
        Some("410") => {
            Text::new(" (Paybell would never send it anything again)", "（Paybell 将不再向它发送任何事件）")
        }
        Some("419") => Text::new(" (exempt the path from CSRF checks)", "（请让该路径免除 CSRF 检查）"),
        Some(status) if status.starts_with('3') => Text::new(
            " (redirects are not followed: give the address they lead to)",
            "（不跟随重定向：请给出最终地址）",
        ),
        _ => Text::default(),
    }
}

fn forged(forgery: Forgery) -> Text {
    match forgery {
        Forgery::OtherSecret => Text::new("a signature made with another secret", "用别的密钥签的名"),
        Forgery::ChangedBody => Text::new("a body changed after signing", "签名后被改的正文"),
        Forgery::ChangedId => Text::new("a webhook-id changed after signing", "签名后被改的 webhook-id"),
        Forgery::NoSignature => Text::new("a webhook without a signature", "没有签名的 webhook"),
        Forgery::TenMinutesOld => Text::new("a webhook that is ten minutes old", "十分钟前的 webhook"),
        Forgery::TenMinutesAhead => Text::new("a webhook from ten minutes ahead", "十分钟后的 webhook"),
    }
}
