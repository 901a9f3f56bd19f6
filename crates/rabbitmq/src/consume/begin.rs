//! Beginning to consume one queue, and whose fault it is when that fails: the queue's or the connection's.
//!
//! A broker answers that a consumer stands before it asks the queue (RabbitMQ 3.10). A quorum queue without a leader
//! makes it end the whole connection after its yes. So each beginning ends with a question whose answer comes only when
//! the channel has got past the queue.

use std::time::Duration;

use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer, ErrorKind};
use tokio::time::timeout;

use crate::link::{LinkError, Session, bounded};
use crate::topology::NOTHING_THERE;

/// How long the broker may take for one step. An election among a queue's members takes less.
const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the word of a connection's end may lag behind the failure that it caused.
const END_WORD_MAX: Duration = Duration::from_millis(500);

/// AMQP's reply codes.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;
const PRECONDITION_FAILED: u16 = 406;
const INTERNAL_ERROR: u16 = 541;

/// A consumer that the queue knows of. `prefetch` is for this consumer and the next ones.
pub(super) async fn begin(channel: &Channel, queue: &str, prefetch: u16) -> Result<Consumer, LinkError> {
    qos(channel, prefetch).await?;
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let consuming = channel.basic_consume(queue.into(), "".into(), options, none);
    let consumer = bounded("consume", STEP_TIMEOUT, consuming).await?;
    qos(channel, prefetch).await?;
    Ok(consumer)
}

async fn qos(channel: &Channel, prefetch: u16) -> Result<(), LinkError> {
    bounded("consume", STEP_TIMEOUT, channel.basic_qos(prefetch, BasicQosOptions::default())).await
}

/// Whether [`begin`] failed for the queue that was asked for, on a connection on which nobody else began meanwhile. A
/// queue that is missing is none of these: the next connection declares it.
pub(super) async fn is_queues_fault(error: &LinkError, session: &Session) -> bool {
    match code_of(error) {
        Some(ACCESS_REFUSED | RESOURCE_LOCKED | PRECONDITION_FAILED | INTERNAL_ERROR) => true,
        Some(NOT_FOUND) => !is_nothing_there(error),
        Some(_) => false,
        None => match error {
            // A connection that still opens channels is well.
            LinkError::Timeout { .. } => session.channel().await.is_ok(),
            // What came too late to be told the reason of its failure.
            LinkError::Amqp { .. } => {
                // It may stand; then nothing is known.
                drop(timeout(END_WORD_MAX, session.ended()).await);
                session.end_code() == Some(INTERNAL_ERROR)
            }
            _ => false,
        },
    }
}

/// Whether the broker knows no queue of that name, or no node that serves it.
pub(super) fn is_missing(error: &LinkError) -> bool {
    code_of(error) == Some(NOT_FOUND)
}

/// Whether the broker knows no queue of that name.
pub(super) fn is_nothing_there(error: &LinkError) -> bool {
    is_missing(error) && error.to_string().contains(NOTHING_THERE)
}

fn code_of(error: &LinkError) -> Option<u16> {
    match error {
        LinkError::Amqp { cause, .. } => match cause.kind() {
            ErrorKind::ProtocolError(told) => Some(told.get_id()),
            _ => None,
        },
        _ => None,
    }
}
