//! Encrypted connections to both servers, by an authority of our own.

use serde_json::json;
use tempfile::TempDir;
use testkit::servers::{Papers, Rabbit, Redis, wait};

use crate::harness::{APP, KEY, MCH, Request, Service, Simulator, get, wait_for};

#[test]
fn a_payment_is_told_over_connections_that_our_own_authority_vouches_for() {
    let (rabbit, redis) = (wait(Rabbit::start()), wait(Redis::start()));
    let (papers, stranger) = (Papers::issue(), Papers::issue());
    let (amqps, rediss) = (wait(rabbit.speak_tls(&papers)), wait(redis.speak_tls(&papers)));
    let (folder, simulator) = (TempDir::new().unwrap(), Simulator::start());
    let configured = |name: &str, authority: &str| {
        let text = format!(
            "engine = \"cluster\"\nrabbitmq.url = \"amqps://guest:guest@localhost:{amqps}/%2f\"\n\
             rabbitmq.ca_file = \"{authority}\"\nredis.url = \"rediss://localhost:{rediss}\"\n\
             redis.ca_file = \"{authority}\"\ningress.listen = \"127.0.0.1:0\"\n\
             console.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n\
             wechat.base_urls = [\"http://{}\"]\n\
             [[merchant]]\nmch_id = \"{MCH}\"\napp_ids = [\"{APP}\"]\napi_key = \"{KEY}\"\n",
            simulator.address
        );
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let service = Service::start(&configured("paybell.toml", &papers.file("ca.pem")), &[]);
    let notify_url = format!("http://{}/notify/pay", service.address("ingress"));
    let order = json!({ "mch_id": MCH, "out_trade_no": "E1", "total_fee": 1999, "notify_url": notify_url });
    Request::new("POST", "/_sim/orders").json(&order).send(simulator.address).expect(201);
    let pay = format!("/_sim/orders/{MCH}/E1/pay");
    Request::new("POST", &pay).json(&json!({})).send(simulator.address).expect(200);
    let told = wait_for("the payment is told", || {
        let page = Request::new("GET", "/v1/events").send_at_last(service.address("console"));
        let page = page.expect(200).json();
        page["events"].as_array().unwrap().first().cloned()
    });
    assert_eq!(told["event"]["type"], "order.paid");

    // Another authority's word counts nothing, and the process says which server it does not trust.
    let distrusting = Service::start_role(&configured("stranger.toml", &stranger.file("ca.pem")), "worker");
    wait_for("it says why", || {
        let answer = get(distrusting.address("admin"), "/readyz");
        let said = answer.body.to_lowercase();
        (answer.status == 503 && said.matches("certificate").count() >= 2).then_some(())
    });
}
