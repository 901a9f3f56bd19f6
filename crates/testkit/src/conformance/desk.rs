//! What the cases work with: an engine under test, and short words for long calls.

use std::sync::Arc;
use std::time::Duration;

use paybell_core::check::{Check, Lane};
use paybell_core::dead::DeadLetter;
use paybell_core::decide::Change;
use paybell_core::event::{
    ContentType, Event, EventType, LearnedBy, OrderData, SpecVersion, event_id, source_of,
};
use paybell_core::ids::{LeaseToken, MchId, OrderKey, TransactionId};
use paybell_core::lease::{Cleared, Commit, Committed, LeaseRequest, Taken};
use paybell_core::money::{Currency, Fen};
use paybell_core::observation::{Coupon, Openid, Payment};
use paybell_core::ports::{Delivery, EventFilter, EventPage, LogRead};
use paybell_core::record::{Due, Entry, Record, State};
use paybell_core::register::{Application, Registered};
use paybell_core::time::{Millis, Timestamp};
use tokio::time::timeout;

use super::{Engines, Subject};

pub const MERCHANT: &str = "1900000109";
pub const LEASE: Millis = Millis::seconds(30);

/// The longest that anything may take before a case gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An engine and the clock it goes by.
pub struct Desk {
    subject: Arc<dyn Subject>,
    pub on: Engines,
}

impl Desk {
    pub async fn new(subject: Arc<dyn Subject>) -> Self {
        let on = subject.engines().await;
        Self { subject, on }
    }

    pub async fn reopen(&mut self) {
        self.subject.reopen().await;
        self.on = self.subject.engines().await;
    }

    pub async fn advance(&self, by: Millis) {
        self.subject.advance(by).await;
    }

    pub fn keeps_repeats_out(&self) -> bool {
        self.subject.keeps_repeats_out()
    }

    pub fn reads_replicas(&self) -> bool {
        self.subject.reads_replicas()
    }

    pub async fn now(&self) -> Timestamp {
        self.on.ledger.clock().await.unwrap().now
    }

    pub async fn stored(&self, key: &OrderKey) -> Option<Record> {
        self.on.records.read(key).await.unwrap()
    }

    pub async fn record(&self, key: &OrderKey) -> Record {
        self.stored(key).await.expect("the record is there")
    }

    pub async fn take(&self, check: Check, token: u128) -> Taken {
        self.on.ledger.take(&request(check, token)).await.unwrap()
    }

    pub async fn leased(&self, check: Check, token: u128) -> Record {
        match self.take(check, token).await {
            Taken::Leased(record) => *record,
            other => panic!("not leased but {other:?}"),
        }
    }

    /// Commits what `edit` makes of a change that changes nothing.
    pub async fn commit(&self, record: &Record, token: u128, edit: impl FnOnce(&mut Change)) -> Committed {
        let mut change = nothing(record, whole_seconds(self.now().await));
        edit(&mut change);
        let commit =
            Commit { key: record.key.clone(), token: LeaseToken(token), facts: record.facts, change };
        self.on.ledger.commit(&commit).await.unwrap()
    }

    pub async fn clear(&self, key: &OrderKey, token: u128) -> Cleared {
        self.on.ledger.clear(key, LeaseToken(token)).await.unwrap()
    }

    /// Takes the lease and commits, without a clear: the events stay outgoing.
    pub async fn commit_payment(&self, key: &OrderKey, token: u128, state: State) -> Event {
        let record = self.leased(manual(key), token).await;
        let kind = if state == State::Paid { EventType::Paid } else { EventType::Mismatch };
        let event = event(key, kind, TX);
        let outgoing = event.clone();
        let committed = self.commit(&record, token, |change| pay(change, state, outgoing)).await;
        assert_eq!(committed, Committed::Outgoing);
        event
    }

    /// The whole way: lease, commit, clear.
    pub async fn settle(&self, key: &OrderKey, state: State) -> Event {
        let event = self.commit_payment(key, 77, state).await;
        assert_eq!(self.clear(key, 77).await, Cleared::Done);
        event
    }

    pub async fn register(&self, key: &OrderKey, total_fee: i64) -> Registered {
        self.on.registry.register(key, &asks(total_fee)).await.unwrap()
    }

    pub async fn claim(&self, lane: Lane, limit: usize) -> Vec<Check> {
        self.on.due.claim(lane, limit).await.unwrap()
    }

    /// Deliveries of the lane until there are `count`.
    pub async fn receive(&self, lane: Lane, count: usize) -> Vec<Delivery> {
        let mut all = Vec::new();
        while all.len() < count {
            let more = timeout(PATIENCE, self.on.source.receive(lane, count - all.len())).await;
            all.extend(more.expect("a delivery comes").unwrap());
        }
        all
    }

    /// Waits until the lane's backlog is this.
    pub async fn backlog_becomes(&self, lane: Lane, count: u64) {
        let reached = async {
            // An engine may be too busy to count in time, and is asked again.
            while self.on.queue.backlog(lane).await.ok() != Some(count) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let last = timeout(PATIENCE, reached).await;
        assert!(last.is_ok(), "backlog stays {:?}", self.on.queue.backlog(lane).await);
    }

    pub async fn page(&self, after: Option<paybell_core::ports::Cursor>, limit: usize) -> EventPage {
        self.page_of(after, &EventFilter::default(), limit).await
    }

    pub async fn page_of(
        &self,
        after: Option<paybell_core::ports::Cursor>,
        filter: &EventFilter,
        limit: usize,
    ) -> EventPage {
        match self.on.log.read(after, filter, limit).await.unwrap() {
            LogRead::Page(page) => page,
            LogRead::Gone { oldest } => panic!("the cursor {after:?} is gone, the oldest is {oldest:?}"),
        }
    }
}

pub const TX: &str = "4200001234202611200123456789";

pub fn key(number: usize) -> OrderKey {
    OrderKey::new(MERCHANT, format!("T{number:05}")).unwrap()
}

pub fn key_of(mch_id: &str, number: usize) -> OrderKey {
    OrderKey::new(mch_id, format!("T{number:05}")).unwrap()
}

pub fn notified(key: &OrderKey, transaction_id: &str) -> Check {
    Check::notified(key.clone(), Some(tx(transaction_id)))
}

pub fn manual(key: &OrderKey) -> Check {
    Check::manual(key.clone())
}

pub fn tx(text: &str) -> TransactionId {
    TransactionId::new(text).unwrap()
}

pub fn request(check: Check, token: u128) -> LeaseRequest {
    LeaseRequest {
        check,
        token: LeaseToken(token),
        length: LEASE,
        given_up: None,
        lost_delays: [Millis::seconds(2); 7],
    }
}

pub fn asks(total_fee: i64) -> Application {
    Application {
        total_fee: Fen::new(total_fee).unwrap(),
        fee_type: None,
        appid: None,
        sub_mch_id: None,
        created_at: None,
        expires_at: None,
        business_no: None,
    }
}

/// A decision that changes nothing and leaves no due time.
pub fn nothing(record: &Record, now: Timestamp) -> Change {
    Change {
        state: record.state,
        version: record.version,
        events: Vec::new(),
        due: None,
        progress: record.progress.clone(),
        payment: None,
        entry: Entry::new(now, "observed", "NOTPAY"),
        dead: None,
        refund: None,
        forget: false,
        outcome: "nothing",
    }
}

pub fn stays_due(at: Timestamp) -> impl FnOnce(&mut Change) {
    move |change| change.due = Some(Due { at, cause: paybell_core::record::Cause::Cadence })
}

pub fn pay(change: &mut Change, state: State, event: Event) {
    change.state = state;
    change.version = event.order().unwrap().version;
    change.payment = Some(payment(TX));
    change.events = vec![event];
}

/// A payment with everything that an answer can carry.
pub fn payment(transaction_id: &str) -> Payment {
    let fen = |amount| Some(Fen::new(amount).unwrap());
    Payment {
        refunded: false,
        appid: Some(paybell_core::ids::AppId::new("wx8888888888888888").unwrap()),
        sub_mch_id: Some(MchId::new("1900000110").unwrap()),
        transaction_id: Some(tx(transaction_id)),
        total_fee: fen(1999),
        fee_type: Currency::CNY,
        cash_fee: fen(1899),
        settlement_total_fee: fen(1899),
        coupon_fee: fen(100),
        coupons: vec![Coupon {
            id: "10000".to_owned(),
            kind: Some("CASH".to_owned()),
            fee: Fen::new(100).unwrap(),
        }],
        trade_type: Some("JSAPI".to_owned()),
        bank_type: Some("OTHERS".to_owned()),
        attach: Some("附加 'quoted' \"数据\"\u{1f514}".to_owned()),
        paid_at: Some(Timestamp::from_millis(1_795_147_200_000)),
        openid: Some(Openid("oUpF8uMEb4qRXf22hE3X68TekukE".to_owned())),
    }
}

pub fn event(key: &OrderKey, kind: EventType, reference: &str) -> Event {
    Event {
        specversion: SpecVersion::V1,
        id: event_id(key, kind, reference),
        source: source_of(&key.mch_id),
        kind,
        subject: key.out_trade_no.to_string(),
        time: Timestamp::from_millis(1_795_147_205_000),
        datacontenttype: ContentType::Json,
        data: OrderData {
            version: 1,
            mch_id: key.mch_id.clone(),
            sub_mch_id: None,
            appid: None,
            out_trade_no: key.out_trade_no.clone(),
            transaction_id: TransactionId::new(reference).ok(),
            total_fee: Fen::new(1999).ok(),
            fee_type: Some(Currency::CNY),
            cash_fee: None,
            settlement_total_fee: None,
            coupon_fee: None,
            coupons: Vec::new(),
            trade_state: Some("SUCCESS".to_owned()),
            trade_type: None,
            bank_type: None,
            attach: Some("附加".to_owned()),
            paid_at: Some(Timestamp::from_millis(1_795_147_200_000)),
            learned_by: LearnedBy::Poll,
            late: false,
            registered: true,
            shadow: false,
            openid: None,
            disagreement: None,
            refund: None,
            duplicate: None,
        }
        .into(),
    }
}

/// Paid events of orders `0..count`.
pub fn events(count: usize) -> Vec<Event> {
    (0..count).map(|number| event(&key(number), EventType::Paid, TX)).collect()
}

pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millis(time.millis() / 1000 * 1000)
}

pub fn letter(number: usize, detail: &str) -> DeadLetter {
    let at = Timestamp::from_millis(1_795_147_200_000);
    DeadLetter::about(&key(number), paybell_core::dead::DeadReason::WrongOrder, detail, at)
}
