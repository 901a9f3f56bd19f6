//! The rare part of a record, as JSON, for engines to keep beside the short fields.
//!
//! A process of an older version may work beside a newer one, and what it does not know of a record is gone with its next
//! write. So a name may be added as it is only where losing it does no harm: a word for people, a count that begins anew.
//! A name that must survive, such as whatever says that money moved or may move, raises the format of the records that
//! carry it, and of no others, as refunds did (`format_of` in the codec of `redis-ledger`): an older process cannot read
//! such a record, leaves it as it is, and a dead letter says so. The embedded engine has one process per file, and a
//! version of its schema. The test below knows every name, so that nobody adds one without having read this.

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::ids::BusinessNo;
use crate::observation::Payment;
use crate::place::Placing;
use crate::record::{Due, Entry, LookAgain, Progress, Record};
use crate::refund::Refund;
use crate::verdict::Verdict;

/// What a record may have beside its short fields.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Detail {
    pub progress: Progress,
    pub look_again: Option<LookAgain>,
    pub verdict: Option<Verdict>,
    pub placing: Option<Box<Placing>>,
    /// The registration's.
    pub business_no: Option<BusinessNo>,
    pub payment: Option<Payment>,
    pub outgoing: Vec<Event>,
    pub due_decided: Option<Due>,
    pub history: Vec<Entry>,
    pub refunds: Vec<Refund>,
    pub order_due: Option<Due>,
}

#[derive(Serialize)]
struct DetailOf<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<&'a Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    look_again: Option<&'a LookAgain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'a Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    placing: Option<&'a Placing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    business_no: Option<&'a BusinessNo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<&'a Payment>,
    #[serde(skip_serializing_if = "<[Event]>::is_empty")]
    outgoing: &'a [Event],
    #[serde(skip_serializing_if = "Option::is_none")]
    due_decided: Option<Due>,
    #[serde(skip_serializing_if = "<[Entry]>::is_empty")]
    history: &'a [Entry],
    #[serde(skip_serializing_if = "<[Refund]>::is_empty")]
    refunds: &'a [Refund],
    #[serde(skip_serializing_if = "Option::is_none")]
    order_due: Option<Due>,
}

impl Detail {
    /// `None` while there is nothing of it.
    pub fn json_of(record: &Record) -> Result<Option<String>, serde_json::Error> {
        let has_progress = record.progress != Progress::default();
        let registration = record.registration.as_ref();
        let business_no = registration.and_then(|registration| registration.business_no.as_ref());
        let has_any = has_progress
            || record.placing.is_some()
            || business_no.is_some()
            || record.look_again.is_some()
            || record.verdict.is_some()
            || record.payment.is_some()
            || !record.outgoing.is_empty()
            || record.due_decided.is_some()
            || !record.history.is_empty()
            || !record.refunds.is_empty()
            || record.order_due.is_some();
        if !has_any {
            return Ok(None);
        }
        let detail = DetailOf {
            progress: has_progress.then_some(&record.progress),
            look_again: record.look_again.as_ref(),
            verdict: record.verdict.as_ref(),
            placing: record.placing.as_deref(),
            business_no,
            payment: record.payment.as_ref(),
            outgoing: &record.outgoing,
            due_decided: record.due_decided,
            history: &record.history,
            refunds: &record.refunds,
            order_due: record.order_due,
        };
        serde_json::to_string(&detail).map(Some)
    }

    /// Reads what [`Detail::json_of`] wrote.
    pub fn of_json(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// Completes a record that has its short fields.
    pub fn put_into(self, record: &mut Record) {
        record.progress = self.progress;
        record.look_again = self.look_again;
        record.verdict = self.verdict;
        record.placing = self.placing;
        if let Some(registration) = &mut record.registration {
            registration.business_no = self.business_no;
        }
        record.payment = self.payment;
        record.outgoing = self.outgoing;
        record.due_decided = self.due_decided;
        record.history = self.history;
        record.refunds = self.refunds;
        record.order_due = self.order_due;
    }
}

#[cfg(test)]
mod tests {
    use serde::de::value::Error;
    use serde::de::{DeserializeOwned, Deserializer, Visitor};
    use serde::forward_to_deserialize_any;

    use super::*;
    use crate::observation::{Coupon, Payment};
    use crate::place::{Offer, Wish};
    use crate::record::{QuickLooks, SeenAs, State};
    use crate::refund::{RefundFacts, RefundRequest, Refusal};
    use crate::samples::Desk;

    /// Writes down which names a type asks for, and gives it nothing.
    struct Names<'a>(&'a mut Vec<&'static str>);

    impl<'de> Deserializer<'de> for Names<'_> {
        type Error = Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            self.0.extend_from_slice(fields);
            Err(serde::de::Error::custom("only its names are wanted"))
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(serde::de::Error::custom("no struct with names of its own"))
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    fn names_of<T: DeserializeOwned>() -> String {
        let mut names = Vec::new();
        assert!(T::deserialize(Names(&mut names)).is_err());
        names.join(" ")
    }

    /// If this fails, a name of a stored record was added or changed. May a process of the version before drop it from a
    /// record that it writes? If not, raise the format of the records that carry it; then add it here.
    #[test]
    fn every_name_of_a_stored_record_is_known_to_survive_or_to_be_dispensable() {
        let known = [
            (
                names_of::<Detail>(),
                "progress look_again verdict placing business_no payment outgoing due_decided \
                                    history refunds order_due",
            ),
            (names_of::<Progress>(), "notified owed quick attempts looked_at held_until seen_as refund_only"),
            (names_of::<QuickLooks>(), "made at hint"),
            (names_of::<SeenAs>(), "appid sub_mch_id"),
            (names_of::<LookAgain>(), "cause notified"),
            (names_of::<Due>(), "at cause"),
            (names_of::<Entry>(), "at what detail event"),
            (names_of::<Verdict>(), "who at transaction_id total_fee fee_type"),
            (names_of::<Placing>(), "wish since begun_at calling_until called_until offer notify_url"),
            (names_of::<Wish>(), "trade_type parts"),
            (names_of::<Offer>(), "prepay_id code_url mweb_url at payer"),
            (
                names_of::<Payment>(),
                "refunded appid sub_mch_id transaction_id total_fee fee_type cash_fee \
                 settlement_total_fee coupon_fee coupons trade_type bank_type attach paid_at openid",
            ),
            (names_of::<Coupon>(), "id type fee"),
            (
                names_of::<Refund>(),
                "out_refund_no state request known_at facts refusal settled_at owed notified tries \
                 attempts unseen quick denied_at hints in_hand next_at",
            ),
            (
                names_of::<RefundRequest>(),
                "refund_fee total_fee fee_type refund_account refund_desc who asked_at",
            ),
            (
                names_of::<RefundFacts>(),
                "refund_id refund_fee settlement_refund_fee cash_refund_fee coupon_refund_fee account \
                 received_by succeeded_at transaction_id total_fee fee_type appid sub_mch_id",
            ),
            (names_of::<Refusal>(), "code said cause remedy cause_zh remedy_zh"),
        ];
        for (stored, known) in known {
            assert_eq!(stored, known);
        }
        let paid = Desk::in_state(State::Paid, true);
        let event = serde_json::to_value(paid.record().events().next().unwrap()).unwrap();
        let data = event["data"].as_object().unwrap();
        let mut names: Vec<&str> = data.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names.join(" "),
            "appid attach bank_type cash_fee coupon_fee coupons fee_type late learned_by mch_id \
                 out_trade_no paid_at registered settlement_total_fee sub_mch_id total_fee \
                 trade_state trade_type transaction_id version",
            "of an event that is outgoing or in the history"
        );
    }

    #[test]
    fn what_a_reader_does_not_know_is_gone_when_it_writes_the_record_back() {
        let desk = Desk::in_state(State::Paid, true);
        let json = Detail::json_of(desk.record()).unwrap().unwrap();
        let newer = json.replacen('{', "{\"owed_in_gold\":true,", 1);
        let mut read = desk.record().clone();
        Detail::of_json(newer.as_bytes()).unwrap().put_into(&mut read);
        assert_eq!(&read, desk.record(), "it is read");
        assert_eq!(Detail::json_of(&read).unwrap().unwrap(), json, "and this is why the rule stands");
    }
}
