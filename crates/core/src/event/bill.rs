//! What `bill.reconciled` says: a day's bill of one merchant in sums, and in how much it differs from what we know.
//!
//! Counts and sums only; which rows differ stands in the result that the reconciliation keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ContentType, Event, EventType, NAMESPACE, SpecVersion, source_of};
use crate::day::Day;
use crate::ids::MchId;
use crate::money::{Balance, Currency};
use crate::time::Timestamp;

/// A bill that was compared. A field is only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillData {
    pub mch_id: MchId,
    /// The day of the bill, in Beijing.
    pub date: Day,
    /// Rows of the bill.
    pub rows: u64,
    /// By currency, CNY first; zeros on a day without business.
    pub sums: Vec<BillSums>,
    /// Whether the bill's own last row says what its rows add up to.
    pub totals_agree: bool,
    /// Payments that we had not learned of and now ask WeChat about; each becomes an event of its own order.
    pub billed: u64,
    /// How many differences of each kind there are; kinds without any are left out.
    pub differences: BTreeMap<String, u64>,
    /// Reconciled in shadow mode, under an id of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// The sums of one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillSums {
    pub fee_type: Currency,
    /// Rows of payments.
    pub payments: u64,
    /// Rows of refunds.
    pub refunds_made: u64,
    /// What the payers' orders came to.
    pub gross: Balance,
    /// The part of it that WeChat settles: without coupons that nobody paid for.
    pub settled: Balance,
    /// What went back.
    pub refunds: Balance,
    /// WeChat's handling fees, less what it gave back for refunds, rounded to fen.
    pub fees: Balance,
    /// The same exactly, as the bill writes it: `0.01200`.
    pub fees_exact: String,
    /// `settled - refunds - fees`: what reaches the merchant.
    pub net: Balance,
}

impl BillData {
    /// The event that tells it. The same result has the same id, whoever finds it and however often.
    pub fn event(self, time: Timestamp) -> Event {
        Event {
            specversion: SpecVersion::V1,
            id: self.id(),
            source: source_of(&self.mch_id),
            kind: EventType::BillReconciled,
            subject: self.date.to_string(),
            time,
            datacontenttype: ContentType::Json,
            data: self.into(),
        }
    }

    /// The reference is the day and the first 8 bytes of SHA-256 over the data as it is published.
    fn id(&self) -> Uuid {
        // A struct of texts and numbers always has a JSON form.
        let canonical = serde_json::to_vec(self).unwrap_or_default();
        let digest: String =
            Sha256::digest(&canonical).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let kind = EventType::BillReconciled.as_str();
        let name = format!("{}\n\n{kind}\n{}\n{digest}", self.mch_id, self.date);
        Uuid::new_v5(&NAMESPACE, name.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance(fen: i64) -> Balance {
        Balance::new(fen).unwrap()
    }

    fn data() -> BillData {
        BillData {
            mch_id: MchId::new("1900000109").unwrap(),
            date: Day::parse("2026-11-19").unwrap(),
            rows: 3,
            sums: vec![BillSums {
                fee_type: Currency::CNY,
                payments: 2,
                refunds_made: 1,
                gross: balance(3998),
                settled: balance(3898),
                refunds: balance(500),
                fees: balance(20),
                fees_exact: "0.20388".to_owned(),
                net: balance(3378),
            }],
            totals_agree: true,
            billed: 1,
            differences: BTreeMap::from([("payment_unknown_here".to_owned(), 1)]),
            shadow: false,
        }
    }

    #[test]
    fn the_event_is_the_published_example() {
        let event = data().event(Timestamp::parse_rfc3339("2026-11-20T10:00:05+08:00").unwrap());
        assert_eq!(event.id.to_string(), "6027e187-6918-5902-8908-66eebecf3d4e");
        assert_eq!(
            event.to_json(),
            concat!(
                r#"{"specversion":"1.0","id":"6027e187-6918-5902-8908-66eebecf3d4e","source":"/paybell/1900000109","#,
                r#""type":"bill.reconciled","subject":"2026-11-19","time":"2026-11-20T10:00:05+08:00","#,
                r#""datacontenttype":"application/json","data":{"mch_id":"1900000109","date":"2026-11-19","rows":3,"#,
                r#""sums":[{"fee_type":"CNY","payments":2,"refunds_made":1,"gross":3998,"settled":3898,"#,
                r#""refunds":500,"fees":20,"fees_exact":"0.20388","net":3378}],"totals_agree":true,"billed":1,"#,
                r#""differences":{"payment_unknown_here":1}}}"#
            )
        );
        assert_eq!(serde_json::from_str::<Event>(&event.to_json()).unwrap(), event);
    }

    #[test]
    fn the_same_result_is_the_same_event_and_another_is_another() {
        let now = Timestamp::from_millis(0);
        let id = data().event(now).id;
        assert_eq!(data().event(Timestamp::from_millis(1)).id, id, "whenever it is found");
        let healed = BillData { billed: 0, differences: BTreeMap::new(), ..data() };
        let other_day = BillData { date: data().date.plus(1), ..data() };
        let withheld = BillData { shadow: true, ..data() };
        for other in [healed, other_day, withheld] {
            assert_ne!(other.event(now).id, id);
        }
    }
}
