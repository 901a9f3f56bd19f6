//! A shop's own list of orders, as CSV, in the place of the ledger.
//!
//! One line per order. A column that could be fen or yuan is refused, not guessed, and so is a state that is not
//! understood: an audit that misreads its own side proves nothing.

use std::collections::HashMap;

use paybell_core::{Currency, Fen, OutTradeNo, State, Timestamp, time::Millis};
use reconcile::{Held, HeldPage, Ledger, LedgerError, PAGE_ROWS, PaymentHere, Standing};

use crate::{shadow::moment, table};

/// What a column may be called, after folding.
const NAMES: [(Column, &[&str]); 9] = [
    (Column::OutTradeNo, table::ORDER_NUMBER),
    (Column::TransactionId, table::TRANSACTION_ID),
    (Column::Fen, table::FEN),
    (Column::Yuan, table::YUAN),
    (Column::FeeType, &["feetype", "currency", "币种", "货币种类", "货币"]),
    (
        Column::PaidAt,
        &[
            "paidat",
            "paytime",
            "paidtime",
            "paymenttime",
            "timeend",
            "successtime",
            "支付时间",
            "付款时间",
            "支付成功时间",
            "支付完成时间",
            "交易时间",
            "到账时间",
        ],
    ),
    (
        Column::State,
        &[
            "state",
            "status",
            "orderstatus",
            "orderstate",
            "paystatus",
            "状态",
            "订单状态",
            "支付状态",
            "交易状态",
        ],
    ),
    (Column::RefundFen, &["refundfee", "refundfen", "refundedfee", "退款金额分"]),
    (Column::RefundYuan, &["refundyuan", "refundedyuan", "退款金额元"]),
];

/// Names of a refunded amount that do not say whether it is fen or yuan.
const AMBIGUOUS_REFUND: [&str; 4] = ["refund", "refundamount", "refundedamount", "退款金额"];

const PAID: &[&str] = &[
    "paid",
    "success",
    "succeeded",
    "completed",
    "complete",
    "finished",
    "shipped",
    "delivered",
    "paymentsuccess",
    "已支付",
    "支付成功",
    "已付款",
    "付款成功",
    "已完成",
    "交易成功",
    "待发货",
    "已发货",
    "已收货",
    "待收货",
    "成功",
];
const REFUNDED: &[&str] = &[
    "refunded",
    "refund",
    "partiallyrefunded",
    "partialrefund",
    "refunding",
    "已退款",
    "退款成功",
    "部分退款",
    "全额退款",
    "退款中",
    "转入退款",
];
const UNPAID: &[&str] = &[
    "unpaid",
    "notpay",
    "notpaid",
    "pending",
    "closed",
    "cancelled",
    "canceled",
    "expired",
    "failed",
    "created",
    "new",
    "待支付",
    "未支付",
    "待付款",
    "未付款",
    "已取消",
    "已关闭",
    "交易关闭",
    "支付失败",
    "已过期",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    OutTradeNo,
    TransactionId,
    Fen,
    Yuan,
    FeeType,
    PaidAt,
    State,
    RefundFen,
    RefundYuan,
}

/// Words of the shop's own for its states.
#[derive(Debug, Clone, Default)]
pub struct Words {
    pub paid: Vec<String>,
    pub refunded: Vec<String>,
    pub unpaid: Vec<String>,
}

/// A whole list.
#[derive(Debug)]
pub struct Orders {
    orders: Vec<Standing>,
    places: HashMap<String, usize>,
    knows_refunds: bool,
    knows_amounts: bool,
    knows_moments: bool,
}

impl Orders {
    /// Reads a whole list. The error is a sentence with the line.
    pub fn read(bytes: &[u8], words: &Words) -> Result<Self, String> {
        let text = table::decode(bytes)?;
        let mut rows =
            table::rows(&text).into_iter().filter(|(_, cells)| cells.iter().any(|cell| !cell.is_empty()));
        let (_, head) = rows.next().ok_or("the file is empty: its first line must name the columns")?;
        let columns = columns(&head)?;
        let has = |wanted: Column| columns.contains(&Some(wanted));
        let mut list = Self {
            orders: Vec::new(),
            places: HashMap::new(),
            knows_refunds: has(Column::State) || has(Column::RefundFen) || has(Column::RefundYuan),
            knows_amounts: has(Column::Fen) || has(Column::Yuan),
            knows_moments: has(Column::PaidAt),
        };
        let mut lines: Vec<usize> = Vec::new();
        for (line, cells) in rows {
            let order = standing(&Line { line, cells: &cells, columns: &columns }, words)?;
            let place = list.orders.len();
            if let Some(earlier) = list.places.insert(order.out_trade_no.clone(), place) {
                let earlier = lines.get(earlier).copied().unwrap_or_default();
                let number = table::printable(&order.out_trade_no);
                return Err(format!(
                    "line {line}: order {number} is in line {earlier} already; one line per order"
                ));
            }
            lines.push(line);
            list.orders.push(order);
        }
        Ok(list)
    }

    /// What the list does not say, in the words of its columns: it is not compared.
    pub fn lacks(&self) -> Vec<&'static str> {
        let asked = [
            (self.knows_amounts, "total_fee"),
            (self.knows_moments, "paid_at"),
            (self.knows_refunds, "state"),
        ];
        asked.into_iter().filter(|(is_there, _)| !is_there).map(|(_, name)| name).collect()
    }
}

impl Ledger for Orders {
    fn held(
        &mut self,
        from: Timestamp,
        until: Timestamp,
        after: Option<&str>,
    ) -> Result<HeldPage, LedgerError> {
        let start = after.and_then(|after| after.parse::<usize>().ok()).unwrap_or(0);
        let page = self.orders.iter().skip(start).take(PAGE_ROWS);
        let held = page.filter_map(|order| held(order, from, until)).collect();
        let end = start.saturating_add(PAGE_ROWS);
        Ok(HeldPage { held, next: (end < self.orders.len()).then(|| end.to_string()) })
    }

    fn standings(&mut self, numbers: &[OutTradeNo]) -> Result<Vec<Option<Standing>>, LedgerError> {
        let find = |number: &OutTradeNo| {
            self.places.get(number.as_str()).and_then(|place| self.orders.get(*place)).cloned()
        };
        Ok(numbers.iter().map(find).collect())
    }

    fn knows_refunds(&self) -> bool {
        self.knows_refunds
    }
}

/// An order without a moment is taken for one of these days: then it is far from every midnight.
fn held(order: &Standing, from: Timestamp, until: Timestamp) -> Option<Held> {
    let payment = order.payment.as_ref().filter(|_| order.is_paid())?;
    let paid_at = payment.paid_at.unwrap_or(from + Millis(until.since(from).0 / 2));
    (from..until).contains(&paid_at).then(|| Held {
        out_trade_no: order.out_trade_no.clone(),
        transaction_id: payment.transaction_id.clone(),
        fee: payment.fee,
        fee_type: payment.fee_type.clone(),
        state: order.state,
        paid_at,
    })
}

fn columns(head: &[String]) -> Result<Vec<Option<Column>>, String> {
    let folded: Vec<String> = head.iter().map(|name| table::fold(name)).collect();
    let of = |name: &String| {
        NAMES.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(column, _)| *column)
    };
    let found: Vec<Option<Column>> = folded.iter().map(of).collect();
    let listed = table::printable(&head.join(", "));
    for (column, _) in NAMES {
        if found.iter().filter(|found| **found == Some(column)).count() > 1 {
            return Err(format!("line 1: more than one column could be {column:?}; there are: {listed}"));
        }
    }
    if !found.contains(&Some(Column::OutTradeNo)) {
        return Err(format!("line 1: no column out_trade_no (商户订单号); there are: {listed}"));
    }
    let has = |one: Column, other: Column| found.contains(&Some(one)) || found.contains(&Some(other));
    let unsure = |ambiguous: &[&str]| folded.iter().position(|name| ambiguous.contains(&name.as_str()));
    for (is_said, at, names) in [
        (has(Column::Fen, Column::Yuan), unsure(table::AMBIGUOUS), "total_fee, 金额(分), yuan or 金额(元)"),
        (
            has(Column::RefundFen, Column::RefundYuan),
            unsure(&AMBIGUOUS_REFUND),
            "refund_fee, 退款金额(分), refund_yuan or 退款金额(元)",
        ),
    ] {
        if let Some(name) = at.filter(|_| !is_said).and_then(|at| head.get(at)) {
            return Err(format!("line 1: is \"{name}\" fen or yuan? Rename it to {names}"));
        }
    }
    Ok(found)
}

struct Line<'a> {
    line: usize,
    cells: &'a [String],
    columns: &'a [Option<Column>],
}

impl Line<'_> {
    fn cell(&self, wanted: Column) -> Option<&str> {
        let mut pairs = self.columns.iter().zip(self.cells);
        let found = pairs.find(|(column, _)| **column == Some(wanted));
        found.map(|(_, cell)| cell.as_str()).filter(|cell| !cell.is_empty())
    }

    fn amount(&self, fen: Column, yuan: Column) -> Result<Option<Fen>, String> {
        let (text, found, what) = match (self.cell(fen), self.cell(yuan)) {
            (Some(text), _) => (text, text.parse().ok(), "a whole number of fen"),
            (None, Some(text)) => (text, table::fen_of(text), "an amount in yuan with two decimals at most"),
            (None, None) => return Ok(None),
        };
        let amount = found.and_then(|found| Fen::new(found).ok());
        let refused = || format!("line {}: \"{}\" is not {what}", self.line, table::printable(text));
        amount.map(Some).ok_or_else(refused)
    }
}

fn standing(line: &Line<'_>, words: &Words) -> Result<Standing, String> {
    let number = line.line;
    let out_trade_no = line.cell(Column::OutTradeNo).ok_or(format!("line {number}: no order number"))?;
    let paid_at = match line.cell(Column::PaidAt) {
        None => None,
        Some(text) => Some(moment::parse(text).ok_or_else(|| {
            let text = table::printable(text);
            format!("line {number}: \"{text}\" is no time that is understood; write 2026-11-20 12:00:03 or RFC 3339")
        })?),
    };
    let fee_type = match line.cell(Column::FeeType) {
        None => Currency::CNY,
        Some(text) => Currency::new(text).map_err(|error| format!("line {number}: {error}"))?,
    };
    let refund = line.amount(Column::RefundFen, Column::RefundYuan)?.filter(|fee| !fee.is_zero());
    let state = match line.cell(Column::State) {
        None => State::Paid,
        Some(text) => state(text, words).ok_or_else(|| not_understood(number, text))?,
    };
    let state = if state == State::Paid && refund.is_some() { State::Refunded } else { state };
    let payment = PaymentHere {
        transaction_id: line.cell(Column::TransactionId).map(str::to_owned),
        fee: line.amount(Column::Fen, Column::Yuan)?,
        fee_type,
        paid_at,
    };
    Ok(Standing {
        out_trade_no: out_trade_no.to_owned(),
        state,
        payment: (state != State::Pending).then_some(payment),
        second_transactions: Vec::new(),
        refunds: None,
        by_refund_only: false,
        updated_at: Timestamp::from_millis(0),
    })
}

fn not_understood(line: usize, text: &str) -> String {
    let text = table::printable(text);
    format!(
        "line {line}: \"{text}\" is no state that is understood; say what it is with --paid-state, --refunded-state \
         or --unpaid-state \"{text}\""
    )
}

fn state(text: &str, words: &Words) -> Option<State> {
    let is_said = |said: &[String]| said.iter().any(|word| word == text);
    let folded = table::fold(text);
    let is_usual = |usual: &[&str]| usual.contains(&folded.as_str());
    // What the shop says goes before what is usual.
    if is_said(&words.paid) {
        Some(State::Paid)
    } else if is_said(&words.refunded) {
        Some(State::Refunded)
    } else if is_said(&words.unpaid) {
        Some(State::Pending)
    } else if is_usual(PAID) {
        Some(State::Paid)
    } else if is_usual(REFUNDED) {
        Some(State::Refunded)
    } else {
        is_usual(UNPAID).then_some(State::Pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Orders, String> {
        Orders::read(text.as_bytes(), &Words::default())
    }

    #[test]
    fn a_list_in_either_language_says_the_same() {
        let plain = read(
            "out_trade_no,transaction_id,total_fee,paid_at,status\nT1,42,1990,2026-11-18T08:35:41+08:00,paid\n",
        )
        .unwrap();
        let chinese =
            read("\u{feff}商户订单号;微信支付订单号;金额(元);支付时间;状态\r\n`T1;'42;19.9;2026/11/18 08:35:41;已支付\r\n")
                .unwrap();
        assert_eq!(plain.orders, chinese.orders);
        let payment = plain.orders[0].payment.clone().unwrap();
        assert_eq!((payment.fee, payment.fee_type), (Fen::new(1990).ok(), Currency::CNY));
        assert_eq!((plain.orders.len(), plain.lacks().len()), (1, 0));
        assert_eq!(read("order_no\nT1\n").unwrap().lacks(), ["total_fee", "paid_at", "state"]);
    }

    #[test]
    fn states_are_understood_or_refused() {
        let words =
            Words { paid: vec!["2".into()], refunded: vec!["5".into()], unpaid: vec!["paid?".into()] };
        for (text, expected) in [
            ("SUCCESS", State::Paid),
            ("partially_refunded", State::Refunded),
            ("Not Paid", State::Pending),
            ("已取消", State::Pending),
            ("2", State::Paid),
            ("5", State::Refunded),
            ("paid?", State::Pending),
        ] {
            assert_eq!(state(text, &words), Some(expected), "{text}");
        }
        assert_eq!(state("3", &words), None);
        let refused = read("order_no,state\nT1,3\n").unwrap_err();
        assert!(refused.contains("line 2") && refused.contains("--paid-state"), "{refused}");
    }

    #[test]
    fn an_unpaid_order_has_no_payment_and_a_refund_makes_one_refunded() {
        let list = read("order_no,state,refund_fee\nT1,unpaid,\nT2,paid,5\nT3,paid,0\n").unwrap();
        let states: Vec<State> = list.orders.iter().map(|order| order.state).collect();
        assert_eq!(states, [State::Pending, State::Refunded, State::Paid]);
        assert_eq!(list.orders[0].payment, None);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        for (text, words) in [
            ("", "empty"),
            ("total_fee\n1\n", "no column out_trade_no"),
            ("order_no,订单号\n", "more than one"),
            ("order_no,金额\n", "fen or yuan"),
            ("order_no,total_fee,退款金额\n", "refund_yuan"),
            ("order_no,paid_at\nT1,yesterday\n", "line 2: \"yesterday\""),
            ("order_no,total_fee\nT1,19.90\n", "line 2: \"19.90\" is not a whole number"),
            ("order_no,yuan\nT1,19.905\n", "two decimals"),
            ("order_no,total_fee\nT1,-5\n", "line 2"),
            ("order_no\nT1\nT2\nT1\n", "line 4: order T1 is in line 2"),
            ("order_no,currency\nT1,yuan\n", "line 2"),
            ("order_no,total_fee\n,5\n", "line 2: no order number"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn the_walk_shows_paid_orders_of_the_days_only() {
        let mut list = read(
            "order_no,paid_at,state\nT1,2026-11-18 08:00,paid\nT2,2026-11-19 08:00,paid\nT3,,paid\nT4,2026-11-18 08:00,closed\n",
        )
        .unwrap();
        let at = |text| moment::parse(text).unwrap();
        let page = list.held(at("2026-11-18"), at("2026-11-19"), None).unwrap();
        let shown: Vec<_> =
            page.held.iter().map(|held| (held.out_trade_no.as_str(), held.paid_at.rfc3339())).collect();
        let (eight, noon) = ("2026-11-18T08:00:00+08:00".to_owned(), "2026-11-18T12:00:00+08:00".to_owned());
        assert_eq!(shown, [("T1", eight), ("T3", noon)]);
        assert_eq!(page.next, None);
    }
}
