//! `paybell doctor`: brings the doctor what the configuration says, has everything looked at at once, and shows the
//! report. Judges nothing itself. Works beside a running service and without one; the embedded store is never opened.

mod configuration;
mod look;
mod mode;

use std::io::{self, IsTerminal};

use clap::Args as ClapArgs;
use doctor::{
    Area, Language, Report, Severity,
    listing::{Colour, Style, listing},
};

use super::config::ConfigFile;
use crate::{
    config::{load, process_environment},
    error::Error,
    language::LanguageArgs,
    output,
};

/// Columns that a report is broken at on a terminal: what a person reads at a glance.
const COLUMNS: usize = 100;

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    from: ConfigFile,
    /// Print it as JSON, with both languages
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    lang: LanguageArgs,
    /// Send no canary notification
    #[arg(long)]
    no_canary: bool,
    /// The admin listener of a running process [default: admin.listen of the configuration]
    #[arg(long, value_name = "HOST:PORT")]
    admin: Option<String>,
    /// A subscriber's queue to look at as well; may be repeated (engine "cluster")
    #[arg(long, value_name = "NAME")]
    subscriber_queue: Vec<String>,
}

/// Looks, shows, and fails if anything is wrong.
pub async fn run(args: Args) -> Result<(), Error> {
    let language = args.lang.language();
    let loaded = load(args.from.config.as_deref(), process_environment());
    let files = configuration::files(&loaded.shown);
    let checked = loaded.checked();
    let mut report = Report::default();
    report.add(Area::Configuration, configuration::look(&checked, files));
    if let Ok(config) = &checked {
        look::everything(config, &args, language, &mut report).await;
    }
    show(&report, args.json, language)?;
    let errors = report.count(Severity::Error);
    match checked {
        Err(_) => Err(Error::Usage("the configuration cannot be used: mend it, then look again".to_owned())),
        Ok(_) if errors > 0 => Err(Error::Failed("the doctor found errors".to_owned())),
        Ok(_) => Ok(()),
    }
}

fn show(report: &Report, as_json: bool, language: Language) -> Result<(), Error> {
    if as_json {
        return output::json(&report.to_json());
    }
    let is_terminal = io::stdout().is_terminal();
    let (colour, width) = if is_terminal { (Colour::Terminal, Some(COLUMNS)) } else { (Colour::Never, None) };
    output::line(&listing(report, Style { language, colour, width }))
}
