//! With the simulator for WeChat: orders placed through the proxy are orders there, and registered here.

use simulator::{MerchantConfig, OrderKey, Payment, Simulator, SimulatorConfig, TradeState};
use tokio_util::sync::CancellationToken;
use wechat_pay::sign::{self, Algorithm};
use wechat_pay::xml::Document;

use crate::ledger::Journal;
use crate::rig::Rig;
use crate::shop::{APPID, KEY, MCH_ID, key, order, post};

#[tokio::test]
async fn a_shop_places_and_queries_orders_as_if_it_spoke_to_wechat() {
    let stop = CancellationToken::new();
    let merchant = MerchantConfig::new(MCH_ID, APPID, KEY).unwrap();
    let config = SimulatorConfig { merchants: vec![merchant], ..SimulatorConfig::default() };
    let simulator = Simulator::start(config, stop.clone()).await.unwrap();
    let journal = Journal::default();
    let rig = Rig::start(&journal, &[&simulator.base_url()]).await;
    let field = |body: &[u8], name: &str| {
        let document = Document::parse(body).unwrap();
        sign::verify(&document, &key(KEY), Algorithm::Md5).expect("an answer of WeChat's, untouched");
        document.get(name).map(str::to_owned)
    };

    let placed = post(rig.address, "/pay/unifiedorder", &order("T1", "1999", &[])).await;
    assert_eq!(field(&placed.body, "result_code").as_deref(), Some("SUCCESS"));
    assert!(field(&placed.body, "code_url").is_some());
    let registration = rig.ledger.record(MCH_ID, "T1").unwrap().registration.unwrap();
    assert_eq!(registration.total_fee.get(), 1999);

    let again = post(rig.address, "/pay/unifiedorder", &order("T1", "1999", &[("nonce_str", "again")])).await;
    assert_eq!(field(&again.body, "result_code").as_deref(), Some("SUCCESS"));
    let other = post(rig.address, "/pay/unifiedorder", &order("T1", "2000", &[])).await;
    assert_eq!(field(&other.body, "err_code").as_deref(), Some("OUT_TRADE_NO_USED"), "WeChat decides");
    let results = ["registered", "same", "different"].map(|result| rig.registrations(result));
    assert_eq!(results, [1, 1, 1]);

    let number = OrderKey { mch_id: MCH_ID.into(), out_trade_no: "T1".into() };
    simulator.control().pay(&number, Payment::default()).unwrap();
    let query = order("T1", "1999", &[]);
    let answer = post(rig.address, "/pay/orderquery", &query).await;
    assert_eq!(field(&answer.body, "trade_state").as_deref(), Some("SUCCESS"));
    let truths = simulator.control().truths();
    assert_eq!(truths.len(), 1);
    assert_eq!(truths[0].trade_state, TradeState::Success);

    stop.cancel();
    simulator.stopped().await;
}
