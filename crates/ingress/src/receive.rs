//! The judgement of one notification, in the order size → parse → merchant → sign → appid and sub merchant → fields,
//! and then the durable check. No sockets here: the simulation drives this code too.

use std::sync::Arc;

use arc_swap::ArcSwap;
use paybell_core::ports::{CheckQueue, PortError};
use paybell_core::record::SeenAs;
use paybell_core::{AppId, Check, MchId, Mode, ModeKeeper, OrderKey, Telling, TransactionId};
use tokio::time::Instant;
use wechat_pay::notification::{Notification, NotificationError, Unverified};
use wechat_pay::xml::XmlError;

use crate::answer::Answer;
use crate::merchants::{Merchant, Merchants};
use crate::metrics::{IngressMetrics, Kind};
use crate::seldom::Seldom;

/// What became of a notification: the answer for WeChat and a word for our counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reception {
    pub answer: Answer,
    pub result: &'static str,
}

impl Reception {
    /// Whether it was authentic and waited for the durable step. What is refused is answered at once, and anybody can
    /// have it refused: it would hide how long the others wait.
    pub(crate) fn came_to_be_stored(self) -> bool {
        matches!(self.result, "accepted" | "not_durable")
    }
}

/// Takes notifications.
pub struct Ingress {
    merchants: ArcSwap<Merchants>,
    queue: Arc<dyn CheckQueue>,
    modes: Arc<ModeKeeper>,
    pub(crate) metrics: IngressMetrics,
    seldom: Seldom,
    pub(crate) limits: crate::service::IngressLimits,
}

/// The check that an authentic and complete notification for us becomes, or the refusal and whose it is.
pub(crate) type Judged = Result<Check, (Reception, Option<String>)>;

impl Ingress {
    /// Takes notifications of `merchants` and puts checks into `queue`.
    pub fn new(merchants: Arc<Merchants>, queue: Arc<dyn CheckQueue>, metrics: IngressMetrics) -> Self {
        Self {
            merchants: ArcSwap::new(merchants),
            queue,
            modes: Arc::new(ModeKeeper::fixed(Mode::Live)),
            metrics,
            seldom: Seldom::default(),
            limits: crate::service::IngressLimits::default(),
        }
    }

    /// Other merchants and keys from the next notification on; those in hand are judged by what they began with.
    pub fn replace_merchants(&self, merchants: Merchants) {
        self.metrics.know(merchants.mch_ids());
        self.merchants.store(Arc::new(merchants));
    }

    /// In shadow mode it takes copies: WeChat's answer comes from the shop's own handler, and is never SUCCESS here,
    /// so that a notification which reaches us alone by mistake comes again until somebody tells of it.
    pub fn with_mode(self, mode: Mode) -> Self {
        self.following(Arc::new(ModeKeeper::fixed(mode)))
    }

    /// In the mode that is known at the moment of each notification.
    pub fn following(self, modes: Arc<ModeKeeper>) -> Self {
        Self { modes, ..self }
    }

    /// With other limits than the default ones.
    pub fn with_limits(self, limits: crate::service::IngressLimits) -> Self {
        Self { limits, ..self }
    }

    /// Judges a notification and, if it is authentic, stores a check. SUCCESS means that the check is durable.
    ///
    /// `path_mch_id` is the number in the path, if the notify_url has one.
    pub async fn receive(&self, path_mch_id: Option<&str>, body: &[u8]) -> Reception {
        let judged = self.judge(path_mch_id, body);
        self.conclude(Kind::Payment, judged).await
    }

    /// What follows the judgement of either kind: the durable step, or the refusal.
    pub(crate) async fn conclude(&self, kind: Kind, judged: Judged) -> Reception {
        match judged {
            Ok(check) => self.store(kind, check).await,
            Err((refused, mch_id)) => {
                self.metrics.refused(kind, mch_id.as_deref(), refused.result);
                refused
            }
        }
    }

    /// Everything before the durable step.
    fn judge(&self, path_mch_id: Option<&str>, body: &[u8]) -> Judged {
        let unverified = Unverified::parse(body).map_err(|error| (of_xml(error), None))?;
        let merchant =
            self.merchant(path_mch_id, unverified.mch_id()).map_err(|reception| (reception, None))?;
        let of_merchant = |reception| (reception, Some(merchant.mch_id.clone()));
        let keys = KeyRefs::of(&merchant);
        let (authentic, key_index) =
            unverified.verify(keys.as_slice(), merchant.accepted).map_err(of_error).map_err(of_merchant)?;
        self.metrics.key_used(&merchant.mch_id, key_index);
        is_listed_for(&merchant, authentic.appid(), authentic.sub_mch_id()).map_err(of_merchant)?;
        let notification = authentic.into_notification().map_err(of_error).map_err(of_merchant)?;
        check_of(&notification).map_err(of_merchant)
    }

    /// The merchant that the document names, and the path too if it names one.
    pub(crate) fn merchant(
        &self,
        path_mch_id: Option<&str>,
        named: Option<&str>,
    ) -> Result<Arc<Merchant>, Reception> {
        if path_mch_id.is_some() && path_mch_id != named {
            return Err(Reception { answer: Answer::Unauthorized, result: "wrong_path" });
        }
        named
            .and_then(|mch_id| self.merchants.load().find(mch_id))
            .ok_or(Reception { answer: Answer::Unauthorized, result: "unknown_merchant" })
    }

    async fn store(&self, kind: Kind, check: Check) -> Reception {
        let (check, answer) = match self.modes.current() {
            Mode::Live => (check, Answer::Success),
            Mode::Shadow => (check.with_telling(Telling::Copied), Answer::Shadow),
        };
        let mch_id = check.key.mch_id.clone();
        match self.queue.publish(std::slice::from_ref(&check)).await {
            Ok(()) => {
                self.metrics.accepted(kind, mch_id.as_str());
                Reception { answer, result: "accepted" }
            }
            Err(error) => {
                self.log_not_durable(&check, &error);
                self.metrics.refused(kind, Some(mch_id.as_str()), "not_durable");
                Reception { answer: Answer::Unavailable, result: "not_durable" }
            }
        }
    }

    fn log_not_durable(&self, check: &Check, error: &PortError) {
        let Some(left_out) = self.seldom.is_due(Instant::now()) else { return };
        tracing::warn!(
            order.key = %check.key,
            error = %error,
            left_out,
            "notification of {} not stored, WeChat will come again: {error}; {left_out} more since the last line",
            check.key
        );
    }
}

/// At most two keys, without an allocation.
struct KeyRefs<'m> {
    keys: [&'m wechat_pay::sign::ApiKey; 2],
    count: usize,
}

impl<'m> KeyRefs<'m> {
    fn of(merchant: &'m Merchant) -> Self {
        let current = merchant.keys.first().expect("Merchants::new refuses a merchant without a key");
        let previous = merchant.keys.get(1);
        Self { keys: [current, previous.unwrap_or(current)], count: 1 + usize::from(previous.is_some()) }
    }

    fn as_slice(&self) -> &[&'m wechat_pay::sign::ApiKey] {
        self.keys.get(..self.count).unwrap_or(&[])
    }
}

/// Whether an app and a sub merchant are those of the merchant's configuration.
pub(crate) fn is_listed_for(
    merchant: &Merchant,
    appid: Option<&str>,
    sub_mch_id: Option<&str>,
) -> Result<(), Reception> {
    let refused = |result| Err(Reception { answer: Answer::Unauthorized, result });
    // A missing appid is a missing field, judged after this.
    if appid.is_some_and(|appid| !merchant.app_ids.iter().any(|ours| ours == appid)) {
        return refused("wrong_appid");
    }
    let is_listed = |id: &str| merchant.sub_mch_ids.iter().any(|listed| listed == id);
    if !merchant.sub_mch_ids.is_empty() && !sub_mch_id.is_some_and(is_listed) {
        return refused("wrong_sub_mch_id");
    }
    Ok(())
}

fn check_of(notification: &Notification<'_>) -> Result<Check, Reception> {
    let invalid = Reception { answer: Answer::Malformed, result: "invalid_field" };
    let key = OrderKey::new(notification.mch_id(), notification.out_trade_no()).map_err(|_| invalid)?;
    let transaction_id = match notification.payment() {
        Some(payment) => Some(TransactionId::new(payment.transaction_id).map_err(|_| invalid)?),
        None => None,
    };
    let sub_mch_id = notification.sub_mch_id().map(MchId::new).transpose().map_err(|_| invalid)?;
    let appid = AppId::new(notification.appid()).map_err(|_| invalid)?;
    Ok(Check::notified(key, transaction_id).with_seen_as(SeenAs { appid, sub_mch_id }))
}

pub(crate) fn of_xml(error: XmlError) -> Reception {
    let answer = match error {
        XmlError::TooLarge | XmlError::TooManyFields => Answer::TooLarge,
        _ => Answer::Malformed,
    };
    Reception { answer, result: error.reason() }
}

fn of_error(error: NotificationError) -> Reception {
    let answer = match error {
        NotificationError::Xml(error) => return of_xml(error),
        NotificationError::ReturnCodeFail | NotificationError::Sign(_) => Answer::Unauthorized,
        _ => Answer::Malformed,
    };
    Reception { answer, result: error.kind() }
}
