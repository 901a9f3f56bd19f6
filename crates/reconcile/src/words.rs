//! What each kind of difference means, and what to do, for people: in English and Chinese.

use wechat_pay::error_code::Explanation;

use crate::difference::Kind;

impl Kind {
    /// A short name for tables, in English and Chinese.
    #[must_use]
    pub fn names(self) -> [&'static str; 2] {
        match self {
            Kind::PaymentUnknownHere => ["payment only in the bill", "仅账单有的支付"],
            Kind::PaymentBehindHere => ["paid by the bill, not paid here", "账单已支付，本地未支付"],
            Kind::PaymentHeldHere => ["payment waits for a person", "支付待人工处理"],
            Kind::SecondPayment => ["second payment of an order", "同一订单重复支付"],
            Kind::PaymentOnlyHere => ["payment only here", "仅本地有的支付"],
            Kind::Amount => ["amount differs", "金额不符"],
            Kind::Currency => ["currency differs", "币种不符"],
            Kind::DuplicateRow => ["row comes twice", "账单行重复"],
            Kind::RefundUnknownHere => ["refund only in the bill", "仅账单有的退款"],
            Kind::RefundBehindHere => ["refunded by the bill, not yet here", "账单已退款，本地未完成"],
            Kind::RefundAmount => ["refund's amount differs", "退款金额不符"],
            Kind::RefundState => ["refund's state differs", "退款状态不符"],
            Kind::Reversed => ["reversed at WeChat, paid here", "微信已撤销，本地已支付"],
            Kind::ForeignRow => ["row is no order of this merchant", "不属于本商户的行"],
            Kind::OtherDay => ["row of another day", "不属于当日的行"],
            Kind::UnknownState => ["state is not known", "未知的交易状态"],
            Kind::Totals => ["bill's totals are not its rows", "账单汇总与明细不符"],
        }
    }

    /// What it means, and what to do.
    #[must_use]
    pub fn explanation(self) -> Explanation {
        let [cause, remedy, cause_zh, remedy_zh] = match self {
            Kind::PaymentUnknownHere
            | Kind::PaymentBehindHere
            | Kind::PaymentHeldHere
            | Kind::SecondPayment
            | Kind::PaymentOnlyHere
            | Kind::Amount
            | Kind::Currency => of_payment(self),
            Kind::RefundUnknownHere
            | Kind::RefundBehindHere
            | Kind::RefundAmount
            | Kind::RefundState
            | Kind::Reversed => of_money_back(self),
            Kind::DuplicateRow | Kind::ForeignRow | Kind::OtherDay | Kind::UnknownState | Kind::Totals => {
                of_row(self)
            }
        };
        Explanation { cause, remedy, cause_zh, remedy_zh }
    }
}

fn of_payment(kind: Kind) -> [&'static str; 4] {
    match kind {
        Kind::PaymentUnknownHere => [
            "WeChat took the money, and nothing is known of the order here",
            "Inside the merchant's scope WeChat is asked and an event follows; otherwise find the order by its number and ship or refund",
            "微信已收款，本地没有该订单的任何记录",
            "在商户范围内会向微信核实并发出事件；否则请按订单号查找，发货或退款",
        ],
        Kind::PaymentBehindHere => [
            "The order is known here, and its payment was never learned",
            "WeChat is asked and an event follows; if this comes often, the notify URL does not work: paybell doctor",
            "本地有该订单，但一直不知道它已支付",
            "会向微信核实并发出事件；若经常出现，说明通知地址不通：运行 paybell doctor",
        ],
        Kind::PaymentHeldHere => [
            "The payment does not fit what was registered, so no order.paid was told",
            "Look at the order and accept or reject it: paybell order show",
            "支付与登记信息不符，未发出 order.paid",
            "查看订单后接受或拒绝：paybell order show",
        ],
        Kind::SecondPayment => [
            "One order number was paid under two transaction_ids",
            "Refund one of the two payments",
            "同一商户订单号下有两笔微信支付",
            "请退还其中一笔",
        ],
        Kind::PaymentOnlyHere => [
            "The payment is held as made on that day, and the bill does not have it",
            "Ask WeChat (paybell order check); compare the day's bill of the merchant platform before anything is shipped",
            "本地记录为当日支付，但账单中没有",
            "向微信查询（paybell order check），并与商户平台当日账单核对后再发货",
        ],
        Kind::Amount => [
            "The order's amount in the bill is not what is held here",
            "Compare with the merchant platform; refund or collect what is missing",
            "账单中的订单金额与本地不一致",
            "与商户平台核对，多退少补",
        ],
        _ => [
            "The order's currency in the bill is not what is held here",
            "Compare with the merchant platform before the amount is booked",
            "账单中的币种与本地不一致",
            "入账前请与商户平台核对",
        ],
    }
}

fn of_money_back(kind: Kind) -> [&'static str; 4] {
    match kind {
        Kind::RefundUnknownHere => [
            "Money went back, and nothing is known of this refund here; refunds made in the merchant platform look like this",
            "Take it into the order; nothing is told by itself",
            "已有退款，但本地不知道该笔退款；在商户平台手工退款会出现这种情况",
            "请在业务系统中登记；系统不会自动处理",
        ],
        Kind::RefundBehindHere => [
            "The bill has the refund as done, and it is still under way here",
            "Wait for the next look; if it stays, ask WeChat with the refund's number",
            "账单显示退款成功，本地仍在处理中",
            "等待下一次查询；若一直如此，用退款单号向微信查询",
        ],
        Kind::RefundAmount => [
            "Another amount went back than is held here",
            "Compare with the merchant platform and correct the order",
            "实际退款金额与本地不一致",
            "与商户平台核对并更正订单",
        ],
        Kind::RefundState => [
            "One side has the refund as done, the other as not made",
            "Ask WeChat with the refund's number before the money is sent again",
            "一方显示退款成功，另一方显示未退款",
            "再次退款前请用退款单号向微信查询",
        ],
        _ => [
            "The payment was reversed at WeChat, and the order is held as paid",
            "Stop the goods; take the reversal into the order",
            "微信侧已撤销该支付，本地仍为已支付",
            "停止发货，并在业务系统中登记撤销",
        ],
    }
}

fn of_row(kind: Kind) -> [&'static str; 4] {
    match kind {
        Kind::DuplicateRow => [
            "The bill has the same payment or refund more than once",
            "Download the bill again; if it stays, ask WeChat before booking it twice",
            "账单中同一笔支付或退款出现多次",
            "重新下载账单；若仍如此，入账前请咨询微信支付",
        ],
        Kind::ForeignRow => [
            "The row's merchant number or order number is none of this merchant",
            "Make sure that it is this merchant's bill",
            "该行的商户号或订单号不属于本商户",
            "请确认这是本商户的账单",
        ],
        Kind::OtherDay => [
            "The row lies more than five minutes outside the bill's day",
            "Make sure that it is the right day's bill",
            "该行的交易时间超出账单日期五分钟以上",
            "请确认账单日期",
        ],
        Kind::UnknownState => [
            "The row has a state that this version does not know",
            "Look at it in the merchant platform, and tell the developers",
            "该行的交易状态未知",
            "在商户平台查看，并反馈给开发者",
        ],
        _ => [
            "The bill's last line does not say what its rows add up to",
            "Download the bill again and book nothing on it until the totals fit",
            "账单最后一行的汇总与明细之和不一致",
            "重新下载账单，汇总一致之前不要据此入账",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_explained_in_both_languages_and_by_itself() {
        let mut said = std::collections::HashSet::new();
        for kind in Kind::ALL {
            let words = kind.explanation();
            let [name, name_zh] = kind.names();
            assert!([words.cause, words.remedy, name].iter().all(|text| text.is_ascii()), "{kind:?}");
            let chinese = [words.cause_zh, words.remedy_zh, name_zh];
            assert!(chinese.iter().all(|text| !text.is_ascii()), "{kind:?}");
            for text in [words.cause, words.cause_zh, words.remedy, words.remedy_zh, name, name_zh] {
                assert!(said.insert(text), "{kind:?} says what another says: {text}");
            }
        }
    }
}
