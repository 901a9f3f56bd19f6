//! What a benchmark found: figures by name, each with its unit and perhaps an aim. Measures nothing; prints a table
//! for people or one JSON document for programs.

use serde_json::{Map, Value, json};

use super::machine::Machine;
use crate::{error::Error, output};

/// The figures of one benchmark.
pub struct Report {
    bench: &'static str,
    machine: Machine,
    /// How it was measured: one sentence each.
    method: Vec<String>,
    figures: Vec<Figure>,
    table: Option<Table>,
}

/// A table for people; everything in it is among the figures too.
pub struct Table {
    pub headers: Vec<&'static str>,
    pub rows: Vec<Vec<String>>,
}

struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    aim: Option<Aim>,
    is_in_table: bool,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

impl Aim {
    fn is_met(self, value: f64) -> bool {
        match self {
            Aim::AtLeast(bound) => value >= bound,
            Aim::AtMost(bound) => value <= bound,
        }
    }

    fn describe(self) -> String {
        match self {
            Aim::AtLeast(bound) => format!(">= {}", rounded(bound)),
            Aim::AtMost(bound) => format!("<= {}", rounded(bound)),
        }
    }
}

impl Report {
    /// Nothing found yet, on this machine as it is now.
    pub fn begin(bench: &'static str) -> Self {
        Self { bench, machine: Machine::look(), method: Vec::new(), figures: Vec::new(), table: None }
    }

    pub fn method(&mut self, sentence: impl Into<String>) {
        self.method.push(sentence.into());
    }

    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.add(name.into(), value, unit);
    }

    /// A figure that people find in the table.
    pub fn cell(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.add(name.into(), value, unit).is_in_table = true;
    }

    pub fn aimed(&mut self, name: impl Into<String>, value: f64, unit: &'static str, aim: Aim) {
        self.add(name.into(), value, unit).aim = Some(aim);
    }

    pub fn table(&mut self, table: Table) {
        self.table = Some(table);
    }

    pub fn print(&self, is_json: bool) -> Result<(), Error> {
        if is_json { output::json(&self.as_json()) } else { self.as_text() }
    }

    fn add(&mut self, name: String, value: f64, unit: &'static str) -> &mut Figure {
        self.figures.push_mut(Figure { name, value, unit, aim: None, is_in_table: false })
    }

    pub fn as_json(&self) -> Value {
        let value = |figure: &Figure| json!(figure.value.is_finite().then_some(figure.value));
        let figures: Map<String, Value> =
            self.figures.iter().map(|figure| (figure.name.clone(), value(figure))).collect();
        let units: Map<String, Value> =
            self.figures.iter().map(|figure| (figure.name.clone(), json!(figure.unit))).collect();
        let aims: Map<String, Value> = self
            .aims()
            .map(|(figure, aim)| {
                let told = json!({ "aim": aim.describe(), "met": aim.is_met(figure.value) });
                (figure.name.clone(), told)
            })
            .collect();
        json!({
            "bench": self.bench,
            "machine": self.machine.as_json(),
            "method": self.method,
            "figures": figures,
            "units": units,
            "aims": aims,
        })
    }

    fn as_text(&self) -> Result<(), Error> {
        output::line(&self.machine.describe())?;
        for sentence in &self.method {
            output::line(sentence)?;
        }
        output::line("")?;
        if let Some(table) = &self.table {
            output::table(&table.headers, &table.rows)?;
            output::line("")?;
        }
        let row = |figure: &Figure| vec![figure.name.clone(), rounded(figure.value), figure.unit.to_owned()];
        let rows: Vec<_> = self.figures.iter().filter(|figure| !figure.is_in_table).map(row).collect();
        output::table(&["figure", "value", "unit"], &rows)?;
        let row = |(figure, aim): (&Figure, Aim)| {
            let met = if aim.is_met(figure.value) { "met" } else { "missed" };
            vec![figure.name.clone(), rounded(figure.value), aim.describe(), met.to_owned()]
        };
        let rows: Vec<_> = self.aims().map(row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        output::line("")?;
        output::table(&["aim", "found", "wanted", ""], &rows)
    }

    fn aims(&self) -> impl Iterator<Item = (&Figure, Aim)> {
        self.figures.iter().filter_map(|figure| figure.aim.map(|aim| (figure, aim)))
    }
}

/// Three digits that matter, and no more behind the point than those.
pub fn rounded(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_in_the_document_with_its_aim_judged() {
        let mut report = Report::begin("ledger");
        report.method("counted by hand");
        report.figure("seen", 7.0, "orders");
        report.aimed("speed", 19_999.0, "orders/s", Aim::AtLeast(20_000.0));
        report.aimed("wait", 40.0, "ms", Aim::AtMost(40.0));
        let document = report.as_json();
        assert_eq!(document["figures"], json!({ "seen": 7.0, "speed": 19_999.0, "wait": 40.0 }));
        assert_eq!(document["units"]["speed"], "orders/s");
        assert_eq!(document["aims"]["speed"], json!({ "aim": ">= 20000", "met": false }));
        assert_eq!(document["aims"]["wait"]["met"], true);
        assert_eq!(document["aims"].get("seen"), None);
        assert_eq!(document["method"][0], "counted by hand");
    }

    #[test]
    fn a_figure_that_could_not_be_had_is_null_and_misses_its_aim() {
        let mut report = Report::begin("ledger");
        report.aimed("speed", f64::NAN, "orders/s", Aim::AtLeast(1.0));
        let document = report.as_json();
        assert_eq!(document["figures"]["speed"], Value::Null);
        assert_eq!(document["aims"]["speed"]["met"], false);
    }
}
