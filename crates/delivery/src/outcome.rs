//! What a reply means for an event, and how it is told to people.

use jiff::fmt::rfc2822;
use paybell_core::Timestamp;
use paybell_core::line::disguises;
use paybell_core::time::Millis;

use crate::breaker::PAUSE_ASKED_MAX;
use crate::legacy;
use crate::transport::{Answer, Reply};

/// Characters of an answer's body, or of a cause, that are kept.
pub const WORDS_CHARS_MAX: usize = 200;

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint took it.
    Delivered,
    /// The endpoint answered, and not that.
    Refused,
    /// The endpoint asked for a pause.
    Throttled { until: Timestamp },
    /// No answer at all, or that of a gateway before it: the endpoint may be down.
    Silent,
    /// 410: the endpoint wants nothing any more.
    Disabled,
    /// Nothing was sent, on purpose: see the words.
    HeldBack,
    /// Nothing could be sent: the configuration lacks something.
    Unbuildable,
    /// The event has left the log.
    Lost,
    /// Nothing was sent, because our own store is away. No attempt.
    NotTried,
}

impl Outcome {
    /// The `result` in metrics and attempts.
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Refused => "refused",
            Outcome::Throttled { .. } => "throttled",
            Outcome::Silent => "silent",
            Outcome::Disabled => "disabled",
            Outcome::HeldBack => "held_back",
            Outcome::Unbuildable => "unbuildable",
            Outcome::Lost => "lost",
            Outcome::NotTried => "not_tried",
        }
    }
}

/// One attempt as it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub ms: u64,
    pub words: String,
}

impl Report {
    /// Without an exchange.
    pub fn unsent(outcome: Outcome, words: impl AsRef<str>) -> Self {
        Self { outcome, status: None, ms: 0, words: tell(words.as_ref()) }
    }

    /// Of a webhook: any 2xx takes the event, 410 ends the endpoint, a redirect is refused like any other answer.
    pub fn of_webhook(reply: &Reply, now: Timestamp) -> Self {
        Self::of(reply, now, |answer| match answer.status {
            200..=299 => (Outcome::Delivered, String::new()),
            410 => (Outcome::Disabled, "410: the endpoint wants no more events".to_owned()),
            300..=399 => (Outcome::Refused, redirected(answer)),
            _ => (Outcome::Refused, said(answer)),
        })
    }

    /// Of an old handler: what WeChat would take for an answer.
    pub fn of_legacy(reply: &Reply, now: Timestamp) -> Self {
        Self::of(reply, now, |answer| match legacy::judge(answer) {
            Ok(()) => (Outcome::Delivered, String::new()),
            Err(legacy::Refusal::Redirect) => (Outcome::Refused, redirected(answer)),
            Err(refusal) => (Outcome::Refused, format!("{refusal}: {}", said(answer))),
        })
    }

    fn of(reply: &Reply, now: Timestamp, judge: impl FnOnce(&Answer) -> (Outcome, String)) -> Self {
        let (status, (outcome, words)) = match reply {
            Reply::Silent(words) => (None, (Outcome::Silent, words.clone())),
            Reply::Answered(answer) => {
                let pause = answer.retry_after.as_deref().and_then(|text| asked_pause(text, now));
                let judged = match (answer.status, pause) {
                    (429 | 503, Some(until)) => (Outcome::Throttled { until }, said(answer)),
                    (429 | 502..=504, _) => (Outcome::Silent, said(answer)),
                    _ => judge(answer),
                };
                (Some(answer.status), judged)
            }
        };
        Self { outcome, status, ms: 0, words: tell(&words) }
    }
}

/// Until when, from whole seconds or an HTTP date; bounded.
fn asked_pause(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    let until = match text.parse::<u32>() {
        Ok(seconds) => now + Millis::seconds(i64::from(seconds)),
        Err(_) => {
            let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            Timestamp::from_millis(date.as_millisecond())
        }
    };
    Some(until.min(now + PAUSE_ASKED_MAX)).filter(|until| *until > now)
}

fn redirected(answer: &Answer) -> String {
    format!("{}: redirects are not followed, configure the address they lead to", answer.status)
}

fn said(answer: &Answer) -> String {
    let body = String::from_utf8_lossy(&answer.body);
    if body.trim().is_empty() {
        format!("{}, nothing more", answer.status)
    } else {
        format!("{}: {body}", answer.status)
    }
}

/// One printable line within the bound.
fn tell(text: &str) -> String {
    let spaced = text.split(|c: char| c.is_whitespace() || disguises(c)).filter(|word| !word.is_empty());
    spaced.collect::<Vec<_>>().join(" ").chars().take(WORDS_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// 2026-11-20 12:00:00 in Beijing.
    const NOW: Timestamp = Timestamp::from_millis(1_795_147_200_000);

    fn judged(status: u16, retry_after: Option<&str>) -> Outcome {
        let body = Bytes::from_static(b"words");
        let answer = Answer { status, retry_after: retry_after.map(str::to_owned), body, is_whole: true };
        Report::of_webhook(&Reply::Answered(answer), NOW).outcome
    }

    #[test]
    fn every_status_has_its_outcome() {
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(judged(status, Some("5")), Outcome::Delivered, "{status}");
        }
        for status in [100, 301, 302, 303, 307, 308, 400, 401, 403, 404, 422, 500] {
            assert_eq!(judged(status, None), Outcome::Refused, "{status}");
        }
        for status in [429, 502, 503, 504] {
            assert_eq!(judged(status, None), Outcome::Silent, "{status}");
        }
        assert_eq!(judged(410, None), Outcome::Disabled);
    }

    #[test]
    fn a_pause_that_is_asked_for_is_made_within_bounds() {
        let until = |seconds| Outcome::Throttled { until: NOW + Millis::seconds(seconds) };
        assert_eq!(judged(429, Some("120")), until(120));
        assert_eq!(judged(503, Some(" 7 ")), until(7));
        assert_eq!(judged(503, Some("Fri, 20 Nov 2026 04:01:00 GMT")), until(60));
        assert_eq!(judged(503, Some("4000000000")), until(3600));
        assert_eq!(judged(503, Some("Fri, 20 Nov 2037 04:01:00 GMT")), until(3600));
        for nothing in ["0", "", "soon", "-5", "Thu, 19 Nov 2026 04:00:00 GMT"] {
            assert_eq!(judged(503, Some(nothing)), Outcome::Silent, "{nothing}");
        }
    }

    #[test]
    fn words_are_one_short_line() {
        let turned = Report::unsent(Outcome::Lost, "safe\u{202e}dekcatta\u{200b}").words;
        assert_eq!(turned, "safe dekcatta", "nothing that turns or hides what stands beside it");
        let long = format!("a\r\n\u{1b}[31mb\t{}", "商".repeat(500));
        let words = Report::unsent(Outcome::Lost, long).words;
        assert!(words.starts_with("a [31mb 商") && words.chars().count() == WORDS_CHARS_MAX, "{words}");
    }
}
