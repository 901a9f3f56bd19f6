//! `[[merchant.app]]`: the AppSecret of an official account or a mini program, by which a payer's code becomes an openid.
//! An app may pay to several merchants and then stands with each, with the same secret.

use std::{collections::HashMap, path::Path};

use paybell_core::AppId;

use super::{
    merchant::Merchant,
    reader::Section,
    secret::{Secret, read_file},
    values::app_id,
};

/// As many as WeChat gives; a longer text is some other file.
const SECRET_CHARS_MAX: usize = 128;

/// An app whose codes can be exchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    pub appid: AppId,
    pub secret: Secret,
}

/// All that are complete; what is missing in the others is among the problems.
pub(super) fn apps(merchant: &mut Section<'_>) -> Vec<App> {
    let apps: Vec<App> = merchant.sections("app", app).into_iter().flatten().collect();
    for (number, app) in apps.iter().enumerate() {
        if apps.iter().take(number).any(|earlier| earlier.appid == app.appid) {
            merchant.problem("app", format!("two entries have the appid \"{}\"", app.appid));
        }
    }
    apps
}

/// One app has one secret, whoever is paid by it.
pub(super) fn refuse_two_secrets(root: &mut Section<'_>, merchants: &[Merchant]) {
    let mut known: HashMap<&AppId, &Secret> = HashMap::new();
    for app in merchants.iter().flat_map(|merchant| &merchant.apps) {
        let earlier = known.insert(&app.appid, &app.secret);
        if earlier.is_some_and(|earlier| *earlier != app.secret) {
            let what =
                format!("the app \"{}\" stands with two merchants and two AppSecrets: it has one", app.appid);
            root.problem("merchant", what);
        }
    }
}

fn app(section: &mut Section<'_>) -> Option<App> {
    let appid = section.optional("appid", app_id);
    section.require("appid", "the official account's or mini program's appid, in quotes");
    let inline = section.secret("app_secret", |text| app_secret(&Secret::new(text)));
    let in_file = section.optional("app_secret_file", read_app_secret);
    let secret = match (section.is_given("app_secret"), section.is_given("app_secret_file")) {
        (true, true) => {
            section.problem("app_secret", "give app_secret or app_secret_file, not both");
            None
        }
        (false, false) => {
            section
                .problem("app_secret_file", "missing: name the file with the AppSecret, or set app_secret");
            None
        }
        _ => inline.or(in_file),
    };
    Some(App { appid: appid?, secret: secret? })
}

fn read_app_secret(text: &str) -> Result<Secret, String> {
    app_secret(&read_file(Path::new(text))?).map_err(|what| format!("{text}: {what}"))
}

fn app_secret(secret: &Secret) -> Result<Secret, String> {
    let text = secret.reveal();
    let fits =
        (1..=SECRET_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        return Ok(secret.clone());
    }
    let found = text.chars().count();
    Err(format!("an AppSecret has 32 letters and digits on one line, this text has {found} characters"))
}
