//! The environment over the file, and without one.

use super::*;

#[test]
fn the_environment_stands_over_the_file() {
    let config = config(
        MERCHANT,
        &[
            ("PAYBELL__ENGINE", "cluster"),
            ("PAYBELL__INGRESS__LISTEN", "127.0.0.1:0"),
            ("PAYBELL__RABBITMQ__PARTITIONS", "8"),
            ("PAYBELL__WECHAT__BASE_URLS", "http://127.0.0.1:1, http://127.0.0.1:2"),
            ("PAYBELL__SCHEDULE__CADENCE", r#"["1s", "2s"]"#),
            ("PAYBELL__MERCHANT__0__API_KEY", OTHER_KEY),
            ("PAYBELL__MERCHANT__0__CLOSE_UNPAID", "true"),
            ("PAYBELL__MERCHANT__1__MCH_ID", "1900000110"),
            ("PAYBELL__MERCHANT__1__APP_IDS", "wx1,wx2"),
            ("PAYBELL__MERCHANT__1__API_KEY", KEY),
            ("PAYBELL__MERCHANT__1__SUB_MCH_IDS__0", "1900000111"),
            ("PAYBELL_API", "not ours to read"),
        ],
    );
    assert_eq!(config.engine, EngineKind::Cluster);
    assert_eq!(config.ingress.listen.as_str(), "127.0.0.1:0");
    assert_eq!(config.rabbitmq.partitions, 8);
    assert_eq!(config.base_urls, ["http://127.0.0.1:1", "http://127.0.0.1:2"]);
    assert_eq!(config.cadence, Cadence::from_gaps([Millis::seconds(1), Millis::seconds(2)]).unwrap());
    assert!(config.merchants[0].close_unpaid);
    assert_eq!(config.merchants[0].keys[0], wechat_pay::sign::ApiKey::new(OTHER_KEY).unwrap());
    assert_eq!(config.merchants[1].app_ids.len(), 2);
    assert_eq!(config.merchants[1].sub_mch_ids[0].as_str(), "1900000111");
}

#[test]
fn the_environment_alone_is_enough() {
    let whole =
        r#"[{mch_id = "1900000109", app_ids = ["wx1"], api_key = "192006250b4c09247ec02edce69f6a2d"}]"#;
    assert_eq!(config("", &[("PAYBELL__MERCHANT", whole)]).merchants.len(), 1);
    let key_by_key = [
        ("PAYBELL__MERCHANT__0__MCH_ID", "1900000109"),
        ("PAYBELL__MERCHANT__0__APP_IDS__0", "wx1"),
        ("PAYBELL__MERCHANT__0__API_KEY", KEY),
    ];
    assert_eq!(config("", &key_by_key).merchants[0].mch_id.as_str(), "1900000109");
    let changed = config("", &[("PAYBELL__MERCHANT", whole), ("PAYBELL__MERCHANT__0__APP_IDS", "wx2")]);
    assert_eq!(changed.merchants[0].app_ids[0].as_str(), "wx2");
}

#[test]
fn wrong_variables_are_refused_by_name() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "PAYBELL__INGRESS__LISTN",
            "x",
            &["PAYBELL__INGRESS__LISTN: ingress.listn: unknown key", "\"LISTEN\""],
        ),
        ("PAYBELL__INGRES__LISTEN", "x", &["PAYBELL__INGRES__LISTEN: ingres: unknown key", "\"INGRESS\""]),
        ("PAYBELL__INGRESS__LISTEN", "x", &["PAYBELL__INGRESS__LISTEN: ingress.listen:", "HOST:PORT"]),
        ("PAYBELL__INGRESS", "x", &["PAYBELL__INGRESS: ingress: must be a section"]),
        ("PAYBELL__ENGINE__KIND", "x", &["PAYBELL__ENGINE__KIND", "engine is not a section"]),
        ("PAYBELL__", "x", &["write PAYBELL__SECTION__KEY"]),
        ("PAYBELL__INGRESS__", "x", &["write PAYBELL__SECTION__KEY"]),
        ("PAYBELL__0", "x", &["a number can only follow the name of a list"]),
        ("PAYBELL__MERCHANT__2__MCH_ID", "19", &["there are 1 of merchant: the next number is 1"]),
        ("PAYBELL__MERCHANT__MCH_ID", "19", &["merchant is a list: follow it by a number"]),
        ("PAYBELL__MERCHANT__0__CLOSE_UNPAID", "yes", &["true or false"]),
        ("PAYBELL__MERCHANT__0__API_KEY", "hunter2", &["exactly 32 ASCII characters, this one has 7"]),
        ("PAYBELL__RABBITMQ__PARTITIONS", "many", &["a whole number from 1 to 64"]),
        ("PAYBELL__WECHAT__BASE_URLS", "[\"http://x\"", &["not a TOML list"]),
    ];
    for (name, value, words) in cases {
        let said = problems(&format!("engine = \"embedded\"\n{MERCHANT}"), &[(name, value)]).join("\n");
        for word in *words {
            assert!(said.contains(word), "{name}={value}\nshould say {word:?}, says\n{said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}
