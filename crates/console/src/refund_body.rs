//! The body that asks for a refund, parsed into core's terms. Amounts are whole fen; what WeChat would refuse for its
//! form is refused here, before anything is stored.

use paybell_core::ids::{AppId, MchId, OutRefundNo};
use paybell_core::record::SeenAs;
use paybell_core::refund::{RefundAccount, RefundApplication};

use crate::error::Error;
use crate::fields::Fields;
use crate::line::{is_one_line, reason};
use crate::query::id_error;
use crate::registration::{fee_type, fen};

const KNOWN: [&str; 9] = [
    "out_refund_no",
    "refund_fee",
    "total_fee",
    "fee_type",
    "refund_account",
    "refund_desc",
    "appid",
    "sub_mch_id",
    "reason",
];

/// WeChat's `String(80)`.
const DESCRIPTION_BYTES_MAX: usize = 80;

/// What `who` asks for, and why.
pub(crate) fn read(body: &[u8], who: &str) -> Result<(RefundApplication, String), Error> {
    let fields = Fields::read(body, &KNOWN)?;
    let application = RefundApplication {
        out_refund_no: out_refund_no(&fields)?,
        refund_fee: fen(&fields, "refund_fee")?.ok_or_else(|| {
            Error::field("refund_fee", "is missing: give what goes back in fen, such as 500")
        })?,
        total_fee: fen(&fields, "total_fee")?,
        fee_type: fee_type(&fields)?,
        refund_account: account(&fields)?,
        refund_desc: description(&fields)?,
        seen_as: seen_as(&fields)?,
        who: who.to_owned(),
    };
    Ok((application, reason(&fields)?))
}

fn out_refund_no(fields: &Fields) -> Result<OutRefundNo, Error> {
    let text = fields.text("out_refund_no")?.ok_or_else(|| {
        Error::field("out_refund_no", "is missing: your own number of this refund, the same on every repeat")
    })?;
    OutRefundNo::new(text).map_err(|error| id_error("out_refund_no", &error))
}

fn account(fields: &Fields) -> Result<Option<RefundAccount>, Error> {
    let Some(text) = fields.text("refund_account")? else { return Ok(None) };
    let wrong = "must be REFUND_SOURCE_UNSETTLED_FUNDS or REFUND_SOURCE_RECHARGE_FUNDS";
    RefundAccount::parse(text).map(Some).ok_or_else(|| Error::field("refund_account", wrong))
}

fn description(fields: &Fields) -> Result<Option<String>, Error> {
    let Some(text) = fields.text("refund_desc")? else { return Ok(None) };
    if text.is_empty() || text.len() > DESCRIPTION_BYTES_MAX || !is_one_line(text) {
        let rule =
            format!("must be one line of 1 to {DESCRIPTION_BYTES_MAX} bytes (a Chinese character is 3)");
        return Err(Error::field("refund_desc", rule));
    }
    Ok(Some(text.to_owned()))
}

/// In whose name an order is asked about that is not known here.
fn seen_as(fields: &Fields) -> Result<Option<SeenAs>, Error> {
    let sub_mch_id = fields.text("sub_mch_id")?.map(MchId::new).transpose();
    let sub_mch_id =
        sub_mch_id.map_err(|error| Error::field("sub_mch_id", error.to_string().replace("mch_id ", "")))?;
    let appid = fields.text("appid")?.map(AppId::new).transpose();
    match (appid.map_err(|error| id_error("appid", &error))?, sub_mch_id) {
        (Some(appid), sub_mch_id) => Ok(Some(SeenAs { appid, sub_mch_id })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::field("appid", "is missing: it belongs to sub_mch_id")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        read(body.as_bytes(), "shop").unwrap_err().to_string()
    }

    #[test]
    fn a_full_body_is_read() {
        let body = r#"{"out_refund_no":"R|1*@_-","refund_fee":500,"total_fee":1999,"fee_type":"CNY","refund_account":
            "REFUND_SOURCE_RECHARGE_FUNDS","refund_desc":"退货","appid":"wx1","sub_mch_id":"19","reason":"broken cup"}"#;
        let (application, why) = read(body.as_bytes(), "shop").unwrap();
        assert_eq!((application.refund_fee.get(), application.total_fee.unwrap().get()), (500, 1999));
        assert_eq!(application.refund_account, Some(RefundAccount::RechargeFunds));
        assert_eq!((application.refund_desc.as_deref(), application.who.as_str()), (Some("退货"), "shop"));
        assert_eq!(application.seen_as.unwrap().sub_mch_id.unwrap().as_str(), "19");
        assert_eq!(why, "broken cup");
    }

    #[test]
    fn each_wrong_field_is_named() {
        for (field, value) in [
            ("out_refund_no", "\"\""),
            ("out_refund_no", "7"),
            ("out_refund_no", "\"a b\""),
            ("refund_fee", "0"),
            ("refund_fee", "-5"),
            ("refund_fee", "5.0"),
            ("refund_fee", "\"5\""),
            ("refund_fee", "9007199254740992"),
            ("total_fee", "0"),
            ("fee_type", "\"yuan\""),
            ("refund_account", "\"RECHARGE\""),
            ("refund_desc", "\"\""),
            ("refund_desc", "\"二十七个汉字二十七个汉字二十七个汉字二十七个汉字二十七\""),
            ("refund_desc", "\"a\\nb\""),
            ("sub_mch_id", "\"a-b\""),
            ("refund_free", "1"),
        ] {
            let mut body = serde_json::json!({ "out_refund_no": "R1", "refund_fee": 5 });
            body[field] = serde_json::from_str(value).unwrap();
            let text = refusal(&body.to_string());
            assert!(text.starts_with(&format!("{field}: ")), "{field} {value}: {text}");
        }
        assert!(refusal(r#"{"refund_fee":5}"#).starts_with("out_refund_no: is missing"));
        assert!(refusal(r#"{"out_refund_no":"R1"}"#).starts_with("refund_fee: is missing"));
        let provider = r#"{"out_refund_no":"R1","refund_fee":5,"sub_mch_id":"19"}"#;
        assert!(refusal(provider).starts_with("appid: is missing"));
    }
}
