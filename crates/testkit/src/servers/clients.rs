//! The stock clients of `tests/subscribers/`: what a business service would write with the common AMQP libraries of
//! Python and Node. It installs and names them; what they say is the test's to judge.
#![expect(
    clippy::disallowed_methods,
    reason = "whoever runs the tests says in the environment if they go without"
)]

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A client library, with a subscriber and a shop written for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StockClient {
    /// pika.
    Python,
    /// amqplib.
    Node,
}

impl StockClient {
    /// Those that are installed, which is all: where they cannot be installed the test falls, unless
    /// `PAYBELL_TEST_WITHOUT_CLIENTS=1` says that nobody expects them. Then there are none, and it says so.
    pub fn all() -> &'static [StockClient] {
        if installed().is_some() { &[Self::Python, Self::Node] } else { &[] }
    }

    /// Its `subscriber` or `publish_order`; `--help` or the file itself tells the arguments.
    pub fn command(self, program: &str) -> Command {
        let folder = installed().expect("only an installed client can be had from `all`");
        match self {
            Self::Python => {
                let mut command = Command::new(folder.join("python/bin/python"));
                command.arg(sources().join(format!("python/{program}.py")));
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command.env("NODE_PATH", folder.join("node/node_modules"));
                command.arg(sources().join(format!("node/{program}.js")));
                command
            }
        }
    }
}

fn sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/subscribers"))
}

fn installed() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(install).as_deref()
}

fn install() -> Option<PathBuf> {
    let output = Command::new(sources().join("install")).output();
    let output = output.unwrap_or_else(|error| panic!("tests/subscribers/install: {error}"));
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    if env::var("PAYBELL_TEST_WITHOUT_CLIENTS").as_deref() != Ok("1") {
        panic!("{words}PAYBELL_TEST_WITHOUT_CLIENTS=1 leaves these tests out.");
    }
    // Past the test runner's capture.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED the tests with stock clients: {words}");
    None
}
