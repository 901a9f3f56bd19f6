//! The `paybell` command as a person or a service manager runs it: one-shot and long-running.

#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

pub const KEY: &str = "192006250b4c09247ec02edce69f6a2d";
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A command that has not ended by then never does: a benchmark takes its time on a busy machine.
const COMMAND_MAX: Duration = Duration::from_secs(300);

/// A command with nothing of ours in its environment.
pub fn paybell(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paybell"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PAYBELL") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end.
pub fn run(args: &[&str]) -> Ran {
    run_with(args, &[], "")
}

/// The same with variables and something on standard input. A command that stays is ended, and is then a failure.
#[track_caller]
pub fn run_with(args: &[&str], variables: &[(&str, &str)], input: &str) -> Ran {
    let mut child = paybell(args).envs(variables.iter().copied()).stdin(Stdio::piped()).spawn().unwrap();
    // A command that reads no input may be gone by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let id = child.id().to_string();
    let (ended, has_ended) = mpsc::sync_channel::<()>(1);
    let guard = thread::spawn(move || {
        let stayed = has_ended.recv_timeout(COMMAND_MAX) == Err(RecvTimeoutError::Timeout);
        stayed && Command::new("kill").args(["-KILL", &id]).status().unwrap().success()
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    assert!(!guard.join().unwrap(), "{args:?} did not end: {}", String::from_utf8_lossy(&output.stderr));
    Ran::of(output)
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// It ended with this code, and said these words somewhere.
    #[track_caller]
    pub fn expect(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.stdout.contains(word) || self.stderr.contains(word), "{word:?} in {self:?}");
        }
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A folder with files.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn put(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A configuration on free ports with one merchant, whose WeChat is at `base_url`.
    pub fn config(&self, base_url: &str, more: &str) -> String {
        let data_dir = self.path("data").display().to_string();
        self.put(
            "paybell.toml",
            &format!(
                "engine = \"embedded\"\nconsole.listen = \"127.0.0.1:0\"\n{more}\n[embedded]\ndata_dir = \"{data_dir}\"\n\
                 [ingress]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
                 [wechat]\nbase_urls = [\"{base_url}\"]\n\
                 [[merchant]]\nmch_id = \"1900000109\"\napp_ids = [\"wx8888888888888888\"]\napi_key = \"{KEY}\"\n"
            ),
        )
    }
}

/// A process that stays.
pub struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        Self::spawn(&mut paybell(args))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, stdout, stderr: Some(stderr) }
    }

    /// The next line of its standard output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let bytes = self.stdout.read_line(&mut line).unwrap();
        assert!(bytes > 0, "it ended instead of printing: {}", self.kill_and_read());
        line.trim_end().to_owned()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; gives its status and its log.
    #[track_caller]
    pub fn ended(&mut self) -> (ExitStatus, String) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.stderr.take().unwrap().join().unwrap());
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {}", self.kill_and_read());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill_and_read(&mut self) -> String {
        let _ = self.child.kill();
        self.stderr.take().map(|reader| reader.join().unwrap()).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `paybell run` with its addresses.
pub struct Service {
    pub process: Running,
    pub addresses: Value,
}

impl Service {
    pub fn start(config: &str, more: &[&str]) -> Self {
        let mut process = Running::start(&[&["run", "--print-addresses", "--config", config], more].concat());
        let addresses = serde_json::from_str(&process.line()).unwrap();
        Self { process, addresses }
    }

    pub fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener].as_str().unwrap().parse().unwrap()
    }

    pub fn api(&self) -> String {
        format!("http://{}", self.address("console"))
    }
}

/// One HTTP request; status and body.
pub fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Asks until the answer is as wanted.
#[track_caller]
pub fn eventually(mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "it does not come");
        thread::sleep(Duration::from_millis(10));
    }
}
