//! The commands that need no service: configuration, signs, usage. Input → exit code and the words that must appear.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

use std::fs;

mod support;

use support::{Folder, KEY, run, run_with};

const MD5_SIGN: &str = "9A0A8659F005D6984697E2CA0A9CF3B7";
const HMAC_SIGN: &str = "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6";
const KEY_VARIABLE: [(&str, &str); 1] = [("WECHAT_KEY", KEY)];

/// The worked example of the protocol, with a sign.
fn document(more: &str) -> String {
    format!(
        "<xml><appid>wxd930ea5d5a258f4f</appid><mch_id>10000100</mch_id><device_info>1000</device_info>\
         <body>test</body><nonce_str>ibuaiVcKdpRxkhJA</nonce_str>{more}</xml>\n"
    )
}

fn signed(sign: &str) -> String {
    document(&format!("<sign>{sign}</sign>"))
}

#[test]
fn usage_errors_are_2() {
    run(&[]).expect(2, &["Usage: paybell"]);
    run(&["simulat"]).expect(2, &["unrecognized subcommand", "'simulate'"]);
    run(&["run", "cook"]).expect(2, &["invalid value 'cook'", "ingress"]);
    run(&["order", "register", "1", "T1"]).expect(2, &["--total-fee"]);
    run(&["order", "register", "1", "T1", "--total-fee", "19.99"]).expect(2, &["19.99"]);
    run(&["run", "--log", "a=b=c"]).expect(2, &["--log a=b=c"]);
    run(&["order", "list", "--api", "127.0.0.1:8081"]).expect(2, &["--api", "is no http or https URL"]);
    run(&["dead", "list", "--token-file", "/nowhere/t"]).expect(2, &["--token-file: cannot read /nowhere/t"]);
    run(&["--version"]).expect(0, &["paybell 0."]);
}

#[test]
fn config_check_says_everything_at_once() {
    let folder = Folder::new();
    let sound = folder.config("http://127.0.0.1:1", "");
    run(&["config", "check", "--config", &sound]).expect(0, &["is sound: embedded engine, 1 merchant"]);
    let cluster =
        fs::read_to_string(&sound).unwrap().replace("engine = \"embedded\"", "engine = \"cluster\"");
    let cluster = folder.put("cluster.toml", &cluster);
    let ran = run(&["config", "check", "--config", &cluster]);
    ran.expect(0, &["is sound: cluster engine", "warning: merchant", "has no active_since"]);
    let broken = folder.put("broken.toml", "engine = \"redb\"\n[ingress]\nlistn = \"x\"\n");
    let words = ["broken.toml:1: engine", "broken.toml:3: ingress.listn", "\"listen\"", "no merchant"];
    run(&["config", "check", "--config", &broken]).expect(2, &words);
    run(&["config", "check", "--config", "/nowhere.toml"]).expect(2, &["/nowhere.toml: cannot read it"]);
    let variable = [("PAYBELL__INGRESS__LISTN", "x")];
    let ran = run_with(&["config", "check", "--config", &sound], &variable, "");
    ran.expect(2, &["PAYBELL__INGRESS__LISTN: ingress.listn: unknown key", "\"LISTEN\""]);
    run(&["run", "--config", &broken]).expect(2, &words);
}

#[test]
fn config_show_hides_keys_and_names_origins() {
    let folder = Folder::new();
    let config = folder.config("http://127.0.0.1:1", "");
    let variables = [("PAYBELL__EVENTS__OPENID", "include")];
    let ran = run_with(&["config", "show", "--config", &config], &variables, "");
    ran.expect(0, &["api_key = \"***\"", "# PAYBELL__EVENTS__OPENID", "# default"]);
    assert!(!ran.stdout.contains(KEY), "{ran:?}");
    let listed = run(&["config", "show", "--json", "--config", &config]).json();
    let engine = &listed.as_array().unwrap()[0];
    assert_eq!((engine["key"].as_str(), engine["set_by"].as_str()), (Some("engine"), Some("file")));
}

#[test]
fn config_sample_is_a_configuration_that_lacks_only_a_merchant() {
    for (language, word) in [("en", "# Paybell's configuration."), ("zh", "# Paybell 的配置。")] {
        let sample = run(&["config", "sample", "--lang", language]);
        let file = Folder::new();
        let file = file.put("sample.toml", &sample.expect(0, &["[[merchant]]", word]).stdout);
        let ran = run(&["config", "check", "--config", &file]);
        assert_eq!(ran.stderr.lines().count(), 2, "{ran:?}");
    }
    let variables = [("LC_ALL", "zh_CN.UTF-8")];
    run_with(&["config", "sample"], &variables, "").expect(0, &["# Paybell 的配置。"]);
}

#[test]
fn sign_prints_the_published_signs() {
    for (algorithm, sign) in [("MD5", MD5_SIGN), ("HMAC-SHA256", HMAC_SIGN)] {
        let args = ["sign", "--algorithm", algorithm, "--key-env", "WECHAT_KEY"];
        for input in [document(""), signed("whatever")] {
            let ran = run_with(&args, &KEY_VARIABLE, &input);
            assert_eq!(ran.expect(0, &[]).stdout, format!("{sign}\n"), "{algorithm}");
        }
    }
}

#[test]
fn sign_refuses_what_it_cannot_sign() {
    let args = ["sign", "--algorithm", "MD5", "--key-env", "WECHAT_KEY"];
    run_with(&args, &[], &document("")).expect(2, &["WECHAT_KEY is not set"]);
    let short = run_with(&args, &[("WECHAT_KEY", "hunter2")], &document(""));
    assert!(!short.expect(2, &["exactly 32", "this one has 7"]).stderr.contains("hunter2"));
    run_with(&args, &KEY_VARIABLE, "{\"id\":1}").expect(1, &["JSON (API v3)", "json_body"]);
    run_with(&args, &KEY_VARIABLE, "").expect(1, &["the body is empty"]);
    run_with(&["sign", "--algorithm", "SHA1", "--key-env", "X"], &[], "").expect(2, &["HMAC-SHA256"]);
}

#[test]
fn verify_with_a_key_accepts_or_explains() {
    let verify = |input: &str, more: &[&str]| {
        let args = [&["verify", "--key-env", "WECHAT_KEY"], more].concat();
        let ran = run_with(&args, &KEY_VARIABLE, input);
        assert!(!format!("{ran:?}").contains(KEY), "{ran:?}");
        ran
    };
    verify(&signed(MD5_SIGN), &[]).expect(0, &["the sign fits: MD5 with $WECHAT_KEY"]);
    verify(&signed(HMAC_SIGN), &[]).expect(0, &["the sign fits: HMAC-SHA256"]);
    let canonical = "appid=wxd930ea5d5a258f4f&body=test&device_info=1000&mch_id=10000100&nonce_str=ibuaiVcKdpRxkhJA&key=***";
    let changed = signed(MD5_SIGN).replace("test", "tset");
    let words = [&canonical.replace("test", "tset"), "tried:        $WECHAT_KEY with MD5", "APIv3 key"];
    verify(&changed, &[]).expect(1, &words);
    verify(&signed(HMAC_SIGN), &["--algorithm", "MD5"]).expect(1, &["fits with HMAC-SHA256", "sign_type"]);
    verify(&signed(&MD5_SIGN.to_lowercase()), &[])
        .expect(1, &[canonical, "only its capitals or blanks differ"]);
    verify(&document(""), &[]).expect(1, &["is not signed at all"]);
    verify(&signed("ABC"), &[]).expect(1, &["this one has 3"]);
    let odd = document(&format!("<sign>{MD5_SIGN}</sign><sign_type>RSA</sign_type>"));
    verify(&odd, &[]).expect(1, &["neither MD5 nor HMAC-SHA256"]);
}

#[test]
fn verify_with_a_configuration_tries_the_merchants_keys() {
    let folder = Folder::new();
    let merchant = |mch_id: &str, keys: &str| {
        format!("[[merchant]]\nmch_id = \"{mch_id}\"\napp_ids = [\"wx1\"]\n{keys}\n")
    };
    let old = format!("api_key = \"{}\"\nprevious_api_key = \"{KEY}\"", "0".repeat(32));
    let verify = |config: &str, input: &str| {
        let file = folder.put("verify.toml", config);
        run_with(&["verify", "--config", &file], &[], input)
    };
    verify(&merchant("10000100", &old), &signed(MD5_SIGN))
        .expect(0, &["the previous key of merchant 10000100"]);
    let other = merchant("2", &format!("api_key = \"{KEY}\""));
    let words = ["no merchant 10000100 is configured", "signed for another merchant"];
    verify(&other, &signed(MD5_SIGN)).expect(1, &words);
    let words =
        ["the current key of merchant 10000100 with MD5", "the previous key", "fits with HMAC-SHA256"];
    verify(&merchant("10000100", &old), &signed(HMAC_SIGN)).expect(1, &words);
    verify("engine = 1", &signed(MD5_SIGN)).expect(2, &["verify.toml:1: engine"]);
}
