//! A process under test: this same binary, started with other arguments. Killed when it is dropped, because nothing
//! that it holds is worth finishing.

use std::{process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::timeout,
};

use super::{machine::Usage, while_doing};
use crate::{config::process_environment, error::Error};

const START_TIMEOUT: Duration = Duration::from_secs(60);

pub struct Child {
    process: tokio::process::Child,
    /// Kept open, so that the process can print.
    _output: BufReader<tokio::process::ChildStdout>,
    id: String,
    /// What it printed when it was ready.
    pub announced: String,
}

impl Child {
    /// Starts `paybell` with these arguments and waits for its first line. Its log goes to our standard error.
    pub async fn start(arguments: &[&str]) -> Result<Self, Error> {
        let what = format!("starting paybell {}", arguments.first().unwrap_or(&""));
        let binary = std::env::current_exe().map_err(while_doing(&what))?;
        let mut command = Command::new(binary);
        for (name, _) in process_environment() {
            if name.to_string_lossy().starts_with("PAYBELL") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().map_err(while_doing(&what))?;
        let output = process.stdout.take().expect("standard output was asked for as a pipe");
        let id = process.id().map(|id| id.to_string()).unwrap_or_default();
        let mut output = BufReader::new(output);
        let mut announced = String::new();
        let read = timeout(START_TIMEOUT, output.read_line(&mut announced)).await;
        match read {
            Ok(Ok(bytes)) if bytes > 0 => Ok(Self { process, _output: output, id, announced }),
            Ok(Err(cause)) => Err(while_doing(&what)(cause)),
            Ok(Ok(_)) => Err(Error::Failed(format!("{what}: it ended at once"))),
            Err(_) => Err(Error::Failed(format!("{what}: not ready within {} s", START_TIMEOUT.as_secs()))),
        }
    }

    /// What it has used so far.
    pub fn usage(&self) -> Usage {
        Usage::of(&self.id)
    }

    /// Ends it and waits until it is gone.
    pub async fn end(mut self) -> Result<(), Error> {
        self.process.kill().await.map_err(while_doing("ending a process under test"))
    }
}
