//! Payments that are not what was agreed, and what a person says to them.

use serde_json::{Value, json};

use crate::harness::{Notification, Say, Settings, Shop, wait_for};
use crate::life::assert_valid;

#[test]
fn a_wrong_amount_waits_for_a_person_and_accept_pays_it_once() {
    let shop = Shop::open(&Settings::default());
    shop.register_fee("T1", 2000);
    shop.pay_and_notify("T1", 1999);
    let mismatch = shop.event("T1", "order.mismatch");
    let data = &mismatch["data"];
    assert_eq!(
        (&data["mismatch"], &data["registered_fee"], &data["registered_fee_type"], &data["total_fee"]),
        (&"amount".into(), &2000.into(), &"CNY".into(), &1999.into())
    );
    // However often it is looked at, it waits.
    shop.look("T1");
    shop.notify(Notification::of("T1", 1999).signed()).expect(200);
    shop.wait_for_state("T1", "mismatch");
    assert_eq!(shop.types_of("T1"), ["order.mismatch"]);

    let other = shop.order_verb("T1", "accept", &json!({ "transaction_id": "4200NOTTHISONE" }));
    assert_eq!(
        (other.status, other.json()["type"].as_str()),
        (409, Some("urn:paybell:problem:other-transaction"))
    );
    shop.order_verb("T1", "accept", &json!({ "reason": "agreed by telephone" })).expect(202);
    assert_eq!(shop.event("T1", "order.paid")["data"]["total_fee"], 1999);
    shop.wait_for_state("T1", "paid");
    shop.order_verb("T1", "accept", &json!({})).expect(409);
    assert_eq!(shop.types_of("T1"), ["order.mismatch", "order.paid"]);
    let history = shop.record("T1").unwrap()["history"].to_string();
    assert!(history.contains("agreed by telephone"), "{history}");
    assert_valid(&shop);
}

#[test]
fn a_rejected_payment_stays_rejected_until_somebody_accepts_it() {
    let shop = Shop::open(&Settings::default());
    shop.register("T1", &json!({ "total_fee": 1999, "fee_type": "USD" })).expect(201);
    shop.pay_and_notify("T1", 1999);
    assert_eq!(shop.event("T1", "order.mismatch")["data"]["mismatch"], "currency");
    shop.order_verb("T1", "reject", &json!({})).expect(202);
    shop.wait_for_state("T1", "rejected");
    shop.order_verb("T1", "reject", &json!({})).expect(409);
    shop.look("T1");
    shop.wait_for_state("T1", "rejected");
    assert_eq!(shop.types_of("T1"), ["order.mismatch"]);
    shop.order_verb("T1", "accept", &json!({})).expect(202);
    shop.event("T1", "order.paid");
    shop.wait_for_state("T1", "paid");
}

#[test]
fn a_second_transaction_is_told_as_such_and_pays_nothing_twice() {
    let shop = Shop::open(&Settings::default());
    shop.register_fee("T1", 1999);
    shop.pay_and_notify("T1", 1999);
    shop.event("T1", "order.paid");
    let second = [("transaction_id", "4200SECOND")];
    shop.wechat.says("T1", Say::paid_with("T1", 1999, &second));
    let body = Notification::of("T1", 1999).with("transaction_id", "4200SECOND").signed();
    shop.notify(body.clone()).expect(200);
    let event = shop.event("T1", "order.mismatch");
    assert_eq!(event["data"]["mismatch"], "second_transaction");
    assert_eq!(event["data"]["transaction_id"], "4200SECOND");
    shop.notify(body).expect(200);
    shop.look("T1");
    assert_eq!(shop.types_of("T1"), ["order.paid", "order.mismatch"]);
    assert_eq!(shop.record("T1").unwrap()["state"], "paid");
    assert_valid(&shop);
}

#[test]
fn a_registration_after_the_payment_is_compared_with_it() {
    let shop = Shop::open(&Settings::default());
    for (order, fee, types) in
        [("EQUAL", 1999, vec!["order.paid"]), ("OTHER", 2000, vec!["order.paid", "order.mismatch"])]
    {
        shop.pay_and_notify(order, 1999);
        assert_eq!(shop.event(order, "order.paid")["data"]["registered"], false);
        let looks = shop.wechat.asked(order).len();
        shop.register_fee(order, fee);
        let record = wait_for("the registration's own look", || {
            let record = shop.record(order)?;
            let is_quiet = record["due"].is_null() && record["leased"] == false;
            (shop.wechat.asked(order).len() > looks && is_quiet).then_some(record)
        });
        assert_eq!(record["state"], "paid", "{order}");
        assert_eq!(shop.types_of(order), types, "{order}");
    }
}

#[test]
fn an_answer_about_another_order_is_a_dead_letter_until_it_is_mended_and_replayed() {
    let shop = Shop::open(&Settings::default());
    shop.register_fee("T1", 1999);
    let wrong = [
        Say::paid("T9", 1999),
        Say::paid_with("T1", 1999, &[("appid", "wxsomebodyelse")]),
        Say::paid_with("T1", 1999, &[("mch_id", "1900000001")]),
    ];
    for say in wrong {
        shop.wechat.says("T1", say);
        shop.look("T1");
        assert_eq!(shop.record("T1").unwrap()["state"], "pending");
    }
    assert_eq!(shop.log(), Vec::<Value>::new());
    let letters = shop.dead_letters();
    assert_eq!(letters.len(), 1, "one order, one reason: one letter: {letters:?}");
    assert_eq!(
        (&letters[0]["reason"], &letters[0]["count"], &letters[0]["out_trade_no"]),
        (&"wrong_order".into(), &3.into(), &"T1".into())
    );
    shop.wechat.says("T1", Say::paid("T1", 1999));
    let id = letters[0]["id"].as_str().unwrap();
    shop.api("POST", &format!("/v1/dead/{id}/replay"), &json!({ "reason": "mended" })).expect(202);
    shop.event("T1", "order.paid");
    assert_eq!(shop.dead_letters(), Vec::<Value>::new());
}

#[test]
fn an_unknown_trade_state_is_looked_at_again_and_told_to_nobody() {
    let shop = Shop::open(&Settings { cadence: &["300ms", "300ms"], ..Settings::default() });
    shop.register_fee("T1", 1999);
    shop.wechat.says("T1", Say::state("T1", "TELEPORTED"));
    let letter = wait_for("a dead letter after the last point", || shop.dead_letters().pop());
    assert_eq!(letter["reason"], "unknown_trade_state");
    assert_eq!(shop.log(), Vec::<Value>::new());
    let record = shop.record("T1").unwrap();
    assert_eq!((&record["state"], record["due"].is_object()), (&"pending".into(), true), "{record}");
}
