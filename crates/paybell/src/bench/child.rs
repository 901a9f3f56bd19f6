//! A process under test: this same binary, started with other arguments, or a peer that does the same job. Killed when
//! it is dropped, because nothing that it holds is worth finishing.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
    time::{sleep, timeout},
};

use super::{client::Connection, machine::Usage, while_doing};
use crate::{config::process_environment, error::Error};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(20);

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
        command.args(arguments);
        Self::announcing(command, &what).await
    }

    /// The same with any program.
    pub async fn announcing(mut command: Command, what: &str) -> Result<Self, Error> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().map_err(while_doing(what))?;
        let output = process.stdout.take().expect("standard output was asked for as a pipe");
        let id = process.id().map(|id| id.to_string()).unwrap_or_default();
        let mut output = BufReader::new(output);
        let mut announced = String::new();
        let read = timeout(START_TIMEOUT, output.read_line(&mut announced)).await;
        match read {
            Ok(Ok(bytes)) if bytes > 0 => Ok(Self { process, _output: output, id, announced }),
            Ok(Err(cause)) => Err(while_doing(what)(cause)),
            Ok(Ok(_)) => Err(Error::Failed(format!("{what}: it ended at once"))),
            Err(_) => Err(Error::Failed(format!("{what}: not ready within {} s", START_TIMEOUT.as_secs()))),
        }
    }

    /// One of the addresses that `run --print-addresses` printed.
    pub fn address_of(&self, listener: &str) -> Result<SocketAddr, Error> {
        let addresses: Value = serde_json::from_str(&self.announced).unwrap_or_default();
        let address = addresses.get(listener).and_then(Value::as_str).and_then(|text| text.parse().ok());
        address.ok_or_else(|| Error::Failed(format!("no address of {listener} in {:?}", self.announced)))
    }

    /// Waits until all servers that the process needs answer it.
    pub async fn ready(&self) -> Result<(), Error> {
        let admin = self.address_of("admin")?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\n\r\n");
        let mut said = String::new();
        let asking = async {
            let mut connection = Connection::open(admin).await?;
            loop {
                let answer = connection.exchange(request.as_bytes()).await?;
                if answer.status == 200 {
                    return Ok(());
                }
                said = String::from_utf8_lossy(answer.body).into_owned();
                sleep(ASK_EVERY).await;
            }
        };
        match timeout(START_TIMEOUT, asking).await {
            Ok(answered) => answered.map_err(while_doing("asking paybell whether it is ready")),
            Err(_) => {
                let seconds = START_TIMEOUT.as_secs();
                Err(Error::Failed(format!("paybell is not ready after {seconds} s: {said}")))
            }
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
