//! The three endpoints of the merchant API. Each takes a request's bytes and says what to answer; sockets are `http`'s.

mod close_order;
mod order_query;
mod unified_order;

use std::{sync::Arc, time::Duration};

use crate::{
    faults::Fault,
    wire::{Call, Refusal, unsigned_fail},
    world::World,
};

/// What goes back to the merchant.
pub(crate) struct Answer {
    pub(crate) body: String,
    pub(crate) fault: Option<Fault>,
    pub(crate) delay: Duration,
}

impl Answer {
    fn plain(body: String) -> Self {
        Answer { body, fault: None, delay: Duration::ZERO }
    }
}

/// Answers a POST to `path`; `None` if there is no such endpoint.
pub(crate) fn answer(path: &str, body: &[u8], world: &Arc<World>) -> Option<Answer> {
    let counters = &world.counters;
    let (counter, handle): (_, fn(&Call<'_>, &Arc<World>) -> Answer) = match path {
        "/pay/unifiedorder" => (&counters.unified_orders, |call, world| {
            Answer::plain(call.answer(unified_order::place(call, world), world))
        }),
        "/pay/orderquery" => (&counters.order_queries, order_query::answer),
        "/pay/closeorder" => (&counters.close_orders, |call, world| {
            Answer::plain(call.answer(close_order::close(call, world), world))
        }),
        _ => return None,
    };
    counter.add_one();
    Some(match Call::read(body, world) {
        Ok(call) => handle(&call, world),
        Err(Refusal::Unsigned(text) | Refusal::Business { text, .. }) => Answer::plain(unsigned_fail(text)),
    })
}
