//! Who pays: the codes of pages and mini programs become openids, with an AppSecret that nobody sees and that can be
//! replaced while the process runs.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{APP, Answer, Request, Settings, Simulator, eventually},
    placing::Till,
};

const SECRET: &str = "5ecre7-of-the-app-0123456789abcd";

struct Apps {
    till: Till,
    folder: TempDir,
}

impl Apps {
    /// `secret` is what the service believes.
    #[track_caller]
    fn open(secret: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("app-secret");
        fs::write(&file, format!("{secret}\n")).unwrap();
        let simulator = Simulator::unhurried(&["--app", &format!("{APP}:{SECRET}"), "--app", "wx2:other"]);
        let top = format!("wechat.openid_base_url = \"http://{}\"", simulator.address);
        let app = format!("[[merchant.app]]\nappid = \"{APP}\"\napp_secret_file = \"{}\"", file.display());
        let till = Till::with(simulator, &Settings { top: &top, merchant: &app, ..Settings::default() });
        Self { till, folder }
    }

    #[track_caller]
    fn exchange(&self, route: &str, code: &str) -> Answer {
        let body = json!({ "appid": APP, "code": code });
        self.till.shop.api("POST", &format!("/v1/openid/{route}"), &body)
    }

    /// The code of `wx.login` in a mini program.
    fn js_code(&self, person: &str) -> String {
        let login =
            self.till.simulator.send("POST", "/_sim/logins", &json!({ "appid": APP, "person": person }));
        login.expect(200).json()["js_code"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_payer_is_sent_to_wechat_and_comes_back_with_a_code_that_works_once() {
    let apps = Apps::open(SECRET);
    let back = "https://shop.example.com/pay?order=T1&x=%E4%BB%98";
    let query = format!(
        "appid={APP}&state=s3ss10n&redirect_uri={}",
        "https%3A%2F%2Fshop.example.com%2Fpay%3Forder%3DT1%26x%3D%25E4%25BB%2598"
    );
    let said = apps.till.shop.get(&format!("/v1/openid/authorize-url?{query}")).expect(200).json();
    let url = said["url"].as_str().unwrap();
    let path =
        url.strip_prefix("https://open.weixin.qq.com").unwrap().strip_suffix("#wechat_redirect").unwrap();
    // What the payer's browser does.
    let sent = Request::new("GET", path).header("X-Sim-Person", "bob").send(apps.till.simulator.address);
    let location = sent.header("location").unwrap_or_else(|| panic!("{sent:?}")).to_owned();
    assert!(location.starts_with(back), "{location}");
    let of = |name: &str| {
        let after = location.split_once(&format!("&{name}=")).unwrap().1;
        after.split('&').next().unwrap().to_owned()
    };
    assert_eq!(of("state"), "s3ss10n");
    let who = apps.exchange("code", &of("code")).expect(200).json();
    let openid = who["openid"].as_str().unwrap();
    // A reloaded page.
    let used = apps.exchange("code", &of("code")).expect(409).json();
    assert_eq!(
        (&used["type"], &used["err_code"]),
        (&json!("urn:paybell:problem:code-refused"), &json!("40163"))
    );
    assert!(used["remedy"]["en"].as_str().unwrap().contains("session"), "{used}");
    assert!(used["cause"]["zh"].as_str().unwrap().contains("刷新"), "{used}");
    // The same person in the app's mini program.
    let mini = apps.exchange("jscode", &apps.js_code("bob")).expect(200).json();
    assert_eq!(mini["openid"], openid);
    let keys: Vec<&String> = mini.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["openid", "unionid"], "no session key");
    let placed = apps.till.placed("T1", &json!({ "trade_type": "JSAPI", "openid": openid }));
    apps.till.device(&json!({ "params": placed["pay"]["bridge"] })).expect(200);
    apps.till.shop.event("T1", "order.paid");
    let log = apps.till.shop.service.process.log();
    assert!(!log.contains(openid) && !log.contains(SECRET), "{log}");
}

#[test]
fn a_payer_of_another_app_is_named_as_such_by_wechat() {
    let apps = Apps::open(SECRET);
    let login = apps
        .till
        .simulator
        .send("POST", "/_sim/logins", &json!({ "appid": "wx2", "person": "bob" }))
        .expect(200);
    let code = login.json()["js_code"].as_str().unwrap().to_owned();
    let foreign = apps.exchange("jscode", &code).expect(409).json();
    assert_eq!(foreign["err_code"], "40029", "{foreign}");
    let unknown = json!({ "appid": "wx2", "code": code });
    let refused = apps.till.shop.api("POST", "/v1/openid/jscode", &unknown).expect(409).json();
    assert_eq!(refused["type"], "urn:paybell:problem:no-app-secret", "{refused}");
}

#[test]
fn a_wrong_app_secret_is_told_and_a_mended_one_works_without_a_restart() {
    let apps = Apps::open("this-one-was-reset-at-the-platform");
    let refused = apps.exchange("jscode", &apps.js_code("bob")).expect(409).json();
    assert_eq!(refused["err_code"], "40125", "{refused}");
    assert!(refused["remedy"]["en"].as_str().unwrap().contains("app_secret_file"), "{refused}");
    // It is read again by itself, as every file that the configuration names.
    fs::write(apps.folder.path().join("app-secret"), SECRET).unwrap();
    eventually("the new secret is taken", || apps.exchange("jscode", &apps.js_code("bob")).status == 200);
    let log = apps.till.shop.service.process.log();
    assert!(!log.contains("this-one-was-reset") && !log.contains(SECRET), "{log}");
    // A file that is none changes nothing.
    fs::write(apps.folder.path().join("app-secret"), "two words").unwrap();
    apps.till.shop.service.process.signal("HUP");
    eventually("it is refused", || {
        apps.till.shop.service.metric("paybell_reloads_total{result=\"refused\"}") >= 1.0
    });
    apps.exchange("jscode", &apps.js_code("bob")).expect(200);
    assert_eq!(apps.till.shop.dead_letters(), Vec::<Value>::new());
}

#[test]
fn a_wechat_that_gives_no_answer_is_away_and_nothing_is_repeated() {
    let apps = Apps::open(SECRET);
    for fault in ["lost", "http_500", "html", "answer_lost"] {
        apps.till.simulator.misbehaves(&json!({ "openid": { fault: 1.0 } }));
        let refused = apps.exchange("jscode", &apps.js_code("bob"));
        assert_eq!(refused.status, 503, "{fault}: {refused:?}");
        assert!(!refused.body.contains(SECRET), "{fault}");
    }
    apps.till.simulator.misbehaves(&json!({ "openid": { "frequency_limited": 1.0 } }));
    let busy = apps.exchange("jscode", &apps.js_code("bob")).expect(503);
    assert_eq!(busy.json()["err_code"], "45011");
    assert!(busy.header("retry-after").is_some());
    apps.till.simulator.heal();
    apps.exchange("jscode", &apps.js_code("bob")).expect(200);
}
