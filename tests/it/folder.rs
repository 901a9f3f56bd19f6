//! The embedded engine's folder: one process at a time works on it, a service waits for a command's end, and a command
//! makes none.

use std::net::TcpListener;

use crate::harness::{Running, Settings, Shop, rfc3339_in, run};

/// A day that is over in Beijing.
fn yesterday() -> String {
    rfc3339_in(-86_400)[..10].to_owned()
}

#[test]
fn of_two_services_on_one_folder_the_second_ends_and_names_the_first() {
    let mut shop = Shop::open(&Settings::default());
    let holder = format!("process {}", shop.service.process.id());
    let config = shop.config().display().to_string();
    run(&["run", "--config", &config]).expect(2, &["is in use by", &holder, "embedded.data_dir"]);
    // The first one never noticed.
    shop.pay_and_notify("T1", 1999);
    shop.event("T1", "order.paid");
    // A lock does not outlive a kill.
    shop.service.process.kill();
    shop.start_again();
    assert_eq!(shop.types_of("T1"), ["order.paid"]);
}

#[test]
fn a_service_that_starts_while_a_command_has_the_folder_starts_when_that_ends() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = Some(format!("http://{}", silent.local_addr().unwrap()));
    let mut shop =
        Shop::open(&Settings { top: "reconcile.automatic = false", base_url, ..Settings::default() });
    shop.service.process.kill();
    let config = shop.config().display().to_string();
    let mut command =
        Running::start(&["reconcile", "--config", &config, "--date", &yesterday(), "--lang", "en"]);
    // It asks for the bill, so the folder is its own.
    let download = silent.accept().unwrap();
    let holder = format!("process {}", command.id());
    let mut service = Running::start(&["run", "--print-addresses", "--config", &config]);
    service.says(&["starting when the command that holds the folder ends", &holder, "paybell reconcile"]);
    drop((download, silent));
    let (status, said) = command.ended();
    assert_eq!(status.code(), Some(1), "there was no bill to be had: {said}");
    assert!(service.line().contains("ingress"), "it listens");
    service.signal("TERM");
    let (status, log) = service.ended();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_command_that_is_told_another_folder_makes_no_empty_store_to_answer_from() {
    let mut shop = Shop::open(&Settings { top: "reconcile.automatic = false", ..Settings::default() });
    shop.service.process.kill();
    let config = shop.config();
    let text = std::fs::read_to_string(&config).unwrap();
    let elsewhere = shop.folder.path().join("elsewhere");
    std::fs::rename(shop.folder.path().join("data"), &elsewhere).unwrap();
    let (config, date) = (config.display().to_string(), yesterday());
    let ask = ["reconcile", "--config", &config, "--date", &date, "--lang", "en"];
    let missing = shop.folder.path().join("data/paybell.db").display().to_string();
    run(&ask).expect(2, &[&format!("{missing} does not exist"), "embedded.data_dir"]);
    assert!(!shop.folder.path().join("data").exists(), "it made a folder");
    std::fs::write(&config, text.replace("/data\"", "/elsewhere\"")).unwrap();
    run(&ask).expect(1, &["is not reconciled"]);
}
