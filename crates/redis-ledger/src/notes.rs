//! The notes port: a text under a name, replaced by compare-and-set. Notes are few and belong to no shard.

use async_trait::async_trait;
use paybell_core::ports::{NOTE_BYTES_MAX, Note, Notes, PAGE_ROWS_MAX, PortError};
use redis::{Pipeline, Value};

use crate::engine::{RedisLedger, within};
use crate::error::{Fault, unavailable};
use crate::scripts::Name;

#[async_trait]
impl Notes for RedisLedger {
    async fn read(&self, name: &str) -> Result<Option<Note>, PortError> {
        let mut question = Pipeline::new();
        question.cmd("HMGET").arg(self.inner.keys.note(name)).arg("version").arg("text");
        let answer = self.inner.read(&question).await?.pop().unwrap_or_default();
        let stored: Result<(Option<u64>, Option<String>), _> = redis::from_redis_value(answer);
        let (version, text) =
            stored.map_err(|_| Fault::Corrupt(format!("the note {name} is none of ours")))?;
        Ok(version.zip(text).map(|(version, text)| Note { version, text }))
    }

    async fn write(&self, name: &str, expected: Option<u64>, text: &str) -> Result<bool, PortError> {
        if text.len() > NOTE_BYTES_MAX {
            let cause = format!("a note has at most {NOTE_BYTES_MAX} bytes, not {}", text.len());
            return Err(unavailable(cause));
        }
        let keys = &self.inner.keys;
        let mut call = Name::Note.eval(2);
        call.arg(keys.note(name)).arg(&keys.notes);
        call.arg(expected.map(|version| version.to_string()).unwrap_or_default());
        call.arg(expected.unwrap_or(0).saturating_add(1)).arg(name).arg(text);
        let mut step = Pipeline::new();
        step.add_command(call);
        let answer = within(self.inner.settle(step)).await?.pop();
        Ok(answer == Some(Value::Int(1)))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, PortError> {
        let from = [b"[", prefix.as_bytes()].concat();
        // No text has this byte: it comes after every name with the prefix.
        let to = [b"(", prefix.as_bytes(), &[0xff]].concat();
        let mut question = Pipeline::new();
        question.cmd("ZRANGEBYLEX").arg(&self.inner.keys.notes).arg(from).arg(to);
        question.arg("LIMIT").arg(0).arg(PAGE_ROWS_MAX);
        let answer = self.inner.read(&question).await?.pop().unwrap_or_default();
        Ok(redis::from_redis_value(answer).map_err(|_| Fault::strange("ZRANGEBYLEX"))?)
    }
}
