//! Redis loses everything while the event log stays: what was told as a mismatch is told as paid by no check and no bill,
//! and a payment that nobody was told of still comes out.

use serde_json::json;
use tempfile::TempDir;
use testkit::servers::{Redis, wait};

use crate::bills::{order, ours, reconcile, wechat_of_yesterday};
use crate::harness::{Say, Service, Settings, Shop, eventually, now_ms};

#[test]
fn after_redis_was_emptied_a_disputed_payment_stays_disputed() {
    let (redis, simulator, folder) = (wait(Redis::start()), wechat_of_yesterday(3), TempDir::new().unwrap());
    let shop = Shop::open(&Settings {
        top: &format!("reconcile.automatic = false\nreconcile.folder = \"{}\"", folder.path().display()),
        merchant: &ours(),
        base_url: Some(format!("http://{}", simulator.address)),
        redis: Some(redis.url()),
        ..Settings::default()
    });
    let [disputed, told, untold] = [0, 1, 2].map(order);
    for (order, fee, kind) in [(&disputed, 1998, "order.mismatch"), (&told, 1999, "order.paid")] {
        shop.register_fee(order, fee);
        shop.order_verb(order, "check", &json!({})).expect(202);
        shop.event(order, kind);
    }
    // Events tell their time in whole seconds: the log has to be older than the next ledger for sure.
    let told_at = now_ms();
    eventually("some time passes", || now_ms() > told_at + 3_000);
    wait(redis.cli(&["FLUSHALL"]));

    shop.order_verb(&disputed, "check", &json!({})).expect(202);
    let withheld = "paybell_checks_total{reason=\"manual\",outcome=\"before_ledger\"}";
    eventually("it was looked at", || {
        shop.service.metrics().lines().any(|line| line == format!("{withheld} 1"))
    });
    assert!(shop.record(&disputed).is_none(), "nothing is kept of it");

    let words = [
        "told already, before the ledger was lost",
        "told as a mismatch or a second payment",
        "asked about 1",
    ];
    reconcile(&shop, &[]).expect(1, &words);
    assert_eq!(shop.event(&untold, "order.paid")["data"]["learned_by"], "bill");
    assert_eq!(shop.types_of(&disputed), ["order.mismatch"]);
    assert_eq!(shop.types_of(&told), ["order.paid"]);

    // Whoever registers it again has it judged again, by what it had to cost.
    shop.register_fee(&disputed, 1998);
    shop.order_verb(&disputed, "check", &json!({})).expect(202);
    shop.wait_for_state(&disputed, "mismatch");
    assert_eq!(shop.types_of(&disputed), ["order.mismatch"], "under the same id");
}

#[test]
fn the_first_ledger_of_an_installation_tells_what_was_paid_before_it() {
    let (redis, simulator) = (wait(Redis::start()), wechat_of_yesterday(1));
    let shop = Shop::open(&Settings {
        merchant: &ours(),
        base_url: Some(format!("http://{}", simulator.address)),
        redis: Some(redis.url()),
        ..Settings::default()
    });
    let paid = order(0);
    shop.order_verb(&paid, "check", &json!({})).expect(202);
    assert_eq!(
        shop.event(&paid, "order.paid")["data"]["registered"],
        false,
        "nobody can have told it before"
    );
}

#[test]
fn a_worker_alone_knows_whether_its_ledger_is_the_first() {
    let shop = Shop::open(&Settings { args: &["ingress", "scheduler", "console"], ..Settings::default() });
    let _worker = Service::start_role(&shop.config(), "worker");
    shop.wechat.says("T1", Say::paid("T1", 1999));
    shop.order_verb("T1", "check", &json!({})).expect(202);
    shop.event("T1", "order.paid");
}
