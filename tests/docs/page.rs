//! A page of documentation as the tests see it: its fenced blocks in their order, and what stands under each heading as
//! far as it is the same in every language.

use std::{collections::BTreeSet, path::Path};

/// A fenced block. One that stands in a list has its indentation taken off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub language: String,
    pub lines: Vec<String>,
}

/// What stands under a heading, without blocks and without tables that are written from the code.
#[derive(Debug, Clone, Default)]
pub struct Section {
    pub title: String,
    /// How deep its heading is.
    pub level: usize,
    pub tables: Vec<Vec<Row>>,
    /// Entries of lists.
    pub items: usize,
    pub paragraphs: usize,
    /// Those of two digits or more: one digit may be a word in the other language.
    pub numbers: BTreeSet<String>,
    /// Words of the program in the prose: `between back ticks`.
    pub words: BTreeSet<String>,
    /// Where its links lead to, those of its tables too.
    pub links: Vec<String>,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub cells: Vec<String>,
    pub words: BTreeSet<String>,
}

/// A page.
pub struct Page {
    pub text: String,
    pub blocks: Vec<Block>,
    pub sections: Vec<Section>,
}

impl Page {
    /// One of the repository.
    pub fn read(path: &str) -> Self {
        let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path);
        Self::parse(&std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}")))
    }

    pub fn parse(text: &str) -> Self {
        let (mut blocks, mut open) = (Vec::new(), None::<(usize, Block)>);
        let (mut sections, mut section, mut prose) = (Vec::new(), Section::default(), String::new());
        let (mut in_table, mut is_generated) = (false, false);
        for line in text.lines() {
            let fence = line.trim_start().strip_prefix("```");
            let was_in_table = std::mem::take(&mut in_table);
            match (&mut open, fence) {
                (Some(_), Some(_)) => blocks.extend(open.take().map(|(_, block)| block)),
                (Some((indent, block)), None) => {
                    let indented = line.len() - line.trim_start().len();
                    block.lines.push(line[indented.min(*indent)..].to_owned());
                }
                (None, Some(language)) => {
                    let block = Block { language: language.to_owned(), lines: Vec::new() };
                    open = Some((line.len() - line.trim_start().len(), block));
                }
                _ if line.starts_with("<!-- table: ") => is_generated = true,
                _ if line.starts_with("<!-- end -->") => is_generated = false,
                _ if is_generated => {}
                _ if line.starts_with('#') => {
                    sections.push(std::mem::take(&mut section).with_prose(&std::mem::take(&mut prose)));
                    let title = line.trim_start_matches('#');
                    section.level = line.len() - title.len();
                    section.title = title.trim().to_owned();
                }
                _ if line.starts_with('|') => {
                    in_table = true;
                    section.push_row(line, was_in_table);
                }
                _ if line.trim().is_empty() => prose.push('\n'),
                _ => {
                    let entry = line.trim_start().trim_start_matches(|digit: char| digit.is_ascii_digit());
                    section.items += usize::from(entry.starts_with("- ") || entry.starts_with(". "));
                    prose.push_str(line.trim());
                    prose.push(' ');
                }
            }
        }
        assert!(open.is_none() && !is_generated, "a block or a table has no end");
        sections.push(section.with_prose(&prose));
        Self { text: text.to_owned(), blocks, sections: sections.into_iter().skip(1).collect() }
    }
}

impl Section {
    fn with_prose(mut self, prose: &str) -> Self {
        self.words = words_of(prose);
        self.links.extend(links_of(prose));
        self.paragraphs = prose.lines().filter(|paragraph| !paragraph.is_empty()).count();
        self.numbers.extend(numbers_of(prose));
        self
    }

    fn push_row(&mut self, line: &str, is_another: bool) {
        // A bar that is escaped is text.
        let line = line.replace("\\|", "\u{a6}");
        let cells = line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
        let row = Row { cells, words: words_of(&line) };
        self.links.extend(links_of(&line));
        self.numbers.extend(numbers_of(&line));
        if !is_another {
            self.tables.push(Vec::new());
        }
        self.tables.last_mut().expect("one was begun").push(row);
    }
}

/// What asks for a language is no word of both.
fn words_of(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2).filter(|word| !word.contains("--lang"));
    quoted.map(str::to_owned).collect()
}

/// Not those in words of the program and in links.
fn numbers_of(text: &str) -> Vec<String> {
    let plain: String = text.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    let (first, rest) = plain.split_once("](").unwrap_or((&plain, ""));
    let behind_links = rest.split("](").filter_map(|rest| Some(rest.split_once(')')?.1));
    let texts: Vec<&str> = [first].into_iter().chain(behind_links).collect();
    let numbers = texts
        .iter()
        .flat_map(|text| text.split(|letter: char| !letter.is_ascii_digit() && !",.".contains(letter)));
    let plain = numbers.map(|number| number.trim_matches([',', '.']).replace(',', ""));
    plain.filter(|number| number.chars().filter(char::is_ascii_digit).count() > 1).collect()
}

fn links_of(text: &str) -> Vec<String> {
    let ends = text.split("](").skip(1);
    ends.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect()
}
