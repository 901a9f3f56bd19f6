//! `accept` and `reject`: a person's word on a payment that disagrees with its order. Stored with who and why, in the order's
//! history and in the trail; the
//! worker, not this answer, emits what follows.

use hyper::{Response, StatusCode};
use paybell_core::OrderKey;
use paybell_core::act::Action;
use paybell_core::ids::TransactionId;
use paybell_core::verdict::{Judged, Judgement, Ruling};

use crate::answer::Body;
use crate::audit::Deed;
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::fields::Fields;
use crate::line::reason;
use crate::query::id_error;

/// A ruling and what it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    ruling: Ruling,
    action: Action,
    /// The states that wait for it.
    needs: &'static str,
}

impl Word {
    pub(crate) const ACCEPT: Word =
        Word { ruling: Ruling::Accept, action: Action::Accept, needs: "mismatch or rejected" };
    pub(crate) const REJECT: Word =
        Word { ruling: Ruling::Reject, action: Action::Reject, needs: "mismatch" };
}

/// `POST /v1/orders/{mch_id}/{out_trade_no}/accept` and `…/reject`.
pub(crate) async fn rule(shared: &Shared, call: &Call, word: Word) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let key = call.key()?;
    let fields = Fields::read_optional(&call.body, &["transaction_id", "reason"])?;
    let transaction_id = fields.text("transaction_id")?.map(TransactionId::new).transpose();
    let judgement = Judgement {
        ruling: word.ruling,
        who: call.who.clone(),
        why: reason(&fields)?,
        transaction_id: transaction_id.map_err(|error| id_error("transaction_id", &error))?,
    };
    let deed = Deed::on_order(word.action, &key, judgement.why.clone());
    shared.audited(call, deed, judge(shared, &key, &judgement, word)).await?;
    shared.show(StatusCode::ACCEPTED, &key).await
}

async fn judge(shared: &Shared, key: &OrderKey, judgement: &Judgement, word: Word) -> Result<(), Error> {
    match shared.ports.registry.judge(key, judgement).await? {
        Judged::Stored => Ok(()),
        Judged::Unknown => Err(Error::UnknownOrder),
        Judged::NotWaiting(state) => {
            Err(Error::NotWaiting { state, ruling: word.action.as_str(), needs: word.needs })
        }
        Judged::OtherTransaction => Err(Error::OtherTransaction),
    }
}
