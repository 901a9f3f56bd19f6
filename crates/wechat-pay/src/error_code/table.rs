//! The known error codes as data: WeChat's text, whose turn it is, and words for people.
//!
//! Holds no logic. One row per code; [`super::ErrCode`] looks rows up in both directions.

use super::{ErrCode, ErrorClass, Explanation};

pub(super) struct Entry {
    pub(super) code: ErrCode,
    pub(super) text: &'static str,
    pub(super) class: ErrorClass,
    pub(super) explanation: Explanation,
}

/// What is said of a code that is not in the table.
pub(super) static UNKNOWN: Entry = Entry {
    code: ErrCode::Other(String::new()),
    text: "",
    class: ErrorClass::Operator,
    explanation: Explanation {
        cause: "WeChat sent an error code that this program does not know",
        remedy: "Read err_code_des, look the code up in WeChat's documentation, then retry or drop",
        cause_zh: "微信支付返回了未知的错误码",
        remedy_zh: "查看 err_code_des 和微信支付文档，再决定重试或放弃",
    },
};

#[rustfmt::skip] // One code per paragraph reads better than one argument per line.
pub(super) static TABLE: [Entry; 20] = [
    row(ErrCode::OrderNotExist, "ORDERNOTEXIST", ErrorClass::NotExist, [
        "WeChat knows no order of this number: never placed, or placed this moment", "Ask again later; check that the number and mch_id are those the order was placed with",
        "微信支付没有这个商户订单号：从未下单，或刚刚才下单", "稍后再查；核对下单时使用的订单号和商户号"]),
    row(ErrCode::SystemError, "SYSTEMERROR", ErrorClass::Transient, [
        "WeChat had an internal error; the order's state is unknown", "Ask again with the same parameters",
        "微信支付系统错误，订单状态未知", "用相同参数重新查询"]),
    row(ErrCode::FrequencyLimited, "FREQUENCY_LIMITED", ErrorClass::Transient, [
        "Too many calls for this merchant", "Slow down and ask again; lower the query rate",
        "调用过于频繁", "降低调用频率后重试"]),
    row(ErrCode::OrderPaid, "ORDERPAID", ErrorClass::Paid, [
        "The order is already paid", "Query the order and treat it as paid if the answer says so",
        "订单已支付", "查询订单，以查询结果为准"]),
    row(ErrCode::OrderClosed, "ORDERCLOSED", ErrorClass::Closed, [
        "The order is closed and cannot be paid any more", "Nothing to do; a new attempt needs a new out_trade_no",
        "订单已关闭，不能再支付", "无需处理；重新支付须使用新的商户订单号"]),
    row(ErrCode::TradeStateError, "TRADE_STATE_ERROR", ErrorClass::Permanent, [
        "The order's state does not allow this", "Query the order and act on its state",
        "订单状态不允许此操作", "查询订单，按其状态处理"]),
    row(ErrCode::NotEnough, "NOTENOUGH", ErrorClass::Permanent, [
        "The payer's balance is too low", "The payer chooses another way to pay",
        "付款人余额不足", "请付款人换一种支付方式"]),
    row(ErrCode::OutTradeNoUsed, "OUT_TRADE_NO_USED", ErrorClass::Permanent, [
        "The order number was used before with other data", "Query the order, then decide; never reuse a number for another purchase",
        "商户订单号已被不同内容的订单使用", "先查询订单再决定；不要重复使用订单号"]),
    row(ErrCode::InvalidRequest, "INVALID_REQUEST", ErrorClass::Permanent, [
        "The order was repeated with other parameters", "Repeat it unchanged, or close it and use a new number",
        "重复下单但参数不一致", "用原参数重试，或关单后使用新的订单号"]),
    row(ErrCode::SignError, "SIGNERROR", ErrorClass::Operator, [
        "WeChat does not accept our signature", "Check the API key (v2, not v3), the mch_id and the sign_type",
        "签名不被微信支付接受", "检查 API 密钥（v2 而非 v3）、商户号和签名类型"]),
    row(ErrCode::NoAuth, "NOAUTH", ErrorClass::Operator, [
        "The merchant has not been granted this interface", "Apply for the product in the merchant platform",
        "商户无此接口权限", "在商户平台开通相应产品"]),
    row(ErrCode::AppidNotExist, "APPID_NOT_EXIST", ErrorClass::Operator, [
        "The appid does not exist", "Correct app_ids",
        "APPID 不存在", "更正 appid 配置"]),
    row(ErrCode::MchidNotExist, "MCHID_NOT_EXIST", ErrorClass::Operator, [
        "The mch_id does not exist", "Correct mch_id",
        "商户号不存在", "更正商户号配置"]),
    row(ErrCode::AppidMchidNotMatch, "APPID_MCHID_NOT_MATCH", ErrorClass::Operator, [
        "The appid is not bound to this mch_id", "Bind them in the merchant platform, or correct the configuration",
        "appid 与商户号未绑定", "在商户平台绑定，或更正配置"]),
    row(ErrCode::LackParams, "LACK_PARAMS", ErrorClass::Operator, [
        "A mandatory parameter is missing", "Report a bug, with the request's field names",
        "缺少必填参数", "这是程序缺陷，请附上请求的字段名报告"]),
    row(ErrCode::ParamError, "PARAM_ERROR", ErrorClass::Operator, [
        "A parameter is malformed", "Check appid, mch_id, sub_mch_id and out_trade_no",
        "参数格式错误", "检查 appid、商户号、特约商户号和订单号"]),
    row(ErrCode::XmlFormatError, "XML_FORMAT_ERROR", ErrorClass::Operator, [
        "WeChat could not read the request", "Look for a proxy that changes bodies; otherwise report a bug",
        "请求的 XML 无法解析", "检查是否有代理改写请求；否则为程序缺陷"]),
    row(ErrCode::RequirePostMethod, "REQUIRE_POST_METHOD", ErrorClass::Operator, [
        "The request did not arrive as POST", "Look for a proxy or redirect in between",
        "请求不是 POST", "检查中间的代理或重定向"]),
    row(ErrCode::PostDataEmpty, "POST_DATA_EMPTY", ErrorClass::Operator, [
        "The request arrived without a body", "Look for a proxy that drops bodies",
        "请求体为空", "检查中间的代理是否丢弃请求体"]),
    row(ErrCode::NotUtf8, "NOT_UTF8", ErrorClass::Operator, [
        "The request did not arrive as UTF-8", "Look for a proxy that recodes bodies",
        "请求不是 UTF-8 编码", "检查中间的代理是否转换了编码"]),
];

pub(super) const fn row(
    code: ErrCode,
    text: &'static str,
    class: ErrorClass,
    [cause, remedy, cause_zh, remedy_zh]: [&'static str; 4],
) -> Entry {
    Entry { code, text, class, explanation: Explanation { cause, remedy, cause_zh, remedy_zh } }
}
