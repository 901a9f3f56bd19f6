//! Engines in memory over core's own transitions, and a WeChat that keeps books. Every effect of theirs is two steps
//! for a [`Driver`]: before it happens, and before its answer arrives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use paybell_core::decide::CloseSaid;
use paybell_core::ids::BusinessNo;
use paybell_core::lease::{Cleared, Commit, Committed, LeaseRequest, Taken};
use paybell_core::observation::{ClosedAs, NotPaid, Observation, Payment};
use paybell_core::place::{self, Order, Step, Stepped};
use paybell_core::ports::{
    Businesses, CheckQueue, Ledger, OrderFilter, OrderPage, PortError, Reading, Records, Registry, Tally,
};
use paybell_core::refund::{RefundApplication, RefundAsked};
use paybell_core::register::{Application, Registered, register};
use paybell_core::time::Millis;
use paybell_core::verdict::{Judged, Judgement};
use paybell_core::{
    Answer, AppId, Cadence, Check, Currency, Fen, Lane, LeaseToken, MchId, OrderKey, OutTradeNo, Record,
    State, Timestamp, TransactionId,
};
use wechat_pay::sign::{Algorithm, ApiKey};
use wechat_pay::unified_order::{PlacedOrder, UnifiedOrder, UnifiedOrderAnswer, UnifiedOrderResult};
use worker::{Ask, Asked, CloseAsked, PlaceAsked, Placer, RefundAsk, Wechat};

use crate::driver::Driver;

pub const KEY: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";
pub const NOON: Timestamp = Timestamp::from_millis(1_795_147_200_000);

/// What WeChat knows of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    pub total_fee: i64,
    pub body: String,
    pub placed_ms: i64,
    pub times_placed: u32,
    pub is_paid: bool,
    pub is_paying: bool,
    pub is_closed: bool,
    pub notify_url: String,
    /// No payer has opened it, and orderquery says that there is no such order.
    pub is_unopened: bool,
    /// So does closeorder, and closes nothing.
    pub is_hidden: bool,
}

impl Known {
    /// A payer opens it.
    pub fn open(&mut self) {
        (self.is_unopened, self.is_hidden) = (false, false);
    }
}

/// Everything that outlives a process, here and at WeChat.
#[derive(Default)]
pub struct Stored {
    pub records: BTreeMap<OrderKey, Record>,
    pub businesses: BTreeMap<BusinessNo, Vec<OutTradeNo>>,
    pub checks: Vec<Check>,
    pub books: BTreeMap<OrderKey, Known>,
    pub now_ms: i64,
    /// What WeChat does with the next calls, the last one first.
    pub moods: Vec<Mood>,
    /// Requests whose senders gave them up, and when they arrive.
    pub on_their_way: Vec<(i64, OrderKey, UnifiedOrder)>,
    /// What is placed from now on is hidden until its payer opens it.
    pub hides_unopened: bool,
    pub is_ledger_away: bool,
}

impl Stored {
    /// What unifiedorder does; the number of times that this order was placed, or a code and its text.
    fn take_order(
        &mut self,
        key: OrderKey,
        order: &UnifiedOrder,
    ) -> Result<u32, (&'static str, &'static str)> {
        let (now_ms, is_hidden) = (self.now_ms, self.hides_unopened);
        let known = self.books.entry(key).or_insert_with(|| Known {
            total_fee: order.total_fee,
            body: order.body.clone(),
            notify_url: order.notify_url.clone(),
            placed_ms: now_ms,
            is_hidden,
            ..Known::default()
        });
        if known.is_paid {
            return Err(("ORDERPAID", ""));
        }
        if known.is_closed {
            return Err(("ORDERCLOSED", ""));
        }
        let is_same = (known.total_fee, &known.body) == (order.total_fee, &order.body);
        if !is_same || known.notify_url != order.notify_url {
            return Err(("INVALID_REQUEST", "201 商户订单号重复"));
        }
        known.times_placed += 1;
        Ok(known.times_placed)
    }
}

/// What WeChat does with a call.
#[derive(Debug, Clone)]
pub enum Mood {
    /// It acts, and its answer is lost.
    Mute,
    /// It acts that many seconds later, when nobody waits any more.
    Late(i64),
    /// It does not act, and says so under its signature.
    Refuses(&'static str, &'static str),
    /// It does not act, and says so without one.
    Unsigned(&'static str),
    /// It answers about another app.
    OfAnother,
    NoSlot,
    KeysRefused,
    Away,
    /// It does what it should.
    Well,
}

/// One process' view of it.
#[derive(Clone)]
pub struct World {
    pub stored: Arc<Mutex<Stored>>,
    pub driver: Driver,
}

impl World {
    pub fn new() -> Self {
        let stored = Stored { now_ms: NOON.millis(), ..Stored::default() };
        Self { stored: Arc::new(Mutex::new(stored)), driver: Driver::free() }
    }

    /// Another process over the same.
    pub fn driven_by(&self, driver: Driver) -> Self {
        Self { stored: self.stored.clone(), driver }
    }

    pub fn wait(&self, seconds: i64) {
        let mut stored = self.stored.lock().unwrap();
        stored.now_ms += seconds * 1000;
        let now_ms = stored.now_ms;
        for (_, key, order) in
            stored.on_their_way.extract_if(.., |(at_ms, ..)| *at_ms <= now_ms).collect::<Vec<_>>()
        {
            let _ = stored.take_order(key, &order);
        }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.stored.lock().unwrap().now_ms)
    }

    pub fn mood(&self, mood: Mood) {
        self.stored.lock().unwrap().moods.push(mood);
    }

    pub fn record(&self, key: &OrderKey) -> Record {
        self.stored.lock().unwrap().records[key].clone()
    }

    pub fn known(&self, key: &OrderKey) -> Option<Known> {
        self.stored.lock().unwrap().books.get(key).cloned()
    }

    pub fn at_wechat(&self, key: &OrderKey, change: impl FnOnce(&mut Known)) {
        change(self.stored.lock().unwrap().books.entry(key.clone()).or_default());
    }

    pub fn checks(&self) -> Vec<OrderKey> {
        self.stored.lock().unwrap().checks.iter().map(|check| check.key.clone()).collect()
    }

    /// As a shop registers what its own SDK places.
    pub async fn register(&self, order: &Order) {
        let application = Application {
            total_fee: order.total_fee,
            fee_type: None,
            appid: None,
            sub_mch_id: None,
            created_at: None,
            expires_at: None,
            business_no: order.business_no.clone(),
        };
        assert_eq!(Registry::register(self, &order.key, &application).await.unwrap(), Registered::Added);
    }

    pub fn settle(&self, key: &OrderKey, state: State) {
        self.stored.lock().unwrap().records.get_mut(key).unwrap().state = state;
    }

    async fn effect<T>(&self, act: impl FnOnce(&mut Stored) -> T) -> T {
        self.driver.step().await;
        let outcome = act(&mut self.stored.lock().unwrap());
        self.driver.step().await;
        outcome
    }

    async fn engine<T>(&self, act: impl FnOnce(&mut Stored) -> T) -> Result<T, PortError> {
        self.effect(|stored| {
            if stored.is_ledger_away {
                return Err(PortError::Unavailable { part: "ledger", cause: "away".to_owned() });
            }
            Ok(act(stored))
        })
        .await
    }
}

#[async_trait]
impl Registry for World {
    async fn register(&self, key: &OrderKey, application: &Application) -> Result<Registered, PortError> {
        self.engine(|stored| {
            let now = Timestamp::from_millis(stored.now_ms);
            let before = stored.records.get(key);
            let (record, outcome) = register(before, key, application, &Cadence::wechat(), now);
            record.into_iter().for_each(|record| drop(stored.records.insert(key.clone(), record)));
            if let Some(business_no) = &application.business_no {
                let numbers = stored.businesses.entry(business_no.clone()).or_default();
                if !numbers.contains(&key.out_trade_no) {
                    numbers.push(key.out_trade_no.clone());
                }
            }
            outcome
        })
        .await
    }

    async fn judge(&self, _: &OrderKey, _: &Judgement) -> Result<Judged, PortError> {
        unimplemented!("nobody judges here")
    }

    async fn place(&self, key: &OrderKey, step: &Step) -> Result<Stepped, PortError> {
        self.engine(|stored| {
            let now = Timestamp::from_millis(stored.now_ms);
            let (record, stepped) = place::place(stored.records.get(key), step, now);
            record.into_iter().for_each(|record| drop(stored.records.insert(key.clone(), record)));
            stepped
        })
        .await
    }

    async fn refund(&self, _: &OrderKey, _: &RefundApplication) -> Result<RefundAsked, PortError> {
        unimplemented!("nobody refunds here")
    }
}

#[async_trait]
impl Records for World {
    async fn read(&self, key: &OrderKey) -> Result<Option<Record>, PortError> {
        self.engine(|stored| stored.records.get(key).cloned()).await
    }

    async fn list(&self, _: &OrderFilter, _: Option<&str>, _: usize) -> Result<Option<OrderPage>, PortError> {
        unimplemented!("nobody lists here")
    }

    async fn tally(&self) -> Result<Tally, PortError> {
        unimplemented!("nobody counts here")
    }
}

#[async_trait]
impl Businesses for World {
    async fn numbers(&self, _: &MchId, business_no: &BusinessNo) -> Result<Vec<OutTradeNo>, PortError> {
        self.engine(|stored| stored.businesses.get(business_no).cloned().unwrap_or_default()).await
    }

    async fn claim(&self, _: &MchId, _: &BusinessNo, _: &OutTradeNo) -> Result<OutTradeNo, PortError> {
        unimplemented!("the worker claims, not the cashier")
    }
}

#[async_trait]
impl CheckQueue for World {
    async fn publish(&self, checks: &[Check]) -> Result<(), PortError> {
        self.engine(|stored| stored.checks.extend_from_slice(checks)).await
    }

    async fn backlog(&self, _: Lane) -> Result<u64, PortError> {
        Ok(0)
    }
}

#[async_trait]
impl Ledger for World {
    async fn clock(&self) -> Result<Reading, PortError> {
        Ok(Reading { now: self.now(), is_steady: true })
    }
    async fn take(&self, _: &LeaseRequest) -> Result<Taken, PortError> {
        unimplemented!("the cashier takes no lease")
    }
    async fn commit(&self, _: &Commit) -> Result<Committed, PortError> {
        unimplemented!("the cashier takes no lease")
    }
    async fn clear(&self, _: &OrderKey, _: LeaseToken) -> Result<Cleared, PortError> {
        unimplemented!("the cashier takes no lease")
    }
    async fn put_off(&self, _: &OrderKey, _: LeaseToken, _: Timestamp) -> Result<Cleared, PortError> {
        unimplemented!("the cashier takes no lease")
    }
}

#[async_trait]
impl Wechat for World {
    async fn query(&self, ask: &Ask) -> Asked {
        assert!(ask.is_urgent, "a shop waits");
        self.effect(|stored| match stored.moods.pop() {
            Some(Mood::NoSlot) => Asked::NoSlot,
            Some(Mood::KeysRefused) => Asked::Answered(Answer::Transient("key_refused")),
            Some(Mood::Well) | None => {
                Asked::Answered(Answer::Observed(observed(stored.books.get(&ask.key))))
            }
            Some(_) => Asked::Answered(Answer::Transient("timeout")),
        })
        .await
    }

    async fn close(&self, ask: &Ask) -> CloseAsked {
        self.effect(|stored| {
            let (mood, now_ms) = (stored.moods.pop(), stored.now_ms);
            let said = match mood {
                Some(Mood::NoSlot) => return CloseAsked::NoSlot,
                None | Some(Mood::Mute | Mood::Well) => match stored.books.get_mut(&ask.key) {
                    None => CloseSaid::NotExist,
                    Some(known) if known.is_hidden => CloseSaid::NotExist,
                    Some(known) if known.is_paid || known.is_paying => CloseSaid::NotClosed,
                    Some(known) if now_ms - known.placed_ms < 300_000 => CloseSaid::NotClosed,
                    Some(known) => {
                        known.is_closed = true;
                        CloseSaid::Closed
                    }
                },
                Some(_) => CloseSaid::NotClosed,
            };
            match mood {
                None | Some(Mood::Well) => CloseAsked::Answered(said),
                Some(_) => CloseAsked::Undecided(Answer::Transient("timeout")),
            }
        })
        .await
    }

    async fn refund(&self, _: &RefundAsk) -> worker::RefundAsked {
        unimplemented!("nobody refunds here")
    }

    async fn refund_query(&self, _: &RefundAsk) -> worker::RefundAsked {
        unimplemented!("nobody refunds here")
    }
}

fn observed(known: Option<&Known>) -> Observation {
    match known {
        None => Observation::NotPaid(NotPaid::NotExist),
        Some(known) if known.is_paid => Observation::Payment(Box::new(payment(known.total_fee))),
        Some(known) if known.is_unopened || known.is_hidden => Observation::NotPaid(NotPaid::NotExist),
        Some(known) if known.is_closed => Observation::Closed(ClosedAs::Closed),
        Some(known) if known.is_paying => Observation::NotPaid(NotPaid::UserPaying),
        Some(_) => Observation::NotPaid(NotPaid::NotPay),
    }
}

fn payment(total_fee: i64) -> Payment {
    Payment {
        refunded: false,
        appid: AppId::new("wx1").ok(),
        sub_mch_id: None,
        transaction_id: TransactionId::new("42").ok(),
        total_fee: Fen::new(total_fee).ok(),
        fee_type: Currency::CNY,
        cash_fee: None,
        settlement_total_fee: None,
        coupon_fee: None,
        coupons: Vec::new(),
        trade_type: None,
        bank_type: None,
        attach: None,
        paid_at: None,
        openid: None,
    }
}

#[async_trait]
impl Placer for World {
    async fn place(&self, mch_id: &MchId, order: &UnifiedOrder) -> PlaceAsked {
        self.effect(|stored| {
            let mood = stored.moods.pop();
            match &mood {
                Some(Mood::NoSlot) => return PlaceAsked::NoSlot,
                Some(Mood::KeysRefused) => return PlaceAsked::KeysRefused,
                Some(Mood::Away) => return PlaceAsked::Unknown("connect"),
                Some(Mood::Unsigned(text)) => return PlaceAsked::RefusedUnsigned((*text).to_owned()),
                Some(Mood::Refuses(code, text)) => return error(mch_id, order, code, text),
                Some(Mood::Mute | Mood::OfAnother | Mood::Late(_) | Mood::Well) | None => {}
            }
            let key = OrderKey::new(mch_id.as_str(), &*order.order.out_trade_no).unwrap();
            if let Some(Mood::Late(seconds)) = mood {
                let at_ms = stored.now_ms + seconds * 1000;
                stored.on_their_way.push((at_ms, key, order.clone()));
                return PlaceAsked::Unknown("timeout");
            }
            let times_placed = match stored.take_order(key, order) {
                Ok(times_placed) => times_placed,
                Err((code, text)) => return error(mch_id, order, code, text),
            };
            let prepay_id = format!("wx{times_placed}of{}", order.order.out_trade_no);
            let placed = PlacedOrder {
                trade_type: order.trade.as_str().to_owned(),
                code_url: Some(format!("weixin://wxpay/bizpayurl?pr={prepay_id}")),
                mweb_url: Some(format!("https://wx.tenpay.com/h5?prepay_id={prepay_id}")),
                prepay_id,
            };
            match mood {
                Some(Mood::Mute) => PlaceAsked::Unknown("timeout"),
                Some(Mood::OfAnother) => {
                    let answer = answer(mch_id, order, UnifiedOrderResult::Placed(placed));
                    PlaceAsked::Answered(Box::new(UnifiedOrderAnswer { appid: "wx9".into(), ..answer }))
                }
                _ => {
                    PlaceAsked::Answered(Box::new(answer(mch_id, order, UnifiedOrderResult::Placed(placed))))
                }
            }
        })
        .await
    }

    fn device_key(&self, _: &MchId) -> Option<(ApiKey, Algorithm)> {
        Some((ApiKey::new(KEY).unwrap(), Algorithm::Md5))
    }
}

fn answer(mch_id: &MchId, order: &UnifiedOrder, result: UnifiedOrderResult) -> UnifiedOrderAnswer {
    let sub_mch_id = order.order.sub_mch_id.clone();
    UnifiedOrderAnswer { appid: order.order.appid.clone(), mch_id: mch_id.to_string(), sub_mch_id, result }
}

fn error(mch_id: &MchId, order: &UnifiedOrder, code: &str, text: &str) -> PlaceAsked {
    let description = Some(text.to_owned()).filter(|text| !text.is_empty());
    let result = UnifiedOrderResult::Error { code: code.into(), description };
    PlaceAsked::Answered(Box::new(answer(mch_id, order, result)))
}

/// The 5-minute rule and others.
pub fn minutes(minutes: i64) -> Millis {
    Millis::seconds(minutes * 60)
}
