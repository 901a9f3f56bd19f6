//! Bills as operators see them, and what they ask of them: reconcile a day now. A wish is stored; whoever runs the
//! scheduler role fulfils it. Reads no bill and compares nothing.

use async_trait::async_trait;
use hyper::{Response, StatusCode};
use paybell_core::act::Action;
use paybell_core::ports::PortError;
use paybell_core::{Day, MchId};
use serde::Serialize;
use serde_json::Value;

use crate::answer::{Body, json};
use crate::audit::Deed;
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::fields::Fields;
use crate::line::reason;
use crate::query::id_error;

/// Where bills are looked after. What it tells of a day is a document of its own.
#[async_trait]
pub trait BillDesk: Send + Sync {
    /// Every day that is known, of one merchant or of all: by merchant, the newest first.
    async fn list(&self, mch_id: Option<&MchId>) -> Result<Vec<Value>, PortError>;
    /// One day with its result; `None` if nobody ever looked at it.
    async fn read(&self, mch_id: &MchId, day: Day) -> Result<Option<Value>, PortError>;
    /// Has a day reconciled; `file` is the name of a bill that lies where bills are kept.
    async fn ask(&self, mch_id: &MchId, day: Day, file: Option<&str>) -> Result<BillAsked, PortError>;
}

/// What asking came to.
#[derive(Debug, Clone, PartialEq)]
pub enum BillAsked {
    /// It is worked on next; the day as it stands.
    Taken(Value),
    /// The day is not over.
    NotOver,
    /// No such file.
    NoFile,
    /// Too many days wait already.
    TooMany,
}

#[derive(Serialize)]
struct Listing<'a> {
    bills: &'a [Value],
    next: String,
    has_more: bool,
}

/// `GET /v1/bills`.
pub(crate) async fn list(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let query = call.query(&["mch_id", "limit", "after"])?;
    let days = shared.ports.bills.list(query.mch_id()?.as_ref()).await?;
    let begin = match query.get("after") {
        None | Some("") => 0,
        Some(after) => days
            .iter()
            .position(|day| place(day) == after)
            .map(|found| found + 1)
            .ok_or_else(|| Error::field("after", "is no place of this listing; begin again without it"))?,
    };
    let rest = days.get(begin..).unwrap_or_default();
    let shown = rest.get(..query.limit()?.min(rest.len())).unwrap_or_default();
    let next = shown.last().map_or_else(|| query.get("after").unwrap_or_default().to_owned(), place);
    Ok(json(StatusCode::OK, &Listing { bills: shown, next, has_more: shown.len() < rest.len() }))
}

/// `GET /v1/bills/{mch_id}/{date}`.
pub(crate) async fn show(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let (mch_id, day) = named(shared, call)?;
    let found = shared.ports.bills.read(&mch_id, day).await?;
    Ok(json(StatusCode::OK, &found.ok_or(Error::UnknownBill)?))
}

/// `POST /v1/bills/{mch_id}/{date}/reconcile`.
pub(crate) async fn reconcile(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let (mch_id, day) = named(shared, call)?;
    let fields = Fields::read_optional(&call.body, &["file", "reason"])?;
    let why = reason(&fields)?;
    let file = fields.text("file")?;
    let object = format!("bills/{mch_id}/{day}");
    let deed = Deed { action: Action::BillReconcile, object, mch_id: Some(mch_id.clone()), why };
    let ask = async {
        match shared.ports.bills.ask(&mch_id, day, file).await? {
            BillAsked::Taken(day) => Ok(day),
            BillAsked::NotOver => {
                Err(Error::field("date", "is not over: there is no bill before the next morning"))
            }
            BillAsked::NoFile => {
                Err(Error::field("file", "names no file in reconcile.folder of the running process"))
            }
            BillAsked::TooMany => Err(Error::TooManyWishes),
        }
    };
    let taken = shared.audited(call, deed, ask).await?;
    Ok(json(StatusCode::ACCEPTED, &taken))
}

/// The day that a path names, of a merchant that is configured.
fn named(shared: &Shared, call: &Call) -> Result<(MchId, Day), Error> {
    let mch_id = MchId::new(call.param("mch_id")).map_err(|error| id_error("mch_id", &error))?;
    shared.known_merchant(&mch_id)?;
    let day = Day::parse(call.param("date")).map_err(|error| Error::field("date", error.to_string()))?;
    Ok((mch_id, day))
}

fn place(day: &Value) -> String {
    let text = |name: &str| day.get(name).and_then(Value::as_str).unwrap_or_default();
    format!("{}:{}", text("mch_id"), text("date"))
}
