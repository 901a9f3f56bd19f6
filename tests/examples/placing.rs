//! The examples that sell: they place an order with a real Paybell, hand the payer what pays it, hear of the payment by
//! the webhook of their language, and give money back. A simulator is WeChat, and loses the first answer.

use std::fs::File;
use std::process::{Child, Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{KEY, MCH, Settings, Shop, Simulator, eventually, wait_for};
use crate::language::{Language, SECRET, Subscriber};

/// Those that have a `place` and a `refund`.
const SELLERS: [Language; 3] = [Language::Python, Language::Node, Language::Php];
const OPENID: &str = "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o";

/// A service whose events the example's own webhook takes.
struct Stall {
    language: Language,
    simulator: Simulator,
    shop: Shop,
    subscriber: Subscriber,
    _papers: TempDir,
}

/// A program of an example at work.
struct Program {
    child: Child,
    log: std::path::PathBuf,
}

impl Stall {
    fn open(language: Language) -> Self {
        let subscriber = Subscriber::start(&language.command("webhook"), &[]);
        let (simulator, papers) = (Simulator::start(), TempDir::new().unwrap());
        let certificate = certificate(&papers);
        let base = subscriber.base();
        let webhook = format!(
            "{certificate}[[webhook]]\nname = \"shop\"\nurl = \"{base}/webhooks/paybell\"\nsecret = \"{SECRET}\"\n\
             allow_private = true\n"
        );
        let shop = Shop::open(&Settings {
            merchant: &webhook,
            cadence: &["1s"; 30],
            base_url: Some(format!("http://{}", simulator.address)),
            ..Settings::default()
        });
        // A new endpoint begins with the next event.
        eventually("the endpoint is served", || {
            let endpoints = shop.get("/v1/endpoints").expect(200).json();
            !matches!(endpoints["endpoints"][0]["state"].as_str(), None | Some("new" | "idle"))
        });
        Self { language, simulator, shop, subscriber, _papers: papers }
    }

    fn start(&self, program: &str, arguments: &[&str], wait_s: &str) -> Program {
        let folder = self.subscriber.folder();
        let log = folder.path().join(format!("{program}-{}.log", arguments.join("-")));
        let output = File::create(&log).unwrap();
        let command = self.language.command(program);
        let child = Command::new(&command[0])
            .args(&command[1..])
            .arg(MCH)
            .args(arguments)
            .current_dir(folder.path())
            .env("DATABASE", folder.path().join("shop.db"))
            .env("PAYBELL_API", format!("http://{}", self.shop.service.address("console")))
            .env("WAIT_S", wait_s)
            .env_remove("PAYBELL_TOKEN")
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Program { child, log }
    }

    fn device(&self, device: &Value) {
        self.simulator.send("POST", "/_sim/device", device).expect(200);
    }
}

impl Program {
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The first whole line that this finds something in.
    #[track_caller]
    fn line(&self, what: &str, find: impl Fn(&str) -> bool) -> String {
        wait_for(what, || {
            let said = self.said();
            let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
            whole.lines().find(|line| find(line)).map(str::to_owned)
        })
    }

    /// Its code, and all that it said.
    #[track_caller]
    fn ends(mut self) -> (Option<i32>, String) {
        let status = wait_for("the example ends", || self.child.try_wait().unwrap());
        (status.code(), self.said())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_example_places_hears_of_the_payment_and_refunds() {
    for language in SELLERS.into_iter().filter(|language| language.is_here()) {
        let stall = Stall::open(language);
        // WeChat takes the order, and nobody hears of it: the example asks the very same again.
        stall.simulator.misbehaves(&json!({ "unified_order": { "answer_lost": 1.0 } }));
        let place = stall.start("place", &["T1", "1999", "Tea"], "60");
        place.line("it is not known", |line| line.starts_with("not known yet (504)"));
        stall.simulator.heal();
        let code_url = place.line("a QR code", |line| line.starts_with("weixin://"));
        assert_eq!(stall.simulator.truth().len(), 1, "{language:?}: one order");
        stall.device(&json!({ "code_url": code_url }));
        let (code, said) = place.ends();
        assert!(code == Some(0) && said.contains("T1 is paid"), "{language:?}: {code:?} {said}");
        let (code, said) = stall.start("place", &["T1", "1999", "Tea"], "60").ends();
        assert!(
            code == Some(0) && !said.contains("weixin://"),
            "{language:?}: paid already: {code:?} {said}"
        );

        let refund = || stall.start("refund", &["T1", "R1", "500"], "60").ends();
        for _ in 0..2 {
            let (code, said) = refund();
            assert!(code == Some(0) && said.contains("R1 is succeeded"), "{language:?}: {code:?} {said}");
        }
        let (code, said) = stall.start("refund", &["T1", "R1", "600"], "60").ends();
        assert!(code == Some(1) && said.contains("different-refund"), "{language:?}: {code:?} {said}");
        assert_eq!(stall.shop.types_of("T1")[0], "order.paid", "{language:?}");
        let refunded = &stall.simulator.truth()[0]["refunded_fee"];
        assert_eq!(refunded, &json!(500), "{language:?}: once");
    }
}

#[test]
fn an_example_hands_a_page_what_wechat_takes() {
    for language in SELLERS.into_iter().filter(|language| language.is_here()) {
        let stall = Stall::open(language);
        let place = stall.start("place", &["T2", "1999", "Tea", OPENID], "60");
        let bridge = place.line("the page's parameters", |line| line.starts_with('{'));
        let params: Value = serde_json::from_str(&bridge).unwrap();
        stall.device(&json!({ "params": params }));
        let (code, said) = place.ends();
        assert!(code == Some(0) && said.contains("T2 is paid"), "{language:?}: {code:?} {said}");
        assert!(!said.contains(KEY));
        // Nobody pays: it gives the waiting up, and says what the shop knows.
        let (code, said) = stall.start("place", &["T3", "1999", "Tea", OPENID], "1").ends();
        assert!(code == Some(1) && said.contains("T3 is new"), "{language:?}: {code:?} {said}");
        let (code, said) = stall.start("place", &["T3", "2000", "Tea", OPENID], "1").ends();
        assert!(code == Some(1) && said.contains("different-order"), "{language:?}: {code:?} {said}");
    }
}

fn certificate(papers: &TempDir) -> String {
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, MCH);
    let key = rcgen::KeyPair::generate().unwrap();
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| papers.path().join(name));
    std::fs::write(&cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    format!("client_cert_file = \"{}\"\nclient_key_file = \"{}\"\n", cert_file.display(), key_file.display())
}
