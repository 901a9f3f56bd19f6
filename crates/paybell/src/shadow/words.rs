//! The report's sentences, in Chinese and English.

use doctor::Language;

use super::compare::Kind;

/// Its name.
pub fn kind(kind: Kind, language: Language) -> &'static str {
    let (english, chinese) = match kind {
        Kind::Missed => ("missed", "漏单"),
        Kind::NotPaid => ("not paid", "未支付"),
        Kind::AmountDiffers => ("amount differs", "金额不符"),
        Kind::TransactionDiffers => ("transaction differs", "交易单号不符"),
        Kind::Mismatch => ("mismatch", "与登记不符"),
        Kind::Late => ("late", "迟到"),
        Kind::Doubled => ("doubled", "重复"),
        Kind::Refused => ("refused", "应答被拒"),
    };
    language.pick(english, chinese)
}

/// What a finding of this kind means, and what to do.
pub fn meaning(kind: Kind, language: Language) -> &'static str {
    let (english, chinese) = match kind {
        Kind::Missed => (
            "paid, and the handler never saw it: ship, or `paybell shadow release` has it told",
            "已支付，旧处理程序从未见到：请人工发货，或用 paybell shadow release 补发",
        ),
        Kind::NotPaid => (
            "the handler saw it, WeChat took no payment: forged, or another merchant's; do not ship",
            "旧处理程序见到了，但微信没有收款：可能是伪造通知或其他商户的单，请勿发货",
        ),
        Kind::AmountDiffers => {
            ("the handler noted another amount than WeChat took", "旧处理程序记录的金额与微信实收不一致")
        }
        Kind::TransactionDiffers => (
            "the handler noted another transaction_id than WeChat has",
            "旧处理程序记录的微信支付订单号与微信不一致",
        ),
        Kind::Mismatch => (
            "the amount is not the registered one: Paybell waits for a person (`paybell order accept|reject`)",
            "金额与登记的不符：Paybell 等待人工处理（paybell order accept|reject）",
        ),
        Kind::Late => ("the handler saw it later than --late allows", "旧处理程序见到的时间超过 --late"),
        Kind::Doubled => (
            "seen more than once, as WeChat may notify: harmful where the handler acts twice",
            "见到不止一次（微信会重复通知）：若旧处理程序重复处理则有害",
        ),
        Kind::Refused => (
            "the notify URL answered something else than 200: WeChat comes again, for 24 h 4 m",
            "回调地址的应答不是 200：微信会在 24 小时 4 分钟内重试",
        ),
    };
    language.pick(english, chinese)
}
