//! Which queues a tap consumes: one for ever, or every partition of a lane. It only looks; `topology` declares.

use std::time::Duration;

use paybell_core::check::Lane;

use super::begin::is_missing;
use super::gauge::messages;
use crate::link::{LinkError, Session};
use crate::topology::names;

/// Where there is one queue for ever, there is nothing to look for.
const ONE_QUEUE_PAUSE: Duration = Duration::from_secs(24 * 3600);

/// So far partitions are looked for: more than can be configured, because an earlier release allowed as many.
const PARTITIONS_SOUGHT_MAX: u16 = 256;

/// What a tap consumes.
pub(crate) enum Queues {
    One(String),
    /// Every partition of a lane: the configured ones, and higher ones of a process that is configured otherwise, which
    /// are looked for now and then.
    Lane {
        prefix: String,
        lane: Lane,
        configured: u16,
        look_pause: Duration,
    },
}

impl Queues {
    pub fn look_pause(&self) -> Duration {
        match self {
            Queues::One(_) => ONE_QUEUE_PAUSE,
            Queues::Lane { look_pause, .. } => *look_pause,
        }
    }

    /// Those that are there.
    pub async fn existing(&self, session: &Session, gap_max: u16) -> Result<Vec<String>, LinkError> {
        let (prefix, lane, configured) = match self {
            Queues::One(queue) => return Ok(vec![queue.clone()]),
            Queues::Lane { prefix, lane, configured, .. } => (prefix, *lane, *configured),
        };
        let mut queues: Vec<_> = (0..configured).map(|number| names::lane(prefix, lane, number)).collect();
        let (mut number, mut gap) = (configured, 0);
        let mut channel = session.channel().await?;
        while number < PARTITIONS_SOUGHT_MAX && gap <= gap_max {
            let queue = names::lane(prefix, lane, number);
            match messages(&channel, &queue).await {
                Ok(_) => {
                    gap = 0;
                    queues.push(queue);
                }
                Err(error) if is_missing(&error) => {
                    gap += 1;
                    // The broker closed the channel with its answer.
                    channel = session.channel().await?;
                }
                Err(error) => return Err(error),
            }
            number += 1;
        }
        Ok(queues)
    }
}
