//! A page of documentation as the test sees it: its fenced blocks in their order.

use std::path::Path;

/// A fenced block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub language: String,
    pub lines: Vec<String>,
}

/// A page.
pub struct Page {
    pub text: String,
    pub blocks: Vec<Block>,
    /// How deep each heading is.
    pub headings: Vec<usize>,
}

impl Page {
    /// One of the repository.
    pub fn read(path: &str) -> Self {
        let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path);
        Self::parse(&std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{path}: {error}")))
    }

    pub fn parse(text: &str) -> Self {
        let (mut blocks, mut headings, mut open) = (Vec::new(), Vec::new(), None::<Block>);
        for line in text.lines() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(language), None) => {
                    open = Some(Block { language: language.to_owned(), lines: Vec::new() });
                }
                (None, Some(block)) => block.lines.push(line.to_owned()),
                (None, None) if line.starts_with('#') => {
                    headings.push(line.bytes().take_while(|byte| *byte == b'#').count());
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "a block has no end");
        Self { text: text.to_owned(), blocks, headings }
    }
}
