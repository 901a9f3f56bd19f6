//! The two calls about refunds. A request that never left says so; one whose answer is lost is *unknown*, never refused.

use paybell_core::refund::{RefundAccount as Account, RefundAnswer, RefundRequest as Wanted, Refusal};
use paybell_core::time::Millis;
use paybell_core::{Answer, Currency};
use tokio::time::Instant;
use wechat_pay::answer::Verified;
use wechat_pay::client::RequestError;
use wechat_pay::error_code::ErrCode;
use wechat_pay::refund::{RefundAccount, RefundRequest};
use wechat_pay::refund_query::RefundQuery;

use super::{Asker, Failed, order_ref, priority};
use crate::observe_refund::{observe_refund, refund_answer, refusal};
use crate::wechat::{RefundAsk, RefundAsked};

impl Asker {
    pub(super) async fn request_refund(&self, ask: &RefundAsk) -> RefundAsked {
        let Some(wanted) = &ask.request else { return transient("no_request") };
        let account = match self.account(&ask.order) {
            Ok(account) => account,
            Err(answer) => return not_asked(answer),
        };
        let request = request_of(ask, wanted, &account);
        let begun = Instant::now();
        let outcome = self.client.refund(&account.account, &request, priority(&ask.order)).await;
        let outcome = match outcome {
            Ok(verified) => Ok(verified),
            Err(RequestError::Call(error)) => Err(error),
            Err(RequestError::Invalid(error)) => return never_sent(&ErrCode::ParamError, &error.to_string()),
            Err(RequestError::NoCertificate) => return without_certificate(),
        };
        let sendings = outcome.as_ref().map_or(0, Verified::exchanges);
        match self.finished(&account, begun, outcome) {
            Ok(answer) => RefundAsked::Answered(match refund_answer(ask, &account.facts, &answer) {
                RefundAnswer::Refused(refusal) if sendings > 1 => RefundAnswer::Doubtful(refusal),
                answer => answer,
            }),
            Err(Failed::Answer(answer)) => not_asked(answer),
            Err(Failed::NoSlot) => RefundAsked::NoSlot,
        }
    }

    pub(super) async fn query_refund(&self, ask: &RefundAsk) -> RefundAsked {
        let account = match self.account(&ask.order) {
            Ok(account) => account,
            Err(answer) => return not_asked(answer),
        };
        let query = RefundQuery::one(order_ref(&ask.order, &account), ask.out_refund_no.as_str());
        let begun = Instant::now();
        let outcome = self.client.refund_query(&account.account, &query, priority(&ask.order)).await;
        let outcome = match outcome {
            Ok(verified) => Ok(verified),
            Err(RequestError::Call(error)) => Err(error),
            // Every number and appid was checked when it came in.
            Err(RequestError::Invalid(_) | RequestError::NoCertificate) => return transient("not_sent"),
        };
        match self.finished(&account, begun, outcome) {
            Ok(answer) => RefundAsked::Answered(observe_refund(ask, &account.facts, &answer)),
            Err(Failed::Answer(answer)) => not_asked(answer),
            Err(Failed::NoSlot) => RefundAsked::NoSlot,
        }
    }
}

/// The same on every try, so that WeChat takes a repeat for what it is.
fn request_of(ask: &RefundAsk, wanted: &Wanted, account: &super::Account) -> RefundRequest {
    let order = order_ref(&ask.order, account);
    let (total_fee, refund_fee) = (wanted.total_fee.get(), wanted.refund_fee.get());
    let is_usual = wanted.fee_type == Currency::CNY;
    RefundRequest {
        refund_fee_type: if is_usual { String::new() } else { wanted.fee_type.as_str().to_owned() },
        reason: wanted.refund_desc.clone().unwrap_or_default(),
        account: wanted.refund_account.map(|account| match account {
            Account::UnsettledFunds => RefundAccount::UnsettledFunds,
            Account::RechargeFunds => RefundAccount::RechargeFunds,
        }),
        notify_url: account.refund_notify_url.clone(),
        ..RefundRequest::new(order, ask.out_refund_no.as_str(), total_fee, refund_fee)
    }
}

fn transient(cause: &'static str) -> RefundAsked {
    RefundAsked::Answered(RefundAnswer::Transient { cause, at_least: Millis(0) })
}

/// There is no believable answer: the outcome of a request is unknown.
fn not_asked(answer: Answer) -> RefundAsked {
    match answer {
        Answer::Transient(cause) => transient(cause),
        Answer::Refused { reason, detail } => RefundAsked::Answered(RefundAnswer::Stuck { reason, detail }),
        Answer::Observed(_) => transient("contradiction"),
    }
}

/// Nothing left this process; whether an earlier try was taken is asked before this counts.
fn never_sent(code: &ErrCode, said: &str) -> RefundAsked {
    RefundAsked::Answered(RefundAnswer::Refused(Box::new(refusal(code, Some(said)))))
}

fn without_certificate() -> RefundAsked {
    let words = |text: &str| text.to_owned();
    RefundAsked::Answered(RefundAnswer::Refused(Box::new(Refusal {
        code: words("NO_CERTIFICATE"),
        said: String::new(),
        cause: words(
            "The merchant has no client certificate in the configuration, and WeChat asks for one with a refund",
        ),
        remedy: words(
            "Set client_cert_file and client_key_file to the PEM files of the merchant platform (API security), then ask \
             for the same refund again",
        ),
        cause_zh: words("该商户未配置客户端证书，而申请退款必须使用证书"),
        remedy_zh: words(
            "将 client_cert_file 和 client_key_file 设为商户平台 账户中心 / API安全 下载的 PEM 文件，再用相同的退款单号申请",
        ),
    })))
}
