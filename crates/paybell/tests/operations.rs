//! `paybell operations` and `paybell healthcheck` against a service that runs.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real time"
)]

mod support;

use support::{Folder, Service, eventually, run, run_with};

const NOWHERE: &str = "http://127.0.0.1:9";

#[test]
fn what_an_operator_did_is_listed_after_a_restart() {
    let folder = Folder::new();
    let token = folder.put("token", "tok-3f9a1c77e2");
    let more = format!("console.token_file = \"{token}\"");
    let config = folder.config(NOWHERE, &more);
    let mut service = Service::start(&config, &["console"]);
    let ask = |service: &Service, args: &[&str]| {
        run(&[args, &["--api", &service.api(), "--token-file", &token]].concat())
    };
    ask(&service, &["order", "check", "1900000109", "T1", "--reason", "客户来电"]).expect(0, &["asked for"]);
    ask(&service, &["order", "accept", "1900000109", "T1", "--reason", "by phone"]).expect(1, &["HTTP 404"]);
    ask(&service, &["order", "reject", "1900000109", "T1", "--reason", "a\u{202e}b"])
        .expect(1, &["HTTP 400"]);
    service.process.signal("TERM");
    assert_eq!(service.process.ended().0.code(), Some(0));
    let service = Service::start(&config, &["console"]);
    let words = [
        "number\tat\twho\tpeer\taction\tobject\toutcome\treason",
        "token_file\t127.0.0.1\taccept\torders/1900000109/T1\tunknown-order\tby phone",
        "token_file\t127.0.0.1\tcheck\torders/1900000109/T1\tdone\t客户来电",
    ];
    let listed = ask(&service, &["operations", "list"]);
    listed.expect(0, &words);
    assert_eq!(listed.stdout.lines().count(), 3, "{listed:?}");
    ask(&service, &["operations", "list", "--limit", "1"])
        .expect(0, &["accept", "there are more: --after 2"]);
    let args = ["operations", "list", "--order", "oldest", "--action", "check", "--json"];
    let acts = ask(&service, &args).json();
    assert_eq!((acts["acts"][0]["number"].as_u64(), acts["next"].as_str()), (Some(1), Some("1")));
    ask(&service, &["operations", "list", "--action", "deploy"]).expect(1, &["HTTP 400", "dead.replay"]);
}

#[test]
fn a_healthcheck_tells_whether_the_process_is_ready() {
    let folder = Folder::new();
    let config = folder.config(NOWHERE, "");
    let mut service = Service::start(&config, &[]);
    let admin = service.address("admin");
    let url = format!("http://{admin}/readyz");
    eventually(|| run(&["healthcheck", "--url", &url]).code == Some(0));
    run(&["healthcheck", "--url", &url]).expect(0, &["ready"]);
    run(&["healthcheck", "--url", &format!("http://{admin}/nowhere")]).expect(1, &["answers 404"]);
    // As in a container: the variable says where, and a file that is being edited concerns nobody.
    let wildcard = format!("0.0.0.0:{}", admin.port());
    let variables = [("PAYBELL__ADMIN__LISTEN", wildcard.as_str())];
    let edited = folder.put("edited.toml", "[merchant]\nmch = 1\n");
    run_with(&["healthcheck", "--config", &edited], &variables, "").expect(0, &["ready"]);
    service.process.signal("TERM");
    assert_eq!(service.process.ended().0.code(), Some(0));
    let gone = format!("{NOWHERE}/readyz");
    run(&["healthcheck", "--url", &gone]).expect(1, &["cannot reach", &gone, "is `paybell run` up"]);
    for wrong in ["https://127.0.0.1:1/", "127.0.0.1:1", "/readyz", "http://"] {
        run(&["healthcheck", "--url", wrong]).expect(2, &["must be http://HOST:PORT/PATH"]);
    }
    run(&["healthcheck", "--config", "/nowhere.toml"]).expect(2, &["/nowhere.toml: cannot read it"]);
}
