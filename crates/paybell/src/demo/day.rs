//! `paybell demo --day`: a merchant's day at a simulated WeChat, told in chapters, and its accounts the next morning.
//!
//! ```text
//! morning: orders placed through Paybell and paid, some notifications lost, repeated, forged
//!   → noon: Paybell is killed, payers go on paying, Paybell comes back
//!   → afternoon: refunds, some of their notifications lost; a second till that Paybell never hears of
//!   → the next morning: the bill → the accounts
//! ```
//!
//! Paybell is a process of its own here, because only that can be killed. The day is yesterday's in Beijing, from noon on
//! by WeChat's clock: then its bill may be had whenever this is played. What happens follows from the seed.

mod accounts;
mod script;
mod service;

use std::{sync::Arc, time::Duration};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use simulator::{Control, Device, Payment};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Args, board::Board, plan::MCH_ID, screen::Screen, stage::Scale, subscriber::Subscriber, table::yuan,
};
use crate::{
    api::{Api, escaped},
    boot::signals::Signals,
    error::Error,
    output,
};
use accounts::Accounts;
use script::{Refund, Sale, Script};
use service::Service;

/// Whether something has happened is asked so often.
const LOOK_GAP: Duration = Duration::from_millis(50);
/// The service is back long before; then nothing more comes.
const SERVICE_BACK_MAX: Duration = Duration::from_secs(60);
/// Orders of the shop under way at once.
const IN_HAND_MAX: usize = 16;
/// The points of the cadence after which what nobody told is found: the first three, in WeChat's seconds.
const FOUND_S: u32 = 60;
/// Noon of the day that is played to ten in the morning of the next.
const NIGHT: Duration = Duration::from_secs(22 * 3600);

/// Plays the day, and proves its accounts.
pub async fn play(args: &Args, signals: &mut Signals) -> Result<(), Error> {
    let script = Script::draw(args.orders, args.drop, args.duplicate, args.seed);
    let mut service = Service::start(&script, args.scale).await?;
    let played = tokio::select! {
        played = live(args, &script, &mut service) => played,
        _ = signals.next() => Err(Error::Interrupted),
    };
    let played = match played {
        Ok(()) if !args.exit => {
            output::line(&foot(&service))?;
            signals.next().await;
            Ok(())
        }
        played => played,
    };
    service.end().await?;
    played
}

async fn live(args: &Args, script: &Script, service: &mut Service) -> Result<(), Error> {
    output::line(&head(args, service))?;
    let (board, screen) = (Arc::new(Board::default()), Screen::new(script.told()));
    let mut subscriber =
        Subscriber::start(Api::on_loopback(service.console())?, board.clone(), screen.clone()).await?;
    let day = async {
        let shop = Arc::new(Shop {
            paybell: Api::on_loopback(service.console())?,
            payers: service.control(),
            board,
            scale: args.scale,
            pace: args.rate,
        });
        let chapter = |text: &str| screen.line(&format!("\n{text}\n"));
        chapter("Morning: the shop opens.")?;
        shop.clone().sell(&script.morning).await?;
        shop.all_told(&script.morning).await?;

        chapter("Noon: Paybell is killed (SIGKILL) while payers hold their phones.")?;
        shop.clone().place_all(&script.noon).await?;
        service.kill().await?;
        script.noon.iter().try_for_each(|sale| shop.pay_known(sale))?;
        service.start_again().await?;
        screen.line("Paybell is back.")?;
        shop.all_told(&script.noon).await?;

        chapter("Afternoon: refunds, and sales at a till that Paybell never hears of.")?;
        shop.refund(&script.refunds).await?;
        script.elsewhere.iter().try_for_each(|sale| shop.sell_elsewhere(sale, service.notify_url()))?;
        shop.all_refunded(script.refunds.len()).await?;

        chapter("The next morning, 10:00: WeChat's bill.")?;
        service.control().advance(NIGHT);
        let first = shop.reconcile(&service.day).await?;
        screen.line(&found(&first))?;
        shop.all_told(&script.elsewhere).await?;
        let second = shop.reconcile(&service.day).await?;
        screen.end_progress();
        prove(script, service, &shop.paybell, &second).await
    };
    tokio::select! {
        proved = day => proved,
        error = subscriber.failure() => Err(error),
    }
}

async fn prove(script: &Script, service: &Service, paybell: &Api, bill: &Value) -> Result<(), Error> {
    let accounts = Accounts::collect(script, &service.control(), paybell, (&service.day, bill)).await?;
    output::line(&format!("\n{}\n", accounts.table(&service.day)))?;
    match accounts.problems() {
        problems if problems.is_empty() => {
            output::line("The accounts agree to the fen: WeChat's truth, the events, and the bill.")
        }
        problems => Err(Error::Failed(format!("the accounts do not agree:\n  {}", problems.join("\n  ")))),
    }
}

/// The shop, its payers, and its back office.
struct Shop {
    paybell: Api,
    payers: Control,
    board: Arc<Board>,
    scale: Scale,
    /// Orders in a second.
    pace: u32,
}

impl Shop {
    /// Places each, and has it paid.
    async fn sell(self: Arc<Self>, sales: &[Sale]) -> Result<(), Error> {
        self.each(sales, |shop, sale| async move {
            let code_url = shop.place(&sale).await?;
            if sale.is_paid { shop.scan(&code_url, &sale) } else { Ok(()) }
        })
        .await
    }

    async fn place_all(self: Arc<Self>, sales: &[Sale]) -> Result<(), Error> {
        self.each(sales, |shop, sale| async move { shop.place(&sale).await.map(drop) }).await
    }

    async fn each<F>(self: Arc<Self>, sales: &[Sale], act: fn(Arc<Self>, Sale) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let mut pace = tokio::time::interval(Duration::from_secs(1) / self.pace.max(1));
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut under_way = JoinSet::new();
        for sale in sales {
            pace.tick().await;
            if under_way.len() >= IN_HAND_MAX {
                ended(under_way.join_next().await)?;
            }
            under_way.spawn(act(self.clone(), sale.clone()));
        }
        while let Some(one) = under_way.join_next().await {
            ended(Some(one))?;
        }
        Ok(())
    }

    /// Has WeChat take the order, through Paybell; gives what the QR code says.
    async fn place(&self, sale: &Sale) -> Result<String, Error> {
        let path = format!("{}/place", order_path(sale.number()));
        let body =
            json!({ "trade_type": "NATIVE", "total_fee": sale.total_fee, "body": "Tea shop - green tea" });
        let (_, answer) = self.paybell.change(Method::POST, &path, &body).await?;
        let code_url = answer.pointer("/pay/code_url").and_then(Value::as_str).map(str::to_owned);
        code_url.ok_or_else(|| of(sale.number(), "placing it gave no code_url"))
    }

    fn scan(&self, code_url: &str, sale: &Sale) -> Result<(), Error> {
        let device = Device { code_url: Some(code_url.to_owned()), ..Device::default() };
        self.payers.pay_by_device(device).map(drop).map_err(|error| of(sale.number(), &error.to_string()))
    }

    /// A payer who scanned the code before.
    fn pay_known(&self, sale: &Sale) -> Result<(), Error> {
        if !sale.is_paid {
            return Ok(());
        }
        let paid = self.payers.pay(&sale.key, Payment::default());
        paid.map(drop).map_err(|error| of(sale.number(), &error.to_string()))
    }

    /// At another till: Paybell is not told, and nothing of it is ever looked at.
    fn sell_elsewhere(&self, sale: &Sale, notify_url: String) -> Result<(), Error> {
        let order = simulator::NewOrder::new(MCH_ID, sale.number(), sale.total_fee, &notify_url);
        let paid = self
            .payers
            .create_order(order)
            .and_then(|key| self.payers.pay(&key, Payment { silent: true, ..Payment::default() }));
        paid.map(drop).map_err(|error| of(sale.number(), &error.to_string()))
    }

    /// Asks for each; what WeChat does not take at once goes on by itself.
    async fn refund(&self, refunds: &[Refund]) -> Result<(), Error> {
        for refund in refunds {
            let path = format!("{}/refunds", order_path(&refund.out_trade_no));
            let body = json!({ "out_refund_no": refund.out_refund_no, "refund_fee": refund.refund_fee });
            let (status, _) = self.paybell.change(Method::POST, &path, &body).await?;
            if status != StatusCode::CREATED {
                return Err(of(&refund.out_trade_no, &format!("asking for a refund gave {status}")));
            }
        }
        Ok(())
    }

    /// Has the day reconciled, and waits for the result.
    async fn reconcile(&self, day: &str) -> Result<Value, Error> {
        let path = format!("/v1/bills/{MCH_ID}/{day}");
        let (_, asked) = self.paybell.change(Method::POST, &format!("{path}/reconcile"), &json!({})).await?;
        let request = asked.pointer("/asked/request").cloned();
        let done = async {
            loop {
                let bill = self.paybell.get(&path, &[]).await?;
                let is_answer = bill.pointer("/last/request") == request.as_ref();
                if is_answer && bill.get("state").and_then(Value::as_str) == Some("done") {
                    return Ok(bill);
                }
                let outcome = bill.pointer("/last/outcome").and_then(Value::as_str);
                if is_answer && outcome != Some("reconciled") {
                    let detail = bill.pointer("/last/detail").and_then(Value::as_str).unwrap_or_default();
                    return Err(Error::Failed(format!("the bill of {day}: {detail}")));
                }
                sleep(LOOK_GAP).await;
            }
        };
        let late = |_| Error::Failed(format!("the bill of {day} is not reconciled in time"));
        timeout(self.patience(), done).await.map_err(late)?
    }

    /// Until every one that was paid is told. What is not told in time is missed by the accounts, not here.
    async fn all_told(&self, sales: &[Sale]) -> Result<(), Error> {
        let is_told = |sale: &Sale| !sale.is_paid || self.board.is_paid(sale.number());
        self.until(|| sales.iter().all(is_told)).await
    }

    async fn all_refunded(&self, count: usize) -> Result<(), Error> {
        self.until(|| self.board.refunds() >= count).await
    }

    async fn until(&self, is_so: impl Fn() -> bool) -> Result<(), Error> {
        let end = Instant::now() + self.patience();
        while !is_so() && Instant::now() < end {
            sleep(LOOK_GAP).await;
        }
        Ok(())
    }

    fn patience(&self) -> Duration {
        self.scale.seconds(FOUND_S) + SERVICE_BACK_MAX
    }
}

fn ended(one: Option<Result<Result<(), Error>, tokio::task::JoinError>>) -> Result<(), Error> {
    match one {
        Some(Err(error)) => Err(Error::Failed(format!("an order broke off: {error}"))),
        Some(Ok(ended)) => ended,
        None => Ok(()),
    }
}

fn of(number: &str, what: &str) -> Error {
    Error::Failed(format!("{number}: {what}"))
}

fn order_path(number: &str) -> String {
    format!("/v1/orders/{}/{}", escaped(MCH_ID), escaped(number))
}

fn head(args: &Args, service: &Service) -> String {
    format!(
        "The {} of a merchant: {} orders, seed {}. {:.0}% of all notifications are lost, {:.0}% come again.\n\n  \
         simulator  {}  (its clock says noon of that day; polls run {} times as fast)\n  \
         paybell    a process of its own: notify {}, console http://{}\n",
        service.day,
        args.orders,
        args.seed,
        args.drop * 100.0,
        args.duplicate * 100.0,
        service.wechat(),
        args.scale.factor(),
        service.notify_url(),
        service.console(),
    )
}

fn found(bill: &Value) -> String {
    let number = |name: &str| bill.pointer(&format!("/result/{name}")).and_then(Value::as_u64).unwrap_or(0);
    let fen = bill.pointer("/result/checks_fen").and_then(Value::as_i64).unwrap_or(0);
    format!(
        "{} rows agree; {} payments of {} that Paybell had never heard of: WeChat is asked about each.\n",
        number("agreed"),
        number("checks"),
        yuan(fen)
    )
}

fn foot(service: &Service) -> String {
    format!(
        "\nStill running; Ctrl-C ends it. Look around meanwhile:\n  \
         paybell reconcile --config {} --api http://{} --date {}\n  \
         curl http://{}/v1/bills/{MCH_ID}/{}\n  \
         curl {}/_sim/refunds",
        service.config().display(),
        service.console(),
        service.day,
        service.console(),
        service.day,
        service.wechat()
    )
}
