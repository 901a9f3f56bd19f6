//! The owner's end of `tests/servers/guard.sh`: starts a guard, tells it what to run, and ends everything by closing its
//! pipe, however this process ends.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::root;

/// A guard, its folder and its ports.
pub struct Guard {
    child: Child,
    // `None` once it was told to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub folder: PathBuf,
    pub ports: BTreeMap<String, u16>,
}

impl Guard {
    /// Runs a script that sources `guard.sh`.
    #[track_caller]
    pub fn start(script: &str) -> Self {
        let mut child = Command::new(root().join(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{script}: {error}"));
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (folder, ports) = (PathBuf::new(), BTreeMap::new());
        let mut guard = Self { child, input, output, folder, ports };
        loop {
            let line = guard.line();
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["folder", folder] => guard.folder = folder.into(),
                ["port", name, port] => drop(guard.ports.insert(name.to_owned(), port.parse().unwrap())),
                ["ok"] => return guard,
                _ => panic!("{script}: {line}"),
            }
        }
    }

    /// Any of the servers' ports.
    #[track_caller]
    pub fn port(&self, name: impl ToString) -> u16 {
        self.ports[&name.to_string()]
    }

    /// `start`, `stop` … a server; returns when it is so.
    #[track_caller]
    pub fn tell(&mut self, command: &str) {
        writeln!(self.input.as_mut().unwrap(), "{command}").unwrap();
        let answer = self.line();
        assert_eq!(answer, "ok", "{command}\n{}", self.logs());
    }

    /// Starts a program that serves on this port.
    #[track_caller]
    pub fn launch(&mut self, name: &str, port: u16, command: &str) {
        self.write(&format!("{name}.sh"), &format!("exec {command}\n"));
        self.write(&format!("{name}.port"), &port.to_string());
        self.tell(&format!("start {name}"));
    }

    /// A file in the guard's folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// What the servers said.
    pub fn logs(&self) -> String {
        let is_log = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "log");
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        let text = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
        paths.iter().filter(is_log).map(text).collect()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.wait());
    }
}

/// The text of a configuration file with some of its places changed. Each must be there.
#[track_caller]
pub fn moved(text: &str, places: &[(&str, &str)]) -> String {
    places.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in the file");
        text.replace(from, to)
    })
}

/// The same for a path.
pub fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}
