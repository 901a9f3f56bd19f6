//! Takes the tree apart, key by key. What is asked for is known; what is left is refused with the nearest known
//! name. Collects every problem instead of stopping at the first, and remembers what it read for `config show`.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    exposure::{Exposure, exposed},
    problem::Problem,
    tree::{Node, Origin, Table, Value, parse_list},
};

/// One key as it is in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Of the section, such as `merchant[0]`; empty for the keys outside every section.
    pub section: String,
    pub key: &'static str,
    /// As TOML; a secret is `"***"`.
    pub value: String,
    pub origin: Origin,
}

/// What reading has brought to light so far.
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) shown: Vec<Shown>,
}

/// One section while it is read.
pub(super) struct Section<'f> {
    findings: &'f mut Findings,
    path: String,
    origin: Origin,
    table: Table,
    /// Every key asked for, and where it was written.
    known: BTreeMap<&'static str, Origin>,
}

/// Reads the whole tree; what `read` does not ask for is a problem.
pub(super) fn read_root<T>(
    table: Table,
    origin: Origin,
    findings: &mut Findings,
    read: impl FnOnce(&mut Section<'_>) -> T,
) -> T {
    let mut root = Section { findings, path: String::new(), origin, table, known: BTreeMap::new() };
    let result = read(&mut root);
    root.refuse_the_rest();
    result
}

impl Section<'_> {
    /// A text with a default, parsed.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let found = self.parsed(key, Exposure::Plain, &parse);
        found.unwrap_or_else(|| self.fall_back(key, default, Exposure::Plain, &parse))
    }

    /// A URL that may hold a password.
    pub(super) fn url<T>(
        &mut self,
        key: &'static str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        let found = self.parsed(key, Exposure::Url, &parse);
        found.unwrap_or_else(|| self.fall_back(key, default, Exposure::Url, &parse))
    }

    /// A text without a default, parsed.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed(key, Exposure::Plain, &parse)
    }

    /// The same for a URL whose query may hold a token.
    pub(super) fn address<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed(key, Exposure::UrlWithoutQuery, &parse)
    }

    /// The same for what nobody may see.
    pub(super) fn secret<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed(key, Exposure::Hidden, &parse)
    }

    pub(super) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        let given = self.take(key).and_then(|node| match &node.value {
            Value::Boolean(value) => Some(*value),
            Value::Loose(text) if text == "true" => Some(true),
            Value::Loose(text) if text == "false" => Some(false),
            other => {
                let what = format!("must be true or false (without quotes), not {}", other.kind());
                self.problem(key, what);
                None
            }
        });
        let value = given.unwrap_or(default);
        self.show(key, value.to_string());
        value
    }

    pub(super) fn integer(&mut self, key: &'static str, default: u32, range: RangeInclusive<u32>) -> u32 {
        let given = self.take(key).and_then(|node| {
            let number = match &node.value {
                Value::Integer(number) => u32::try_from(*number).ok(),
                Value::Loose(text) => text.parse().ok(),
                _ => None,
            };
            let fit = number.filter(|number| range.contains(number));
            if fit.is_none() {
                self.problem(
                    key,
                    format!("must be a whole number from {} to {}", range.start(), range.end()),
                );
            }
            fit
        });
        let value = given.unwrap_or(default);
        self.show(key, value.to_string());
        value
    }

    /// A list of texts, each parsed; in an environment variable a TOML array or `a,b,c`.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        default: &[&str],
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let given = self.take(key).and_then(|node| self.texts(key, node));
        let texts = given.unwrap_or_else(|| default.iter().map(|text| (*text).to_owned()).collect());
        self.items(key, &texts, Exposure::Plain, parse)
    }

    /// A list without a default, each entry parsed; absent is empty.
    pub(super) fn optional_list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let given = self.take(key).and_then(|node| self.texts(key, node));
        given.map(|texts| self.items(key, &texts, Exposure::Plain, parse)).unwrap_or_default()
    }

    /// The same for what nobody may see.
    pub(super) fn secret_list<T>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let given = self.take(key).and_then(|node| self.texts(key, node));
        given.map(|texts| self.items(key, &texts, Exposure::Hidden, parse)).unwrap_or_default()
    }

    /// A section; one that nobody wrote is read as empty.
    pub(super) fn section<T>(&mut self, key: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let node = self.take(key);
        let (table, origin) = match node {
            Some(Node { value: Value::Table(table), origin }) => (table, origin),
            Some(other) => {
                self.problem(
                    key,
                    format!("must be a section, [{}], not {}", self.path_of(key), other.value.kind()),
                );
                (Table::new(), other.origin)
            }
            None => (Table::new(), self.origin.clone()),
        };
        let path = self.path_of(key);
        self.read_inner(path, origin, table, read)
    }

    /// A list of sections, `[[key]]`.
    pub(super) fn sections<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let Some(node) = self.take(key) else { return Vec::new() };
        let path = self.path_of(key);
        let what = format!("must be a list of sections: write [[{path}]] above each");
        let items = match (node.value, &node.origin) {
            (Value::List(items), _) => items,
            (Value::Loose(text), Origin::Environment { variable }) => parse_list(variable, &text)
                .unwrap_or_else(|_| {
                    self.problem(key, format!("set {variable}__0__… for the keys of the first"));
                    Vec::new()
                }),
            _ => {
                self.problem(key, what.clone());
                Vec::new()
            }
        };
        let mut read_all = Vec::with_capacity(items.len());
        for (number, item) in items.into_iter().enumerate() {
            match item.value {
                Value::Table(table) => {
                    read_all.push(self.read_inner(
                        format!("{path}[{number}]"),
                        item.origin,
                        table,
                        &mut read,
                    ));
                }
                _ => self.problem(key, what.clone()),
            }
        }
        read_all
    }

    /// Something wrong with a key of this section.
    pub(super) fn problem(&mut self, key: &'static str, what: impl Into<String>) {
        let origin = match self.known.get(key) {
            Some(Origin::Default) | None => self.origin.clone(),
            Some(written) => written.clone(),
        };
        self.findings.problems.push(Problem::new(origin, self.path_of(key), what));
    }

    /// A key that was asked for must have been written.
    pub(super) fn require(&mut self, key: &'static str, what_to_give: &str) {
        if !self.is_given(key) {
            self.problem(key, format!("missing: give {what_to_give}"));
        }
    }

    /// Whether a key that was asked for had been written.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.known.get(key).is_some_and(|origin| *origin != Origin::Default)
    }

    /// To tell whether something that came up empty was refused or never written.
    pub(super) fn problem_count(&self) -> usize {
        self.findings.problems.len()
    }

    fn read_inner<T>(
        &mut self,
        path: String,
        origin: Origin,
        table: Table,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let mut inner =
            Section { findings: &mut *self.findings, path, origin, table, known: BTreeMap::new() };
        let result = read(&mut inner);
        inner.refuse_the_rest();
        result
    }

    fn take(&mut self, key: &'static str) -> Option<Node> {
        let node = self.table.remove(key);
        let origin = node.as_ref().map_or(Origin::Default, |node| node.origin.clone());
        self.known.insert(key, origin);
        node
    }

    fn parsed<T>(
        &mut self,
        key: &'static str,
        exposure: Exposure,
        parse: &impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let node = self.take(key)?;
        let (Value::Text(text) | Value::Loose(text)) = node.value else {
            self.problem(key, format!("must be text in quotes, not {}", node.value.kind()));
            return None;
        };
        self.show(key, exposed(&text, exposure));
        parse(&text).map_err(|what| self.problem(key, what)).ok()
    }

    /// The default, shown only if nothing was written.
    fn fall_back<T>(
        &mut self,
        key: &'static str,
        default: &str,
        exposure: Exposure,
        parse: &impl Fn(&str) -> Result<T, String>,
    ) -> T {
        if self.known.get(key) == Some(&Origin::Default) {
            self.show(key, exposed(default, exposure));
        }
        parse(default).expect("the defaults pass their own checks, as a test shows")
    }

    fn texts(&mut self, key: &'static str, node: Node) -> Option<Vec<String>> {
        let items = match (node.value, &node.origin) {
            (Value::List(items), _) => items,
            (Value::Loose(text), Origin::Environment { variable }) if text.trim_start().starts_with('[') => {
                parse_list(variable, text.trim()).map_err(|what| self.problem(key, what)).ok()?
            }
            (Value::Loose(text), _) => return Some(split_at_commas(&text)),
            (other, _) => {
                self.problem(key, format!("must be a list of texts, [\"…\", \"…\"], not {}", other.kind()));
                return None;
            }
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match item.value {
                Value::Text(text) | Value::Loose(text) => texts.push(text),
                other => self.problem(key, format!("must hold only texts in quotes, not {}", other.kind())),
            }
        }
        Some(texts)
    }

    fn items<T>(
        &mut self,
        key: &'static str,
        texts: &[String],
        exposure: Exposure,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let shown = texts.iter().map(|text| exposed(text, exposure)).collect::<Vec<_>>().join(", ");
        self.show(key, format!("[{shown}]"));
        let mut values = Vec::with_capacity(texts.len());
        for text in texts {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(what) => self.problem(key, what),
            }
        }
        values
    }

    fn show(&mut self, key: &'static str, value: String) {
        let origin = self.known.get(key).cloned().unwrap_or(Origin::Default);
        self.findings.shown.push(Shown { section: self.path.clone(), key, value, origin });
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn refuse_the_rest(self) {
        for (key, node) in &self.table {
            let what = refusal(key, node, &self.known);
            self.findings.problems.push(Problem::new(node.origin.clone(), self.path_of(key), what));
        }
    }
}

fn refusal(key: &str, node: &Node, known: &BTreeMap<&'static str, Origin>) -> String {
    let nearest = known.keys().max_by(|a, b| {
        let (a, b) =
            (strsim::normalized_damerau_levenshtein(key, a), strsim::normalized_damerau_levenshtein(key, b));
        a.total_cmp(&b)
    });
    let Some(nearest) = nearest else { return "unknown key".to_owned() };
    let nearest = match &node.origin {
        Origin::Environment { .. } => nearest.to_ascii_uppercase(),
        _ => (*nearest).to_owned(),
    };
    let all = known.keys().copied().collect::<Vec<_>>().join(", ");
    format!("unknown key; the nearest known one is \"{nearest}\" (known here: {all})")
}

fn split_at_commas(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}
