//! `paybell simulate`: a whole world from a file, a second socket under TLS, and what is said about bad arguments.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

mod support;

use support::{Folder, KEY, Running, http, run};

fn world(more: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\n{more}\n[[merchants]]\nmch_id = \"1900000109\"\n\
         app_ids = [\"wx8888888888888888\"]\napi_key = \"{KEY}\"\n"
    )
}

#[test]
fn a_world_comes_from_a_file_and_certificates_are_made() {
    let folder = Folder::new();
    let file = folder.put("world.toml", &format!("{}[settings]\nrefund_delay_s = 5\n", world("")));
    let certificates = folder.path("certificates");
    let certificates_text = certificates.display().to_string();
    let mut simulator = Running::start(&[
        "simulate",
        "--world",
        &file,
        "--app",
        "wx7777777777777777:not-a-real-one",
        "--tls-listen",
        "127.0.0.1:0",
        "--certificates",
        &certificates_text,
    ]);
    let line = simulator.line();
    let address = line.split('"').nth(1).unwrap().strip_prefix("http://").unwrap().parse().unwrap();
    assert!(simulator.line().starts_with("# with TLS: https://127.0.0.1:"));
    for name in ["ca.pem", "1900000109/apiclient_cert.pem", "1900000109/apiclient_key.pem"] {
        assert!(certificates.join(name).is_file(), "{name}");
    }
    let (status, settings) = http(address, "GET", "/_sim/settings", "");
    assert!(status == 200 && settings.contains("\"refund_delay_s\":5"), "{settings}");
    let login = r#"{"appid":"wx7777777777777777","person":"alice"}"#;
    assert_eq!(http(address, "POST", "/_sim/logins", login).0, 200);
    simulator.signal("TERM");
    assert!(simulator.ended().0.success());
}

#[test]
fn bad_arguments_are_named() {
    let folder = Folder::new();
    run(&["simulate"]).expect(2, &["--merchant <MCH_ID:APPID:KEY>"]);
    run(&["simulate", "--world", "/nowhere/w.toml"]).expect(2, &["--world /nowhere/w.toml: No such file"]);
    let file = folder.put("typing.toml", &world("clock_scal = 2"));
    run(&["simulate", "--world", &file]).expect(2, &["typing.toml", "unknown field `clock_scal`"]);
    let file = folder.put("short.toml", &world("").replace(KEY, "short-and-secret"));
    let ran = run(&["simulate", "--world", &file]);
    ran.expect(2, &["short.toml", "32 characters"]);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("short-and-secret"), "a key is not shown");
    let file = folder.put("good.toml", &world(""));
    run(&["simulate", "--world", &file, "--app", "wx1"]).expect(2, &["--app: write APPID:SECRET"]);
    run(&["simulate", "--world", &file, "--certificates", "certificates"]).expect(2, &["--tls-listen"]);
    run(&["simulate", "--world", &file, "--scale", "0"]).expect(2, &["clock_scale"]);
}
