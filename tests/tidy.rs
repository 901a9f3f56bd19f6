//! What can be checked of the house rules without running anything: sizes, headers, the graph of crates, names in
//! documents, versions with known holes.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test reads the tree and fails loudly"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// Every Rust file of the workspace, relative to its root, with its text.
fn sources() -> Vec<(String, String)> {
    let mut paths = Vec::new();
    for folder in ["crates", "tests"] {
        files_below(&root().join(folder), &mut paths);
    }
    paths.sort();
    let is_rust = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let relative = |path: &PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    paths.iter().filter(is_rust).map(|path| (relative(path), fs::read_to_string(path).unwrap())).collect()
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/")
        || path.starts_with("tests/")
        || path.contains("tests.rs")
        || path.contains("_tests")
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "no //! on the first line of {silent:#?}");
}

#[test]
fn files_stay_readable() {
    let before_tests = |text: &str| text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
    let long: Vec<String> = sources()
        .iter()
        .filter(|(path, _)| !is_test_file(path))
        .map(|(path, text)| (path, before_tests(text)))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "over {FILE_LINES_MAX} lines: {long:#?}");
}

#[test]
fn the_tree_names_no_place_and_no_maker() {
    let banned = ["/wo\u{72}k/", "to\u{64}o!(", "FIX\u{4d}E", "XX\u{58}"];
    let mut found = Vec::new();
    for (path, text) in sources() {
        found.extend(banned.iter().filter(|word| text.contains(*word)).map(|word| format!("{path}: {word}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The rows of ARCHITECTURE.md's table of rooms: crate → crates that it may use.
fn allowed_edges() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut allowed = BTreeMap::new();
    let table = text.split("## Rooms").nth(1).unwrap();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let names = |cell: &str| -> BTreeSet<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let name = cells[1].split('`').nth(1).unwrap().to_owned();
        allowed.insert(name, names(cells[3]));
    }
    allowed
}

#[test]
fn crates_use_what_the_architecture_allows() {
    let allowed = allowed_edges();
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let ours: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let row = allowed.get(name).unwrap_or_else(|| panic!("{name} has no row in ARCHITECTURE.md"));
        if name == "paybell" || name == "paybell-tests" {
            continue;
        }
        let used: BTreeSet<String> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
            .filter(|dependency| ours.contains(dependency.as_str()))
            .collect();
        assert!(used.is_subset(row), "{name} uses {used:?}, ARCHITECTURE.md allows {row:?}");
    }
}

/// A crate without tests beside its code is built for none (`test = false`). Whoever writes the first one there must hear
/// that it does not run.
#[test]
fn no_test_stands_where_none_is_run() {
    let is_test = |line: &str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    let mut asleep = Vec::new();
    for package in metadata()["packages"].as_array().unwrap() {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let folder = manifest.parent().unwrap().strip_prefix(root()).unwrap().join("src");
        let targets = package["targets"].as_array().unwrap();
        let library = targets.iter().find(|target| target["kind"][0] == "lib").unwrap();
        let sources = sources().into_iter().filter(|(path, _)| Path::new(path).starts_with(&folder));
        let tests = sources.filter(|(_, text)| text.lines().any(|line| is_test(line.trim())));
        asleep.extend(tests.map(|(path, _)| path).filter(|_| library["test"] == false));
    }
    assert!(asleep.is_empty(), "their Cargo.toml says test = false: {asleep:#?}");
}

#[test]
fn files_named_in_the_documents_exist() {
    let mut missing = Vec::new();
    for document in ["ARCHITECTURE.md", "README.md", "README.zh-CN.md", "CONTRIBUTING.md", "docs/promises.md"]
    {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
        let linked = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned);
        for name in quoted.chain(linked) {
            let is_path =
                ["crates/", "docs/", "tests/", "fuzz/", ".ci/"].iter().any(|top| name.starts_with(top));
            let path = name.split_whitespace().next().unwrap_or_default();
            if is_path && !root().join(path).exists() {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Documents that claim "this test holds it" must not outlive the test.
#[test]
fn tests_named_in_the_documents_exist() {
    let sources = sources();
    let mut missing = Vec::new();
    for document in ["docs/promises.md", "docs/field-tests.md"] {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let quoted: BTreeSet<&str> = text.split('`').skip(1).step_by(2).collect();
        let is_test = |name: &&&str| {
            let is_plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            is_plain && name.matches('_').count() >= 3
        };
        for name in quoted.iter().filter(is_test) {
            let function = format!("fn {name}(");
            if !sources.iter().any(|(_, text)| text.contains(&function)) {
                missing.push(format!("{document}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn both_readmes_have_the_same_commands() {
    let blocks = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(root().join(name)).unwrap();
        text.split("```").skip(1).step_by(2).map(|block| block.trim().replace(' ', "")).collect()
    };
    assert_eq!(blocks("README.md"), blocks("README.zh-CN.md"));
    let headings = |name: &str| {
        let text = fs::read_to_string(root().join(name)).unwrap();
        text.lines().filter(|line| line.starts_with("## ")).count()
    };
    assert_eq!(headings("README.md"), headings("README.zh-CN.md"));
}

/// The names that registrations in code give metrics; counters get `_total` in the exposition.
fn metric_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (path, text) in sources().iter().filter(|(path, _)| !is_test_file(path)) {
        for found in text.split("\"paybell_").skip(1).filter_map(|rest| rest.split('"').next()) {
            let is_name = found.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
            if is_name && (path.contains("metrics") || text.contains("registry.register(")) {
                names.insert(format!("paybell_{found}"));
            }
        }
    }
    names
}

#[test]
fn every_metric_is_explained_to_operators() {
    let operations = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let names = metric_names();
    assert!(names.len() >= 12, "the search for names found only {names:?}");
    let unexplained: Vec<&String> = names.iter().filter(|name| !operations.contains(name.as_str())).collect();
    assert!(unexplained.is_empty(), "not in docs/operations.md: {unexplained:?}");
}

/// Versions below these have published holes; the list is offline because the advisory database is no registry.
const MINIMUM_SAFE: [(&str, (u64, u64, u64)); 8] = [
    ("quick-xml", (0, 41, 0)),
    ("rustls", (0, 23, 45)),
    ("rustls-webpki", (0, 103, 13)),
    ("h2", (0, 4, 16)),
    ("bytes", (1, 11, 1)),
    ("time", (0, 3, 47)),
    ("crossbeam-epoch", (0, 9, 20)),
    ("lapin", (4, 12, 3)),
];

const BANNED: [&str; 7] =
    ["rustls-pemfile", "paste", "bincode", "proc-macro-error", "fxhash", "serde_yaml", "openssl-sys"];

#[test]
fn no_dependency_has_a_known_hole() {
    let lock: toml::Value =
        fs::read_to_string(root().join("Cargo.lock")).unwrap().parse::<toml::Table>().unwrap().into();
    for package in lock["package"].as_array().unwrap() {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        assert!(!BANNED.contains(&name), "{name} is banned");
        let numbers: Vec<u64> =
            version.split(['.', '-', '+']).take(3).map(|number| number.parse().unwrap_or(0)).collect();
        let found = (numbers[0], numbers[1], numbers[2]);
        if let Some((_, minimum)) = MINIMUM_SAFE.iter().find(|(known, _)| *known == name) {
            assert!(found >= *minimum, "{name} {version} is below {minimum:?}");
        }
    }
}
