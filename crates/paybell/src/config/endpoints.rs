//! `[[webhook]]` and `[[legacy]]`: where events are brought to. Secrets are read here, once; what leaves can be
//! delivered to, or is among the problems.

use std::path::Path;

use delivery::{Begin, Endpoint, EndpointName, EndpointUrl, Kind, Reach, Refunded, Wanted, WebhookSecret};
use paybell_core::{MchId, event::EventType};

use super::{
    merchant::Merchant,
    reader::Section,
    secret::read_file,
    values::{mch_id, one_of},
};

/// All endpoints that are complete, webhooks first; what is missing in the others is among the problems.
pub(super) fn endpoints(root: &mut Section<'_>) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = root.sections("webhook", webhook).into_iter().flatten().collect();
    endpoints.extend(root.sections("legacy", legacy).into_iter().flatten());
    for (number, endpoint) in endpoints.iter().enumerate() {
        let name = &endpoint.name;
        if endpoints.iter().take(number).any(|earlier| earlier.name == *name) {
            let what = format!("two endpoints have the name \"{name}\": give each a name of its own");
            root.problem(endpoint.kind_word(), what);
        }
    }
    endpoints
}

/// An endpoint that waits for a merchant nobody configured waits for a slip of the pen.
pub(super) fn refuse_strangers(root: &mut Section<'_>, endpoints: &[Endpoint], merchants: &[Merchant]) {
    for endpoint in endpoints {
        let is_known = |mch_id: &&MchId| !merchants.iter().any(|merchant| merchant.mch_id == **mch_id);
        if let Some(mch_id) = endpoint.wanted.mch_ids.iter().find(is_known) {
            let what =
                format!("\"{}\" names the mch_id \"{mch_id}\", which no [[merchant]] has", endpoint.name);
            root.problem(endpoint.kind_word(), what);
        }
    }
}

fn webhook(section: &mut Section<'_>) -> Option<Endpoint> {
    let name = section.optional("name", name);
    let reach = Reach {
        allow_private: section.boolean("allow_private", false),
        allow_http: section.boolean("allow_http", false),
    };
    let address = address(section, reach);
    let secrets = secrets(section);
    let types = section.optional_list("types", event_type);
    let mch_ids = section.optional_list("mch_ids", mch_id);
    let begin = begin(section);
    let (text, url) = address?;
    let name = name.or_else(|| EndpointName::of_url("webhook", &text).ok())?;
    let kind = Kind::Webhook(secrets?.into());
    checked(section, Endpoint { name, url, wanted: Wanted { types, mch_ids }, begin, kind })
}

/// The shop's own handler lies on the same machine or in the same network as a rule.
fn legacy(section: &mut Section<'_>) -> Option<Endpoint> {
    let name = section.optional("name", name);
    let reach = Reach { allow_private: section.boolean("allow_private", true), allow_http: false };
    let address = address(section, reach);
    let mch_ids = section.optional_list("mch_ids", mch_id);
    let begin = begin(section);
    let words = [("hold_back", Refunded::HoldBack), ("tell", Refunded::Tell)];
    let refunded = section.value("refunded", "hold_back", |text| one_of(text, &words));
    let (text, url) = address?;
    let name = name.or_else(|| EndpointName::of_url("legacy", &text).ok())?;
    let wanted = Wanted { types: Vec::new(), mch_ids };
    checked(section, Endpoint { name, url, wanted, begin, kind: Kind::Legacy(refunded) })
}

fn checked(section: &mut Section<'_>, endpoint: Endpoint) -> Option<Endpoint> {
    endpoint.checked().map_err(|error| section.problem("url", error.to_string())).ok()
}

/// The address, and its text, which a missing name is made of.
fn address(section: &mut Section<'_>, reach: Reach) -> Option<(String, EndpointUrl)> {
    let address = section.address("url", |text| {
        let url = EndpointUrl::parse(text, reach).map_err(|error| error.to_string())?;
        Ok((text.to_owned(), url))
    });
    section.require("url", "the address that events are posted to");
    address
}

/// The keys under which secrets are given.
const SECRET_KEYS: [&str; 4] = ["secret_file", "secret_files", "secret", "secrets"];

/// One or several, newest first, in exactly one of the four ways. `None` if a problem says why.
fn secrets(section: &mut Section<'_>) -> Option<Vec<WebhookSecret>> {
    let before = section.problem_count();
    let mut secrets: Vec<WebhookSecret> =
        section.optional("secret_file", secret_in_file).into_iter().collect();
    secrets.extend(section.optional_list("secret_files", secret_in_file));
    secrets.extend(section.secret("secret", secret));
    secrets.extend(section.secret_list("secrets", secret));
    let given: Vec<&str> = SECRET_KEYS.into_iter().filter(|key| section.is_given(key)).collect();
    match given.as_slice() {
        [] => {
            section.problem("secret_file", "missing: name the file with the secret (whsec_…), or set secret")
        }
        [_] if secrets.is_empty() && section.problem_count() == before => {
            section.problem("secret_file", "name at least one secret");
        }
        [_] => {}
        several => section.problem("secret_file", format!("give one of {}, not all", several.join(", "))),
    }
    (section.problem_count() == before).then_some(secrets)
}

fn secret(text: &str) -> Result<WebhookSecret, String> {
    WebhookSecret::parse(text).map_err(|error| {
        format!("{error}; make one with: echo \"whsec_$(head -c 32 /dev/urandom | base64)\"")
    })
}

fn secret_in_file(path: &str) -> Result<WebhookSecret, String> {
    let text = read_file(Path::new(path))?;
    secret(text.reveal()).map_err(|what| format!("{path}: {what}"))
}

fn name(text: &str) -> Result<EndpointName, String> {
    EndpointName::new(text).map_err(|error| error.to_string())
}

fn begin(section: &mut Section<'_>) -> Begin {
    section.value("begin", "now", |text| one_of(text, &[("now", Begin::Now), ("oldest", Begin::Oldest)]))
}

fn event_type(text: &str) -> Result<EventType, String> {
    let words = EventType::ALL.map(|kind| (kind.as_str(), kind));
    one_of(text, &words)
}
