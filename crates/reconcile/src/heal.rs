//! Which differences a check may heal: payments that the ledger never learned of, inside the merchant's scope.
//!
//! Publishes nothing. A check asks WeChat, and only its signed answer leads to an event: a bill proves nothing.

use paybell_core::check::{Check, Reason};
use paybell_core::ids::{AppId, MchId, OrderKey, TransactionId};
use paybell_core::record::SeenAs;

use crate::compare::Task;
use crate::difference::{Healing, Kind};
use crate::judge::Row;
use crate::standing::Standing;

/// What may heal the difference; `None` where nothing could, or nothing may.
///
/// An order that the ledger knows is ours whatever the scope says: somebody registered it here, or WeChat told us.
pub(crate) fn healing(task: &Task, kind: Kind, row: &Row, standing: Option<&Standing>) -> Option<Healing> {
    let scope = task.scope.as_ref()?;
    let excluded = match kind {
        Kind::PaymentUnknownHere => {
            scope.excludes(row.number.as_str(), &row.appid, row.sub_mch_id.as_deref(), row.at)
        }
        Kind::PaymentBehindHere => None,
        Kind::SecondPayment
            if !standing.is_some_and(|it| it.second_transactions.contains(&row.transaction_id)) =>
        {
            None
        }
        _ => return None,
    };
    Some(match excluded {
        Some(why) => Healing::ReportedOnly(why),
        None => Healing::Check(Box::new(check(task, row))),
    })
}

fn check(task: &Task, row: &Row) -> Check {
    let key = OrderKey { mch_id: task.mch_id.clone(), out_trade_no: row.number.clone() };
    let seen_as = AppId::new(row.appid.as_str()).ok().map(|appid| SeenAs {
        appid,
        sub_mch_id: row.sub_mch_id.as_deref().and_then(|sub| MchId::new(sub).ok()),
    });
    Check {
        reason: Reason::Billed,
        transaction_id: TransactionId::new(row.transaction_id.as_str()).ok(),
        seen_as,
        ..Check::manual(key)
    }
}
