//! Which calls register an order, with which facts, and when.

use wechat_pay::sign::Algorithm;

use crate::ledger::{Journal, T0};
use crate::rig::{Rig, merchant};
use crate::shop::{self, KEY, MCH_ID, PREVIOUS, STRANGER, order, post, signed};
use crate::wechat::{Reply, Wechat, ok};

const UNIFIED: &str = "/pay/unifiedorder";

async fn answering(journal: &Journal) -> Wechat {
    Wechat::start(journal.clone(), |_| Reply::Send(ok(b"<xml>whatever</xml>"))).await
}

#[tokio::test]
async fn an_order_is_registered_before_wechat_sees_it() {
    let journal = Journal::default();
    let wechat = answering(&journal).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    for (path, number) in [(UNIFIED, "T1"), ("/pay/micropay", "T2"), ("//pay/unifiedorder", "T3")] {
        let body = order(number, "1999", &[("fee_type", "USD")]);
        assert_eq!(post(rig.address, path, &body).await.body, b"<xml>whatever</xml>");
        assert_eq!(
            journal.lock().unwrap().split_off(0),
            [format!("registered {number}"), format!("sent POST {path} HTTP/1.1")]
        );
        assert_eq!(wechat.request(wechat.count() - 1).body, body);
        let record = rig.ledger.record(MCH_ID, number).unwrap();
        let registration = record.registration.unwrap();
        assert_eq!((registration.total_fee.get(), registration.fee_type.as_str()), (1999, "USD"));
        assert_eq!(registration.appid.unwrap().as_str(), shop::APPID);
        assert_eq!((registration.sub_mch_id, registration.expires_at), (None, None));
    }
    assert_eq!(rig.registrations("registered"), 3);
    assert_eq!(rig.calls(UNIFIED, "answered"), 2);
    assert_eq!(rig.calls("/pay/micropay", "answered"), 1);
    assert_eq!(rig.metric(&format!("paybell_key_used_total{{mch_id=\"{MCH_ID}\",key=\"current\"}}")), 3);
}

#[tokio::test]
async fn a_providers_order_carries_its_sub_merchant_and_its_end() {
    let journal = Journal::default();
    let wechat = answering(&journal).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    // The ledger's clock stands at 22:37:32.
    let changes = [("sub_mch_id", "1573520957"), ("sub_appid", "wx2"), ("time_expire", "20261118230732")];
    post(rig.address, UNIFIED, &order("T1", "1", &changes)).await;
    let record = rig.ledger.record(MCH_ID, "T1").unwrap();
    let registration = record.registration.unwrap();
    assert_eq!(registration.sub_mch_id.unwrap().as_str(), "1573520957");
    assert_eq!(registration.expires_at.unwrap().since(T0).0, (30 + 15) * 60_000);
}

#[tokio::test]
async fn the_same_again_is_the_same_and_another_amount_is_forwarded_and_counted() {
    let journal = Journal::default();
    let wechat = answering(&journal).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    post(rig.address, UNIFIED, &order("T1", "1999", &[("time_expire", "20261118230732")])).await;
    // An SDK that repeats writes a new nonce, and often a later end.
    let again = [("nonce_str", "another"), ("time_expire", "20261118230740")];
    post(rig.address, UNIFIED, &order("T1", "1999", &again)).await;
    assert_eq!((rig.registrations("registered"), rig.registrations("same")), (1, 1));
    let other = order("T1", "2000", &[]);
    assert_eq!(post(rig.address, UNIFIED, &other).await.status, 200);
    assert_eq!(rig.registrations("different"), 1);
    assert_eq!(wechat.count(), 3);
    assert_eq!(wechat.request(2).body, other, "WeChat decides");
    assert_eq!(rig.ledger.record(MCH_ID, "T1").unwrap().registration.unwrap().total_fee.get(), 1999);
}

#[tokio::test]
async fn both_keys_of_a_rotation_and_both_algorithms_verify() {
    let journal = Journal::default();
    let wechat = answering(&journal).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    let hmac = [("sign_type", "HMAC-SHA256")];
    for (number, changes, signer) in [
        ("T1", &[][..], (KEY, Algorithm::Md5)),
        ("T2", &[][..], (PREVIOUS, Algorithm::Md5)),
        ("T3", &hmac[..], (KEY, Algorithm::HmacSha256)),
        ("T4", &hmac[..], (PREVIOUS, Algorithm::HmacSha256)),
    ] {
        post(rig.address, UNIFIED, &signed(number, "1", changes, signer)).await;
        assert!(rig.ledger.record(MCH_ID, number).is_some(), "{number}");
    }
    for key in ["current", "previous"] {
        assert_eq!(rig.metric(&format!("paybell_key_used_total{{mch_id=\"{MCH_ID}\",key=\"{key}\"}}")), 2);
    }
}

#[tokio::test]
async fn what_cannot_be_verified_is_forwarded_unchanged_and_registers_nothing() {
    let journal = Journal::default();
    let wechat = answering(&journal).await;
    let rig = Rig::with(&journal, &[&wechat.url], |config| {
        config.merchants[0].sub_mch_ids = vec!["1573520957".into()];
    })
    .await;
    let sub = ("sub_mch_id", "1573520957");
    let long = "x".repeat(70_000);
    let cases: [(&str, Vec<u8>); 9] = [
        ("bad_signature", signed("T1", "1", &[sub], (STRANGER, Algorithm::Md5))),
        ("unsupported_sign_type", order("T1", "1", &[sub, ("sign_type", "RSA")])),
        ("unknown_merchant", order("T1", "1", &[("mch_id", "1900000110")])),
        ("wrong_sub_mch_id", order("T1", "1", &[])),
        ("invalid_field", order("T1", "0", &[sub])),
        ("invalid_xml", b"appid=1&mch_id=2".to_vec()),
        ("json_body", b"{\"mchid\":\"1900000109\"}".to_vec()),
        ("invalid_encoding", b"<xml><body>\xb2\xe8\xd2\xb6</body></xml>".to_vec()),
        ("too_large", order("T1", "1", &[sub, ("detail", &long)])),
    ];
    for (number, (reason, body)) in cases.iter().enumerate() {
        let answer = post(rig.address, UNIFIED, body).await;
        assert_eq!((answer.status, &*answer.body), (200, &b"<xml>whatever</xml>"[..]), "{reason}");
        assert_eq!(wechat.request(number).body, *body, "{reason}");
        assert_eq!(rig.unverified(reason), 1, "{reason}");
    }
    assert_eq!(rig.registrations("unverified"), 9);
    assert_eq!(rig.ledger.count(), 0);
}

#[tokio::test]
async fn only_calls_that_place_real_orders_register() {
    let journal = Journal::default();
    let wechat = answering(&journal).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    let body = order("T1", "1", &[]);
    for path in [
        "/sandboxnew/pay/unifiedorder",
        "/xdc/apiv2sandbox/pay/unifiedorder",
        "/pay/orderquery",
        "/pay/closeorder",
    ] {
        assert_eq!(post(rig.address, path, &body).await.status, 200, "{path}");
    }
    let put = format!("PUT {UNIFIED} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut shop = shop::Shop::connect(rig.address).await;
    assert_eq!(shop.send(&[put.as_bytes(), &body].concat()).await.status, 200);
    assert_eq!((wechat.count(), rig.ledger.count()), (5, 0));
    assert_eq!(rig.registrations("unverified"), 0, "they place nothing that could be missed");
}

#[tokio::test]
async fn an_order_of_an_unlisted_app_is_registered_all_the_same() {
    let journal = Journal::default();
    let wechat = answering(&journal).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    post(rig.address, UNIFIED, &order("T1", "1", &[("appid", "wxforgotten")])).await;
    assert!(rig.ledger.record(MCH_ID, "T1").is_some(), "polls find it even if its notification is refused");
    assert_eq!(merchant().app_ids, [shop::APPID]);
}

#[tokio::test]
async fn merchants_and_keys_are_replaced_while_calls_come() {
    let journal = Journal::default();
    let wechat = answering(&journal).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    let body = order("T1", "1999", &[]);
    rig.proxy.replace_merchants(Vec::new()).unwrap();
    assert_eq!(post(rig.address, UNIFIED, &body).await.status, 200, "forwarded all the same");
    assert_eq!(rig.unverified("unknown_merchant"), 1);
    let without_key = proxy::Merchant { keys: Vec::new(), ..merchant() };
    assert!(rig.proxy.replace_merchants(vec![without_key]).is_err());
    post(rig.address, UNIFIED, &body).await;
    assert_eq!(rig.unverified("unknown_merchant"), 2, "what cannot be used changes nothing");
    let rotated = proxy::Merchant { keys: vec![shop::key(STRANGER), shop::key(KEY)], ..merchant() };
    rig.proxy.replace_merchants(vec![rotated]).unwrap();
    post(rig.address, UNIFIED, &body).await;
    assert_eq!(rig.registrations("registered"), 1);
    assert_eq!(rig.metric(&format!("paybell_key_used_total{{mch_id=\"{MCH_ID}\",key=\"previous\"}}")), 1);
}
