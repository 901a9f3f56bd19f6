//! `[[merchant]]`: one merchant number with its keys and its rules. Keys are read here, once; what leaves is a
//! merchant that can verify and sign, or problems.

use std::num::NonZeroU32;

use paybell_core::{AppId, MchId, Unregistered};
use wechat_pay::sign::{AcceptedAlgorithm, Algorithm, ApiKey};

use super::{
    app::{App, apps},
    reader::Section,
    reconcile::{BillScope, bill_scope},
    secret::{PemPair, api_key, read_api_key},
    sections::pem_pair,
    values::{app_id, mch_id, one_of, per_second, unregistered},
};

/// A merchant as the roles need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merchant {
    pub mch_id: MchId,
    /// Never empty; the first is used in queries of orders whose appid is unknown.
    pub app_ids: Vec<AppId>,
    /// Empty accepts every sub merchant.
    pub sub_mch_ids: Vec<MchId>,
    /// The current one, then the previous one while a key is being replaced.
    pub keys: Vec<ApiKey>,
    /// What queries are signed with.
    pub algorithm: Algorithm,
    /// What notifications may be signed with.
    pub accepted: AcceptedAlgorithm,
    pub unregistered: Unregistered,
    pub close_unpaid: bool,
    pub queries_per_second: NonZeroU32,
    pub client_certificate: Option<PemPair>,
    pub bills: BillScope,
    /// Whose codes can be exchanged for openids.
    pub apps: Vec<App>,
}

#[cfg(test)]
impl Merchant {
    /// One with every default.
    pub fn sample(mch_id: &MchId) -> Self {
        Self {
            mch_id: mch_id.clone(),
            app_ids: Vec::new(),
            sub_mch_ids: Vec::new(),
            keys: Vec::new(),
            algorithm: Algorithm::Md5,
            accepted: AcceptedAlgorithm::Only(Algorithm::Md5),
            unregistered: Unregistered::default(),
            close_unpaid: false,
            queries_per_second: NonZeroU32::MIN,
            client_certificate: None,
            bills: BillScope::default(),
            apps: Vec::new(),
        }
    }
}

/// All merchants that are complete; what is missing in the others is among the problems.
pub(super) fn merchants(root: &mut Section<'_>) -> Vec<Merchant> {
    let before = root.problem_count();
    let merchants: Vec<Merchant> = root.sections("merchant", merchant).into_iter().flatten().collect();
    for (number, merchant) in merchants.iter().enumerate() {
        if merchants.iter().take(number).any(|earlier| earlier.mch_id == merchant.mch_id) {
            root.problem("merchant", format!("two merchants have the mch_id \"{}\"", merchant.mch_id));
        }
    }
    if merchants.is_empty() && root.problem_count() == before {
        root.problem("merchant", "no merchant: add [[merchant]] with mch_id, app_ids and api_key_file");
    }
    merchants
}

fn merchant(section: &mut Section<'_>) -> Option<Merchant> {
    let mch_id = section.optional("mch_id", mch_id);
    section.require("mch_id", "your merchant number (商户号), in quotes");
    let before = section.problem_count();
    let app_ids = section.list("app_ids", &[], app_id);
    if app_ids.is_empty() && section.problem_count() == before {
        section.problem("app_ids", "name at least one appid");
    }
    let current = key(section, "api_key", "api_key_file");
    if current == Key::Absent {
        section.problem("api_key_file", "missing: name the file with the API key, or set api_key");
    }
    let previous = key(section, "previous_api_key", "previous_api_key_file");
    if previous != Key::Absent && previous == current {
        section.problem("previous_api_key", "is the current key: leave it out, or give the one before");
    }
    let (algorithm, accepted) = section.value("sign_type", "MD5", sign_type);
    let sub_mch_ids = section.list("sub_mch_ids", &[], super::values::mch_id);
    let unregistered = section.value("unregistered", "emit", unregistered);
    let close_unpaid = section.boolean("close_unpaid", false);
    let rate = section.value("query_rate", "50/s", per_second);
    let client_certificate = pem_pair(section, "client_cert_file", "client_key_file");
    if let (Some(pair), Some(mch_id)) = (&client_certificate, &mch_id)
        && let Err(what) = pair.check_for(mch_id)
    {
        section.problem("client_cert_file", what);
    }
    let bills = bill_scope(section);
    // Last: a section of its own ends the merchant's keys where the configuration is shown.
    let apps = apps(section);
    let Key::Good(current) = current else { return None };
    let mut keys = vec![current];
    keys.extend(previous.good());
    Some(Merchant {
        mch_id: mch_id?,
        app_ids,
        sub_mch_ids,
        keys,
        algorithm,
        accepted,
        unregistered,
        close_unpaid,
        queries_per_second: NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN),
        client_certificate,
        bills,
        apps,
    })
}

#[derive(PartialEq)]
enum Key {
    Absent,
    /// Given, but unfit: a problem says so already.
    Bad,
    Good(ApiKey),
}

impl Key {
    fn good(self) -> Option<ApiKey> {
        match self {
            Self::Good(key) => Some(key),
            Self::Absent | Self::Bad => None,
        }
    }
}

fn key(section: &mut Section<'_>, inline: &'static str, file: &'static str) -> Key {
    let in_line = section.secret(inline, api_key);
    let in_file = section.optional(file, read_api_key);
    match (section.is_given(inline), section.is_given(file)) {
        (false, false) => Key::Absent,
        (true, true) => {
            section.problem(inline, format!("give {inline} or {file}, not both"));
            Key::Bad
        }
        _ => in_line.or(in_file).map_or(Key::Bad, Key::Good),
    }
}

fn sign_type(text: &str) -> Result<(Algorithm, AcceptedAlgorithm), String> {
    use Algorithm::{HmacSha256, Md5};
    one_of(
        text,
        &[
            ("MD5", (Md5, AcceptedAlgorithm::Only(Md5))),
            ("HMAC-SHA256", (HmacSha256, AcceptedAlgorithm::Only(HmacSha256))),
            ("any", (Md5, AcceptedAlgorithm::Any)),
        ],
    )
}
