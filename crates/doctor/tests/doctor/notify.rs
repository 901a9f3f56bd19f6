//! The notify URL, in front of which everything that can stand there stands once.

use doctor::net::Roots;
use doctor::notify::{self, Answers, Canary, Notify};
use doctor::{Finding, Severity};

use super::stand::{self, Asked, Authority, FAIL, KEY, OTHER_KEY, SUCCESS, Signed, Stand, merchant};
use super::{brief, complete, gathered, one};

/// Answers as the ingress does, as far as a doctor sees it.
fn paybell(key: &'static str) -> impl Fn(&Asked) -> Vec<u8> + Clone {
    move |asked| match (asked.method.as_str(), asked.body.contains("<sign>")) {
        ("POST", true) => {
            let document = wechat_pay::xml::Document::parse(asked.body.as_bytes()).unwrap();
            let algorithm = wechat_pay::sign::Algorithm::Md5;
            match wechat_pay::sign::verify(&document, &stand::key(key), algorithm) {
                Ok(()) => stand::xml("200 OK", SUCCESS),
                Err(_) => stand::xml("401 Unauthorized", FAIL),
            }
        }
        ("POST", false) => stand::xml("401 Unauthorized", FAIL),
        _ => stand::xml("405 Method Not Allowed", FAIL),
    }
}

async fn look_at(public_url: &str, roots: Roots) -> Vec<Finding> {
    let merchants = [merchant(&[KEY])];
    let (canary, answers) = (Canary::Send, Answers::Paybell);
    let notify = Notify { public_url, merchants: &merchants, canary, answers, roots };
    let findings = gathered(async |found| notify::look(&notify, found).await).await;
    complete(&findings);
    findings
}

async fn look(handler: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Vec<Finding> {
    let stand = Stand::plain(handler).await;
    look_at(&stand.url("http"), Roots::public()).await
}

/// It was stored; on a busy machine not at once.
#[track_caller]
fn canary_came(findings: &[Finding]) {
    let came = findings.iter().filter(|finding| matches!(finding.code, "canary-good" | "canary-slow"));
    assert_eq!(came.count(), 1, "{:#?}", brief(findings));
}

async fn look_tls(named: &Signed, unnamed: Option<&Signed>, roots: Roots) -> Vec<Finding> {
    let stand = Stand::tls(stand::server(named, unnamed), paybell(KEY)).await;
    look_at(&stand.url("https"), roots).await
}

#[tokio::test]
async fn a_good_address_is_looked_at_from_its_name_to_the_last_byte() {
    let authority = Authority::new();
    let certificate = authority.signs("localhost", 90);
    let stand = Stand::tls(stand::server(&certificate, Some(&certificate)), paybell(KEY)).await;
    let findings = look_at(&format!("{}/shop/", stand.url("https")), authority.roots()).await;
    let expected = [
        "warning notify-url-unusual-host",
        "warning notify-url-private",
        "ok certificate-good",
        "ok notify-url-without-sni",
        "ok notify-url-is-paybell",
        "ok unsigned-refused",
        "ok canary-good",
    ];
    let told = brief(&findings)
        .into_iter()
        .map(|told| if told.ends_with("canary-slow") { "ok canary-good".to_owned() } else { told });
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let expected = ["/shop/notify/pay", "/shop/notify/pay", "/shop/notify/pay/1900000109"];
    assert_eq!(stand.paths(), expected);
    assert!(!format!("{findings:?}").contains(KEY));
}

#[tokio::test]
async fn the_text_of_a_url_is_judged() {
    let merchants = [merchant(&[KEY])];
    let codes = async |public_url: &str| {
        let (canary, answers, roots) = (Canary::LeaveOut, Answers::Paybell, Roots::public());
        let notify = Notify { public_url, merchants: &merchants, canary, answers, roots };
        let findings = gathered(async |found| notify::look(&notify, found).await).await;
        complete(&findings);
        brief(&findings)
    };
    let told = codes("https://pay_shop.invalid").await;
    assert_eq!(told, ["error notify-url-underscore", "error notify-url-unresolved"]);
    let told = codes(&format!("http://shop.invalid/{}", "x".repeat(240))).await;
    assert_eq!(
        told,
        ["warning notify-url-plain-http", "error notify-url-too-long", "error notify-url-unresolved"]
    );
    let told = codes("https://shop.invalid/pay?from=wechat").await;
    assert!(told.contains(&"error notify-url-query".to_owned()), "{told:?}");
    let told = codes("https://127.0.0.1:9").await;
    assert_eq!(
        told,
        ["warning notify-url-unusual-host", "error notify-url-private", "error notify-url-unreachable"]
    );
    let findings = look_at("https://shop.invalid", Roots::public()).await;
    one(&findings, "canary-not-sent");
}

#[tokio::test]
async fn a_certificate_that_nobody_believes_is_told_by_its_cause() {
    let (authority, stranger) = (Authority::new(), Authority::named("another"));
    let cause = async |certificate: &Signed, roots: Roots| {
        let findings = look_tls(certificate, Some(certificate), roots).await;
        one(&findings, "canary-not-sent");
        one(&findings, "notify-url-certificate").clone()
    };
    let told = cause(&authority.signs("localhost", -10), authority.roots()).await;
    assert!(told.seen.en.contains("has expired") && told.seen.zh == "证书已过期", "{told:?}");
    let told = cause(&authority.signs("shop.example", 90), authority.roots()).await;
    assert!(told.seen.en.contains("another name"), "{told:?}");
    let told = cause(&authority.signs("localhost", 90), stranger.roots()).await;
    assert!(told.seen.en.contains("chain is incomplete") && told.remedy.en.contains("fullchain"), "{told:?}");
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_in_time() {
    let authority = Authority::new();
    for (days, severity) in [(10, "warning"), (2, "error")] {
        let certificate = authority.signs("localhost", days);
        let findings = look_tls(&certificate, Some(&certificate), authority.roots()).await;
        let told = one(&findings, "certificate-ends-soon");
        assert_eq!(told.severity.as_str(), severity, "{told:?}");
        canary_came(&findings);
    }
}

#[tokio::test]
async fn callers_that_name_no_host_must_see_the_same_certificate() {
    let authority = Authority::new();
    let (ours, theirs) = (authority.signs("localhost", 90), authority.signs("default.example", 90));
    for unnamed in [None, Some(&theirs)] {
        let findings = look_tls(&ours, unnamed, authority.roots()).await;
        assert_eq!(one(&findings, "notify-url-needs-sni").severity.as_str(), "warning");
        canary_came(&findings);
    }
}

#[tokio::test]
async fn whoever_stands_in_front_is_told_apart() {
    let page = |status: &'static str, headers: &'static str| {
        move |_: &Asked| stand::answer(status, headers, "<html><center>nginx</center></html>")
    };
    for (status, headers, expected) in [
        ("301 Moved Permanently", "Location: https://shop.example/\r\n", "notify-url-redirects"),
        ("302 Found", "Location: /login\r\n", "notify-url-redirects"),
        ("403 Forbidden", "Server: nginx\r\n", "notify-url-blocked"),
        ("502 Bad Gateway", "Server: nginx\r\n", "notify-url-behind-down"),
        ("404 Not Found", "Server: nginx\r\n", "notify-url-not-paybell"),
        ("200 OK", "Server: nginx\r\n", "notify-url-not-paybell"),
        ("405 Method Not Allowed", "Server: nginx\r\n", "notify-url-not-paybell"),
    ] {
        let findings = look(page(status, headers)).await;
        one(&findings, expected);
        one(&findings, "canary-not-sent");
    }
    let findings = look(|_| Vec::new()).await;
    one(&findings, "notify-url-silent");
}

#[tokio::test]
async fn a_front_that_takes_only_short_documents_or_unsigned_ones_is_told() {
    let ours = paybell(KEY);
    let findings = look(move |asked| {
        if asked.body.len() > 8_192 {
            stand::answer("413 Too Large", "Server: nginx\r\n", "<html>")
        } else {
            ours(asked)
        }
    })
    .await;
    assert!(one(&findings, "notify-url-body-limit").seen.en.contains("nginx"));
    one(&findings, "unsigned-refused");
    canary_came(&findings);
    let ours = paybell(KEY);
    let findings =
        look(move |asked| if asked.method == "POST" { stand::xml("200 OK", SUCCESS) } else { ours(asked) })
            .await;
    one(&findings, "unsigned-accepted");
}

#[tokio::test]
async fn a_canary_tells_what_became_of_it() {
    let canary = async |answer: Vec<u8>| {
        let ours = paybell(KEY);
        look(move |asked| if asked.body.contains("PAYBELLCANARY") { answer.clone() } else { ours(asked) })
            .await
    };
    let changed = format!("{SUCCESS}\n<!-- served by gateway -->");
    for (answer, expected) in [
        (stand::xml("200 OK", &changed), "canary-answer-changed"),
        (stand::xml("201 Created", SUCCESS), "canary-answer-changed"),
        (stand::xml("503 Service Unavailable", FAIL), "canary-not-stored"),
        (stand::answer("200 OK", "", "success"), "canary-lost"),
        (stand::answer("404 Not Found", "", "<html>"), "canary-lost"),
        (Vec::new(), "canary-lost"),
    ] {
        one(&canary(answer).await, expected);
    }
    one(&look(paybell(OTHER_KEY)).await, "canary-refused");
}

#[tokio::test]
async fn a_slow_canary_is_told() {
    let ours = paybell(KEY);
    let findings = look(move |asked| {
        if asked.body.contains("PAYBELLCANARY") {
            std::thread::sleep(std::time::Duration::from_millis(1_100));
        }
        ours(asked)
    })
    .await;
    // How slow is the machine's too.
    assert!(one(&findings, "canary-slow").severity >= Severity::Warning);
}

#[tokio::test]
async fn no_canary_is_sent_where_none_is_wanted() {
    let stand = Stand::plain(paybell(KEY)).await;
    let (merchants, url, roots) = ([merchant(&[KEY])], stand.url("http"), Roots::public());
    let (canary, answers) = (Canary::LeaveOut, Answers::Paybell);
    let notify = Notify { public_url: &url, merchants: &merchants, canary, answers, roots };
    one(&gathered(async |found| notify::look(&notify, found).await).await, "canary-left-out");
    assert!(!stand.asked.lock().unwrap().iter().any(|asked| asked.body.contains("PAYBELLCANARY")));
}

#[tokio::test]
async fn nothing_is_sent_to_an_old_handler() {
    let stand = Stand::plain(paybell(KEY)).await;
    let (merchants, url, roots) = ([merchant(&[KEY])], stand.url("http"), Roots::public());
    let (canary, answers) = (Canary::Send, Answers::OldHandler);
    let notify = Notify { public_url: &url, merchants: &merchants, canary, answers, roots };
    let findings = gathered(async |found| notify::look(&notify, found).await).await;
    complete(&findings);
    one(&findings, "shadow-mode");
    assert!(stand.asked.lock().unwrap().is_empty());
}
