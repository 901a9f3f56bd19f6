//! Wire names: reads and authenticates a request, writes answers and notifications. Holds no orders; a [`Call`] goes to
//! an endpoint, the text it answers to the socket.

use std::{borrow::Cow, sync::Arc};

use wechat_pay::{
    sign::{self, AcceptedAlgorithm, Algorithm, ApiKey},
    xml::{self, Document, XmlError},
};

use crate::{
    clock,
    order::{Order, Paid},
    world::{Merchant, World},
};

/// Name and value of each field of a document, in the order of writing.
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Fields<'a> {
    pub(crate) fn new() -> Self {
        Fields(Vec::with_capacity(32))
    }

    pub(crate) fn put(&mut self, name: impl Into<Cow<'a, str>>, value: impl Into<Cow<'a, str>>) {
        self.0.push((name.into(), value.into()));
    }

    pub(crate) fn put_some(&mut self, name: &'static str, value: Option<&'a str>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// Changes a field that is there.
    pub(crate) fn replace(&mut self, name: &str, value: String) {
        if let Some((_, old)) = self.0.iter_mut().find(|(of, _)| of == name) {
            *old = Cow::Owned(value);
        }
    }

    pub(crate) fn extend(&mut self, more: Fields<'a>) {
        self.0.extend(more.0);
    }

    /// The same on its own feet.
    pub(crate) fn into_owned(self) -> Fields<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Fields(self.0.into_iter().map(|(name, value)| (own(name), own(value))).collect())
    }

    pub(crate) fn sign(&mut self, key: &ApiKey, algorithm: Algorithm) {
        let sign = sign::sign(self.iter(), key, algorithm);
        self.put("sign", sign);
    }

    pub(crate) fn to_xml(&self) -> String {
        xml::write(self.iter())
    }

    /// The same under another root.
    pub(crate) fn to_xml_root(&self, root: &str) -> String {
        let text = self.to_xml();
        let fields = text.strip_prefix("<xml>").and_then(|rest| rest.strip_suffix("</xml>"));
        format!("<{root}>{}</{root}>", fields.unwrap_or_default())
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// Why a request gets no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `return_code=FAIL`, without a sign.
    Unsigned(&'static str),
    /// `result_code=FAIL`, signed.
    Business { code: &'static str, text: &'static str },
}

impl Refusal {
    pub(crate) const WRONG_SIGN: Refusal = Refusal::Unsigned("签名错误");

    pub(crate) fn business(code: &'static str, text: &'static str) -> Refusal {
        Refusal::Business { code, text }
    }
}

/// The body of an unsigned refusal.
pub(crate) fn unsigned_fail(text: &str) -> String {
    xml::write([("return_code", "FAIL"), ("return_msg", text)])
}

/// An authentic request.
pub(crate) struct Call<'d> {
    pub(crate) document: Document<'d>,
    pub(crate) merchant: Arc<Merchant>,
    pub(crate) algorithm: Algorithm,
    /// The key that the request was signed with.
    key: ApiKey,
}

impl<'d> Call<'d> {
    /// Reads a request. Merchant, then sign, then the rest, as WeChat judges.
    pub(crate) fn read(body: &'d [u8], world: &World) -> Result<Call<'d>, Refusal> {
        let document = Document::parse(body).map_err(|error| match error {
            XmlError::Empty => Refusal::Unsigned("post数据为空"),
            XmlError::Encoding => Refusal::Unsigned("编码格式错误"),
            _ => Refusal::Unsigned("XML格式错误"),
        })?;
        let mch_id = document.get("mch_id").unwrap_or_default();
        let merchant = world.merchant(mch_id).ok_or(Refusal::Unsigned("商户号mch_id或sub_mch_id不存在"))?;
        // Without sign_type a request is MD5, whatever the length of its sign.
        let algorithm = match document.get("sign_type").unwrap_or_default() {
            "" => Algorithm::Md5,
            _ => sign::choose(&document, AcceptedAlgorithm::Any).map_err(|_| Refusal::WRONG_SIGN)?,
        };
        let key = merchant.key_of(&document, algorithm).ok_or(Refusal::WRONG_SIGN)?.clone();
        Ok(Call { document, merchant, algorithm, key })
    }

    /// A field that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.document.get(name).filter(|value| !value.is_empty())
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).ok_or(Refusal::business("LACK_PARAMS", "缺少参数"))
    }

    /// `appid` must belong to the merchant.
    pub(crate) fn check_app(&self) -> Result<(), Refusal> {
        let appid = self.required("appid")?;
        self.required("nonce_str")?;
        if !self.merchant.app_ids.is_empty() && !self.merchant.app_ids.iter().any(|id| id == appid) {
            let like_one = appid.starts_with("wx") && appid.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return Err(if like_one {
                Refusal::business("APPID_MCHID_NOT_MATCH", "appid和mch_id不匹配")
            } else {
                Refusal::business("APPID_NOT_EXIST", "APPID不存在")
            });
        }
        Ok(())
    }

    /// `appid` and `sub_mch_id` must belong to the merchant.
    pub(crate) fn check_identity(&self) -> Result<(), Refusal> {
        self.check_app()?;
        let sub_mch_ids = &self.merchant.sub_mch_ids;
        if sub_mch_ids.is_empty() {
            return Ok(());
        }
        let sub_mch_id = self.required("sub_mch_id")?;
        if sub_mch_ids.iter().any(|id| id == sub_mch_id) {
            Ok(())
        } else {
            Err(Refusal::business("MCHID_NOT_EXIST", "子商户号与服务商无受理关系"))
        }
    }

    /// The signed answer: the common block, then `result`.
    pub(crate) fn answer(&self, result: Result<Fields<'_>, Refusal>, world: &World) -> String {
        self.signed_answer(result, world, &self.key)
    }

    /// The same, signed with a key that is not the merchant's.
    pub(crate) fn wrongly_signed_answer(&self, result: Result<Fields<'_>, Refusal>, world: &World) -> String {
        self.signed_answer(result, world, &world.foreign_key)
    }

    /// A signed refusal in any words.
    pub(crate) fn refused_answer(&self, code: &str, text: &str, world: &World) -> String {
        let mut fields = self.common_block(world);
        fields.put("result_code", "FAIL");
        fields.put("err_code", code);
        fields.put("err_code_des", text);
        fields.sign(&self.key, self.algorithm);
        fields.to_xml()
    }

    fn common_block(&self, world: &World) -> Fields<'_> {
        let mut fields = Fields::new();
        fields.put("return_code", "SUCCESS");
        fields.put("return_msg", "OK");
        for name in ["appid", "mch_id", "sub_appid", "sub_mch_id"] {
            fields.put_some(name, self.get(name));
        }
        fields.put("nonce_str", world.nonce());
        fields
    }

    fn signed_answer(&self, result: Result<Fields<'_>, Refusal>, world: &World, key: &ApiKey) -> String {
        if let Err(Refusal::Unsigned(text)) = result {
            return unsigned_fail(text);
        }
        let mut fields = self.common_block(world);
        match result {
            Ok(more) => {
                fields.put("result_code", "SUCCESS");
                fields.extend(more);
            }
            Err(Refusal::Business { code, text }) => {
                fields.put("result_code", "FAIL");
                fields.put("err_code", code);
                fields.put("err_code_des", text);
            }
            Err(Refusal::Unsigned(_)) => {}
        }
        fields.sign(key, self.algorithm);
        fields.to_xml()
    }
}

/// The payment block that a query of a paid order and a notification share.
pub(crate) fn payment_block<'a>(order: &'a Order, paid: &'a Paid) -> Fields<'a> {
    let mut fields = Fields::new();
    let coupon_fee = paid.coupon_fee();
    fields.put_some("device_info", order.device_info.as_deref());
    fields.put("openid", &*order.openid);
    fields.put("is_subscribe", "N");
    if let Some(sub_openid) = &order.sub_openid {
        fields.put("sub_openid", &**sub_openid);
        fields.put("sub_is_subscribe", "N");
    }
    fields.put("trade_type", &*order.trade_type);
    fields.put("bank_type", &*paid.bank_type);
    fields.put("total_fee", order.total_fee.to_string());
    fields.put("fee_type", &*order.fee_type);
    fields.put("cash_fee", order.total_fee.saturating_sub(coupon_fee).to_string());
    if !paid.coupons.is_empty() {
        let not_prepaid_fee = paid.not_prepaid_fee();
        if not_prepaid_fee > 0 {
            let settled = order.total_fee.saturating_sub(not_prepaid_fee);
            fields.put("settlement_total_fee", settled.to_string());
        }
        fields.put("coupon_fee", coupon_fee.to_string());
        fields.put("coupon_count", paid.coupons.len().to_string());
        for (index, coupon) in paid.coupons.iter().enumerate() {
            if let Some(kind) = &coupon.kind {
                fields.put(format!("coupon_type_{index}"), &**kind);
            }
            fields.put(format!("coupon_id_{index}"), &*coupon.id);
            fields.put(format!("coupon_fee_{index}"), coupon.fee.to_string());
        }
    }
    fields.put("transaction_id", &*paid.transaction_id);
    fields.put("out_trade_no", &*order.key.out_trade_no);
    fields.put_some("attach", order.attach.as_deref());
    fields.put("time_end", clock::compact(paid.wall_ms));
    fields
}

/// A payment notification, still without its sign. It carries no `sign_type`, as WeChat's does not.
pub(crate) fn notification<'a>(order: &'a Order, paid: &'a Paid, nonce: String) -> Fields<'a> {
    let mut fields = Fields::new();
    fields.put("return_code", "SUCCESS");
    fields.put("appid", &*order.appid);
    fields.put("mch_id", &*order.key.mch_id);
    fields.put_some("sub_appid", order.sub_appid.as_deref());
    fields.put_some("sub_mch_id", order.sub_mch_id.as_deref());
    fields.put("nonce_str", nonce);
    fields.put("result_code", "SUCCESS");
    fields.extend(payment_block(order, paid));
    fields
}
