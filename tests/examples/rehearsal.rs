//! `paybell rehearse`, run to its end, and what its JSON says.

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::Value;

use crate::harness::process::paybell;
use crate::language::SECRET;

/// A small burst, so that a whole rehearsal takes seconds.
pub const SMALL: [&str; 4] = ["--burst", "24", "--settle", "400ms"];

/// How a rehearsal ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// With the secret of the examples in its environment.
pub fn rehearse(args: &[&str]) -> Ended {
    let Output { status, stdout, stderr } =
        paybell(&[&["rehearse"], args].concat()).env("WEBHOOK_SECRET", SECRET).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

/// Against a webhook of the examples, asked by its own check URL.
pub fn rehearse_webhook(base: &str, more: &[&str]) -> Ended {
    let (url, check) = (format!("{base}/webhooks/paybell"), format!("{base}/shipped/{{out_trade_no}}"));
    let usual = [&url, "--secret-env", "WEBHOOK_SECRET", "--check-url", &check];
    rehearse(&[&usual, more].concat())
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The scenes with this verdict.
    pub fn scenes(&self, verdict: &str) -> BTreeSet<String> {
        let report = self.json();
        let scenes = report["scenes"].as_array().unwrap().iter();
        let name = |scene: &Value| scene["scene"].as_str().unwrap().to_owned();
        scenes.filter(|scene| scene["verdict"] == verdict).map(name).collect()
    }

    #[track_caller]
    pub fn expect(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.stdout.contains(word) || self.stderr.contains(word), "{word:?} in {self:?}");
        }
    }
}
