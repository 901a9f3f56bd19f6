//! The configuration as each role knows it. Used at the start and whenever a changed configuration is taken; checks
//! nothing that the configuration has checked.

use std::collections::HashMap;

use console::{Rate, Secret, Token};
use ingress::Merchants;
use paybell_core::{MchId, Policy, Unregistered};
use wechat_pay::client::{KeyRing, MerchantAccount};
use worker::{Account, MerchantFacts};

use crate::{
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

/// In whose name WeChat is asked.
pub fn accounts(config: &Config) -> Vec<Account> {
    config.merchants.iter().map(account).collect()
}

fn account(merchant: &Merchant) -> Account {
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
    Account::new(account, facts)
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
