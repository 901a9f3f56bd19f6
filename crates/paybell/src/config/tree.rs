//! The configuration as one tree of raw values, each with the place it came from. Knows no key and checks no value;
//! the file makes the tree, [`super::environment`] lays itself over it, [`super::reader`] takes it apart.

use std::{collections::BTreeMap, fmt, ops::Range, path::Path, sync::Arc};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::problem::Problem;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody wrote it: the built-in default, or its absence.
    Default,
    File {
        file: Arc<str>,
        line: usize,
    },
    /// The whole file, where there is no better place.
    WholeFile(Arc<str>),
    Environment {
        variable: Arc<str>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::WholeFile(file) => f.write_str(file),
            Self::Environment { variable } => f.write_str(variable),
        }
    }
}

/// A value and its place. Without `Debug`: it may be a key.
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

pub(super) type Table = BTreeMap<String, Node>;

pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    /// Text of an environment variable: what it means is decided by who reads it.
    Loose(String),
    List(Vec<Node>),
    Table(Table),
    /// A kind that no key takes.
    Unfit(&'static str),
}

impl Value {
    /// For messages: "a list", "text"…
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Loose(_) => "text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a section",
            Self::Unfit(kind) => kind,
        }
    }
}

/// Parses the text of a file. Whatever can be read is in the tree, whatever cannot is among the problems.
pub(super) fn parse_file(file: &Path, text: &str) -> (Table, Vec<Problem>) {
    let place = Place { name: file.display().to_string().into(), text, variable: None };
    let (table, errors) = DeTable::parse_recoverable(text);
    let problems = errors
        .iter()
        .map(|error| {
            Problem::new(place.origin(error.span()), "", format!("not valid TOML: {}", error.message()))
        })
        .collect();
    (place.table(table.into_inner()), problems)
}

/// Parses what an environment variable gives as a TOML array.
pub(super) fn parse_list(variable: &Arc<str>, text: &str) -> Result<Vec<Node>, String> {
    let place = Place { name: variable.clone(), text, variable: Some(variable) };
    let value = DeValue::parse(text).map_err(|error| format!("not a TOML list: {}", error.message()))?;
    match place.value(value.into_inner()) {
        Value::List(items) => Ok(items),
        _ => Err("not a list".to_owned()),
    }
}

struct Place<'t> {
    name: Arc<str>,
    text: &'t str,
    variable: Option<&'t Arc<str>>,
}

impl Place<'_> {
    fn origin(&self, span: Option<Range<usize>>) -> Origin {
        if let Some(variable) = self.variable {
            return Origin::Environment { variable: variable.clone() };
        }
        let before = span.and_then(|span| self.text.as_bytes().get(..span.start));
        match before {
            Some(before) => {
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                Origin::File { file: self.name.clone(), line }
            }
            None => Origin::WholeFile(self.name.clone()),
        }
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        let node = |key: Spanned<_>, value: Spanned<DeValue<'_>>| {
            // A table's own span may lie elsewhere; where its name stands is what a person looks for.
            let origin = self.origin(Some(key.span()));
            Node { origin, value: self.value(value.into_inner()) }
        };
        table.into_iter().map(|(key, value)| (key.get_ref().to_string(), node(key, value))).collect()
    }

    fn value(&self, value: DeValue<'_>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Unfit("a number beyond 64 bits"),
            },
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Float(_) => Value::Unfit("a fraction"),
            DeValue::Datetime(_) => Value::Unfit("a date"),
            DeValue::Array(items) => Value::List(
                items
                    .into_iter()
                    .map(|item| Node {
                        origin: self.origin(Some(item.span())),
                        value: self.value(item.into_inner()),
                    })
                    .collect(),
            ),
            DeValue::Table(table) => Value::Table(self.table(table)),
        }
    }
}
