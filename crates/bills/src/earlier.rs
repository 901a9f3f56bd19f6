//! Whether the ledger began after payments of a day, in the place of one that was lost, and what that one told of them:
//! the event log outlives it. Reads the log from its beginning; bounds itself by what the log keeps.

use paybell_core::ports::{Cursor, EventFilter, EventLog, Ledger, LogRead, PAGE_ROWS_MAX};
use paybell_core::time::Millis;
use paybell_core::{Day, MchId, Timestamp};
use reconcile::{EDGE, Earlier, OutOfScope, Reconciliation};

use crate::error::Error;
use crate::work::Hand;

/// Events tell their time in whole seconds.
const GRAIN: Millis = Millis::seconds(1);

/// Which payments are meant, and for whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Concerned<'a> {
    pub mch_id: &'a MchId,
    pub day: Day,
    /// A person asked for the day.
    pub is_asked: bool,
}

/// What an earlier ledger told. `None` where this one has been there all the time, and where it is the first: the log has
/// nothing from before it.
pub(crate) async fn earlier(
    ledger: &dyn Ledger,
    log: &dyn EventLog,
    concerned: Concerned<'_>,
    hand: &Hand,
) -> Result<Option<Earlier>, Error> {
    let Some(began) = ledger.began().await? else { return Ok(None) };
    if began <= concerned.day.begin() - EDGE {
        return Ok(None);
    }
    let mut reading = Reading { began, concerned, is_older: false, earlier: None };
    let mut after = Cursor::START;
    loop {
        if hand.is_stopped() {
            return Err(Error::Stopped);
        }
        let page = match log.read(Some(after), &EventFilter::default(), PAGE_ROWS_MAX).await? {
            LogRead::Page(page) => page,
            LogRead::Gone { oldest } => {
                // What is gone was older still; or the log went on without what was read.
                reading = Reading { is_older: true, earlier: None, ..reading };
                after = oldest;
                continue;
            }
        };
        page.events.iter().for_each(|(_, event)| reading.take(event));
        after = page.next;
        if !page.has_more {
            return Ok(reading.end());
        }
    }
}

struct Reading<'a> {
    began: Timestamp,
    concerned: Concerned<'a>,
    /// Whether the log has, or had, something from before the ledger.
    is_older: bool,
    earlier: Option<Earlier>,
}

impl Reading<'_> {
    fn take(&mut self, event: &paybell_core::Event) {
        self.is_older |= event.time + GRAIN < self.began;
        let new = || Earlier::new(self.began, event.time, self.concerned.is_asked);
        let earlier = self.earlier.get_or_insert_with(new);
        if event.mch_id() == self.concerned.mch_id {
            earlier.add(event);
        }
    }

    fn end(self) -> Option<Earlier> {
        let of_nothing = || Earlier::new(self.began, self.began, self.concerned.is_asked);
        self.is_older.then(|| self.earlier.unwrap_or_else(of_nothing))
    }
}

/// Says which payments wait for a person, and what to do.
pub(crate) fn warn(result: &Reconciliation, Concerned { mch_id, day, .. }: Concerned<'_>) {
    let count = |why| result.reported_only.get(&why).copied().unwrap_or(0);
    let (otherwise, unknown) = (count(OutOfScope::ToldOtherwise), count(OutOfScope::BeforeLedger));
    if otherwise > 0 {
        tracing::warn!(merchant.mch_id = %mch_id, bill.date = %day, payments = otherwise,
            "{otherwise} payments of {day} of {mch_id} were told as a mismatch or a second payment before the ledger was \
             lost, and are not told as paid: look at each (paybell events list) and ship or refund by hand");
    }
    if unknown > 0 {
        tracing::warn!(merchant.mch_id = %mch_id, bill.date = %day, payments = unknown,
            "{unknown} payments of {day} of {mch_id} were made before the ledger began, and the event log does not reach \
             back to them: whether they were told nobody knows, so nothing is told; compare them with your own orders, \
             then have WeChat asked about them: paybell reconcile --date {day} --mch-id {mch_id}");
    }
}
