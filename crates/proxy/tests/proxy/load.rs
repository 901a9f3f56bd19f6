//! Many calls at once: each is answered, registered and sent once. The rate is printed; its floor only catches a proxy
//! that serialises.

use tokio::task::JoinSet;

use crate::ledger::Journal;
use crate::rig::{Rig, timed};
use crate::shop::{Shop, order};
use crate::wechat::{Reply, Wechat, ok};

const CONNECTIONS: usize = 32;
const CALLS_EACH: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_of_a_busy_shop_is_answered_and_registered_once() {
    let journal = Journal::default();
    let wechat = Wechat::start(journal.clone(), |seen| Reply::Send(ok(&seen.body))).await;
    let rig = Rig::start(&journal, &[&wechat.url]).await;
    let mut shops = JoinSet::new();
    for number in 0..CONNECTIONS {
        let address = rig.address;
        shops.spawn(async move {
            let mut shop = Shop::connect(address).await;
            for call in 0..CALLS_EACH {
                let body = order(&format!("T{number}_{call}"), "1999", &[]);
                let answer = shop.post("/pay/unifiedorder", &body).await;
                assert!(answer.status == 200 && answer.body == body);
            }
        });
    }
    let (_, took) = timed(shops.join_all()).await;
    let calls = CONNECTIONS * CALLS_EACH;
    let rate = u128::try_from(calls).unwrap() * 1_000_000 / took.as_micros();
    println!(
        "{calls} orders over {CONNECTIONS} connections in {took:?}: {rate}/s, unoptimised, one test process"
    );
    assert_eq!((wechat.count(), rig.ledger.count()), (calls, calls));
    assert_eq!(rig.registrations("registered"), u64::try_from(calls).unwrap());
    assert!(rate > 200, "{rate}/s");
    let connections = wechat.seen.lock().unwrap().iter().map(|seen| seen.connection).max().unwrap() + 1;
    assert!(connections <= 2 * CONNECTIONS, "{connections} connections: they are not kept");
}
