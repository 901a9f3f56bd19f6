//! `/secapi/pay/reverse`: stops a payment at a till, or gives it back whole, for the holder of the merchant's
//! certificate. The rules are in `paycode`.

use std::sync::Arc;

use crate::{
    error::{Error, Refused},
    wire::{Call, Fields, Refusal},
    world::World,
};

use super::{SYSTEM_ERROR, find_order};

const UNKNOWN: Refusal = Refusal::Business { code: "INVALID_TRANSACTIONID", text: "无效transaction_id" };

pub(super) fn reverse(call: &Call<'_>, world: &Arc<World>) -> Result<Fields<'static>, Refusal> {
    call.check_identity()?;
    let order = find_order(call, world).map_err(|refusal| match refusal {
        Refusal::Business { code: "ORDERNOTEXIST", .. } => UNKNOWN,
        other => other,
    })?;
    world.reverse(&order.key).map_err(|error| match error {
        Error::Refused(Refused(refusal)) => refusal,
        _ => SYSTEM_ERROR,
    })?;
    let mut fields = Fields::new();
    fields.put("recall", "N");
    Ok(fields)
}
