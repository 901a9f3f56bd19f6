//! The body that has an order placed, parsed into core's terms. A field that has nothing to do with the way of paying is
//! refused: who sends an openid for a QR code means something else. What WeChat would not take is found by whoever calls
//! it.

use std::net::IpAddr;

use paybell_core::OrderKey;
use paybell_core::ids::{AppId, BusinessNo, MchId};
use paybell_core::observation::Openid;
use paybell_core::place::{Order, Payer, Scene, Store, Trade, TradeType};
use serde_json::Value;

use crate::error::Error;
use crate::fields::Fields;
use crate::query::id_error;
use crate::registration::{fee_type, moment, total_fee};

const KNOWN: [&str; 23] = [
    "trade_type",
    "total_fee",
    "fee_type",
    "body",
    "openid",
    "sub_openid",
    "product_id",
    "payer_ip",
    "scene",
    "redirect_url",
    "business_no",
    "appid",
    "sub_mch_id",
    "sub_appid",
    "expires_at",
    "attach",
    "detail",
    "device_info",
    "goods_tag",
    "no_credit",
    "receipt",
    "profit_sharing",
    "store",
];

/// Fields that only some ways of paying have.
const OF_SOME: [(&str, &[TradeType]); 5] = [
    ("openid", &[TradeType::Jsapi, TradeType::MiniProgram]),
    ("sub_openid", &[TradeType::Jsapi, TradeType::MiniProgram]),
    ("product_id", &[TradeType::Native]),
    ("scene", &[TradeType::Mweb]),
    ("redirect_url", &[TradeType::Mweb]),
];

/// Longer ones do not survive every browser.
const REDIRECT_URL_BYTES_MAX: usize = 1024;

/// Reads the body that has the order `key` placed.
pub(crate) fn read(key: OrderKey, body: &[u8]) -> Result<Order, Error> {
    let fields = Fields::read(body, &KNOWN).map_err(name_the_path)?;
    let kind = trade_type(&fields)?;
    for (name, of) in OF_SOME {
        if fields.get(name).is_some() && !of.contains(&kind) {
            let ways: Vec<&str> = of.iter().map(|kind| kind.as_str()).collect();
            let problem =
                format!("belongs to {}, not to {}: leave it out", ways.join(" and "), kind.as_str());
            return Err(Error::field(name, problem));
        }
    }
    Ok(Order {
        key,
        total_fee: total_fee(&fields)?,
        fee_type: fee_type(&fields)?,
        trade: trade(kind, &fields)?,
        body: needed(&fields, "body", "what the payer buys, such as \"Tea shop - green tea\"")?,
        appid: id(&fields, "appid", AppId::new)?,
        sub_mch_id: id(&fields, "sub_mch_id", MchId::new)?,
        sub_appid: id(&fields, "sub_appid", AppId::new)?,
        business_no: id(&fields, "business_no", BusinessNo::new)?,
        expires_at: moment(&fields, "expires_at")?,
        payer_ip: payer_ip(&fields)?,
        attach: text(&fields, "attach")?,
        detail: detail(&fields)?,
        device_info: text(&fields, "device_info")?,
        goods_tag: text(&fields, "goods_tag")?,
        no_credit: fields.boolean("no_credit")?.unwrap_or(false),
        receipt: fields.boolean("receipt")?.unwrap_or(false),
        profit_sharing: fields.boolean("profit_sharing")?,
        store: store(&fields)?,
    })
}

fn trade_type(fields: &Fields) -> Result<TradeType, Error> {
    let words: Vec<&str> = TradeType::ALL.into_iter().map(TradeType::as_str).collect();
    let rule = || Error::field("trade_type", format!("must be one of {}", words.join(", ")));
    fields.text("trade_type")?.and_then(TradeType::parse).ok_or_else(rule)
}

fn trade(kind: TradeType, fields: &Fields) -> Result<Trade, Error> {
    Ok(match kind {
        TradeType::Jsapi => Trade::Jsapi { payer: payer(fields)? },
        TradeType::MiniProgram => Trade::MiniProgram { payer: payer(fields)? },
        TradeType::Native => Trade::Native { product_id: text(fields, "product_id")? },
        TradeType::App => Trade::App,
        TradeType::Mweb => Trade::Mweb { scene: scene(fields)?, redirect_url: redirect_url(fields)? },
    })
}

fn payer(fields: &Fields) -> Result<Payer, Error> {
    let openid = |name: &'static str| -> Result<Option<Openid>, Error> {
        Ok(fields.text(name)?.map(|text| Openid(text.to_owned())))
    };
    match (openid("openid")?, openid("sub_openid")?) {
        (Some(openid), None) => Ok(Payer::OpenId(openid)),
        (None, Some(openid)) => Ok(Payer::SubOpenId(openid)),
        (Some(_), Some(_)) => {
            Err(Error::field("sub_openid", "give openid or sub_openid, not both: one payer pays"))
        }
        (None, None) => Err(Error::field(
            "openid",
            "is missing: the payer's openid under the appid of the order (缺少 openid); POST /v1/openid/code (a page) or \
             /v1/openid/jscode (a mini program) tells it",
        )),
    }
}

fn scene(fields: &Fields) -> Result<Scene, Error> {
    const SCENE: [&str; 6] = ["type", "wap_url", "wap_name", "app_name", "bundle_id", "package_name"];
    let example = r#"such as {"type":"Wap","wap_url":"https://shop.example.com","wap_name":"Tea shop"}"#;
    let Some(scene) = fields.object("scene", &SCENE)? else {
        return Err(Error::field("scene", format!("is missing: where the order is placed, {example}")));
    };
    let two = |first: &'static str, second: &'static str| -> Result<(String, String), Error> {
        let part = |name: &str| {
            let part =
                scene.text(name).map_err(|_| Error::field("scene", format!("{name} must be a text")))?;
            part.map(str::to_owned)
                .ok_or_else(|| Error::field("scene", format!("{name} is missing, {example}")))
        };
        Ok((part(first)?, part(second)?))
    };
    match scene.text("type").ok().flatten() {
        Some("Wap") => two("wap_url", "wap_name").map(|(wap_url, wap_name)| Scene::Wap { wap_url, wap_name }),
        Some("IOS") => {
            two("app_name", "bundle_id").map(|(app_name, bundle_id)| Scene::Ios { app_name, bundle_id })
        }
        Some("Android") => two("app_name", "package_name")
            .map(|(app_name, package_name)| Scene::Android { app_name, package_name }),
        _ => Err(Error::field("scene", format!("type must be Wap, IOS or Android, {example}"))),
    }
}

/// As it is: it is percent-encoded where it becomes a part of the link.
fn redirect_url(fields: &Fields) -> Result<Option<String>, Error> {
    let Some(text) = fields.text("redirect_url")? else { return Ok(None) };
    let is_absolute = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    let fits = text.len() <= REDIRECT_URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_absolute && fits {
        return Ok(Some(text.to_owned()));
    }
    Err(Error::field(
        "redirect_url",
        format!(
            "must be an absolute http(s) address of at most {REDIRECT_URL_BYTES_MAX} bytes, as it stands in a browser and \
             not encoded once more"
        ),
    ))
}

fn payer_ip(fields: &Fields) -> Result<Option<IpAddr>, Error> {
    let Some(text) = fields.text("payer_ip")? else { return Ok(None) };
    let address: Result<IpAddr, _> = text.parse();
    address.map(Some).map_err(|_| {
        Error::field(
            "payer_ip",
            "must be one IPv4 or IPv6 address without port and brackets: the payer's own",
        )
    })
}

/// WeChat wants it as text; a shop has it as an object.
fn detail(fields: &Fields) -> Result<Option<String>, Error> {
    match fields.get("detail") {
        Some(object @ Value::Object(_)) => Ok(Some(object.to_string())),
        _ => text(fields, "detail"),
    }
}

fn store(fields: &Fields) -> Result<Option<Store>, Error> {
    const STORE: [&str; 4] = ["id", "name", "area_code", "address"];
    let Some(store) = fields.object("store", &STORE)? else { return Ok(None) };
    let part = |name: &str| -> Result<String, Error> {
        let part = store.text(name).map_err(|_| Error::field("store", format!("{name} must be a text")))?;
        Ok(part.unwrap_or_default().to_owned())
    };
    let (id, name) = (part("id")?, part("name")?);
    let (area_code, address) = (part("area_code")?, part("address")?);
    Ok(Some(Store { id, name, area_code, address }))
}

fn needed(fields: &Fields, name: &'static str, what: &str) -> Result<String, Error> {
    text(fields, name)?.ok_or_else(|| Error::field(name, format!("is missing: {what}")))
}

fn text(fields: &Fields, name: &'static str) -> Result<Option<String>, Error> {
    Ok(fields.text(name)?.map(str::to_owned))
}

fn id<T>(
    fields: &Fields,
    name: &'static str,
    parse: impl Fn(String) -> Result<T, paybell_core::ids::IdError>,
) -> Result<Option<T>, Error> {
    text(fields, name)?.map(parse).transpose().map_err(|error| {
        // The rule is told under the name of the number's kind.
        let text = error.to_string();
        let rule = text.split_once(' ').map_or(text.as_str(), |(_, rule)| rule);
        if text.starts_with(name) { id_error(name, &error) } else { Error::field(name, rule) }
    })
}

/// The order's own numbers stand in the path.
fn name_the_path(error: Error) -> Error {
    match error {
        Error::Field { field, .. } if field == "mch_id" || field == "out_trade_no" => {
            Error::field(field, "unknown key; the path names it already, leave it out of the body")
        }
        Error::Field { field, .. } if field == "spbill_create_ip" => {
            Error::field(field, "unknown key; the payer's address is payer_ip here")
        }
        Error::Field { field, .. } if field == "notify_url" => Error::field(
            field,
            "unknown key; WeChat notifies Paybell, at ingress.public_url; your service gets order.paid",
        ),
        Error::Field { field, .. } if field == "scene_info" => {
            Error::field(field, "unknown key; give scene (MWEB) or store, as an object")
        }
        Error::Field { field, .. } if field == "time_expire" => {
            Error::field(field, "unknown key; give expires_at, RFC 3339 with an offset")
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(body: &str) -> Result<Order, Error> {
        read(OrderKey::new("1900000109", "T1").unwrap(), body.as_bytes())
    }

    fn refusal(body: &str) -> String {
        order(body).unwrap_err().to_string()
    }

    #[test]
    fn each_way_of_paying_is_read_with_what_it_needs() {
        let with = |rest: &str| order(&format!(r#"{{"total_fee":1999,"body":"Tea",{rest}}}"#)).unwrap();
        let trade = with(r#""trade_type":"JSAPI","openid":"oA""#).trade;
        assert_eq!(trade, Trade::Jsapi { payer: Payer::OpenId(Openid("oA".to_owned())) });
        let trade = with(r#""trade_type":"MINIPROGRAM","sub_openid":"oB","sub_appid":"wx2""#).trade;
        assert_eq!(trade, Trade::MiniProgram { payer: Payer::SubOpenId(Openid("oB".to_owned())) });
        assert_eq!(with(r#""trade_type":"NATIVE""#).trade, Trade::Native { product_id: None });
        let app = with(r#""trade_type":"APP","payer_ip":"2001:db8::1","no_credit":true,"receipt":null"#);
        assert_eq!((app.trade, app.payer_ip), (Trade::App, "2001:db8::1".parse().ok()));
        assert!(app.no_credit && !app.receipt && app.profit_sharing.is_none());
        let mweb = with(
            r#""trade_type":"MWEB","scene":{"type":"Android","app_name":"a","package_name":"b"},
               "redirect_url":"https://shop.example.com/back?order=1&x=2","detail":{"goods":[1]},
               "store":{"id":"S1"},"business_no":"B-1","expires_at":"2026-11-20T12:00:00+08:00""#,
        );
        let scene = Scene::Android { app_name: "a".to_owned(), package_name: "b".to_owned() };
        let redirect_url = Some("https://shop.example.com/back?order=1&x=2".to_owned());
        assert_eq!(mweb.trade, Trade::Mweb { scene, redirect_url });
        assert_eq!(mweb.detail.as_deref(), Some(r#"{"goods":[1]}"#));
        assert_eq!(mweb.store.unwrap().id, "S1");
        assert_eq!(mweb.business_no.unwrap().as_str(), "B-1");
    }

    #[test]
    fn each_fault_names_its_field() {
        for (rest, field) in [
            (r#""trade_type":"jsapi""#, "trade_type"),
            (r#""trade_type":"JSAPI""#, "openid"),
            (r#""trade_type":"JSAPI","openid":"a","sub_openid":"b""#, "sub_openid"),
            (r#""trade_type":"JSAPI","openid":5"#, "openid"),
            (r#""trade_type":"NATIVE","openid":"a""#, "openid"),
            (r#""trade_type":"NATIVE","redirect_url":"https://x""#, "redirect_url"),
            (r#""trade_type":"MWEB""#, "scene"),
            (r#""trade_type":"MWEB","scene":"Wap""#, "scene"),
            (r#""trade_type":"MWEB","scene":{"type":"Wap","wap_url":"https://x"}"#, "scene"),
            (r#""trade_type":"MWEB","scene":{"type":"wap"}"#, "scene"),
            (r#""trade_type":"MWEB","scene":{"kind":"Wap"}"#, "scene"),
            (
                r#""trade_type":"MWEB","scene":{"type":"Wap","wap_url":"a","wap_name":"b"},"redirect_url":"/x""#,
                "redirect_url",
            ),
            (r#""trade_type":"APP","payer_ip":"1.2.3.4:80""#, "payer_ip"),
            (r#""trade_type":"APP","no_credit":"yes""#, "no_credit"),
            (r#""trade_type":"APP","appid":"a b""#, "appid"),
            (r#""trade_type":"APP","sub_appid":"a b""#, "sub_appid"),
            (r#""trade_type":"APP","sub_mch_id":"a-b""#, "sub_mch_id"),
            (r#""trade_type":"APP","notify_url":"https://x""#, "notify_url"),
            (r#""trade_type":"APP","spbill_create_ip":"1.2.3.4""#, "spbill_create_ip"),
            (r#""trade_type":"APP","out_trade_no":"T1""#, "out_trade_no"),
            (r#""trade_type":"APP","expires_at":"2026-11-20""#, "expires_at"),
            (r#""trade_type":"APP","store":{"name":5}"#, "store"),
        ] {
            let text = refusal(&format!(r#"{{"total_fee":1999,"body":"Tea",{rest}}}"#));
            assert!(text.starts_with(&format!("{field}: ")), "{rest}: {text}");
        }
        assert!(refusal(r#"{"trade_type":"NATIVE","body":"Tea"}"#).starts_with("total_fee: is missing"));
        assert!(refusal(r#"{"trade_type":"NATIVE","total_fee":1}"#).starts_with("body: is missing"));
    }

    #[test]
    fn a_payer_is_never_repeated() {
        let text = refusal(r#"{"trade_type":"NATIVE","total_fee":1,"body":"Tea","openid":"oSECRET"}"#);
        assert!(!text.contains("oSECRET"), "{text}");
    }
}
