//! Shows how a rehearsal went: a table and what to mend for people, in their language, and everything in both languages
//! as JSON for programs.

use std::fmt::Write;
use std::time::Duration;

use doctor::{Language, Text};
use serde_json::{Value, json};

use super::Outcome;
use super::judge::{Judged, Verdict};
use super::scene::{OnLate, Scene};
use super::script::Play;
use super::words;

/// An answer that may be too slow on a bad day.
const SLOW: Duration = Duration::from_secs(5);

/// The table, then each failed scene with its remedy.
pub fn text(play: &Play, outcome: &Outcome, language: Language) -> String {
    let heads = Text::new("SCENE|EXPECTED|SEEN|VERDICT", "场景|应当|实际|判定");
    let mut rows: Vec<Vec<String>> = vec![heads.of(language).split('|').map(str::to_owned).collect()];
    rows.extend(outcome.judged.iter().map(|judged| {
        vec![
            judged.scene.as_str().to_owned(),
            words::expected(judged.expected, judged.scene.is_forged()).of(language).to_owned(),
            seen(judged).of(language).to_owned(),
            words::verdict(judged.verdict).of(language).to_owned(),
        ]
    }));
    let mut text = columns(&rows);
    for judged in outcome.judged.iter().filter(|judged| judged.verdict == Verdict::Failed) {
        text.push('\n');
        text.push_str(&failure(judged, language));
    }
    text.push('\n');
    text.push_str(summary(play, outcome).of(language));
    text
}

/// The same as one document.
pub fn document(play: &Play, outcome: &Outcome) -> Value {
    let scenes: Vec<Value> = outcome.judged.iter().map(scene).collect();
    json!({
        "seed": play.seed,
        "mch_id": play.mch_id,
        "scenes": scenes,
        "failed": count(outcome, Verdict::Failed),
        "not_judged": count(outcome, Verdict::NotJudged),
        "requests": outcome.requests,
        "stuck": outcome.is_stuck,
        "slowest_ms": outcome.slowest.map(millis),
        "took_ms": millis(outcome.took),
    })
}

/// What is wrong, for the last line; `None` if nothing is.
pub fn failure_line(outcome: &Outcome, language: Language) -> Option<String> {
    let (failed, all) = (count(outcome, Verdict::Failed), outcome.judged.len());
    let mut lines = Vec::new();
    if failed > 0 {
        lines.push(Text::new(
            format!("{failed} of {all} scenes failed"),
            format!("{all} 个场景中有 {failed} 个失败"),
        ));
    }
    if outcome.is_stuck {
        lines.push(Text::new(
            "the last message was never shipped: the subscriber is not there, does not acknowledge, or is stuck on a \
             message; what is \"not shipped\" may only be not read yet (--patience)",
            "最后一条消息始终没有发货：订阅方没有运行、没有确认，或卡在某条消息上；“不发货”可能只是还没读到（--patience）",
        ));
    }
    let lines: Vec<&str> = lines.iter().map(|words| words.of(language)).collect();
    (!lines.is_empty()).then(|| lines.join("; "))
}

/// Every scene with what happens in it.
pub fn scenes(language: Language) -> String {
    let rows: Vec<Vec<String>> = Scene::ALL
        .into_iter()
        .map(|scene| vec![scene.as_str().to_owned(), words::story(scene).of(language).to_owned()])
        .collect();
    columns(&rows).trim_end().to_owned()
}

/// The same as a document.
pub fn scenes_document() -> Value {
    let scene = |scene: Scene| {
        let expected = scene.expected(OnLate::Ship);
        json!({
            "scene": scene.as_str(),
            "webhooks_only": scene.is_for_webhooks_only(),
            "expected": { "shipped_min": expected.min, "shipped_max": expected.max, "refused": scene.is_forged() },
            "story": words::story(scene).to_json(),
            "remedy": words::remedy(scene).to_json(),
        })
    };
    json!({ "scenes": Scene::ALL.into_iter().map(scene).collect::<Vec<_>>() })
}

fn scene(judged: &Judged) -> Value {
    let shipped = judged.shipped.as_ref().map(|shipped| {
        shipped.iter().map(|(times, orders)| json!({ "times": times, "orders": orders })).collect::<Vec<_>>()
    });
    let verdict = match judged.verdict {
        Verdict::Passed => "passed",
        Verdict::Failed => "failed",
        Verdict::AnswersOnly => "answers_only",
        Verdict::NotJudged => "not_judged",
    };
    let answers = &judged.answers;
    json!({
        "scene": judged.scene.as_str(),
        "story": words::story(judged.scene).to_json(),
        "expected": {
            "shipped_min": judged.expected.min,
            "shipped_max": judged.expected.max,
            "refused": judged.scene.is_forged(),
        },
        "shipped": shipped,
        "requests": answers.sent,
        "repeated": answers.repeated,
        "unwanted": answers.unwanted,
        "slowest_ms": millis(answers.slowest),
        "verdict": verdict,
        "faults": judged.faults.iter().map(|fault| words::fault(fault).to_json()).collect::<Vec<_>>(),
        "remedy": words::remedy(judged.scene).to_json(),
    })
}

fn seen(judged: &Judged) -> Text {
    let shipped = seen_shipped(judged);
    if !judged.scene.is_forged() {
        return shipped;
    }
    let (refused, all) = (judged.answers.refused(), judged.answers.sent);
    let refused = Text::new(format!("{refused} of {all} refused"), format!("{all} 次拒绝 {refused} 次"));
    Text::new(format!("{}, {}", refused.en, shipped.en), format!("{}，{}", refused.zh, shipped.zh))
}

fn seen_shipped(judged: &Judged) -> Text {
    let Some(shipped) = &judged.shipped else { return Text::from("-") };
    if let [(times, _)] = shipped.iter().collect::<Vec<_>>().as_slice() {
        return words::shipped(**times);
    }
    // Several: how many orders each.
    let of = |pick: fn(&Text) -> &str| {
        let part =
            |(times, orders): (&u64, &usize)| format!("{} \u{d7}{orders}", pick(&words::shipped(*times)));
        shipped.iter().map(part).collect::<Vec<_>>().join(", ")
    };
    Text::new(of(|words| &words.en), of(|words| &words.zh))
}

fn failure(judged: &Judged, language: Language) -> String {
    let labels = Text::new("happened|wrong|to do", "经过|问题|做法");
    let mut labels = labels.of(language).split('|');
    let mut label = || labels.next().unwrap_or_default().to_owned();
    let mut rows = vec![vec![label(), words::story(judged.scene).of(language).to_owned()]];
    let wrong = label();
    rows.extend(
        judged.faults.iter().map(|fault| vec![wrong.clone(), words::fault(fault).of(language).to_owned()]),
    );
    rows.push(vec![label(), words::remedy(judged.scene).of(language).to_owned()]);
    let mut text = format!("{}\n", judged.scene.as_str());
    for line in columns(&rows).lines() {
        let _ = writeln!(text, "  {line}");
    }
    text
}

fn summary(play: &Play, outcome: &Outcome) -> Text {
    let (scenes, failed) = (outcome.judged.len(), count(outcome, Verdict::Failed));
    let orders: usize = play.acts.iter().map(|act| act.orders.len()).sum();
    let (seed, requests, took) = (play.seed, outcome.requests, outcome.took.as_secs_f64());
    let mut words = Text::new(
        format!(
            "Seed {seed}: {scenes} scenes, {orders} orders, {requests} messages in {took:.1} s; {failed} failed."
        ),
        format!(
            "种子 {seed}：{scenes} 个场景，{orders} 个订单，{requests} 条消息，用时 {took:.1} 秒；{failed} 个失败。"
        ),
    );
    if let Some(slowest) = outcome.slowest.map(millis) {
        let _ = write!(words.en, " The slowest answer took {slowest} ms.");
        let _ = write!(words.zh, "最慢的应答用了 {slowest} 毫秒。");
    }
    if outcome.slowest.is_some_and(|slowest| slowest >= SLOW) {
        words.en.push_str(" Paybell waits 15 s: store the event, answer, and do slow work afterwards.");
        words.zh.push_str("Paybell 只等 15 秒：请先落库、应答，慢的工作放到之后。");
    }
    if outcome.judged.iter().any(|judged| judged.shipped.is_none()) {
        words.en.push_str(
            "\nWithout --check-url nobody knows what was shipped: double, missing and wrong shipments were not judged.",
        );
        words.zh.push_str("\n没有 --check-url 就不知道发了什么货：重复、遗漏和错误的发货都没有判定。");
    }
    words
}

fn count(outcome: &Outcome, verdict: Verdict) -> usize {
    outcome.judged.iter().filter(|judged| judged.verdict == verdict).count()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Columns that stay straight with Chinese in them; the last one is not padded.
fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max();
    let widths: Vec<usize> = (0..count).map(|column| widest(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, wide) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(wide.saturating_sub(width(cell)) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Columns of a terminal: Chinese and full-width characters take two.
fn width(text: &str) -> usize {
    let of = |letter: char| match letter {
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' => 2,
        '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' => 2,
        _ => 1,
    };
    text.chars().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_columns_stay_straight() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = columns(&[row(["\u{573a}\u{666f}", "x"]), row(["late", "y"]), row(["a", "z"])]);
        assert_eq!(text, "\u{573a}\u{666f}  x\nlate  y\na     z\n");
    }

    #[test]
    fn every_scene_has_words_in_both_languages() {
        let is_chinese = |text: &str| text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        for scene in Scene::ALL {
            for words in [words::story(scene), words::remedy(scene)] {
                assert!(!words.en.is_empty() && !is_chinese(&words.en), "{}", words.en);
                assert!(is_chinese(&words.zh), "{}", words.zh);
                assert!(!words.en.contains("  ") && !words.zh.contains("  "), "{words:?}");
            }
        }
    }
}
