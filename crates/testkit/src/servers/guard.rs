//! The owner's end of a guard: starts the script, speaks its lines, ends it by closing its pipe. What the lines mean
//! stands in `tests/servers/guard.sh`. It knows nothing of what kind of server it guards.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

const LOG_TAIL_LINES: usize = 30;

/// A guard and the servers under it. Dropping the last handle ends them, and returns when they are gone.
#[derive(Clone)]
pub(super) struct Guard(Arc<Shared>);

struct Shared {
    folder: PathBuf,
    ports: BTreeMap<String, u16>,
    // Taken when it ends: the closed pipe is the sign.
    pipes: Mutex<Option<Pipes>>,
    process: Mutex<Child>,
}

struct Pipes {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Guard {
    /// Starts `tests/servers/SCRIPT` and waits until its servers serve.
    pub(super) async fn start(script: &'static str, args: Vec<String>) -> Self {
        off_the_runtime(move || Self::start_now(script, &args)).await
    }

    fn start_now(script: &str, args: &[String]) -> Self {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/servers")).join(script);
        // A group of its own: a terminal's interrupt ends us, and through us the guard, in this order.
        let mut process = Command::new(&path)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", path.display()));
        let to = process.stdin.take().expect("its standard input is piped");
        let from = BufReader::new(process.stdout.take().expect("its standard output is piped"));
        let mut pipes = Pipes { to, from };
        let (mut folder, mut ports) = (PathBuf::new(), BTreeMap::new());
        let answer = loop {
            let line = pipes.line();
            match line.split_once(' ') {
                Some(("folder", path)) => folder = PathBuf::from(path),
                Some(("port", rest)) => {
                    let (name, port) = rest.split_once(' ').expect("a port line has a name and a number");
                    ports.insert(name.to_owned(), port.parse().expect("a port is a number"));
                }
                _ => break line,
            }
        };
        let pipes = Mutex::new(Some(pipes));
        let guard = Self(Arc::new(Shared { folder, ports, pipes, process: Mutex::new(process) }));
        guard.expect_ok(script, &answer);
        guard
    }

    /// One command for one server: start, stop, kill, pause or resume. Returns when it is so.
    pub(super) async fn tell(&self, what: &'static str, name: &str) {
        let (guard, command) = (self.clone(), format!("{what} {name}"));
        off_the_runtime(move || {
            let answer = {
                let mut pipes = guard.0.pipes.lock().unwrap_or_else(PoisonError::into_inner);
                pipes.as_mut().expect("the pipes are taken only by the last owner").ask(&command)
            };
            guard.expect_ok(&command, &answer);
        })
        .await;
    }

    /// The loopback port of a server.
    pub(super) fn port(&self, name: &str) -> u16 {
        *self.0.ports.get(name).unwrap_or_else(|| panic!("the guard has no server {name}"))
    }

    /// Where the servers keep their things.
    pub(super) fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// The process number of a server that was started.
    pub(super) fn process_id(&self, name: &str) -> u32 {
        let path = self.0.folder.join(format!("{name}.pid"));
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim().parse().expect("the guard writes a number")
    }

    fn expect_ok(&self, command: &str, answer: &str) {
        if answer != "ok" {
            panic!("tests/servers: {command}: {answer}\n{}", self.log_tails());
        }
    }

    /// The last lines of every log.
    pub(super) fn log_tails(&self) -> String {
        let mut tails = String::new();
        let entries = fs::read_dir(&self.0.folder).into_iter().flatten().flatten();
        for path in
            entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "log"))
        {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines.iter().skip(lines.len().saturating_sub(LOG_TAIL_LINES));
            tails.push_str(&format!("-- the end of {} --\n", path.display()));
            tail.for_each(|line| tails.push_str(&format!("{line}\n")));
        }
        tails
    }
}

impl Pipes {
    fn ask(&mut self, command: &str) -> String {
        match writeln!(self.to, "{command}") {
            Ok(()) => self.line(),
            Err(error) => format!("the guard is gone: {error}"),
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        match self.from.read_line(&mut line) {
            Ok(1..) => line.trim_end().to_owned(),
            Ok(_) => "the guard ended".to_owned(),
            Err(error) => format!("the guard cannot be read: {error}"),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        *self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        let _ = self.process.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

/// Runs what blocks where it stops no task.
pub(super) async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(cause) => std::panic::resume_unwind(cause),
            Err(error) => panic!("the runtime ended under a test's server: {error}"),
        },
    }
}

/// Runs a program to its end and gives what it printed; falls if it failed.
pub(super) async fn output_of(command: Command) -> String {
    try_output_of(command).await.unwrap_or_else(|failure| panic!("{failure}"))
}

/// Runs a program to its end and gives what it printed, or how it failed.
pub(super) async fn try_output_of(mut command: Command) -> Result<String, String> {
    let run = move || {
        let output = command.stdin(Stdio::null()).output();
        (command, output)
    };
    let (command, output) = off_the_runtime(run).await;
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => {
            Err(format!("{command:?}: {}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr)))
        }
    }
}
