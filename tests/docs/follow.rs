//! Runs the commands of a page and compares what they print with what the page shows.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::page::{Block, Page};

/// Far longer than a page takes.
const PATIENCE: Duration = Duration::from_secs(150);
/// For pages of which a command never ends.
const SHORT_PATIENCE: Duration = Duration::from_secs(5);

/// Between the output of two blocks.
const MARK: &str = "@@ end of block";

/// Follows the page; panics where something is not as it says.
pub fn follow(page: &Page) {
    let blocks: Vec<&Block> = page.blocks.iter().filter(|block| block.language == "sh").collect();
    assert!(!blocks.is_empty(), "nothing to follow");
    let (folder, script) = (TempDir::new().unwrap(), script(&blocks));
    let patience = if script.contains("sleep 600") { SHORT_PATIENCE } else { PATIENCE };
    let (is_done, output) = run(&script, &folder, patience);
    let outputs: Vec<&str> = output.split(&format!("{MARK}\n")).collect();
    assert!(
        is_done && outputs.len() == blocks.len() + 1,
        "a command failed; all output:\n{output}{}",
        logs(&folder)
    );
    for (number, shown) in shown(&page.blocks).into_iter().enumerate() {
        let printed = outputs.get(number).copied().unwrap_or_default();
        if let Some(shown) = shown {
            compare(shown, printed);
        }
    }
}

fn script(blocks: &[&Block]) -> String {
    let run = |block: &&Block| format!("{}\necho '{MARK}'\n", block.lines.join("\n"));
    // `set -m` gives background commands their job numbers; a command that fails ends everything.
    format!("set -emu -o pipefail\n{}", blocks.iter().map(run).collect::<String>())
}

/// For each `sh` block what the page shows right after it.
fn shown(blocks: &[Block]) -> Vec<Option<&Block>> {
    let of = |at: usize| blocks.get(at + 1).filter(|block| block.language == "text");
    blocks.iter().enumerate().filter(|(_, block)| block.language == "sh").map(|(at, _)| of(at)).collect()
}

/// Whether it ended well in time, and what it printed.
fn run(script: &str, folder: &TempDir, patience: Duration) -> (bool, String) {
    let mut command = own_network();
    let (output, copy) = (folder.path().join(".output"), folder.path().join(".script"));
    std::fs::write(&copy, script).unwrap();
    let file = std::fs::File::create(&output).unwrap();
    command.arg(&copy).current_dir(folder.path()).env("PATH", path()).env("HOME", folder.path());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PAYBELL")) {
        command.env_remove(name);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .process_group(0)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if begun.elapsed() > patience => break None,
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    end_all(&mut child, folder);
    (status.is_some_and(|status| status.success()), std::fs::read_to_string(&output).unwrap())
}

/// Every process that works in the folder is of this page, whatever became of the script.
fn end_all(child: &mut std::process::Child, folder: &TempDir) {
    let _ = child.kill();
    let _ = child.wait();
    let folder = folder.path().canonicalize().unwrap();
    for process in std::fs::read_dir("/proc").unwrap().map_while(Result::ok) {
        let is_of_page = std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder);
        if let (true, Ok(id)) = (is_of_page, process.file_name().to_string_lossy().parse::<u32>()) {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
        }
    }
}

/// A shell with a loopback of its own, if the system gives one.
fn own_network() -> Command {
    let up = ["-rn", "sh", "-c", "ip link set lo up"];
    if Command::new("unshare").args(up).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        let mut command = Command::new("unshare");
        command.args(["-rn", "sh", "-c", "ip link set lo up && exec bash \"$1\"", "sh"]);
        return command;
    }
    let _ = writeln!(std::io::stderr(), "\nno network of its own: the ports of the page must be free");
    Command::new("bash")
}

fn path() -> String {
    let test = std::env::current_exe().unwrap();
    let folder: PathBuf = test.ancestors().nth(2).unwrap().to_owned();
    assert!(folder.join("paybell").is_file(), "paybell is missing: run `cargo build -p paybell` first");
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

/// Line by line; `…` stands for anything, and blanks count as one.
fn compare(shown: &Block, printed: &str) {
    let lines: Vec<String> = printed.lines().map(plain).filter(|line| !line.is_empty()).collect();
    let wanted: Vec<String> =
        shown.lines.iter().map(|line| plain(line)).filter(|line| !line.is_empty()).collect();
    let fits =
        wanted.len() == lines.len() && wanted.iter().zip(&lines).all(|(wanted, line)| is_like(wanted, line));
    assert!(fits, "the page shows\n  {}\nand this came out\n  {}", wanted.join("\n  "), lines.join("\n  "));
}

/// Listings are in columns for a person and with tabs for a program.
fn plain(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_like(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split('…').map(str::trim);
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut is_open = false;
    for part in parts {
        is_open = true;
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty() || (is_open && wanted.ends_with('…'))
}

/// What the programs of the page wrote, for whoever looks for the reason.
fn logs(folder: &TempDir) -> String {
    let mut text = String::new();
    for file in std::fs::read_dir(folder.path()).unwrap().map_while(Result::ok) {
        let name = file.file_name().to_string_lossy().into_owned();
        if name.ends_with(".log") {
            let log = std::fs::read_to_string(file.path()).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(15).collect();
            text.push_str(&format!("-- {name}\n{}\n", tail.into_iter().rev().collect::<Vec<_>>().join("\n")));
        }
    }
    text
}
