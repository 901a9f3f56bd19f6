//! What an operator installs, held to what it is installed for: every file parses, every command, variable, port,
//! secret and metric that a file names exists, and the servers' own files run on real servers. Knows nothing of what
//! Paybell does; a container engine and Kubernetes are not run here, and the files say so in their heads.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test drives real servers and fails loudly"
)]

mod compose;
mod configuration;
mod documents;
mod guard;
mod image;
mod kubernetes;
mod nginx;
mod prometheus;
mod rabbitmq;
mod redis;
mod refunds;
mod shadow;
mod systemd;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use serde_json::Value;

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[track_caller]
fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document of a YAML file, anchors and merges resolved.
#[track_caller]
fn yaml(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The texts of a list.
#[track_caller]
fn texts(list: &Value) -> Vec<&str> {
    let items = list.as_array().unwrap_or_else(|| panic!("{list} is no list"));
    items.iter().map(|item| item.as_str().unwrap_or_else(|| panic!("{item} is no text"))).collect()
}

/// Every file below a folder of the repository.
fn files_below(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// A program that not every machine has; without it the test says so, past the test runner's capture, and checks less.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    if found.is_none() {
        let name = thread::current().name().unwrap_or("a test").to_owned();
        let _ = writeln!(std::io::stderr(), "\nSKIPPED {name}: {program} is not installed");
    }
    found
}

/// What a program printed; it must end well.
#[track_caller]
fn output_of(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    said
}

/// `deploy/make-secrets` into a folder.
fn make_secrets(folder: &Path) {
    output_of(Command::new(root().join("deploy/make-secrets")).arg(folder));
}
