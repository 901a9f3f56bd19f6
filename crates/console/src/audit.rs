//! The trail of what operators do. Every act goes through [`Shared::audited`]: its entry is stored before the effect, so
//! that nothing is done that nobody can ask about later; an act whose entry cannot be stored is refused. What came of
//! it is stored after the effect.

use hyper::{Response, StatusCode};
use paybell_core::OrderKey;
use paybell_core::act::{Act, ActEntry, Action, DONE};
use paybell_core::ids::MchId;
use paybell_core::ports::{ActFilter, ActOrder};
use serde::Serialize;

use crate::answer::{Body, json};
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::query::Query;
use crate::view::moment;

/// What is about to be done.
pub(crate) struct Deed {
    pub action: Action,
    /// Its path below `/v1/`.
    pub object: String,
    /// The merchant it concerns.
    pub mch_id: Option<MchId>,
    pub why: String,
}

#[derive(Serialize)]
struct Page<'a> {
    acts: Vec<View<'a>>,
    /// Always the place to continue.
    next: String,
    has_more: bool,
}

#[derive(Serialize)]
struct View<'a> {
    number: u64,
    at: String,
    who: &'a str,
    peer: &'a str,
    action: &'a str,
    object: &'a str,
    mch_id: Option<&'a str>,
    reason: &'a str,
    outcome: Option<&'a str>,
}

impl Shared {
    /// Does `effect` between two entries of the trail. Where the second cannot be stored, the answer is the effect's all
    /// the same: it cannot be taken back, and an entry without an outcome says that somebody has to look.
    pub(crate) async fn audited<T>(
        &self,
        call: &Call,
        deed: Deed,
        effect: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let act = Act {
            at: self.ports.ledger.clock().await?.now,
            who: call.who.clone(),
            peer: call.peer.to_string(),
            action: deed.action.as_str().to_owned(),
            object: deed.object,
            mch_id: deed.mch_id,
            why: deed.why,
        };
        let number = self.ports.acts.begin(&act).await?;
        let result = effect.await;
        let outcome = match &result {
            Ok(_) => DONE,
            Err(error) => error.kind().1,
        };
        tell(number, &act, outcome);
        if let Err(cause) = self.ports.acts.conclude(number, outcome).await {
            tracing::warn!(act.number = number, %cause, "act {number} has no outcome in the trail: {cause}");
        }
        result
    }
}

impl Deed {
    /// Something done to an order.
    pub(crate) fn on_order(action: Action, key: &OrderKey, why: String) -> Self {
        let object = format!("orders/{}/{}", key.mch_id, key.out_trade_no);
        Self { action, object, mch_id: Some(key.mch_id.clone()), why }
    }
}

/// The same in the log, for whoever keeps that longer than the trail.
fn tell(number: u64, act: &Act, outcome: &str) {
    let Act { who, peer, action, object, why, .. } = act;
    tracing::info!(
        act.number = number,
        caller = %who,
        peer.address = %peer,
        %object,
        %why,
        outcome,
        "{object}: {action} by {who}: {outcome}"
    );
}

/// `GET /v1/audit`.
pub(crate) async fn list(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let query = call.query(&["after", "limit", "action", "mch_id", "order"])?;
    let after = query.get("after").map(|text| text.parse().map_err(|_| not_a_place())).transpose()?;
    let filter = ActFilter {
        action: query.get("action").map(action).transpose()?,
        mch_id: query.mch_id()?,
        order: order(&query)?,
    };
    let page = shared.ports.acts.list(&filter, after, query.limit()?).await?;
    let acts = page.entries.iter().map(View::of).collect();
    Ok(json(StatusCode::OK, &Page { acts, next: page.next.to_string(), has_more: page.has_more }))
}

impl<'a> View<'a> {
    fn of(entry: &'a ActEntry) -> Self {
        let act = &entry.act;
        View {
            number: entry.number,
            at: moment(act.at),
            who: &act.who,
            peer: &act.peer,
            action: &act.action,
            object: &act.object,
            mch_id: act.mch_id.as_ref().map(MchId::as_str),
            reason: &act.why,
            outcome: entry.outcome.as_deref(),
        }
    }
}

fn action(text: &str) -> Result<Action, Error> {
    Action::parse(text).ok_or_else(|| {
        let words: Vec<&str> = Action::ALL.into_iter().map(Action::as_str).collect();
        Error::field("action", format!("must be one of {}", words.join(", ")))
    })
}

fn order(query: &Query) -> Result<ActOrder, Error> {
    match query.get("order") {
        None | Some("newest") => Ok(ActOrder::NewestFirst),
        Some("oldest") => Ok(ActOrder::OldestFirst),
        Some(_) => Err(Error::field("order", "must be newest or oldest")),
    }
}

fn not_a_place() -> Error {
    Error::field("after", "is no place of this listing; give `next` of an earlier answer")
}
