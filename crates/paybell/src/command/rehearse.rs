//! `paybell rehearse`: the awkward day against a subscriber, by webhook or AMQP. Reads its arguments here; what is
//! played and judged is [`crate::rehearse`]. It needs no configuration and no running Paybell.

use std::iter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use delivery::{EndpointUrl, HttpTransport, Reach, SystemResolver, WebhookSecret};
use paybell_core::{AppId, MchId};
use rabbitmq::{Place, StageError};
use serde_json::json;

use crate::{
    config::{self, Secret, read_secret_file, values::duration},
    error::Error,
    language::LanguageArgs,
    output,
    rehearse::{
        Rehearsal,
        check::{Checker, HasLast, Settling},
        event::Order,
        now, report,
        scene::{OnLate, Scene},
        script::{Play, Wishes, write},
        stage::{Amqp, Stage},
        webhook::Webhook,
    },
};

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The subscriber: the http(s) URL of its webhook, or amqp(s)://USER:PASSWORD@HOST/VHOST (better in the variable,
    /// because command lines are seen by every user of a machine)
    #[arg(
        value_name = "TARGET",
        env = "PAYBELL_REHEARSE_TARGET",
        hide_env_values = true,
        required_unless_present_any = ["list", "orders"]
    )]
    target: Option<String>,
    /// Webhook: the environment variable that holds its secret (whsec_…)
    #[arg(long, value_name = "VAR", conflicts_with = "secret_file")]
    secret_env: Option<String>,
    /// Webhook: the file that holds its secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// AMQP: publish straight into this queue
    #[arg(long, value_name = "NAME", conflicts_with = "exchange")]
    queue: Option<String>,
    /// AMQP: publish to this exchange; whoever listens there gets made-up payments [default: paybell-rehearsal.events,
    /// which is created]
    #[arg(long, value_name = "NAME")]
    exchange: Option<String>,
    /// Where the subscriber tells how often it shipped an order, such as
    /// 'http://127.0.0.1:9000/shipped/{out_trade_no}'
    #[arg(long, value_name = "URL")]
    check_url: Option<String>,
    /// The number in its JSON answer; dots lead deeper
    #[arg(long, value_name = "FIELD", default_value = "shipped")]
    check_field: String,
    /// The environment variable that holds a bearer token for it
    #[arg(long, value_name = "VAR")]
    check_token_env: Option<String>,
    #[command(flatten)]
    script: ScriptArgs,
    #[command(flatten)]
    bounds: Bounds,
    #[command(flatten)]
    lang: LanguageArgs,
    /// Print it as JSON, in both languages
    #[arg(long)]
    json: bool,
    /// List the scenes, and play nothing
    #[arg(long)]
    list: bool,
    /// List the orders that will be paid, for a shop that must know them before; needs --seed
    #[arg(long, requires = "seed", conflicts_with = "list")]
    orders: bool,
}

/// What is played.
#[derive(Debug, ClapArgs)]
struct ScriptArgs {
    /// Only these scenes
    #[arg(long, value_name = "SCENE", value_enum, value_delimiter = ',', hide_possible_values = true)]
    only: Vec<Scene>,
    /// Not these
    #[arg(long, value_name = "SCENE", value_enum, value_delimiter = ',', hide_possible_values = true)]
    skip: Vec<Scene>,
    /// What your shop does with a payment that comes after the order was called unpaid
    #[arg(long, value_enum, default_value = "ship")]
    late: OnLate,
    /// Orders in the burst
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=5000))]
    burst: u16,
    /// The merchant in the events
    #[arg(long, value_name = "MCH_ID", default_value = "1900000109", value_parser = mch_id)]
    mch_id: MchId,
    /// The appid in the events
    #[arg(long, value_name = "APPID", default_value = "wx8888888888888888", value_parser = appid)]
    appid: AppId,
    /// The same seed plays the same orders and ids [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
}

/// How long it may take.
#[derive(Debug, ClapArgs)]
struct Bounds {
    /// The numbers of the check URL are final when they stand still for so long
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    settle: Duration,
    /// AMQP: how long the subscriber may take to bind its queue, and for the last message after it last shipped something
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    patience: Duration,
    /// The rehearsal ends after so long, whatever is left
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = time)]
    time_limit: Duration,
}

/// Rehearses; fails if a scene did.
pub async fn run(args: Args) -> Result<(), Error> {
    if args.list {
        return if args.json {
            output::json(&report::scenes_document())
        } else {
            output::line(&report::scenes(args.lang.language()))
        };
    }
    let is_amqp = args.target.as_deref().is_some_and(is_amqp);
    let play = write(&wishes(&args.script, is_amqp)?)?;
    if args.orders {
        return list_orders(&play, args.json);
    }
    let target = args.target.as_deref().unwrap_or_default();
    let checker = checker(&args)?;
    let stage = if is_amqp { on_amqp(target, &args).await? } else { on_webhook(target, &args)? };
    let has_last = if is_amqp { HasLast::Yes } else { HasLast::No };
    let settling = Settling { quiet: args.bounds.settle, patience: args.bounds.patience, has_last };
    let rehearsal =
        Rehearsal { play: play.clone(), stage, checker, settling, time_limit: args.bounds.time_limit };
    let outcome = rehearsal.run().await?;
    let language = args.lang.language();
    if args.json {
        output::json(&report::document(&play, &outcome))?;
    } else {
        output::line(&report::text(&play, &outcome, language))?;
    }
    report::failure_line(&outcome, language).map_or(Ok(()), |line| Err(Error::Failed(line)))
}

fn wishes(args: &ScriptArgs, is_amqp: bool) -> Result<Wishes, Error> {
    let is_wanted = |scene: &Scene| {
        (args.only.is_empty() || args.only.contains(scene))
            && !args.skip.contains(scene)
            && !(is_amqp && scene.is_for_webhooks_only())
    };
    let scenes: Vec<Scene> = Scene::ALL.into_iter().filter(is_wanted).collect();
    if scenes.is_empty() {
        return Err(Error::Usage(
            "--only and --skip leave no scene that can be played this way; --list names them".to_owned(),
        ));
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => random_seed()?,
    };
    Ok(Wishes {
        scenes,
        seed,
        mch_id: args.mch_id.clone(),
        appid: args.appid.clone(),
        now: now(),
        burst: usize::from(args.burst),
        on_late: args.late,
    })
}

fn checker(args: &Args) -> Result<Option<Checker>, Error> {
    let token =
        args.check_token_env.as_deref().map(|name| variable("--check-token-env", name)).transpose()?;
    let url = args.check_url.as_deref();
    url.map(|url| Checker::new(url, &args.check_field, token.as_ref())).transpose()
}

fn on_webhook(target: &str, args: &Args) -> Result<Stage, Error> {
    if args.queue.is_some() || args.exchange.is_some() {
        return Err(Error::Usage("--queue and --exchange are for an amqp:// target".to_owned()));
    }
    let secret = match (&args.secret_env, &args.secret_file) {
        (Some(name), _) => variable("--secret-env", name)?,
        (None, Some(file)) => {
            read_secret_file(file).map_err(|what| Error::Usage(format!("--secret-file: {what}")))?
        }
        (None, None) => {
            return Err(Error::Usage(
                "a webhook is signed: give its secret by --secret-env VAR or --secret-file FILE".to_owned(),
            ));
        }
    };
    let secret = WebhookSecret::parse(secret.reveal().trim())
        .map_err(|error| Error::Usage(format!("the webhook's secret: {error}")))?;
    // Who rehearses names the address himself, mostly on this machine.
    let url = EndpointUrl::parse(target, Reach { allow_private: true, allow_http: true })
        .map_err(|error| Error::Usage(format!("TARGET: {error}")))?;
    let transport = HttpTransport::new(Arc::new(SystemResolver))
        .map_err(|error| Error::Failed(format!("TLS cannot be set up: {error}")))?;
    Ok(Stage::Webhook(Box::new(Webhook::new(transport, url, secret)?)))
}

async fn on_amqp(target: &str, args: &Args) -> Result<Stage, Error> {
    let place = match (&args.queue, &args.exchange) {
        (Some(queue), _) => Place::Queue(queue.clone()),
        (None, Some(exchange)) => Place::Exchange(exchange.clone()),
        (None, None) => Place::Rehearsal,
    };
    let stage = rabbitmq::Stage::open(target, place).await.map_err(|error| match error {
        StageError::Config(_) | StageError::Reserved(_) => Error::Usage(error.to_string()),
        _ => Error::Failed(error.to_string()),
    })?;
    let (mch_id, patience) = (args.script.mch_id.clone(), args.bounds.patience);
    Ok(Stage::Amqp(Amqp { stage, mch_id, patience }))
}

fn list_orders(play: &Play, as_json: bool) -> Result<(), Error> {
    let of_acts =
        || play.acts.iter().flat_map(|act| act.orders.iter().map(move |order| (act.scene.as_str(), order)));
    // In a queue these two frame the rest; a shop that does not know the last one would pass for stuck.
    let orders = || iter::once(("begin", &play.first.0)).chain(of_acts()).chain([("end", &play.last.0)]);
    let mch_id = play.mch_id.as_str();
    if as_json {
        let order = |(scene, order): (&str, &Order)| {
            json!({
                "scene": scene,
                "mch_id": mch_id,
                "out_trade_no": order.out_trade_no,
                "total_fee": order.total_fee,
            })
        };
        return output::json(
            &json!({ "seed": play.seed, "orders": orders().map(order).collect::<Vec<_>>() }),
        );
    }
    let row = |(scene, order): (&str, &Order)| {
        let number = order.out_trade_no.to_string();
        vec![scene.to_owned(), mch_id.to_owned(), number, order.total_fee.to_string()]
    };
    output::table(&["scene", "mch_id", "out_trade_no", "total_fee"], &orders().map(row).collect::<Vec<_>>())
}

fn variable(option: &str, name: &str) -> Result<Secret, Error> {
    config::variable(name)
        .ok_or_else(|| Error::Usage(format!("{option}: the environment variable {name} is not set")))
}

fn random_seed() -> Result<u32, Error> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| Error::Failed(format!("no randomness: {error}")))?;
    Ok(u32::from_le_bytes(bytes))
}

fn is_amqp(target: &str) -> bool {
    target.starts_with("amqp://") || target.starts_with("amqps://")
}

fn time(text: &str) -> Result<Duration, String> {
    let millis = duration(text)?;
    u64::try_from(millis.0).map(Duration::from_millis).map_err(|_| "must not be negative".to_owned())
}

fn mch_id(text: &str) -> Result<MchId, String> {
    MchId::new(text).map_err(|error| error.to_string())
}

fn appid(text: &str) -> Result<AppId, String> {
    AppId::new(text).map_err(|error| error.to_string())
}
