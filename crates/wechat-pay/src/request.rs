//! Writes signed requests about one order. Orders are named by `out_trade_no` only, the number that is ours.
//!
//! Takes its nonce as an argument and sends nothing; the body goes to [`crate::client`] or to any HTTP client.

use crate::sign::{self, Algorithm, ApiKey};
use crate::xml;

/// Which order a request is about, and in whose name it was placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRef {
    /// The app the order was placed with (the provider's in provider mode).
    pub appid: String,
    pub out_trade_no: String,
    /// Provider mode (服务商): the sub merchant and, if the order was placed with one, its app.
    pub sub_mch_id: Option<String>,
    pub sub_appid: Option<String>,
}

impl OrderRef {
    /// An order of a direct merchant.
    pub fn new(appid: impl Into<String>, out_trade_no: impl Into<String>) -> Self {
        Self { appid: appid.into(), out_trade_no: out_trade_no.into(), sub_mch_id: None, sub_appid: None }
    }

    /// The same order placed by a provider for a sub merchant.
    #[must_use]
    pub fn for_sub_merchant(self, sub_mch_id: impl Into<String>, sub_appid: Option<String>) -> Self {
        Self { sub_mch_id: Some(sub_mch_id.into()), sub_appid, ..self }
    }
}

/// Who signs a request and how: the answer comes back signed alike.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'s> {
    pub mch_id: &'s str,
    pub key: &'s ApiKey,
    pub algorithm: Algorithm,
}

/// The body shared by order query and close. `nonce` is at most 32 letters and digits, new for every request.
pub(crate) fn write(order: &OrderRef, signer: Signer<'_>, nonce: &str) -> String {
    write_with(order, &[("out_trade_no", &order.out_trade_no)], signer, nonce)
}

/// A signed body about an order, or for the party of one: `fields` take the place of its number. Empty ones are not
/// sent.
pub(crate) fn write_with(
    party: &OrderRef,
    fields: &[(&str, &str)],
    signer: Signer<'_>,
    nonce: &str,
) -> String {
    let sign_type = match signer.algorithm {
        // The default; the oldest interfaces do not list the parameter.
        Algorithm::Md5 => "",
        Algorithm::HmacSha256 => signer.algorithm.as_str(),
    };
    let mut all = vec![("appid", party.appid.as_str()), ("mch_id", signer.mch_id)];
    all.extend(fields);
    all.extend([
        ("nonce_str", nonce),
        ("sub_appid", party.sub_appid.as_deref().unwrap_or_default()),
        ("sub_mch_id", party.sub_mch_id.as_deref().unwrap_or_default()),
        ("sign_type", sign_type),
    ]);
    all.retain(|(_, value)| !value.is_empty());
    let sign = sign::sign(all.iter().copied(), signer.key, signer.algorithm);
    all.push(("sign", &sign));
    xml::write(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::Document;

    #[test]
    fn requests_are_signed_and_name_the_order_by_our_number() {
        let key = ApiKey::new("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").unwrap();
        let signer = Signer { mch_id: "1900000109", key: &key, algorithm: Algorithm::Md5 };
        let order = OrderRef::new("wx1", "T1");
        let body = write(&order, signer, "n0nce");
        let document = Document::parse(body.as_bytes()).unwrap();
        let names: Vec<_> = document.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["appid", "mch_id", "out_trade_no", "nonce_str", "sign"]);
        assert_eq!(sign::verify(&document, &key, Algorithm::Md5), Ok(()));

        let order = order.for_sub_merchant("1573520957", Some("wx2".to_owned()));
        let body = write(&order, Signer { algorithm: Algorithm::HmacSha256, ..signer }, "n0nce");
        let document = Document::parse(body.as_bytes()).unwrap();
        assert_eq!(document.get("sub_mch_id"), Some("1573520957"));
        assert_eq!(document.get("sub_appid"), Some("wx2"));
        assert_eq!(document.get("sign_type"), Some("HMAC-SHA256"));
        assert_eq!(sign::verify(&document, &key, Algorithm::HmacSha256), Ok(()));
    }
}
