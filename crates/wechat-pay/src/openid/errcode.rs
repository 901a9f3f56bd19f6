//! The `errcode` of `api.weixin.qq.com` as data: why it comes and what to do, in English and Chinese.
//!
//! Holds no logic; [`super::OpenIdError`] looks rows up.

use crate::error_code::Explanation;

#[rustfmt::skip] // One code per paragraph reads better than one argument per line.
pub static KNOWN_ERRCODES: [(i64, Explanation); 13] = [
    (-1, words([
        "WeChat is busy", "Ask again",
        "微信繁忙", "请重试"])),
    (40013, words([
        "There is no such appid", "Check the appid in the configuration and in the request",
        "appid 无效", "检查配置和请求中的 appid"])),
    (40029, words([
        "The code is of another app, or is no code", "Send the payer through the authorization again, with the appid that exchanges the code",
        "code 无效，或属于其他 appid", "重新发起授权，并核对 appid"])),
    (40125, words([
        "The AppSecret is not this appid's", "Put the present AppSecret into app_secret_file; it changes whenever somebody resets it",
        "AppSecret 不正确", "更新 app_secret_file 中的 AppSecret；重置后旧的立即失效"])),
    (40163, words([
        "The code was used before, as by a reloaded page", "Send the payer through the authorization again; keep the openid in the session",
        "code 已被使用（例如页面刷新）", "重新发起授权；把 openid 保存在会话中"])),
    (40226, words([
        "WeChat blocks this user", "Offer another way to pay",
        "该用户被微信限制登录", "请提供其他支付方式"])),
    (41002, words([
        "The appid is missing", "Name the appid",
        "缺少 appid", "请求中带上 appid"])),
    (41004, words([
        "The AppSecret is missing", "Configure the AppSecret of this appid",
        "缺少 AppSecret", "配置该 appid 的 AppSecret"])),
    (41008, words([
        "The code is missing", "Read code from the query of redirect_uri, or from wx.login, and send it",
        "缺少 code", "从 redirect_uri 的参数或 wx.login 取得 code 后再请求"])),
    (42003, words([
        "The code is older than 5 minutes", "Send the payer through the authorization again",
        "code 已超过 5 分钟", "重新发起授权"])),
    (45011, words([
        "Too often for one user", "Wait a minute; do not call wx.login in a loop",
        "同一用户调用过于频繁", "等待一分钟；不要循环调用 wx.login"])),
    (50002, words([
        "The account is restricted", "Look into the notices of its platform (mp.weixin.qq.com)",
        "账号受限", "登录公众平台查看通知"])),
    (10003, words([
        "The host of redirect_uri is not the registered domain", "Register it as the page authorization domain of the official account",
        "redirect_uri 的域名与后台配置不一致", "在公众平台设置网页授权域名"])),
];

pub(super) const UNKNOWN_ERRCODE: Explanation = words([
    "WeChat sent an errcode that this program does not know",
    "Read errmsg and look the errcode up in WeChat's documentation",
    "微信返回了未知的 errcode",
    "查看 errmsg，并在微信文档中查询该 errcode",
]);

pub(super) const MALFORMED: Explanation = words([
    "What answered in WeChat's place is no JSON with an openid",
    "Look for a proxy between here and api.weixin.qq.com",
    "返回内容不是含 openid 的 JSON",
    "检查到 api.weixin.qq.com 之间的代理",
]);

pub(super) const STATE: Explanation = words([
    "state is empty, too long, or has other characters than letters and digits",
    "Make state of 1 to 128 letters and digits, new for each session",
    "state 为空、过长或含有字母数字以外的字符",
    "state 用 1 至 128 个字母或数字，每个会话各不相同",
]);

const fn words([cause, remedy, cause_zh, remedy_zh]: [&'static str; 4]) -> Explanation {
    Explanation { cause, remedy, cause_zh, remedy_zh }
}
