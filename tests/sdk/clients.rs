//! The shops of `tests/sdk/python` and `tests/sdk/node`: payment SDKs that nobody here wrote, driven line by line.

use std::{
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
};

use serde_json::{Value, json};

use crate::harness::{APP, KEY, MCH, PATIENCE, skip, wait_for};

/// An SDK with a shop written for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    Wechatpy,
    Tenpay,
}

impl Sdk {
    /// Those that are installed, which is all: where they cannot be installed the test falls, unless
    /// `PAYBELL_TEST_WITHOUT_CLIENTS=1` says that nobody expects them. Then there are none, and it says so.
    pub fn all() -> &'static [Sdk] {
        if installed().is_some() { &[Sdk::Wechatpy, Sdk::Tenpay] } else { &[] }
    }

    fn command(self) -> Command {
        let folder = installed().expect("only an installed SDK can be had from `all`");
        match self {
            Sdk::Wechatpy => {
                let mut command = Command::new(folder.join("python/bin/python"));
                command.arg(sources().join("python/shop.py"));
                command
            }
            Sdk::Tenpay => {
                let mut command = Command::new("node");
                command.env("NODE_PATH", folder.join("node/node_modules"));
                command.arg(sources().join("node/shop.js"));
                command
            }
        }
    }
}

/// A shop on that SDK; it ends with its owner.
pub struct UnchangedShop {
    child: Child,
    input: ChildStdin,
    answers: mpsc::Receiver<Value>,
    heard: Arc<Mutex<Vec<Value>>>,
    pub port: u64,
}

impl UnchangedShop {
    pub fn open(sdk: Sdk) -> Self {
        Self::start(sdk.command())
    }

    /// One that trusts another authority than the public ones, too.
    pub fn trusting(sdk: Sdk, authority: &Path) -> Self {
        let mut command = sdk.command();
        command.env("REQUESTS_CA_BUNDLE", authority).env("NODE_EXTRA_CA_CERTS", authority);
        Self::start(command)
    }

    fn start(mut command: Command) -> Self {
        command.args([MCH, APP, KEY]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let (sender, answers) = mpsc::channel();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let copy = heard.clone();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap();
                if line.get("notified").or(line.get("refused")).is_some() {
                    copy.lock().unwrap().push(line);
                } else if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, input, answers, heard, port: first["ready"].as_u64().unwrap() }
    }

    /// Its notification handler.
    pub fn handler(&self) -> String {
        format!("http://127.0.0.1:{}/notify", self.port)
    }

    /// Has it do something; `{"answer":…}` is what the SDK gave back, `{"error":…}` what it threw.
    #[track_caller]
    pub fn tell(&mut self, verb: &str, base_url: &str, order: &str, more: &Value) -> Value {
        let mut command = json!({ "do": verb, "base_url": base_url, "order": order });
        if let Some(more) = more.as_object() {
            command.as_object_mut().unwrap().extend(more.clone());
        }
        writeln!(self.input, "{command}").unwrap();
        self.answers.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no answer to {command}"))
    }

    /// What its handler was told of an order, as the SDK read it.
    pub fn notified(&self, order: &str) -> Vec<Value> {
        let heard = self.heard.lock().unwrap();
        let told = heard.iter().filter_map(|line| line.get("notified"));
        told.filter(|notified| notified["out_trade_no"] == order).cloned().collect()
    }

    #[track_caller]
    pub fn wait_for(&self, order: &str) -> Value {
        wait_for(&format!("the shop hears of {order}"), || self.notified(order).into_iter().next())
    }

    /// Notifications that the SDK took for forged.
    pub fn refused(&self) -> usize {
        self.heard.lock().unwrap().iter().filter(|line| line.get("refused").is_some()).count()
    }
}

impl Drop for UnchangedShop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/sdk"))
}

fn installed() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(install).as_deref()
}

fn install() -> Option<PathBuf> {
    let output = Command::new(sources().join("install")).output().unwrap();
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if std::env::var("PAYBELL_TEST_WITHOUT_CLIENTS").as_deref() != Ok("1") {
        panic!("{words}PAYBELL_TEST_WITHOUT_CLIENTS=1 leaves these tests out.");
    }
    skip(&words);
    None
}
