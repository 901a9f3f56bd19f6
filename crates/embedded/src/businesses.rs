//! The businesses port: the numbers of a shop's own order, and which of them was paid first.
//!
//! A number is added by the registration that names it, in the same transaction ([`link`]).

use async_trait::async_trait;
use paybell_core::ids::{BusinessNo, MchId, OrderKey, OutTradeNo};
use paybell_core::ports::{BUSINESS_AGE_MAX, BUSINESS_NUMBERS_MAX, Businesses, PortError};
use paybell_core::register::Application;
use rusqlite::{Connection, OptionalExtension, params};

use crate::engine::Engine;
use crate::error::StoreError;
use crate::store::Store;

#[async_trait]
impl Businesses for Engine {
    async fn numbers(&self, mch_id: &MchId, business_no: &BusinessNo) -> Result<Vec<OutTradeNo>, PortError> {
        let (mch_id, business_no) = (mch_id.clone(), business_no.clone());
        self.inner.readers.call(move |connection| numbers(connection, &mch_id, &business_no)).await
    }

    async fn claim(
        &self,
        mch_id: &MchId,
        business_no: &BusinessNo,
        out_trade_no: &OutTradeNo,
    ) -> Result<OutTradeNo, PortError> {
        let key = OrderKey { mch_id: mch_id.clone(), out_trade_no: out_trade_no.clone() };
        let business_no = business_no.clone();
        self.inner.writer.call(move |store| claim(store, &key, &business_no)).await
    }
}

/// Adds the number to the business order that the application names, if it names one and the number is not there.
pub(crate) fn link(store: &Store<'_>, key: &OrderKey, application: &Application) -> Result<(), StoreError> {
    let Some(business_no) = &application.business_no else { return Ok(()) };
    let mut numbers = numbers(store.connection, &key.mch_id, business_no)?;
    if numbers.contains(&key.out_trade_no) {
        return Ok(());
    }
    numbers.push(key.out_trade_no.clone());
    let beyond = numbers.len().saturating_sub(BUSINESS_NUMBERS_MAX);
    let texts: Vec<&str> = numbers.iter().skip(beyond).map(OutTradeNo::as_str).collect();
    let sql = "INSERT INTO businesses (mch_id, business_no, numbers, changed_at) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (mch_id, business_no) DO UPDATE SET numbers = excluded.numbers, \
               changed_at = excluded.changed_at";
    store.connection.prepare_cached(sql)?.execute(params![
        key.mch_id.as_str(),
        business_no.as_str(),
        texts.join(" "),
        store.now.millis()
    ])?;
    Ok(())
}

/// Forgets a few business orders that are too old; says how many.
pub(crate) fn prune(store: &Store<'_>, rows_max: i64) -> Result<u64, StoreError> {
    let sql = "DELETE FROM businesses WHERE (mch_id, business_no) IN \
               (SELECT mch_id, business_no FROM businesses WHERE changed_at < ?1 LIMIT ?2)";
    let before = (store.now - BUSINESS_AGE_MAX).millis();
    let pruned = store.connection.prepare_cached(sql)?.execute(params![before, rows_max])?;
    Ok(u64::try_from(pruned).unwrap_or(u64::MAX))
}

fn numbers(
    connection: &Connection,
    mch_id: &MchId,
    business_no: &BusinessNo,
) -> Result<Vec<OutTradeNo>, StoreError> {
    let sql = "SELECT numbers FROM businesses WHERE mch_id = ?1 AND business_no = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let text: Option<String> =
        statement.query_row([mch_id.as_str(), business_no.as_str()], |row| row.get(0)).optional()?;
    let number = |word: &str| {
        OutTradeNo::new(word)
            .map_err(|error| StoreError::Corrupt(format!("business order {business_no}: {error}")))
    };
    text.unwrap_or_default().split_whitespace().map(number).collect()
}

fn claim(store: &Store<'_>, key: &OrderKey, business_no: &BusinessNo) -> Result<OutTradeNo, StoreError> {
    let sql = "INSERT INTO businesses (mch_id, business_no, numbers, first_paid, changed_at) \
               VALUES (?1, ?2, ?3, ?3, ?4) ON CONFLICT (mch_id, business_no) DO UPDATE SET \
               first_paid = coalesce(first_paid, excluded.first_paid), changed_at = excluded.changed_at \
               RETURNING first_paid";
    let first: String = store.connection.prepare_cached(sql)?.query_row(
        params![key.mch_id.as_str(), business_no.as_str(), key.out_trade_no.as_str(), store.now.millis()],
        |row| row.get(0),
    )?;
    OutTradeNo::new(first)
        .map_err(|error| StoreError::Corrupt(format!("business order {business_no}: {error}")))
}
