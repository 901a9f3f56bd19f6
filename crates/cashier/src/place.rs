//! The order of effects of placing.
//!
//! ```text
//! register → begin → make way → unifiedorder → offered → answer
//! ```
//!
//! Each step may be the last. *Register* comes before anything that WeChat hears of: whatever the payer can pay, we
//! know, and look at on the cadence. *Begin* is stored before the other numbers of the same business order are looked
//! at, so of two numbers that are placed at once at least one sees the other. *Offered* is stored before anybody is given
//! the offer, and only while others still believe that we call: so whoever closes or makes way knows each offer that a
//! payer may hold. The same request again goes the same way and does each step once more, or is answered from the record.

use paybell_core::place::{
    CALL_MAX, CashierError, Ending, Offer, Order, Placed, Placing, Refusal, RefusalKind, Step, Stepped, Wish,
};
use paybell_core::register::{Application, Registered};
use paybell_core::time::Millis;
use paybell_core::{Record, State, Timestamp};
use wechat_pay::pay_parameters::DeviceSigner;
use wechat_pay::unified_order::{PlacedOrder, UnifiedOrderAnswer, UnifiedOrderResult};
use worker::PlaceAsked;

use crate::desk::Desk;
use crate::device;
use crate::prepare::{Prepared, prepare, would_be_refused};
use crate::refusal;

/// What a begin leaves for making way: the call itself takes up to 11 s more, and must end before others think that
/// nobody calls.
const WAY_MAX: Millis = Millis(CALL_MAX.0 / 2);

impl Desk {
    pub(crate) async fn place_order(&self, asked: &Order) -> Result<Placed, CashierError> {
        let settings = self.settings();
        let shop = settings.shop(&asked.key.mch_id)?;
        let mut prepared = prepare(asked, shop, self.now().await?)?;
        self.register(asked, &prepared).await?;
        if let Some(placed) = self.offered_before(asked, &prepared).await? {
            return Ok(placed);
        }
        let (record, placing) = self.begin(asked, &prepared).await?;
        if let Some(told) = &placing.notify_url {
            prepared.order.notify_url.clone_from(told);
        }
        // Whatever became of another number: this one was not placed.
        let closed = match self.make_way(&record).await {
            Ok(closed) => closed,
            Err(error) => {
                self.end(asked, prepared.wish, &placing, Ending::NotPlaced).await;
                return Err(error);
            }
        };
        let placed = self.call(asked, &prepared, &placing).await;
        if let Some(how) = placed.as_ref().err().and_then(ending) {
            self.end(asked, prepared.wish, &placing, how).await;
        }
        placed.map(|placed| Placed { closed, ..placed })
    }

    /// Nobody calls. Should it not be stored, half a minute does the same.
    async fn end(&self, asked: &Order, wish: Wish, placing: &Placing, how: Ending) {
        let _ = self.parts.registry.place(&asked.key, &Step::Ended(wish, placing.begun_at, how)).await;
    }

    async fn register(&self, asked: &Order, prepared: &Prepared) -> Result<(), CashierError> {
        let mut application = Application {
            total_fee: asked.total_fee,
            fee_type: asked.fee_type.clone(),
            appid: Some(prepared.appid.clone()),
            sub_mch_id: asked.sub_mch_id.clone(),
            created_at: None,
            expires_at: asked.expires_at,
            business_no: asked.business_no.clone(),
        };
        let mut registered = self.parts.registry.register(&asked.key, &application).await?;
        if asked.appid.is_none() && registered == Registered::Different(vec!["appid"]) {
            // Registered by the shop itself, for no app or for another: it asks for none now.
            application.appid = None;
            registered = self.parts.registry.register(&asked.key, &application).await?;
        }
        match registered {
            Registered::Added | Registered::Same => Ok(()),
            Registered::Different(fields) => {
                Err(different(fields.into_iter().map(str::to_owned).collect()).into())
            }
            Registered::Ahead => Err(RefusalKind::InvalidRequest.into()),
        }
    }

    /// What was offered before, if it is good for this request.
    async fn offered_before(
        &self,
        asked: &Order,
        prepared: &Prepared,
    ) -> Result<Option<Placed>, CashierError> {
        let record = self.parts.records.read(&asked.key).await?;
        let Some(record) = record.filter(|record| record.state == State::Pending) else { return Ok(None) };
        let Some(Placing { wish, offer: Some(offer), .. }) = record.placing.as_deref() else {
            return Ok(None);
        };
        let now = self.now().await?;
        let is_good = *wish == prepared.wish
            && offer.payer == prepared.payer
            && device::is_good(asked, offer, &self.parts.lives, now);
        if !is_good {
            return Ok(None);
        }
        self.see_the_others(&record).await?;
        Ok(self.answer(asked, prepared, offer, now).map(|placed| Placed { is_repeat: true, ..placed }))
    }

    async fn begin(&self, asked: &Order, prepared: &Prepared) -> Result<(Record, Placing), CashierError> {
        let step = Step::Begin(prepared.wish.clone(), prepared.order.notify_url.clone());
        match self.parts.registry.place(&asked.key, &step).await? {
            Stepped::Stored(record) => match record.placing.as_deref().cloned() {
                Some(placing) => Ok((*record, placing)),
                None => Err(RefusalKind::OutcomeUnknown.into()),
            },
            Stepped::Different(fields) => Err(different(fields).into()),
            Stepped::Settled(state) => Err(settled(state).into()),
            // It was registered a moment ago: the ledger lost it, and the same request registers it again.
            Stepped::Unregistered | Stepped::Outdated | Stepped::Covered | Stepped::Lapsed => {
                Err(refusal::soon(RefusalKind::WechatAway).into())
            }
        }
    }

    async fn call(
        &self,
        asked: &Order,
        prepared: &Prepared,
        placing: &Placing,
    ) -> Result<Placed, CashierError> {
        if self.now().await? > placing.begun_at + WAY_MAX {
            return Err(refusal::soon(RefusalKind::WechatAway).into());
        }
        let answer = match self.parts.wechat.place(&asked.key.mch_id, &prepared.order).await {
            PlaceAsked::Answered(answer) => *answer,
            PlaceAsked::Invalid(refused) => return Err(would_be_refused(&refused).into()),
            PlaceAsked::UnknownMerchant => return Err(RefusalKind::UnknownMerchant.into()),
            PlaceAsked::NoSlot => return Err(refusal::soon(RefusalKind::WechatBusy).into()),
            PlaceAsked::KeysRefused => return Err(RefusalKind::KeysRefused.into()),
            PlaceAsked::RefusedUnsigned(text) => return Err(refusal::of_unsigned(&text).into()),
            PlaceAsked::Unknown(cause) => {
                tracing::warn!(out_trade_no = %asked.key.out_trade_no, cause,
                    "what became of placing {} is unknown: {cause}", asked.key.out_trade_no);
                return Err(refusal::soon(RefusalKind::OutcomeUnknown).into());
            }
        };
        let order = self.judge(asked, prepared, answer).await?;
        let offer = offer_of(order, placing.begun_at, prepared);
        self.keep(asked, prepared, &offer).await?;
        let placed = self.answer(asked, prepared, &offer, self.now().await?);
        placed.ok_or_else(|| refusal::soon(RefusalKind::OutcomeUnknown).into())
    }

    /// The answer does not name the order's number, but it must be of the same merchant and the same way of paying.
    async fn judge(
        &self,
        asked: &Order,
        prepared: &Prepared,
        answer: UnifiedOrderAnswer,
    ) -> Result<PlacedOrder, CashierError> {
        let order = &prepared.order.order;
        let is_ours = answer.mch_id == asked.key.mch_id.as_str() && answer.appid == order.appid;
        match answer.result {
            UnifiedOrderResult::Placed(placed)
                if is_ours
                    && answer.sub_mch_id == order.sub_mch_id
                    && placed.trade_type == prepared.order.trade.as_str() =>
            {
                Ok(placed)
            }
            UnifiedOrderResult::Placed(placed) => {
                tracing::error!(out_trade_no = %asked.key.out_trade_no,
                    "the answer to placing {} is authentic and about another order: mch_id {}, appid {}, trade_type {}",
                    asked.key.out_trade_no, answer.mch_id, answer.appid, placed.trade_type);
                Err(RefusalKind::OutcomeUnknown.into())
            }
            UnifiedOrderResult::Error { code, description } => {
                let refused = refusal::of_error(&code, description.as_deref());
                if matches!(refused.kind, RefusalKind::OrderPaid | RefusalKind::OrderClosed) {
                    self.look(&asked.key).await;
                }
                Err(refused.into())
            }
        }
    }

    /// Nobody is given an offer that is not stored: who made way for another number, or closed this one, would not know
    /// of it. A repeat asks WeChat once more, for the same order.
    async fn keep(&self, asked: &Order, prepared: &Prepared, offer: &Offer) -> Result<(), CashierError> {
        let step = Step::Offered(prepared.wish.clone(), offer.clone());
        let why = match self.parts.registry.place(&asked.key, &step).await {
            Ok(Stepped::Stored(_) | Stepped::Covered) => return Ok(()),
            Ok(Stepped::Settled(state)) => return Err(settled(state).into()),
            Ok(Stepped::Lapsed) => "it took too long".to_owned(),
            Ok(Stepped::Outdated | Stepped::Different(_)) => "another request took its place".to_owned(),
            Ok(Stepped::Unregistered) => "the ledger lost the order".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(out_trade_no = %asked.key.out_trade_no, cause = %why,
            "what WeChat offered for {} is not kept and given to nobody: {why}", asked.key.out_trade_no);
        Err(refusal::soon(RefusalKind::OutcomeUnknown).into())
    }

    fn answer(&self, asked: &Order, prepared: &Prepared, offer: &Offer, now: Timestamp) -> Option<Placed> {
        let (key, algorithm) = self.parts.wechat.device_key(&asked.key.mch_id)?;
        let (nonce, timestamp_s) = (self.nonce(), now.millis() / 1000);
        let signer = DeviceSigner { key: &key, algorithm, timestamp_s, nonce: &nonce };
        Some(Placed {
            trade_type: asked.trade.kind(),
            prepay_id: offer.prepay_id.clone(),
            pay: device::pay(asked, &prepared.order, offer, signer)?,
            good_until: device::good_until(asked, offer, &self.parts.lives),
            is_repeat: false,
            closed: Vec::new(),
        })
    }
}

fn offer_of(order: PlacedOrder, at: Timestamp, prepared: &Prepared) -> Offer {
    let PlacedOrder { prepay_id, code_url, mweb_url, .. } = order;
    Offer { prepay_id, code_url, mweb_url, at, payer: prepared.payer.clone() }
}

fn different(fields: Vec<String>) -> Refusal {
    Refusal { fields, ..RefusalKind::DifferentOrder.into() }
}

/// What stands in the way of placing an order that is no longer pending.
pub(crate) fn settled(state: State) -> Refusal {
    let kind = match state {
        State::Paid | State::Refunded | State::Mismatch | State::Rejected => RefusalKind::OrderPaid,
        State::Closed => RefusalKind::OrderClosed,
        State::Unpaid | State::Failed | State::Pending => RefusalKind::OrderOver,
    };
    Refusal { state: Some(state), ..kind.into() }
}

/// How a call ended that was refused; `None` while WeChat may be at it still.
fn ending(error: &CashierError) -> Option<Ending> {
    match error {
        CashierError::Refused(refusal) => match refusal.kind {
            RefusalKind::OutcomeUnknown => None,
            RefusalKind::NumberUsed => Some(Ending::PlacedElsewhere),
            _ => Some(Ending::NotPlaced),
        },
        CashierError::Engine(_) => Some(Ending::NotPlaced),
    }
}
