//! A cashier that answers what a test lays down, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use paybell_core::observation::Openid;
use paybell_core::place::{
    CashierError, CodeOf, Order, Pay, Placed, Refusal, RefusalKind, Trade, TradeType, WhoPays,
};
use paybell_core::ports::{AuthorizeWish, Cashier, Closed, PortError};
use paybell_core::{AppId, OrderKey};

use crate::engine::START;

#[derive(Default)]
pub struct Scripted {
    /// Refuses the next demands, in their order.
    pub refusals: Mutex<VecDeque<Refusal>>,
    pub placed: Mutex<Vec<Order>>,
    pub closed: Mutex<Vec<OrderKey>>,
    pub exchanged: Mutex<Vec<(AppId, CodeOf, String)>>,
    pub wishes: Mutex<Vec<AuthorizeWish>>,
}

impl Scripted {
    pub fn refuses(&self, refusal: impl Into<Refusal>) {
        self.refusals.lock().unwrap().push_back(refusal.into());
    }

    fn judge(&self) -> Result<(), CashierError> {
        match self.refusals.lock().unwrap().pop_front() {
            // What an engine says stands for every kind that is no refusal.
            Some(refusal) if refusal.kind == RefusalKind::WechatAway && refusal.fields == ["engine"] => {
                let cause = "redis://:hunter2@host".to_owned();
                Err(PortError::Unavailable { part: "ledger", cause }.into())
            }
            Some(refusal) => Err(refusal.into()),
            None => Ok(()),
        }
    }
}

fn pay(trade: &Trade) -> Pay {
    let fields = |names: &[&'static str]| names.iter().map(|name| (*name, format!("<{name}>"))).collect();
    match trade.kind() {
        TradeType::Jsapi => Pay::Jsapi {
            bridge: fields(&["appId", "timeStamp", "nonceStr", "package", "signType", "paySign"]),
            jssdk: fields(&["timestamp", "nonceStr", "package", "signType", "paySign"]),
        },
        TradeType::MiniProgram => {
            Pay::MiniProgram(fields(&["timeStamp", "nonceStr", "package", "signType", "paySign"]))
        }
        TradeType::App => {
            Pay::App(fields(&["appid", "partnerid", "prepayid", "package", "noncestr", "timestamp", "sign"]))
        }
        TradeType::Native => Pay::Native { code_url: "weixin://wxpay/bizpayurl?pr=1".to_owned() },
        TradeType::Mweb => Pay::Mweb { mweb_url: "https://wx.example/cgi?prepay_id=1".to_owned() },
    }
}

#[async_trait]
impl Cashier for Scripted {
    async fn place(&self, order: &Order) -> Result<Placed, CashierError> {
        self.judge()?;
        let mut placed = self.placed.lock().unwrap();
        let is_repeat = placed.contains(order);
        placed.push(order.clone());
        Ok(Placed {
            trade_type: order.trade.kind(),
            prepay_id: "wx20".to_owned(),
            pay: pay(&order.trade),
            good_until: START,
            is_repeat,
            closed: Vec::new(),
        })
    }

    async fn close(&self, key: &OrderKey) -> Result<Closed, CashierError> {
        self.judge()?;
        let mut closed = self.closed.lock().unwrap();
        let before = closed.contains(key);
        closed.push(key.clone());
        Ok(if before { Closed::Before } else { Closed::Now })
    }

    fn authorize_url(&self, wish: &AuthorizeWish) -> Result<String, CashierError> {
        self.judge()?;
        self.wishes.lock().unwrap().push(wish.clone());
        Ok("https://open.weixin.qq.com/connect/oauth2/authorize?appid=wx1#wechat_redirect".to_owned())
    }

    async fn who_pays(&self, appid: &AppId, of: CodeOf, code: &str) -> Result<WhoPays, CashierError> {
        self.judge()?;
        self.exchanged.lock().unwrap().push((appid.clone(), of, code.to_owned()));
        Ok(WhoPays { openid: Openid("oPAYER".to_owned()), unionid: None })
    }
}
