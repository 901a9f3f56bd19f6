//! What must hold for every document, not only for the published ones.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic, and a mutation picks its byte by index"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use wechat_pay::beijing;
use wechat_pay::notification::Unverified;
use wechat_pay::query::OrderQueryAnswer;
use wechat_pay::sign::{self, AcceptedAlgorithm, Algorithm, ApiKey};
use wechat_pay::xml::{self, Document, FIELDS_MAX};

const SOUND: [(&str, &str); 10] = [
    ("return_code", "SUCCESS"),
    ("result_code", "SUCCESS"),
    ("appid", "wx1"),
    ("mch_id", "1900000109"),
    ("out_trade_no", "T1"),
    ("transaction_id", "42"),
    ("total_fee", "1999"),
    ("time_end", "20261118223732"),
    ("coupon_id_0", "1"),
    ("coupon_fee_0", "100"),
];

fn key() -> ApiKey {
    ApiKey::new("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").unwrap()
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![Just(Algorithm::Md5), Just(Algorithm::HmacSha256)]
}

/// Text that XML can carry, rich in what a writer must take care of.
fn value() -> impl Strategy<Value = String> {
    let awkward = prop_oneof!["]]>", "\\]", "\r\n", "\r", "&amp;", "<a>", "=", "&", " ", "中", "😀", "[ -~]"];
    prop_oneof![
        proptest::collection::vec(awkward, 0..8).prop_map(|pieces| pieces.concat()),
        "[\\t\\n\\r -~\u{80}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]{0,12}",
    ]
}

fn fields() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[A-Za-z_][A-Za-z0-9_.-]{0,12}", value(), 1..20)
}

/// A sound payment of which a few fields say something else.
fn nearly_sound_fields() -> impl Strategy<Value = BTreeMap<String, String>> {
    let text = prop_oneof![
        "SUCCESS|FAIL|REFUND|NOTPAY|NEW|wx1|T1|",
        "-?[0-9]{1,20}",
        "20[0-9]{2}[01][0-9][0-3][0-9][0-2][0-9][0-5][0-9][0-5][0-9]",
        value(),
    ];
    let name = proptest::sample::select(&SOUND[..]).prop_map(|(name, _)| name.to_owned());
    proptest::collection::btree_map(name, text, 0..3).prop_map(|changes| {
        let mut fields: BTreeMap<_, _> =
            SOUND.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        fields.extend(changes);
        fields
    })
}

fn pairs(fields: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    fields.iter().map(|(name, value)| (&**name, &**value))
}

fn signed_body(fields: &BTreeMap<String, String>, algorithm: Algorithm) -> String {
    let sign = sign::sign(pairs(fields), &key(), algorithm);
    xml::write(pairs(fields).filter(|(name, _)| *name != "sign").chain([("sign", sign.as_str())]))
}

fn verifies(body: &[u8], algorithm: Algorithm) -> bool {
    Document::parse(body).is_ok_and(|document| sign::verify(&document, &key(), algorithm).is_ok())
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(fields in fields()) {
        let body = xml::write(&fields);
        let document = Document::parse(body.as_bytes()).unwrap();
        prop_assert_eq!(document.len(), fields.len());
        prop_assert!(document.iter().eq(pairs(&fields)));
    }

    #[test]
    fn whatever_is_written_is_well_formed(value in any::<String>()) {
        let body = xml::write([("a", &value)]);
        prop_assert!(Document::parse(body.as_bytes()).is_ok(), "{}", body);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(body in any::<Vec<u8>>()) {
        let _ = Document::parse(&body);
        let _ = Document::parse_with_root(&body, "root");
        let _ = OrderQueryAnswer::parse(&body, &key(), Algorithm::Md5);
    }

    #[test]
    fn no_markup_makes_the_readers_panic(pieces in proptest::collection::vec(
        "</?xml/?>|</?a ?/?>|<b>|<!\\[CDATA\\[|\\]\\]>|&#?x?[0-9a]{0,4};|<!--|-->|<\\?xml |\\?>|<!DOCTYPE|[ -~]{0,5}",
        0..12,
    )) {
        if let Ok(document) = Document::parse(pieces.concat().as_bytes()) {
            prop_assert!((1..=FIELDS_MAX).contains(&document.len()));
            let names: std::collections::BTreeSet<_> = document.iter().map(|(name, _)| name).collect();
            prop_assert_eq!(names.len(), document.len());
        }
    }

    #[test]
    fn the_order_of_fields_does_not_change_the_sign(
        (sorted, shuffled) in fields().prop_flat_map(|fields| {
            let pairs: Vec<_> = fields.clone().into_iter().collect();
            (Just(fields), Just(pairs).prop_shuffle())
        }),
        algorithm in algorithm(),
    ) {
        let again = shuffled.iter().map(|(name, value)| (&**name, &**value));
        prop_assert_eq!(sign::sign(pairs(&sorted), &key(), algorithm), sign::sign(again, &key(), algorithm));
    }

    #[test]
    fn a_signed_document_verifies_until_one_byte_is_changed(
        fields in fields(),
        algorithm in algorithm(),
        at in any::<proptest::sample::Index>(),
        change in 1..=255u8,
    ) {
        let mut body = signed_body(&fields, algorithm).into_bytes();
        prop_assert!(verifies(&body, algorithm));
        let at = at.index(body.len());
        // To XML a carriage return is a line feed: the document stays the same.
        prop_assume!((body[at], body[at] ^ change) != (b'\n', b'\r'));
        body[at] ^= change;
        prop_assert!(!verifies(&body, algorithm), "{}", String::from_utf8_lossy(&body));
    }

    #[test]
    fn what_a_notification_says_is_what_its_fields_say(fields in nearly_sound_fields()) {
        let body = signed_body(&fields, Algorithm::Md5);
        let _ = OrderQueryAnswer::parse(body.as_bytes(), &key(), Algorithm::Md5);
        let unverified = Unverified::parse(body.as_bytes()).unwrap();
        if let Ok((authentic, _)) = unverified.verify(&[&key()], AcceptedAlgorithm::Any)
            && let Ok(notification) = authentic.into_notification()
        {
            prop_assert_eq!(notification.out_trade_no(), &fields["out_trade_no"]);
            prop_assert_eq!(notification.payment().is_some(), fields["result_code"] == "SUCCESS");
            if let Some(payment) = notification.payment() {
                prop_assert_eq!(payment.total_fee.to_string(), fields["total_fee"].as_str());
                prop_assert_eq!(beijing::format_compact(payment.time_end_ms).unwrap(), fields["time_end"].as_str());
            }
        }
    }
}
