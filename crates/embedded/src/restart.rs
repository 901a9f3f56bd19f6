//! What the folder's lock proves at start: whoever held a lease is dead, so nobody needs to wait for its end.
//!
//! Only an order whose last lease was its first lost one is looked at again at once. One that has cost a worker before
//! waits, or it could bring the process down as fast as it starts.

use paybell_core::time::Timestamp;
use rusqlite::{Connection, params};

use crate::error::StoreError;

/// The conditions begin with those of the partial indexes, so that no start reads all orders. A lease's due time lies
/// at its end; one that ends later than this was written under another clock.
const FREE: [&str; 2] = [
    "UPDATE orders SET lease_until = ?1, due_at = ?1 WHERE due_at IS NOT NULL AND due_cause <> 'cadence' \
     AND due_at > ?1 AND due_at <= ?2 AND lease_until > ?1 AND leases_lost = 0",
    "UPDATE orders SET lease_until = ?1, due_at = ?1 WHERE due_at IS NOT NULL AND due_cause = 'cadence' \
     AND due_at > ?1 AND due_at <= ?2 AND lease_until > ?1 AND leases_lost = 0",
];
const LEASE_MS_MAX: i64 = 60_000;

/// Ends the leases of the process before, and makes their orders due now.
pub(crate) fn free_leases(connection: &Connection, now: Timestamp) -> Result<usize, StoreError> {
    let mut freed = 0;
    for sql in FREE {
        freed += connection.execute(sql, params![now.millis(), now.millis().saturating_add(LEASE_MS_MAX)])?;
    }
    Ok(freed)
}
