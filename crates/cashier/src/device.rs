//! What the payer's device gets, made of WeChat's offer and signed for this moment.

use paybell_core::Timestamp;
use paybell_core::place::{Offer, Order, Pay, Trade, TradeType};
use paybell_core::time::Millis;
use wechat_pay::pay_parameters::{AppParameters, DeviceSigner, JsapiParameters, mweb_url_with_redirect};
use wechat_pay::unified_order::UnifiedOrder;

use crate::settings::Lives;

/// `None` where the offer lacks what this way of paying needs.
pub(crate) fn pay(
    asked: &Order,
    order: &UnifiedOrder,
    offer: &Offer,
    signer: DeviceSigner<'_>,
) -> Option<Pay> {
    let appid = order.device_appid();
    let jsapi = || JsapiParameters::new(appid, &offer.prepay_id, signer);
    Some(match &asked.trade {
        Trade::Jsapi { .. } => {
            let parameters = jsapi();
            Pay::Jsapi { bridge: owned(parameters.bridge()), jssdk: owned(parameters.jssdk()) }
        }
        Trade::MiniProgram { .. } => Pay::MiniProgram(owned(jsapi().mini_program())),
        Trade::App => {
            let partner = order.device_partner(asked.key.mch_id.as_str());
            Pay::App(owned(AppParameters::new(appid, partner, &offer.prepay_id, signer).fields()))
        }
        Trade::Native { .. } => Pay::Native { code_url: offer.code_url.clone()? },
        Trade::Mweb { redirect_url, .. } => {
            let mweb_url = offer.mweb_url.clone()?;
            let with_way_back = |back: &String| mweb_url_with_redirect(&mweb_url, back);
            Pay::Mweb { mweb_url: redirect_url.as_ref().map_or_else(|| mweb_url.clone(), with_way_back) }
        }
    })
}

/// Until when the device can use it.
pub(crate) fn good_until(asked: &Order, offer: &Offer, lives: &Lives) -> Timestamp {
    let own_end = offer.at + life(asked.trade.kind(), lives);
    asked.expires_at.map_or(own_end, |expires_at| expires_at.min(own_end))
}

/// Whether there is time enough left to hand it out once more: the payer has to read and to press, too.
pub(crate) fn is_good(asked: &Order, offer: &Offer, lives: &Lives, now: Timestamp) -> bool {
    let kind = asked.trade.kind();
    let reserve = Millis(life(kind, lives).0 / 10);
    now + reserve < offer.at + life(kind, lives)
}

fn life(kind: TradeType, lives: &Lives) -> Millis {
    if kind == TradeType::Mweb { lives.mweb } else { lives.prepay }
}

fn owned<const N: usize>(fields: [(&'static str, &str); N]) -> Vec<(&'static str, String)> {
    fields.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
}
