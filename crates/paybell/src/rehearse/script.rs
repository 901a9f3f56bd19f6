//! From a seed to everything that will be sent: the orders of each scene, and the steps. Pure: the same seed, time and
//! wishes write the same script. Ids and prices depend on the seed alone.

use paybell_core::event::{EventType, Mismatch};
use paybell_core::{AppId, Event, Fen, MchId, OutTradeNo, Timestamp, TransactionId};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::event::{Author, Document, ORDER_PREFIX, Order};
use super::scene::{OnLate, Scene, Shipped};
use crate::error::Error;

/// Prices in fen.
const PRICES: std::ops::RangeInclusive<i64> = 200..=99_999;
/// How often one event comes, one after the other.
const REPEATS: usize = 5;
/// How often one event comes at the same time.
const AT_ONCE: usize = 8;
/// Scenes that are about a race play it so often.
const RACES: usize = 6;

/// What is played.
#[derive(Debug, Clone)]
pub struct Wishes {
    pub scenes: Vec<Scene>,
    pub seed: u32,
    pub mch_id: MchId,
    pub appid: AppId,
    pub now: Timestamp,
    pub burst: usize,
    pub on_late: OnLate,
}

/// A script.
#[derive(Debug, Clone)]
pub struct Play {
    pub seed: u32,
    pub mch_id: MchId,
    pub acts: Vec<Act>,
    /// A payment that comes before everything else, where nothing else tells that somebody listens.
    pub first: (Order, Document),
    /// Comes after everything else: who has handled it has at least begun with all that came before.
    pub last: (Order, Document),
}

/// One scene, written out.
#[derive(Debug, Clone)]
pub struct Act {
    pub scene: Scene,
    pub orders: Vec<Order>,
    pub expected: Shipped,
    pub steps: Vec<Step>,
}

/// One thing that happens. A step begins when the one before it is over.
#[derive(Debug, Clone)]
pub enum Step {
    /// Told until it is taken.
    Tell(Document),
    /// Told at the same time, each until it is taken.
    Together(Vec<Document>),
    /// Told, as many at a time as webhooks are, each until it is taken.
    Crowd(Vec<Document>),
    /// Told by somebody who leaves before the answer comes, and then again until it is taken.
    Abandon(Document),
    /// Told with two signatures, as during a rotation, of which the second fits.
    Rotate(Document),
    /// Told by somebody who is not us. Must be refused.
    Forge(Document, Forgery),
}

/// What is wrong with a forged webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    OtherSecret,
    ChangedBody,
    ChangedId,
    NoSignature,
    TenMinutesOld,
    TenMinutesAhead,
}

/// Writes the script.
pub fn write(wishes: &Wishes) -> Result<Play, Error> {
    let author = Author { mch_id: wishes.mch_id.clone(), appid: wishes.appid.clone(), now: wishes.now };
    let writer = Writer { author, wishes };
    let acts = wishes.scenes.iter().map(|scene| writer.act(*scene)).collect::<Result<_, _>>()?;
    let [first, last] =
        [writer.order("BEGIN", Scene::ALL.len(), 0)?, writer.order("END", Scene::ALL.len(), 1)?];
    let [first_paid, last_paid] = [&first, &last].map(|order| writer.author.paid(order, 1).into());
    Ok(Play {
        seed: wishes.seed,
        mch_id: wishes.mch_id.clone(),
        acts,
        first: (first, first_paid),
        last: (last, last_paid),
    })
}

struct Writer<'w> {
    author: Author,
    wishes: &'w Wishes,
}

impl Writer<'_> {
    fn act(&self, scene: Scene) -> Result<Act, Error> {
        let count = match scene {
            Scene::AtOnce | Scene::LostAnswer => RACES,
            Scene::DeniedAfterPaid => 2,
            Scene::Denied => 3,
            Scene::WrongSignature => 4,
            Scene::Stale => 2,
            Scene::Burst => self.wishes.burst,
            _ => 1,
        };
        let place = scene.index();
        let order = |number| self.order(&format!("{place:02}"), place, number);
        let orders: Vec<Order> = (0..count).map(order).collect::<Result<_, _>>()?;
        let steps = self.steps(scene, &orders);
        Ok(Act { scene, orders, expected: scene.expected(self.wishes.on_late), steps })
    }

    /// `REHEARSAL`, the seed, the scene, a number. The price is the same whichever other scenes are played.
    fn order(&self, word: &str, place: usize, number: usize) -> Result<Order, Error> {
        let seed = self.wishes.seed;
        let own = u64::from(seed) << 32 | u64::try_from(place * 1_000_000 + number).unwrap_or_default();
        let price = StdRng::seed_from_u64(own).random_range(PRICES);
        let broken = |error: &dyn std::fmt::Display| Error::Failed(format!("the script is broken: {error}"));
        Ok(Order {
            out_trade_no: OutTradeNo::new(format!("{ORDER_PREFIX}{seed:08x}{word}{number:04}"))
                .map_err(|error| broken(&error))?,
            total_fee: Fen::new(price).map_err(|error| broken(&error))?,
            // 28 digits like WeChat's, of a day that never comes.
            transaction_id: TransactionId::new(format!("4299999999{seed:010}{place:02}{number:06}"))
                .map_err(|error| broken(&error))?,
        })
    }

    /// What happens, order by order.
    fn steps(&self, scene: Scene, orders: &[Order]) -> Vec<Step> {
        if scene == Scene::Burst {
            return vec![Step::Crowd(orders.iter().map(|order| self.paid(order)).collect())];
        }
        orders.iter().enumerate().flat_map(|(number, order)| self.of_order(scene, order, number)).collect()
    }

    fn of_order(&self, scene: Scene, order: &Order, number: usize) -> Vec<Step> {
        let author = &self.author;
        let paid = || author.paid(order, 1);
        let tell = |events: Vec<Event>| events.into_iter().map(|event| Step::Tell(event.into())).collect();
        match scene {
            Scene::Paid | Scene::Burst => tell(vec![paid()]),
            Scene::Duplicate => vec![Step::Tell(self.paid(order)); REPEATS],
            Scene::AtOnce => vec![Step::Together(vec![self.paid(order); AT_ONCE])],
            Scene::Late => tell(vec![author.denial(order, 1, EventType::Unpaid), self.paid_late(order)]),
            Scene::Mismatch => tell(vec![author.mismatch(order, 1, Mismatch::Amount)]),
            Scene::Accepted => {
                let accepted = author.mismatch(order, 1, Mismatch::Amount);
                let amount = accepted.order().and_then(|data| data.total_fee);
                let paid =
                    author.paid_with(order, 2, |data| (data.total_fee, data.cash_fee) = (amount, amount));
                tell(vec![accepted, paid])
            }
            Scene::SecondPayment => {
                tell(vec![paid(), author.mismatch(order, 2, Mismatch::SecondTransaction)])
            }
            Scene::Refunded => tell(vec![paid(), author.refunded(order, 2)]),
            Scene::RefundedFirst => tell(vec![author.refunded(order, 2), paid()]),
            Scene::FoundRefunded => {
                let refunded = Some("REFUND".to_owned());
                let found = author.paid_with(order, 1, |data| data.trade_state = refunded);
                tell(vec![found, author.refunded(order, 2)])
            }
            // An older denial that comes late, and a newer one, made by a ledger that had forgotten the payment.
            Scene::DeniedAfterPaid if number == 0 => {
                tell(vec![self.paid_late(order), author.denial(order, 1, EventType::Unpaid)])
            }
            Scene::DeniedAfterPaid => tell(vec![paid(), author.denial(order, 2, EventType::Closed)]),
            Scene::Denied => {
                let kinds = [EventType::Unpaid, EventType::Closed, EventType::Failed];
                let kind = kinds.into_iter().nth(number).unwrap_or(EventType::Unpaid);
                tell(vec![author.denial_of_unknown(order, 1, kind)])
            }
            _ => self.with_odd_documents(scene, order, number),
        }
    }

    /// The scenes that are about the document or the request, not about the order.
    fn with_odd_documents(&self, scene: Scene, order: &Order, number: usize) -> Vec<Step> {
        let paid = self.paid(order);
        match scene {
            Scene::Nulls => {
                let event = self.author.paid_with(order, 1, |data| {
                    (data.appid, data.cash_fee, data.trade_type) = (None, None, None);
                    (data.bank_type, data.paid_at) = (None, None);
                });
                vec![Step::Tell(event.into())]
            }
            Scene::UnknownType => self.of_the_future(paid),
            Scene::UnknownField => vec![Step::Tell(paid.changed(|event| {
                event["traceparent"] = json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
                if let Some(data) = event.get_mut("data").and_then(Value::as_object_mut) {
                    data.insert("loyalty".to_owned(), json!({"points": 12, "tier": null}));
                    data.insert("channel".to_owned(), json!(["mini-program"]));
                }
            }))],
            // One fen, and nobody but the shop itself knows the price.
            Scene::Unregistered => {
                let event = self.author.paid_with(order, 1, |data| {
                    data.registered = false;
                    (data.total_fee, data.cash_fee) = (Fen::new(1).ok(), Fen::new(1).ok());
                });
                vec![Step::Tell(event.into())]
            }
            Scene::RawBody => {
                let attach = Some("\u{8ba2}\u{5355} <1> & \u{a5}19.99".to_owned());
                let event = self.author.paid_with(order, 1, |data| data.attach = attach);
                vec![Step::Tell(Document::from(event).respelled())]
            }
            Scene::Rotation => vec![Step::Rotate(paid)],
            Scene::LostAnswer => vec![Step::Abandon(paid)],
            Scene::WrongSignature => {
                let forgeries =
                    [Forgery::OtherSecret, Forgery::ChangedBody, Forgery::ChangedId, Forgery::NoSignature];
                forgeries
                    .into_iter()
                    .nth(number)
                    .map(|forgery| Step::Forge(paid, forgery))
                    .into_iter()
                    .collect()
            }
            Scene::Stale => {
                let forgery = if number == 0 { Forgery::TenMinutesOld } else { Forgery::TenMinutesAhead };
                vec![Step::Forge(paid, forgery)]
            }
            _ => vec![Step::Tell(paid)],
        }
    }

    /// One that looks paid, but for its type, and one that is about no order at all.
    fn of_the_future(&self, paid: Document) -> Vec<Step> {
        let id = |number: u8| json!(format!("{:08x}-0000-5000-8000-00000000000{number}", self.wishes.seed));
        let like_paid = paid.clone().changed(|event| {
            event["type"] = json!("order.rehearsed");
            event["id"] = id(1);
        });
        let other = paid.changed(|event| {
            event["type"] = json!("bill.rehearsed");
            event["id"] = id(2);
            event["subject"] = json!("2026-11-20");
            event["data"] =
                json!({"mch_id": self.wishes.mch_id, "gross": [1999, 1], "mismatch": {"rows": 0}});
        });
        vec![Step::Tell(like_paid), Step::Tell(other)]
    }

    fn paid(&self, order: &Order) -> Document {
        self.author.paid(order, 1).into()
    }

    fn paid_late(&self, order: &Order) -> Event {
        self.author.paid_with(order, 2, |data| data.late = true)
    }
}
