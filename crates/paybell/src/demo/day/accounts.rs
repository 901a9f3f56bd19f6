//! The accounts of the day, three times: WeChat's truth, the events that were told, and the bill as Paybell compared it.
//! They agree to the fen, or the difference is named. Reads all three, changes none.

use std::collections::{BTreeMap, BTreeSet};

use paybell_core::event::{Event, EventType, LearnedBy};
use serde_json::Value;
use simulator::{BillTotals, Control, RefundState, RefundTruth, Stats, Truth};

use super::script::Script;
use crate::{
    api::Api,
    demo::{
        plan::MCH_ID,
        table::{row, yuan},
        verdict::Evidence,
    },
    error::Error,
};

/// What the accounts stand on.
pub struct Accounts {
    /// The orders and their events.
    evidence: Evidence,
    refunds: Vec<RefundTruth>,
    /// What the shop asked to have back.
    asked: BTreeMap<String, u64>,
    billed: BillTotals,
    /// The bill's own sums, and its differences, as Paybell shows them after everything was told.
    bill: Value,
    /// `bill.reconciled` events.
    bills_told: usize,
}

/// Of one side of the accounts.
struct Side {
    count: usize,
    fen: u64,
}

impl Side {
    fn of(amounts: impl Iterator<Item = u64>) -> Self {
        amounts
            .fold(Side { count: 0, fen: 0 }, |side, fen| Side { count: side.count + 1, fen: side.fen + fen })
    }
}

impl Accounts {
    /// Reads the truth, the log and the bill.
    pub async fn collect(
        script: &Script,
        control: &Control,
        paybell: &Api,
        (day, bill): (&str, &Value),
    ) -> Result<Self, Error> {
        let mut evidence = Evidence::collect(control, paybell, None).await?;
        let bills_told = evidence.log.iter().filter(|event| event.kind == EventType::BillReconciled).count();
        evidence.log.retain(|event| event.order().is_some());
        let billed = control.bill_totals(MCH_ID, &day.replace('-', ""));
        let asked = script.refunds.iter().map(|one| (one.out_refund_no.clone(), one.refund_fee)).collect();
        Ok(Self {
            evidence,
            refunds: control.refund_truths(),
            asked,
            billed: billed.map_err(|error| Error::Failed(error.to_string()))?,
            bill: bill.clone(),
            bills_told,
        })
    }

    /// Everything that does not agree.
    pub fn problems(&self) -> Vec<String> {
        let verdict = self.evidence.judge();
        let mut problems = verdict.problems;
        problems.extend(verdict.lost.iter().map(|order| format!("{order}: paid, but there is no event")));
        problems.extend(self.refund_problems());
        let mut equal = |what: &str, [truth, told]: [u64; 2]| {
            if truth != told {
                problems.push(format!("{what}: {truth} at WeChat, {told} by Paybell"));
            }
        };
        let (paid, told) = (self.paid(), self.told(EventType::Paid));
        equal("fen paid, by events", [paid.fen, told.fen]);
        equal("fen paid, by the bill", [paid.fen, self.sum("gross")]);
        let (back, told_back) = (self.gone_back(), self.told(EventType::RefundSucceeded));
        equal("fen that went back, by events", [back.fen, told_back.fen]);
        equal("fen that went back, by the bill", [back.fen, self.sum("refunds")]);
        equal("rows of the bill", [self.billed.rows, self.number("/result/rows")]);
        let net = self.sum("gross").saturating_sub(self.sum("refunds")).saturating_sub(self.sum("fees"));
        equal("net, by gross less refunds less fees", [net, self.sum("net")]);
        equal("differences that are left", [0, self.differences()]);
        equal("results of the bill, told", [2, u64::try_from(self.bills_told).unwrap_or(u64::MAX)]);
        problems
    }

    /// Each that was asked for went back once and was told once, and nothing else went back.
    fn refund_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let truths: BTreeMap<&str, &RefundTruth> =
            self.refunds.iter().map(|refund| (refund.out_refund_no.as_str(), refund)).collect();
        for (number, fee) in &self.asked {
            match truths.get(number.as_str()) {
                Some(refund) if refund.refund_fee == *fee => {}
                Some(refund) => {
                    problems.push(format!("{number}: {fee} fen asked, {} went back", refund.refund_fee))
                }
                None => problems.push(format!("{number}: asked for, and WeChat knows nothing of it")),
            }
        }
        let strangers = truths.keys().filter(|number| !self.asked.contains_key(**number));
        problems.extend(strangers.map(|number| format!("{number}: went back, and nobody asked")));
        let mut told = BTreeSet::new();
        for event in self.of_kind(EventType::RefundSucceeded) {
            let refund = event.order().and_then(|data| data.refund.as_ref());
            let number = refund.map(|refund| refund.out_refund_no.as_str()).unwrap_or_default();
            if !told.insert(number) {
                problems.push(format!("{number}: told twice"));
            }
        }
        let is_untold = |refund: &&RefundTruth| !told.contains(refund.out_refund_no.as_str());
        let untold = self.refunds.iter().filter(is_untold);
        problems.extend(
            untold.map(|refund| format!("{}: went back, but there is no event", refund.out_refund_no)),
        );
        problems
    }

    /// For people.
    pub fn table(&self, day: &str) -> String {
        let amounts = |side: &Side| yuan(i64::try_from(side.fen).unwrap_or(i64::MAX));
        let sum = |name: &str| yuan(i64::try_from(self.sum(name)).unwrap_or(i64::MAX));
        let by = |by| self.of_kind(EventType::Paid).filter(|event| event.learned_by() == by).count();
        let (paid, told) = (self.paid(), self.told(EventType::Paid));
        let (back, told_back) = (self.gone_back(), self.told(EventType::RefundSucceeded));
        let Stats { forgeries_sent, forgeries_acknowledged, .. } = self.evidence.stats;
        let refused = forgeries_sent.saturating_sub(forgeries_acknowledged);
        let open = self.evidence.truths.iter().filter(|truth| !truth.paid).count();
        let differences = self.differences();
        [
            row("paid at WeChat", paid.count, &amounts(&paid)),
            row("order.paid events", told.count, &format!("{}, one id for each order", amounts(&told))),
            row("  learned by notification", by(LearnedBy::Notification), ""),
            row(
                "  learned by poll",
                by(LearnedBy::Poll),
                "the notification was lost, or came while Paybell was dead",
            ),
            row("  learned by the bill", by(LearnedBy::Bill), "sold where nobody tells Paybell"),
            row("forged notifications", forgeries_sent, &format!("{refused} refused")),
            row("not paid", open, "no event"),
            row("went back at WeChat", back.count, &amounts(&back)),
            row("refund.succeeded events", told_back.count, &amounts(&told_back)),
            String::new(),
            format!(
                "  bill of {day}: gross {}, refunds {}, fees {}, net {}",
                sum("gross"),
                sum("refunds"),
                sum("fees"),
                sum("net")
            ),
            row("rows of the bill", self.billed.rows, ""),
            row(
                "differences left",
                differences,
                if differences == 0 { "every row agrees with the ledger" } else { "" },
            ),
        ]
        .join("\n")
    }

    fn paid(&self) -> Side {
        Side::of(self.evidence.truths.iter().filter(|truth| truth.paid).map(|truth: &Truth| truth.total_fee))
    }

    fn gone_back(&self) -> Side {
        let done = self.refunds.iter().filter(|refund| refund.refund_status == RefundState::Success);
        Side::of(done.map(|refund| refund.refund_fee))
    }

    fn told(&self, kind: EventType) -> Side {
        let fee = |event: &Event| {
            let data = event.order()?;
            match &data.refund {
                Some(refund) => Some(refund.refund_fee),
                None => data.total_fee,
            }
        };
        Side::of(
            self.of_kind(kind)
                .map(|event| fee(event).and_then(|fee| u64::try_from(fee.get()).ok()).unwrap_or(0)),
        )
    }

    fn of_kind(&self, kind: EventType) -> impl Iterator<Item = &Event> {
        self.evidence.log.iter().filter(move |event| event.kind == kind)
    }

    fn sum(&self, name: &str) -> u64 {
        self.number(&format!("/summary/sums/0/{name}"))
    }

    fn number(&self, pointer: &str) -> u64 {
        self.bill.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    fn differences(&self) -> u64 {
        let counts = self.bill.pointer("/result/counts").and_then(Value::as_object);
        counts.map_or(0, |counts| counts.values().filter_map(Value::as_u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A day without business.
    fn empty() -> Accounts {
        let evidence = Evidence { truths: vec![], stats: Stats::default(), log: vec![], streamed: None };
        let bill = json!({ "result": { "rows": 0, "counts": {} }, "summary": { "sums": [{ "gross": 0, "net": 0 }] } });
        Accounts {
            evidence,
            refunds: vec![],
            asked: BTreeMap::new(),
            billed: BillTotals::default(),
            bill,
            bills_told: 2,
        }
    }

    fn gone_back(number: &str, refund_fee: u64) -> RefundTruth {
        RefundTruth {
            mch_id: MCH_ID.to_owned(),
            out_trade_no: "T1".to_owned(),
            sub_mch_id: None,
            transaction_id: "42".to_owned(),
            out_refund_no: number.to_owned(),
            refund_id: "5".to_owned(),
            refund_fee,
            refund_status: RefundState::Success,
            refund_account: "REFUND_SOURCE_UNSETTLED_FUNDS",
            refund_request_source: "API",
            requested_at: String::new(),
            ended_at: None,
            requests: 1,
            queries: 0,
            notifications_sent: 0,
            notification_acknowledged: false,
        }
    }

    #[test]
    fn nothing_agrees_with_nothing() {
        assert_eq!(empty().problems(), Vec::<String>::new());
    }

    #[test]
    fn every_way_in_which_refunds_disagree_is_named() {
        let mut accounts = empty();
        accounts.refunds = vec![gone_back("R1", 500), gone_back("R2", 70)];
        accounts.asked = [("R1".to_owned(), 400), ("R3".to_owned(), 1)].into();
        let problems = accounts.problems().join("\n");
        for words in [
            "R1: 400 fen asked, 500 went back",
            "R2: went back, and nobody asked",
            "R3: asked for, and WeChat knows nothing of it",
            "R1: went back, but there is no event",
            "fen that went back, by events: 570 at WeChat, 0 by Paybell",
            "fen that went back, by the bill: 570",
        ] {
            assert!(problems.contains(words), "{words:?} in\n{problems}");
        }
    }

    #[test]
    fn a_bill_that_leaves_differences_or_adds_up_wrongly_is_named() {
        let mut accounts = empty();
        accounts.bill = json!({
            "result": { "rows": 3, "counts": { "amount": 1 } },
            "summary": { "sums": [{ "gross": 300, "refunds": 100, "fees": 2, "net": 200 }] },
        });
        accounts.bills_told = 1;
        let problems = accounts.problems().join("\n");
        for words in [
            "fen paid, by the bill: 0 at WeChat, 300 by Paybell",
            "rows of the bill: 0 at WeChat, 3",
            "less fees: 198 at WeChat, 200",
            "differences that are left: 0 at WeChat, 1",
            "results of the bill, told: 2",
        ] {
            assert!(problems.contains(words), "{words:?} in\n{problems}");
        }
    }
}
