//! Shadow mode through the real binary: nothing leaves, the report says what the old handler missed, the take-over tells
//! what comes after it and nothing before, and going back loses nothing that WeChat was answered SUCCESS for.

use serde_json::{Value, json};

use crate::{
    harness::{
        MCH, Notification, Say, Settings, Shop, eventually, receiver::Received, receiver::Receiver,
        receiver::Reply, run, shop::without_repeats, wait_for,
    },
    webhooks::{endpoint, shop_with, wait_for_attempt, wait_for_serving},
};

const SHADOW: &str = "mode = \"shadow\"\n";
const LIVE: &str = "mode = \"live\"\n";

/// A webhook and an old handler at one receiver.
fn endpoints(receiver: &Receiver) -> String {
    format!(
        "\n[[webhook]]\nname = \"erp\"\nurl = \"{}\"\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
         allow_private = true\n[[legacy]]\nname = \"old\"\nurl = \"{}\"\n",
        receiver.url("/erp"),
        receiver.url("/old")
    )
}

fn handler() -> Receiver {
    let receiver = Receiver::start();
    receiver.says("/old", Reply::success());
    receiver
}

/// Stops the service and starts it in the other mode on the same data. The mode of a cluster is its ledger's.
#[track_caller]
fn switch(shop: &mut Shop, from: &str, to: &str) {
    if shop.service.process.is_running() {
        shop.service.process.signal("TERM");
        assert_eq!(shop.service.process.ended().0.code(), Some(0));
    }
    if crate::ENGINE.is_cluster() {
        let mode = if to == LIVE { "live" } else { "shadow" };
        run(&["mode", mode, "--config", &shop.config().display().to_string()]).expect(0, &[mode]);
    }
    let text = std::fs::read_to_string(shop.config()).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(shop.config(), text.replace(from, to)).unwrap();
    shop.start_again();
}

#[track_caller]
fn withheld(shop: &Shop) -> Vec<Value> {
    let page = shop.get("/v1/events?shadow=only&limit=1000").expect(200).json();
    let rows = without_repeats(page["events"].as_array().unwrap().clone());
    rows.iter().map(|row| row["event"].clone()).collect()
}

/// Which orders a path was told of, in order.
fn told(receiver: &Receiver, path: &str) -> Vec<String> {
    let order = |post: Received| match path {
        "/erp" => post.json()["subject"].as_str().unwrap().to_owned(),
        _ => {
            let document = wechat_pay::xml::Document::parse(post.body.as_bytes()).unwrap();
            document.get("out_trade_no").unwrap().to_owned()
        }
    };
    receiver.received(path).into_iter().map(order).collect()
}

#[test]
fn in_shadow_everything_is_decided_and_nothing_leaves_until_the_take_over() {
    let receiver = handler();
    let mut shop = shop_with(&endpoints(&receiver), Settings { top: SHADOW, ..Settings::default() });
    shop.service.process.says(&["nothing is told"]);
    assert_eq!(shop.get("/").expect(200).json()["mode"], "shadow");
    assert!((shop.service.metric("paybell_shadow") - 1.0).abs() < 0.1);

    shop.wechat.says("BEFORE", Say::paid("BEFORE", 1999));
    let answer = shop.notify_once(Notification::of("BEFORE", 1999).signed()).expect(503);
    assert!(answer.body.contains("FAIL"), "the old handler's word counts, not ours: {answer:?}");
    shop.wait_for_state("BEFORE", "paid");
    // The state is stored first, the event follows.
    let [event]: [Value; 1] = wait_for("it is withheld", || withheld(&shop).try_into().ok());
    assert_eq!((&event["subject"], &event["data"]["shadow"]), (&json!("BEFORE"), &json!(true)));
    assert_eq!(shop.log(), [] as [Value; 0], "a subscriber that knows of no shadow meets nothing");
    let schema: Value = serde_json::from_str(
        &std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/event.schema.json")).unwrap(),
    )
    .unwrap();
    assert!(jsonschema::validator_for(&schema).unwrap().is_valid(&event), "{event}");
    let sample = "paybell_shadow_events_total{type=\"order.paid\",learned_by=\"notification\"}";
    let counted =
        wait_for("it is counted", || Some(shop.service.metric(sample)).filter(|count| *count > 0.0));
    assert!((counted - 1.0).abs() < 0.1 || crate::ENGINE.is_cluster(), "{counted}");

    switch(&mut shop, SHADOW, LIVE);
    wait_for_serving(&shop);
    assert_eq!(shop.get("/").expect(200).json()["mode"], "live");
    shop.pay_and_notify("AFTER", 1999);
    shop.event("AFTER", "order.paid");
    eventually("both are told what comes after", || {
        told(&receiver, "/erp") == ["AFTER"] && told(&receiver, "/old") == ["AFTER"]
    });

    // WeChat comes again with the first one: so nobody had answered it, and now we did.
    shop.notify(Notification::of("BEFORE", 1999).signed()).expect(200);
    let released = shop.event("BEFORE", "order.paid");
    assert_ne!(released["id"], event["id"], "the id of what is told was not spent");
    assert_eq!(released["data"].get("shadow"), None);
    eventually("both are told of it", || {
        told(&receiver, "/erp") == ["AFTER", "BEFORE"] && told(&receiver, "/old") == ["AFTER", "BEFORE"]
    });
    shop.notify(Notification::of("BEFORE", 1999).signed()).expect(200);
    assert_eq!(shop.types_of("BEFORE"), ["order.paid"]);
}

#[test]
fn going_back_tells_what_wechat_was_answered_success_for() {
    let receiver = handler();
    let mut shop = shop_with(&endpoints(&receiver), Settings { top: LIVE, ..Settings::default() });
    // The handler is down when the first is emitted; WeChat does not confirm the second yet.
    receiver.says("/old", Reply::Status(500, String::new()));
    shop.pay_and_notify("EMITTED", 1999);
    shop.event("EMITTED", "order.paid");
    wait_for_attempt(&shop, "old", "refused");
    shop.wechat.says("ACCEPTED", Say::state("ACCEPTED", "NOTPAY"));
    shop.register_fee("ACCEPTED", 1999);
    shop.notify(Notification::of("ACCEPTED", 1999).signed()).expect(200);
    wait_for("it was asked about", || (!shop.wechat.asked("ACCEPTED").is_empty()).then_some(()));
    shop.service.process.kill();

    receiver.says("/old", Reply::success());
    shop.wechat.says("ACCEPTED", Say::paid("ACCEPTED", 1999));
    switch(&mut shop, LIVE, SHADOW);
    shop.wechat.says("COPY", Say::paid("COPY", 1999));
    shop.notify_once(Notification::of("COPY", 1999).signed()).expect(503);
    shop.wait_for_state("COPY", "paid");
    assert_eq!(shop.event("ACCEPTED", "order.paid")["data"]["learned_by"], "notification");
    eventually("the old handler is told of both", || {
        let told = told(&receiver, "/old");
        ["EMITTED", "ACCEPTED"].iter().all(|order| told.iter().any(|one| one == order))
    });
    eventually("the copy's event is withheld", || withheld(&shop).len() == 1);
    assert!(!told(&receiver, "/old").contains(&"COPY".to_owned()));
}

#[test]
fn the_report_names_what_the_old_handler_missed_and_a_release_has_it_told() {
    let receiver = handler();
    let shop = shop_with(
        &endpoints(&receiver),
        Settings { top: SHADOW, cadence: &["500ms", "1h"], ..Settings::default() },
    );
    for order in ["SEEN", "TWICE", "MISSED"] {
        shop.wechat.says(order, Say::paid(order, 1999));
        shop.register_fee(order, 1999);
    }
    for order in ["SEEN", "TWICE", "MISSED"] {
        shop.wait_for_state(order, "paid");
    }
    shop.wechat.says("OPEN", Say::state("OPEN", "NOTPAY"));
    shop.register_fee("OPEN", 1999);
    let now = crate::harness::rfc3339_in(0);
    let table = shop.folder.path().join("handler.csv");
    let rows = format!(
        "商户订单号,时间,金额(元)\nSEEN,{now},19.90\nTWICE,{now},19.99\nTWICE,{now},19.99\nOPEN,{now},19.99\nFORGED,{now},0.01\n"
    );
    std::fs::write(&table, rows).unwrap();
    let api = format!("http://{}", shop.service.address("console"));
    let paybell = |args: &[&str]| run(&[args, &["--api", &api]].concat());
    let table = table.display().to_string();

    let report = paybell(&["shadow", "report", "--handler", &table, "--json"]);
    report.expect(0, &[]);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let mut found: Vec<(String, String)> = report["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            let text = |name: &str| finding[name].as_str().unwrap().to_owned();
            (text("kind"), text("out_trade_no"))
        })
        .collect();
    found.sort();
    let pair = |kind: &str, order: &str| (kind.to_owned(), order.to_owned());
    assert_eq!(
        found,
        [
            pair("amount_differs", "SEEN"),
            pair("doubled", "TWICE"),
            pair("missed", "MISSED"),
            pair("not_paid", "FORGED"),
            pair("not_paid", "OPEN")
        ]
    );
    assert_eq!((&report["payments"], &report["totals"]["missed"]["total_fee"]), (&json!(3), &json!(1999)));
    let report = paybell(&["shadow", "report", "--handler", &table, "--lang", "zh"]);
    report.expect(0, &["漏单 (1)", "MISSED", "Paybell 由轮询得知", "订单状态 pending", "订单状态 unknown"]);
    let csv = paybell(&["shadow", "report", "--handler", &table, "--csv", "--from", "2099-01-01"]);
    assert_eq!(csv.stdout.lines().count(), 1, "{csv:?}");
    paybell(&["shadow", "report", "--handler", "/nowhere.csv"]).expect(2, &["/nowhere.csv"]);
    paybell(&["shadow", "report"]).expect(2, &["--handler", "--access-log"]);

    paybell(&["shadow", "release", MCH, "MISSED", "--reason", "the handler missed it"])
        .expect(0, &["released"]);
    shop.event("MISSED", "order.paid");
    eventually("the old handler is told", || told(&receiver, "/old") == ["MISSED"]);
    eventually("it is counted", || endpoint(&shop, "erp")["delivered_total"] == 1);
    paybell(&["shadow", "release", MCH, "MISSED"]).expect(1, &["nothing of this order was withheld"]);
    assert_eq!(shop.types_of("MISSED"), ["order.paid"]);
}

#[test]
fn before_the_first_payment_the_report_knows_the_orders_all_the_same() {
    let shop = Shop::open(&Settings { top: SHADOW, cadence: &["1h"], ..Settings::default() });
    shop.wechat.says("OPEN", Say::state("OPEN", "NOTPAY"));
    shop.register_fee("OPEN", 1999);
    let table = shop.folder.path().join("handler.csv");
    let now = crate::harness::rfc3339_in(0);
    std::fs::write(&table, format!("order_no,time\nOPEN,{now}\nFORGED,{now}\n")).unwrap();
    let (table, api) = (table.display().to_string(), format!("http://{}", shop.service.address("console")));
    let report = run(&["shadow", "report", "--handler", &table, "--lang", "zh", "--api", &api]);
    report.expect(0, &["未支付 (2)", "订单状态 pending", "订单状态 unknown"]);
    let args = ["shadow", "report", "--handler", &table, "--mch-id", MCH, "--lang", "zh", "--api", &api];
    run(&args).expect(0, &["订单状态 pending", "订单状态 unknown"]);
    // More than are asked about one by one.
    let many: String = (0..1_001).map(|number| format!("FORGED{number},{now}\n")).collect();
    std::fs::write(&table, format!("order_no,time\n{many}")).unwrap();
    let report = run(&["shadow", "report", "--handler", &table, "--json", "--api", &api]);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!((&report["totals"]["not_paid"]["count"], &report["not_asked"]), (&json!(1_001), &json!(1)));
    let states =
        report["findings"].as_array().unwrap().iter().map(|finding| finding["detail"].as_str().unwrap());
    assert_eq!(states.filter(|detail| detail.starts_with("order not looked up")).count(), 1);
}

#[test]
fn the_report_reads_an_access_log_with_and_without_order_numbers() {
    let shop = Shop::open(&Settings { top: SHADOW, cadence: &["500ms", "1h"], ..Settings::default() });
    for order in ["A1", "A2", "A3"] {
        shop.wechat.says(order, Say::paid(order, 1999));
        shop.register_fee(order, 1999);
        shop.wait_for_state(order, "paid");
    }
    let api = format!("http://{}", shop.service.address("console"));
    let file = shop.folder.path().join("access.log");
    let report = |lines: &[(&str, u16)]| {
        let line = |(path, status): &(&str, u16)| {
            // A minute from now: after every payment here.
            format!(
                "1.2.3.4 - - [{}] \"POST {path} HTTP/1.1\" {status} 9 \"-\" \"Mozilla/4.0\"\n",
                log_time()
            )
        };
        std::fs::write(&file, lines.iter().map(line).collect::<String>()).unwrap();
        let file = file.display().to_string();
        let args =
            ["shadow", "report", "--access-log", &file, "--notify-path", "/wx", "--json", "--api", &api];
        let ran = run(&args);
        ran.expect(0, &[]);
        serde_json::from_str::<Value>(&ran.stdout).unwrap()
    };
    let bare = report(&[("/wx", 200), ("/wx", 502), ("/other", 200), ("/wx", 200)]);
    assert_eq!((&bare["missed_at_least"], &bare["handler_lines"]), (&json!(1), &json!(3)));
    assert_eq!(bare["totals"]["refused"]["count"], 1);
    let named = report(&[("/wx/A1", 200), ("/wx/A2", 500), ("/wx/A3", 200)]);
    assert_eq!((&named["missed_at_least"], &named["totals"]["missed"]["count"]), (&Value::Null, &json!(1)));
}

/// Now, as a web server writes it.
fn log_time() -> String {
    let spaced = wechat_pay::beijing::format_spaced(crate::harness::now_ms() + 60_000).unwrap();
    let (date, time) = spaced.split_once(' ').unwrap();
    let [year, month, day] = date.split('-').collect::<Vec<_>>().try_into().unwrap();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months[month.parse::<usize>().unwrap() - 1];
    format!("{day}/{month}/{year}:{time} +0800")
}
