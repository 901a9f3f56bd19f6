//! Endpoints that events are posted to.

use doctor::endpoints::{Endpoint, look};
use doctor::net::Roots;

use super::stand::{self, Authority, Stand};
use super::{brief, complete, gathered, one};

fn endpoint(url: String, allows_private: bool) -> Endpoint {
    Endpoint { name: "shop".to_owned(), url, allows_private }
}

async fn codes(url: String, allows_private: bool, roots: &Roots) -> Vec<String> {
    let findings = gathered(async |found| look(&[endpoint(url, allows_private)], roots, found).await).await;
    complete(&findings);
    brief(&findings)
}

#[tokio::test]
async fn an_endpoint_is_reached_refused_or_not_there() {
    let stand = Stand::plain(|_| stand::answer("200 OK", "", "")).await;
    let public = Roots::public();
    assert_eq!(codes(stand.url("http"), true, &public).await, ["ok endpoint-good"]);
    assert_eq!(codes(stand.url("http"), false, &public).await, ["error endpoint-private"]);
    assert!(stand.asked.lock().unwrap().is_empty(), "nothing is posted");
    assert_eq!(codes("http://127.0.0.1:9".to_owned(), true, &public).await, ["error endpoint-unreachable"]);
    assert_eq!(
        codes("https://shop.invalid".to_owned(), false, &public).await,
        ["error endpoint-unreachable"]
    );
}

#[tokio::test]
async fn an_endpoint_s_certificate_is_looked_at() {
    let authority = Authority::new();
    for (days, expected) in [
        (90, vec!["ok endpoint-good"]),
        (10, vec!["ok endpoint-good", "warning certificate-ends-soon"]),
        (-10, vec!["error endpoint-certificate"]),
    ] {
        let certificate = authority.signs("localhost", days);
        let config = stand::server(&certificate, None);
        let stand = Stand::tls(config, |_| stand::answer("200 OK", "", "")).await;
        let shop = [endpoint(stand.url("https"), true)];
        let findings = gathered(async |found| look(&shop, &authority.roots(), found).await).await;
        assert_eq!(brief(&findings), expected, "{days} days");
        if days < 0 {
            one(&findings, "endpoint-certificate");
        }
    }
}
