//! A record as bytes, and back. Most records are small: a pending registered order takes some 25 bytes, so that Redis
//! keeps value and header in one piece of memory. What is rare lies in a JSON text at the end.
//!
//! Layout: format, flags (2 bytes), state and cause, then what the flags name, in the order of [`encode`]. Numbers are
//! varints; times are differences to `created_at`.

mod wire;

use paybell_core::detail::Detail;
use paybell_core::ids::{AppId, LeaseToken, MchId, OrderKey};
use paybell_core::money::{Currency, Fen};
use paybell_core::record::{Cause, Due, Lease, Record, State};
use paybell_core::register::Registration;
use paybell_core::time::Timestamp;

use crate::error::Fault;
use wire::{Reader, Writer};

/// The newest format that this code reads; it reads the one before, too.
const FORMAT: u8 = 2;

/// The format of a record that a reader of this format can store again without losing anything.
const FORMAT_PLAIN: u8 = 1;

const REGISTERED: u16 = 1;
const OTHER_CURRENCY: u16 = 1 << 1;
const APPID_PACKED: u16 = 1 << 2;
const APPID_TEXT: u16 = 1 << 3;
const SUB_MCH_ID: u16 = 1 << 4;
const EXPIRES_AT: u16 = 1 << 5;
const DUE: u16 = 1 << 6;
const LEASE: u16 = 1 << 7;
const LEASE_COMMITTED: u16 = 1 << 8;
const DETAIL: u16 = 1 << 9;
const VERSION: u16 = 1 << 10;
const CLAIM: u16 = 1 << 11;
const FACTS: u16 = 1 << 12;
const LEASES_LOST: u16 = 1 << 13;
const UPDATED_AT: u16 = 1 << 14;

const CAUSES: [Cause; 8] = [
    Cause::Cadence,
    Cause::Notified,
    Cause::Registered,
    Cause::Accepted,
    Cause::Manual,
    Cause::Billed,
    Cause::Outgoing,
    Cause::Refund,
];

/// The bytes of a record. Equal bytes mean an equal record; the key is not among them.
pub(crate) fn encode(record: &Record) -> Result<Vec<u8>, Fault> {
    let unwritable = |error| Fault::Corrupt(format!("order {} cannot be written: {error}", record.key));
    let detail = Detail::json_of(record).map_err(unwritable)?;
    let mut to = Writer::with_capacity(48 + detail.as_ref().map_or(0, String::len));
    to.byte(format_of(record));
    let flags = flags_of(record, detail.is_some());
    flags.to_le_bytes().into_iter().for_each(|byte| to.byte(byte));
    to.byte(words_of(record));
    to.signed(record.created_at.millis());
    let base = record.created_at;
    if flags & UPDATED_AT != 0 {
        to.time(record.updated_at, base);
    }
    record.due.iter().for_each(|due| to.time(due.at, base));
    for (flag, number) in [
        (VERSION, record.version),
        (CLAIM, record.claim),
        (FACTS, u64::from(record.facts)),
        (LEASES_LOST, u64::from(record.leases_lost)),
    ] {
        if flags & flag != 0 {
            to.unsigned(number);
        }
    }
    if let Some(registration) = &record.registration {
        write_registration(&mut to, registration, base);
    }
    if let Some(lease) = &record.lease {
        to.bytes(&lease.token.0.to_be_bytes());
        to.time(lease.until, base);
    }
    detail.iter().for_each(|json| to.bytes(json.as_bytes()));
    Ok(to.done())
}

/// The record that the bytes stand for.
pub(crate) fn decode(key: &OrderKey, bytes: &[u8]) -> Result<Record, Fault> {
    let mut from = Reader::new(bytes);
    let format = match from.byte() {
        Some(format @ FORMAT_PLAIN..=FORMAT) => format,
        Some(format) if format > FORMAT => {
            let cause =
                format!("order {key} has format {format}, and this version of paybell reads {FORMAT}");
            return Err(Fault::Corrupt(cause));
        }
        _ => return Err(corrupt(key)),
    };
    let record = read(key, &mut from)?.filter(|record| format_of(record) == format);
    record.ok_or_else(|| corrupt(key))
}

/// A process that knows no refunds would write the record back without them, and forget money that is on its way: it
/// must not be able to read it.
fn format_of(record: &Record) -> u8 {
    if record.refunds.is_empty() { FORMAT_PLAIN } else { FORMAT }
}

fn corrupt(key: &OrderKey) -> Fault {
    Fault::Corrupt(format!("the record of order {key} is no record of ours"))
}

fn flags_of(record: &Record, has_detail: bool) -> u16 {
    let registration = record.registration.as_ref();
    let appid = registration.and_then(|registration| registration.appid.as_ref());
    let is_packed = appid.is_some_and(|appid| pack(appid).is_some());
    [
        (REGISTERED, registration.is_some()),
        (OTHER_CURRENCY, registration.is_some_and(|one| one.fee_type != Currency::CNY)),
        (APPID_PACKED, is_packed),
        (APPID_TEXT, appid.is_some() && !is_packed),
        (SUB_MCH_ID, registration.is_some_and(|one| one.sub_mch_id.is_some())),
        (EXPIRES_AT, registration.is_some_and(|one| one.expires_at.is_some())),
        (DUE, record.due.is_some()),
        (LEASE, record.lease.is_some()),
        (LEASE_COMMITTED, record.lease.is_some_and(|lease| lease.committed)),
        (DETAIL, has_detail),
        (VERSION, record.version != 0),
        (CLAIM, record.claim != 0),
        (FACTS, record.facts != 0),
        (LEASES_LOST, record.leases_lost != 0),
        (UPDATED_AT, record.updated_at != record.created_at),
    ]
    .into_iter()
    .fold(0, |flags, (flag, is_set)| if is_set { flags | flag } else { flags })
}

fn words_of(record: &Record) -> u8 {
    let cause = record.due.map_or(Cause::Cadence, |due| due.cause);
    place(&State::ALL, record.state) | place(&CAUSES, cause) << 4
}

fn write_registration(to: &mut Writer, registration: &Registration, base: Timestamp) {
    to.unsigned(registration.total_fee.get().unsigned_abs());
    if registration.fee_type != Currency::CNY {
        to.bytes(registration.fee_type.as_str().as_bytes());
    }
    match registration.appid.as_ref().map(|appid| (appid, pack(appid))) {
        Some((_, Some(packed))) => to.bytes(&packed),
        Some((appid, None)) => to.text(appid.as_str()),
        None => {}
    }
    registration.sub_mch_id.iter().for_each(|sub_mch_id| to.text(sub_mch_id.as_str()));
    registration.expires_at.iter().for_each(|expires_at| to.time(*expires_at, base));
}

/// `None` where the bytes end too early or say what cannot be.
fn read(key: &OrderKey, from: &mut Reader<'_>) -> Result<Option<Record>, Fault> {
    let Some(mut record) = read_fields(key, from) else { return Ok(None) };
    if record.1 & DETAIL != 0 {
        let corrupt = |error| Fault::Corrupt(format!("the record of order {key}, detail: {error}"));
        Detail::of_json(from.rest()).map_err(corrupt)?.put_into(&mut record.0);
    } else if !from.rest().is_empty() {
        return Ok(None);
    }
    Ok(Some(record.0))
}

fn read_fields(key: &OrderKey, from: &mut Reader<'_>) -> Option<(Record, u16)> {
    let flags = u16::from_le_bytes([from.byte()?, from.byte()?]);
    let words = from.byte()?;
    let state = *State::ALL.get(usize::from(words & 0x0f))?;
    let cause = *CAUSES.get(usize::from(words >> 4))?;
    let base = Timestamp::from_millis(from.signed()?);
    let mut record = Record::new(key.clone(), base, base);
    record.state = state;
    let has = |flag| flags & flag != 0;
    if has(UPDATED_AT) {
        record.updated_at = from.time(base)?;
    }
    if has(DUE) {
        record.due = Some(Due { at: from.time(base)?, cause });
    }
    record.version = from.unsigned_if(has(VERSION))?;
    record.claim = from.unsigned_if(has(CLAIM))?;
    record.facts = u32::try_from(from.unsigned_if(has(FACTS))?).ok()?;
    record.leases_lost = u32::try_from(from.unsigned_if(has(LEASES_LOST))?).ok()?;
    if has(REGISTERED) {
        record.registration = Some(read_registration(flags, from, base)?);
    }
    if has(LEASE) {
        let token = LeaseToken(u128::from_be_bytes(from.bytes(16)?.try_into().ok()?));
        record.lease = Some(Lease { token, until: from.time(base)?, committed: has(LEASE_COMMITTED) });
    }
    // A flag that says nothing is none of ours.
    let is_ours = flags == flags_of(&record, has(DETAIL)) && words == words_of(&record);
    is_ours.then_some((record, flags))
}

fn read_registration(flags: u16, from: &mut Reader<'_>, base: Timestamp) -> Option<Registration> {
    let has = |flag| flags & flag != 0;
    let total_fee = Fen::new(i64::try_from(from.unsigned()?).ok()?).ok()?;
    let mut registration = Registration {
        total_fee,
        fee_type: Currency::CNY,
        appid: None,
        sub_mch_id: None,
        expires_at: None,
        business_no: None,
    };
    if has(OTHER_CURRENCY) {
        registration.fee_type = Currency::new(std::str::from_utf8(from.bytes(3)?).ok()?).ok()?;
    }
    if has(APPID_PACKED) {
        registration.appid = Some(unpack(from.bytes(8)?)?);
    } else if has(APPID_TEXT) {
        registration.appid = Some(AppId::new(from.text()?).ok()?);
    }
    if has(SUB_MCH_ID) {
        registration.sub_mch_id = Some(MchId::new(from.text()?).ok()?);
    }
    if has(EXPIRES_AT) {
        registration.expires_at = Some(from.time(base)?);
    }
    Some(registration)
}

fn place<T: PartialEq>(all: &[T], one: T) -> u8 {
    all.iter().position(|other| *other == one).and_then(|place| u8::try_from(place).ok()).unwrap_or(0)
}

/// `wx` and 16 small hexadecimal digits, as every appid today, take 8 bytes.
fn pack(appid: &AppId) -> Option<[u8; 8]> {
    let digits = appid.as_str().strip_prefix("wx").filter(|digits| digits.len() == 16)?;
    let are_small = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    are_small.then(|| u64::from_str_radix(digits, 16).ok())?.map(u64::to_be_bytes)
}

fn unpack(packed: &[u8]) -> Option<AppId> {
    AppId::new(format!("wx{:016x}", u64::from_be_bytes(packed.try_into().ok()?))).ok()
}

#[cfg(test)]
mod tests;
