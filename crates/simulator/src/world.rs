//! What every part of the simulator shares, and WeChat's rules for an order: placing, paying, closing (the rest is in `placing`,
//! `refunding` and `bill`). Speaks no HTTP; endpoints and the control API call it, and it hands payments to the notifier.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{runtime::Handle, sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wechat_pay::{
    sign::{self, Algorithm, ApiKey},
    xml::Document,
};

use crate::{
    bill::Padding,
    book::Book,
    call_faults::CallLog,
    clock::{self, Clock},
    config::{MerchantConfig, SimulatorConfig},
    error::Error,
    faults::{Fault, Faults, hash, mix},
    notifier::Notifier,
    openid::{AppConfig, LoginCodes},
    order::{NewOrder, Order, OrderKey, Paid, Payment, TradeState},
    paycode::PayCodes,
    people::People,
    placing::Placing,
    settings::{Funds, Settings},
    stats::Counters,
};

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) book: Book,
    pub(crate) counters: Counters,
    pub(crate) calls: CallLog,
    pub(crate) people: People,
    pub(crate) codes: PayCodes,
    pub(crate) apps: Vec<AppConfig>,
    pub(crate) logins: LoginCodes,
    pub(crate) notifier: Notifier,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// Signs what must not verify.
    pub(crate) foreign_key: ApiKey,
    /// Raised when requests that are on their way arrive.
    arrivals: watch::Sender<u64>,
    runtime: Handle,
    merchants: RwLock<HashMap<String, Arc<Merchant>>>,
    faults: RwLock<Arc<Faults>>,
    settings: RwLock<Arc<Settings>>,
    funds: Mutex<HashMap<String, Funds>>,
    /// By merchant and beginning of the day.
    paddings: Mutex<HashMap<(String, i64), Padding>>,
    nonces: AtomicU64,
}

pub(crate) struct Merchant {
    pub(crate) app_ids: Vec<String>,
    pub(crate) sub_mch_ids: Vec<String>,
    pub(crate) key: ApiKey,
    previous: Option<ApiKey>,
}

impl Merchant {
    /// Which of the keys signed `document`.
    pub(crate) fn key_of(&self, document: &Document<'_>, algorithm: Algorithm) -> Option<&ApiKey> {
        let keys = [Some(&self.key), self.previous.as_ref()];
        keys.into_iter().flatten().find(|key| sign::verify(document, key, algorithm).is_ok())
    }
}

impl From<MerchantConfig> for Merchant {
    fn from(config: MerchantConfig) -> Merchant {
        Merchant {
            app_ids: config.app_ids,
            sub_mch_ids: config.sub_mch_ids,
            key: config.api_key.0,
            previous: config.previous_api_key.map(|key| key.0),
        }
    }
}

impl World {
    /// Must be called within a runtime, on which all work then happens.
    pub(crate) fn new(config: SimulatorConfig, stop: CancellationToken) -> Result<Arc<World>, Error> {
        config.check()?;
        let clock = Clock::new(config.clock_scale, config.clock_offset_s);
        let notifier = Notifier::new(&config);
        let merchants = config.merchants.into_iter();
        Ok(Arc::new(World {
            book: Book::new(config.orders_max),
            counters: Counters::default(),
            calls: CallLog::default(),
            people: People::default(),
            codes: PayCodes::default(),
            apps: config.apps,
            logins: LoginCodes::default(),
            notifier,
            tasks: TaskTracker::new(),
            stop,
            foreign_key: ApiKey::new("ForeignKeyOfNobodyInParticular00")?,
            arrivals: watch::Sender::new(0),
            runtime: Handle::current(),
            merchants: RwLock::new(
                merchants.map(|merchant| (merchant.mch_id.clone(), Arc::new(merchant.into()))).collect(),
            ),
            nonces: AtomicU64::new(mix(config.faults.seed ^ clock.wall_ms().unsigned_abs())),
            clock,
            settings: RwLock::new(Arc::new(config.settings)),
            funds: Mutex::default(),
            paddings: Mutex::default(),
            faults: RwLock::new(Arc::new(config.faults)),
        }))
    }

    /// What is on its way now arrives now.
    pub(crate) fn let_arrive(&self) {
        self.arrivals.send_modify(|arrivals| *arrivals += 1);
    }

    /// Waits for so long, or until [`World::let_arrive`] is called after this.
    pub(crate) fn arrival_in(&self, delay: Duration) -> impl Future<Output = ()> + use<> {
        let mut arrivals = self.arrivals.subscribe();
        async move {
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                _ = arrivals.changed() => {}
            }
        }
    }

    pub(crate) fn merchant(&self, mch_id: &str) -> Option<Arc<Merchant>> {
        self.merchants.read().unwrap_or_else(PoisonError::into_inner).get(mch_id).cloned()
    }

    /// Whether the app is bound to a merchant.
    pub(crate) fn has_app(&self, appid: &str) -> bool {
        let merchants = self.merchants.read().unwrap_or_else(PoisonError::into_inner);
        merchants.values().any(|merchant| merchant.app_ids.iter().any(|of| of == appid))
    }

    pub(crate) fn replace_keys(
        &self,
        mch_id: &str,
        key: ApiKey,
        previous: Option<ApiKey>,
    ) -> Result<(), Error> {
        let mut merchants = self.merchants.write().unwrap_or_else(PoisonError::into_inner);
        let merchant = merchants.get_mut(mch_id).ok_or_else(|| Error::UnknownMerchant(mch_id.to_owned()))?;
        let (app_ids, sub_mch_ids) = (merchant.app_ids.clone(), merchant.sub_mch_ids.clone());
        *merchant = Arc::new(Merchant { app_ids, sub_mch_ids, key, previous });
        Ok(())
    }

    pub(crate) fn faults(&self) -> Arc<Faults> {
        self.faults.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_faults(&self, faults: Faults) -> Result<(), Error> {
        faults.check()?;
        *self.faults.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(faults);
        Ok(())
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_settings(&self, settings: Settings) -> Result<(), Error> {
        settings.check()?;
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(())
    }

    /// Looks at a merchant's funds, or changes them.
    pub(crate) fn with_funds<T>(&self, mch_id: &str, act: impl FnOnce(&mut Funds) -> T) -> T {
        let mut funds = self.funds.lock().unwrap_or_else(PoisonError::into_inner);
        act(funds.entry(mch_id.to_owned()).or_default())
    }

    pub(crate) fn pad_bill(&self, mch_id: &str, day_begin_ms: i64, padding: Padding) -> Result<(), Error> {
        padding.check()?;
        let mut paddings = self.paddings.lock().unwrap_or_else(PoisonError::into_inner);
        paddings.insert((mch_id.to_owned(), day_begin_ms), padding);
        Ok(())
    }

    pub(crate) fn padding(&self, mch_id: &str, day_begin_ms: i64) -> Option<Padding> {
        let paddings = self.paddings.lock().unwrap_or_else(PoisonError::into_inner);
        paddings.get(&(mch_id.to_owned(), day_begin_ms)).cloned()
    }

    pub(crate) fn padded_days(&self, mch_id: &str) -> Vec<i64> {
        let paddings = self.paddings.lock().unwrap_or_else(PoisonError::into_inner);
        paddings.keys().filter(|(of, _)| of == mch_id).map(|(_, day)| *day).collect()
    }

    pub(crate) fn order(&self, key: &OrderKey) -> Result<Arc<Order>, Error> {
        let order = self.book.get(&key.mch_id, &key.out_trade_no);
        order.ok_or_else(|| Error::UnknownOrder(key.out_trade_no.clone()))
    }

    /// Whether the fault strikes; if so it is counted.
    pub(crate) fn strikes(&self, fault: Fault, order: &OrderKey, attempt: u64) -> bool {
        let strikes = self.faults().strikes(fault, order, attempt);
        if strikes {
            self.counters.struck(fault);
        }
        strikes
    }

    /// 32 characters, never the same twice in one run.
    pub(crate) fn nonce(&self) -> String {
        let number = self.nonces.fetch_add(1, Relaxed);
        format!("{:016x}{:016x}", mix(number), mix(number ^ u64::MAX))
    }

    /// Starts a task that the simulator waits for when it stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.tasks.spawn_on(task, &self.runtime));
    }

    /// Places an order; by unifiedorder if there is a `placing`.
    pub(crate) fn place(
        self: &Arc<Self>,
        new: NewOrder,
        placing: Option<&Placing>,
    ) -> Result<Arc<Order>, Error> {
        let algorithm = new.check()?;
        let expire_ms = match &new.time_expire {
            None => None,
            Some(text) => {
                Some(clock::from_compact(text).ok_or(Error::invalid("time_expire", "yyyyMMddHHmmss"))?)
            }
        };
        let merchant =
            self.merchant(&new.mch_id).ok_or_else(|| Error::UnknownMerchant(new.mch_id.clone()))?;
        let key = OrderKey { mch_id: new.mch_id, out_trade_no: new.out_trade_no };
        let openid = new.openid.unwrap_or_else(|| format!("oSIM{:016x}{:08x}", hash(&[1], &key), 0));
        let order = self.book.insert(Order {
            appid: new
                .appid
                .or_else(|| merchant.app_ids.first().cloned())
                .unwrap_or_else(|| "wxsimulated".to_owned()),
            sub_appid: new.sub_appid,
            sub_mch_id: new.sub_mch_id,
            total_fee: new.total_fee,
            fee_type: new.fee_type.unwrap_or_else(|| "CNY".to_owned()),
            attach: new.attach,
            body: new.body,
            device_info: new.device_info,
            openid,
            notify_url: new.notify_url,
            trade_type: new.trade_type,
            algorithm,
            sub_openid: new.sub_openid,
            expire_ms,
            prepay: placing.map(|placing| self.new_prepay(placing.ip)),
            parameters: placing.map(|placing| placing.parameters.clone()).unwrap_or_default(),
            created_ms: self.clock.wall_ms(),
            created: self.clock.now(),
            state: TradeState::NotPay,
            paid: None,
            revoked_ms: None,
            refunds: Vec::new(),
            traffic: Arc::default(),
            key,
        })?;
        self.counters.orders.add_one();
        if self.strikes(Fault::Forged, &order.key, 0) {
            Notifier::forge(self, order.clone());
        }
        Ok(order)
    }

    /// Takes the payer's money and sets the notifier going.
    pub(crate) fn pay(self: &Arc<Self>, key: &OrderKey, payment: Payment) -> Result<Arc<Order>, Error> {
        let silent = payment.silent;
        let order = self.book.change(key, |order| {
            let payable =
                matches!(order.state, TradeState::NotPay | TradeState::UserPaying | TradeState::Accept);
            if !payable {
                return Err(Error::NotPayable(order.state.clone()));
            }
            order.paid = Some(self.paid(order, payment)?);
            order.state = TradeState::Success;
            Ok(())
        })?;
        self.counters.payments.add_one();
        if !silent && !order.notify_url.is_empty() {
            Notifier::announce(self, order.clone());
        }
        Ok(order)
    }

    /// Puts an order into any state, silently. A paid state makes up a payment if there was none.
    pub(crate) fn set_state(&self, key: &OrderKey, state: TradeState) -> Result<Arc<Order>, Error> {
        let mut newly_paid = false;
        let order = self.book.change(key, |order| {
            newly_paid = state.is_paid() && order.paid.is_none();
            if newly_paid {
                order.paid = Some(self.paid(order, Payment::default())?);
            }
            order.revoked_ms = (state == TradeState::Revoked && order.paid.is_some())
                .then(|| order.revoked_ms.unwrap_or_else(|| self.clock.wall_ms()));
            order.state = state;
            Ok(())
        })?;
        if newly_paid {
            self.counters.payments.add_one();
        }
        Ok(order)
    }

    /// Whether closeorder may be called for it yet.
    pub(crate) fn is_closable(&self, order: &Order) -> bool {
        self.clock.now() >= order.created + Duration::from_secs(self.settings().close_age_s)
    }

    fn paid(&self, order: &Order, payment: Payment) -> Result<Paid, Error> {
        let coupon_fee = payment.coupons.iter().try_fold(0_u64, |sum, coupon| sum.checked_add(coupon.fee));
        if coupon_fee.is_none_or(|sum| sum > order.total_fee) {
            return Err(Error::CouponsTooLarge { total_fee: order.total_fee });
        }
        let wall_ms = match &payment.time_end {
            None => self.clock.wall_ms(),
            Some(text) => {
                clock::from_compact(text).ok_or(Error::invalid("time_end", "yyyyMMddHHmmss, Beijing time"))?
            }
        };
        let transaction_id = payment.transaction_id.unwrap_or_else(|| transaction_id(&order.key, wall_ms));
        if !(1..=32).contains(&transaction_id.len()) {
            return Err(Error::invalid("transaction_id", "1 to 32 characters"));
        }
        Ok(Paid {
            transaction_id,
            bank_type: payment.bank_type.unwrap_or_else(|| "OTHERS".to_owned()),
            coupons: payment.coupons,
            wall_ms,
            at: Instant::now(),
        })
    }
}

/// 28 digits like WeChat's: a mark, a number, the day, a number. The same order on the same day has the same.
pub(crate) fn transaction_id(key: &OrderKey, wall_ms: i64) -> String {
    let day: String = clock::compact(wall_ms).chars().take(8).collect();
    format!("4200{:06}{day}{:010}", hash(&[2], key) % 1_000_000, hash(&[3], key) % 10_000_000_000)
}
