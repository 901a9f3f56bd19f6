//! From a shop's wish to WeChat's request: the app, the payer, the notification's address, and what a repeat is told
//! from another order by.
//!
//! Refuses what WeChat would refuse for certain. Sends nothing and stores nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use paybell_core::place::{
    CashierError, Order, Payer, Refusal, RefusalKind, Scene, TIME_EXPIRE, Trade, TradeType, Wish, Words,
};
use paybell_core::{AppId, Timestamp};
use sha2::{Digest, Sha256};
use wechat_pay::check::InvalidRequest;
use wechat_pay::query::OpenId;
use wechat_pay::request::OrderRef;
use wechat_pay::unified_order::{self, H5Scene, LimitPay, ProfitSharing, Receipt, UnifiedOrder};

use crate::settings::Shop;

/// An order that may be placed.
pub(crate) struct Prepared {
    pub order: UnifiedOrder,
    pub appid: AppId,
    pub wish: Wish,
    /// For `MWEB`: a digest of the payer's address, which the link is good for.
    pub payer: Option<String>,
}

/// What is placed for the shop, if WeChat would take it.
pub(crate) fn prepare(asked: &Order, shop: &Shop, now: Timestamp) -> Result<Prepared, CashierError> {
    let appid = appid(asked, shop)?;
    let notify_url = shop.notify_url.clone().ok_or(RefusalKind::NoNotifyUrl)?;
    if asked.expires_at.is_some_and(|expires_at| expires_at <= now) {
        return Err(invalid("expires_at", "lies in the past", "已经过去").into());
    }
    let mut order =
        UnifiedOrder::new(party(asked, &appid), trade(asked), &*asked.body, asked.total_fee.get());
    order.fee_type = asked.fee_type.as_ref().map(ToString::to_string).unwrap_or_default();
    order.notify_url = notify_url;
    order.spbill_create_ip = payer_ip(asked)?;
    order.detail = asked.detail.clone().unwrap_or_default();
    order.attach = asked.attach.clone().unwrap_or_default();
    order.device_info = asked.device_info.clone().unwrap_or_default();
    order.goods_tag = asked.goods_tag.clone().unwrap_or_default();
    order.time_expire_ms = asked.expires_at.map(Timestamp::millis);
    order.limit_pay = asked.no_credit.then_some(LimitPay::NoCredit);
    order.receipt = asked.receipt.then_some(Receipt::Offered);
    order.profit_sharing =
        asked.profit_sharing.map(|yes| if yes { ProfitSharing::Yes } else { ProfitSharing::No });
    order.store = asked.store.as_ref().map(|store| unified_order::Store {
        id: store.id.clone(),
        name: store.name.clone(),
        area_code: store.area_code.clone(),
        address: store.address.clone(),
    });
    order.check().map_err(|refused| CashierError::from(would_be_refused(&refused)))?;
    if let Trade::Mweb { redirect_url: Some(url), .. } = &asked.trade
        && (!url.contains("://") || url.chars().any(|c| c.is_control() || c.is_whitespace()))
    {
        return Err(invalid("redirect_url", "is no absolute address", "不是完整的地址").into());
    }
    let is_mweb = asked.trade.kind() == TradeType::Mweb;
    let payer = is_mweb.then(|| digest("payer_ip", &order.spbill_create_ip.to_string()));
    let wish = Wish { trade_type: asked.trade.kind(), parts: parts(asked, &order) };
    Ok(Prepared { order, appid, wish, payer })
}

/// What WeChat would refuse, field by field, in both languages.
pub(crate) fn would_be_refused(refused: &InvalidRequest) -> Refusal {
    let texts = |text: fn(&wechat_pay::check::FieldError) -> String| {
        refused.errors.iter().map(text).collect::<Vec<_>>().join("; ")
    };
    let words = RefusalKind::InvalidRequest.words();
    Refusal {
        fields: refused.errors.iter().map(|error| error.field.to_owned()).collect(),
        words: Words {
            cause: texts(ToString::to_string).into(),
            cause_zh: texts(wechat_pay::check::FieldError::zh).into(),
            ..words
        },
        ..RefusalKind::InvalidRequest.into()
    }
}

/// One wrong field.
pub(crate) fn invalid(field: &str, why: &str, why_zh: &str) -> Refusal {
    Refusal {
        fields: vec![field.to_owned()],
        words: Words {
            cause: format!("{field} {why}").into(),
            cause_zh: format!("{field} {why_zh}").into(),
            ..RefusalKind::InvalidRequest.words()
        },
        ..RefusalKind::InvalidRequest.into()
    }
}

fn appid(asked: &Order, shop: &Shop) -> Result<AppId, CashierError> {
    let unknown =
        || invalid("appid", "is none of the merchant's app_ids here", "不在该商户的 app_ids 配置中");
    let is_listed = |sub: &_| shop.sub_mch_ids.is_empty() || shop.sub_mch_ids.contains(sub);
    if asked.sub_mch_id.as_ref().is_some_and(|sub_mch_id| !is_listed(sub_mch_id))
        || (asked.sub_mch_id.is_none() && !shop.sub_mch_ids.is_empty())
    {
        let why = "must be one of the merchant's sub_mch_ids here";
        return Err(invalid("sub_mch_id", why, "须为该商户 sub_mch_ids 配置中的一个").into());
    }
    match &asked.appid {
        Some(appid) if shop.app_ids.contains(appid) => Ok(appid.clone()),
        Some(_) => Err(unknown().into()),
        None => Ok(shop.app_ids.first().cloned().ok_or_else(unknown)?),
    }
}

fn party(asked: &Order, appid: &AppId) -> OrderRef {
    let order = OrderRef::new(appid.as_str(), asked.key.out_trade_no.as_str());
    let sub_appid = asked.sub_appid.as_ref().map(ToString::to_string);
    match &asked.sub_mch_id {
        Some(sub_mch_id) => order.for_sub_merchant(sub_mch_id.as_str(), sub_appid),
        None => OrderRef { sub_appid, ..order },
    }
}

fn trade(asked: &Order) -> unified_order::Trade {
    let payer = |payer: &Payer| match payer {
        Payer::OpenId(openid) => unified_order::Payer::OpenId(OpenId::from(openid.0.clone())),
        Payer::SubOpenId(openid) => unified_order::Payer::SubOpenId(OpenId::from(openid.0.clone())),
    };
    match &asked.trade {
        Trade::Jsapi { payer: who } | Trade::MiniProgram { payer: who } => {
            unified_order::Trade::Jsapi { payer: payer(who) }
        }
        Trade::Native { product_id } => unified_order::Trade::Native {
            product_id: product_id.clone().unwrap_or_else(|| asked.key.out_trade_no.to_string()),
        },
        Trade::App => unified_order::Trade::App,
        Trade::Mweb { scene, .. } => unified_order::Trade::Mweb { scene: h5_scene(scene) },
    }
}

fn h5_scene(scene: &Scene) -> H5Scene {
    match scene.clone() {
        Scene::Wap { wap_url, wap_name } => H5Scene::Wap { wap_url, wap_name },
        Scene::Ios { app_name, bundle_id } => H5Scene::Ios { app_name, bundle_id },
        Scene::Android { app_name, package_name } => H5Scene::Android { app_name, package_name },
    }
}

/// A payment in a browser fails from another address than the order names, so a missing one is no small matter there.
fn payer_ip(asked: &Order) -> Result<IpAddr, CashierError> {
    match (asked.payer_ip, asked.trade.kind()) {
        (Some(address), _) => Ok(address.to_canonical()),
        (None, TradeType::App | TradeType::Mweb) => Err(invalid(
            "payer_ip",
            "is missing: give the payer's own public address",
            "缺失：须传付款人的公网 IP",
        )
        .into()),
        (None, _) => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    }
}

/// By WeChat's names. The amount, its currency and the business order stand in the registration, which never changes;
/// the payer's address and ours may change.
fn parts(asked: &Order, order: &UnifiedOrder) -> BTreeMap<String, String> {
    let (openid, sub_openid) = match &asked.trade {
        Trade::Jsapi { payer: Payer::OpenId(who) } | Trade::MiniProgram { payer: Payer::OpenId(who) } => {
            (who.0.as_str(), "")
        }
        Trade::Jsapi { payer: Payer::SubOpenId(who) }
        | Trade::MiniProgram { payer: Payer::SubOpenId(who) } => ("", who.0.as_str()),
        _ => ("", ""),
    };
    let product_id = match &order.trade {
        unified_order::Trade::Native { product_id } => product_id.as_str(),
        _ => "",
    };
    // A debug text of texts: every difference shows in it, and only its digest is kept.
    let scene = match &asked.trade {
        Trade::Mweb { scene, .. } => format!("{scene:?}"),
        _ => asked.store.as_ref().map(|store| format!("{store:?}")).unwrap_or_default(),
    };
    let time_expire = asked.expires_at.map(|at| (at.millis() / 1000).to_string()).unwrap_or_default();
    [
        ("appid", order.order.appid.as_str()),
        ("sub_appid", order.order.sub_appid.as_deref().unwrap_or_default()),
        ("sub_mch_id", order.order.sub_mch_id.as_deref().unwrap_or_default()),
        ("body", &order.body),
        ("detail", &order.detail),
        ("attach", &order.attach),
        ("device_info", &order.device_info),
        ("goods_tag", &order.goods_tag),
        (TIME_EXPIRE, &time_expire),
        ("product_id", product_id),
        ("openid", openid),
        ("sub_openid", sub_openid),
        ("scene_info", &scene),
        ("limit_pay", if asked.no_credit { "no_credit" } else { "" }),
        ("receipt", if asked.receipt { "Y" } else { "" }),
        ("profit_sharing", asked.profit_sharing.map_or("", |yes| if yes { "Y" } else { "N" })),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| (name.to_owned(), digest(name, value)))
    .collect()
}

/// Enough to name what differs; that nothing else is placed under the number, WeChat itself sees to.
fn digest(name: &str, value: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update(b"\n");
    hash.update(value.as_bytes());
    hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}
