//! `paybell demo`: the whole of Paybell on one machine, with a simulated WeChat that loses, repeats and forges.
//!
//! ```text
//! draw the plan from the seed → start everything → trade → wait until all has arrived
//!   → compare the truth at WeChat with the event log → table
//! ```
//!
//! Nothing is faked behind the sockets: the roles are those of `paybell run`, WeChat is the simulator, the shop and
//! the subscriber use the same interfaces as any other. The table's numbers follow from the seed alone.

mod board;
mod day;
mod plan;
mod screen;
mod shop;
mod stage;
mod subscriber;
mod table;
mod unified_order;
mod verdict;

use std::{sync::Arc, time::Duration};

use clap::{Args as ClapArgs, value_parser};
use simulator::Control;
use tokio::time::{Instant, sleep};

use crate::{
    api::Api,
    boot::{signals::Signals, telemetry},
    cli::in_runtime,
    error::Error,
    output,
};
use board::Board;
use plan::{Plan, Wishes};
use screen::Screen;
use shop::Shop;
use stage::{Scale, Stage};
use subscriber::Subscriber;
use table::Run;
use unified_order::Wechat;
use verdict::{Evidence, Verdict};

/// WeChat's first look at an order, in its own seconds: when a lost notification is made good.
const FIRST_POLL_S: u32 = 15;
/// How long an order is open, in WeChat's own seconds: two points of the cadence.
const OPEN_S: u32 = 30;
/// Whether all has arrived is asked so often.
const LOOK_GAP: Duration = Duration::from_millis(50);
/// Beyond the last poll: with nothing new for so long, nothing more will come.
const QUIET_EXTRA: Duration = Duration::from_secs(5);
const PROBLEMS_SHOWN_MAX: usize = 10;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// How many orders
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = value_parser!(u32).range(1..=100_000))]
    orders: u32,
    /// Orders in a second, if this machine can
    #[arg(long, value_name = "R", default_value_t = 40, value_parser = value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Share of payments whose notification is lost, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.2, value_parser = share)]
    drop: f64,
    /// Share of notifications that come again, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.3, value_parser = share)]
    duplicate: f64,
    /// Amounts and fates are drawn from it: the same seed gives the same table
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many times faster than real WeChat's clock and the polls run, 1 to 7.5
    #[arg(long, value_name = "FACTOR", default_value = "5", value_parser = Scale::parse)]
    scale: Scale,
    /// Play a merchant's day instead: orders placed through Paybell, a kill at noon, refunds, and the bill of the next
    /// morning; then prove the accounts
    #[arg(long)]
    day: bool,
    /// End after the table instead of staying up
    #[arg(long)]
    exit: bool,
    /// What to log: a level, or a filter such as info,worker=debug
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", hide_env_values = true, default_value = "error")]
    log: String,
}

/// Plays the demo.
pub fn run(args: Args) -> Result<(), Error> {
    telemetry::begin_at(&args.log)?;
    in_runtime(begin_and_end(args))
}

async fn begin_and_end(args: Args) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    if args.day {
        return day::play(&args, &mut signals).await;
    }
    let Args { orders, drop, duplicate, seed, .. } = args;
    let plan = Plan::draw(&Wishes { orders, drop, duplicate, seed });
    let mut stage = Stage::start(&plan, args.scale).await?;
    let played = play(&args, &plan, &mut stage, &mut signals).await;
    stage.end(&mut signals).await?;
    played
}

async fn play(args: &Args, plan: &Plan, stage: &mut Stage, signals: &mut Signals) -> Result<(), Error> {
    output::line(&head(args, stage))?;
    let (board, screen) = (Arc::new(Board::default()), Screen::new(args.orders));
    let api = Api::on_loopback(&stage.console)?;
    let subscriber = Subscriber::start(Api::on_loopback(&stage.console)?, board.clone(), screen.clone());
    let mut subscriber = subscriber.await?;
    let control = stage.control();
    let shop = Arc::new(Shop {
        wechat: Wechat::at(&stage.wechat(), stage.notify_url()),
        paybell: Api::on_loopback(&stage.console)?,
        payers: control.clone(),
        board: board.clone(),
        open_for: args.scale.seconds(OPEN_S),
    });
    let begun = Instant::now();
    let delays = tokio::select! {
        delays = act(shop, plan, args, &board) => Some(delays?),
        _ = signals.next() => None,
        error = stage.first_to_fall() => return Err(error),
        error = subscriber.failure() => return Err(error),
    };
    screen.end_progress();
    let (took, queries) = (begun.elapsed(), control.stats().order_queries);
    let Some(delays) = delays else {
        let verdict = Evidence::collect(&control, &api, None).await?.judge();
        return conclude(&verdict, Run::CutShort);
    };
    let verdict = Evidence::collect(&control, &api, Some(board.count().paid)).await?.judge();
    let concluded = conclude(&verdict, Run::Whole);
    output::line(&table::timing(took, queries, delays))?;
    if args.exit || matches!(concluded, Err(Error::Terminal(_))) {
        return concluded;
    }
    if let Err(error) = concluded {
        output::remark(&error.to_string());
    }
    output::line(&foot(stage))?;
    tokio::select! {
        _ = signals.next() => {}
        error = stage.first_to_fall() => return Err(error),
        error = subscriber.failure() => return Err(error),
    }
    // Somebody may have played with it meanwhile.
    let last = Evidence::collect(&control, &api, Some(board.count().paid)).await?.judge();
    if last == verdict { judged(&verdict, Run::Whole) } else { conclude(&last, Run::Whole) }
}

/// Trades, then waits until everything that was planned has arrived, or nothing more comes.
async fn act(shop: Arc<Shop>, plan: &Plan, args: &Args, board: &Board) -> Result<Vec<Duration>, Error> {
    let control = shop.payers.clone();
    let delays = shop.trade(plan, args.rate).await?;
    let quiet_max = args.scale.seconds(OPEN_S) + QUIET_EXTRA;
    let (mut progress, mut progressed_at) = (None, Instant::now());
    while !has_arrived(plan, board, &control) {
        let now = (board.count(), control.stats());
        let known = (now.0, now.1.notifications_acknowledged, now.1.forgeries_sent);
        if progress.replace(known) != Some(known) {
            progressed_at = Instant::now();
        } else if progressed_at.elapsed() > quiet_max {
            break;
        }
        sleep(LOOK_GAP).await;
    }
    Ok(delays)
}

/// Payments are counted where they are made, so that one which nobody planned is waited for too.
fn has_arrived(plan: &Plan, board: &Board, control: &Control) -> bool {
    let (seen, stats) = (board.count(), control.stats());
    seen.paid >= stats.payments
        && seen.unpaid >= plan.expected.unpaid
        && stats.notifications_acknowledged >= plan.expected.notifications
        && stats.forgeries_sent >= plan.expected.forgeries
}

fn head(args: &Args, stage: &Stage) -> String {
    let first_poll = args.scale.seconds(FIRST_POLL_S).as_secs_f64();
    format!(
        "{} orders, {} in a second, seed {}. {:.0}% of the notifications are lost, {:.0}% come again.\n\n  \
         simulator  {}  (clock runs {} times as fast: first poll after {first_poll:.1} s)\n  \
         notify     {}\n  \
         console    http://{}\n",
        args.orders,
        args.rate,
        args.seed,
        args.drop * 100.0,
        args.duplicate * 100.0,
        stage.wechat(),
        args.scale.factor(),
        stage.notify_url(),
        stage.console,
    )
}

fn foot(stage: &Stage) -> String {
    format!(
        "\nStill running; Ctrl-C ends it. Look around meanwhile:\n  \
         paybell events list --api http://{}\n  \
         curl {}/_sim/stats",
        stage.console,
        stage.wechat()
    )
}

/// The table, and whether the promise was kept.
fn conclude(verdict: &Verdict, run: Run) -> Result<(), Error> {
    output::line(&format!("\n{}\n", table::table(&verdict.tally, run)))?;
    judged(verdict, run)?;
    output::line("Every payment became exactly one event, and nothing else did.")
}

fn judged(verdict: &Verdict, run: Run) -> Result<(), Error> {
    let mut broken = verdict.problems.clone();
    if run == Run::Whole {
        broken.extend(verdict.lost.iter().map(|order| format!("{order}: paid, but there is no event")));
    }
    let shown = broken.iter().take(PROBLEMS_SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join("\n  ");
    match (broken.len(), verdict.lost.len()) {
        (0, 0) => Ok(()),
        (0, waiting) => Err(Error::Failed(format!("interrupted: {waiting} payments were no events yet"))),
        (1..=PROBLEMS_SHOWN_MAX, _) => Err(Error::Failed(format!("the promise is broken:\n  {shown}"))),
        (count, _) => {
            let more = count - PROBLEMS_SHOWN_MAX;
            Err(Error::Failed(format!("the promise is broken:\n  {shown}\n  and {more} more")))
        }
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must be a number from 0 to 1".to_owned()),
    }
}
