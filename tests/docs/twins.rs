//! Pages in two languages: whatever changes in one of them alone is noticed, as far as it can be seen without
//! understanding either: headings, tables, lists, paragraphs, blocks, links, numbers, and every word of the program under
//! its heading and in its row. And every link of every page leads somewhere, from a Chinese page to a Chinese one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::page::{Block, Page, Section};

const TWIN: &str = ".zh-CN.md";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every page of the repository, relative to its root.
fn pages() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let is_foreign =
                name.starts_with('.') || ["target", "node_modules", "vendor"].contains(&name.as_str());
            if path.is_dir() && !path.is_symlink() && !is_foreign {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Pages that stand in both languages, by their English name.
fn twins() -> Vec<String> {
    pages().iter().filter_map(|page| Some(format!("{}.md", page.strip_suffix(TWIN)?))).collect()
}

fn chinese_name(english: &str) -> String {
    format!("{}{TWIN}", english.trim_end_matches(".md"))
}

#[test]
fn both_languages_say_the_same() {
    let twins = twins();
    for name in ["README", "docs/operations", "docs/events", "docs/api", "docs/configuration", "docs/errors"]
    {
        assert!(twins.contains(&format!("{name}.md")), "{name}.md has no {name}{TWIN}");
    }
    assert!(twins.len() >= 20, "{twins:?}");
    let mut found = Vec::new();
    for name in &twins {
        let differing = differences(&Page::read(name), &Page::read(&chinese_name(name)), name);
        found.extend(differing.into_iter().map(|what| format!("{name}: {what}")));
    }
    assert!(found.is_empty(), "the languages differ:\n{}", found.join("\n"));
}

/// What can be seen to differ.
fn differences(english: &Page, chinese: &Page, name: &str) -> Vec<String> {
    let own = Path::new(name).file_name().unwrap().to_str().unwrap();
    let own_twin = chinese_name(own);
    let mut found = Vec::new();
    for (page, other) in [(english, &own_twin), (chinese, &own.to_owned())] {
        if !page.text.contains(&format!("]({other})")) {
            found.push(format!("no link to {other}"));
        }
    }
    let levels = |page: &Page| page.sections.iter().map(|section| section.level).collect::<Vec<_>>();
    if levels(english) != levels(chinese) {
        found.push(format!("headings {:?} and {:?}", levels(english), levels(chinese)));
        return found;
    }
    for (one, other) in english.sections.iter().zip(&chinese.sections) {
        let differing = differences_under(one, other, own);
        found.extend(differing.into_iter().map(|what| format!("under \"{}\": {what}", one.title)));
    }
    let count = |page: &Page| page.blocks.len();
    if count(english) != count(chinese) {
        found.push(format!("{} and {} blocks", count(english), count(chinese)));
    }
    for (one, other) in english.blocks.iter().zip(&chinese.blocks) {
        if without_comments(one) != without_comments(other) && !is_translated(one, other) {
            found.push(format!("block\n{}\nand block\n{}", one.lines.join("\n"), other.lines.join("\n")));
        }
    }
    found
}

fn differences_under(english: &Section, chinese: &Section, own: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, one: String, other: String| {
        if one != other {
            found.push(format!("{what}: {one} and {other}"));
        }
    };
    let rows = |section: &Section| format!("{:?}", section.tables.iter().map(Vec::len).collect::<Vec<_>>());
    compare("rows of tables", rows(english), rows(chinese));
    compare("entries of lists", english.items.to_string(), chinese.items.to_string());
    compare("links", format!("{:?}", targets(english, own)), format!("{:?}", targets(chinese, own)));
    compare("paragraphs", english.paragraphs.to_string(), chinese.paragraphs.to_string());
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        format!("{:?}", one.difference(other).collect::<Vec<_>>())
    };
    let (one, other) = (&english.words, &chinese.words);
    compare("words", only(one, other), only(other, one));
    let (one, other) = (&english.numbers, &chinese.numbers);
    compare("numbers", only(one, other), only(other, one));
    let rows = english.tables.iter().flatten().zip(chinese.tables.iter().flatten());
    for (one, other) in rows {
        let of = |row: &crate::page::Row| format!("{} cells, {:?}", row.cells.len(), row.words);
        compare("row", of(one), of(other));
    }
    found
}

/// Where links lead, whatever the language; the link to the other language aside.
fn targets(section: &Section, own: &str) -> Vec<String> {
    let file = |link: &String| link.split('#').next().unwrap().replace(TWIN, ".md");
    let mut targets: Vec<String> = section.links.iter().map(file).filter(|link| link != own).collect();
    targets.sort();
    targets
}

/// What a block says in every language.
fn without_comments(block: &Block) -> Vec<String> {
    let mark =
        if ["js", "java", "json", "php", "go"].contains(&block.language.as_str()) { "//" } else { "#" };
    let said = |line: &String| {
        let ends = line.match_indices(mark).map(|(at, _)| at).find(|at| {
            let before = &line[..*at];
            before.is_empty() || before.ends_with(char::is_whitespace)
        });
        let line = ends.map_or(line.as_str(), |end| &line[..end]);
        line.replace(" --lang zh", "").replace(" --lang en", "").trim_end().to_owned()
    };
    [block.language.clone()].into_iter().chain(block.lines.iter().map(said)).collect()
}

/// What a program says in its user's language, and plans in words.
fn is_translated(english: &Block, chinese: &Block) -> bool {
    let is_text = english.language == "text" && chinese.language == "text";
    is_text && chinese.lines.iter().any(|line| line.contains(is_chinese))
}

fn is_chinese(letter: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&letter)
}

/// Whoever changes one language must hear of the other.
#[test]
fn a_change_of_one_language_is_noticed() {
    const ENGLISH: &str = "# T\n\n[zh](p.zh-CN.md)\n\n## A\n\nSee `x` in [it](q.md#a) for 1,500 s.\n\n| a | b |\n| --- | --- |\n\
                           | `k` | `v` or 1 |\n\n1. one\n\n   ```sh\n   run it # why\n   ```\n\n```text\nwords\n```\n";
    const CHINESE: &str = "# 题\n\n[en](p.md)\n\n## 甲\n\n见[它](q.zh-CN.md#甲)的 `x`，1500 秒。\n\n| 甲 | 乙 |\n| --- | --- |\n\
                           | `k` | 1 或 `v` |\n\n1. 一\n\n   ```sh\n   run it # 为何\n   ```\n\n```text\n字\n```\n";
    let differing = |chinese: &str| differences(&Page::parse(ENGLISH), &Page::parse(chinese), "docs/p.md");
    assert_eq!(differing(CHINESE), [""; 0]);
    for (what, is, becomes) in [
        ("no link to p.md", "[en](p.md)", ""),
        ("headings ", "## 甲", "### 甲"),
        ("headings ", "## 甲", "## 甲\n\n## 乙"),
        ("links: ", "q.zh-CN.md#甲", "r.zh-CN.md"),
        ("words: ", "的 `x`", "的 `y`"),
        ("words: ", "的 `x`", ""),
        ("numbers: ", "1500 秒", "1600 秒"),
        ("numbers: ", "1 或", "10 或"),
        ("paragraphs: ", "，1500", "。\n\n1500"),
        ("rows of tables", "| `k` |", "| `j` | |\n| `k` |"),
        ("rows of tables", "| 1 或", "| 1 或 `v` |\n\n| 1 或"),
        ("row: ", "`v` |", "`w` |"),
        ("row: ", "1 或 `v`", "1 | `v`"),
        ("entries of lists", "1. 一", "1. 一\n2. 二"),
        ("block\n", "run it #", "run them #"),
        ("block\n", "```sh", "```toml"),
        (" blocks", "\n```text\n字\n```\n", ""),
        ("block\n", "```text\n字\n```", "```text\nother words\n```"),
    ] {
        assert!(CHINESE.contains(is), "{is}");
        let found = differing(&CHINESE.replace(is, becomes)).join("\n");
        assert!(found.contains(what), "{is} -> {becomes}: {found:?}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors: BTreeMap<&String, Vec<String>> =
        pages.iter().map(|page| (page, anchors(&Page::read(page)))).collect();
    let mut found = Vec::new();
    for page in &pages {
        let folder = Path::new(page).parent().unwrap();
        for link in Page::read(page).sections.iter().flat_map(|section| &section.links) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { plain(&folder.join(file)) };
            if !root().join(&target).exists() {
                found.push(format!("{page}: {link}: there is no {target}"));
            } else if !anchor.is_empty()
                && !anchors.get(&target).is_some_and(|all| all.iter().any(|one| one == anchor))
            {
                found.push(format!("{page}: {link}: {target} has no such heading"));
            }
            let twin = chinese_name(&target);
            let is_left = page.ends_with(TWIN) && target.ends_with(".md") && !target.ends_with(TWIN);
            if is_left && pages.contains(&twin) && twin != *page {
                found.push(format!("{page}: {link}: there is {twin}"));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// A path without `..`.
fn plain(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.to_str().unwrap().trim_end_matches('/').split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// The names under which a page's headings are reached, as forges make them.
fn anchors(page: &Page) -> Vec<String> {
    let mut made: Vec<String> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for section in &page.sections {
        let letters =
            section.title.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        let name: String = letters.collect::<String>().to_lowercase().replace(' ', "-");
        let count = seen.entry(name.clone()).or_default();
        made.push(if *count == 0 { name } else { format!("{name}-{count}") });
        *count += 1;
    }
    made
}
