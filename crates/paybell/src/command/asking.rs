//! What the commands over the private API have in common: where to ask and how to print the answer, which part of a
//! listing, why something is changed. Knows no route: what is asked for, and what it means, is each command's own.

use clap::Args;
use hyper::Method;
use serde_json::{Map, Value, json};

use super::rows::continuation;
use crate::{
    api::{Api, ApiArgs, Query},
    error::Error,
    output,
};

/// Where to ask, and how to print the answer.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// Print the API's JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

/// Which part of a listing.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// Rows at most, up to 1000 [default: 100]
    #[arg(long, value_name = "N")]
    pub limit: Option<u16>,
    /// Continue after this place: `next` of an earlier answer
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
}

/// A part of a listing, and how to print it.
#[derive(Debug, Args)]
pub struct ListingArgs {
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    ask: AskArgs,
}

/// Why something is changed, and where.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Why, for the trail
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

impl AskArgs {
    pub fn api(&self) -> Result<Api, Error> {
        Api::new(&self.api)
    }

    pub async fn get(&self, path: &str, query: Query<'_>) -> Result<Value, Error> {
        self.api()?.get(path, query).await
    }
}

impl ListingArgs {
    /// The page that was asked for.
    pub async fn get(&self, path: &str, filter: Query<'_>) -> Result<Value, Error> {
        let limit = self.page.limit.map(|limit| limit.to_string());
        let place = [("limit", limit.as_deref()), ("after", self.page.after.as_deref())];
        self.ask.get(path, &[filter, &place].concat()).await
    }

    /// As JSON if that was asked for, else as a table.
    pub fn print(&self, page: &Value, headers: &[&str], rows: &[Vec<String>]) -> Result<(), Error> {
        if self.ask.json { output::json(page) } else { table(page, headers, rows) }
    }
}

impl WhyArgs {
    /// Has it changed, and says why.
    pub async fn change(
        &self,
        method: Method,
        path: &str,
        mut fields: Map<String, Value>,
    ) -> Result<(), Error> {
        fields.extend(given(&[("reason", &self.reason)]));
        Api::new(&self.api)?.change(method, path, &Value::Object(fields)).await?;
        Ok(())
    }
}

/// A page of a listing as a table, and how to see the rest.
pub fn table(page: &Value, headers: &[&str], rows: &[Vec<String>]) -> Result<(), Error> {
    output::table(headers, rows)?;
    if let Some(more) = continuation(page) {
        output::remark(&more);
    }
    Ok(())
}

/// The fields that were given: what is left out of a body has the API's own default.
pub fn given(fields: &[(&str, &Option<String>)]) -> Map<String, Value> {
    let given = fields.iter().filter_map(|(name, value)| Some(((*name).to_owned(), json!(value.as_ref()?))));
    given.collect()
}
