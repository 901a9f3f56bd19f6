//! One thing that is wrong with the configuration: where, which key, what, and what to do. Holds no value of a
//! secret; it goes to the terminal.

use std::fmt;

use super::tree::Origin;

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    origin: Origin,
    key: String,
    what: String,
}

impl Problem {
    /// `key` is the path of the key, such as `merchant[0].api_key`; empty if none is meant.
    pub fn new(origin: Origin, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { origin, key: key.into(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.what)
    }
}

/// Everything that is wrong, one finding a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct Problems(pub Vec<Problem>);

fn lines(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&problem.to_string());
    }
    text
}
