//! The codes: each is provoked by a test and explained in both documents, and no document explains one that is gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

fn texts(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    texts(&root().join("crates/doctor/src"), &mut found);
    texts(&root().join("crates/paybell/src/command/doctor"), &mut found);
    found
}

fn split(text: &str) -> (&str, &str) {
    text.split_once("#[cfg(test)]").unwrap_or((text, ""))
}

/// A code stands behind the severity that it is found with, or in a table.
fn codes() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for (_, text) in sources() {
        let (text, _) = split(&text);
        for word in [
            "Finding::ok(",
            "Finding::hint(",
            "Finding::unseen(",
            "Finding::warning(",
            "Finding::error(",
            "code: ",
        ] {
            for after in text.split(word).skip(1) {
                if let Some(rest) = after.trim_start().strip_prefix('"') {
                    codes.insert(rest.split('"').next().unwrap().to_owned());
                }
            }
        }
    }
    codes
}

#[test]
fn every_code_is_provoked_by_a_test() {
    let mut tests = String::new();
    for (_, text) in sources() {
        tests.push_str(split(&text).1);
    }
    let mut files = Vec::new();
    texts(&root().join("crates/doctor/tests"), &mut files);
    texts(&root().join("tests/it"), &mut files);
    for (path, text) in files {
        if path.contains("doctor") {
            tests.push_str(&text);
        }
    }
    let named =
        |code: &&String| tests.contains(&format!("\"{code}\"")) || tests.contains(&format!(" {code}\""));
    let silent: Vec<String> = codes().iter().filter(|code| !named(code)).cloned().collect();
    assert!(silent.is_empty(), "no test provokes {silent:#?}");
}

#[test]
fn every_code_is_explained_in_both_documents() {
    let codes = codes();
    assert!(codes.len() > 80, "the codes are found: {}", codes.len());
    for name in ["docs/doctor.md", "docs/doctor.zh-CN.md"] {
        let text = fs::read_to_string(root().join(name)).unwrap();
        let (_, tables) = text.split_once("| code |").unwrap();
        let rows = tables.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let explained: BTreeSet<String> = rows.map(str::to_owned).collect();
        assert_eq!(codes.difference(&explained).collect::<Vec<_>>(), Vec::<&String>::new(), "not in {name}");
        assert_eq!(explained.difference(&codes).collect::<Vec<_>>(), Vec::<&String>::new(), "only in {name}");
    }
}
