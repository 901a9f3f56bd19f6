//! Bills as WeChat makes them, and a ledger in memory.

use std::io::{self, Cursor, Read, Write as _};

use flate2::{Compression, write::GzEncoder};
use paybell_core::check::Check;
use paybell_core::ids::{MchId, OutTradeNo};
use paybell_core::money::{Currency, Fen};
use paybell_core::record::State;
use paybell_core::time::{Millis, Timestamp};
use reconcile::{
    Carry, Difference, Failure, Held, HeldPage, Kind, Ledger, LedgerError, Listener, PaymentHere, Progress,
    Reconciliation, Scope, Standing, Stopped, Survey, Surveyed, Task, compare, survey,
};
use wechat_pay::bill::BillDate;

pub const MERCHANT: &str = "1900000109";
pub const APP: &str = "wx8888888888888888";
pub const HEADER: &str = "\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注";
const TOTALS: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额";

/// A row of the ALL layout.
#[derive(Clone)]
pub struct Line {
    pub time: String,
    pub appid: &'static str,
    pub mch_id: &'static str,
    pub sub_mch_id: &'static str,
    pub transaction_id: String,
    pub out_trade_no: String,
    pub state: &'static str,
    pub fee_type: &'static str,
    pub fee: i64,
    pub refund: Option<(String, String, i64, &'static str)>,
    /// Hundred-thousandths of a yuan.
    pub handling: i64,
}

/// The payment of order `T{number}` at a time of 2026-11-18.
pub fn paid(number: u32, time: &str, fee: i64) -> Line {
    Line {
        time: format!("2026-11-18 {time}"),
        appid: APP,
        mch_id: MERCHANT,
        sub_mch_id: "0",
        transaction_id: tx(number),
        out_trade_no: format!("T{number}"),
        state: "SUCCESS",
        fee_type: "CNY",
        fee,
        refund: None,
        handling: fee * 6,
    }
}

/// A refund of it.
pub fn refunded(number: u32, refund: &str, fee: i64, status: &'static str) -> Line {
    Line {
        state: "REFUND",
        fee: 0,
        refund: Some((format!("5{refund}"), refund.to_owned(), fee, status)),
        handling: -fee * 6,
        ..paid(number, "20:00:00", 0)
    }
}

pub fn tx(number: u32) -> String {
    format!("42000012342026111800{number:08}")
}

fn yuan(fen: i64) -> String {
    format!("{}{}.{:02}", if fen < 0 { "-" } else { "" }, fen.abs() / 100, fen.abs() % 100)
}

fn fine_yuan(units: i64) -> String {
    format!("{}{}.{:05}", if units < 0 { "-" } else { "" }, units.abs() / 100_000, units.abs() % 100_000)
}

pub fn text_of(lines: &[Line]) -> String {
    let mut text = format!("{HEADER}\r\n");
    for line in lines {
        let none = (String::from("0"), String::from("0"), 0, "");
        let (refund_id, refund_no, refund, status) = line.refund.clone().unwrap_or(none);
        text.push_str(&format!(
            "`{},`{},`{},`{},`,`{},`{},`oAAA,`JSAPI,`{},`OTHERS,`{},`{},`0.00,`{refund_id},`{refund_no},`{},`0.00,`ORIGINAL,`{status},`Tea, green,`order=77,`{},`0.60%,`{},`{},`\r\n",
            line.time, line.appid, line.mch_id, line.sub_mch_id, line.transaction_id, line.out_trade_no, line.state,
            line.fee_type, yuan(line.fee), yuan(refund), fine_yuan(line.handling), yuan(line.fee), yuan(refund),
        ));
    }
    let fee: i64 = lines.iter().map(|line| line.fee).sum();
    let refund: i64 = lines.iter().filter_map(|line| line.refund.as_ref()).map(|refund| refund.2).sum();
    let handling: i64 = lines.iter().map(|line| line.handling).sum();
    text.push_str(&format!(
        "{TOTALS}\r\n`{}.0,`{},`{},`0.00,`{},`{},`{}\r\n",
        lines.len(),
        yuan(fee),
        yuan(refund),
        fine_yuan(handling),
        yuan(fee),
        yuan(refund)
    ));
    text
}

pub fn packed(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

pub fn date() -> BillDate {
    BillDate::parse("2026-11-18").unwrap()
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(&format!("{}+08:00", text.replace(' ', "T"))).unwrap()
}

pub fn task() -> Task {
    Task {
        mch_id: MchId::new(MERCHANT).unwrap(),
        first: date(),
        last: date(),
        scope: Some(Scope::since(at("2026-11-01 00:00:00"))),
        carry: Some(Carry::default()),
        now: at("2026-11-19 10:00:00"),
    }
}

/// A ledger in memory.
#[derive(Default)]
pub struct Memory {
    pub orders: Vec<Standing>,
    /// Orders that the walk leaves out.
    pub hidden: Vec<String>,
    pub knows_no_refunds: bool,
}

impl Memory {
    pub fn of(orders: impl IntoIterator<Item = Standing>) -> Self {
        Self { orders: orders.into_iter().collect(), ..Self::default() }
    }

    /// One that agrees with the payments of these lines.
    pub fn like(lines: &[Line]) -> Self {
        let payments = lines.iter().filter(|line| line.state == "SUCCESS");
        Self::of(payments.map(|line| {
            Standing {
                out_trade_no: line.out_trade_no.clone(),
                ..order(0, State::Paid, line.fee, &line.time.clone())
            }
            .with_transaction(&line.transaction_id)
        }))
    }
}

/// Order `T{number}` with its payment.
pub fn order(number: u32, state: State, fee: i64, time: &str) -> Standing {
    let payment = PaymentHere {
        transaction_id: Some(tx(number)),
        fee: Fen::new(fee).ok(),
        fee_type: Currency::CNY,
        paid_at: Some(at(time)),
    };
    Standing {
        out_trade_no: format!("T{number}"),
        state,
        payment: Some(payment),
        second_transactions: Vec::new(),
        refunds: None,
        by_refund_only: false,
        updated_at: at(time),
    }
}

pub trait Edit {
    fn with_transaction(self, id: &str) -> Self;
}

impl Edit for Standing {
    fn with_transaction(mut self, id: &str) -> Self {
        self.payment.as_mut().unwrap().transaction_id = Some(id.to_owned());
        self
    }
}

impl Ledger for Memory {
    fn held(
        &mut self,
        from: Timestamp,
        until: Timestamp,
        after: Option<&str>,
    ) -> Result<HeldPage, LedgerError> {
        const PAGE: usize = 2;
        let start: usize = after.map_or(0, |after| after.parse().unwrap());
        let held = |order: &Standing| {
            let payment = order.payment.clone()?;
            let paid_at = payment.paid_at.filter(|at| (from..until).contains(at))?;
            let is_shown = order.is_paid() && !self.hidden.contains(&order.out_trade_no);
            is_shown.then(|| Held {
                out_trade_no: order.out_trade_no.clone(),
                transaction_id: payment.transaction_id,
                fee: payment.fee,
                fee_type: payment.fee_type,
                state: order.state,
                paid_at,
            })
        };
        let end = (start + PAGE).min(self.orders.len());
        let page = self.orders[start.min(end)..end].iter().filter_map(held).collect();
        Ok(HeldPage { held: page, next: (end < self.orders.len()).then(|| end.to_string()) })
    }

    fn standings(&mut self, numbers: &[OutTradeNo]) -> Result<Vec<Option<Standing>>, LedgerError> {
        let find = |number: &OutTradeNo| {
            self.orders.iter().find(|order| order.out_trade_no == number.as_str()).cloned()
        };
        Ok(numbers.iter().map(find).collect())
    }

    fn knows_refunds(&self) -> bool {
        !self.knows_no_refunds
    }
}

/// Hears everything.
#[derive(Default)]
pub struct Ears {
    pub heard: Vec<Difference>,
    pub stages: Vec<Progress>,
    pub stop_after: Option<usize>,
}

impl Listener for Ears {
    fn found(&mut self, difference: &Difference) -> Result<(), Stopped> {
        self.heard.push(difference.clone());
        match self.stop_after {
            Some(after) if self.heard.len() >= after => Err(Stopped("enough".to_owned())),
            _ => Ok(()),
        }
    }

    fn progress(&mut self, progress: Progress) -> Result<(), Stopped> {
        self.stages.push(progress);
        Ok(())
    }
}

pub fn opener(bytes: Vec<u8>) -> impl FnMut() -> io::Result<Box<dyn Read>> {
    move || Ok(Box::new(Cursor::new(bytes.clone())) as Box<dyn Read>)
}

pub fn surveyed(bytes: &[u8]) -> Result<Survey, Failure> {
    match survey(&mut opener(bytes.to_vec()), &mut Ears::default())? {
        Surveyed::Whole(survey) => Ok(*survey),
        Surveyed::Refused(refusal) => panic!("{refusal}"),
    }
}

/// Both readings of a packed bill.
pub fn run(
    task: &Task,
    lines: &[Line],
    ledger: &mut dyn Ledger,
) -> Result<(Reconciliation, Vec<Difference>), Failure> {
    let bytes = packed(&text_of(lines));
    let survey = surveyed(&bytes)?;
    let mut ears = Ears::default();
    let result = compare(task, &survey, &mut opener(bytes), ledger, &mut ears)?;
    assert_eq!(result.differences, ears.heard, "the first ones are kept");
    Ok((result, ears.heard))
}

/// The kinds and orders of what was found.
pub fn found(differences: &[Difference]) -> Vec<(Kind, &str)> {
    differences.iter().map(|one| (one.kind, one.out_trade_no.as_str())).collect()
}

pub fn checks(differences: &[Difference]) -> Vec<&Check> {
    differences.iter().filter_map(Difference::check).collect()
}

pub fn minutes(count: i64) -> Millis {
    Millis::seconds(60 * count)
}
