//! What the tests of the engine share: a clock that a test moves, and short words.

#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its own part of this")]

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use embedded::WallClock;
use paybell_core::event::{Event, EventType};
use paybell_core::ids::OrderKey;
use paybell_core::register::Application;
use paybell_core::time::{Millis, Timestamp};

/// A clock that only a test moves: both its hands go together.
pub struct Hands {
    passed_ms: AtomicI64,
}

/// When the tests begin: 2026-11-20 12:00 in Beijing.
pub const START: Timestamp = Timestamp::from_millis(1_795_147_200_000);

impl Hands {
    pub fn new() -> Self {
        Self { passed_ms: AtomicI64::new(0) }
    }

    pub fn pass(&self, by: Millis) {
        self.passed_ms.fetch_add(by.0, Ordering::SeqCst);
    }
}

impl WallClock for Hands {
    fn wall(&self) -> Timestamp {
        START + Millis(self.passed_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::SeqCst).unsigned_abs())
    }
}

pub fn key(number: usize) -> OrderKey {
    OrderKey::new("1900000109", format!("T2026112000000{number:011}")).unwrap()
}

pub fn asks(total_fee: i64) -> Application {
    Application {
        total_fee: paybell_core::Fen::new(total_fee).unwrap(),
        fee_type: None,
        appid: None,
        sub_mch_id: None,
        created_at: None,
        expires_at: None,
        business_no: None,
    }
}

/// A paid event of an order, read from the published form.
pub fn event(number: usize) -> Event {
    let key = key(number);
    let id = paybell_core::event::event_id(&key, EventType::Paid, "4200001234202611200123456789");
    let json = serde_json::json!({
        "specversion": "1.0", "id": id, "source": "/paybell/1900000109", "type": "order.paid",
        "subject": key.out_trade_no, "time": "2026-11-20T12:00:05+08:00", "datacontenttype": "application/json",
        "data": {
            "version": 1, "mch_id": "1900000109", "sub_mch_id": null, "appid": null,
            "out_trade_no": key.out_trade_no, "transaction_id": "4200001234202611200123456789",
            "total_fee": 1999, "fee_type": "CNY", "cash_fee": 1999, "settlement_total_fee": null,
            "coupon_fee": null, "coupons": [], "trade_state": "SUCCESS", "trade_type": "JSAPI",
            "bank_type": "OTHERS", "attach": null, "paid_at": "2026-11-20T12:00:03+08:00",
            "learned_by": "notification", "late": false, "registered": true
        }
    });
    serde_json::from_value(json).unwrap()
}
