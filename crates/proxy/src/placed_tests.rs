//! Which requests are believed, and what is read from them.

use wechat_pay::xml;

use super::*;

const KEY: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";
const PREVIOUS: &str = "PAs55YPJwrDdIOBBtY8YR51AlptScZJw";
const STRANGER: &str = "0123456789abcdef0123456789abcdef";
const T0: Timestamp = Timestamp::from_millis(1_795_012_652_000);

const ORDER: [(&str, &str); 9] = [
    ("appid", "wx1"),
    ("mch_id", "1900000109"),
    ("nonce_str", "n"),
    ("body", "茶叶 & <杯>"),
    ("out_trade_no", "T1"),
    ("total_fee", "1999"),
    ("spbill_create_ip", "1.2.3.4"),
    ("notify_url", "https://shop.example/notify"),
    ("trade_type", "NATIVE"),
];

fn key(text: &str) -> ApiKey {
    ApiKey::new(text).unwrap()
}

fn merchants(sub_mch_ids: &[&str]) -> Merchants {
    Merchants::new(vec![Merchant {
        mch_id: "1900000109".into(),
        app_ids: vec!["wx1".into()],
        sub_mch_ids: sub_mch_ids.iter().map(|id| (*id).to_owned()).collect(),
        keys: vec![key(KEY), key(PREVIOUS)],
        identity: None,
    }])
    .unwrap()
}

/// The order with some fields changed (an empty value is not sent), signed.
fn request(changes: &[(&str, &str)], by: &str, algorithm: Algorithm) -> Vec<u8> {
    let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
    let kept = ORDER.iter().filter(|(name, _)| !is_changed(name));
    let mut fields: Vec<_> =
        kept.chain(changes).copied().filter(|(name, value)| !value.is_empty() && *name != "sign").collect();
    let sign = sign::sign(fields.iter().copied(), &key(by), algorithm);
    match changes.iter().find(|(name, _)| *name == "sign") {
        Some((_, "")) => {}
        Some((_, other)) => fields.push(("sign", other)),
        None => fields.push(("sign", &sign)),
    }
    xml::write(fields).into_bytes()
}

fn refusal(body: &[u8]) -> (&'static str, bool) {
    let merchants = merchants(&[]);
    let unverified = read(body, &merchants).unwrap_err();
    (unverified.reason, unverified.mch_id.is_some())
}

#[test]
fn facts_come_from_a_request_signed_by_either_key_and_algorithm() {
    let merchants = merchants(&[]);
    for (by, algorithm, sign_type, key_index) in [
        (KEY, Algorithm::Md5, "", 0),
        (KEY, Algorithm::Md5, "MD5", 0),
        (PREVIOUS, Algorithm::Md5, "", 1),
        (KEY, Algorithm::HmacSha256, "HMAC-SHA256", 0),
        (PREVIOUS, Algorithm::HmacSha256, "HMAC-SHA256", 1),
    ] {
        let body = request(&[("sign_type", sign_type), ("fee_type", "USD")], by, algorithm);
        let verified = read(&body, &merchants).unwrap();
        assert_eq!(verified.key_index, key_index, "{by} {sign_type}");
        let application = verified.placed.application(None, None);
        assert_eq!(verified.placed.key, OrderKey::new("1900000109", "T1").unwrap());
        assert_eq!(application.total_fee, Fen::new(1999).unwrap());
        assert_eq!(application.fee_type.unwrap().as_str(), "USD");
        assert_eq!(application.appid.unwrap().as_str(), "wx1");
        assert_eq!((application.created_at, application.expires_at), (None, None));
    }
}

#[test]
fn a_request_that_is_not_the_merchants_is_refused_by_reason() {
    let md5 = |changes: &[(&str, &str)]| request(changes, KEY, Algorithm::Md5);
    assert_eq!(refusal(&request(&[], STRANGER, Algorithm::Md5)), ("bad_signature", true));
    assert_eq!(refusal(&request(&[], KEY, Algorithm::HmacSha256)), ("bad_signature", true), "none is MD5");
    assert_eq!(refusal(&md5(&[("sign_type", "RSA")])), ("unsupported_sign_type", true));
    assert_eq!(refusal(&md5(&[("sign", "")])), ("missing_sign", true));
    assert_eq!(refusal(&md5(&[("mch_id", "1900000110")])), ("unknown_merchant", false));
    assert_eq!(refusal(&md5(&[("mch_id", "")])), ("unknown_merchant", false));
    assert_eq!(refusal(b"{\"mch_id\":\"1900000109\"}"), ("json_body", false));
    assert_eq!(refusal(b"<xml><body>\xb2\xe8</body></xml>"), ("invalid_encoding", false));
    assert_eq!(refusal(b"a=1&b=2"), ("invalid_xml", false));
    let mut tampered = String::from_utf8(md5(&[])).unwrap();
    tampered = tampered.replace("1999", "1");
    assert_eq!(refusal(tampered.as_bytes()), ("bad_signature", true));
    for (name, value) in [
        ("total_fee", "0"),
        ("total_fee", "19.99"),
        ("total_fee", ""),
        ("total_fee", "9007199254740992"),
        ("fee_type", "cny"),
        ("out_trade_no", "a b"),
        ("out_trade_no", ""),
        ("appid", ""),
        ("sub_mch_id", "a-b"),
    ] {
        assert_eq!(refusal(&md5(&[(name, value)])), ("invalid_field", true), "{name}={value}");
    }
}

#[test]
fn a_service_providers_order_carries_its_sub_merchant() {
    let restricted = merchants(&["1573520957"]);
    let body = |sub: &'static str| request(&[("sub_mch_id", sub)], KEY, Algorithm::Md5);
    let placed = read(&body("1573520957"), &restricted).unwrap().placed;
    assert_eq!(placed.application(None, None).sub_mch_id.unwrap().as_str(), "1573520957");
    for other in ["1573520958", ""] {
        assert_eq!(read(&body(other), &restricted).unwrap_err().reason, "wrong_sub_mch_id");
    }
    assert!(read(&body("1573520958"), &merchants(&[])).is_ok());
}

#[test]
fn the_last_look_follows_the_time_to_pay() {
    let merchants = merchants(&[]);
    let placed = |time_expire: &'static str| {
        let body =
            request(&[("time_expire", time_expire), ("time_start", "20261118223000")], KEY, Algorithm::Md5);
        read(&body, &merchants).unwrap().placed
    };
    let expires_at = |time_expire| {
        let placed = placed(time_expire);
        placed.application(Some(T0), None).expires_at.map(|at| at.since(T0).0 / 1000)
    };
    // T0 is 2026-11-18 22:37:32 in Beijing.
    assert_eq!(expires_at("20261118230732"), Some(30 * 60 + 15 * 60), "half an hour, and the grace");
    assert_eq!(expires_at("20261118223733"), Some(1 + 15 * 60));
    assert_eq!(expires_at("20261118223732"), None, "over already");
    assert_eq!(expires_at("20261118143732"), None, "an hour of another time zone");
    assert_eq!(expires_at("20271118223732"), Some(30 * 24 * 3600), "no order is polled for a year");
    assert!(!placed("half past ten").needs_clock());
    assert!(placed("20261118230732").needs_clock());
}

#[test]
fn a_later_attempt_says_when_the_order_was_placed() {
    let merchants = merchants(&[]);
    let placed = read(&request(&[], KEY, Algorithm::Md5), &merchants).unwrap().placed;
    let application = placed.application(Some(T0), Some(Duration::from_secs(90)));
    assert_eq!(application.created_at, Some(T0 - Millis::seconds(90)));
    assert_eq!(placed.application(Some(T0), None).created_at, None, "the ledger says when");
}
