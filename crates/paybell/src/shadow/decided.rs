//! Our side of the comparison, over the private API: every payment that was decided, told or withheld, from the event
//! log; and what is known of orders that the handler says it saw.

use std::collections::BTreeSet;

use paybell_core::Timestamp;
use serde_json::Value;

use super::{
    Payment,
    compare::{Finding, Kind, Report},
};
use crate::{
    api::{Api, escaped},
    command::rows::{cell, entries},
    error::Error,
};

/// Rows of a page: as many as the API gives.
const PAGE_ROWS: &str = "1000";

/// More payments than a machine that makes reports should hold at once.
const PAYMENTS_MAX: usize = 5_000_000;

/// Strange orders that are asked for one by one.
const ASKED_MAX: usize = 1_000;

/// Every payment in the log. What lies outside the period is kept too: a row about it is not strange.
pub async fn payments(api: &Api, mch_id: Option<&str>) -> Result<Vec<Payment>, Error> {
    let mut payments = Vec::new();
    for kind in ["order.paid", "order.mismatch"] {
        let mut after: Option<String> = None;
        loop {
            let query = [
                ("after", after.as_deref()),
                ("type", Some(kind)),
                ("mch_id", mch_id),
                ("shadow", Some("include")),
                ("limit", Some(PAGE_ROWS)),
            ];
            let page = api.get("/v1/events", &query).await?;
            let events = entries(&page, "events").iter().filter_map(|entry| entry.get("event"));
            payments.extend(events.filter_map(payment));
            if payments.len() > PAYMENTS_MAX {
                return Err(Error::Usage(format!(
                    "more than {PAYMENTS_MAX} payments in the log: name one merchant (--mch-id)"
                )));
            }
            if page.get("has_more") != Some(&Value::Bool(true)) {
                break;
            }
            after = Some(cell(&page, "next"));
        }
    }
    Ok(once_each(payments))
}

/// The merchants of which anything is known: those of the payments, and of the orders on the first page, where there
/// may be no payment yet.
async fn merchants(api: &Api, payments: &[Payment], mch_id: Option<&str>) -> Result<BTreeSet<String>, Error> {
    if let Some(mch_id) = mch_id {
        return Ok(BTreeSet::from([mch_id.to_owned()]));
    }
    let page = api.get("/v1/orders", &[("limit", Some(PAGE_ROWS))]).await?;
    let of_orders = entries(&page, "orders").iter().map(|order| cell(order, "mch_id"));
    Ok(payments.iter().map(|payment| payment.mch_id.clone()).chain(of_orders).collect())
}

/// Asks what is known of the orders that the handler saw and WeChat was not known to have taken a payment for. A
/// payment whose event is no longer kept is no finding. How many are too many to ask about is told in the report.
pub async fn look_up_strange(
    api: &Api,
    payments: &[Payment],
    mch_id: Option<&str>,
    report: &mut Report,
) -> Result<(), Error> {
    if report.count(Kind::NotPaid) == 0 {
        return Ok(());
    }
    report.not_asked = report.count(Kind::NotPaid).saturating_sub(ASKED_MAX);
    let all = merchants(api, payments, mch_id).await?;
    let strange = report.findings.iter_mut().filter(|finding| finding.kind == Kind::NotPaid);
    for finding in strange.take(ASKED_MAX) {
        let Some(order) = &finding.out_trade_no else { continue };
        let named: BTreeSet<String> = finding.seen.iter().filter_map(|row| row.mch_id.clone()).collect();
        let mut state = "unknown".to_owned();
        for mch_id in if named.is_empty() { &all } else { &named } {
            let path = format!("/v1/orders/{}/{}", escaped(mch_id), escaped(order));
            // Another merchant's order may have the same number: the paid one counts.
            if let Some(record) = api.find(&path).await?
                && !is_paid(&state)
            {
                state = cell(&record, "state");
            }
        }
        finding.state = Some(state);
    }
    let is_unpaid = |finding: &Finding| !finding.state.as_deref().is_some_and(is_paid);
    report.findings.retain(|finding| finding.kind != Kind::NotPaid || is_unpaid(finding));
    Ok(())
}

fn is_paid(state: &str) -> bool {
    matches!(state, "paid" | "refunded")
}

/// `None` for an event that is about no payment of its own.
fn payment(event: &Value) -> Option<Payment> {
    let data = event.get("data")?;
    let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let mismatch = text("mismatch");
    if mismatch.as_deref() == Some("second_transaction") {
        return None;
    }
    let time = |text: &str| Timestamp::parse_rfc3339(text).ok();
    let learned_at = time(event.get("time")?.as_str()?)?;
    Some(Payment {
        mch_id: text("mch_id")?,
        out_trade_no: text("out_trade_no")?,
        transaction_id: text("transaction_id")?,
        total_fee: data.get("total_fee")?.as_i64()?,
        paid_at: text("paid_at").and_then(|text| time(&text)).unwrap_or(learned_at),
        learned_at,
        learned_by: text("learned_by").unwrap_or_default(),
        mismatch,
    })
}

/// One payment may have several events: withheld and told, mismatch and paid after a person accepted it. The first is
/// when it was known; that it was paid wins over that it was held back.
fn once_each(mut payments: Vec<Payment>) -> Vec<Payment> {
    let key = |payment: &Payment| (payment.mch_id.clone(), payment.out_trade_no.clone(), payment.learned_at);
    payments.sort_by_cached_key(key);
    let mut once: Vec<Payment> = Vec::with_capacity(payments.len());
    for payment in payments {
        match once.last_mut() {
            Some(last) if last.mch_id == payment.mch_id && last.out_trade_no == payment.out_trade_no => {
                last.mismatch = last.mismatch.take().filter(|_| payment.mismatch.is_some());
            }
            _ => once.push(payment),
        }
    }
    once.sort_by_key(|payment| payment.paid_at);
    once
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, order: &str, second: u8, more: Value) -> Value {
        let mut data = json!({
            "mch_id": "1", "out_trade_no": order, "transaction_id": "42", "total_fee": 100,
            "paid_at": "2026-11-20T12:00:00+08:00", "learned_by": "poll",
        });
        data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "type": kind, "time": format!("2026-11-20T12:00:{second:02}+08:00"), "data": data })
    }

    #[test]
    fn a_payment_with_several_events_is_one_payment_known_since_the_first() {
        let events = [
            event("order.mismatch", "A", 9, json!({ "mismatch": "amount" })),
            event("order.paid", "A", 30, json!({})),
            event("order.paid", "B", 5, json!({ "shadow": true })),
            event("order.paid", "B", 40, json!({})),
            event("order.mismatch", "B", 41, json!({ "mismatch": "second_transaction" })),
            event("order.mismatch", "C", 9, json!({ "mismatch": "amount" })),
        ];
        let payments = once_each(events.iter().filter_map(payment).collect());
        let told: Vec<_> = payments
            .iter()
            .map(|payment| {
                (payment.out_trade_no.as_str(), payment.learned_at.rfc3339(), payment.mismatch.as_deref())
            })
            .collect();
        let second = |second: &str| format!("2026-11-20T12:00:{second}+08:00");
        assert_eq!(
            told,
            [("A", second("09"), None), ("B", second("05"), None), ("C", second("09"), Some("amount"))]
        );
    }
}
