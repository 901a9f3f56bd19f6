//! Configuration: a TOML file with the environment over it, read once and checked once.
//!
//! [`load`] gives everything that is wrong at once, and what is in effect with its origin. It binds nothing and
//! connects to nothing; it does read the key, token and certificate files. [`Config`] goes to [`crate::boot`].

mod app;
mod certificate;
mod endpoints;
mod environment;
mod exposure;
mod merchant;
mod problem;
mod proxy;
mod reader;
mod reconcile;
mod secret;
mod sections;
mod show;
#[cfg(test)]
mod tests;
mod tree;
pub mod values;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use delivery::{Endpoint, Kind};
use paybell_core::{Cadence, MchId, OpenidPolicy, time::Millis};

pub use self::proxy::Proxy;
pub use app::App;
pub use environment::PREFIX as ENVIRONMENT_PREFIX;
pub use merchant::Merchant;
pub use problem::{Problem, Problems};
pub use reader::Shown;
pub use reconcile::{BillScope, Reconcile};
pub use secret::{PemPair, Secret, api_key, read_file as read_secret_file};
pub use sections::{Console, EngineKind, Ingress, Mode, Rabbitmq, Redis, Retention, Scope, Token};
pub use show::{as_json, as_toml};
pub use tree::Origin;
pub use values::ListenAddress;

/// The commented sample: every value in it is the default.
pub const SAMPLE: &str = include_str!("config/sample.toml");

/// The same with comments in Chinese.
pub const SAMPLE_ZH: &str = include_str!("config/sample.zh-CN.toml");

/// Read when no file is named; it may then be absent.
pub const DEFAULT_FILE: &str = "paybell.toml";

/// Everything that the roles are told, checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub engine: EngineKind,
    pub mode: Mode,
    pub data_dir: PathBuf,
    pub rabbitmq: Rabbitmq,
    pub redis: Redis,
    pub ingress: Ingress,
    /// Absent: no proxy.
    pub proxy: Option<Proxy>,
    pub console: Console,
    pub admin_listen: ListenAddress,
    /// How often a canary is sent over the public URL; absent: never.
    pub canary: Option<Millis>,
    pub base_urls: Vec<String>,
    /// Where codes become openids.
    pub openid_base_url: String,
    /// How long what WeChat offers is good: a `prepay_id` and a `code_url`, and an `mweb_url`.
    pub prepay_life: Millis,
    pub mweb_life: Millis,
    pub cadence: Cadence,
    pub openid: OpenidPolicy,
    pub retention: Retention,
    pub reconcile: Reconcile,
    pub merchants: Vec<Merchant>,
    /// Webhooks first, then old handlers; their names differ.
    pub endpoints: Vec<Endpoint>,
}

impl Config {
    /// Where the openid of a merchant's payers goes: an old handler is told it, so records keep it where there is one.
    pub fn openid_of(&self, mch_id: &MchId) -> OpenidPolicy {
        let tells = |endpoint: &Endpoint| {
            let mch_ids = &endpoint.wanted.mch_ids;
            matches!(endpoint.kind, Kind::Legacy(_)) && (mch_ids.is_empty() || mch_ids.contains(mch_id))
        };
        match self.openid {
            OpenidPolicy::Omit if self.endpoints.iter().any(tells) => OpenidPolicy::Keep,
            policy => policy,
        }
    }
}

/// What reading gave.
#[derive(Debug)]
pub struct Loaded {
    /// Absent if the file could not be read at all.
    config: Option<Config>,
    pub problems: Vec<Problem>,
    pub shown: Vec<Shown>,
}

impl Loaded {
    /// The configuration, if nothing is wrong with it.
    pub fn checked(self) -> Result<Config, Problems> {
        match self.config {
            Some(config) if self.problems.is_empty() => Ok(config),
            _ => Err(Problems(self.problems)),
        }
    }

    /// Where the admin listener is, whatever else is wrong: a process that runs with what it read before can be asked.
    pub fn admin_listen(&self) -> Option<&ListenAddress> {
        self.config.as_ref().map(|config| &config.admin_listen)
    }
}

/// The variables of this process: read here and nowhere else.
pub fn process_environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os()
}

/// One variable by name, for a command that was told the name.
pub fn variable(name: &str) -> Option<Secret> {
    let (_, value) = process_environment().find(|(found, _)| found == name)?;
    value.into_string().ok().map(Secret::new)
}

/// Reads `file` (without one [`DEFAULT_FILE`], if it exists) and lays `variables` over it.
pub fn load(file: Option<&Path>, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Loaded {
    let (mut table, origin, problems) = read_file(file);
    if !problems.is_empty() {
        // What is missing in a file that could not be read is no finding of its own.
        return Loaded { config: None, problems, shown: Vec::new() };
    }
    let problems = environment::overlay(&mut table, variables);
    let mut findings = reader::Findings { problems, shown: Vec::new() };
    let config = reader::read_root(table, origin, &mut findings, read);
    Loaded { config: Some(config), problems: findings.problems, shown: findings.shown }
}

fn read_file(file: Option<&Path>) -> (tree::Table, Origin, Vec<Problem>) {
    let path = file.unwrap_or(Path::new(DEFAULT_FILE));
    let name = path.display();
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let (table, problems) = tree::parse_file(path, &text);
            (table, Origin::WholeFile(name.to_string().into()), problems)
        }
        Err(cause) if cause.kind() == io::ErrorKind::NotFound && file.is_none() => {
            (tree::Table::new(), Origin::WholeFile(format!("{name} (not found here)").into()), Vec::new())
        }
        Err(cause) => {
            let origin = Origin::WholeFile(name.to_string().into());
            let what = format!("cannot read it: {cause}; `paybell config sample` prints one to begin with");
            (tree::Table::new(), origin.clone(), vec![Problem::new(origin, "", what)])
        }
    }
}

fn read(root: &mut reader::Section<'_>) -> Config {
    // What is shown stands in the order in which it is read.
    let wechat;
    let (engine, mode, data_dir) = (sections::engine(root), sections::mode(root), sections::data_dir(root));
    let mut config = Config {
        engine,
        mode,
        rabbitmq: sections::rabbitmq(root),
        redis: sections::redis(root),
        ingress: sections::ingress(root),
        proxy: proxy::proxy(root),
        console: sections::console(root),
        admin_listen: sections::admin(root),
        canary: None,
        base_urls: {
            wechat = sections::wechat(root);
            wechat.base_urls
        },
        openid_base_url: wechat.openid_base_url,
        prepay_life: wechat.prepay_life,
        mweb_life: wechat.mweb_life,
        cadence: sections::cadence(root),
        openid: sections::events_openid(root),
        retention: sections::retention(root),
        reconcile: reconcile::reconcile(root, engine, &data_dir),
        merchants: merchant::merchants(root),
        endpoints: endpoints::endpoints(root),
        data_dir,
    };
    app::refuse_two_secrets(root, &config.merchants);
    endpoints::refuse_strangers(root, &config.endpoints, &config.merchants);
    config.canary = sections::canary(root, &config.ingress);
    refuse_shared_ports(root, &config);
    config
}

fn refuse_shared_ports(root: &mut reader::Section<'_>, config: &Config) {
    let mut all = vec![
        ("ingress", &config.ingress.listen),
        ("console", &config.console.listen),
        ("admin", &config.admin_listen),
    ];
    all.extend(config.proxy.as_ref().map(|proxy| ("proxy", &proxy.listen)));
    for (number, (name, address)) in all.iter().enumerate() {
        let earlier = all.iter().take(number).find(|(_, other)| other == address);
        if let Some((other, _)) = earlier.filter(|_| address.takes_a_fixed_port()) {
            root.problem(name, format!("listen is {}, which {other} listens on already", address.as_str()));
        }
    }
}
