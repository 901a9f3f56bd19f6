//! Who pays: the way to a payer's openid. Secrets, access tokens and session keys end here.

use paybell_core::AppId;
use paybell_core::observation::Openid;
use paybell_core::place::{CashierError, CodeOf, Refusal, RefusalKind, WhoPays};
use paybell_core::ports::AuthorizeWish;
use wechat_pay::client::ExchangeError;
use wechat_pay::openid::{OpenIdError, Scope, authorize_url};

use crate::desk::Desk;
use crate::prepare::invalid;
use crate::refusal;

impl Desk {
    pub(crate) fn authorize(&self, wish: &AuthorizeWish) -> Result<String, CashierError> {
        if !self.settings().knows(&wish.appid) {
            return Err(invalid("appid", "is not configured here", "没有在配置中").into());
        }
        let is_address = ["https://", "http://"]
            .iter()
            .any(|scheme| wish.redirect_uri.len() > scheme.len() && wish.redirect_uri.starts_with(scheme));
        if !is_address {
            let why = "must be an http or https address under the registered domain";
            return Err(invalid("redirect_uri", why, "须为已登记域名下的 http 或 https 地址").into());
        }
        let scope = if wish.with_profile { Scope::UserInfo } else { Scope::Base };
        authorize_url(wish.appid.as_str(), &wish.redirect_uri, scope, &wish.state)
            .map_err(|error| of_openid("state", &error).into())
    }

    pub(crate) async fn exchange(
        &self,
        appid: &AppId,
        of: CodeOf,
        code: &str,
    ) -> Result<WhoPays, CashierError> {
        let settings = self.settings();
        let secret = settings.secret(appid)?;
        if code.is_empty() {
            return Err(invalid("code", "is missing", "缺失").into());
        }
        let client = &self.parts.openids;
        let identity = match of {
            CodeOf::Page => client.page_code(appid.as_str(), secret, code).await,
            CodeOf::MiniProgram => client.mini_program_code(appid.as_str(), secret, code).await,
        };
        match identity {
            Ok(identity) => Ok(WhoPays {
                openid: Openid(identity.openid.as_str().to_owned()),
                unionid: identity.unionid.map(|unionid| Openid(unionid.as_str().to_owned())),
            }),
            Err(ExchangeError::Answer(error)) => Err(of_openid("code", &error).into()),
            Err(ExchangeError::Call(cause)) => {
                tracing::warn!(appid = %appid, cause = %cause, "no answer to the exchange of a code: {cause}");
                Err(refusal::soon(RefusalKind::WechatAway).into())
            }
        }
    }
}

fn of_openid(field: &str, error: &OpenIdError) -> Refusal {
    let words = refusal::words(error.explanation());
    match error {
        OpenIdError::Refused { errcode, errmsg } => {
            let kind = if error.is_transient() { RefusalKind::WechatBusy } else { RefusalKind::CodeRefused };
            let retry_after = error.is_transient().then_some(refusal::SOON);
            let (err_code, err_code_des) = (Some(errcode.to_string()), Some(errmsg.clone()));
            Refusal { words, err_code, err_code_des, retry_after, ..kind.into() }
        }
        OpenIdError::State => {
            Refusal { words, fields: vec![field.to_owned()], ..RefusalKind::InvalidRequest.into() }
        }
        _ => Refusal { words, ..refusal::soon(RefusalKind::WechatAway) },
    }
}
