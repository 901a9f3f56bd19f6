//! What the broker does not let this user publish to subscribers: everything, or what has some routing key.
//!
//! It says so by closing the channel, and not of which message. What is known to be denied is therefore not given to it
//! again but counted, as what a subscriber refuses is, so that emission goes on. Nobody tells when a permission comes,
//! so a while later the next event of that kind is a trial. Each denial is said once when it begins, and once when it is
//! over. Publishes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::ErrorKind;
use tokio::time::Instant;

use crate::trouble::Trouble;

/// Between trials: each costs the channel, and a repeat of what was under way on it.
const PAUSE: Duration = Duration::from_secs(15);

const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;

/// How the broker names the routing key that a topic permission refuses: in quotes, after these words.
const TOPIC: &str = "topic '";

pub(super) struct Denials {
    exchange: String,
    /// There are no more of them than event types times merchants.
    standing: BTreeMap<Extent, Standing>,
    /// The newest channel that was lost over one.
    heard_on: u64,
}

/// What the end of a channel says about an event that was under way on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing: it is published again.
    Passing,
    /// It, or another one, may not be published. Whether it is the one, [`Denials::hold`] tells.
    Denied,
    /// The broker objects to it or to another one, and says not to which.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Extent {
    Everything,
    Key(String),
}

struct Standing {
    /// The next one after that is a trial.
    until: Instant,
    /// The channel that was lost: what was confirmed on it was so before.
    channel: u64,
}

impl Denials {
    pub fn new(exchange: String) -> Self {
        Self { exchange, standing: BTreeMap::new(), heard_on: 0 }
    }

    /// What ended a channel; the same for everything that was under way on it.
    pub fn hear(&mut self, cause: &lapin::Error, channel: u64) -> Heard {
        let told = match cause.kind() {
            ErrorKind::ProtocolError(told) if cause.is_amqp_soft_error() && told.get_id() != NOT_FOUND => {
                told
            }
            // The connection ended, or there is no such exchange: it is declared with the next channel.
            _ => return Heard::Passing,
        };
        let is_denial = told.get_id() == ACCESS_REFUSED;
        if channel > self.heard_on {
            self.heard_on = channel;
            if is_denial {
                self.begin(self.extent(told.get_message().as_str()), cause, channel);
            } else {
                self.object(cause);
            }
        }
        if is_denial { Heard::Denied } else { Heard::Refused }
    }

    /// A publish was confirmed.
    pub fn taken(&mut self, routing_key: &str, channel: u64) {
        if self.standing.is_empty() {
            return;
        }
        for extent in [Extent::Everything, Extent::Key(routing_key.to_owned())] {
            if self.standing.get(&extent).is_some_and(|standing| standing.channel < channel) {
                self.standing.remove(&extent);
                let (exchange, what) = (&self.exchange, extent.words());
                tracing::info!(exchange, what, "{exchange} takes {what} again");
            }
        }
    }

    /// Whether an event is not to be published now.
    pub fn hold(&self, routing_key: &str) -> bool {
        !self.standing.is_empty()
            && self
                .standing
                .iter()
                .any(|(extent, standing)| extent.covers(routing_key) && Instant::now() < standing.until)
    }

    /// A key that is denied already and named again is not what the broker means: all it says is that something is denied.
    fn extent(&self, told: &str) -> Extent {
        match told.split_once(TOPIC).and_then(|(_, rest)| rest.split_once('\'')) {
            Some((key, _)) if !self.hold(key) => Extent::Key(key.to_owned()),
            _ => Extent::Everything,
        }
    }

    fn begin(&mut self, extent: Extent, cause: &lapin::Error, channel: u64) {
        let what = extent.words();
        let standing = Standing { until: Instant::now() + PAUSE, channel };
        if self.standing.insert(extent, standing).is_some() {
            return;
        }
        let (exchange, pause_s) = (&self.exchange, PAUSE.as_secs());
        let named = Trouble::Permission.named(&cause.to_string());
        tracing::error!(
            exchange,
            what,
            "{what} may not be published to {exchange}: {named}. Subscribers of the exchange do not get it; it is counted \
             (paybell_event_fanout_refused_total), lies in the log (GET /v1/events), and is tried again every {pause_s} \
             s. {}",
            Trouble::Permission.remedy(),
        );
    }

    fn object(&self, cause: &lapin::Error) {
        let exchange = &self.exchange;
        tracing::error!(
            exchange,
            cause = %cause,
            "the broker objects to an event for {exchange}: {cause}. What was under way together with it is not repeated; it is \
             counted (paybell_event_fanout_refused_total), and lies in the log (GET /v1/events)"
        );
    }
}

impl Extent {
    fn covers(&self, routing_key: &str) -> bool {
        match self {
            Extent::Everything => true,
            Extent::Key(key) => key == routing_key,
        }
    }

    fn words(&self) -> String {
        match self {
            Extent::Everything => "everything".to_owned(),
            Extent::Key(key) => format!("what has the routing key {key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};
    use tokio::time::advance;

    use super::*;

    const PAID: &str = "order.paid.1900000109";
    const REFUND: &str = "refund.succeeded.1900000109";

    fn refused(kind: AMQPSoftError, text: &str) -> lapin::Error {
        ErrorKind::ProtocolError(AMQPError::new(AMQPErrorKind::Soft(kind), text.into())).into()
    }

    fn topic(key: &str) -> lapin::Error {
        let text = format!(
            "ACCESS_REFUSED - access to topic '{key}' in exchange 'paybell.events' in vhost '/' refused"
        );
        refused(AMQPSoftError::ACCESSREFUSED, &text)
    }

    fn held(denials: &Denials) -> [bool; 2] {
        [denials.hold(PAID), denials.hold(REFUND)]
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_denied_is_tried_again_after_a_while() {
        let mut denials = Denials::new("paybell.events".to_owned());
        assert_eq!(held(&denials), [false, false]);
        for _ in 0..2 {
            assert_eq!(denials.hear(&topic(REFUND), 1), Heard::Denied, "to each that was under way");
        }
        assert_eq!(held(&denials), [false, true]);
        denials.taken(REFUND, 1);
        assert_eq!(held(&denials), [false, true], "it was confirmed before the channel was lost");
        advance(PAUSE).await;
        assert_eq!(held(&denials), [false, false]);
        denials.hear(&topic(REFUND), 2);
        assert_eq!(held(&denials), [false, true], "the trial failed");
        advance(PAUSE).await;
        denials.taken(PAID, 3);
        assert_eq!(denials.standing.len(), 1);
        denials.taken(REFUND, 3);
        assert!(denials.standing.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_names_no_other_key_is_about_everything() {
        let exchange =
            "ACCESS_REFUSED - access to exchange 'paybell.events' in vhost '/' refused for user 'u'";
        let mut denials = Denials::new("paybell.events".to_owned());
        assert_eq!(denials.hear(&refused(AMQPSoftError::ACCESSREFUSED, exchange), 1), Heard::Denied);
        assert_eq!(held(&denials), [true, true]);
        let mut denials = Denials::new("paybell.events".to_owned());
        denials.hear(&topic("in other words"), 1);
        assert_eq!(held(&denials), [false, false]);
        denials.hear(&topic("in other words"), 2);
        assert_eq!(held(&denials), [true, true], "it is not known what it was about");
        denials.taken(PAID, 3);
        assert_eq!(held(&denials), [false, false]);
    }

    #[test]
    fn what_is_no_permission_is_remembered_of_nothing() {
        let mut denials = Denials::new("paybell.events".to_owned());
        let large = "PRECONDITION_FAILED - message size 200 is larger than configured max size 100";
        assert_eq!(denials.hear(&refused(AMQPSoftError::PRECONDITIONFAILED, large), 1), Heard::Refused);
        let missing = "NOT_FOUND - no exchange 'paybell.events' in vhost '/'";
        assert_eq!(denials.hear(&refused(AMQPSoftError::NOTFOUND, missing), 2), Heard::Passing);
        let hard = AMQPError::new(AMQPErrorKind::Hard(AMQPHardError::CHANNELERROR), "CHANNEL_ERROR".into());
        assert_eq!(denials.hear(&ErrorKind::ProtocolError(hard).into(), 3), Heard::Passing);
        assert!(denials.standing.is_empty());
    }
}
