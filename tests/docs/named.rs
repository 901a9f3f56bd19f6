//! Pages and chapters that programs and installed files send somebody to: they are there, under that name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::page::Page;

/// Stands for a quotation mark, however it is written.
const QUOTE: char = '\u{1}';

/// A chapter is named right behind its page.
const BETWEEN_CHARS_MAX: usize = 40;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let is_left_out = entry.file_name() == "tests" || entry.file_name() == "node_modules";
        if path.is_dir() && !is_left_out {
            files_below(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

/// The pages that a text names, each with the chapter that is named behind it.
fn named_in(text: &str) -> Vec<(String, Option<String>)> {
    let lines: Vec<&str> = text.lines().map(|line| line.trim().trim_end_matches('\\').trim_end()).collect();
    let text = lines.join(" ").replace("\\\"", "\u{1}").replace(['“', '”'], "\u{1}");
    let mut found = Vec::new();
    for rest in text.split("docs/").skip(1) {
        let Some((name, behind)) = rest.split_once(".md") else { continue };
        if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-./".contains(letter)) {
            continue;
        }
        let chapter = behind
            .split_once(QUOTE)
            .filter(|(between, _)| !between.contains('"') && between.chars().count() <= BETWEEN_CHARS_MAX);
        let chapter = chapter.and_then(|(_, behind)| Some(behind.split_once(QUOTE)?.0.trim().to_owned()));
        found.push((format!("docs/{name}.md"), chapter));
    }
    found
}

#[test]
fn what_somebody_is_sent_to_is_there() {
    let mut paths = Vec::new();
    for folder in ["crates", "deploy", "examples"] {
        files_below(&root().join(folder), &mut paths);
    }
    let (mut missing, mut pages, mut chapters) = (Vec::new(), 0, 0);
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let place = path.strip_prefix(root()).unwrap().display().to_string();
        for (page, chapter) in named_in(&text) {
            pages += 1;
            if !root().join(&page).is_file() {
                missing.push(format!("{place}: {page}"));
                continue;
            }
            let Some(chapter) = chapter else { continue };
            chapters += 1;
            if !Page::read(&page).sections.iter().any(|section| section.title == chapter) {
                missing.push(format!("{place}: {page}: {chapter}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(pages >= 20 && chapters >= 4, "only {pages} pages and {chapters} chapters were found");
}

#[test]
fn a_chapter_is_seen_however_it_is_written() {
    for (text, chapter) in [
        ("\"see docs/operations.md, \\\"After a power cut\\\" for it\"", Some("After a power cut")),
        (
            "\"docs/operations.md \\\n    says it under \\\"After a \\\n    power cut\\\"\"",
            Some("After a power cut"),
        ),
        ("见 docs/operations.md 的“断电之后”。", Some("断电之后")),
        ("docs/operations.md has it all; something else, later, is called a \\\"word\\\"", None),
        ("(\"docs/operations.md\", \"a \\\"word\\\"\")", None),
        ("`docs/operations.md`", None),
    ] {
        let named = ("docs/operations.md".to_owned(), chapter.map(str::to_owned));
        assert_eq!(named_in(text), [named], "{text}");
    }
}
