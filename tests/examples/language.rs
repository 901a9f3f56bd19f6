//! The languages of the examples, made ready by `tests/examples/install`, and the processes that run them.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use tempfile::TempDir;

use crate::harness::wait_for;

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A language with an example.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Python,
    Node,
    Php,
    Go,
    Java,
}

impl Language {
    pub const ALL: [Language; 5] =
        [Language::Python, Language::Node, Language::Php, Language::Go, Language::Java];

    fn word(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::Node => "node",
            Language::Php => "php",
            Language::Go => "go",
            Language::Java => "java",
        }
    }

    /// Whether it can be run here. Says so if not; falls if it should.
    pub fn is_here(self) -> bool {
        let line = |kind: &str| format!("{kind} {}", self.word());
        if readiness().lines().any(|found| found == line("ready")) {
            return true;
        }
        let why = readiness().lines().find(|found| found.split(' ').nth(1) == Some(self.word()));
        let why = why.unwrap_or("the install script says nothing about it");
        let is_left_out = std::env::var("PAYBELL_TEST_WITHOUT_CLIENTS").as_deref() == Ok("1");
        assert!(
            why.starts_with(&line("absent")) || is_left_out,
            "{why}; PAYBELL_TEST_WITHOUT_CLIENTS=1 leaves these tests out"
        );
        // Past the test runner's capture.
        let _ = writeln!(std::io::stderr(), "\nNOT RUN: examples/{}: {why}", self.word());
        false
    }

    /// Its `webhook`, `consumer`, `register`, `place` or `refund`.
    pub fn command(self, program: &str) -> Vec<String> {
        let source = |name: &str| root().join("examples").join(name).display().to_string();
        let made = |name: &str| folder().join(name).display().to_string();
        match self {
            Language::Python => {
                vec![made("python/bin/python"), "-B".to_owned(), source(&format!("python/{program}.py"))]
            }
            Language::Node => vec![made("node-bin/node"), made(&format!("node/{program}.js"))],
            Language::Php if program == "webhook" => {
                ["php", "-S", "127.0.0.1:0", &source("php/webhook.php")].map(str::to_owned).to_vec()
            }
            Language::Php => vec!["php".to_owned(), source(&format!("php/{program}.php"))],
            Language::Go => vec![made("go/shop"), program.to_owned()],
            Language::Java => {
                let path = std::fs::read_to_string(folder().join("java/classpath")).unwrap();
                let (first, rest) = program.split_at(1);
                let class = format!("shop.{}{rest}", first.to_uppercase());
                vec!["java".to_owned(), "-cp".to_owned(), path.trim().to_owned(), class]
            }
        }
    }
}

/// An example at work, in a folder of its own. Ends with its owner, and with the test however that ends.
pub struct Subscriber {
    guard: Child,
    log: Arc<Mutex<String>>,
    folder: Arc<TempDir>,
}

impl Subscriber {
    /// The command, with a database of its own.
    pub fn start(command: &[String], more: &[(&str, &str)]) -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()), command, more)
    }

    /// The command, with the database in that folder.
    pub fn start_in(folder: Arc<TempDir>, command: &[String], more: &[(&str, &str)]) -> Self {
        // The guard's input ends with this process, whatever happens to it; then the whole group of the example ends.
        let mut guard = Command::new("bash")
            .args(["-c", "set -m; \"$@\" </dev/null 2>&1 & read -r _; kill -KILL -- -$!", "guard"])
            .args(command)
            .current_dir(folder.path())
            .env("DATABASE", folder.path().join("shop.db"))
            .env("PAYBELL_WEBHOOK_SECRET", SECRET)
            .env("HOST", "127.0.0.1")
            .env("PORT", "0")
            .env("PHP_CLI_SERVER_WORKERS", "8")
            .envs(more.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (mut output, copy) = (BufReader::new(guard.stdout.take().unwrap()), log.clone());
        thread::spawn(move || {
            let mut line = Vec::new();
            while matches!(output.by_ref().read_until(b'\n', &mut line), Ok(1..)) {
                copy.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { guard, log, folder }
    }

    /// `http://127.0.0.1:PORT`, as it says itself.
    #[track_caller]
    pub fn base(&self) -> String {
        wait_for("the subscriber listens", || {
            let log = self.log();
            let (_, rest) = log.split_once("http://127.0.0.1:")?;
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            // Its line may not be whole yet.
            (port.len() < rest.len() && port != "0").then(|| format!("http://127.0.0.1:{port}"))
        })
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn folder(&self) -> Arc<TempDir> {
        self.folder.clone()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("-- the end of the subscriber's log --");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Where the install script made them: beside the binary's folder.
fn folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("test-examples")
}

fn readiness() -> &'static str {
    static READINESS: OnceLock<String> = OnceLock::new();
    READINESS.get_or_init(|| {
        let output = Command::new(root().join("tests/examples/install"))
            .env("CARGO_TARGET_DIR", folder().parent().unwrap())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    })
}
