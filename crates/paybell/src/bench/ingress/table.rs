//! The figures of all measurements: medians over the rounds, and each contestant's ratios to the others.

use super::contestant::Sample;
use crate::bench::{
    median,
    report::{Aim, Report, Table, rounded},
    servers::Kind,
};

const CONTESTANTS: [&str; 5] = ["bare", "verify", "raw", "node", "paybell"];
/// With whom the product is compared, besides HTTP alone.
const RIVALS: [&str; 2] = ["raw", "node"];
/// What a sample holds: its name, the value, its unit.
type Column = (&'static str, fn(&Sample) -> f64, &'static str);
const MEASURED: [Column; 5] = [
    ("p50_ms", |sample| sample.p50_ms, "ms"),
    ("p99_ms", |sample| sample.p99_ms, "ms"),
    ("p999_ms", |sample| sample.p999_ms, "ms"),
    ("cpu_us_per_request", |sample| sample.cpu_us, "us"),
    ("others_percent", |sample| sample.others_percent, "% of one processor"),
];

pub fn tell(report: &mut Report, connections: &[u16], samples: &[Sample], engine: Kind) {
    let is_there = |name: &&str| samples.iter().any(|sample| sample.contestant == *name);
    let rivals: Vec<&str> = RIVALS.into_iter().filter(is_there).collect();
    let mut headers = vec!["connections", "server", "requests/s", "/ bare"];
    headers.extend(rivals.iter().map(|rival| if *rival == "raw" { "/ raw" } else { "/ node" }));
    headers.extend(["p50 ms", "p99 ms", "p99.9 ms", "cpu us/request", "others %"]);
    let mut table = Table { headers, rows: Vec::new() };
    for connections in connections {
        let round = Round { connections: *connections, samples, engine };
        for contestant in CONTESTANTS.into_iter().filter(is_there) {
            table.rows.push(round.tell(report, contestant, &rivals));
        }
    }
    report.table(table);
}

/// The samples at one number of connections.
struct Round<'a> {
    connections: u16,
    samples: &'a [Sample],
    engine: Kind,
}

impl Round<'_> {
    /// A row of the table; every cell is a figure too.
    fn tell(&self, report: &mut Report, contestant: &str, rivals: &[&str]) -> Vec<String> {
        let name = |figure: &str| format!("{}.{contestant}.{figure}", self.connections);
        let speed = self.middle(contestant, |sample| sample.per_second);
        report.cell(name("requests_per_second"), speed, "1/s");
        let mut row = vec![self.connections.to_string(), contestant.to_owned(), rounded(speed)];
        for rival in ["bare"].iter().chain(rivals) {
            // The client library alone does another job than servers do; only the product is compared with all.
            let is_told = matches!((contestant, *rival), ("paybell", _) | ("verify" | "node", "bare"));
            if !is_told {
                row.push(if contestant == *rival { rounded(1.0) } else { "-".to_owned() });
                continue;
            }
            let ratio = self.ratio(contestant, rival);
            self.tell_figure(report, contestant, (&format!("to_{rival}"), ratio, ""));
            row.push(rounded(ratio));
        }
        for (figure, value, unit) in MEASURED {
            let middle = self.middle(contestant, value);
            self.tell_figure(report, contestant, (figure, middle, unit));
            row.push(rounded(middle));
        }
        row
    }

    fn tell_figure(&self, report: &mut Report, contestant: &str, figure: (&str, f64, &'static str)) {
        let (figure, value, unit) = figure;
        let name = format!("{}.{contestant}.{figure}", self.connections);
        match self.aim(contestant, figure) {
            Some(aim) => report.aimed(name, value, unit, aim),
            None => report.cell(name, value, unit),
        }
    }

    fn aim(&self, contestant: &str, figure: &str) -> Option<Aim> {
        match (contestant, self.engine, self.connections, figure) {
            ("paybell", Kind::Embedded, 64 | 256, "to_bare") => Some(Aim::AtLeast(0.45)),
            ("paybell", Kind::Embedded, 64, "p99_ms") => Some(Aim::AtMost(10.0)),
            ("paybell", Kind::Cluster, 256, "to_raw") => Some(Aim::AtLeast(0.58)),
            ("paybell", Kind::Cluster, 256, "to_node") => Some(Aim::AtLeast(3.5)),
            ("paybell", Kind::Cluster, 256, "p99_ms") => Some(Aim::AtMost(35.0)),
            ("paybell", Kind::Cluster, 256, "cpu_us_per_request") => Some(Aim::AtMost(50.0)),
            _ => None,
        }
    }

    fn of<'s>(&'s self, contestant: &'s str) -> impl Iterator<Item = &'s Sample> {
        let is_it =
            move |sample: &&Sample| sample.connections == self.connections && sample.contestant == contestant;
        self.samples.iter().filter(is_it)
    }

    fn middle(&self, contestant: &str, value: fn(&Sample) -> f64) -> f64 {
        median(self.of(contestant).map(value))
    }

    /// Round by round: a disturbance hits both.
    fn ratio(&self, contestant: &str, rival: &str) -> f64 {
        let pairs = self.of(contestant).zip(self.of(rival));
        median(pairs.map(|(one, other)| one.per_second / other.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(contestant: &'static str, per_second: f64) -> Sample {
        let (p50_ms, p99_ms, p999_ms, cpu_us, others_percent) = (1.0, 36.0, 50.0, 40.0, 90.0);
        Sample { contestant, connections: 256, per_second, p50_ms, p99_ms, p999_ms, cpu_us, others_percent }
    }

    #[test]
    fn ratios_are_of_the_same_round_and_only_the_product_has_aims() {
        let rounds = [("bare", 100.0), ("raw", 40.0), ("node", 5.0), ("paybell", 20.0)];
        let twice = rounds.map(|(name, speed)| (name, speed * 2.0));
        let samples: Vec<Sample> =
            rounds.into_iter().chain(twice).map(|(name, speed)| sample(name, speed)).collect();
        let mut report = Report::begin("ingress");
        tell(&mut report, &[256], &samples, Kind::Cluster);
        let document = report.as_json();
        let figure = |name: &str| document["figures"][name].as_f64();
        assert_eq!(figure("256.paybell.to_raw"), Some(0.5));
        assert_eq!(figure("256.paybell.to_node"), Some(4.0));
        assert_eq!(figure("256.paybell.to_bare"), Some(0.2));
        assert_eq!(figure("256.node.to_bare"), Some(0.05));
        assert_eq!(figure("256.bare.to_bare"), None, "a baseline has no ratio to itself");
        assert_eq!((figure("256.raw.to_bare"), figure("256.raw.to_node")), (None, None), "another job");
        let aims = document["aims"].as_object().unwrap();
        assert_eq!(aims.len(), 4, "{aims:?}");
        assert_eq!(aims["256.paybell.to_raw"]["met"], false);
        assert_eq!(aims["256.paybell.to_node"]["met"], true);
        assert_eq!(aims["256.paybell.p99_ms"]["met"], false);
        assert_eq!(aims["256.paybell.cpu_us_per_request"]["met"], true);
    }
}
