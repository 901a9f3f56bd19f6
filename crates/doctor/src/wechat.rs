//! WeChat as this installation reaches it: every base URL, every key, every app, by a signed question about an order
//! that cannot exist. A key is right when WeChat says ORDERNOTEXIST and signs that with it; nothing else proves it.

mod ask;
mod verdict;
mod words;

use futures_util::future::join_all;
use wechat_pay::sign::{Algorithm, ApiKey};

use crate::beside::Beside;
use crate::clocks;
use crate::finding::Finding;
use crate::net::{NetError, Place, Roots};
pub use ask::Skew;
use ask::{Asked, Question, ask};
use verdict::{Judged, Verdict};

/// A merchant as the doctor needs it.
#[derive(Debug, Clone)]
pub struct Merchant {
    pub mch_id: String,
    /// Never empty.
    pub app_ids: Vec<String>,
    pub sub_mch_ids: Vec<String>,
    /// The current one, then the previous one.
    pub keys: Vec<ApiKey>,
    pub algorithm: Algorithm,
}

/// Questions at once.
const QUESTIONS_MAX: usize = 8;

/// Apps of one merchant that are asked about.
const APPS_MAX: usize = 8;

/// Looks at everything; at most some twenty seconds where nobody answers. What is found stands in `found` as soon as it
/// is, should nobody wait for the rest.
pub async fn look(merchants: &[Merchant], base_urls: &[String], roots: &Roots, found: &mut Vec<Finding>) {
    let Some((first, key)) = merchants.iter().find_map(|one| Some((one, one.keys.first()?))) else { return };
    let asked = join_all(base_urls.iter().map(|base| ask(base, Question::of(first, key), roots))).await;
    let mut usable = None;
    for (base, outcome) in base_urls.iter().zip(&asked) {
        found.push(reached(base, outcome));
        if let Ok(asked) = outcome
            && !matches!(asked.judged.verdict, Verdict::NotWeChat(_))
            && usable.is_none()
        {
            usable = Some(base);
            found.push(clocks::of_wechat(asked.skew_ms, base));
        }
    }
    let Some(base) = usable else {
        // Nobody answered: the keys cannot be judged, and one more finding says so.
        let names: Vec<&str> = merchants.iter().map(|merchant| merchant.mch_id.as_str()).collect();
        return found.push(words::not_asked(&names.join(", ")));
    };
    for some in merchants.chunks(QUESTIONS_MAX) {
        let mut beside = Beside::of(some.len(), found);
        let looks =
            beside.each().zip(some).map(|(found, merchant)| of_merchant(merchant, base, roots, found));
        join_all(looks).await;
    }
}

fn reached(base: &str, outcome: &Result<Asked, NetError>) -> Finding {
    match outcome {
        Ok(asked) => {
            if let Verdict::NotWeChat(what) = &asked.judged.verdict {
                return words::not_wechat(base, what);
            }
            let is_plain = Place::parse(base).is_some_and(|place| !place.is_https);
            if is_plain { words::plain_http(base) } else { words::reachable(base, asked.took) }
        }
        Err(error) => words::unreachable(base, error),
    }
}

async fn of_merchant(merchant: &Merchant, base: &str, roots: &Roots, found: &mut Vec<Finding>) {
    let mut tried = Vec::new();
    for key in &merchant.keys {
        let judged = judged(Question::of(merchant, key), base, roots).await;
        let other = other_algorithm(Question::of(merchant, key), &judged, base, roots).await;
        tried.push(Tried { judged, other });
    }
    found.extend(of_keys(merchant, &tried));
    let Some((working, key)) = tried.iter().zip(&merchant.keys).find(|(tried, _)| tried.works()) else {
        return;
    };
    for (place, app_id) in merchant.app_ids.iter().enumerate().take(APPS_MAX) {
        let verdict = match place {
            // The question about the key was asked in the name of the first app.
            0 => working.judged.verdict.clone(),
            _ => judged(Question { app_id, ..Question::of(merchant, key) }, base, roots).await.verdict,
        };
        found.push(words::of_app(merchant, app_id, &verdict));
    }
}

async fn judged(question: Question<'_>, base: &str, roots: &Roots) -> Judged {
    match ask(base, question, roots).await {
        Ok(asked) => asked.judged,
        Err(error) => Judged::nothing(error.to_string()),
    }
}

/// What WeChat said to one key.
struct Tried {
    judged: Judged,
    /// The other algorithm, where it does better.
    other: Option<Algorithm>,
}

impl Tried {
    fn works(&self) -> bool {
        self.judged.proves_the_key()
    }
}

async fn other_algorithm(
    question: Question<'_>,
    tried: &Judged,
    base: &str,
    roots: &Roots,
) -> Option<Algorithm> {
    if !matches!(tried.verdict, Verdict::SignRefused(_)) {
        return None;
    }
    let algorithm = match question.algorithm {
        Algorithm::Md5 => Algorithm::HmacSha256,
        Algorithm::HmacSha256 => Algorithm::Md5,
    };
    let other = judged(Question { algorithm, ..question }, base, roots).await;
    other.proves_the_key().then_some(algorithm)
}

fn of_keys(merchant: &Merchant, tried: &[Tried]) -> Vec<Finding> {
    let (current, previous) = (tried.first(), tried.get(1));
    let mut findings = Vec::new();
    if let Some(tried) = current {
        findings.push(match tried {
            Tried { other: Some(other), .. } => words::sign_type(merchant, *other),
            tried if tried.works() => words::key_good(merchant),
            _ if previous.is_some_and(Tried::works) => words::only_previous(merchant),
            tried => words::of_key(merchant, &tried.judged.verdict),
        });
    }
    if let Some(tried) = previous {
        findings.push(match &tried.judged.verdict {
            _ if tried.works() => words::previous_works(merchant),
            Verdict::SignRefused(_) if current.is_some_and(Tried::works) => words::previous_refused(merchant),
            verdict => words::previous_unclear(merchant, verdict),
        });
    }
    findings
}
