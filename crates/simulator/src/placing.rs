//! How orders come to be: placing, the `prepay_id` and its life, the links made of it, and the payer's device that pays by
//! them. Speaks no HTTP; unifiedorder and the control API call it.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use wechat_pay::sign;

use crate::{
    error::Error,
    order::{Order, Payment, Truth},
    world::World,
};

/// How long a `prepay_id` and its `code_url` can be paid.
const PREPAY_LIFE: Duration = Duration::from_secs(7200);
/// The same for an `mweb_url`.
const LINK_LIFE: Duration = Duration::from_secs(300);
const CODE_URL: &str = "weixin://wxpay/bizpayurl?pr=";
const MWEB_URL: &str = "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?";

/// What a placed order remembers of its request.
pub(crate) struct Placing {
    /// What a repeat must agree with.
    pub(crate) parameters: String,
    /// Who is to pay, for links.
    pub(crate) ip: IpAddr,
}

/// What the payer's device pays by.
#[derive(Clone)]
pub(crate) struct Prepay {
    pub(crate) id: String,
    issued: Duration,
    /// The part of an `mweb_url` that is new with each link.
    link: String,
    linked: Duration,
    ip: IpAddr,
}

impl Prepay {
    pub(crate) fn code_url(&self) -> String {
        format!("{CODE_URL}{}", self.id.get(2..11).unwrap_or_default())
    }

    pub(crate) fn mweb_url(&self) -> String {
        format!("{MWEB_URL}prepay_id={}&package={}", self.id, self.link)
    }
}

/// How a device pays: by signed parameters, by a code, or by a link.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Device {
    /// Those of `getBrandWCPayRequest`, `wx.requestPayment` (without `appId`) or an app.
    pub params: BTreeMap<String, String>,
    /// The page that calls JSAPI, if its directory is to be checked.
    pub page: Option<String>,
    /// What the QR code says.
    pub code_url: Option<String>,
    /// A link, perhaps with `redirect_url`.
    pub mweb_url: Option<String>,
    /// The page that the link is opened from.
    pub referer: Option<String>,
    /// The payer's address; absent: the one of the order.
    pub ip: Option<IpAddr>,
    pub payment: Payment,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceOutcome {
    pub order: Truth,
    /// Where a link leads back to.
    pub redirect_url: Option<String>,
}

impl World {
    pub(crate) fn new_prepay(&self, ip: IpAddr) -> Prepay {
        let now = self.clock.now();
        Prepay { id: format!("wx{}", self.nonce()), issued: now, link: self.link(), linked: now, ip }
    }

    /// A new link when the old one is dead or another's, and a new `prepay_id` when that is dead.
    pub(crate) fn renew_prepay(&self, order: Arc<Order>, ip: IpAddr) -> Result<Arc<Order>, Error> {
        let now = self.clock.now();
        match &order.prepay {
            Some(known) if now >= known.issued + PREPAY_LIFE => {}
            Some(known) if now < known.linked + LINK_LIFE && ip == known.ip => return Ok(order),
            Some(_) => {
                return self.book.change(&order.key, |order| {
                    if let Some(prepay) = &mut order.prepay {
                        (prepay.link, prepay.linked, prepay.ip) = (self.link(), now, ip);
                    }
                    Ok(())
                });
            }
            None => {}
        }
        self.book.change(&order.key, |order| {
            order.prepay = Some(self.new_prepay(ip));
            Ok(())
        })
    }

    /// Ten digits.
    fn link(&self) -> String {
        let digits = self.nonce();
        let number = u64::from_str_radix(digits.get(..15).unwrap_or_default(), 16).unwrap_or_default();
        format!("{:010}", number % 10_000_000_000)
    }

    /// Pays as the payer's device does, with what it would say instead as the error.
    pub(crate) fn pay_by_device(self: &Arc<Self>, device: Device) -> Result<DeviceOutcome, Error> {
        let (order, redirect_url) = if let Some(url) = &device.code_url {
            (self.scan(url)?, None)
        } else if let Some(url) = &device.mweb_url {
            self.follow(url, &device)?
        } else {
            (self.launch(&device)?, None)
        };
        if order.expire_ms.is_some_and(|expire_ms| self.clock.wall_ms() >= expire_ms) {
            return Err(Error::Device("订单已失效，请重新下单"));
        }
        let order = self.pay(&order.key, device.payment)?;
        Ok(DeviceOutcome { order: order.truth(), redirect_url })
    }

    fn scan(&self, url: &str) -> Result<Arc<Order>, Error> {
        let order = self.by_prepay(|prepay| prepay.code_url() == url);
        self.alive(order.ok_or(Error::Device("二维码无效"))?, "二维码已过期，请刷新后重试")
    }

    /// Opens a link in a browser outside WeChat.
    fn follow(&self, url: &str, device: &Device) -> Result<(Arc<Order>, Option<String>), Error> {
        let broken = Error::Device("商家参数格式有误，请联系商家解决");
        let Some(host) = device.referer.as_deref().and_then(host_of) else { return Err(broken) };
        let query = url.strip_prefix(MWEB_URL).ok_or(Error::Device("链接无效"))?;
        let pairs: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        let of = |name: &str| pairs.get(name).copied().unwrap_or_default();
        let order = self.by_prepay(|prepay| prepay.id == of("prepay_id"));
        let order = order.ok_or(Error::Device("链接无效"))?;
        let expired = "支付请求已失效，请重新发起支付";
        let order = self.alive(order, expired)?;
        let settings = self.settings();
        let domains = settings.h5_domains.get(&order.key.mch_id);
        if domains.is_some_and(|domains| !domains.iter().any(|domain| domain == host)) {
            return Err(Error::Device("商家存在未配置的参数，请联系商家解决"));
        }
        if let Some(prepay) = &order.prepay {
            if prepay.link != of("package") || self.clock.now() >= prepay.linked + LINK_LIFE {
                return Err(Error::Device(expired));
            }
            if device.ip.is_some_and(|ip| ip != prepay.ip) {
                return Err(Error::Device("网络环境未能通过安全验证，请稍后再试"));
            }
        }
        let redirect_url = match pairs.get("redirect_url") {
            None => device.referer.clone(),
            Some(raw) => {
                let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| broken)?;
                Some(decoded.into_owned())
            }
        };
        Ok((order, redirect_url))
    }

    /// Calls up WeChat with signed parameters.
    fn launch(&self, device: &Device) -> Result<Arc<Order>, Error> {
        let mut params = device.params.clone();
        let is_app = params.contains_key("prepayid");
        let package = params.get("package").map(String::as_str).unwrap_or_default();
        let id = if is_app {
            params.get("prepayid").map(String::as_str)
        } else {
            package.strip_prefix("prepay_id=")
        };
        let id = id.unwrap_or_default().to_owned();
        let order =
            self.by_prepay(|prepay| prepay.id == id).ok_or(Error::Device("支付参数无效：prepay_id"))?;
        let order = self.alive(order, "订单已失效，请重新下单")?;
        let merchant = self.merchant(&order.key.mch_id).ok_or(Error::Device("商户不存在"))?;
        let of_sub = order.sub_appid.clone().filter(|_| order.sub_openid.is_some() || is_app);
        let appid = of_sub.unwrap_or_else(|| order.appid.clone());
        let sign_name = if is_app { "sign" } else { "paySign" };
        let signed = params.remove(sign_name).unwrap_or_default();
        let said = params.entry(if is_app { "appid" } else { "appId" }.to_owned()).or_insert(appid.clone());
        if *said != appid {
            return Err(Error::Device("支付参数无效：appid与下单时不一致"));
        }
        let stated = params.get("signType").map_or(order.algorithm.as_str(), String::as_str);
        let expected = sign::sign(
            params.iter().map(|(name, value)| (&**name, &**value)),
            &merchant.key,
            order.algorithm,
        );
        if stated != order.algorithm.as_str() || signed != expected {
            return Err(Error::Device("支付验证签名失败"));
        }
        let settings = self.settings();
        let directories = settings.pay_directories.get(&order.key.mch_id);
        let registered = |page: &str| {
            directories.is_none_or(|all| all.iter().any(|directory| page.starts_with(directory.as_str())))
        };
        match &device.page {
            Some(page) if !registered(page) => Err(Error::Device("当前页面的URL未注册")),
            _ => Ok(order),
        }
    }

    fn alive(&self, order: Arc<Order>, expired: &'static str) -> Result<Arc<Order>, Error> {
        let issued = order.prepay.as_ref().map(|prepay| prepay.issued);
        match issued {
            Some(issued) if self.clock.now() < issued + PREPAY_LIFE => Ok(order),
            _ => Err(Error::Device(expired)),
        }
    }

    fn by_prepay(&self, is_it: impl Fn(&Prepay) -> bool) -> Option<Arc<Order>> {
        self.book.find(|order| order.prepay.as_ref().is_some_and(&is_it))
    }
}

fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.split(['/', '?', '#', ':']).next().filter(|host| !host.is_empty())
}
