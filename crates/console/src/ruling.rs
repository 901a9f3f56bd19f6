//! `accept` and `reject`: a person's word on a payment that disagrees with its order. Stored with who and why; the
//! worker, not this answer, emits what follows.

use hyper::{Response, StatusCode};
use paybell_core::ids::TransactionId;
use paybell_core::verdict::{Judged, Judgement, Ruling};

use crate::answer::Body;
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::fields::Fields;
use crate::query::id_error;

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 512;

/// A ruling and what it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    ruling: Ruling,
    name: &'static str,
    /// The states that wait for it.
    needs: &'static str,
}

impl Word {
    pub(crate) const ACCEPT: Word =
        Word { ruling: Ruling::Accept, name: "accept", needs: "mismatch or rejected" };
    pub(crate) const REJECT: Word = Word { ruling: Ruling::Reject, name: "reject", needs: "mismatch" };
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
    match shared.ports.registry.judge(&key, &judgement).await? {
        Judged::Stored => {
            let (who, name) = (&call.who, word.name);
            tracing::info!(order = %key, caller = %who, why = %judgement.why, "{key}: {name} by {who}");
            shared.show(StatusCode::ACCEPTED, &key).await
        }
        Judged::Unknown => Err(Error::UnknownOrder),
        Judged::NotWaiting(state) => Err(Error::NotWaiting { state, ruling: word.name, needs: word.needs }),
        Judged::OtherTransaction => Err(Error::OtherTransaction),
    }
}

/// Why a person does something: one line of text, because it is kept in the history and the log.
pub(crate) fn reason(fields: &Fields) -> Result<String, Error> {
    let text = fields.text("reason")?.unwrap_or_default();
    if text.chars().count() > REASON_CHARS_MAX || text.contains(char::is_control) {
        let rule = format!("must be one line of at most {REASON_CHARS_MAX} characters");
        return Err(Error::field("reason", rule));
    }
    Ok(text.to_owned())
}
