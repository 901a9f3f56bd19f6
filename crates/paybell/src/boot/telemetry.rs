//! Logs to standard error: text for a person at a terminal, JSON for everything else. What is logged is up to who
//! logs it; nothing of ours is filtered for secrets here, because no secret may come so far.

use std::io::{self, IsTerminal};

use clap::Args as ClapArgs;
use tracing_subscriber::{EnvFilter, fmt};

use crate::error::Error;

/// The AMQP client logs what our own code expects and handles (an absent queue, a closed channel) as errors, and whole
/// messages and its login at lower levels. Our links say what matters; a filter that names the client still shows it.
const QUIET: &str = "lapin=off,amq_protocol=off,tcp_stream=off,async_rs=off";

#[derive(Debug, ClapArgs)]
pub struct LogArgs {
    /// What to log: a level, or a filter such as info,worker=debug
    #[arg(long, value_name = "FILTER", env = "RUST_LOG", hide_env_values = true, default_value = "info")]
    log: String,
}

/// Begins to log; a second call changes nothing.
pub fn begin(args: &LogArgs) -> Result<(), Error> {
    begin_at(&args.log)
}

/// The same for a command with a default of its own.
pub fn begin_at(filter: &str) -> Result<(), Error> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .map_err(|error| Error::Usage(format!("--log {filter}: {error}; write a level or part=level,…")))?;
    let logs = fmt().with_env_filter(filter).with_writer(io::stderr);
    let is_terminal = io::stderr().is_terminal();
    let begun = if is_terminal {
        logs.with_target(false).try_init()
    } else {
        logs.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
    // Already begun by an earlier command in this process.
    drop(begun);
    Ok(())
}
