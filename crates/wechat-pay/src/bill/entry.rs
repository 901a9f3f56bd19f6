//! A bill's row as values: which payment, what kind of entry, how much, the refund and the fee.
//!
//! Columns are found by name, once per bill, under every name they had. The payer's openid is left out on purpose;
//! [`super::Row::get`] still has it. Judges nothing: a refund's row is a refund whatever the order says.

use super::amount::{FeeUnits, decimal, fee_units, fen_from_yuan};
use super::{BillError, Row};
use crate::beijing;

/// One row. Amounts are in fen, never negative for orders and refunds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'b> {
    pub kind: EntryKind<'b>,
    /// Unix milliseconds: of the payment, or of the refund in its own row.
    pub time_ms: i64,
    /// Merchant and app: the provider's in provider mode.
    pub appid: &'b str,
    pub mch_id: &'b str,
    /// The sub merchant; `None` for a direct merchant, whose bills say `0`.
    pub sub_mch_id: Option<&'b str>,
    pub transaction_id: &'b str,
    pub out_trade_no: &'b str,
    pub trade_type: &'b str,
    pub bank_type: &'b str,
    /// `CNY` where the bill says nothing.
    pub fee_type: &'b str,
    /// What is settled: the order's amount less coupons that were not paid for. 0 in a refund's row.
    pub settlement_fee: i64,
    pub coupon_fee: i64,
    /// The order's amount, to be compared with the order; `None` in the old layout. 0 in a refund's row.
    pub total_fee: Option<i64>,
    pub refund: Option<EntryRefund<'b>>,
    /// Handling fee in hundred-thousandths of a yuan; negative where it is given back.
    pub handling_fee: FeeUnits,
    pub rate: &'b str,
    pub attach: &'b str,
}

/// The state of the row (交易状态).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind<'b> {
    /// A payment, also if it was refunded later.
    Paid,
    /// A refund, asked for on the bill's day.
    Refund,
    /// Paid by a payer's code, then reversed.
    Revoked,
    Other(&'b str),
}

/// The refund of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryRefund<'b> {
    pub refund_id: &'b str,
    pub out_refund_no: &'b str,
    /// What went back, coupons included as far as they were settled.
    pub refund_fee: i64,
    pub coupon_refund_fee: i64,
    /// What was asked for; `None` in the old layout.
    pub requested_fee: Option<i64>,
    /// `ORIGINAL`, `BALANCE` and others.
    pub channel: &'b str,
    /// `SUCCESS`, `PROCESSING`, `CHANGE`, `FAIL` and others: an open list.
    pub status: &'b str,
    /// Only in bills of type `REFUND`.
    pub success_time_ms: Option<i64>,
}

const TIME: &str = "交易时间";
const APPID: &str = "公众账号ID";
const MCH_ID: &str = "商户号";
const TRANSACTION_ID: &str = "微信订单号";
const OUT_TRADE_NO: &str = "商户订单号";
const STATE: &str = "交易状态";
const SETTLEMENT_FEE: &str = "应结订单金额";
const HANDLING_FEE: &str = "手续费";

/// Where the columns are.
#[derive(Debug, Default)]
pub(super) struct Places {
    time: Option<usize>,
    appid: Option<usize>,
    mch_id: Option<usize>,
    sub_mch_id: Option<usize>,
    transaction_id: Option<usize>,
    out_trade_no: Option<usize>,
    trade_type: Option<usize>,
    state: Option<usize>,
    bank_type: Option<usize>,
    fee_type: Option<usize>,
    settlement_fee: Option<usize>,
    coupon_fee: Option<usize>,
    total_fee: Option<usize>,
    refund_success_time: Option<usize>,
    refund_id: Option<usize>,
    out_refund_no: Option<usize>,
    refund_fee: Option<usize>,
    coupon_refund_fee: Option<usize>,
    requested_fee: Option<usize>,
    refund_channel: Option<usize>,
    refund_status: Option<usize>,
    handling_fee: Option<usize>,
    rate: Option<usize>,
    attach: Option<usize>,
}

impl Places {
    pub(super) fn of(columns: &[String]) -> Self {
        let named = |names: &[&str]| columns.iter().position(|column| names.contains(&column.trim()));
        Self {
            time: named(&[TIME]),
            appid: named(&[APPID]),
            mch_id: named(&[MCH_ID]),
            sub_mch_id: named(&["特约商户号", "子商户号"]),
            transaction_id: named(&[TRANSACTION_ID]),
            out_trade_no: named(&[OUT_TRADE_NO]),
            trade_type: named(&["交易类型"]),
            state: named(&[STATE]),
            bank_type: named(&["付款银行"]),
            fee_type: named(&["货币种类"]),
            settlement_fee: named(&[SETTLEMENT_FEE, "总金额"]),
            coupon_fee: named(&["代金券金额", "代金券或立减优惠金额", "企业红包金额"]),
            total_fee: named(&["订单金额"]),
            refund_success_time: named(&["退款成功时间"]),
            refund_id: named(&["微信退款单号"]),
            out_refund_no: named(&["商户退款单号"]),
            refund_fee: named(&["退款金额"]),
            coupon_refund_fee: named(&["充值券退款金额", "代金券或立减优惠退款金额", "企业红包退款金额"]),
            requested_fee: named(&["申请退款金额"]),
            refund_channel: named(&["退款类型"]),
            refund_status: named(&["退款状态"]),
            handling_fee: named(&[HANDLING_FEE, "返还手续费"]),
            rate: named(&["费率"]),
            attach: named(&["商户数据包"]),
        }
    }
}

/// A row with its bill's places and its line number, for errors.
struct Reader<'r, 'b> {
    row: &'r Row<'b>,
    line: u64,
}

impl<'b> Entry<'b> {
    pub(super) fn read(row: &Row<'b>, places: &Places, line: u64) -> Result<Self, BillError> {
        let read = Reader { row, line };
        let kind = match read.needed(places.state, STATE)? {
            "SUCCESS" => EntryKind::Paid,
            "REFUND" => EntryKind::Refund,
            "REVOKED" => EntryKind::Revoked,
            other => EntryKind::Other(other),
        };
        let time = read.needed(places.time, TIME)?;
        let fee_type = read.text(places.fee_type);
        Ok(Self {
            kind,
            time_ms: beijing::parse_spaced(time).ok_or_else(|| read.malformed(TIME))?,
            appid: read.needed(places.appid, APPID)?,
            mch_id: read.needed(places.mch_id, MCH_ID)?,
            sub_mch_id: Some(read.text(places.sub_mch_id)).filter(|text| !stands_for_nothing(text)),
            transaction_id: read.needed(places.transaction_id, TRANSACTION_ID)?,
            out_trade_no: read.needed(places.out_trade_no, OUT_TRADE_NO)?,
            trade_type: read.text(places.trade_type),
            bank_type: read.text(places.bank_type),
            fee_type: if fee_type.is_empty() { crate::fields::FEE_TYPE_DEFAULT } else { fee_type },
            settlement_fee: match places.settlement_fee {
                Some(_) => read.fen(places.settlement_fee, SETTLEMENT_FEE)?,
                None => return Err(BillError::MissingColumn(SETTLEMENT_FEE)),
            },
            coupon_fee: read.fen(places.coupon_fee, "代金券金额")?,
            total_fee: read.fen_if_there(places.total_fee, "订单金额")?,
            refund: read.refund(places)?,
            handling_fee: fee_units(read.text(places.handling_fee))
                .ok_or_else(|| read.malformed(HANDLING_FEE))?,
            rate: read.text(places.rate),
            attach: read.text(places.attach),
        })
    }
}

impl<'b> Reader<'_, 'b> {
    fn text(&self, place: Option<usize>) -> &'b str {
        place.map_or("", |place| self.row.at(place))
    }

    fn needed(&self, place: Option<usize>, column: &'static str) -> Result<&'b str, BillError> {
        let place = place.ok_or(BillError::MissingColumn(column))?;
        Some(self.row.at(place)).filter(|text| !text.is_empty()).ok_or_else(|| self.malformed(column))
    }

    fn fen(&self, place: Option<usize>, column: &'static str) -> Result<i64, BillError> {
        fen_from_yuan(self.text(place)).ok_or_else(|| self.malformed(column))
    }

    fn fen_if_there(&self, place: Option<usize>, column: &'static str) -> Result<Option<i64>, BillError> {
        place.map(|place| self.fen(Some(place), column)).transpose()
    }

    fn refund(&self, places: &Places) -> Result<Option<EntryRefund<'b>>, BillError> {
        const SUCCESS_TIME: &str = "退款成功时间";
        let refund_id = self.text(places.refund_id);
        if stands_for_nothing(refund_id) {
            return Ok(None);
        }
        let success_time = self.text(places.refund_success_time);
        let success_time_ms = if stands_for_nothing(success_time) {
            None
        } else {
            Some(beijing::parse_spaced(success_time).ok_or_else(|| self.malformed(SUCCESS_TIME))?)
        };
        Ok(Some(EntryRefund {
            refund_id,
            out_refund_no: self.text(places.out_refund_no),
            refund_fee: self.fen(places.refund_fee, "退款金额")?,
            coupon_refund_fee: self.fen(places.coupon_refund_fee, "充值券退款金额")?,
            requested_fee: self.fen_if_there(places.requested_fee, "申请退款金额")?,
            channel: self.text(places.refund_channel),
            status: self.text(places.refund_status),
            success_time_ms,
        }))
    }

    fn malformed(&self, column: &'static str) -> BillError {
        BillError::Value { line: self.line, column }
    }
}

/// A value that does not apply is empty or some zero.
fn stands_for_nothing(text: &str) -> bool {
    decimal(text, 0) == Some(0)
}
