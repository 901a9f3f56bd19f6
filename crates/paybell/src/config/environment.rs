//! The environment overlay: `PAYBELL__SECTION__KEY` stands over the file's `section.key`, a number names one of a
//! list. Only places values in the tree; what they mean is up to [`super::reader`].

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use super::{
    problem::Problem,
    tree::{Node, Origin, Table, Value, parse_list},
};

/// What every variable of ours begins with.
pub const PREFIX: &str = "PAYBELL__";

/// Lays the variables over the tree.
pub(super) fn overlay(
    root: &mut Table,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    // In the order of their paths, so that a list grows from its first number on.
    let mut ours = BTreeMap::new();
    for (name, value) in variables {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let variable: Arc<str> = name.into();
        let origin = Origin::Environment { variable: variable.clone() };
        match (path(&variable), value.into_string()) {
            (Some(path), Ok(text)) => {
                ours.insert(path, (variable, text));
            }
            (None, _) => problems.push(Problem::new(origin, "", "write PAYBELL__SECTION__KEY")),
            (_, Err(_)) => problems.push(Problem::new(origin, "", "its value is not UTF-8")),
        }
    }
    for (path, (variable, text)) in ours {
        let origin = Origin::Environment { variable };
        if let Err(what) =
            put_in_table(root, &path, Node { value: Value::Loose(text), origin: origin.clone() })
        {
            problems.push(Problem::new(origin, "", what));
        }
    }
    problems
}

/// A step on the way to a value; numbers sort as numbers.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Number(usize),
    Key(String),
}

fn path(variable: &str) -> Option<Vec<Step>> {
    let rest = variable.strip_prefix(PREFIX)?;
    rest.split("__")
        .map(|step| match (step, step.parse()) {
            ("", _) => None,
            (_, Ok(number)) => Some(Step::Number(number)),
            _ => Some(Step::Key(step.to_ascii_lowercase())),
        })
        .collect()
}

fn put_in_table(table: &mut Table, path: &[Step], node: Node) -> Result<(), String> {
    let Some((Step::Key(key), rest)) = path.split_first() else {
        return Err("a number can only follow the name of a list".to_owned());
    };
    let Some(next) = rest.first() else {
        table.insert(key.clone(), node);
        return Ok(());
    };
    let origin = node.origin.clone();
    let inner = table.entry(key.clone()).or_insert_with(|| Node { value: empty_for(next), origin });
    put_in(inner, key, rest, node)
}

fn put_in_list(list: &mut Vec<Node>, name: &str, path: &[Step], node: Node) -> Result<(), String> {
    let Some((Step::Number(number), rest)) = path.split_first() else {
        return Err(format!("{name} is a list: follow it by a number, the first is 0"));
    };
    let count = list.len();
    if *number > count {
        return Err(format!("there are {count} of {name}: the next number is {count}"));
    }
    if *number == count {
        let value = rest.first().map_or(Value::Loose(String::new()), empty_for);
        list.push(Node { value, origin: node.origin.clone() });
    }
    match list.get_mut(*number) {
        Some(slot) if rest.is_empty() => *slot = node,
        Some(slot) => return put_in(slot, name, rest, node),
        None => {}
    }
    Ok(())
}

fn put_in(inner: &mut Node, name: &str, path: &[Step], node: Node) -> Result<(), String> {
    // A whole list in one variable, single entries of it in others.
    if let (Value::Loose(text), Origin::Environment { variable }) = (&inner.value, &inner.origin)
        && let Ok(items) = parse_list(variable, text)
    {
        inner.value = Value::List(items);
    }
    match &mut inner.value {
        Value::Table(table) => put_in_table(table, path, node),
        Value::List(list) => put_in_list(list, name, path, node),
        _ => Err(format!("{name} is not a section")),
    }
}

fn empty_for(step: &Step) -> Value {
    match step {
        Step::Number(_) => Value::List(Vec::new()),
        Step::Key(_) => Value::Table(Table::new()),
    }
}
