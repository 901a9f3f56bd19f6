//! What differs between the configuration that runs and one that was read: which merchants came, went or changed, and
//! which keys take effect at the next start only. Names keys and merchants, never values; changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use delivery::Endpoint;

use super::watch::{Print, Prints};
use crate::config::{Config, Merchant, Secret, Shown};

/// Keys whose change takes effect at once; of a section in brackets every entry. What is not named here needs a
/// restart, so that a key that comes later is never promised too much.
const LIVE_SECTIONS: [&str; 2] = ["merchant[", "console.token["];
const WEBHOOK: &str = "webhook[";
const WEBHOOK_KEYS: [&str; 4] = ["secret_file", "secret_files", "secret", "secrets"];
const LIVE_KEYS: [(&str, &str); 6] = [
    ("ingress", "tls_cert_file"),
    ("ingress", "tls_key_file"),
    ("proxy", "tls_cert_file"),
    ("proxy", "tls_key_file"),
    ("console", "token_file"),
    // Of tokens without a rate of their own; see `rate_of_all`.
    ("console", "rate"),
];

/// Merchants by what became of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merchants {
    pub added: Vec<String>,
    pub removed: Vec<String>,
    pub changed: Vec<String>,
    /// Changed, and the key that was current is in neither place any more.
    pub without_former_key: Vec<String>,
}

impl Merchants {
    pub fn between(before: &[Merchant], after: &[Merchant]) -> Self {
        let by_number = |merchants: &[Merchant]| -> BTreeMap<String, Merchant> {
            merchants.iter().map(|merchant| (merchant.mch_id.to_string(), merchant.clone())).collect()
        };
        let (before, after) = (by_number(before), by_number(after));
        let removed = before.keys().filter(|mch_id| !after.contains_key(*mch_id)).cloned().collect();
        let mut found = Self { removed, ..Self::default() };
        for (mch_id, merchant) in after {
            match before.get(&mch_id) {
                None => found.added.push(mch_id),
                Some(former) if *former != merchant => {
                    let former_key = former.keys.first();
                    if former_key.is_some_and(|key| !merchant.keys.contains(key)) {
                        found.without_former_key.push(mch_id.clone());
                    }
                    found.changed.push(mch_id);
                }
                Some(_) => {}
            }
        }
        found
    }
}

/// What the process began with, as far as only a restart can change it.
#[derive(Debug)]
pub struct Fixed {
    keys: BTreeSet<Key>,
    /// What `shown` does not tell apart, because it hides it.
    urls: [(&'static str, Secret); 2],
    tls: [(&'static str, bool); 2],
    /// The rate of an API without tokens, which keeps that of its start; `None` where there are tokens.
    rate_of_all: Option<u32>,
    rate: u32,
    /// Addresses of endpoints, whose queries `shown` hides.
    endpoints: BTreeSet<(String, String)>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    name: String,
    value: String,
    /// What is in the files that it names.
    files: Vec<Option<Print>>,
}

impl Fixed {
    pub fn of(config: &Config, shown: &[Shown], prints: &Prints) -> Self {
        let is_live = |shown: &&Shown| {
            LIVE_SECTIONS.iter().any(|section| shown.section.starts_with(section))
                || (shown.section.starts_with(WEBHOOK) && WEBHOOK_KEYS.contains(&shown.key))
                || LIVE_KEYS.contains(&(shown.section.as_str(), shown.key))
        };
        let key = |shown: &Shown| Key {
            name: match shown.section.as_str() {
                "" => shown.key.to_owned(),
                section => format!("{section}.{}", shown.key),
            },
            value: shown.value.clone(),
            files: files(shown).iter().map(|file| prints.of(file)).collect(),
        };
        Self {
            keys: shown.iter().filter(|shown| !is_live(shown)).map(key).collect(),
            urls: [("rabbitmq.url", config.rabbitmq.url.clone()), ("redis.url", config.redis.url.clone())],
            tls: [
                ("ingress.tls_cert_file", config.ingress.tls.is_some()),
                ("proxy.tls_cert_file", config.proxy.as_ref().is_some_and(|proxy| proxy.tls.is_some())),
            ],
            rate_of_all: config.console.tokens.is_empty().then_some(config.console.rate),
            rate: config.console.rate,
            endpoints: addresses(&config.endpoints),
        }
    }

    /// The keys of `other` that differ, by name.
    pub fn differing(&self, other: &Fixed) -> BTreeSet<String> {
        let by_key = self.keys.symmetric_difference(&other.keys).map(|key| key.name.clone());
        let by_url = self.urls.iter().zip(&other.urls).filter(|((_, own), (_, others))| own != others);
        let by_tls = self.tls.iter().zip(&other.tls).filter(|((_, own), (_, others))| own != others);
        let named = by_url.map(|((name, _), _)| *name).chain(by_tls.map(|((name, _), _)| *name));
        let by_address = self.endpoints.symmetric_difference(&other.endpoints).map(|(name, _)| name.clone());
        let by_rate = other.rate_of_all.filter(|rate| *rate != self.rate).map(|_| "console.rate".to_owned());
        by_key.chain(named.map(str::to_owned)).chain(by_address).chain(by_rate).collect()
    }
}

/// The name of each endpoint's address in the configuration, and its print.
fn addresses(endpoints: &[Endpoint]) -> BTreeSet<(String, String)> {
    let of_kind =
        |word: &'static str| endpoints.iter().filter(move |one| one.kind_word() == word).enumerate();
    let name = |word: &str, number: usize| format!("{word}[{number}].url");
    let address = |word| of_kind(word).map(move |(number, one)| (name(word, number), one.url.print()));
    ["webhook", "legacy"].into_iter().flat_map(address).collect()
}

/// The files that a key names: those whose name says so hold keys, tokens and certificates.
pub fn files(shown: &Shown) -> Vec<PathBuf> {
    let is_file = shown.key == "file" || shown.key.ends_with("_file") || shown.key.ends_with("_files");
    if !is_file {
        return Vec::new();
    }
    let parsed = toml::from_str::<toml::Table>(&format!("value = {}", shown.value));
    let value = parsed.ok().and_then(|mut table| table.remove("value"));
    let paths: Vec<String> = match value {
        Some(toml::Value::String(path)) => vec![path],
        Some(toml::Value::Array(paths)) => {
            paths.iter().filter_map(|path| path.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    };
    paths.into_iter().map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::{super::watch::Printer, *};
    use crate::config::load;

    const MERCHANT: &str = "[[merchant]]\nmch_id = \"1900000109\"\napp_ids = [\"wx8888888888888888\"]\n\
                            api_key = \"192006250b4c09247ec02edce69f6a2d\"\n";

    struct Files {
        folder: tempfile::TempDir,
        printer: Printer,
    }

    impl Files {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), printer: Printer::default() }
        }

        fn path(&self, name: &str) -> String {
            self.folder.path().join(name).display().to_string()
        }

        fn read(&self, text: &str) -> (Config, Fixed) {
            let file = self.path("paybell.toml");
            fs::write(&file, text).unwrap();
            let loaded = load(Some(Path::new(&file)), []);
            let shown = loaded.shown.clone();
            let prints = self.printer.take(&shown.iter().flat_map(files).collect());
            let config = loaded.checked().unwrap_or_else(|problems| panic!("{problems}"));
            let fixed = Fixed::of(&config, &shown, &prints);
            (config, fixed)
        }
    }

    fn needs_restart(before: &str, after: &str) -> Vec<String> {
        let files = Files::new();
        let (_, before) = files.read(before);
        let (_, after) = files.read(after);
        before.differing(&after).into_iter().collect()
    }

    #[test]
    fn merchants_and_tokens_need_no_restart() {
        let files = Files::new();
        fs::write(files.path("token"), "a-token").unwrap();
        let with_token = format!("console.token_file = \"{}\"\n{MERCHANT}", files.path("token"));
        assert!(needs_restart(MERCHANT, &with_token).is_empty());
        let with_rate = |rate: &str, text: &str| format!("console.rate = \"{rate}\"\n{text}");
        assert!(needs_restart(&with_rate("5/s", &with_token), &with_rate("6/s", &with_token)).is_empty());
        assert_eq!(
            needs_restart(&with_rate("5/s", MERCHANT), &with_rate("6/s", MERCHANT)),
            ["console.rate"],
            "the rate of all who need no token"
        );
        let webhook = |secret: &str| {
            format!(
                "{MERCHANT}[[webhook]]\nname = \"erp\"\nurl = \"https://erp.example/\"\nsecret = \"{secret}\"\n"
            )
        };
        let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"];
        assert!(needs_restart(&webhook(secrets[0]), &webhook(secrets[1])).is_empty());
        let other = MERCHANT.replace("1920", "2031").replace("1900000109", "1900000222");
        assert!(needs_restart(MERCHANT, &format!("{MERCHANT}{other}")).is_empty());
    }

    #[test]
    fn everything_else_is_named() {
        let with = |line: &str| format!("{line}\n{MERCHANT}");
        for (line, name) in [
            ("ingress.listen = \"127.0.0.1:1\"", "ingress.listen"),
            ("redis.prefix = \"other\"", "redis.prefix"),
            ("redis.url = \"redis://:secret@127.0.0.1:6379\"", "redis.url"),
            ("engine = \"cluster\"", "engine"),
            ("retention.orders = \"50d\"", "retention.orders"),
        ] {
            assert_eq!(needs_restart(MERCHANT, &with(line)), [name]);
        }
        let url = |password: &str| with(&format!("redis.url = \"redis://:{password}@127.0.0.1:6379\""));
        assert_eq!(needs_restart(&url("one"), &url("two")), ["redis.url"], "a hidden part differs");
        let webhook = |token: &str| {
            format!(
                "{MERCHANT}[[webhook]]\nname = \"erp\"\nurl = \"https://erp.example/?token={token}\"\n\
                 secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n"
            )
        };
        assert_eq!(needs_restart(&webhook("one"), &webhook("two")), ["webhook[0].url"]);
    }

    #[test]
    fn a_file_with_other_contents_is_a_change_of_the_key_that_names_it() {
        let files = Files::new();
        let text = format!("rabbitmq.url_file = \"{}\"\n{MERCHANT}", files.path("url"));
        fs::write(files.path("url"), "amqp://127.0.0.1:5672/%2f").unwrap();
        let (_, before) = files.read(&text);
        fs::write(files.path("url"), "amqp://127.0.0.2:5672/%2f").unwrap();
        let (_, after) = files.read(&text);
        let names: Vec<String> = before.differing(&after).into_iter().collect();
        assert_eq!(names, ["rabbitmq.url", "rabbitmq.url_file"]);
    }

    #[test]
    fn merchants_are_told_apart_by_what_became_of_them() {
        let files = Files::new();
        let merchant = |mch_id: &str, key: &str| {
            MERCHANT
                .replace("1900000109", mch_id)
                .replace("192006250b4c09247ec02edce69f6a2d", &key.repeat(32))
        };
        let rotated = format!("{}previous_api_key = \"{}\"\n", merchant("2", "b"), "a".repeat(32));
        let before = [merchant("1", "a"), merchant("2", "a"), merchant("3", "a"), merchant("4", "a")];
        let after = [merchant("1", "a"), rotated, merchant("3", "b"), merchant("5", "a")];
        let (before, _) = files.read(&before.concat());
        let (after, _) = files.read(&after.concat());
        let found = Merchants::between(&before.merchants, &after.merchants);
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let expected = Merchants {
            added: texts(&["5"]),
            removed: texts(&["4"]),
            changed: texts(&["2", "3"]),
            without_former_key: texts(&["3"]),
        };
        assert_eq!(found, expected);
    }
}
