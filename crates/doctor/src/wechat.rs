//! WeChat as this installation reaches it: every base URL, every key, every app, by a signed question about an order
//! that cannot exist. A key is right when WeChat says ORDERNOTEXIST and signs that with it; nothing else proves it.

mod ask;
mod verdict;
mod words;

use futures_util::future::join_all;
use wechat_pay::sign::{Algorithm, ApiKey};

use crate::clocks;
use crate::finding::Finding;
use crate::net::{NetError, Place, Roots};
pub use ask::Skew;
use ask::{Asked, Question, ask};
use verdict::Verdict;

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

/// Looks at everything; at most some twenty seconds where nobody answers.
pub async fn look(merchants: &[Merchant], base_urls: &[String], roots: &Roots) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some((first, key)) = merchants.iter().find_map(|one| Some((one, one.keys.first()?))) else {
        return findings;
    };
    let asked = join_all(base_urls.iter().map(|base| ask(base, Question::of(first, key), roots))).await;
    let mut usable = None;
    for (base, outcome) in base_urls.iter().zip(&asked) {
        findings.push(reached(base, outcome));
        if let Ok(asked) = outcome
            && !matches!(asked.verdict, Verdict::NotWeChat(_))
            && usable.is_none()
        {
            usable = Some(base);
            findings.push(clocks::of_wechat(asked.skew_ms, base));
        }
    }
    let Some(base) = usable else { return without_answer(findings, merchants) };
    for some in merchants.chunks(QUESTIONS_MAX) {
        let looks = some.iter().map(|merchant| of_merchant(merchant, base, roots));
        findings.extend(join_all(looks).await.into_iter().flatten());
    }
    findings
}

fn reached(base: &str, outcome: &Result<Asked, NetError>) -> Finding {
    match outcome {
        Ok(Asked { verdict: Verdict::NotWeChat(what), .. }) => words::not_wechat(base, what),
        Ok(asked) => {
            let is_plain = Place::parse(base).is_some_and(|place| !place.is_https);
            if is_plain { words::plain_http(base) } else { words::reachable(base, asked.took) }
        }
        Err(error) => words::unreachable(base, error),
    }
}

/// Nobody answered: the keys cannot be judged, and one more finding says so.
fn without_answer(mut findings: Vec<Finding>, merchants: &[Merchant]) -> Vec<Finding> {
    let names: Vec<&str> = merchants.iter().map(|merchant| merchant.mch_id.as_str()).collect();
    findings.push(words::not_asked(&names.join(", ")));
    findings
}

async fn of_merchant(merchant: &Merchant, base: &str, roots: &Roots) -> Vec<Finding> {
    let mut keys = Vec::new();
    for key in &merchant.keys {
        let question = Question::of(merchant, key);
        let verdict = match ask(base, question, roots).await {
            Ok(asked) => asked.verdict,
            Err(error) => Verdict::NotWeChat(error.to_string()),
        };
        keys.push(Judged { other: other_algorithm(merchant, key, &verdict, base, roots).await, verdict });
    }
    let mut findings = of_keys(merchant, &keys);
    if let Some(working) = keys.iter().position(|judged| judged.verdict.proves_the_key()) {
        let key = merchant.keys.get(working);
        for (place, app_id) in merchant.app_ids.iter().enumerate().take(APPS_MAX) {
            let verdict = match (place, keys.get(working), key) {
                // The question about the key was asked in the name of the first app.
                (0, Some(judged), _) => judged.verdict.clone(),
                (_, _, Some(key)) => {
                    match ask(base, Question { app_id, ..Question::of(merchant, key) }, roots).await {
                        Ok(asked) => asked.verdict,
                        Err(error) => Verdict::NotWeChat(error.to_string()),
                    }
                }
                _ => continue,
            };
            findings.extend(words::of_app(merchant, app_id, &verdict));
        }
    }
    findings
}

/// What WeChat said to one key.
struct Judged {
    verdict: Verdict,
    /// The other algorithm, where it does better.
    other: Option<Algorithm>,
}

async fn other_algorithm(
    merchant: &Merchant,
    key: &ApiKey,
    verdict: &Verdict,
    base: &str,
    roots: &Roots,
) -> Option<Algorithm> {
    if !matches!(verdict, Verdict::SignRefused(_)) {
        return None;
    }
    let algorithm = match merchant.algorithm {
        Algorithm::Md5 => Algorithm::HmacSha256,
        Algorithm::HmacSha256 => Algorithm::Md5,
    };
    let asked = ask(base, Question { algorithm, ..Question::of(merchant, key) }, roots).await.ok()?;
    asked.verdict.proves_the_key().then_some(algorithm)
}

fn of_keys(merchant: &Merchant, keys: &[Judged]) -> Vec<Finding> {
    let works = |judged: Option<&Judged>| judged.is_some_and(|judged| judged.verdict.proves_the_key());
    let (current, previous) = (keys.first(), keys.get(1));
    let mut findings = Vec::new();
    if let Some(judged) = current {
        findings.push(match judged {
            Judged { other: Some(other), .. } => words::sign_type(merchant, *other),
            _ if !works(current) && works(previous) => words::only_previous(merchant),
            judged => words::of_key(merchant, &judged.verdict),
        });
    }
    if let Some(judged) = previous {
        findings.push(match &judged.verdict {
            verdict if verdict.proves_the_key() => words::previous_works(merchant),
            Verdict::SignRefused(_) if works(current) => words::previous_refused(merchant),
            verdict => words::previous_unclear(merchant, verdict),
        });
    }
    findings
}
