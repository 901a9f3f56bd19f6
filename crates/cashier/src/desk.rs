//! The cashier's desk: what it works with, and the port that the console calls. Every demand has a file of its own.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use paybell_core::place::{CashierError, CodeOf, Order, Placed, WhoPays};
use paybell_core::ports::{
    AuthorizeWish, Businesses, Cashier, CheckQueue, Closed, Ledger, Records, Registry,
};
use paybell_core::{AppId, Check, OrderKey, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use wechat_pay::client::OpenIdClient;
use worker::Placer;

use crate::metrics::CashierMetrics;
use crate::settings::{Lives, Settings};

/// What a desk works with.
pub struct Parts {
    /// For its clock only: the cashier takes no lease.
    pub ledger: Arc<dyn Ledger>,
    pub registry: Arc<dyn Registry>,
    pub records: Arc<dyn Records>,
    pub businesses: Arc<dyn Businesses>,
    pub queue: Arc<dyn CheckQueue>,
    pub wechat: Arc<dyn Placer>,
    pub openids: OpenIdClient,
    pub settings: Settings,
    pub lives: Lives,
    pub metrics: CashierMetrics,
    /// For nonces.
    pub seed: [u8; 32],
}

/// Places orders, many at once.
pub struct Desk {
    pub(crate) parts: Parts,
    settings: ArcSwap<Settings>,
    random: Mutex<StdRng>,
}

impl Desk {
    /// A desk over these parts.
    pub fn new(parts: Parts) -> Self {
        parts.metrics.begin(&parts.settings);
        let settings = ArcSwap::from_pointee(parts.settings.clone());
        let random = Mutex::new(StdRng::from_seed(parts.seed));
        Self { parts, settings, random }
    }

    /// Other settings from the next demand on.
    pub fn replace(&self, settings: Settings) {
        self.parts.metrics.begin(&settings);
        self.settings.store(Arc::new(settings));
    }

    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The ledger's clock: what is kept in records counts by it.
    pub(crate) async fn now(&self) -> Result<Timestamp, CashierError> {
        Ok(self.parts.ledger.clock().await?.now)
    }

    /// 32 hexadecimal digits.
    pub(crate) fn nonce(&self) -> String {
        // A generator has no invariant that a panic elsewhere could have broken.
        let number: u128 = self.random.lock().unwrap_or_else(PoisonError::into_inner).random();
        format!("{number:032x}")
    }

    /// WeChat said something of the order that belongs into an event: the worker asks again and decides. Should the
    /// check be lost, the order's due time does the same later.
    pub(crate) async fn look(&self, key: &OrderKey) {
        if let Err(error) = self.parts.queue.publish(&[Check::manual(key.clone())]).await {
            tracing::warn!(
                mch_id = %key.mch_id, out_trade_no = %key.out_trade_no, error = %error,
                "no check of {} could be queued: its due time will do", key.out_trade_no
            );
        }
    }
}

#[async_trait]
impl Cashier for Desk {
    async fn place(&self, order: &Order) -> Result<Placed, CashierError> {
        let outcome = self.place_order(order).await;
        self.parts.metrics.placed(&order.key.mch_id, &outcome);
        outcome
    }

    async fn close(&self, key: &OrderKey) -> Result<Closed, CashierError> {
        let outcome = self.close_order(key).await;
        self.parts.metrics.closed(&key.mch_id, &outcome);
        outcome
    }

    fn authorize_url(&self, wish: &AuthorizeWish) -> Result<String, CashierError> {
        self.authorize(wish)
    }

    async fn who_pays(&self, appid: &AppId, of: CodeOf, code: &str) -> Result<WhoPays, CashierError> {
        let outcome = self.exchange(appid, of, code).await;
        self.parts.metrics.exchanged(appid, of, &outcome);
        outcome
    }
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("settings", &self.settings).finish_non_exhaustive()
    }
}
