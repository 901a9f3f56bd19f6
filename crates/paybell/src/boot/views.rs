//! The configuration as each role knows it. Used at the start and whenever a changed configuration is taken; checks
//! nothing that the configuration has checked.

use std::{collections::HashMap, sync::Arc};

use console::{Rate, Secret, Token};
use ingress::Merchants;
use paybell_core::{MchId, Policy, Unregistered};
use wechat_pay::client::{ClientCertificate, KeyRing, MerchantAccount};
use worker::{Account, MerchantFacts};

use crate::{
    clock::whole_seconds_since_1970,
    config::{self, Config, Merchant},
    error::Error,
};

/// Whose notifications are taken.
pub fn ingress_merchants(config: &Config) -> Result<Merchants, Error> {
    let of_ingress = |merchant: &Merchant| ingress::Merchant {
        mch_id: merchant.mch_id.to_string(),
        app_ids: texts(&merchant.app_ids),
        sub_mch_ids: texts(&merchant.sub_mch_ids),
        keys: merchant.keys.clone(),
        accepted: merchant.accepted,
    };
    let merchants = Merchants::new(config.merchants.iter().map(of_ingress));
    merchants.map_err(|error| Error::Usage(error.to_string()))
}

/// In whose name WeChat is asked; reads their certificates.
pub fn accounts(config: &Config) -> Result<Vec<Account>, Error> {
    config.merchants.iter().map(account).collect()
}

fn account(merchant: &Merchant) -> Result<Account, Error> {
    let mut keys = merchant.keys.iter().cloned();
    let current = keys.next().expect("a checked merchant has a current key");
    let (app_ids, sub_mch_ids) = (texts(&merchant.app_ids), texts(&merchant.sub_mch_ids));
    let facts = MerchantFacts { app_ids: app_ids.clone(), sub_mch_ids };
    let account = MerchantAccount::new(
        merchant.mch_id.as_str(),
        app_ids,
        KeyRing::new(current, keys.next()),
        merchant.algorithm,
        merchant.queries_per_second,
    );
    let account = match certificate(merchant)? {
        Some(certificate) => account.with_certificate(Arc::new(certificate)),
        None => account,
    };
    Ok(Account::new(account, facts))
}

/// With the addresses where WeChat tells how refunds end; without a public URL the merchant platform's setting holds.
pub fn notified_of_refunds(accounts: Vec<Account>, public_url: Option<&str>) -> Vec<Account> {
    let Some(public_url) = public_url else { return accounts };
    let with_url = |account: Account| {
        let url = format!("{public_url}/notify/refund/{}", account.account.mch_id());
        account.with_refund_notify_url(url)
    };
    accounts.into_iter().map(with_url).collect()
}

fn certificate(merchant: &Merchant) -> Result<Option<ClientCertificate>, Error> {
    let Some(pair) = &merchant.client_certificate else { return Ok(None) };
    if pair.days_left(whole_seconds_since_1970()).is_some_and(|days| days < 0) {
        let (mch_id, file) = (&merchant.mch_id, pair.cert_file.display());
        tracing::warn!(
            merchant.mch_id = %mch_id,
            "the API certificate of merchant {mch_id} has ended: WeChat will refuse its refunds until {file} is renewed"
        );
    }
    pair.client_certificate().map(Some).map_err(Error::Usage)
}

/// What the operator decided for orders of merchants that are not configured.
pub fn policy_of_others(config: &Config) -> Policy {
    Policy {
        mode: config.mode,
        cadence: config.cadence.clone(),
        unregistered: Unregistered::default(),
        close_unpaid: false,
        openid: config.openid,
        retention: config.retention.orders,
    }
}

/// What the operator decided per merchant.
pub fn policies(config: &Config) -> HashMap<MchId, Policy> {
    let of_merchant = |merchant: &Merchant| Policy {
        unregistered: merchant.unregistered,
        close_unpaid: merchant.close_unpaid,
        openid: config.openid_of(&merchant.mch_id),
        ..policy_of_others(config)
    };
    config.merchants.iter().map(|merchant| (merchant.mch_id.clone(), of_merchant(merchant))).collect()
}

/// Who may call the private API.
pub fn tokens(config: &Config) -> Result<Vec<Token>, Error> {
    config.console.tokens.iter().map(token).collect()
}

fn token(token: &config::Token) -> Result<Token, Error> {
    let secret = Secret::new(token.secret.reveal());
    let secret = secret.ok_or_else(|| Error::Usage(format!("the token \"{}\" is empty", token.name)))?;
    let scope = |scope: &config::Scope| match scope {
        config::Scope::Events => console::Scope::Events,
        config::Scope::Orders => console::Scope::Orders,
        config::Scope::Operate => console::Scope::Operate,
        config::Scope::Refunds => console::Scope::Refunds,
    };
    Ok(Token {
        name: token.name.clone(),
        secret,
        scopes: token.scopes.iter().map(scope).collect(),
        rate: Rate::per_second(token.rate),
        streams_max: usize::try_from(token.streams).unwrap_or(usize::MAX),
    })
}

/// Every merchant's number.
pub fn mch_ids(config: &Config) -> impl Iterator<Item = &str> {
    config.merchants.iter().map(|merchant| merchant.mch_id.as_str())
}

fn texts<T: ToString>(ids: &[T]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
