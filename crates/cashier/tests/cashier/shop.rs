//! A shop: its desk over a world, and its orders.

use std::sync::Arc;

use cashier::{AppAccount, CashierMetrics, Desk, Lives, Parts, Settings, Shop};
use paybell_core::ids::BusinessNo;
use paybell_core::observation::Openid;
use paybell_core::place::{CashierError, Order, Payer, Placed, Refusal, RefusalKind, Trade};
use paybell_core::ports::Cashier;
use paybell_core::{AppId, Fen, MchId, OrderKey};
use wechat_pay::client::OpenIdClient;
use wechat_pay::openid::AppSecret;

use crate::memory::World;

pub fn key(number: &str) -> OrderKey {
    OrderKey::new("1900000109", number).unwrap()
}

pub fn settings() -> Settings {
    let app = |text: &str| AppId::new(text).unwrap();
    let shop = |mch_id: &str, sub_mch_ids: &[&str]| Shop {
        mch_id: MchId::new(mch_id).unwrap(),
        app_ids: vec![app("wx1"), app("wx2")],
        sub_mch_ids: sub_mch_ids.iter().map(|id| MchId::new(*id).unwrap()).collect(),
        notify_url: Some(format!("https://pay.example.com/notify/pay/{mch_id}")),
    };
    let nowhere = Shop { notify_url: None, ..shop("1900000333", &[]) };
    let secret = AppAccount { appid: app("wx1"), secret: AppSecret::new("s3cret") };
    Settings {
        shops: vec![shop("1900000109", &[]), shop("1900000222", &["1573520957"]), nowhere],
        apps: vec![secret],
    }
}

pub fn desk(world: &World) -> Desk {
    counting_desk(world, CashierMetrics::default())
}

pub fn counting_desk(world: &World, metrics: CashierMetrics) -> Desk {
    let all = Arc::new(world.clone());
    Desk::new(Parts {
        ledger: all.clone(),
        registry: all.clone(),
        records: all.clone(),
        businesses: all.clone(),
        queue: all.clone(),
        wechat: all,
        openids: OpenIdClient::new("http://127.0.0.1:9", std::time::Duration::from_secs(1)).unwrap(),
        settings: settings(),
        lives: Lives::default(),
        metrics,
        seed: [7; 32],
    })
}

pub fn order(number: &str, trade: Trade) -> Order {
    Order {
        key: key(number),
        total_fee: Fen::new(1999).unwrap(),
        fee_type: None,
        trade,
        body: "shop-tea".to_owned(),
        appid: None,
        sub_mch_id: None,
        sub_appid: None,
        business_no: None,
        expires_at: None,
        payer_ip: Some([203, 0, 113, 9].into()),
        attach: None,
        detail: None,
        device_info: None,
        goods_tag: None,
        no_credit: false,
        receipt: false,
        profit_sharing: None,
        store: None,
    }
}

pub fn native(number: &str) -> Order {
    order(number, Trade::Native { product_id: None })
}

/// A number of the business order `B`.
pub fn of_b(number: &str) -> Order {
    Order { business_no: BusinessNo::new("B").ok(), ..native(number) }
}

pub fn jsapi() -> Trade {
    Trade::Jsapi { payer: Payer::OpenId(Openid("oPayer".to_owned())) }
}

pub async fn place(world: &World, order: &Order) -> Result<Placed, CashierError> {
    desk(world).place(order).await
}

pub async fn placed(world: &World, order: &Order) -> Placed {
    place(world, order).await.unwrap()
}

pub async fn refused(world: &World, order: &Order) -> Refusal {
    refusal(place(world, order).await)
}

pub fn refusal<T: std::fmt::Debug>(outcome: Result<T, CashierError>) -> Refusal {
    match outcome {
        Err(CashierError::Refused(refusal)) => *refusal,
        other => panic!("it was to be refused: {other:?}"),
    }
}

pub async fn refused_as(world: &World, order: &Order) -> RefusalKind {
    refused(world, order).await.kind
}
