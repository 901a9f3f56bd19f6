//! The scripts, each in a file of its own, and their names at the server.

use std::sync::LazyLock;

use redis::{Cmd, Script};

/// One multi-key step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Store,
    Remove,
    Note,
    Act,
    Outcome,
    Tally,
    Link,
    Claim,
    Begin,
}

struct Known {
    text: &'static str,
    hash: String,
}

static STORE: LazyLock<Known> = LazyLock::new(|| known(include_str!("scripts/store.lua")));
static REMOVE: LazyLock<Known> = LazyLock::new(|| known(include_str!("scripts/remove.lua")));
static NOTE: LazyLock<Known> = LazyLock::new(|| known(include_str!("scripts/note.lua")));
static ACT: LazyLock<Known> = LazyLock::new(|| known(include_str!("scripts/act.lua")));
static OUTCOME: LazyLock<Known> = LazyLock::new(|| known(include_str!("scripts/outcome.lua")));
static LINK: LazyLock<Known> = LazyLock::new(|| known(include_str!("scripts/link.lua")));
static CLAIM: LazyLock<Known> = LazyLock::new(|| known(include_str!("scripts/claim.lua")));
static BEGIN: LazyLock<Known> = LazyLock::new(|| known(include_str!("scripts/begin.lua")));
static TALLY: LazyLock<Known> = LazyLock::new(|| known(include_str!("scripts/tally.lua")));

fn known(text: &'static str) -> Known {
    Known { text, hash: Script::new(text).get_hash().to_owned() }
}

impl Name {
    fn known(self) -> &'static Known {
        match self {
            Name::Store => &STORE,
            Name::Remove => &REMOVE,
            Name::Note => &NOTE,
            Name::Act => &ACT,
            Name::Outcome => &OUTCOME,
            Name::Tally => &TALLY,
            Name::Link => &LINK,
            Name::Claim => &CLAIM,
            Name::Begin => &BEGIN,
        }
    }

    /// The start of a call with that many keys that brings the text along: for what is called rarely.
    pub fn eval(self, keys: usize) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(self.known().text).arg(keys);
        command
    }

    /// The same where the server must have been told the text.
    pub fn call(self, keys: usize) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.known().hash).arg(keys);
        command
    }

    /// Tells the server the text.
    pub fn load(self) -> Cmd {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(self.known().text);
        command
    }
}
