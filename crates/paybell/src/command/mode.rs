//! `paybell mode`: in which mode an installation is, and changing it for all its processes at once. Works on the ledger
//! itself, so that it also answers where no process can start. Changes no configuration: it says which have to be.

use std::sync::Arc;

use clap::{Args as ClapArgs, ValueEnum};
use paybell_core::{
    Act, Action, AgreedMode, Mode, ModeKeeper,
    act::DONE,
    line::disguises,
    ports::{Acts, Ledger, PortError},
};
use redis_ledger::RedisLedger;
use serde_json::{Value, json};

use super::config::ConfigFile;
use crate::{
    boot::mode::history,
    config::{Config, EngineKind, load, process_environment},
    engine::open_ledger,
    error::Error,
    output,
};

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 512;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The mode that all processes are in from now on [default: change nothing, show it]
    #[arg(value_enum)]
    to: Option<To>,
    /// Why, for the trail
    #[arg(long, value_name = "TEXT", requires = "to")]
    reason: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    from: ConfigFile,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum To {
    /// What is decided is told
    Live,
    /// Everything is decided, nothing is told, and your own handler answers WeChat
    Shadow,
}

/// Carries the command out.
pub async fn run(args: Args) -> Result<(), Error> {
    let config = load(args.from.config.as_deref(), process_environment()).checked()?;
    let reason = args.reason.as_deref().unwrap_or_default();
    if reason.chars().count() > REASON_CHARS_MAX || reason.chars().any(disguises) {
        return Err(Error::Usage(format!(
            "--reason: {REASON_CHARS_MAX} characters at most, all of which can be seen"
        )));
    }
    if config.engine == EngineKind::Embedded {
        return of_one_process(&args, &config);
    }
    let redis = open_ledger(&config).await?;
    let done = of_installation(&args, (&config, reason), Arc::new(redis.clone())).await;
    redis.close().await;
    done
}

/// What its configuration says holds: nobody else is there to disagree.
fn of_one_process(args: &Args, config: &Config) -> Result<(), Error> {
    let mode = config.mode.as_str();
    match args.to.map(Mode::from) {
        Some(to) if to != config.mode => Err(Error::Usage(format!(
            "on the embedded engine one process has everything to itself, and its configuration says the mode: set \
             mode = {:?} (it is {mode:?}) and restart it",
            to.as_str()
        ))),
        _ if args.json => output::json(&json!({ "mode": mode, "configured": mode })),
        _ => output::line(&format!("{mode}, as the configuration says")),
    }
}

async fn of_installation(
    args: &Args,
    (config, reason): (&Config, &str),
    redis: Arc<RedisLedger>,
) -> Result<(), Error> {
    let modes = ModeKeeper::shared(config.mode, redis.clone(), redis.clone());
    let before = modes.hear().await.map_err(failed)?;
    let Some(to) = args.to.map(Mode::from) else { return show(args.json, config, before.as_ref()) };
    if before.as_ref().is_some_and(|before| before.mode == to) {
        output::remark(&format!("it was {} before: nothing was changed", to.as_str()));
        return show(args.json, config, before.as_ref());
    }
    let by = caller();
    let number = redis.begin(&act(&redis, to, (&by, reason)).await.map_err(failed)?).await.map_err(failed)?;
    let changed = modes.change(to, &by, reason).await;
    let outcome = if changed.is_ok() { DONE } else { "unavailable" };
    // The change counts, and is told below; an entry without an outcome says that nobody knows.
    if let Err(error) = redis.conclude(number, outcome).await {
        output::remark(&format!("what came of it is not in the trail of acts: {error}"));
    }
    let changed = changed.map_err(failed)?;
    show(args.json, config, changed.as_ref())?;
    output::remark(&format!(
        "processes that run follow within a second or two. Now set mode = {:?} in the configuration of every process and \
         restart them one by one: one that says otherwise does not start, and an ingress without other roles knows its \
         configuration only",
        to.as_str()
    ));
    Ok(())
}

async fn act(redis: &RedisLedger, to: Mode, (by, reason): (&str, &str)) -> Result<Act, PortError> {
    Ok(Act {
        at: redis.clock().await?.now,
        who: by.to_owned(),
        peer: "the command line".to_owned(),
        action: Action::ModeChange.as_str().to_owned(),
        object: format!("mode/{}", to.as_str()),
        mch_id: None,
        why: reason.to_owned(),
    })
}

fn show(as_json: bool, config: &Config, agreed: Option<&AgreedMode>) -> Result<(), Error> {
    let configured = config.mode.as_str();
    if as_json {
        let (mode, since) = (agreed.map(|agreed| agreed.mode.as_str()), agreed.map(|agreed| agreed.since));
        let text = |text: &str| if text.is_empty() { Value::Null } else { Value::from(text) };
        return output::json(&json!({
            "mode": mode,
            "since": since.map(|since| since.rfc3339()),
            "by": agreed.map_or(Value::Null, |agreed| text(&agreed.by)),
            "why": agreed.map_or(Value::Null, |agreed| text(&agreed.why)),
            "configured": configured,
        }));
    }
    let Some(agreed) = agreed else {
        return output::line(&format!(
            "no process of this installation has started yet; the first one settles it: {configured}, as the \
             configuration says"
        ));
    };
    output::line(&output::tame(&history(agreed)))?;
    if agreed.mode != config.mode {
        output::remark(&format!(
            "this configuration says mode = {configured:?}: a process with it does not start before it says {:?}",
            agreed.mode.as_str()
        ));
    }
    Ok(())
}

/// Who sits here, as far as the machine says.
fn caller() -> String {
    let user = process_environment().find(|(name, _)| name == "USER");
    let user = user.map(|(_, user)| user.to_string_lossy().into_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let text = format!("{}@{}", user.as_deref().unwrap_or("somebody"), host.trim());
    text.chars().filter(|character| !disguises(*character)).collect()
}

fn failed(error: PortError) -> Error {
    Error::Failed(error.to_string())
}

impl From<To> for Mode {
    fn from(to: To) -> Self {
        match to {
            To::Live => Mode::Live,
            To::Shadow => Mode::Shadow,
        }
    }
}
