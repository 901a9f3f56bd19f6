//! Every example takes the whole rehearsal by webhook.

use crate::language::{Language, Subscriber};
use crate::rehearsal::{SMALL, rehearse_webhook};

const WEBHOOK_SCENES: usize = 22;

#[track_caller]
fn passes(language: Language) {
    if !language.is_here() {
        return;
    }
    let subscriber = Subscriber::start(&language.command("webhook"), &[]);
    let ended = rehearse_webhook(&subscriber.base(), &[&SMALL[..], &["--json"]].concat());
    let passed = ended.scenes("passed");
    assert_eq!((ended.code, passed.len()), (Some(0), WEBHOOK_SCENES), "{language:?}: {}", ended.stdout);
}

#[test]
fn python_takes_the_awkward_day_by_webhook() {
    passes(Language::Python);
}

#[test]
fn node_takes_the_awkward_day_by_webhook() {
    passes(Language::Node);
}

#[test]
fn php_takes_the_awkward_day_by_webhook() {
    passes(Language::Php);
}

#[test]
fn go_takes_the_awkward_day_by_webhook() {
    passes(Language::Go);
}

#[test]
fn java_takes_the_awkward_day_by_webhook() {
    passes(Language::Java);
}
