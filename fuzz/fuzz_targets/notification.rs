//! A document, signed afresh, through every stage of a notification.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wechat_pay::beijing::format_compact;
use wechat_pay::notification::Unverified;
use wechat_pay::sign::{AcceptedAlgorithm, Algorithm, ApiKey, sign};
use wechat_pay::xml::{Document, write};

fuzz_target!(|body: &[u8]| {
    let key = ApiKey::new("192006250b4c09247ec02edce69f6a2d").expect("32 characters");
    if let Ok(unverified) = Unverified::parse(body) {
        assert!(unverified.verify(&[&key], AcceptedAlgorithm::Any).is_err(), "nobody but us knows the key");
    }
    let Ok(document) = Document::parse(body) else { return };
    let signature = sign(document.iter(), &key, Algorithm::Md5);
    let signed = write(document.iter().filter(|(name, _)| *name != "sign").chain([("sign", &*signature)]));
    let Ok(unverified) = Unverified::parse(signed.as_bytes()) else { return };
    let Ok((authentic, 0)) = unverified.verify(&[&key], AcceptedAlgorithm::Any) else { return };
    let Ok(notification) = authentic.into_notification() else { return };
    let field = |name| document.get(name).expect("mandatory");
    assert_eq!(notification.out_trade_no(), field("out_trade_no"));
    if let Some(payment) = notification.payment() {
        assert_eq!(payment.total_fee.to_string(), field("total_fee"));
        assert_eq!(format_compact(payment.time_end_ms).expect("a year up to 9999"), field("time_end"));
        assert_eq!(field("result_code"), "SUCCESS");
    }
    let _ = notification.coupons();
});
