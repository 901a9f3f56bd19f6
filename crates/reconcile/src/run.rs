//! One comparison while it runs: every row against the ledger, and what the ledger holds beyond them.

use std::collections::HashSet;

use paybell_core::ids::OutTradeNo;
use paybell_core::money::{Currency, Fen};
use paybell_core::time::Timestamp;
use wechat_pay::bill::{self, Entry, EntryKind, Opened, Tally};

use crate::carry::{CARRIED_MAX, EDGE, Early};
use crate::compare::{Failure, Listener, Progress, ROWS_BETWEEN, Stage, Task};
use crate::difference::{Difference, Healing, Kind, Side};
use crate::heal;
use crate::judge::{Finding, Row, Sort, fee_of, judge, side_of};
use crate::ledger::{Held, Ledger, PAGE_ROWS};
use crate::met::{Facts, Marked, Met, Print};
use crate::result::{LISTED_MAX, Reconciliation, TotalOff};
use crate::standing::Standing;
use crate::survey::{Source, Survey};

pub(crate) struct Comparison<'a> {
    task: &'a Task,
    ledger: &'a mut dyn Ledger,
    listener: &'a mut dyn Listener,
    met: Met,
    /// Rows that met no payment, to be asked for together.
    odd: Vec<Row>,
    /// What those were: the same row again is a duplicate.
    odd_seen: HashSet<Print>,
    pub result: Reconciliation,
}

impl<'a> Comparison<'a> {
    pub fn new(
        task: &'a Task,
        ledger: &'a mut dyn Ledger,
        listener: &'a mut dyn Listener,
        result: Reconciliation,
    ) -> Self {
        let (met, odd, odd_seen) = (Met::default(), Vec::new(), HashSet::new());
        Self { task, ledger, listener, met, odd, odd_seen, result }
    }

    fn from(&self) -> Timestamp {
        Timestamp::from_millis(self.task.first.begin_ms())
    }

    fn until(&self) -> Timestamp {
        Timestamp::from_millis(self.task.last.end_ms())
    }

    pub fn gather(&mut self) -> Result<(), Failure> {
        let mut prints: Vec<Print> = Vec::new();
        let open = self.task.carry.iter().flat_map(|carry| &carry.open);
        prints.extend(open.map(Print::of_held));
        let mut after: Option<String> = None;
        loop {
            let page = self.ledger.held(self.from(), self.until(), after.as_deref())?;
            prints.extend(page.held.iter().map(Print::of_held));
            let done = u64::try_from(prints.len()).unwrap_or(u64::MAX);
            self.listener.progress(Progress { stage: Stage::Gathering, done, total: None })?;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        self.met = Met::new(prints);
        Ok(())
    }

    pub fn read(&mut self, survey: &Survey, source: &mut dyn Source) -> Result<(), Failure> {
        let Opened::Bill(mut bill) = bill::open(source.open().map_err(Failure::Open)?)? else {
            return Err(Failure::Changed);
        };
        let mut tally = Tally::default();
        let mut rows = 0_u64;
        while let Some(entry) = bill.next_entry()? {
            tally.add(&entry);
            rows += 1;
            self.row(&entry)?;
            if self.odd.len() >= PAGE_ROWS {
                self.judge_odd()?;
            }
            if rows.is_multiple_of(ROWS_BETWEEN) {
                let total = Some(survey.rows);
                self.listener.progress(Progress { stage: Stage::Comparing, done: rows, total })?;
            }
        }
        self.judge_odd()?;
        if tally == survey.tally { Ok(()) } else { Err(Failure::Changed) }
    }

    fn row(&mut self, entry: &Entry<'_>) -> Result<(), Failure> {
        if entry.mch_id != self.task.mch_id.as_str() {
            return self.report_entry(entry, Kind::ForeignRow);
        }
        if entry.kind == EntryKind::Paid {
            let at = Timestamp::from_millis(entry.time_ms);
            if at < self.from() - EDGE || at >= self.until() + EDGE {
                self.report_entry(entry, Kind::OtherDay)?;
            }
            let print = Print::of(Facts {
                out_trade_no: entry.out_trade_no,
                transaction_id: Some(entry.transaction_id),
                fee: fee_of(entry),
                fee_type: entry.fee_type,
                is_held_back: false,
            });
            match self.met.mark(print) {
                Marked::First => {
                    self.result.agreed += 1;
                    return Ok(());
                }
                Marked::Again => return self.report_entry(entry, Kind::DuplicateRow),
                Marked::Absent => {}
            }
        }
        let Ok(number) = OutTradeNo::new(entry.out_trade_no) else {
            return self.report_entry(entry, Kind::ForeignRow);
        };
        let Some(row) = Row::of(entry, number) else {
            return self.report_entry(entry, Kind::UnknownState);
        };
        if self.odd_seen.insert(self.print_of(&row)) {
            self.odd.push(row);
            return Ok(());
        }
        self.report_entry(entry, Kind::DuplicateRow)
    }

    /// What makes two rows the same: not only the order, of which there may be many refunds.
    fn print_of(&self, row: &Row) -> Print {
        let (sort, number) = match &row.sort {
            Sort::Payment => ("payment", &row.transaction_id),
            Sort::Reversal => ("reversal", &row.transaction_id),
            Sort::Refund(refund) => ("refund", &refund.refund_id),
        };
        Print::of(Facts {
            out_trade_no: sort,
            transaction_id: Some(number),
            fee: 0,
            fee_type: "",
            is_held_back: false,
        })
    }

    fn judge_odd(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.odd);
        if rows.is_empty() {
            return Ok(());
        }
        let numbers: Vec<OutTradeNo> = rows.iter().map(|row| row.number.clone()).collect();
        let standings = self.ledger.standings(&numbers)?;
        for (row, standing) in rows.iter().zip(standings) {
            self.judge_row(row, standing.as_ref())?;
        }
        Ok(())
    }

    fn judge_row(&mut self, row: &Row, standing: Option<&Standing>) -> Result<(), Failure> {
        if matches!(row.sort, Sort::Refund(_)) && !self.ledger.knows_refunds() {
            self.result.not_compared += 1;
            return Ok(());
        }
        let mut findings = judge(row, standing);
        // A reversed payment may have no other row.
        if let (Sort::Payment | Sort::Reversal, Some(standing)) = (&row.sort, standing) {
            let was_shown = self.place(row, standing, findings.is_empty());
            // Where WeChat's number is not known here, two payments of one order look alike.
            if was_shown && row.sort == Sort::Payment && findings.is_empty() {
                findings.push(Finding { kind: Kind::SecondPayment, here: Some(side_of(standing)) });
            }
        }
        if findings.is_empty() {
            self.result.agreed += 1;
        }
        for Finding { kind, here } in findings {
            let healing = heal::healing(self.task, kind, row, standing);
            self.report(Difference {
                kind,
                out_trade_no: row.number.as_str().to_owned(),
                sub_mch_id: row.sub_mch_id.clone(),
                appid: Some(row.appid.clone()),
                at: Some(row.at),
                refund: row.refund_numbers(),
                bill: Some(row.side()),
                here,
                healing,
            })?;
        }
        Ok(())
    }

    /// The bill shows the order's payment: it is not missing, on this day or the next. Whether another row did before.
    fn place(&mut self, row: &Row, standing: &Standing, agrees: bool) -> bool {
        let Some(payment) = standing.payment.as_ref().filter(|_| standing.is_paid()) else { return false };
        if payment.transaction_id.as_ref().is_some_and(|id| *id != row.transaction_id) {
            return false;
        }
        let marked = Print::of_standing(standing).map(|print| self.met.mark(print));
        let Some(paid_at) = payment.paid_at else { return marked == Some(Marked::Again) };
        if (self.until()..self.until() + EDGE).contains(&paid_at) {
            if self.result.carry.early.len() < CARRIED_MAX {
                let out_trade_no = standing.out_trade_no.clone();
                let transaction_id = payment.transaction_id.clone();
                self.result.carry.early.push(Early { out_trade_no, transaction_id });
            }
        } else if agrees
            && marked == Some(Marked::Absent)
            && (self.from()..self.until()).contains(&paid_at)
            && standing.updated_at < self.task.now
        {
            self.result.missed_by_walk += 1;
        }
        marked == Some(Marked::Again)
    }

    pub fn find_missing(&mut self) -> Result<(), Failure> {
        if self.met.waiting() == 0 {
            return Ok(());
        }
        let open: Vec<Held> = self.task.carry.iter().flat_map(|carry| carry.open.clone()).collect();
        for open in open {
            let print = Print::of_held(&open);
            if self.met.is_waiting(print) {
                self.met.mark(print);
                self.report_missing(&open)?;
            }
        }
        let total = u64::try_from(self.met.waiting()).ok();
        let (mut after, mut done): (Option<String>, u64) = (None, 0);
        loop {
            let page = self.ledger.held(self.from(), self.until(), after.as_deref())?;
            for held in page.held {
                // Marked at once: a walk may meet an order twice that changes meanwhile.
                let print = Print::of_held(&held);
                if self.met.is_waiting(print) {
                    self.met.mark(print);
                    done += 1;
                    self.missing(held)?;
                }
            }
            self.listener.progress(Progress { stage: Stage::Missing, done, total })?;
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// The rule of midnight: see `carry`.
    fn missing(&mut self, open: Held) -> Result<(), Failure> {
        if open.paid_at >= self.until() - EDGE && self.result.carry.open.len() < CARRIED_MAX {
            self.result.carry.open.push(open);
            return Ok(());
        }
        if open.paid_at < self.from() + EDGE {
            let Some(carry) = &self.task.carry else {
                self.result.unjudged += 1;
                return Ok(());
            };
            let is_it = |early: &Early| {
                early.out_trade_no == open.out_trade_no && early.transaction_id == open.transaction_id
            };
            if carry.early.iter().any(is_it) {
                return Ok(());
            }
        }
        self.report_missing(&open)
    }

    fn report_missing(&mut self, held: &Held) -> Result<(), Failure> {
        self.report(Difference {
            kind: Kind::PaymentOnlyHere,
            out_trade_no: held.out_trade_no.clone(),
            sub_mch_id: None,
            appid: None,
            at: Some(held.paid_at),
            refund: None,
            bill: None,
            here: Some(Side {
                fee: held.fee,
                fee_type: Some(held.fee_type.clone()),
                transaction_id: held.transaction_id.clone(),
                state: Some(held.state.as_str().to_owned()),
            }),
            healing: None,
        })
    }

    pub fn report_totals(&mut self, survey: &Survey) {
        for off in &survey.totals_off {
            self.result.totals_off.push(TotalOff {
                name: off.name.clone(),
                stated: off.stated,
                counted: off.counted,
            });
            *self.result.counts.entry(Kind::Totals).or_default() += 1;
        }
    }

    /// A row that is not compared with anything.
    fn report_entry(&mut self, entry: &Entry<'_>, kind: Kind) -> Result<(), Failure> {
        let state = match entry.kind {
            EntryKind::Paid => "SUCCESS",
            EntryKind::Refund => "REFUND",
            EntryKind::Revoked => "REVOKED",
            EntryKind::Other(state) => state,
        };
        self.report(Difference {
            kind,
            out_trade_no: entry.out_trade_no.to_owned(),
            sub_mch_id: entry.sub_mch_id.map(str::to_owned),
            appid: Some(entry.appid.to_owned()),
            at: Some(Timestamp::from_millis(entry.time_ms)),
            refund: None,
            bill: Some(Side {
                fee: Fen::new(fee_of(entry)).ok(),
                fee_type: Currency::new(entry.fee_type).ok(),
                transaction_id: Some(entry.transaction_id.to_owned()),
                state: Some(state.to_owned()),
            }),
            here: None,
            healing: None,
        })
    }

    fn report(&mut self, difference: Difference) -> Result<(), Failure> {
        let result = &mut self.result;
        *result.counts.entry(difference.kind).or_default() += 1;
        match &difference.healing {
            Some(Healing::Check(_)) => {
                result.checks += 1;
                let fee = difference.bill.as_ref().and_then(|side| side.fee).map_or(0, Fen::get);
                result.checks_fen = result.checks_fen.saturating_add(fee);
            }
            Some(Healing::ReportedOnly(why)) => {
                *result.reported_only.entry(*why).or_default() += 1;
            }
            None => {}
        }
        self.listener.found(&difference)?;
        if result.differences.len() < LISTED_MAX {
            result.differences.push(difference);
        }
        Ok(())
    }
}
