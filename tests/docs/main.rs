//! The pages that a new user follows, followed literally: every `sh` block is run in its order in a folder of its own,
//! and what a `text` block shows after it must be what came out. `console` blocks are not run: they install.
//!
//! `cargo build -p paybell` first. Where the system allows it the commands see a network of their own, so that the
//! ports which a page names are free; where it does not, they must be.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

mod errors;
mod follow;
mod page;

use std::io::Write;

use follow::follow;
use page::Page;

/// Ports that the page names; two pages must not run at once where the network is shared.
#[test]
fn getting_started_is_what_happens() {
    let has_python = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !has_python && std::env::var("PAYBELL_TEST_WITHOUT_CLIENTS").as_deref() == Ok("1") {
        // Past the test runner's capture.
        let _ = writeln!(std::io::stderr(), "\nNOT RUN: getting-started: its shop is written in Python");
        return;
    }
    follow(&Page::read("docs/getting-started.md"));
}

#[test]
fn both_languages_have_the_same_commands_and_show_the_same() {
    for name in ["getting-started", "adoption", "refunds", "placing"] {
        let (english, chinese) =
            (Page::read(&format!("docs/{name}.md")), Page::read(&format!("docs/{name}.zh-CN.md")));
        assert_eq!(english.blocks, chinese.blocks, "{name}");
        assert!(
            english.blocks.iter().any(|block| block.language == "sh" || block.language == "nginx"),
            "{name}"
        );
        assert_eq!(english.headings, chinese.headings, "{name}: as many chapters");
        assert!(english.text.contains(&format!("({name}.zh-CN.md)")), "{name} leads to its translation");
        assert!(chinese.text.contains(&format!("({name}.md)")), "{name} leads back");
    }
}

/// What would not run if it were followed must not look as if it had been.
#[test]
fn a_page_that_is_wrong_is_noticed() {
    let page = |body: &str| Page::parse(&format!("# Title\n\n{body}"));
    let run = |body: &str| std::panic::catch_unwind(|| follow(&page(body))).is_ok();
    assert!(run("```sh\necho one; echo two 2\n```\n```text\none\ntwo …\n```\n"));
    assert!(!run("```sh\necho one\n```\n```text\ntwo\n```\n"), "other words");
    assert!(!run("```sh\necho one\n```\n```text\none\ntwo\n```\n"), "a missing line");
    assert!(!run("```sh\nfalse\n```\n"), "a command that fails");
    assert!(!run("```sh\necho one\n```\n```sh\nexit 1\n```\n"), "the last block fails");
    assert!(!run("```sh\nsleep 600\n```\n"), "one that never ends");
}
