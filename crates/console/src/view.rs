//! How a record looks to services and operators. Field names are contract (`docs/api.md`); lease tokens and counters
//! that only fence writes stay inside.

use jiff::tz::{Offset, TimeZone};
use paybell_core::observation::{Coupon, Openid, Payment};
use paybell_core::place::Placing;
use paybell_core::record::{Entry, Record};
use paybell_core::register::Registration;
use paybell_core::verdict::Verdict;
use paybell_core::{Event, Timestamp};
use serde::Serialize;

use crate::refund_view::RefundView;

/// A record at a moment of the ledger's clock.
#[derive(Debug, Serialize)]
pub(crate) struct RecordView<'a> {
    mch_id: &'a str,
    out_trade_no: &'a str,
    state: &'static str,
    version: u64,
    created_at: String,
    updated_at: String,
    registration: Option<RegistrationView<'a>>,
    placing: Option<PlacingView<'a>>,
    payment: Option<PaymentView<'a>>,
    verdict: Option<VerdictView<'a>>,
    due: Option<DueView>,
    look_again: bool,
    leased: bool,
    leased_until: Option<String>,
    leases_lost: u32,
    notified: bool,
    looked_at: Option<String>,
    transient_answers: u32,
    held_until: Option<String>,
    outgoing: usize,
    refunds: Vec<RefundView<'a>>,
    history: Vec<EntryView<'a>>,
}

#[derive(Debug, Serialize)]
struct RegistrationView<'a> {
    total_fee: i64,
    fee_type: &'a str,
    appid: Option<&'a str>,
    sub_mch_id: Option<&'a str>,
    expires_at: Option<String>,
    business_no: Option<&'a str>,
}

/// How far a placed order came. What the payer needs is given to the shop that places, and to nobody else.
#[derive(Debug, Serialize)]
struct PlacingView<'a> {
    trade_type: &'static str,
    since: String,
    begun_at: String,
    offered_at: Option<String>,
    notify_url: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct PaymentView<'a> {
    refunded: bool,
    transaction_id: Option<&'a str>,
    appid: Option<&'a str>,
    sub_mch_id: Option<&'a str>,
    total_fee: Option<i64>,
    fee_type: &'a str,
    cash_fee: Option<i64>,
    settlement_total_fee: Option<i64>,
    coupon_fee: Option<i64>,
    coupons: &'a [Coupon],
    trade_type: Option<&'a str>,
    bank_type: Option<&'a str>,
    attach: Option<&'a str>,
    paid_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    openid: Option<&'a Openid>,
}

#[derive(Debug, Serialize)]
struct VerdictView<'a> {
    who: &'a str,
    at: String,
    transaction_id: Option<&'a str>,
    total_fee: i64,
    fee_type: &'a str,
}

#[derive(Debug, Serialize)]
struct DueView {
    at: String,
    cause: paybell_core::record::Cause,
}

#[derive(Debug, Serialize)]
struct EntryView<'a> {
    at: String,
    what: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a Event>,
}

impl<'a> RecordView<'a> {
    /// `now` tells whether the lease still runs.
    pub(crate) fn of(record: &'a Record, now: Timestamp) -> Self {
        let lease = record.lease.filter(|lease| lease.until > now);
        Self {
            mch_id: record.key.mch_id.as_str(),
            out_trade_no: record.key.out_trade_no.as_str(),
            state: record.state.as_str(),
            version: record.version,
            created_at: moment(record.created_at),
            updated_at: moment(record.updated_at),
            registration: record.registration.as_ref().map(RegistrationView::of),
            placing: record.placing.as_deref().map(PlacingView::of),
            payment: record.payment.as_ref().map(PaymentView::of),
            verdict: record.verdict.as_ref().map(VerdictView::of),
            due: record.due.map(|due| DueView { at: moment(due.at), cause: due.cause }),
            look_again: record.look_again.is_some(),
            leased: lease.is_some(),
            leased_until: lease.map(|lease| moment(lease.until)),
            leases_lost: record.leases_lost,
            notified: record.progress.notified,
            looked_at: record.progress.looked_at.map(moment),
            transient_answers: record.progress.attempts,
            held_until: record.progress.held_until.map(moment),
            outgoing: record.outgoing.len(),
            refunds: record.refunds.iter().map(|refund| RefundView::of(&record.key, refund)).collect(),
            history: record.history.iter().map(EntryView::of).collect(),
        }
    }
}

impl<'a> RegistrationView<'a> {
    fn of(registration: &'a Registration) -> Self {
        Self {
            total_fee: registration.total_fee.get(),
            fee_type: registration.fee_type.as_str(),
            appid: registration.appid.as_ref().map(|id| id.as_str()),
            sub_mch_id: registration.sub_mch_id.as_ref().map(|id| id.as_str()),
            expires_at: registration.expires_at.map(moment),
            business_no: registration.business_no.as_ref().map(|number| number.as_str()),
        }
    }
}

impl<'a> PlacingView<'a> {
    fn of(placing: &'a Placing) -> Self {
        Self {
            trade_type: placing.wish.trade_type.as_str(),
            since: moment(placing.since),
            begun_at: moment(placing.begun_at),
            offered_at: placing.offer.as_ref().map(|offer| moment(offer.at)),
            notify_url: placing.notify_url.as_deref(),
        }
    }
}

impl<'a> PaymentView<'a> {
    fn of(payment: &'a Payment) -> Self {
        Self {
            refunded: payment.refunded,
            transaction_id: payment.transaction_id.as_ref().map(|id| id.as_str()),
            appid: payment.appid.as_ref().map(|id| id.as_str()),
            sub_mch_id: payment.sub_mch_id.as_ref().map(|id| id.as_str()),
            total_fee: payment.total_fee.map(|fen| fen.get()),
            fee_type: payment.fee_type.as_str(),
            cash_fee: payment.cash_fee.map(|fen| fen.get()),
            settlement_total_fee: payment.settlement_total_fee.map(|fen| fen.get()),
            coupon_fee: payment.coupon_fee.map(|fen| fen.get()),
            coupons: &payment.coupons,
            trade_type: payment.trade_type.as_deref(),
            bank_type: payment.bank_type.as_deref(),
            attach: payment.attach.as_deref(),
            paid_at: payment.paid_at.map(moment),
            openid: payment.openid.as_ref(),
        }
    }
}

impl<'a> VerdictView<'a> {
    fn of(verdict: &'a Verdict) -> Self {
        Self {
            who: &verdict.who,
            at: moment(verdict.at),
            transaction_id: verdict.transaction_id.as_ref().map(|id| id.as_str()),
            total_fee: verdict.total_fee.get(),
            fee_type: verdict.fee_type.as_str(),
        }
    }
}

impl<'a> EntryView<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self { at: moment(entry.at), what: &entry.what, detail: &entry.detail, event: entry.event.as_deref() }
    }
}

/// RFC 3339 in Beijing time with the milliseconds that there are: what is shown can be registered again and is equal.
pub(crate) fn moment(time: Timestamp) -> String {
    let Ok(instant) = jiff::Timestamp::from_millisecond(time.millis()) else { return String::new() };
    let beijing = TimeZone::fixed(Offset::constant(8));
    instant.to_zoned(beijing).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_time_is_the_same_time_when_read_again() {
        for (millis, text) in [
            (1_795_147_205_000, "2026-11-20T12:00:05+08:00"),
            (1_795_147_205_120, "2026-11-20T12:00:05.12+08:00"),
        ] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(moment(time), text);
            assert_eq!(Timestamp::parse_rfc3339(text), Ok(time));
        }
    }
}
