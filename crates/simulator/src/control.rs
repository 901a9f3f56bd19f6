//! The payer's and the tester's side: place and pay orders, set states, change faults, read the truth. Used in process;
//! `control_api` offers the same over HTTP.

mod refunds;

use std::{collections::BTreeMap, sync::Arc};

pub use refunds::{ClockReading, RefundPage};
use serde::{Deserialize, Serialize};
use wechat_pay::{
    sign::{self, Algorithm},
    xml,
};

use crate::{
    config::SecretKey,
    error::Error,
    faults::Faults,
    notifier::Notifier,
    openid::Login,
    order::{NewOrder, OrderKey, Payment, TradeState, Truth},
    paycode::PayCode,
    placing::{Device, DeviceOutcome},
    poster::{Kind, Outcome, Post},
    refund::NewRefund,
    stats::Stats,
    world::World,
};

/// Handle on a running simulator; clones act on the same one.
#[derive(Clone)]
pub struct Control(pub(crate) Arc<World>);

/// A part of the list of orders.
#[derive(Debug, Clone, Serialize)]
pub struct Page {
    pub orders: Vec<Truth>,
    /// Where to continue.
    pub next: String,
    pub has_more: bool,
}

/// A notification made by hand: either `body` as it is, or `fields`, signed as wished.
#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Custom {
    pub url: String,
    pub body: Option<String>,
    /// Absent: `text/xml; charset=utf-8`.
    pub content_type: Option<String>,
    pub fields: BTreeMap<String, String>,
    /// Whose key signs the fields.
    pub mch_id: Option<String>,
    pub sign: SignAs,
    /// Absent: MD5.
    pub sign_type: Option<String>,
}

/// How [`Custom::fields`] are signed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignAs {
    /// As they are; they may contain a `sign`.
    #[default]
    Nobody,
    /// With the key of `mch_id`.
    Merchant,
    /// With a key that is nobody's.
    Stranger,
}

impl Control {
    /// Places an order without a signed request.
    pub fn create_order(&self, order: NewOrder) -> Result<OrderKey, Error> {
        self.0.place(order, None).map(|order| order.key.clone())
    }

    /// Pays an open order and starts its notifications.
    pub fn pay(&self, order: &OrderKey, payment: Payment) -> Result<Truth, Error> {
        self.0.pay(order, payment).map(|order| order.truth())
    }

    /// Pays as the payer's device does: what it is handed must be right.
    pub fn pay_by_device(&self, device: Device) -> Result<DeviceOutcome, Error> {
        self.0.pay_by_device(device)
    }

    /// The openid of a person under an app; the same every time. From then on it is refused under another app.
    #[must_use]
    pub fn openid(&self, appid: &str, person: &str) -> String {
        self.0.people.openid(appid, person)
    }

    /// Decides what comes of a payer's code at a till; without a word it is charged.
    pub fn plan_code(&self, auth_code: &str, plan: PayCode) -> Result<(), Error> {
        self.0.plan_code(auth_code, plan)
    }

    /// A person opens a mini program: the `js_code` that it gets.
    pub fn login(&self, appid: &str, person: &str) -> Result<String, Error> {
        self.0.login(appid, person, Login::MiniProgram)
    }

    /// What an order was placed with: sorted, as it is signed, without what may change.
    pub fn parameters(&self, order: &OrderKey) -> Result<String, Error> {
        self.0.order(order).map(|order| order.parameters.clone())
    }

    /// Puts an order into any state, without a notification. From then on queries say so.
    pub fn set_state(&self, order: &OrderKey, state: TradeState) -> Result<Truth, Error> {
        self.0.set_state(order, state).map(|order| order.truth())
    }

    /// Gives back a part or all of a payment at once: the state becomes `REFUND`.
    pub fn refund(&self, order: &OrderKey, refund_fee: u64) -> Result<Truth, Error> {
        self.0.refund(order, NewRefund::new(refund_fee)).map(|(order, _)| order.truth())
    }

    /// Starts the notifications of a paid order once more, faults included.
    pub fn notify_again(&self, order: &OrderKey) -> Result<(), Error> {
        let order = self.0.order(order)?;
        if order.paid.is_none() {
            return Err(Error::NotPaid);
        }
        Notifier::announce(&self.0, order);
        Ok(())
    }

    /// Makes the simulator forget an order: queries answer `ORDERNOTEXIST`.
    pub fn forget(&self, order: &OrderKey) -> Result<(), Error> {
        self.0.book.remove(order)
    }

    /// What is true about one order.
    pub fn truth(&self, order: &OrderKey) -> Result<Truth, Error> {
        self.0.order(order).map(|order| order.truth())
    }

    /// What is true about all orders, in the order of placing.
    #[must_use]
    pub fn truths(&self) -> Vec<Truth> {
        self.0.book.page(0, usize::MAX).0.iter().map(|order| order.truth()).collect()
    }

    /// The same in parts. `after` is a page's `next`, 0 the beginning.
    #[must_use]
    pub fn page(&self, after: usize, limit: usize) -> Page {
        let (orders, next) = self.0.book.page(after, limit);
        Page {
            orders: orders.iter().map(|order| order.truth()).collect(),
            next: next.to_string(),
            has_more: next < self.0.book.places(),
        }
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults::clone(&self.0.faults())
    }

    /// Replaces all faults; what is under way draws from the new ones.
    pub fn set_faults(&self, faults: Faults) -> Result<(), Error> {
        self.0.set_faults(faults)
    }

    /// Requests whose connections broke, and which are still on their way, arrive now.
    pub fn let_arrive(&self) {
        self.0.let_arrive();
    }

    /// Replaces a merchant's keys, as during a rotation.
    pub fn set_keys(&self, mch_id: &str, key: SecretKey, previous: Option<SecretKey>) -> Result<(), Error> {
        self.0.replace_keys(mch_id, key.0, previous.map(|previous| previous.0))
    }

    /// The newest `limit` posts, of one order if named, oldest first.
    #[must_use]
    pub fn posts(&self, order: Option<&OrderKey>, limit: usize) -> Vec<Post> {
        let wanted = |post: &Post| order.is_none_or(|order| post.order.as_ref() == Some(order));
        self.0.notifier.poster.posts(limit, wanted)
    }

    /// Everything counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { call_faults: self.0.calls.struck(), ..self.0.counters.read() }
    }

    /// Posts a notification made by hand, and says what came of it.
    pub async fn send(&self, custom: Custom) -> Result<Post, Error> {
        let body = match &custom.body {
            Some(body) => body.clone(),
            None => self.write(&custom)?,
        };
        let content_type = custom.content_type.as_deref().unwrap_or("text/xml; charset=utf-8");
        let at_ms = self.0.clock.wall_ms();
        let (outcome, took_ms) = self.0.notifier.poster.post(&custom.url, content_type, body).await;
        let post = Post {
            at_ms,
            order: None,
            out_refund_no: None,
            kind: Kind::Custom,
            attempt: 0,
            fault: None,
            outcome,
            took_ms,
        };
        self.0.notifier.poster.remember(post.clone());
        Ok(post)
    }

    fn write(&self, custom: &Custom) -> Result<String, Error> {
        let mut fields = custom.fields.clone();
        let is_name = |name: &String| {
            name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if fields.is_empty() || !fields.keys().all(is_name) {
            return Err(Error::invalid("fields", "at least one; names of letters, digits and _"));
        }
        let algorithm = match &custom.sign_type {
            None => Algorithm::Md5,
            Some(word) => word.parse().map_err(|_| Error::invalid("sign_type", "MD5 or HMAC-SHA256"))?,
        };
        let mch_id = custom.mch_id.as_deref().unwrap_or_default();
        let merchant = self.0.merchant(mch_id).ok_or_else(|| Error::UnknownMerchant(mch_id.to_owned()));
        let key = match custom.sign {
            SignAs::Nobody => None,
            SignAs::Merchant => Some(merchant?.key.clone()),
            SignAs::Stranger => Some(self.0.foreign_key.clone()),
        };
        if let Some(key) = key {
            let sign = sign::sign(fields.iter().map(|(name, value)| (&**name, &**value)), &key, algorithm);
            fields.insert("sign".to_owned(), sign);
        }
        Ok(xml::write(fields))
    }
}

impl Outcome {
    /// Whether the merchant answered as WeChat demands.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        *self == Outcome::Acknowledged
    }
}
