//! The walk over payments by their moment of success: an index has all that it shows, so the records stay unread.

use paybell_core::ids::OutTradeNo;
use paybell_core::paid::{PaidFilter, PaidOrder, PaidPage};
use paybell_core::time::Timestamp;
use rusqlite::{Connection, named_params};

use crate::error::StoreError;
use crate::row;

/// The cursor before the first payment.
const START: &str = "start";

/// A place in the walk: after this payment.
pub(crate) type Place = Option<(Timestamp, OutTradeNo)>;

/// One row more than asked for tells whether there is more.
pub(crate) fn page(
    connection: &Connection,
    filter: &PaidFilter,
    after: Place,
    limit: usize,
) -> Result<PaidPage, StoreError> {
    let sql = format!(
        "SELECT {} FROM orders INDEXED BY orders_paid \
         WHERE mch_id = :mch_id AND paid_at >= :from AND paid_at < :until \
         AND (paid_at, out_trade_no) > (:after_at, :after_number) ORDER BY paid_at, out_trade_no LIMIT :limit",
        row::PAID_COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(named_params! {
        ":mch_id": filter.mch_id.as_str(),
        ":from": after.as_ref().map_or(filter.from, |(at, _)| *at.max(&filter.from)).millis(),
        ":until": filter.until.millis(),
        ":after_at": after.as_ref().map_or(i64::MIN, |(at, _)| at.millis()),
        ":after_number": after.as_ref().map_or("", |(_, number)| number.as_str()),
        ":limit": i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX),
    })?;
    let mut orders: Vec<PaidOrder> = Vec::new();
    while let Some(row) = rows.next()? {
        orders.push(row::read_paid(row)?);
    }
    let has_more = orders.len() > limit;
    orders.truncate(limit);
    let last = orders.last().map(|paid| (paid.paid_at, paid.out_trade_no.clone())).or(after);
    Ok(PaidPage { next: cursor_of(last), orders, has_more })
}

/// The moment, and the number in hexadecimal: safe in a URL whatever a shop puts into its numbers.
fn cursor_of(place: Place) -> String {
    let Some((at, number)) = place else { return START.to_owned() };
    let number: String = number.as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{number}", at.millis())
}

/// The place that a cursor names; `None` if it is no cursor.
pub(crate) fn place(cursor: &str) -> Option<Place> {
    if cursor == START {
        return Some(None);
    }
    let (at, number) = cursor.rsplit_once('-')?;
    let digits = number.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> =
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    let number = OutTradeNo::new(String::from_utf8(bytes?).ok()?).ok()?;
    Some(Some((Timestamp::from_millis(at.parse().ok()?), number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text_form() {
        for at in [1_795_147_203_000, -5] {
            let there = Some((Timestamp::from_millis(at), OutTradeNo::new("T|*@-1").unwrap()));
            assert_eq!(place(&cursor_of(there.clone())), Some(there));
        }
        assert_eq!(place(START), Some(None));
        for bad in ["", "1", "1-", "x-54", "1-5", "1-zz", "1-2f"] {
            assert_eq!(place(bad), None, "{bad}");
        }
    }
}
