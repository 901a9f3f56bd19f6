//! A document, signed afresh, as the answer to an order query.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wechat_pay::query::{OrderQueryAnswer, OrderQueryResult, TradeState};
use wechat_pay::sign::{Algorithm, ApiKey, sign};
use wechat_pay::xml::{Document, write};

fuzz_target!(|body: &[u8]| {
    let key = ApiKey::new("192006250b4c09247ec02edce69f6a2d").expect("32 characters");
    assert!(
        OrderQueryAnswer::parse(body, &key, Algorithm::HmacSha256).is_err(),
        "nobody but us knows the key"
    );
    let Ok(document) = Document::parse(body) else { return };
    let signature = sign(document.iter(), &key, Algorithm::HmacSha256);
    let signed = write(document.iter().filter(|(name, _)| *name != "sign").chain([("sign", &*signature)]));
    let Ok(answer) = OrderQueryAnswer::parse(signed.as_bytes(), &key, Algorithm::HmacSha256) else { return };
    if let OrderQueryResult::Trade { state, payment } = &answer.result {
        assert_eq!(Some(state.as_str()), document.get("trade_state"));
        let whole = payment.as_ref().is_some_and(|payment| {
            payment.transaction_id.is_some() && payment.total_fee.is_some() && payment.time_end_ms.is_some()
        });
        assert!(whole || *state != TradeState::Success);
    }
});
