//! Any bytes as a refund notification.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wechat_pay::refund_notification::Sealed;
use wechat_pay::sign::ApiKey;

fuzz_target!(|body: &[u8]| {
    let key = ApiKey::new("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").expect("32 characters");
    let Ok(sealed) = Sealed::parse(body) else { return };
    if let Ok(refund) = sealed.open(&[&key]) {
        assert!(refund.refund_fee > 0 && refund.total_fee > 0);
    }
});
