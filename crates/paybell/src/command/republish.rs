//! `paybell events republish`: emits again what the ledger knows to be emitted, under the same ids.
//!
//! For the day after a RabbitMQ machine lost power: the event stream is not fsynced, so its last seconds may be gone,
//! while the ledger has them. Also for a subscriber that lost its own data. Reads the orders' histories and the books of
//! bills, appends to the log, and changes no record.

use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget};
use paybell_core::{
    Event, MchId, OrderKey, Timestamp,
    event::EventType,
    ports::{OrderFilter, PAGE_ROWS_MAX, PortError},
    record::Entry,
};
use serde_json::json;

use tokio::time::sleep;

use super::config::ConfigFile;
use crate::{
    boot::bills,
    config::{EngineKind, load, process_environment},
    engine::{Engine, Needs},
    error::Error,
    output,
};

/// Events confirmed together.
const BATCH: usize = 200;

/// How often a batch is tried while the broker is away, or not connected yet: what of it was stored before comes again
/// under the same id.
const TRIES_MAX: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub struct Republish {
    /// Events learned or emitted at this time or later: RFC 3339 with an offset, such as 2026-11-20T12:00:00+08:00
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Timestamp,
    /// Events learned before this time [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
    /// Only this type, such as order.paid
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    kind: Option<EventType>,
    /// Only events of this merchant
    #[arg(long, value_name = "MCH_ID", value_parser = mch_id)]
    mch_id: Option<MchId>,
    /// Count them, and emit nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    from: ConfigFile,
}

/// What was gone through.
#[derive(Debug, Default)]
struct Tally {
    orders: u64,
    /// Orders of which nothing was emitted, because their records cannot be read.
    unreadable: Vec<OrderKey>,
    events: BTreeMap<&'static str, u64>,
}

/// Carries the command out.
pub async fn republish(args: Republish) -> Result<(), Error> {
    let config = load(args.from.config.as_deref(), process_environment()).checked()?;
    if config.engine == EngineKind::Embedded {
        return Err(Error::Usage(
            "the embedded engine keeps records and events in one fsynced file, so there is nothing that one has and \
             the other lost; read them again with `paybell events list`"
                .to_owned(),
        ));
    }
    let engine = Engine::open(
        &config,
        Needs { ledger: true, appends: true, reads: false, seldom: false, deliveries: false },
    )
    .await?;
    let done = walk(&args, &engine, &bills::desk(&config, &engine)).await;
    engine.close().await;
    let tally = done?;
    tell(&args, &tally)?;
    match tally.unreadable.len() {
        0 => Ok(()),
        count => Err(Error::Failed(left_out(count))),
    }
}

fn tell(args: &Republish, Tally { orders, unreadable, events }: &Tally) -> Result<(), Error> {
    let total: u64 = events.values().sum();
    for key in unreadable {
        output::remark(&format!("left out: order {key} (its record cannot be read)"));
    }
    if args.json {
        let document = json!({
            "orders": orders, "events": total, "by_type": events, "unreadable": unreadable, "dry_run": args.dry_run
        });
        return output::json(&document);
    }
    let verb = if args.dry_run { "would be emitted again" } else { "emitted again" };
    output::line(&format!("{total} events {verb}, of {orders} orders looked at"))?;
    events.iter().try_for_each(|(kind, count)| output::line(&format!("  {kind}  {count}")))
}

fn left_out(count: usize) -> String {
    let what = if count == 1 { "1 order was".to_owned() } else { format!("{count} orders were") };
    format!(
        "{what} left out (named above): a newer version wrote their records, or they are damaged; repeat this with the \
         newest version that runs here, or find their payments by the bill: paybell reconcile"
    )
}

async fn walk(args: &Republish, engine: &Engine, bills: &::bills::Desk) -> Result<Tally, Error> {
    let until = match args.until {
        Some(until) => until,
        None => engine.ledger().ledger.clock().await.map_err(failed)?.now,
    };
    let mut tally = Tally::default();
    if args.kind != Some(EventType::BillReconciled) {
        walk_orders(args, engine, until, &mut tally).await?;
    }
    if args.wants(EventType::BillReconciled) {
        let told = bills.told(args.mch_id.as_ref()).await.map_err(failed)?;
        let is_meant = |told: &::bills::Told| args.is_in_time(&told.event, told.until, until);
        let meant: Vec<Event> = told.into_iter().filter(is_meant).map(|told| told.event).collect();
        emit(args, engine, &meant, &mut tally).await?;
    }
    Ok(tally)
}

async fn walk_orders(
    args: &Republish,
    engine: &Engine,
    until: Timestamp,
    tally: &mut Tally,
) -> Result<(), Error> {
    let filter = OrderFilter { state: None, mch_id: args.mch_id.clone() };
    let progress = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let mut after = None::<String>;
    loop {
        let page = engine.ledger().records.list(&filter, after.as_deref(), PAGE_ROWS_MAX).await;
        let page = page.map_err(failed)?.expect("the place comes from the listing itself");
        // What is still outgoing is published by whoever ends the lease.
        let history = page.records.iter().flat_map(|record| &record.history);
        let meant: Vec<Event> = history.filter_map(|entry| args.meant(entry, until)).cloned().collect();
        emit(args, engine, &meant, tally).await?;
        tally.unreadable.extend(page.unreadable);
        tally.orders += u64::try_from(page.records.len()).unwrap_or(u64::MAX);
        progress.set_position(tally.orders);
        if !page.has_more {
            progress.finish_and_clear();
            return Ok(());
        }
        after = Some(page.next);
    }
}

/// Counts them, and appends them unless that is all that is wanted.
async fn emit(args: &Republish, engine: &Engine, events: &[Event], tally: &mut Tally) -> Result<(), Error> {
    if !args.dry_run {
        for batch in events.chunks(BATCH) {
            append(engine, batch).await?;
        }
    }
    for event in events {
        *tally.events.entry(event.kind.as_str()).or_default() += 1;
    }
    Ok(())
}

async fn append(engine: &Engine, batch: &[Event]) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        match engine.log().append(batch).await {
            Err(error @ PortError::Unavailable { .. }) if tries < TRIES_MAX => {
                tracing::debug!(error = %error, "trying again: {error}");
                tries += 1;
                sleep(PAUSE).await;
            }
            ended => return ended.map_err(failed),
        }
    }
}

impl Republish {
    /// The entry's event, if it is to be emitted again. What waited for a broker, or was withheld in shadow at first, was
    /// learned long before it was emitted: it may stand at the end of the log, where a tail is lost.
    fn meant<'r>(&self, entry: &'r Entry, until: Timestamp) -> Option<&'r Event> {
        let event = entry.event.as_deref()?;
        (self.is_in_time(event, entry.at, until) && self.wants(event.kind)).then_some(event)
    }

    fn is_in_time(&self, event: &Event, emitted: Timestamp, until: Timestamp) -> bool {
        event.time.max(emitted) >= self.since && event.time < until
    }

    fn wants(&self, kind: EventType) -> bool {
        self.kind.is_none_or(|wanted| wanted == kind)
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Failed(error.to_string())
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text)
        .map_err(|_| "give RFC 3339 with an offset: 2026-11-20T12:00:00+08:00".to_owned())
}

fn kind(text: &str) -> Result<EventType, String> {
    EventType::parse(text).ok_or_else(|| format!("\"{text}\" is no type of event, such as order.paid"))
}

fn mch_id(text: &str) -> Result<MchId, String> {
    MchId::new(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Republish,
    }

    fn at(text: &str) -> Timestamp {
        moment(&format!("2026-11-20T{text}:00+08:00")).unwrap()
    }

    fn emitted(learned: &str, emitted: &str) -> Entry {
        let event = json!({
            "specversion": "1.0", "id": "8803801d-9ff3-598c-bbfa-290c72a9eb8c", "source": "/paybell/1900000109",
            "type": "order.closed", "subject": "T1", "time": format!("2026-11-20T{learned}:00+08:00"),
            "datacontenttype": "application/json",
            "data": {
                "version": 1, "mch_id": "1900000109", "sub_mch_id": null, "appid": null, "out_trade_no": "T1",
                "transaction_id": null, "total_fee": null, "fee_type": null, "cash_fee": null,
                "settlement_total_fee": null, "coupon_fee": null, "coupons": [], "trade_state": "CLOSED",
                "trade_type": null, "bank_type": null, "attach": null, "paid_at": null, "learned_by": "poll",
                "late": false, "registered": true
            }
        });
        Entry::emitted(at(emitted), serde_json::from_value(event).unwrap())
    }

    #[test]
    fn orders_that_were_left_out_are_counted() {
        assert!(left_out(1).starts_with("1 order was left out"));
        assert!(left_out(2).starts_with("2 orders were left out"));
    }

    #[test]
    fn what_was_learned_before_and_emitted_in_the_lost_tail_is_emitted_again() {
        let args = Line::parse_from(["republish", "--since", "2026-11-20T12:00:00+08:00"]).args;
        let is_meant = |learned, told| args.meant(&emitted(learned, told), at("13:00")).is_some();
        assert!(is_meant("12:00", "12:01"));
        assert!(is_meant("09:00", "12:01"), "it waited, or was withheld");
        assert!(!is_meant("11:00", "11:59"), "it was in the log before");
        assert!(!is_meant("13:00", "13:01"));
    }
}
