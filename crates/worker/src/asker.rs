//! The real [`Wechat`]: the protocol crate's client, one account per merchant.
//!
//! A merchant whose every key is refused is put in alarm and backs off as a whole: its orders are not dead-lettered
//! one by one for a mistake in its configuration. Accounts can be replaced at any time; a call ends with the one it
//! began with.

mod place;

mod refund;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use paybell_core::{Answer, DeadReason};
use tokio::time::Instant;
use wechat_pay::client::{CallError, Client, MerchantAccount, Priority};
use wechat_pay::request::OrderRef;
use wechat_pay::sign::{Algorithm, ApiKey};

use crate::metrics::WorkerMetrics;
use crate::observe::{MerchantFacts, close_answer, observe};
use crate::wechat::{Ask, Asked, CloseAsked, RefundAsk, RefundAsked, Wechat};

pub use place::{PlaceAsked, Placer};

/// Refusals in a row before a merchant backs off: one odd answer must not hold up its other orders.
const REFUSALS_BEFORE_ALARM: u32 = 3;
const ALARM_FIRST: Duration = Duration::from_secs(2);
const ALARM_LONGEST: Duration = Duration::from_secs(300);

/// One merchant, as calls are made for it.
pub struct Account {
    pub account: MerchantAccount,
    pub facts: MerchantFacts,
    /// Where WeChat sends refund notifications; the merchant platform's setting if empty.
    refund_notify_url: String,
    alarm: Arc<Mutex<Alarm>>,
}

#[derive(Debug, Default)]
struct Alarm {
    refusals: u32,
    until: Option<Instant>,
}

/// Asks WeChat over the network.
pub struct Asker {
    client: Client,
    accounts: ArcSwap<Accounts>,
    metrics: WorkerMetrics,
}

type Accounts = HashMap<String, Arc<Account>>;

impl Account {
    /// A merchant that is not in alarm.
    pub fn new(account: MerchantAccount, facts: MerchantFacts) -> Self {
        Self { account, facts, refund_notify_url: String::new(), alarm: Arc::default() }
    }

    /// The same, whose refunds are notified to that address.
    pub fn with_refund_notify_url(self, url: impl Into<String>) -> Self {
        Self { refund_notify_url: url.into(), ..self }
    }

    fn is_like(&self, other: &Account) -> bool {
        let is_notified_alike = self.refund_notify_url == other.refund_notify_url;
        self.account.is_like(&other.account) && self.facts == other.facts && is_notified_alike
    }

    /// In the place of `earlier`: the rate goes on. The alarm does too unless the keys are others, so that whoever
    /// mends a key sees the effect at once.
    fn after(self, earlier: &Account) -> Self {
        let has_same_keys = self.account.keys().has_keys_of(earlier.account.keys());
        let alarm = if has_same_keys { earlier.alarm.clone() } else { self.alarm };
        Self { account: self.account.after(&earlier.account), alarm, ..self }
    }

    fn is_in_alarm(&self, now: Instant) -> bool {
        self.lock().until.is_some_and(|until| until > now)
    }

    /// Counts a refusal and tells whether it counts: those that were under way when the alarm began say nothing new,
    /// or one burst would mean the longest pause at once.
    fn refused(&self, now: Instant) -> bool {
        let mut alarm = self.lock();
        if alarm.until.is_some_and(|until| until > now) {
            return false;
        }
        alarm.refusals = alarm.refusals.saturating_add(1);
        if let Some(over) = alarm.refusals.checked_sub(REFUSALS_BEFORE_ALARM) {
            let pause = ALARM_FIRST.saturating_mul(1u32 << over.min(8)).min(ALARM_LONGEST);
            alarm.until = Some(now + pause);
        }
        true
    }

    fn answered(&self) {
        let mut alarm = self.lock();
        if alarm.refusals > 0 {
            *alarm = Alarm::default();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Alarm> {
        self.alarm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asker {
    /// Asks for these merchants.
    pub fn new(client: Client, accounts: impl IntoIterator<Item = Account>, metrics: WorkerMetrics) -> Self {
        let asker = Self { client, accounts: ArcSwap::default(), metrics };
        asker.replace_accounts(accounts);
        asker
    }

    /// Asks for these merchants from the next call on. A merchant that was there before keeps its rate, the order of
    /// its keys, and its alarm unless its keys are others.
    pub fn replace_accounts(&self, accounts: impl IntoIterator<Item = Account>) {
        let earlier = self.accounts.load();
        let in_place = |account: Account| {
            let mch_id = account.account.mch_id().to_owned();
            let account = match earlier.get(&mch_id) {
                Some(earlier) if account.is_like(earlier) => earlier.clone(),
                Some(earlier) => Arc::new(account.after(earlier)),
                None => {
                    self.metrics.begin_merchant(&mch_id);
                    Arc::new(account)
                }
            };
            (mch_id, account)
        };
        let accounts: Accounts = accounts.into_iter().map(in_place).collect();
        self.accounts.store(Arc::new(accounts));
    }

    /// What WeChat signs the merchant's documents with just now, as far as its answers have shown: the key that worked
    /// last. `None` for a merchant that is not configured.
    pub fn key_in_use(&self, mch_id: &str) -> Option<(ApiKey, Algorithm)> {
        let account = self.accounts.load().get(mch_id).cloned()?;
        let (_, key) = account.account.keys().in_order().next()?;
        Some((key.clone(), account.account.algorithm()))
    }

    fn account(&self, ask: &Ask) -> Result<Arc<Account>, Answer> {
        let account = self.accounts.load().get(ask.key.mch_id.as_str()).cloned().ok_or_else(|| {
            let detail = format!("merchant {} is not in the configuration", ask.key.mch_id);
            Answer::Refused { reason: DeadReason::UnknownMerchant, detail }
        })?;
        if account.is_in_alarm(Instant::now()) {
            return Err(Answer::Transient("merchant_alarm"));
        }
        Ok(account)
    }

    /// Counts the call and turns a failed one into what it means for the order.
    fn finished<T>(
        &self,
        account: &Account,
        begun: Instant,
        outcome: Result<wechat_pay::answer::Verified<T>, CallError>,
    ) -> Result<T, Failed> {
        let mch_id = account.account.mch_id();
        match outcome {
            Ok(verified) => {
                account.answered();
                self.metrics.key_used(mch_id, verified.key_used().as_str());
                self.metrics.queried(mch_id, "answered", begun.elapsed());
                Ok(verified.into_inner())
            }
            Err(CallError::NoSlot) => Err(Failed::NoSlot),
            Err(CallError::Transient(cause)) => {
                self.metrics.queried(mch_id, cause.reason(), begun.elapsed());
                tracing::debug!(merchant.mch_id = mch_id, cause = %cause, "no answer for {mch_id}: {cause}");
                Err(Failed::Answer(Answer::Transient(cause.reason())))
            }
            Err(CallError::KeyRefused(cause)) => {
                self.metrics.queried(mch_id, "key_refused", begun.elapsed());
                if account.refused(Instant::now()) {
                    tracing::error!(
                        merchant.mch_id = mch_id,
                        cause = %cause,
                        "every API key of merchant {mch_id} was refused ({cause}): compare api_key with 账户中心 / API安全"
                    );
                }
                Err(Failed::Answer(Answer::Transient("key_refused")))
            }
        }
    }
}

enum Failed {
    Answer(Answer),
    NoSlot,
}

#[async_trait]
impl Wechat for Asker {
    async fn query(&self, ask: &Ask) -> Asked {
        let account = match self.account(ask) {
            Ok(account) => account,
            Err(answer) => return Asked::Answered(answer),
        };
        let begun = Instant::now();
        let order = order_ref(ask, &account);
        let outcome = self.client.order_query(&account.account, &order, priority(ask)).await;
        match self.finished(&account, begun, outcome) {
            Ok(answer) => Asked::Answered(observe(ask, &account.facts, &answer)),
            Err(Failed::Answer(answer)) => Asked::Answered(answer),
            Err(Failed::NoSlot) => Asked::NoSlot,
        }
    }

    async fn close(&self, ask: &Ask) -> CloseAsked {
        let account = match self.account(ask) {
            Ok(account) => account,
            Err(answer) => return CloseAsked::Undecided(answer),
        };
        let begun = Instant::now();
        let order = order_ref(ask, &account);
        let outcome = self.client.close_order(&account.account, &order, priority(ask)).await;
        match self.finished(&account, begun, outcome) {
            Ok(answer) => close_answer(&answer),
            Err(Failed::Answer(answer)) => CloseAsked::Undecided(answer),
            Err(Failed::NoSlot) => CloseAsked::NoSlot,
        }
    }

    async fn refund(&self, ask: &RefundAsk) -> RefundAsked {
        self.request_refund(ask).await
    }

    async fn refund_query(&self, ask: &RefundAsk) -> RefundAsked {
        self.query_refund(ask).await
    }
}

fn priority(ask: &Ask) -> Priority {
    if ask.is_urgent { Priority::Urgent } else { Priority::Cadence }
}

fn order_ref(ask: &Ask, account: &Account) -> OrderRef {
    let first = account.account.app_ids().first().map_or("", String::as_str);
    let appid = ask.appid.as_ref().map_or(first, |appid| appid.as_str());
    let order = OrderRef::new(appid, ask.key.out_trade_no.as_str());
    match &ask.sub_mch_id {
        Some(sub_mch_id) => order.for_sub_merchant(sub_mch_id.as_str(), None),
        None => order,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use wechat_pay::answer::KeyUsed;
    use wechat_pay::client::KeyRing;

    fn account() -> Account {
        with_key("192006250b4c09247ec02edce69f6a2d")
    }

    fn with_key(key: &str) -> Account {
        let key = ApiKey::new(key).unwrap();
        let rate = NonZeroU32::new(50).unwrap();
        let account = MerchantAccount::new(
            "1900000109",
            vec!["wx1".to_owned()],
            KeyRing::new(key, None),
            Algorithm::Md5,
            rate,
        );
        Account::new(account, MerchantFacts::default())
    }

    #[test]
    fn a_merchant_backs_off_as_a_whole_after_three_refusals_in_a_row() {
        let account = account();
        let now = Instant::now();
        account.refused(now);
        account.refused(now);
        assert!(!account.is_in_alarm(now), "one odd answer must not hold up the other orders");
        account.refused(now);
        assert!(account.is_in_alarm(now));
        assert!(!account.is_in_alarm(now + ALARM_FIRST), "one trial after the pause");
        let trial = now + ALARM_FIRST;
        assert!(account.refused(trial));
        assert!(account.is_in_alarm(trial + ALARM_FIRST), "the pause doubles");
        assert!(!account.is_in_alarm(trial + ALARM_FIRST * 2));
        let mut now = trial;
        for _ in 0..100 {
            now += ALARM_LONGEST;
            account.refused(now);
        }
        assert!(account.is_in_alarm(now + ALARM_LONGEST - Duration::from_millis(1)));
        assert!(!account.is_in_alarm(now + ALARM_LONGEST), "and is never longer than five minutes");
    }

    #[test]
    fn refusals_that_were_under_way_when_the_alarm_began_do_not_lengthen_it() {
        let account = account();
        let now = Instant::now();
        let counted = (0..100).filter(|_| account.refused(now)).count();
        assert_eq!(counted, 3);
        assert!(!account.is_in_alarm(now + ALARM_FIRST));
    }

    #[test]
    fn an_answer_ends_the_alarm() {
        let account = account();
        let now = Instant::now();
        assert_eq!((0..5).filter(|_| account.refused(now)).count(), 3);
        account.answered();
        assert!(!account.is_in_alarm(now));
        account.refused(now);
        assert!(!account.is_in_alarm(now), "the count starts anew");
    }

    #[test]
    fn a_new_key_ends_the_alarm_and_anything_else_does_not() {
        let before = account();
        let now = Instant::now();
        assert_eq!((0..3).filter(|_| before.refused(now)).count(), 3);
        let facts = MerchantFacts { sub_mch_ids: vec!["1".to_owned()], ..MerchantFacts::default() };
        let with_other_facts = Account { facts, ..account() }.after(&before);
        assert!(with_other_facts.is_in_alarm(now), "another sub merchant mends no key");
        with_other_facts.answered();
        assert!(!before.is_in_alarm(now), "it is the same alarm");
        assert_eq!((0..3).filter(|_| before.refused(now)).count(), 3);
        let mended = with_key("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").after(&before);
        assert!(!mended.is_in_alarm(now));
        before.refused(now + ALARM_FIRST);
        assert!(!mended.is_in_alarm(now + ALARM_FIRST), "a call that ends with the old key alarms nobody");
    }

    #[test]
    fn the_key_in_use_is_the_one_that_wechat_answered_with() {
        let [new, old] = ["0123456789abcdef0123456789abcdef", "192006250b4c09247ec02edce69f6a2d"]
            .map(|text| ApiKey::new(text).unwrap());
        let mut registry = prometheus_client::registry::Registry::default();
        let metrics = WorkerMetrics::register(&mut registry, [], &Default::default());
        let client = Client::new(wechat_pay::client::ClientConfig::default()).unwrap();
        let rate = NonZeroU32::new(50).unwrap();
        let ring = KeyRing::new(new.clone(), Some(old.clone()));
        let account = MerchantAccount::new("1", vec!["wx1".to_owned()], ring, Algorithm::Md5, rate);
        let asker = Asker::new(client, [Account::new(account, MerchantFacts::default())], metrics);
        assert_eq!(asker.key_in_use("1"), Some((new.clone(), Algorithm::Md5)));
        let works = |key| asker.accounts.load().get("1").unwrap().account.keys().worked(key);
        works(KeyUsed::Previous);
        assert_eq!(asker.key_in_use("1"), Some((old, Algorithm::Md5)), "WeChat still has the old one");
        works(KeyUsed::Current);
        assert_eq!(asker.key_in_use("1"), Some((new, Algorithm::Md5)));
        assert_eq!(asker.key_in_use("2"), None);
    }

    #[test]
    fn a_removed_merchant_is_refused_by_name_and_asked_for_again_once_it_is_back() {
        let mut registry = prometheus_client::registry::Registry::default();
        let metrics = WorkerMetrics::register(&mut registry, ["1900000109"], &Default::default());
        let client = Client::new(wechat_pay::client::ClientConfig::default()).unwrap();
        let asker = Asker::new(client, [account()], metrics);
        let ask = Ask {
            key: paybell_core::OrderKey::new("1900000109", "T1").unwrap(),
            appid: None,
            sub_mch_id: None,
            must_be_appid: false,
            must_be_sub_mch_id: false,
            is_urgent: true,
        };
        let in_hand = asker.account(&ask).unwrap_or_else(|answer| panic!("{answer:?}"));
        asker.replace_accounts([]);
        let Err(Answer::Refused { reason: DeadReason::UnknownMerchant, detail }) = asker.account(&ask) else {
            panic!("nobody configured it");
        };
        assert!(detail.contains("1900000109"), "{detail}");
        assert_eq!(in_hand.account.mch_id(), "1900000109", "what is in hand goes on");
        asker.replace_accounts([account()]);
        assert!(asker.account(&ask).is_ok());
    }
}
