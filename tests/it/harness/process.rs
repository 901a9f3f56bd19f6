//! The `paybell` binary as a service manager runs it.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{PATIENCE, eventually, get, wait_for};

/// The longest that a command takes which ends by itself; one that goes on is killed.
const RUN_TIME_MAX: Duration = PATIENCE.saturating_mul(2);

/// Where the binary lies.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("paybell");
    assert!(path.is_file(), "{} is missing: run `cargo build -p paybell` first", path.display());
    path
}

/// A command with nothing of ours in its environment, and no language.
pub fn paybell(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        let is_language = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().any(|language| name == *language);
        if name.to_string_lossy().starts_with("PAYBELL") || name == "RUST_LOG" || is_language {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end; again where the private API told it to, as on a busy machine.
#[track_caller]
pub fn run(args: &[&str]) -> Ran {
    wait_for(&format!("{args:?} is not told to come again"), || {
        let ran = run_once(paybell(args));
        let is_to_come_again = ran.code == Some(1) && ran.stderr.contains("(HTTP 503)");
        (!is_to_come_again).then_some(ran)
    })
}

/// Runs a command to its end, which must come by itself.
#[track_caller]
pub fn run_once(mut command: Command) -> Ran {
    let mut child = command.spawn().unwrap();
    let (stdout, stderr) = (read(child.stdout.take().unwrap()), read(child.stderr.take().unwrap()));
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if begun.elapsed() < RUN_TIME_MAX => thread::sleep(Duration::from_millis(5)),
            None => break None,
        }
    };
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let Some(status) = status else { panic!("{command:?} does not end: {stdout}\n{stderr}") };
    Ran { code: status.code(), stdout, stderr }
}

fn read(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    })
}

impl Ran {
    /// It ended with this code, and said these words.
    #[track_caller]
    pub fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.stdout.contains(word) || self.stderr.contains(word), "{word:?} in {self:?}");
        }
    }
}

/// A process that stays until its owner goes.
pub struct Running {
    child: Child,
    lines: Mutex<mpsc::Receiver<String>>,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        let mut child = paybell(args).spawn().unwrap();
        let (sender, lines) = mpsc::sync_channel(64);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let reader = thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let log = Arc::new(Mutex::new(String::new()));
        let (mut stderr, copy) = (child.stderr.take().unwrap(), log.clone());
        let logger = thread::spawn(move || {
            let mut chunk = [0; 8192];
            while let Ok(length @ 1..) = stderr.read(&mut chunk) {
                copy.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..length]));
            }
        });
        Self { child, lines: Mutex::new(lines), log, readers: vec![reader, logger] }
    }

    /// The next line of its standard output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let line = self.lines.lock().unwrap().recv_timeout(PATIENCE);
        match line {
            Ok(line) => line,
            Err(_) => panic!("it printed nothing; its log:\n{}", self.log()),
        }
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until its log says all of this: what it did may be seen before what it says of it.
    #[track_caller]
    pub fn says(&self, words: &[&str]) {
        eventually(&format!("the log says {words:?}"), || {
            let log = self.log();
            words.iter().all(|word| log.contains(word))
        });
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// SIGKILL: it finishes nothing.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; gives its status and its whole log.
    #[track_caller]
    pub fn ended(&mut self) -> (ExitStatus, String) {
        let status = wait_for("the process ends", || self.child.try_wait().unwrap());
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        (status, self.log())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(40).collect::<Vec<_>>();
            eprintln!("-- the end of its log --");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// `paybell run`, listening.
pub struct Service {
    pub process: Running,
    addresses: Value,
}

impl Service {
    #[track_caller]
    pub fn start(config: &Path, more: &[&str]) -> Self {
        let config = config.display().to_string();
        let mut process =
            Running::start(&[&["run", "--print-addresses", "--config", &config], more].concat());
        let addresses = serde_json::from_str(&process.line()).unwrap();
        let service = Self { process, addresses };
        if crate::ENGINE.is_cluster() {
            // It listens at once and connects to its servers meanwhile.
            let admin = service.address("admin");
            wait_for("it is ready", || (get(admin, "/readyz").status == 200).then_some(()));
        }
        service
    }

    /// One role alone.
    #[track_caller]
    #[allow(dead_code, reason = "only the tests of faults start roles apart")]
    pub fn start_role(config: &Path, role: &str) -> Self {
        let config = config.display().to_string();
        let mut process = Running::start(&["run", role, "--print-addresses", "--config", &config]);
        let addresses = serde_json::from_str(&process.line()).unwrap();
        Self { process, addresses }
    }

    #[track_caller]
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener].as_str().unwrap().parse().unwrap()
    }

    pub fn metrics(&self) -> String {
        get(self.address("admin"), "/metrics").expect(200).body
    }

    /// The value of one sample; 0 if it is not there yet.
    pub fn metric(&self, sample: &str) -> f64 {
        let metrics = self.metrics();
        let value = metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }
}
