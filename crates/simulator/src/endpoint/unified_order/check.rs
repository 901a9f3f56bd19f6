//! What unifiedorder refuses in its fields: lengths, words, times, and what each way of paying needs. Looks at the
//! request alone; what is known about the order already is the parent's business.

use serde_json::Value;

use crate::{
    clock,
    settings::Settings,
    wire::{Call, Refusal},
    world::World,
};

/// Fields with their most bytes, and what is said of longer ones.
const LENGTHS: [(&str, usize, &str); 9] = [
    ("body", 128, "body超过最大长度128"),
    ("detail", 6144, "detail超过最大长度6144"),
    ("attach", 128, "attach超过最大长度128"),
    ("device_info", 32, "device_info超过最大长度32"),
    ("goods_tag", 32, "goods_tag超过最大长度32"),
    ("product_id", 32, "product_id超过最大长度32"),
    ("scene_info", 256, "scene_info超过最大长度256"),
    ("openid", 128, "openid超过最大长度128"),
    ("nonce_str", 32, "nonce_str超过最大长度32"),
];
/// Fields with the words that they may have.
const WORDS: [(&str, &[&str], &str); 3] = [
    ("limit_pay", &["no_credit"], "limit_pay格式错误"),
    ("receipt", &["Y"], "receipt格式错误"),
    ("profit_sharing", &["Y", "N"], "profit_sharing格式错误"),
];
const TIME_ILLEGAL: Refusal =
    Refusal::Business { code: "PARAM_ERROR", text: "交易有效截止时间非法" };
const TIME_SHORT: Refusal = Refusal::Business {
    code: "PARAM_ERROR",
    text: "time_expire时间过短，刷卡至少1分钟，其他5分钟",
};

/// Lengths and words of what may be left out or is only passed on.
pub(super) fn optional_fields(call: &Call<'_>) -> Result<(), Refusal> {
    for (name, bytes_max, text) in LENGTHS {
        if call.get(name).is_some_and(|value| value.len() > bytes_max) {
            return Err(Refusal::business("PARAM_ERROR", text));
        }
    }
    for (name, words, text) in WORDS {
        if call.get(name).is_some_and(|value| !words.contains(&value)) {
            return Err(Refusal::business("PARAM_ERROR", text));
        }
    }
    let is_currency = |text: &str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if call.get("fee_type").is_some_and(|text| !is_currency(text)) {
        return Err(Refusal::business("PARAM_ERROR", "fee_type格式错误"));
    }
    Ok(())
}

/// What the way of paying needs, whether the merchant has it, and the times.
pub(super) fn trade(call: &Call<'_>, world: &World) -> Result<(), Refusal> {
    let (mch_id, trade_type) = (call.required("mch_id")?, call.required("trade_type")?);
    let settings = world.settings();
    product(mch_id, trade_type, &settings)?;
    match trade_type {
        "JSAPI" => payer(call, world)?,
        "NATIVE" => call.required("product_id").map(|_| ())?,
        "MWEB" => scene(call.required("scene_info")?)?,
        "APP" => {}
        _ => return Err(Refusal::business("PARAM_ERROR", "trade_type参数错误")),
    }
    times(call, world.clock.wall_ms(), settings.time_expire_min_s)
}

/// The same for a payment at a till.
pub(in super::super) fn till(call: &Call<'_>, world: &World) -> Result<(), Refusal> {
    const TILL_MIN_S: u32 = 60;
    optional_fields(call)?;
    product(call.required("mch_id")?, "MICROPAY", &world.settings())?;
    times(call, world.clock.wall_ms(), TILL_MIN_S)
}

fn product(mch_id: &str, trade_type: &str, settings: &Settings) -> Result<(), Refusal> {
    let closed = settings.closed_products.get(mch_id);
    if closed.is_some_and(|closed| closed.iter().any(|of| of == trade_type)) {
        return Err(Refusal::business("NOAUTH", "商户号该产品权限未开通，请前往商户平台>产品中心检查后重试"));
    }
    Ok(())
}

fn payer(call: &Call<'_>, world: &World) -> Result<(), Refusal> {
    let (openid, sub_openid) = (call.get("openid"), call.get("sub_openid"));
    if openid.or(sub_openid).is_none() {
        return Err(Refusal::business("LACK_PARAMS", "JSAPI支付必须传openid"));
    }
    if sub_openid.is_some() && call.get("sub_appid").is_none() {
        return Err(Refusal::business("LACK_PARAMS", "传sub_openid时必须传sub_appid"));
    }
    let known = |openid: Option<&str>, appid: &str| {
        openid.is_none_or(|openid| world.people.app_of(openid).is_none_or(|of| of == appid))
    };
    let fits = known(openid, call.required("appid")?)
        && known(sub_openid, call.get("sub_appid").unwrap_or_default());
    if fits { Ok(()) } else { Err(Refusal::business("PARAM_ERROR", "appid和openid不匹配")) }
}

/// JSON with `h5_info`, whose `type` says which other words it needs.
fn scene(text: &str) -> Result<(), Refusal> {
    let refusal = Refusal::business("PARAM_ERROR", "scene_info格式错误");
    let scene: Value = serde_json::from_str(text).map_err(|_| refusal)?;
    let info = scene.get("h5_info").ok_or(refusal)?;
    let has = |name: &str| info.get(name).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let needed = match info.get("type").and_then(Value::as_str) {
        Some("Wap") => ["wap_url", "wap_name"],
        Some("IOS") => ["app_name", "bundle_id"],
        Some("Android") => ["app_name", "package_name"],
        _ => return Err(refusal),
    };
    if needed.into_iter().all(has) { Ok(()) } else { Err(refusal) }
}

fn times(call: &Call<'_>, now_ms: i64, min_s: u32) -> Result<(), Refusal> {
    let read = |name| call.get(name).map(|text| clock::from_compact(text).ok_or(TIME_ILLEGAL)).transpose();
    let (start_ms, expire_ms) = (read("time_start")?, read("time_expire")?);
    match expire_ms {
        None => Ok(()),
        Some(expire_ms) if expire_ms <= now_ms.max(start_ms.unwrap_or(now_ms)) => Err(TIME_ILLEGAL),
        // Its seconds are whole: the one that has begun is granted.
        Some(expire_ms) if expire_ms + 1000 < now_ms + i64::from(min_s) * 1000 => Err(TIME_SHORT),
        Some(_) => Ok(()),
    }
}
