//! The machine a benchmark ran on, and how busy it was: from `/proc`. Where that is not to be had, figures are absent
//! or zero, never made up.

use std::{fs, num::NonZero, time::Duration};

use serde_json::{Value, json};

/// Linux tells processor time in hundredths of a second, whatever the kernel ticks in.
const TICK: Duration = Duration::from_millis(10);

/// What the figures depend on.
pub struct Machine {
    processors: usize,
    model: String,
    kernel: String,
    load_before: String,
}

impl Machine {
    pub fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let model = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or_else(|| "unknown".to_owned(), |(_, model)| model.to_owned());
        let load_before = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
        Self {
            processors: std::thread::available_parallelism().map_or(1, NonZero::get),
            model,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_before,
        }
    }

    pub fn as_json(&self) -> Value {
        json!({
            "processors": self.processors,
            "model": self.model,
            "kernel": self.kernel,
            "load_before": self.load_before,
            "build": build(),
        })
    }

    pub fn describe(&self) -> String {
        let Self { processors, model, kernel, load_before } = self;
        let build = build();
        format!("{processors} processors ({model}), Linux {kernel}, load before {load_before}, {build} build")
    }
}

fn build() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu: Duration,
    pub rss_peak_kb: u64,
}

impl Usage {
    /// Of the process with this id; `"self"` is this one.
    pub fn of(process: &str) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
        Self {
            cpu: cpu_of(&read("stat")).unwrap_or_default(),
            rss_peak_kb: peak_of(&read("status")).unwrap_or(0),
        }
    }

    pub fn rss_peak_mb(self) -> f64 {
        super::float(self.rss_peak_kb) / 1024.0
    }
}

/// Processor time of the whole machine that was not idle, time stolen by its host included.
pub fn busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    busy_of(&stat).unwrap_or_default()
}

/// The name is in parentheses and may hold anything: fields count from the last one.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let mut fields = behind_name.split(' ').skip(11);
    let (user, system): (u32, u32) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(TICK * user.saturating_add(system))
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// user nice system idle iowait irq softirq steal
fn busy_of(stat: &str) -> Option<Duration> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
    let idle = ticks.iter().skip(3).take(2).sum::<u64>();
    Some(Duration::from_millis(10).saturating_mul(u32::try_from(ticks.iter().sum::<u64>() - idle).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_s_time_is_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 123 77 5 5 20 0 4 0 100 1000 200";
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(2_000)), "children are not counted");
        assert_eq!(cpu_of("nonsense"), None);
    }

    #[test]
    fn the_peak_and_the_busy_time_are_read() {
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t   65536 kB\nVmRSS:\t 1 kB\n"), Some(65_536));
        assert_eq!(busy_of("cpu  100 1 50 1000 10 0 9 40 0 0\ncpu0 1\n"), Some(Duration::from_secs(2)));
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(Usage::of("self").rss_peak_kb > 0);
    }
}
