//! The tools that `tests/contracts/install` brings, and how long they may take. What they say is the test's to judge.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use crate::harness::skip;

/// So long a tool may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(900);

/// This folder.
pub fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/contracts"))
}

/// A document of the repository.
pub fn document(path: &str) -> PathBuf {
    folder().join("../..").join(path)
}

/// schemathesis; `None`, said aloud, where nobody expects the tools.
pub fn schemathesis() -> Option<Command> {
    Some(Command::new(installed()?.join("python/bin/schemathesis")))
}

/// A script of this folder under Node, with the installed packages.
pub fn node(script: &str) -> Option<Command> {
    let mut command = Command::new("node");
    command.env("NODE_PATH", installed()?.join("node/node_modules")).arg(folder().join(script));
    Some(command)
}

/// Whether it ended well, and what it printed.
pub fn ran(command: &mut Command) -> (bool, String) {
    let output = tempfile::tempfile().unwrap();
    let (stdout, stderr) = (output.try_clone().unwrap(), output.try_clone().unwrap());
    let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let mut said = String::new();
    let mut output = output;
    std::io::Seek::rewind(&mut output).unwrap();
    std::io::Read::read_to_string(&mut output, &mut said).unwrap();
    if status.is_none() {
        said.push_str(&format!("\nit took more than {} s", PATIENCE.as_secs()));
    }
    (status.is_some_and(|status| status.success()), said)
}

fn installed() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = FOLDER.get_or_init(install).as_deref();
    if found.is_none() {
        skip("the tools cannot be installed, and PAYBELL_TEST_WITHOUT_CLIENTS=1");
    }
    found
}

fn install() -> Option<PathBuf> {
    let output = Command::new(folder().join("install")).output();
    let output = output.unwrap_or_else(|error| panic!("tests/contracts/install: {error}"));
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let goes_without = std::env::var("PAYBELL_TEST_WITHOUT_CLIENTS").as_deref() == Ok("1");
    assert!(goes_without, "{words}PAYBELL_TEST_WITHOUT_CLIENTS=1 leaves these tests out.");
    None
}
