//! Takes a changed configuration without a restart: at SIGHUP, and when the file or one that it names has changed.
//!
//! ```text
//! a signal, or other contents that hold still → read, until nothing changes meanwhile → `config check`
//!   → refused: nothing changes, every problem is logged
//!   → sound: prepare everything that may fail → swap → name what needs a restart
//! ```
//!
//! Requests in hand end with what they began with. It changes merchants, certificates of listeners and tokens; it binds
//! nothing, closes no connection, and opens no engine.

mod difference;
mod standing;
mod targets;
mod watch;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use super::signals::Hangups;
use crate::config::{Config, DEFAULT_FILE, Merchant, Problems, Shown, load, process_environment};
use difference::{Fixed, Merchants, files};
use standing::Outcome;
use targets::Prepared;
use watch::{Printer, Prints, Sight, Watch, is_stream};

pub use standing::Standing;
pub use targets::{Targets, Worker};

/// Between two looks at the files; a change is taken when two looks in a row see the same.
const LOOK_GAP: Duration = Duration::from_secs(2);
/// Between two readings during which something changed.
const AGREE_GAP: Duration = Duration::from_millis(200);
/// Readings during which something changed, before the next look has to do.
const READINGS_MAX: usize = 10;
/// Names in one line of the log.
const NAMES_MAX: usize = 12;

/// What a process read at its start, and how to go on from there.
pub struct Beginning {
    /// As `--config` said.
    file: Option<PathBuf>,
    shown: Vec<Shown>,
    prints: Prints,
    printer: Printer,
}

impl Beginning {
    /// The file that was read, for messages.
    pub fn file_name(&self) -> String {
        self.file.as_deref().unwrap_or(Path::new(DEFAULT_FILE)).display().to_string()
    }
}

/// Keeps a running process up to its configuration.
pub struct Reload {
    file: Option<PathBuf>,
    hangups: Hangups,
    targets: Targets,
    standing: Standing,
    printer: Printer,
    watch: Watch,
    running: Running,
}

/// The configuration in effect.
struct Running {
    /// The files as they were then.
    prints: Prints,
    merchants: Vec<Merchant>,
    /// What only a restart changes, as the process began with it.
    fixed: Fixed,
    /// The keys that differ from it by now.
    needs_restart: Vec<String>,
}

/// One reading of everything.
struct Reading {
    prints: Prints,
    shown: Vec<Shown>,
    /// In words, if it cannot be used.
    config: Result<(Box<Config>, Prepared), Vec<String>>,
}

/// Reads for the start of a process.
pub fn begin(file: Option<PathBuf>) -> Result<(Beginning, Config), Problems> {
    let printer = Printer::default();
    let mut loaded = load(file.as_deref(), process_environment());
    let mut prints = printer.take(&named_files(file.as_deref(), &loaded.shown));
    // A change between the two would never be seen, so both again until they agree: from then on the first look sees
    // it. A pipe is read once only.
    for _ in 0..READINGS_MAX {
        if prints.paths().iter().any(|path| is_stream(path)) {
            break;
        }
        loaded = load(file.as_deref(), process_environment());
        let now = printer.take(&named_files(file.as_deref(), &loaded.shown));
        if std::mem::replace(&mut prints, now.clone()) == now {
            break;
        }
    }
    let shown = loaded.shown.clone();
    Ok((Beginning { file, shown, prints, printer }, loaded.checked()?))
}

impl Reload {
    /// Over the process that runs `config`.
    pub fn new(
        beginning: Beginning,
        config: &Config,
        hangups: Hangups,
        targets: Targets,
        standing: Standing,
    ) -> Self {
        let Beginning { file, shown, prints, printer } = beginning;
        let running = Running {
            prints: prints.clone(),
            merchants: config.merchants.clone(),
            fixed: Fixed::of(config, &shown, &prints),
            needs_restart: Vec::new(),
        };
        Self { file, hangups, targets, standing, printer, watch: Watch::new(prints), running }
    }

    /// Watches and reloads until `drain` is cancelled.
    pub async fn run(mut self, drain: CancellationToken) {
        tokio::select! {
            () = drain.cancelled() => {}
            () = self.keep_current() => {}
        }
    }

    async fn keep_current(&mut self) {
        let mut looks = interval(LOOK_GAP);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.hangups.next() => {
                    tracing::info!("SIGHUP: reading the configuration");
                    self.reload().await;
                }
                _ = looks.tick() => self.look().await,
            }
        }
    }

    async fn look(&mut self) {
        let (printer, paths) = (self.printer.clone(), self.watch.paths());
        let Ok(prints) = spawn_blocking(move || printer.take(&paths)).await else { return };
        if self.watch.look(prints) == Sight::Settled {
            tracing::info!("the configuration or a file that it names has changed: reading it");
            self.reload().await;
        }
    }

    async fn reload(&mut self) {
        match self.read().await {
            Some(reading) => self.judge(reading),
            None => tracing::warn!("the configuration changes while it is read: looking again"),
        }
    }

    /// Reads until nothing changes meanwhile.
    async fn read(&self) -> Option<Reading> {
        for _ in 0..READINGS_MAX {
            let (file, printer) = (self.file.clone(), self.printer.clone());
            let (known, running) = (self.watch.paths(), self.running.prints.paths());
            match spawn_blocking(move || read(file.as_deref(), &printer, &known, &running)).await {
                Ok(Some(reading)) => return Some(reading),
                Ok(None) => sleep(AGREE_GAP).await,
                Err(error) => {
                    tracing::error!(error = %error, "reading the configuration failed: {error}");
                    return None;
                }
            }
        }
        None
    }

    /// Takes a reading, or leaves everything as it is.
    fn judge(&mut self, reading: Reading) {
        let Reading { prints, shown, config } = reading;
        self.watch.judged(prints.clone());
        let outcome = if prints == self.running.prints {
            tracing::info!("the configuration is the one that runs");
            Outcome::Unchanged
        } else {
            let taken = config.and_then(|(config, prepared)| {
                let fixed = Fixed::of(&config, &shown, &prints);
                let adopted = self.targets.adopt(&config, prepared);
                adopted.map_err(|error| vec![error.to_string()])?;
                self.took(*config, &fixed, prints);
                Ok(())
            });
            match taken {
                Ok(()) => Outcome::Applied,
                Err(problems) => {
                    log_refusal(&problems);
                    Outcome::Refused
                }
            }
        };
        self.standing.tell(outcome, &self.running.needs_restart);
    }

    /// Says what has changed, and what has not.
    fn took(&mut self, config: Config, fixed: &Fixed, prints: Prints) {
        let merchants = Merchants::between(&self.running.merchants, &config.merchants);
        let changed: Vec<String> =
            prints.differing(&self.running.prints).map(|path| path.display().to_string()).collect();
        let (added, removed) = (names(&merchants.added), names(&merchants.removed));
        let (changed_merchants, changed_files) = (names(&merchants.changed), names(&changed));
        tracing::info!(
            added,
            removed,
            changed = changed_merchants,
            files = changed_files,
            "the new configuration is in effect: merchants added {added}, removed {removed}, changed \
             {changed_merchants}; files changed: {changed_files}"
        );
        for mch_id in &merchants.without_former_key {
            tracing::warn!(
                merchant.mch_id = mch_id,
                "the API key of merchant {mch_id} was replaced, and the former one is not its previous_api_key: what \
                 is still signed with that one is refused"
            );
        }
        self.running.needs_restart = self.running.fixed.differing(fixed).into_iter().collect();
        if !self.running.needs_restart.is_empty() {
            let keys = names(&self.running.needs_restart);
            tracing::warn!(keys, "changed, but needs a restart to take effect: {keys}");
        }
        self.running.merchants = config.merchants;
        self.running.prints = prints;
    }
}

fn log_refusal(problems: &[String]) {
    let count = problems.len();
    tracing::error!(count, "the new configuration is refused, the one before runs on; problems: {count}");
    for problem in problems {
        tracing::error!("{problem}");
    }
}

/// Reads everything; `None` if a file changed meanwhile. Blocks. `known` are the files that were judged last, `running`
/// those of the configuration in effect.
fn read(
    file: Option<&Path>,
    printer: &Printer,
    known: &BTreeSet<PathBuf>,
    running: &BTreeSet<PathBuf>,
) -> Option<Reading> {
    let spent = |stream: &Path, prints| {
        let what = format!("{}: is a pipe or a device, which cannot be read again", stream.display());
        Some(Reading { prints, shown: Vec::new(), config: Err(vec![what]) })
    };
    if let Some(stream) = file.filter(|file| is_stream(file)) {
        return spent(stream, Prints::default());
    }
    // Opening a pipe that was emptied at the start would wait for ever.
    if let Some(stream) = running.iter().find(|path| is_stream(path)) {
        return spent(stream, printer.take(known));
    }
    let shown = load(file, process_environment()).shown;
    let mut paths = named_files(file, &shown);
    if shown.is_empty() {
        // The file cannot be read as a whole: what it named before tells when it is worth another reading.
        paths.extend(known.iter().cloned());
    }
    let before = printer.take(&paths);
    let loaded = load(file, process_environment());
    let shown = loaded.shown.clone();
    let config =
        loaded.checked().map_err(|Problems(problems)| problems.iter().map(ToString::to_string).collect());
    let config = config.and_then(|config| match Prepared::of(&config) {
        Ok(prepared) => Ok((Box::new(config), prepared)),
        Err(error) => Err(vec![error.to_string()]),
    });
    let prints = printer.take(&paths);
    (prints == before).then_some(Reading { prints, shown, config })
}

/// The configuration itself, and every file that it names.
fn named_files(file: Option<&Path>, shown: &[Shown]) -> BTreeSet<PathBuf> {
    let itself = file.unwrap_or(Path::new(DEFAULT_FILE)).to_owned();
    std::iter::once(itself).chain(shown.iter().flat_map(files)).collect()
}

/// The first of them; "none" if there are none.
fn names(all: &[String]) -> String {
    let first = all.iter().take(NAMES_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len() {
        0 => "none".to_owned(),
        count if count > NAMES_MAX => format!("{first} and {} more", count - NAMES_MAX),
        _ => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_came_through_a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let [file, pipe] = ["paybell.toml", "key"].map(|name| folder.path().join(name));
        let merchant = "[[merchant]]\nmch_id = \"1900000109\"\napp_ids = [\"wx8888888888888888\"]\n";
        let text = format!("{merchant}api_key_file = \"{}\"\n", pipe.display());
        std::fs::write(&file, text).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let running = BTreeSet::from([file.clone(), pipe.clone()]);
        let reading = read(Some(&file), &Printer::default(), &running, &running).unwrap();
        let problems = reading.config.err().unwrap();
        assert!(problems[0].contains(&pipe.display().to_string()), "{problems:?}");
        assert_eq!(reading.prints.paths(), running, "they are watched on");
    }
}
