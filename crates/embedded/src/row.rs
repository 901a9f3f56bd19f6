//! A record as a row, and back. What is rare lies in one JSON column, absent while there is nothing of it.

use paybell_core::detail::Detail;
use paybell_core::ids::{AppId, LeaseToken, MchId, OrderKey, TransactionId};
use paybell_core::money::{Currency, Fen};
use paybell_core::paid::PaidOrder;
use paybell_core::ports::PortError;
use paybell_core::record::{Cause, Due, Lease, Record, State};
use paybell_core::register::Registration;
use paybell_core::time::Timestamp;
use rusqlite::{CachedStatement, Row, named_params};

use crate::error::StoreError;

/// What [`read`] needs, in a `SELECT`.
pub(crate) const COLUMNS: &str = "mch_id, out_trade_no, state, version, created_at, updated_at, total_fee, fee_type, \
     appid, sub_mch_id, expires_at, due_at, due_cause, claim, lease_token, lease_until, lease_committed, facts, \
     leases_lost, detail";

/// For [`write`], where there is no row yet.
pub(crate) const INSERT: &str = "INSERT INTO orders (mch_id, out_trade_no, state, version, created_at, updated_at, \
     total_fee, fee_type, appid, sub_mch_id, expires_at, due_at, due_cause, claim, lease_token, lease_until, \
     lease_committed, facts, leases_lost, detail, paid_at, paid_fee, paid_fee_type, transaction_id) \
     VALUES (:mch_id, :out_trade_no, :state, :version, :created_at, :updated_at, :total_fee, :fee_type, :appid, \
     :sub_mch_id, :expires_at, :due_at, :due_cause, :claim, :lease_token, :lease_until, :lease_committed, :facts, \
     :leases_lost, :detail, :paid_at, :paid_fee, :paid_fee_type, :transaction_id)";

/// For [`write`], where there is a row.
pub(crate) const UPDATE: &str = "UPDATE orders SET state = :state, version = :version, created_at = :created_at, \
     updated_at = :updated_at, total_fee = :total_fee, fee_type = :fee_type, appid = :appid, \
     sub_mch_id = :sub_mch_id, expires_at = :expires_at, due_at = :due_at, due_cause = :due_cause, claim = :claim, \
     lease_token = :lease_token, lease_until = :lease_until, lease_committed = :lease_committed, facts = :facts, \
     leases_lost = :leases_lost, detail = :detail, paid_at = :paid_at, paid_fee = :paid_fee, \
     paid_fee_type = :paid_fee_type, transaction_id = :transaction_id WHERE mch_id = :mch_id AND out_trade_no = :out_trade_no";

const CAUSES: [(Cause, &str); 8] = [
    (Cause::Cadence, "cadence"),
    (Cause::Notified, "notified"),
    (Cause::Registered, "registered"),
    (Cause::Accepted, "accepted"),
    (Cause::Manual, "manual"),
    (Cause::Billed, "billed"),
    (Cause::Outgoing, "outgoing"),
    (Cause::Refund, "refund"),
];

/// Binds every column of the record and runs [`INSERT`] or [`UPDATE`].
pub(crate) fn write(statement: &mut CachedStatement<'_>, record: &Record) -> Result<(), StoreError> {
    let registration = record.registration.as_ref();
    let paid = PaidOrder::of(record);
    let paid = paid.as_ref();
    statement.execute(named_params! {
        ":mch_id": record.key.mch_id.as_str(),
        ":out_trade_no": record.key.out_trade_no.as_str(),
        ":state": record.state.as_str(),
        ":version": record.version.cast_signed(),
        ":created_at": record.created_at.millis(),
        ":updated_at": record.updated_at.millis(),
        ":total_fee": registration.map(|registration| registration.total_fee.get()),
        ":fee_type": registration.map(|registration| registration.fee_type.as_str()),
        ":appid": registration.and_then(|registration| registration.appid.as_ref()).map(AppId::as_str),
        ":sub_mch_id": registration.and_then(|registration| registration.sub_mch_id.as_ref()).map(MchId::as_str),
        ":expires_at": registration.and_then(|registration| registration.expires_at).map(Timestamp::millis),
        ":due_at": record.due.map(|due| due.at.millis()),
        ":due_cause": record.due.map(|due| cause_word(due.cause)),
        ":claim": record.claim.cast_signed(),
        ":lease_token": record.lease.map(|lease| format!("{:032x}", lease.token.0)),
        ":lease_until": record.lease.map(|lease| lease.until.millis()),
        ":lease_committed": record.lease.map(|lease| lease.committed),
        ":facts": record.facts,
        ":leases_lost": record.leases_lost,
        ":detail": Detail::json_of(record).map_err(|error| corrupt(&record.key, "detail", error))?,
        ":paid_at": paid.map(|paid| paid.paid_at.millis()),
        ":paid_fee": paid.and_then(|paid| paid.total_fee).map(Fen::get),
        ":paid_fee_type": paid.map(|paid| paid.fee_type.as_str()),
        ":transaction_id": paid.and_then(|paid| paid.transaction_id.as_ref()).map(TransactionId::as_str),
    })?;
    Ok(())
}

/// The order of a row that begins with its key.
pub(crate) fn key(row: &Row<'_>) -> Result<OrderKey, StoreError> {
    let (mch_id, out_trade_no): (String, String) = (row.get(0)?, row.get(1)?);
    OrderKey::new(mch_id, out_trade_no).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// What was read, or none where what is stored cannot be read: one record among others must not keep theirs back.
pub(crate) fn or_left_out<T>(key: &OrderKey, read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Err(error) if error.is_unreadable() => {
            let cause = PortError::from(&error);
            tracing::warn!(order.key = %key, "order {key} is left out: {cause}");
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// The record of a row of [`COLUMNS`].
pub(crate) fn read(row: &Row<'_>) -> Result<Record, StoreError> {
    let key = key(row)?;
    let detail = match row.get_ref(19)?.as_str_or_null() {
        Ok(None) => Detail::default(),
        // Where, and not what: an openid may stand there.
        Ok(Some(json)) => Detail::of_json(json.as_bytes()).map_err(|error| {
            corrupt(&key, "detail", format!("no detail of ours, at byte {}", error.column()))
        })?,
        Err(error) => return Err(corrupt(&key, "detail", error)),
    };
    let state = word(row, 2, &key, State::parse)?;
    let (created_at, updated_at) = (Timestamp::from_millis(row.get(4)?), Timestamp::from_millis(row.get(5)?));
    let mut record = Record::new(key, created_at, updated_at);
    let key = &record.key;
    record.state = state.ok_or_else(|| corrupt(key, "state", "absent"))?;
    record.version = row.get::<_, i64>(3)?.cast_unsigned();
    record.registration = registration(row, key)?;
    record.due = due(row, (11, 12), key)?;
    record.claim = row.get::<_, i64>(13)?.cast_unsigned();
    record.lease = lease(row, key)?;
    record.leases_lost = row.get(18)?;
    record.facts = row.get(17)?;
    detail.put_into(&mut record);
    Ok(record)
}

/// What [`read_paid`] needs, in a `SELECT`: the index has all of it.
pub(crate) const PAID_COLUMNS: &str =
    "mch_id, out_trade_no, state, transaction_id, paid_fee, paid_fee_type, paid_at";

/// The payment of a row of [`PAID_COLUMNS`].
pub(crate) fn read_paid(row: &Row<'_>) -> Result<PaidOrder, StoreError> {
    let key = key(row)?;
    let state = word(row, 2, &key, State::parse)?;
    let total_fee = row.get::<_, Option<i64>>(4)?.map(Fen::new).transpose();
    Ok(PaidOrder {
        state: state.ok_or_else(|| corrupt(&key, "state", "absent"))?,
        transaction_id: word(row, 3, &key, |text| TransactionId::new(text).ok())?,
        total_fee: total_fee.map_err(|error| corrupt(&key, "paid_fee", error))?,
        fee_type: word(row, 5, &key, |text| Currency::new(text).ok())?.unwrap_or_default(),
        paid_at: Timestamp::from_millis(row.get(6)?),
        out_trade_no: key.out_trade_no,
    })
}

/// The due time in two columns.
pub(crate) fn due(row: &Row<'_>, columns: (usize, usize), key: &OrderKey) -> Result<Option<Due>, StoreError> {
    let Some(at) = row.get::<_, Option<i64>>(columns.0)? else { return Ok(None) };
    let cause = word(row, columns.1, key, cause_named)?;
    let cause = cause.ok_or_else(|| corrupt(key, "due_cause", "absent"))?;
    Ok(Some(Due { at: Timestamp::from_millis(at), cause }))
}

fn cause_word(cause: Cause) -> &'static str {
    CAUSES.iter().find(|(one, _)| *one == cause).map_or("cadence", |(_, word)| word)
}

fn cause_named(word: &str) -> Option<Cause> {
    CAUSES.iter().find(|(_, one)| *one == word).map(|(cause, _)| *cause)
}

fn registration(row: &Row<'_>, key: &OrderKey) -> Result<Option<Registration>, StoreError> {
    let Some(total_fee) = row.get::<_, Option<i64>>(6)? else { return Ok(None) };
    let fee_type = word(row, 7, key, |text| Currency::new(text).ok())?;
    Ok(Some(Registration {
        total_fee: Fen::new(total_fee).map_err(|error| corrupt(key, "total_fee", error))?,
        fee_type: fee_type.unwrap_or_default(),
        appid: word(row, 8, key, |text| AppId::new(text).ok())?,
        sub_mch_id: word(row, 9, key, |text| MchId::new(text).ok())?,
        expires_at: row.get::<_, Option<i64>>(10)?.map(Timestamp::from_millis),
        business_no: None,
    }))
}

fn lease(row: &Row<'_>, key: &OrderKey) -> Result<Option<Lease>, StoreError> {
    let token = word(row, 14, key, |text| u128::from_str_radix(text, 16).ok())?;
    let Some(token) = token else { return Ok(None) };
    Ok(Some(Lease {
        token: LeaseToken(token),
        until: Timestamp::from_millis(row.get(15)?),
        committed: row.get(16)?,
    }))
}

/// A text column through its parser; `None` where it is NULL.
fn word<T>(
    row: &Row<'_>,
    column: usize,
    key: &OrderKey,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, StoreError> {
    let text = row.get_ref(column)?.as_str_or_null().map_err(|error| corrupt(key, "a word", error))?;
    let Some(text) = text else { return Ok(None) };
    parse(text).map(Some).ok_or_else(|| corrupt(key, "a word", text))
}

fn corrupt(key: &OrderKey, what: &str, cause: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("order {key}, {what}: {cause}"))
}
