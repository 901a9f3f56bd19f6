//! The registry port: what services and operators write, each one compare-and-set without a lease.

use async_trait::async_trait;
use paybell_core::ids::OrderKey;
use paybell_core::lease::Write;
use paybell_core::place::{self, Step, Stepped};
use paybell_core::ports::{PortError, Registry};
use paybell_core::record::Record;
use paybell_core::refund::{self, RefundApplication, RefundAsked};
use paybell_core::register::{self, Application, Registered};
use paybell_core::verdict::{self, Judged, Judgement};

use crate::change::{Begin, Decided};
use crate::engine::RedisLedger;

#[async_trait]
impl Registry for RedisLedger {
    /// Nearly every registration is the first thing heard of its order: one round trip, unless it names a business order.
    async fn register(&self, key: &OrderKey, application: &Application) -> Result<Registered, PortError> {
        let run = |stored: Option<&_>, now| {
            let (record, registered) = register::register(stored, key, application, &self.inner.cadence, now);
            Decided { write: write_of(record), letter: None, answer: registered }
        };
        let Some(business_no) = &application.business_no else {
            return self.inner.change(key, Begin::Absent, run).await;
        };
        // A mistaken number would lie among those of a business order for months: none is added that would be refused.
        let foreseen = |stored: Option<&_>, now| Decided { write: Write::Keep, ..run(stored, now) };
        let foreseen = self.inner.change(key, Begin::Read, foreseen).await?;
        if !matches!(foreseen, Registered::Added | Registered::Same) {
            return Ok(foreseen);
        }
        self.inner.link(key, business_no).await?;
        self.inner.change(key, Begin::Absent, run).await
    }

    async fn place(&self, key: &OrderKey, step: &Step) -> Result<Stepped, PortError> {
        let run = |stored: Option<&_>, now| {
            let (record, stepped) = place::place(stored, step, now);
            Decided { write: write_of(record), letter: None, answer: stepped }
        };
        self.inner.change(key, Begin::Read, run).await
    }

    async fn judge(&self, key: &OrderKey, judgement: &Judgement) -> Result<Judged, PortError> {
        let run = |stored: Option<&_>, now| {
            let (record, judged) = verdict::judge(stored, judgement, now);
            Decided { write: write_of(record), letter: None, answer: judged }
        };
        self.inner.change(key, Begin::Read, run).await
    }

    async fn refund(&self, key: &OrderKey, asked: &RefundApplication) -> Result<RefundAsked, PortError> {
        let run = |stored: Option<&_>, now| {
            let (record, told) = refund::request(stored, key, asked, now);
            Decided { write: write_of(record), letter: None, answer: told }
        };
        self.inner.change(key, Begin::Read, run).await
    }
}

fn write_of(record: Option<Record>) -> Write {
    record.map_or(Write::Keep, |record| Write::Put(Box::new(record)))
}
