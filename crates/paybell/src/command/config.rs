//! `paybell config`: check a configuration, show what is in effect, print a sample. Starts nothing.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{
    boot::bills::begins_anew,
    config::{Problems, SAMPLE, SAMPLE_ZH, as_json, as_toml, load, process_environment},
    error::Error,
    language::LanguageArgs,
    output,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say everything that is wrong with the configuration; exit 2 if anything is
    Check(Check),
    /// Print every value in effect with its origin, secrets hidden
    Show(Show),
    /// Print a commented sample with every key and its default
    Sample(Sample),
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    from: ConfigFile,
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    from: ConfigFile,
    /// Print a JSON list of keys instead of TOML
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Sample {
    #[command(flatten)]
    lang: LanguageArgs,
}

/// Where the configuration is; shared by every command that reads one.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The configuration file [default: paybell.toml, if it exists]; the environment (PAYBELL__SECTION__KEY) stands
    /// over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Carries the command out.
pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Check(Check { from }) => {
            let config = load(from.config.as_deref(), process_environment()).checked()?;
            let (merchants, engine) = (config.merchants.len(), config.engine);
            let noun = if merchants == 1 { "merchant" } else { "merchants" };
            for mch_id in begins_anew(&config) {
                output::remark(&format!(
                    "warning: merchant {mch_id} has no active_since, so that only Redis knows since when it is yours; set \
                     it to the moment of the installation: active_since = \"2026-11-20T00:00:00+08:00\""
                ));
            }
            output::line(&format!("the configuration is sound: {engine} engine, {merchants} {noun}"))
        }
        Command::Show(Show { from, json }) => {
            let loaded = load(from.config.as_deref(), process_environment());
            if json {
                output::json(&as_json(&loaded.shown))?;
            } else {
                output::line(as_toml(&loaded.shown).trim())?;
            }
            if loaded.problems.is_empty() { Ok(()) } else { Err(Problems(loaded.problems).into()) }
        }
        Command::Sample(Sample { lang }) => output::line(lang.language().pick(SAMPLE, SAMPLE_ZH).trim_end()),
    }
}
