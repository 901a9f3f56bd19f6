//! `paybell verify`: whether a document's sign fits, and if not, what was compared and what would fit. Shows the
//! canonical string, never a key.

use clap::Args as ClapArgs;
use wechat_pay::{
    sign::{AcceptedAlgorithm, Algorithm, ApiKey, SignError, canonical, choose, verify},
    xml::Document,
};

use super::{
    config::ConfigFile,
    sign::{AlgorithmName, key_from, parse},
};
use crate::{
    config::{Merchant, load, process_environment},
    error::Error,
    output,
};

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Accept only this algorithm [default: with --config the merchant's sign_type, else what the document says]
    #[arg(long, value_enum)]
    algorithm: Option<AlgorithmName>,
    /// The environment variable that holds the API key
    #[arg(long, value_name = "VAR", conflicts_with = "config", required_unless_present = "config")]
    key_env: Option<String>,
    #[command(flatten)]
    from: ConfigFile,
}

/// A key that may have signed, and what it is called.
struct Candidate {
    name: String,
    key: ApiKey,
    accepted: AcceptedAlgorithm,
    /// Of the merchant that the document names; other keys only help to explain.
    is_meant: bool,
}

const BOTH: [Algorithm; 2] = [Algorithm::Md5, Algorithm::HmacSha256];

/// Verifies, or explains.
pub fn run(args: Args) -> Result<(), Error> {
    let asked = args.algorithm.map(|name| AcceptedAlgorithm::Only(name.into()));
    let body = output::read_input()?;
    let document = parse(&body)?;
    let candidates = match &args.key_env {
        Some(variable) => vec![Candidate {
            name: format!("${variable}"),
            key: key_from(variable)?,
            accepted: asked.unwrap_or(AcceptedAlgorithm::Any),
            is_meant: true,
        }],
        None => {
            let config = load(args.from.config.as_deref(), process_environment()).checked()?;
            of_merchants(&config.merchants, document.get("mch_id"), asked)
        }
    };
    let fits = candidates.iter().filter(|one| one.is_meant).find_map(|candidate| {
        let algorithm = choose(&document, candidate.accepted).ok()?;
        verify(&document, &candidate.key, algorithm).is_ok().then_some((candidate, algorithm))
    });
    match fits {
        Some((candidate, algorithm)) => {
            output::line(&format!("the sign fits: {algorithm} with {}", candidate.name))
        }
        None => Err(Error::Failed(explain(&document, &candidates))),
    }
}

fn of_merchants(
    merchants: &[Merchant],
    mch_id: Option<&str>,
    asked: Option<AcceptedAlgorithm>,
) -> Vec<Candidate> {
    let names = ["the current key", "the previous key"];
    let of_one = |merchant: &Merchant| -> Vec<Candidate> {
        let candidate = |(key, name): (&ApiKey, &str)| Candidate {
            name: format!("{name} of merchant {}", merchant.mch_id),
            key: key.clone(),
            accepted: asked.unwrap_or(merchant.accepted),
            is_meant: mch_id.is_none_or(|mch_id| mch_id.is_empty() || mch_id == merchant.mch_id.as_str()),
        };
        merchant.keys.iter().zip(names).map(candidate).collect()
    };
    merchants.iter().flat_map(of_one).collect()
}

fn explain(document: &Document<'_>, candidates: &[Candidate]) -> String {
    let sign = document.get("sign").unwrap_or_default();
    let mut text = "the sign does not fit\n".to_owned();
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    say(format!("  signed text:  {}&key=***", canonical(document.iter())));
    say(format!("  sign given:   {}", if sign.is_empty() { "none" } else { sign }));
    for candidate in candidates.iter().filter(|one| one.is_meant) {
        let tried = match choose(document, candidate.accepted) {
            Ok(algorithm) => algorithm.to_string(),
            Err(error) => format!("no algorithm, because {error}"),
        };
        say(format!("  tried:        {} with {tried}", candidate.name));
    }
    if !candidates.iter().any(|one| one.is_meant) {
        let mch_id = document.get("mch_id").unwrap_or_default();
        say(format!("  tried:        nothing, because no merchant {mch_id} is configured"));
    }
    say(format!("  likely cause: {}", likely_cause(document, candidates)));
    text.trim_end().to_owned()
}

fn likely_cause(document: &Document<'_>, candidates: &[Candidate]) -> String {
    let sign = document.get("sign").unwrap_or_default();
    if sign.is_empty() {
        return "the document is not signed at all: WeChat signs every payment notification".to_owned();
    }
    if let Some((candidate, algorithm)) = would_fit(document, candidates, sign) {
        return format!(
            "{} fits with {algorithm}: {}",
            candidate.name,
            if candidate.is_meant {
                "the configured or asked algorithm is another; set sign_type to what your orders are placed with"
            } else {
                "the document was signed for another merchant than it names"
            }
        );
    }
    if would_fit(document, candidates, &sign.trim().to_ascii_uppercase()).is_some() {
        return "only its capitals or blanks differ: WeChat writes a sign in capitals without blanks"
            .to_owned();
    }
    let declared = document.get("sign_type").filter(|declared| !declared.is_empty());
    if declared
        .is_some_and(|declared| matches!(declared.parse::<Algorithm>(), Err(SignError::UnsupportedType)))
    {
        return "sign_type is neither MD5 nor HMAC-SHA256".to_owned();
    }
    if !matches!(sign.len(), 32 | 64) {
        return format!(
            "a sign has 32 (MD5) or 64 (HMAC-SHA256) characters, this one has {}",
            sign.chars().count()
        );
    }
    "another key (compare it with 账户中心 / API安全; the APIv3 key is a different one), or a document that was \
     changed after signing (re-encoded, trimmed, or with fields left out)"
        .to_owned()
}

/// Which key and algorithm give exactly this sign.
fn would_fit<'c>(
    document: &Document<'_>,
    candidates: &'c [Candidate],
    sign: &str,
) -> Option<(&'c Candidate, Algorithm)> {
    let pairs = candidates.iter().flat_map(|candidate| BOTH.map(|algorithm| (candidate, algorithm)));
    pairs.into_iter().find(|(candidate, algorithm)| {
        wechat_pay::sign::sign(document.iter(), &candidate.key, *algorithm) == sign
    })
}
