//! A channel in confirm mode on which many tasks publish at once, each of which hears what became of its own message.
//!
//! The broker numbers messages as they come, the client library as publishes begin; it puts them in line a moment later,
//! and nothing holds the two steps of one publish together. Of two threads that met in between, each would get the
//! other's confirm: SUCCESS for a check that is nowhere. So here one publish takes both steps before the next one begins.
//! This opens no channel and judges no confirm.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};

use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel, Confirmation};

pub(super) struct Outlet {
    channel: Channel,
    /// Whose turn it is to take a number and stand in line with it.
    turn: Mutex<()>,
}

impl Outlet {
    /// On a channel in confirm mode that nobody else publishes on.
    pub fn new(channel: Channel) -> Self {
        Self { channel, turn: Mutex::default() }
    }

    /// Publishes to a queue, and waits for what the broker says of it.
    pub async fn publish(
        &self,
        queue: &str,
        options: BasicPublishOptions,
        properties: BasicProperties,
        body: &[u8],
    ) -> Result<Confirmation, lapin::Error> {
        let mut publish =
            pin!(self.channel.basic_publish("".into(), queue.into(), options, body, properties));
        let mut turn = Some(&self.turn);
        let begun = poll_fn(|cx| {
            // The first poll goes as far as the wait for the socket, and waits for nothing before; what follows is in
            // nobody's way. The lock is held for that poll, never over a wait.
            let _turn = turn.take().map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner));
            publish.as_mut().poll(cx)
        });
        begun.await?.await
    }
}
