//! Keys, apps and the clock, against a WeChat that says every wrong thing.

use doctor::Finding;
use doctor::net::Roots;
use doctor::wechat::{self, Merchant};
use wechat_pay::sign::{self, AcceptedAlgorithm, Algorithm};
use wechat_pay::xml::{self, Document};

use super::stand::{self, Asked, Authority, KEY, OTHER_KEY, Stand, merchant};
use super::{brief, complete, gathered, one};

/// Refuses other keys and algorithms as WeChat does, and answers with this code otherwise.
fn wechat_with(
    valid: &'static str,
    only: Option<Algorithm>,
    code: &'static str,
) -> impl Fn(&Asked) -> Vec<u8> {
    move |asked| {
        let document = Document::parse(asked.body.as_bytes()).unwrap();
        let algorithm = match document.get("sign_type") {
            None => Algorithm::Md5,
            Some(_) => sign::choose(&document, AcceptedAlgorithm::Any).unwrap(),
        };
        let is_right = only.is_none_or(|only| only == algorithm)
            && sign::verify(&document, &stand::key(valid), algorithm).is_ok();
        if is_right {
            stand::xml("200 OK", &signed(valid, algorithm, code))
        } else {
            unsigned("签名错误")
        }
    }
}

fn signed(key: &str, algorithm: Algorithm, code: &str) -> String {
    let fields = [
        ("return_code", "SUCCESS"),
        ("appid", "wx8888888888888888"),
        ("mch_id", "1900000109"),
        ("result_code", "FAIL"),
        ("err_code", code),
    ];
    let sign = sign::sign(fields, &stand::key(key), algorithm);
    xml::write(fields.into_iter().chain([("sign", sign.as_str())]))
}

fn unsigned(text: &str) -> Vec<u8> {
    stand::xml("200 OK", &xml::write([("return_code", "FAIL"), ("return_msg", text)]))
}

async fn look(
    merchant: Merchant,
    handler: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static,
) -> Vec<Finding> {
    let stand = Stand::plain(handler).await;
    let findings = gathered(async |found| {
        wechat::look(&[merchant], &[stand.url("http")], &Roots::public(), found).await
    })
    .await;
    complete(&findings);
    findings
}

#[tokio::test]
async fn a_good_key_and_app_are_good() {
    let stand = Stand::plain(wechat_with(KEY, None, "ORDERNOTEXIST")).await;
    let findings = gathered(async |found| {
        wechat::look(&[merchant(&[KEY])], &[stand.url("http")], &Roots::public(), found).await
    })
    .await;
    assert_eq!(
        brief(&findings),
        ["hint wechat-plain-http", "not-looked-at clock-unknown", "ok key-good", "ok appid-good"]
    );
    let asked = stand.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|asked| asked.method == "POST" && asked.path == "/pay/orderquery"), "{asked:?}");
    assert!(asked[0].body.contains("<![CDATA[PAYBELLDOCTOR"), "an order that no shop places");
    assert!(!format!("{findings:?}").contains(KEY));
}

#[tokio::test]
async fn over_tls_it_is_wechat_itself() {
    let authority = Authority::new();
    let certificate = authority.signs("localhost", 90);
    let config = stand::server(&certificate, Some(&certificate));
    let stand = Stand::tls(config, wechat_with(KEY, None, "ORDERNOTEXIST")).await;
    let findings = gathered(async |found| {
        wechat::look(&[merchant(&[KEY])], &[stand.url("https")], &authority.roots(), found).await
    })
    .await;
    one(&findings, "wechat-reachable");
    one(&findings, "key-good");
    let findings = gathered(async |found| {
        wechat::look(&[merchant(&[KEY])], &[stand.url("https")], &Roots::public(), found).await
    })
    .await;
    let told = one(&findings, "wechat-unreachable");
    assert!(told.remedy.en.contains("proxy that inspects TLS"), "{told:?}");
}

#[tokio::test]
async fn a_wrong_key_is_told_with_what_it_may_be() {
    let findings = look(merchant(&[OTHER_KEY]), wechat_with(KEY, None, "ORDERNOTEXIST")).await;
    let told = one(&findings, "key-refused");
    assert!(told.seen.zh.contains("签名错误"), "{told:?}");
    assert!(told.remedy.en.contains("APIv3") && told.remedy.zh.contains("APIv3"), "{told:?}");
    assert!(!findings.iter().any(|finding| finding.code.starts_with("appid-")), "nothing is said of the app");
    let findings =
        look(merchant(&[OTHER_KEY]), |_| stand::xml("200 OK", &signed(KEY, Algorithm::Md5, "ORDERNOTEXIST")));
    one(&findings.await, "answer-badly-signed");
}

#[tokio::test]
async fn the_other_algorithm_is_tried() {
    let only = Some(Algorithm::HmacSha256);
    let findings = look(merchant(&[KEY]), wechat_with(KEY, only, "ORDERNOTEXIST")).await;
    let told = one(&findings, "sign-type-mismatch");
    assert!(told.remedy.en.contains("sign_type = \"HMAC-SHA256\""), "{told:?}");
}

#[tokio::test]
async fn both_keys_are_judged_while_one_replaces_the_other() {
    let findings = look(merchant(&[KEY, OTHER_KEY]), wechat_with(KEY, None, "ORDERNOTEXIST")).await;
    one(&findings, "key-good");
    one(&findings, "previous-key-over");
    let findings = look(merchant(&[OTHER_KEY, KEY]), wechat_with(KEY, None, "ORDERNOTEXIST")).await;
    one(&findings, "only-previous-key-works");
    one(&findings, "previous-key-works");
    one(&findings, "appid-good");
}

#[tokio::test]
async fn what_wechat_refuses_is_told_by_its_cause() {
    for (code, expected) in [
        ("APPID_MCHID_NOT_MATCH", "appid-not-bound"),
        ("APPID_NOT_EXIST", "appid-unknown"),
        ("MCHID_NOT_EXIST", "mch-id-unknown"),
        ("NOAUTH", "merchant-not-allowed"),
        ("SYSTEMERROR", "wechat-busy"),
        ("XML_FORMAT_ERROR", "wechat-answer-strange"),
    ] {
        let findings = look(merchant(&[KEY]), wechat_with(KEY, None, code)).await;
        one(&findings, expected);
    }
    let findings = look(merchant(&[KEY]), |_| unsigned("商户号mch_id或sub_mch_id不存在")).await;
    one(&findings, "mch-id-unknown");
    let mut provider = merchant(&[KEY]);
    provider.sub_mch_ids = vec!["1573520957".to_owned()];
    let findings = look(provider, |asked| {
        assert!(asked.body.contains("<![CDATA[1573520957]]>"), "a provider asks for a sub merchant");
        unsigned("子商户号与服务商无受理关系")
    })
    .await;
    one(&findings, "sub-mch-id-refused");
    assert!(!brief(&findings).contains(&"ok key-good".to_owned()), "an unsigned text proves no key");
}

#[tokio::test]
async fn every_app_is_asked_about() {
    let mut two = merchant(&[KEY]);
    two.app_ids.push("wx2".to_owned());
    let stand = Stand::plain(|asked| {
        let code = if asked.body.contains("wx2") { "APPID_MCHID_NOT_MATCH" } else { "ORDERNOTEXIST" };
        stand::xml("200 OK", &signed(KEY, Algorithm::Md5, code))
    })
    .await;
    let findings =
        gathered(async |found| wechat::look(&[two], &[stand.url("http")], &Roots::public(), found).await)
            .await;
    assert!(one(&findings, "appid-good").about.en.ends_with("wx8888888888888888"));
    assert!(one(&findings, "appid-not-bound").about.en.ends_with("wx2"));
}

#[tokio::test]
async fn nobody_and_somebody_else_are_told_apart() {
    let gone = "http://127.0.0.1:9".to_owned();
    let findings = gathered(async |found| {
        wechat::look(&[merchant(&[KEY])], std::slice::from_ref(&gone), &Roots::public(), found).await
    })
    .await;
    assert_eq!(brief(&findings), ["error wechat-unreachable", "not-looked-at key-not-asked"]);
    complete(&findings);
    assert!(findings[0].remedy.en.contains("its port 9"), "{:?}", findings[0]);
    let encrypted = [gone.replace("http:", "https:")];
    let findings =
        gathered(async |found| wechat::look(&[merchant(&[KEY])], &encrypted, &Roots::public(), found).await)
            .await;
    assert!(findings[0].remedy.en.contains("out to port 9 "), "{:?}", findings[0]);
    let page =
        Stand::plain(|_| stand::answer("200 OK", "Content-Type: text/html\r\n", "<html>login</html>")).await;
    let findings = gathered(async |found| {
        wechat::look(&[merchant(&[KEY])], &[page.url("http")], &Roots::public(), found).await
    })
    .await;
    one(&findings, "wechat-not-there");
    one(&findings, "key-not-asked");
    // A second host that works is enough for the keys.
    let good = Stand::plain(wechat_with(KEY, None, "ORDERNOTEXIST")).await;
    let findings = gathered(async |found| {
        wechat::look(&[merchant(&[KEY])], &[gone, good.url("http")], &Roots::public(), found).await
    })
    .await;
    one(&findings, "wechat-unreachable");
    one(&findings, "key-good");
}

#[tokio::test]
async fn the_clock_is_compared_with_wechats() {
    for (shift_s, expected) in [(0, "clock-good"), (4, "clock-off"), (-60, "clock-wrong")] {
        let date = move || {
            let wall = doctor::clock::wall().as_secs().saturating_add_signed(shift_s);
            httpdate::fmt_http_date(std::time::UNIX_EPOCH + std::time::Duration::from_secs(wall))
        };
        let findings = look(merchant(&[KEY]), move |_| {
            let body = signed(KEY, Algorithm::Md5, "ORDERNOTEXIST");
            stand::answer("200 OK", &format!("Date: {}\r\n", date()), &body)
        })
        .await;
        one(&findings, expected);
    }
}
