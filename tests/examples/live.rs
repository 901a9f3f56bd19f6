//! The whole way: a payment at WeChat, its notification, a real Paybell, a webhook, and an example that ships.

use std::net::SocketAddr;

use crate::harness::{Settings, Shop, eventually, get};
use crate::language::{Language, SECRET, Subscriber};

fn shipped(base: &str, out_trade_no: &str) -> i64 {
    let address: SocketAddr = base.trim_start_matches("http://").parse().unwrap();
    get(address, &format!("/shipped/{out_trade_no}")).expect(200).json()["shipped"].as_i64().unwrap()
}

#[test]
fn an_example_ships_a_real_payment_and_no_mismatch() {
    if !Language::Python.is_here() {
        return;
    }
    let subscriber = Subscriber::start(&Language::Python.command("webhook"), &[]);
    let base = subscriber.base();
    let webhook = format!(
        "\n[[webhook]]\nname = \"shop\"\nurl = \"{base}/webhooks/paybell\"\nsecret = \"{SECRET}\"\nallow_private = true\n"
    );
    let shop = Shop::open(&Settings { merchant: &webhook, ..Settings::default() });
    // A new endpoint begins with the next event.
    eventually("the endpoint is served", || {
        let endpoints = shop.get("/v1/endpoints").expect(200).json();
        !matches!(endpoints["endpoints"][0]["state"].as_str(), None | Some("new" | "idle"))
    });
    shop.register_fee("T1", 1999);
    shop.register_fee("T2", 1999);
    shop.pay_and_notify("T1", 1999);
    shop.pay_and_notify("T2", 1500);
    eventually("the payment is shipped", || shipped(&base, "T1") == 1);
    eventually("the mismatch is left to a person", || {
        subscriber
            .log()
            .contains("order.mismatch T2: left to a person: payment disagrees in amount: paid 1500 fen")
    });
    assert_eq!((shipped(&base, "T1"), shipped(&base, "T2")), (1, 0));
}
