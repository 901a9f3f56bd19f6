//! The body that registers an order, parsed into core's terms. Amounts are whole fen: a float, a text or a zero is
//! refused, never rounded.

use paybell_core::ids::{AppId, BusinessNo, MchId, OutTradeNo};
use paybell_core::money::FEN_MAX;
use paybell_core::register::Application;
use paybell_core::{Currency, Fen, OrderKey, Timestamp};

use crate::error::Error;
use crate::fields::Fields;
use crate::query::id_error;

const KNOWN: [&str; 7] =
    ["total_fee", "fee_type", "appid", "sub_mch_id", "created_at", "expires_at", "business_no"];

/// Reads a registration body.
pub(crate) fn read(body: &[u8]) -> Result<Application, Error> {
    application(&Fields::read(body, &KNOWN).map_err(name_the_path)?)
}

/// Reads a registration that came by message: the same body, and the order's numbers in it.
pub(crate) fn read_posted(body: &[u8]) -> Result<(OrderKey, Application), (Option<OrderKey>, Error)> {
    let known: Vec<&str> = ["mch_id", "out_trade_no"].into_iter().chain(KNOWN).collect();
    let fields = Fields::read(body, &known).map_err(|error| (None, asks_for_more(body).unwrap_or(error)))?;
    let key = key(&fields).map_err(|error| (None, error))?;
    match application(&fields) {
        Ok(application) => Ok((key, application)),
        Err(error) => Err((Some(key), error)),
    }
}

/// Nobody hears the answer to a message, and these are nothing without theirs.
fn asks_for_more(body: &[u8]) -> Option<Error> {
    let document: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    let elsewhere = [("out_refund_no", "a refund", "refunds"), ("trade_type", "placing an order", "place")];
    let (field, what, verb) = elsewhere.into_iter().find(|(field, ..)| document.contains_key(*field))?;
    Some(Error::field(
        field,
        format!(
            "only registrations are taken by message; {what} is asked for over HTTP, where its answer is heard: \
             POST /v1/orders/{{mch_id}}/{{out_trade_no}}/{verb}"
        ),
    ))
}

fn key(fields: &Fields) -> Result<OrderKey, Error> {
    let id = |name: &'static str| {
        fields.text(name)?.ok_or_else(|| Error::field(name, "is missing: name the order it is about"))
    };
    let mch_id = MchId::new(id("mch_id")?).map_err(|error| id_error("mch_id", &error))?;
    let out_trade_no = OutTradeNo::new(id("out_trade_no")?);
    let out_trade_no = out_trade_no.map_err(|error| id_error("out_trade_no", &error))?;
    Ok(OrderKey { mch_id, out_trade_no })
}

fn application(fields: &Fields) -> Result<Application, Error> {
    let created_at = moment(fields, "created_at")?;
    let expires_at = moment(fields, "expires_at")?;
    if let (Some(created_at), Some(expires_at)) = (created_at, expires_at)
        && expires_at <= created_at
    {
        return Err(Error::field("expires_at", "must be later than created_at"));
    }
    let id = |name: &'static str| fields.text(name);
    Ok(Application {
        total_fee: total_fee(fields)?,
        fee_type: fee_type(fields)?,
        appid: id("appid")?.map(AppId::new).transpose().map_err(|error| id_error("appid", &error))?,
        sub_mch_id: id("sub_mch_id")?
            .map(MchId::new)
            .transpose()
            .map_err(|error| Error::field("sub_mch_id", error.to_string().replace("mch_id ", "")))?,
        created_at,
        expires_at,
        business_no: id("business_no")?
            .map(BusinessNo::new)
            .transpose()
            .map_err(|error| id_error("business_no", &error))?,
    })
}

/// The order's own numbers stand in the path.
fn name_the_path(error: Error) -> Error {
    match error {
        Error::Field { field, .. } if field == "mch_id" || field == "out_trade_no" => {
            Error::field(field, "unknown key; the path names it already, leave it out of the body")
        }
        other => other,
    }
}

pub(crate) fn total_fee(fields: &Fields) -> Result<Fen, Error> {
    fen(fields, "total_fee")?
        .ok_or_else(|| Error::field("total_fee", "is missing: give the order's amount in fen, such as 1999"))
}

/// An amount that is more than nothing, if it is given.
pub(crate) fn fen(fields: &Fields, name: &'static str) -> Result<Option<Fen>, Error> {
    let Some(value) = fields.get(name) else { return Ok(None) };
    let fen = value.as_i64().and_then(|fen| Fen::new(fen).ok()).filter(|fen| !fen.is_zero());
    fen.map(Some).ok_or_else(|| {
        let rule =
            format!("must be a whole number of fen from 1 to {FEN_MAX}, without quotes and without a point");
        Error::field(name, rule)
    })
}

/// A currency, if it is given.
pub(crate) fn fee_type(fields: &Fields) -> Result<Option<Currency>, Error> {
    let code = fields.text("fee_type")?;
    let currency = code.map(Currency::new).transpose();
    currency.map_err(|_| Error::field("fee_type", "must be three capital letters, such as CNY"))
}

pub(crate) fn moment(fields: &Fields, name: &'static str) -> Result<Option<Timestamp>, Error> {
    let Some(text) = fields.text(name)? else { return Ok(None) };
    let time = if is_rfc3339(text) { Timestamp::parse_rfc3339(text).ok() } else { None };
    let wrong = "must be RFC 3339 with an offset, such as 2026-11-20T12:00:00+08:00";
    time.map(Some).ok_or_else(|| Error::field(name, wrong))
}

/// The shape of RFC 3339 `date-time`: the parser behind knows more forms than other readers of the same text do.
fn is_rfc3339(text: &str) -> bool {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let fits = |shape: u8, byte: u8| match shape {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't'),
        exact => byte == exact,
    };
    let same = |shape: &[u8], bytes: &[u8]| {
        shape.len() == bytes.len() && shape.iter().zip(bytes).all(|(shape, byte)| fits(*shape, *byte))
    };
    let Some((whole, rest)) = text.as_bytes().split_at_checked(SHAPE.len()) else { return false };
    let fraction = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let Some((_, offset)) = rest.split_at_checked(fraction) else { return false };
    let is_offset = match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', hours @ ..] => same(b"00:00", hours),
        _ => false,
    };
    same(SHAPE, whole) && fraction != 1 && is_offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_posted_registration_names_its_order() {
        let posted = br#"{"mch_id":"1900000109","out_trade_no":"T1","total_fee":5}"#;
        let (key, application) = read_posted(posted).unwrap();
        assert_eq!((key, application.total_fee.get()), (OrderKey::new("1900000109", "T1").unwrap(), 5));
        for (body, names_its_order, word) in [
            ("{\"total_fee\":5}", false, "mch_id"),
            ("{\"mch_id\":\"1\",\"total_fee\":5}", false, "out_trade_no"),
            ("{\"mch_id\":\"1\",\"out_trade_no\":\"T\"}", true, "total_fee"),
            ("{\"mch_id\":\"x y\",\"out_trade_no\":\"T\",\"total_fee\":5}", false, "mch_id"),
            ("{\"mch_id\":\"1\",\"out_trade_no\":\"T\",\"total_fee\":5,\"fee\":1}", false, "fee"),
            ("no json", false, "JSON"),
            (
                "{\"mch_id\":\"1\",\"out_trade_no\":\"T\",\"total_fee\":5,\"trade_type\":\"NATIVE\"}",
                false,
                "/place",
            ),
            ("{\"mch_id\":\"1\",\"out_trade_no\":\"T\",\"out_refund_no\":\"R\"}", false, "/refunds"),
        ] {
            let (key, error) = read_posted(body.as_bytes()).unwrap_err();
            assert_eq!(key.is_some(), names_its_order, "{body}");
            assert!(error.to_string().contains(word), "{body}: {error}");
        }
    }

    fn refusal(body: &str) -> String {
        read(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_full_body_is_read_and_null_is_absent() {
        let full = read(
            br#"{"total_fee":1999,"fee_type":"CNY","appid":"wx1","sub_mch_id":"19","created_at":"2026-11-20T12:00:00+08:00",
                 "expires_at":"2026-11-20T04:30:00.5Z"}"#,
        )
        .unwrap();
        assert_eq!(full.total_fee.get(), 1999);
        assert_eq!(full.expires_at.unwrap().since(full.created_at.unwrap()).0, 1_800_500);
        let bare = read(br#"{"total_fee":1,"appid":null}"#).unwrap();
        assert_eq!((bare.appid, bare.fee_type), (None, None));
    }

    #[test]
    fn an_amount_is_whole_fen() {
        for bad in ["1999.0", "\"1999\"", "0", "-1", "1e3", "9007199254740992", "true", "19.99", "null"] {
            let text = refusal(&format!(r#"{{"total_fee":{bad}}}"#));
            assert!(text.starts_with("total_fee: "), "{bad}: {text}");
        }
        assert!(refusal("{}").contains("missing"));
    }

    #[test]
    fn each_wrong_field_is_named() {
        for (field, value) in [
            ("fee_type", "\"cny\""),
            ("appid", "\"wx 1\""),
            ("sub_mch_id", "\"a-b\""),
            ("sub_mch_id", "19"),
            ("created_at", "\"2026-11-20T12:00:00\""),
            ("created_at", "\"2026-11-20 12:00:00+08:00\""),
            ("created_at", "\"2026-02-30T12:00:00Z\""),
            ("expires_at", "\"20261120T120000Z\""),
            ("expires_at", "\"2026-11-20T12:00:00.+08:00\""),
            ("expires_at", "\"2026-11-20T12:00:00+08\""),
            ("mch_id", "\"1900000109\""),
        ] {
            let text = refusal(&format!(r#"{{"total_fee":1,"{field}":{value}}}"#));
            assert!(text.starts_with(&format!("{field}: ")), "{field} {value}: {text}");
        }
        let backwards =
            r#"{"total_fee":1,"created_at":"2026-11-20T12:00:00Z","expires_at":"2026-11-20T12:00:00Z"}"#;
        assert!(refusal(backwards).starts_with("expires_at: "));
    }
}
