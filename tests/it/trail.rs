//! What operators did, and how much a caller may ask, through the real binary on both engines.

use serde_json::{Value, json};

use crate::harness::{MCH, Request, Say, Settings, Shop};

#[test]
fn an_act_that_was_answered_is_in_the_trail_after_a_kill() {
    let mut shop = Shop::open(&Settings::default());
    shop.register_fee("WRONG", 100);
    shop.wechat.says("WRONG", Say::paid("WRONG", 90));
    assert_eq!(shop.look("WRONG")["state"], "mismatch");
    let act = |shop: &Shop, verb: &str, reason: &str, status: u16| {
        shop.order_verb("WRONG", verb, &json!({ "reason": reason })).expect(status).came_again
    };
    let mut came_again = act(&shop, "reject", "金额不符", 202);
    shop.service.process.kill();
    shop.start_again();
    came_again |= act(&shop, "reject", "again", 409);
    came_again |= act(&shop, "accept", "agreed by phone", 202);
    let trail = shop.get("/v1/audit?order=oldest").expect(200).json();
    let acts: Vec<[&str; 6]> = trail["acts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|act| {
            ["action", "object", "who", "peer", "reason", "outcome"].map(|name| act[name].as_str().unwrap())
        })
        .collect();
    let object = format!("orders/{MCH}/WRONG");
    let object = object.as_str();
    let entry = |action: &'static str, why, outcome| [action, object, "anonymous", "127.0.0.1", why, outcome];
    let due = [
        entry("reject", "金额不符", "done"),
        entry("reject", "again", "not-waiting"),
        entry("accept", "agreed by phone", "done"),
    ];
    // A call that came again is an act of its own.
    let mut rest = acts.iter();
    let are_there = due.iter().all(|due| rest.any(|act| act == due));
    assert!(acts == due || (came_again && are_there), "{acts:?}");
    let numbers: Vec<u64> =
        trail["acts"].as_array().unwrap().iter().map(|act| act["number"].as_u64().unwrap()).collect();
    let all: Vec<u64> = (1..).take(acts.len()).collect();
    assert_eq!(numbers, all, "no number is missing: nothing was taken out");
    let rest = shop.get(&format!("/v1/audit?order=oldest&after={}", trail["next"].as_str().unwrap()));
    assert_eq!(rest.expect(200).json()["acts"], json!([]));
    let other: Value = shop.get("/v1/audit?mch_id=1800000001").expect(200).json();
    assert_eq!(other["acts"], json!([]));
}

#[test]
fn a_token_asks_as_often_as_its_rate_allows_and_no_other_is_slowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{name}-secret\n")).unwrap();
        path.display().to_string()
    };
    let block = |name: &str, more: &str| {
        let scopes = "scopes = [\"orders\", \"operate\"]";
        format!("[[console.token]]\nname = \"{name}\"\nfile = \"{}\"\n{scopes}\n{more}\n", file(name))
    };
    let tokens = format!("{}{}", block("batch", "rate = \"1/s\""), block("shop", ""));
    let shop = Shop::open(&Settings { merchant: &tokens, ..Settings::default() });
    let ask = |path: &str, token: &str| {
        Request::new("GET", path).token(token).send_at_last(shop.service.address("console"))
    };
    // Twice the rate at once; then one more each second, however long these took.
    let statuses: Vec<u16> = (0..20).map(|_| ask("/v1/orders", "batch-secret").status).collect();
    assert_eq!(statuses[..2], [200, 200]);
    assert!(statuses.contains(&429), "{statuses:?}");
    for _ in 0..20 {
        ask("/v1/orders", "shop-secret").expect(200);
        ask("/readyz", "batch-secret").expect(200);
    }
    let metrics = shop.service.metrics();
    assert!(metrics.contains("paybell_console_limited_total{caller=\"batch\",limit=\"rate\"}"), "{metrics}");
}
