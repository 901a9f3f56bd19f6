//! `paybell doctor` over a real service, and the canary's whole way: taken, looked up, forgotten, never told.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use serde_json::Value;

use crate::{
    harness::{
        KEY, MCH, Settings, Shop, eventually, post_xml,
        process::{Ran, paybell, run_once},
        wait_within,
    },
    kill::free_address,
};

/// What the doctor rightly finds where the machine is busy with other tests.
const SLOW: [&str; 3] = ["disk-slow", "canary-slow", "canary-not-stored"];
const LOOKS_MAX: usize = 3;

/// The configuration of a shop's service as the doctor is given it, in a file of its own.
pub struct Patient<'s> {
    shop: &'s Shop,
    file: String,
}

impl<'s> Patient<'s> {
    /// With these lines before every section.
    fn of(shop: &'s Shop, top: &str) -> Self {
        let file = shop.folder.path().join("doctor.toml");
        let text = fs::read_to_string(shop.config()).unwrap();
        fs::write(&file, format!("{top}\n{text}")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Self { shop, file: file.display().to_string() }
    }

    /// With the public URL of the running ingress.
    pub fn public(shop: &'s Shop) -> Self {
        let port = shop.service.address("ingress").port();
        Self::of(shop, &format!("ingress.public_url = \"http://localhost:{port}\""))
    }

    pub fn examined(&self, more: &[&str]) -> Ran {
        let admin = self.shop.service.address("admin").to_string();
        let args = [&["doctor", "--config", &self.file, "--admin", &admin], more].concat();
        ran(&args, &[])
    }

    /// The findings, and that it ended so.
    #[track_caller]
    fn findings(&self, code: i32) -> Vec<Value> {
        self.findings_at_last(code).0
    }

    /// And how many looks it took: one at a machine that is too slow for a moment, and at nothing else, is repeated.
    #[track_caller]
    fn findings_at_last(&self, code: i32) -> (Vec<Value>, usize) {
        let mut looks = 0;
        loop {
            let ran = self.examined(&["--json"]);
            looks += 1;
            assert!(!ran.stdout.contains(KEY) && !ran.stderr.contains(KEY), "{ran:?}");
            let report: Value = serde_json::from_str(&ran.stdout).unwrap();
            let findings = report["findings"].as_array().unwrap();
            if looks == LOOKS_MAX || !is_only_slow(findings) {
                assert_eq!(ran.code, Some(code), "{ran:?}");
                return (findings.clone(), looks);
            }
        }
    }
}

/// Whether something is wrong, and all of it is right of a busy machine.
fn is_only_slow(findings: &[Value]) -> bool {
    let is_slow = |finding: &Value| SLOW.map(Value::from).contains(&finding["code"]);
    let mut errors = findings.iter().filter(|finding| finding["severity"] == "error").peekable();
    errors.peek().is_some() && errors.all(is_slow)
}

fn ran(args: &[&str], environment: &[(&str, &str)]) -> Ran {
    let mut command = paybell(args);
    command.envs(environment.iter().copied());
    run_once(command)
}

#[track_caller]
pub fn one<'f>(findings: &'f [Value], code: &str) -> &'f Value {
    let found: Vec<_> = findings.iter().filter(|finding| finding["code"] == code).collect();
    let codes: Vec<_> = findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    assert_eq!(found.len(), 1, "one {code} in {codes:?}");
    found[0]
}

/// Nothing of a canary is left, and nothing was told.
fn forgotten(shop: &Shop) {
    eventually("the canary is forgotten", || {
        let asked = shop.wechat.orders_asked();
        asked.iter().any(|order| order.starts_with("PAYBELLCANARY"))
            && shop.get("/v1/orders").json()["orders"] == Value::Array(Vec::new())
    });
    let events = shop.get("/v1/events").expect(200).json();
    assert_eq!(events["events"], Value::Array(Vec::new()), "a canary emits nothing");
    assert_eq!(shop.service.metric("paybell_dead_letters"), 0.0);
}

#[test]
fn a_running_service_is_well_and_its_canary_is_forgotten() {
    let shop = Shop::open(&Settings::default());
    let (findings, looks) = Patient::public(&shop).findings_at_last(0);
    for code in [
        "config-sound",
        "wechat-plain-http",
        "key-good",
        "appid-good",
        "notify-url-is-paybell",
        "unsigned-refused",
        "service-ready",
    ] {
        one(&findings, code);
    }
    // Its words about a machine that is busy with other tests are a warning.
    let is_canary =
        |finding: &&Value| ["canary-good", "canary-slow"].map(Value::from).contains(&finding["code"]);
    assert_eq!(findings.iter().filter(is_canary).count(), 1, "{findings:?}");
    let taken = format!("paybell_notifications_total{{mch_id=\"{MCH}\",result=\"accepted\"}}");
    let taken = shop.service.metric(&taken);
    assert!(taken == 1.0 || (looks > 1 && taken >= 1.0), "{taken} in {looks} looks");
    forgotten(&shop);
    // What the doctor itself caused is no finding of the next look.
    let again = Patient::public(&shop).findings(0);
    assert_eq!(one(&again, "notifications-unsigned")["severity"], "hint");
    let codes: Vec<_> = again.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
    assert!(!codes.contains(&"notifications-unknown-merchant"), "{codes:?}");
}

#[test]
fn what_is_wrong_is_told_with_exit_codes_for_scripts() {
    let shop = Shop::open(&Settings::default());
    // WeChat has another key.
    shop.wechat.has_keys(&["ffffffffffffffffffffffffffffffff"]);
    let findings = Patient::public(&shop).findings(1);
    assert_eq!(one(&findings, "key-refused")["severity"], "error");
    shop.wechat.has_keys(&[KEY]);
    // A v3 notification came.
    post_xml(shop.service.address("ingress"), "/notify/pay", "{\"id\":\"EV-1\",\"resource\":{}}").expect(400);
    let findings = Patient::public(&shop).findings(1);
    assert!(one(&findings, "notifications-v3")["remedy"]["zh"].as_str().unwrap().contains("APIv3"));
    // No public URL; a listener and a file that others reach.
    let patient = Patient::of(&shop, "");
    fs::set_permissions(&patient.file, fs::Permissions::from_mode(0o644)).unwrap();
    let text = fs::read_to_string(&patient.file).unwrap();
    let token = shop.folder.path().join("exposed.token");
    fs::write(&token, "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let text = text.replace("admin.listen = \"127.0.0.1:0\"", "admin.listen = \"0.0.0.0:0\"");
    let exposed = format!("console.listen = \"0.0.0.0:0\"\nconsole.token_file = {token:?}");
    fs::write(&patient.file, text.replace("console.listen = \"127.0.0.1:0\"", &exposed)).unwrap();
    let findings = patient.findings(1);
    one(&findings, "public-url-missing");
    one(&findings, "admin-exposed");
    one(&findings, "console-plain");
    one(&findings, "secret-readable");
    // Nothing can be looked at with a configuration that cannot be read.
    let patient = Patient::of(&shop, "nonsense = 1");
    let findings = patient.findings(2);
    assert_eq!(findings.iter().filter(|finding| finding["area"] != "configuration").count(), 0);
    assert!(one(&findings, "config-problem")["seen"]["en"].as_str().unwrap().contains("nonsense"));
}

#[test]
fn it_speaks_the_language_of_the_terminal() {
    let shop = Shop::open(&Settings::default());
    let patient = Patient::of(&shop, "");
    let args = ["doctor", "--config", &patient.file, "--no-canary"];
    let chinese = ran(&args, &[("LANG", "zh_CN.UTF-8")]);
    assert!(
        chinese.stdout.contains("微信支付\n") && chinese.stdout.contains("正常    key-good"),
        "{chinese:?}"
    );
    assert!(!chinese.stdout.contains('\u{1b}') && chinese.stderr.is_empty(), "{chinese:?}");
    let english = ran(&args, &[("LANG", "en_US.UTF-8")]);
    assert!(
        english.stdout.contains("WeChat Pay\n  ") && english.stdout.contains("ok      key-good"),
        "{english:?}"
    );
    let asked = ran(&[&args[..], &["--lang", "en"]].concat(), &[("LC_ALL", "zh_CN")]);
    assert_eq!(asked.stdout.lines().next(), Some("Configuration"));
}

#[test]
fn before_the_first_start_everything_else_is_looked_at() {
    let mut shop = Shop::open(&Settings::default());
    // Nobody listens on port 1.
    let file = Patient::of(&shop, "ingress.public_url = \"http://localhost:1\"").file;
    shop.service.process.signal("TERM");
    shop.service.process.ended();
    let ran = ran(&["doctor", "--json", "--config", &file, "--admin", "127.0.0.1:1"], &[]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    for code in ["key-good", "notify-url-unreachable", "canary-not-sent", "service-not-running"] {
        one(findings, code);
    }
}

#[test]
fn a_service_sends_canaries_by_itself() {
    let port = free_address().port();
    let shop = Shop::open(&Settings {
        ingress: &format!("127.0.0.1:{port}"),
        top: &format!("canary.interval = \"30s\"\ningress.public_url = \"http://localhost:{port}\"\n"),
        ..Settings::default()
    });
    let accepted = format!("paybell_canary_total{{mch_id=\"{MCH}\",result=\"accepted\"}}");
    // The first two may be late on a busy machine.
    wait_within(Duration::from_secs(120), "a canary came through", || {
        (shop.service.metric(&accepted) >= 1.0).then_some(())
    });
    let last = format!("paybell_canary_last_success_timestamp_seconds{{mch_id=\"{MCH}\"}}");
    assert!(shop.service.metric(&last) > 1_700_000_000.0);
    forgotten(&shop);
}
