//! What is written about the configuration in two languages, against each other and against the sample: its pages know
//! every key and its default, and the Chinese sample differs from the English one in nothing but comments.

use super::*;

const PAGES: [(&str, &str); 2] = [
    ("docs/configuration.md", include_str!("../../../../../docs/configuration.md")),
    ("docs/configuration.zh-CN.md", include_str!("../../../../../docs/configuration.zh-CN.md")),
];

/// What a line of a sample is for whoever begins with it.
#[derive(Debug, PartialEq)]
enum Line<'t> {
    /// A section, a key, an example of either: without its comment.
    Says(&'t str),
    /// One or more lines of comment.
    Explains,
    Empty,
}

fn lines(sample: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for line in sample.lines() {
        // An example may stand behind `#`, or behind `# ` where it goes instead of another key.
        let example = line.trim_start_matches('#').trim_start();
        let is_key = |text: &str| {
            let name = text.split_once(" = ").map_or("", |(name, _)| name);
            !name.is_empty() && name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
        };
        lines.push(match line {
            "" => Line::Empty,
            _ if example.starts_with('[') || is_key(example) => {
                Line::Says(line.split(" #").next().unwrap().trim_end())
            }
            _ => Line::Explains,
        });
    }
    lines.dedup_by(|one, other| *one == Line::Explains && *other == Line::Explains);
    lines
}

#[test]
fn the_samples_differ_in_nothing_but_comments() {
    let (english, chinese) = (lines(SAMPLE), lines(SAMPLE_ZH));
    for (one, other) in english.iter().zip(&chinese) {
        assert_eq!(one, other);
    }
    assert_eq!(english.len(), chinese.len());
    let keys = english.iter().filter(|line| matches!(line, Line::Says(_))).count();
    assert!(keys > 70, "only {keys} keys and sections were seen");
    let is_chinese = |letter: char| ('\u{4e00}'..='\u{9fff}').contains(&letter);
    let comments =
        SAMPLE_ZH.lines().filter(|line| line.starts_with("# ") && line.contains(is_chinese)).count();
    assert!(comments > 60, "only {comments} comments are Chinese");
}

#[test]
fn a_sample_that_says_something_else_is_noticed() {
    for (is, becomes) in [
        ("partitions = 4", "partitions = 8"),
        ("#rate = \"2000/s\"", "#rate = \"200/s\""),
        ("#[[legacy]]", "#[[webhook]]"),
        ("streams = 256\n", ""),
        ("# url_file = \"/run/secrets/redis-url\"", "# url_file = \"/run/redis-url\""),
        ("# 北京时间；微信 10:00 起有账单。\n", ""),
    ] {
        assert!(SAMPLE_ZH.contains(is), "{is}");
        assert_ne!(lines(SAMPLE), lines(&SAMPLE_ZH.replace(is, becomes)), "{is}");
    }
}

/// Both pages name every key that exists.
#[test]
fn the_pages_about_the_configuration_know_every_key() {
    for (name, page) in PAGES {
        for line in SAMPLE.lines().map(|line| line.trim_start_matches('#')) {
            let key = line.split_once(" = ").map(|(key, _)| format!("`{key}`"));
            let section = line.starts_with('[').then(|| format!("`{line}`"));
            if let Some(word) = section.or(key.filter(|key| !key.contains(' '))) {
                assert!(page.contains(&word), "{word} is missing in {name}");
            }
        }
    }
}

/// The rows of a page's table: section, keys, default.
fn rows(page: &str) -> Vec<(String, Vec<String>, String)> {
    let mut section = String::new();
    let mut rows = Vec::new();
    let cells =
        page.lines().map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    for cells in cells.filter(|cells| cells.len() == 4) {
        let words =
            |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
        if let Some(named) = words(cells[0]).first() {
            section = named.clone();
        }
        rows.push((section.clone(), words(cells[1]), cells[2].to_owned()));
    }
    rows
}

/// A default is told as the code has it, or in words; never as another value.
#[test]
fn the_pages_tell_the_defaults_that_there_are() {
    let mut section = String::new();
    let mut defaults = Vec::new();
    for line in SAMPLE.lines() {
        let example = line.strip_prefix('#').unwrap_or(line);
        if example.starts_with('[') {
            section = example.to_owned();
        } else if let Some((key, value)) = example.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            defaults.push((section.clone(), key.to_owned(), value.to_owned(), line.starts_with('#')));
        }
    }
    for (name, page) in PAGES {
        let mut compared = 0;
        for (section, keys, told) in rows(page) {
            let whole = told.strip_prefix('`').and_then(|told| told.strip_suffix('`'));
            let Some(told) = whole.filter(|told| !told.contains('`')) else { continue };
            for (_, key, value, is_example) in
                defaults.iter().filter(|(of, key, ..)| *of == section && keys.contains(key))
            {
                let is_told = told == value || (*is_example && told == "console.rate");
                assert!(is_told, "{name}: {section} {key} is {value}, not {told}");
                compared += 1;
            }
        }
        assert!(compared >= 30, "{name}: only {compared} defaults were compared");
    }
}
