//! The codes of refunds, of a payer's code, of reversing and of bills: more rows of the same table.
//!
//! Holds no logic.

use super::table::{Entry, row};
use super::{ErrCode, ErrorClass};

#[rustfmt::skip] // One code per paragraph reads better than one argument per line.
pub(super) static TABLE: [Entry; 19] = [
    row(ErrCode::BizerrNeedRetry, "BIZERR_NEED_RETRY", ErrorClass::Transient, [
        "WeChat could not finish just now; whether it acted is unknown", "Send the same again, under the same out_refund_no",
        "微信支付暂时未能完成，结果未知", "用相同的商户退款单号重试"]),
    row(ErrCode::TradeOverdue, "TRADE_OVERDUE", ErrorClass::Permanent, [
        "The order was paid too long ago to be refunded (one year)", "Return the money to the payer another way",
        "订单已超过退款期限（一年）", "用其他方式把款项退给付款人"]),
    row(ErrCode::Error, "ERROR", ErrorClass::Operator, [
        "A business error that only its text names", "Read err_code_des",
        "业务错误，原因见描述", "查看 err_code_des"]),
    row(ErrCode::UserAccountAbnormal, "USER_ACCOUNT_ABNORMAL", ErrorClass::Permanent, [
        "The payer's account is closed or restricted", "Return the money to the payer another way",
        "付款人账户异常或已注销", "用其他方式把款项退给付款人"]),
    row(ErrCode::InvalidReqTooMuch, "INVALID_REQ_TOO_MUCH", ErrorClass::Transient, [
        "Too many wrong requests in a row", "Wait a minute, look at what was wrong, then send the same again",
        "连续错误请求过多", "等待一分钟，查明错误原因后用原参数重试"]),
    row(ErrCode::InvalidTransactionId, "INVALID_TRANSACTIONID", ErrorClass::Permanent, [
        "The transaction_id belongs to no order of this merchant", "Name the order by out_trade_no; check the mch_id",
        "微信订单号不属于该商户", "改用商户订单号；核对商户号"]),
    row(ErrCode::RefundNotExist, "REFUNDNOTEXIST", ErrorClass::NotExist, [
        "WeChat knows no such refund: never accepted, or asked for this moment", "Ask again; then send the same refund again under the same out_refund_no",
        "没有这笔退款：从未受理，或刚刚才提交", "稍后再查；仍没有则用相同的商户退款单号重新申请"]),
    row(ErrCode::RefundFeeMismatch, "REFUND_FEE_MISMATCH", ErrorClass::Permanent, [
        "Amounts differ from the order's, or this out_refund_no was used with others", "Compare total_fee with the order; a different refund needs its own number",
        "金额与订单不一致，或该退款单号已用于其他金额", "核对订单金额；另一笔退款须使用新的退款单号"]),
    row(ErrCode::BankError, "BANKERROR", ErrorClass::Transient, [
        "The payer's bank had an error; whether it paid is unknown", "Query the order at once, then keep asking; reverse it at the end",
        "银行系统异常，支付结果未知", "立即查询订单并持续轮询；最后撤销"]),
    row(ErrCode::UserPaying, "USERPAYING", ErrorClass::Transient, [
        "The payer is entering the password", "Query every 3 to 5 seconds; reverse the order after 45 seconds",
        "付款人正在输入密码", "每 3 至 5 秒查询一次；45 秒后撤销"]),
    row(ErrCode::OrderReversed, "ORDERREVERSED", ErrorClass::Closed, [
        "The order was reversed", "A new attempt needs a new out_trade_no",
        "订单已撤销", "重新支付须使用新的商户订单号"]),
    row(ErrCode::AuthCodeExpire, "AUTHCODEEXPIRE", ErrorClass::Permanent, [
        "The payer's code has expired", "The payer refreshes the code; scan again",
        "付款码已过期", "请付款人刷新付款码后重新扫码"]),
    row(ErrCode::AuthCodeError, "AUTH_CODE_ERROR", ErrorClass::Permanent, [
        "The payer's code is wrong", "Scan again; it has 18 digits and begins with 10 to 15",
        "付款码错误", "重新扫码；付款码为 10 至 15 开头的 18 位数字"]),
    row(ErrCode::AuthCodeInvalid, "AUTH_CODE_INVALID", ErrorClass::Permanent, [
        "What was scanned is no payment code of WeChat", "Scan the code of the payer's wallet",
        "扫描的不是微信付款码", "请扫描付款人的微信付款码"]),
    row(ErrCode::NotSupportCard, "NOTSUPORTCARD", ErrorClass::Permanent, [
        "This kind of card is not taken", "The payer chooses another card",
        "不支持该卡种", "请付款人换卡支付"]),
    row(ErrCode::BuyerMismatch, "BUYER_MISMATCH", ErrorClass::Permanent, [
        "Another payer began to pay this order", "Place a new order under a new number",
        "该订单已由其他付款人发起支付", "使用新的商户订单号重新下单"]),
    row(ErrCode::ReverseExpire, "REVERSE_EXPIRE", ErrorClass::Permanent, [
        "The order is too old to be reversed (seven days)", "Ask for a refund",
        "订单已超过撤销期限（七天）", "改用退款"]),
    row(ErrCode::NoBillExist, "NO_BILL_EXIST", ErrorClass::NotExist, [
        "WeChat has no bill of that day", "If anything was traded, ask again after 10:00 Beijing time of the next day",
        "当日没有账单", "若当日有交易，请在次日北京时间 10 点后重试"]),
    row(ErrCode::BillCreating, "BILL_CREATING", ErrorClass::Transient, [
        "The bill is being made", "Ask again in a while",
        "账单生成中", "请稍后重试"]),
];
