//! The periodic canary: what it counts, and that it follows keys that change.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use doctor::CanaryMetrics;
use doctor::net::Roots;
use doctor::watch::{Watch, run};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use super::stand::{self, FAIL, KEY, OTHER_KEY, SUCCESS, Stand, merchant};

fn count(registry: &Registry, sample: &str) -> f64 {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map_or(-1.0, |value| value.parse().unwrap())
}

#[tokio::test]
async fn every_round_is_counted_and_asks_for_the_keys_anew() {
    let stand = Stand::plain(|asked| {
        let document = wechat_pay::xml::Document::parse(asked.body.as_bytes()).unwrap();
        let algorithm = wechat_pay::sign::Algorithm::Md5;
        match wechat_pay::sign::verify(&document, &stand::key(KEY), algorithm) {
            Ok(()) => stand::xml("200 OK", SUCCESS),
            Err(_) => stand::xml("401 Unauthorized", FAIL),
        }
    })
    .await;
    let keys = Arc::new(Mutex::new(vec![KEY]));
    let mut registry = Registry::default();
    let metrics = CanaryMetrics::register(&mut registry, ["1900000109"]);
    let of = |word: &str| format!("paybell_canary_total{{mch_id=\"1900000109\",result=\"{word}\"}}");
    assert_eq!(count(&registry, &of("refused")), 0.0, "every word is there from the beginning");
    let current = keys.clone();
    let watch = Watch {
        public_url: stand.url("http"),
        merchants: Arc::new(move || current.lock().unwrap().iter().map(|key| merchant(&[*key])).collect()),
        interval: Duration::from_millis(5),
        roots: Roots::public(),
    };
    let end = CancellationToken::new();
    let running = tokio::spawn(run(watch, metrics, end.clone()));
    let until = async |word: &str, least: f64| {
        let waited = async {
            while count(&registry, &of(word)) < least {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waited).await.unwrap();
    };
    until("accepted", 2.0).await;
    let last_success = "paybell_canary_last_success_timestamp_seconds{mch_id=\"1900000109\"}";
    let last = count(&registry, last_success);
    assert!((last - doctor::clock::wall().as_secs_f64()).abs() < 60.0, "{last}");
    assert!(count(&registry, "paybell_canary_seconds_count") >= 2.0);
    *keys.lock().unwrap() = vec![OTHER_KEY];
    until("refused", 1.0).await;
    // A merchant that is gone is not waited for: the age of its last success would alarm for ever.
    keys.lock().unwrap().clear();
    let forgotten = async {
        while count(&registry, last_success) >= 0.0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), forgotten).await.unwrap();
    end.cancel();
    tokio::time::timeout(Duration::from_secs(60), running).await.unwrap().unwrap();
}
