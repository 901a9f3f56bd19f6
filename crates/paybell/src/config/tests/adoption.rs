//! Proxy, webhooks and old handlers in the configuration.

use delivery::{Begin, Kind, Refunded};
use paybell_core::{MchId, event::EventType};

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_hTkRBz2mTgXJ0ne0zDZ1uUQF4Nf5Cm2dPj5qR7wUuY8=";

fn with(text: &str) -> String {
    format!("{text}{MERCHANT}")
}

#[test]
fn without_them_nothing_is_proxied_or_delivered() {
    let config = config(MERCHANT, &[]);
    assert!(config.proxy.is_none() && config.endpoints.is_empty());
    assert_eq!(config.mode, Mode::Live);
    assert_eq!(super::config(&with("mode = \"shadow\"\n"), &[]).mode, Mode::Shadow);
}

#[test]
fn a_proxy_has_an_address_and_off_loopback_its_callers() {
    let config = config(
        &with("[proxy]\nlisten = \"0.0.0.0:8083\"\nsources = [\"10.0.0.0/8\", \"::1\"]\n"),
        &[("PAYBELL__PROXY__LISTEN", "[::]:8083")],
    );
    let proxy = config.proxy.unwrap();
    assert_eq!((proxy.listen.as_str(), proxy.sources.len()), ("[::]:8083", 2));
    assert!(proxy.tls.is_none() && matches!(proxy.trust, ::proxy::Trust::WebRoots));
    for (text, words) in [
        ("listen = \"0.0.0.0:8083\"", vec!["proxy.listen: 0.0.0.0:8083 is not loopback", "sources"]),
        ("sources = [\"10.0.0.0/8\"]", vec!["proxy.listen: missing"]),
        ("listen = \"127.0.0.1:0\"\nsources = [\"10.0.0.1/8\"]", vec!["proxy.sources:", "10.0.0.0/8"]),
        ("listen = \"0.0.0.0:0\"\nsources = [\"shop\"]", vec!["paybell.toml:3: proxy.sources:"]),
        ("listen = \"127.0.0.1:8081\"", vec!["listen is 127.0.0.1:8081, which console listens on"]),
        ("listen = \"127.0.0.1:0\"\nupstream_ca_file = \"/nowhere/ca\"", vec!["cannot read /nowhere/ca"]),
        ("listen = \"127.0.0.1:0\"\ntls_cert_file = \"/x\"", vec!["needs tls_key_file beside it"]),
    ] {
        let said = problems(&with(&format!("[proxy]\n{text}\n")), &[]);
        assert_eq!(said.len(), 1, "{text}: {said:?}");
        for word in words {
            assert!(said[0].contains(word), "{text} should say {word:?}, says {said:?}");
        }
    }
}

#[test]
fn the_gateway_s_authority_must_be_a_certificate() {
    let folder = Folder::new();
    let text = folder.put("ca.pem", "-----BEGIN NONSENSE-----").display().to_string();
    let with_authority = with(&format!("[proxy]\nlisten = \"127.0.0.1:0\"\nupstream_ca_file = \"{text}\"\n"));
    let said = Problems(folder.load(&with_authority, &[]).problems).to_string();
    assert!(said.contains("ca.pem: the trusted roots are not usable: no certificate in PEM"), "{said}");
    let pair = rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
    folder.put("ca.pem", &pair.cert.pem());
    let proxy = folder.load(&with_authority, &[]).checked().unwrap().proxy.unwrap();
    assert!(matches!(proxy.trust, ::proxy::Trust::Pem(_)));
}

#[test]
fn endpoints_are_read_with_their_defaults() {
    let folder = Folder::new();
    let old = folder.put("old", &format!("{OTHER_SECRET}\n")).display().to_string();
    let new = folder.put("new", SECRET).display().to_string();
    let text = format!(
        r#"
[[webhook]]
url = "https://shop.example/hook"
secret = "{SECRET}"
[[webhook]]
name = "erp"
url = "http://10.0.0.7/hook?token=hunter2"
secret_files = ["{new}", "{old}"]
types = ["order.paid", "order.mismatch"]
mch_ids = ["1900000109"]
allow_private = true
begin = "oldest"
[[legacy]]
url = "http://127.0.0.1:9000/notify.php"
refunded = "tell"
"#
    );
    let loaded = folder.load(&with(&text), &[("PAYBELL__WEBHOOK__0__URL", "https://shop.example/hook2")]);
    let shown = as_toml(&loaded.shown);
    assert!(
        shown.contains("url = \"http://10.0.0.7/hook?…\"") && shown.contains("secret = \"***\""),
        "{shown}"
    );
    assert!(!shown.contains("hunter2") && !shown.contains("whsec"), "{shown}");
    assert!(toml::from_str::<toml::Table>(&shown).is_ok(), "{shown}");
    let config = loaded.checked().unwrap();
    let [shop, erp, legacy] = config.endpoints.as_slice() else { panic!("{:?}", config.endpoints) };
    assert!(shop.name.as_str().starts_with("webhook-") && shop.name.as_str().len() == 16, "{}", shop.name);
    assert_eq!((shop.url.to_string().as_str(), shop.begin), ("https://shop.example/hook2", Begin::Now));
    assert!(!shop.url.reach.allow_private && shop.wanted.types.is_empty());
    assert_eq!((erp.name.as_str(), erp.begin), ("erp", Begin::Oldest));
    assert_eq!(erp.wanted.types, [EventType::Paid, EventType::Mismatch]);
    assert!(matches!(&erp.kind, Kind::Webhook(secrets) if secrets.count() == 2));
    assert!(legacy.url.reach.allow_private && matches!(legacy.kind, Kind::Legacy(Refunded::Tell)));
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_missing_name_does_not_depend_on_the_place_in_the_file() {
    let hook =
        |path: &str| format!("[[webhook]]\nurl = \"https://shop.example/{path}\"\nsecret = \"{SECRET}\"\n");
    let names = |text: String| -> Vec<String> {
        config(&with(&text), &[]).endpoints.iter().map(|endpoint| endpoint.name.to_string()).collect()
    };
    let (one_way, other_way) = (names(hook("a") + &hook("b")), names(hook("b") + &hook("a")));
    assert_eq!(one_way, [other_way[1].clone(), other_way[0].clone()]);
    assert_ne!(one_way[0], one_way[1]);
}

#[test]
fn an_old_handler_lets_records_keep_the_payer() {
    let (ours, other) = (MchId::new("1900000109").unwrap(), MchId::new("1900000110").unwrap());
    let legacy = "[[legacy]]\nurl = \"http://127.0.0.1/\"\n";
    assert_eq!(config(MERCHANT, &[]).openid_of(&ours), OpenidPolicy::Omit);
    assert_eq!(config(&with(legacy), &[]).openid_of(&ours), OpenidPolicy::Keep);
    let of_one = config(&with(&format!("{legacy}mch_ids = [\"1900000109\"]\n")), &[]);
    assert_eq!((of_one.openid_of(&ours), of_one.openid_of(&other)), (OpenidPolicy::Keep, OpenidPolicy::Omit));
    let included = config(&with(legacy), &[("PAYBELL__EVENTS__OPENID", "include")]);
    assert_eq!(included.openid_of(&ours), OpenidPolicy::Include);
    let hook = format!("[[webhook]]\nurl = \"https://shop.example/\"\nsecret = \"{SECRET}\"\n");
    assert_eq!(config(&with(&hook), &[]).openid_of(&ours), OpenidPolicy::Omit, "a webhook is told no more");
}

/// The lines of one `[[webhook]]`, and the words that must be said about them.
const WRONG_WEBHOOKS: &[(&str, &[&str])] = &[
    ("", &["webhook[0].url: missing", "webhook[0].secret_file: missing"]),
    (
        "url = \"https://x/\"\nsecret = \"hunter2!\"",
        &["webhook[0].secret: a webhook secret is whsec_", "urandom"],
    ),
    ("url = \"https://x/\"\nsecret = \"whsec_AAAA\"", &["has 24 to 64 bytes, this one has 3"]),
    ("url = \"https://x/\"\nsecrets = []", &["webhook[0].secret_file: name at least one secret"]),
    ("url = \"https://x/\"\nsecret_file = \"/nowhere/s\"", &["secret_file: cannot read /nowhere/s"]),
    ("url = \"https://x/\"\nsecret = \"S\"\nsecrets = [\"S\"]", &["give one of secret, secrets, not all"]),
    ("url = \"https://x/\"\nsecrets = [\"S\", \"S\", \"S\", \"S\", \"S\"]", &["needs 1 to 4 secrets, not 5"]),
    ("url = \"http://x/?t=hunter2\"\nsecret = \"S\"", &["webhook[0].url:", "allow_http = true"]),
    ("url = \"https://u:hunter2@x/\"\nsecret = \"S\"", &["webhook[0].url:", "names a user"]),
    ("url = \"https://x/\"\nsecret = \"S\"\nname = \"Shop\"", &["webhook[0].name:", "a-z 0-9 _ -"]),
    (
        "url = \"https://x/\"\nsecret = \"S\"\ntypes = [\"paid\"]",
        &["webhook[0].types: \"paid\" must be \"order.paid\""],
    ),
    (
        "url = \"https://x/\"\nsecret = \"S\"\nmch_ids = [\"7\"]",
        &["names the mch_id \"7\", which no [[merchant]] has"],
    ),
    (
        "url = \"https://x/\"\nsecret = \"S\"\nbegin = \"then\"",
        &["webhook[0].begin:", "\"now\" or \"oldest\""],
    ),
    (
        "url = \"https://x/\"\nsecret = \"S\"\nsecert = \"x\"",
        &["webhook[0].secert: unknown key", "\"secret\""],
    ),
    (
        "url = \"https://x/\"\nsecret = \"S\"\n[[webhook]]\nurl = \"https://x/\"\nsecret = \"S\"",
        &["give each a name of its own"],
    ),
    (
        "url = \"https://x/\"\nsecret = \"S\"\nname = \"a\"\n[[legacy]]\nname = \"a\"\nurl = \"http://y/\"",
        &["legacy: two endpoints have the name \"a\""],
    ),
    (
        "url = \"https://x/\"\nsecret = \"S\"\n[[legacy]]\nurl = \"http://y/\"\nallow_private = false",
        &["legacy[0].url:"],
    ),
    (
        "url = \"https://x/\"\nsecret = \"S\"\n[[legacy]]\nurl = \"http://y/\"\nrefunded = \"no\"",
        &["\"hold_back\" or \"tell\""],
    ),
    (
        "url = \"https://x/\"\nsecret = \"S\"\n[[legacy]]\nurl = \"http://y/\"\nmch_ids = [\"7\"]",
        &["legacy: ", "\"7\", which no [[merchant]]"],
    ),
];

#[test]
fn wrong_endpoints_are_refused_with_their_place_and_show_no_secret() {
    for (text, words) in WRONG_WEBHOOKS {
        let text = text.replace("\"S\"", &format!("\"{SECRET}\""));
        let said = problems(&with(&format!("[[webhook]]\n{text}\n")), &[]).join("\n");
        for word in *words {
            assert!(said.contains(word), "{text}\nshould say {word:?}, says\n{said}");
        }
        assert!(!said.contains("hunter2") && !said.contains("MfKQ9r8G"), "{said}");
    }
    assert!(
        problems(&with("mode = \"test\"\n"), &[])[0]
            .contains("mode: \"test\" must be \"live\" or \"shadow\"")
    );
}
