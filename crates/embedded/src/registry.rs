//! The registry port: registrations and rulings, one compare-and-set each.

use async_trait::async_trait;
use paybell_core::ids::OrderKey;
use paybell_core::place::{self, Step, Stepped};
use paybell_core::ports::{PortError, Registry};
use paybell_core::refund::{self, RefundApplication, RefundAsked};
use paybell_core::register::{self, Application, Registered};
use paybell_core::verdict::{self, Judged, Judgement};

use crate::businesses;
use crate::engine::Engine;
use crate::store::Store;

#[async_trait]
impl Registry for Engine {
    async fn register(&self, key: &OrderKey, application: &Application) -> Result<Registered, PortError> {
        let (key, application) = (key.clone(), application.clone());
        let cadence = self.inner.cadence.clone();
        let step = move |store: &mut Store<'_>| {
            let stored = store.load(&key)?;
            let (record, registered) =
                register::register(stored.as_ref(), &key, &application, &cadence, store.now);
            record.iter().try_for_each(|record| store.put(stored.as_ref(), record))?;
            if matches!(registered, Registered::Added | Registered::Same) {
                businesses::link(store, &key, &application)?;
            }
            Ok(registered)
        };
        self.inner.writer.call(step).await
    }

    async fn place(&self, key: &OrderKey, step: &Step) -> Result<Stepped, PortError> {
        let (key, step) = (key.clone(), step.clone());
        let step = move |store: &mut Store<'_>| {
            let stored = store.load(&key)?;
            let (record, stepped) = place::place(stored.as_ref(), &step, store.now);
            record.iter().try_for_each(|record| store.put(stored.as_ref(), record))?;
            Ok(stepped)
        };
        self.inner.writer.call(step).await
    }

    async fn judge(&self, key: &OrderKey, judgement: &Judgement) -> Result<Judged, PortError> {
        let (key, judgement) = (key.clone(), judgement.clone());
        let step = move |store: &mut Store<'_>| {
            let stored = store.load(&key)?;
            let (record, judged) = verdict::judge(stored.as_ref(), &judgement, store.now);
            record.iter().try_for_each(|record| store.put(stored.as_ref(), record))?;
            Ok(judged)
        };
        self.inner.writer.call(step).await
    }

    async fn refund(&self, key: &OrderKey, asked: &RefundApplication) -> Result<RefundAsked, PortError> {
        let (key, asked) = (key.clone(), asked.clone());
        let step = move |store: &mut Store<'_>| {
            let stored = store.load(&key)?;
            let (record, told) = refund::request(stored.as_ref(), &key, &asked, store.now);
            record.iter().try_for_each(|record| store.put(stored.as_ref(), record))?;
            Ok(told)
        };
        self.inner.writer.call(step).await
    }
}
