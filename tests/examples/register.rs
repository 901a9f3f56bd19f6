//! The examples register orders with a real Paybell.

use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{MCH, Settings, Shop, wait_for};
use crate::language::Language;

/// How a registration ended: its code, and what it said.
fn register(language: Language, api: &str, out_trade_no: &str, total_fee: &str) -> (Option<i32>, String) {
    // Who is told to come again on a busy machine does.
    wait_for("an answer that is not 503", || {
        let ended = register_once(language, api, out_trade_no, total_fee);
        (!ended.1.contains("503")).then_some(ended)
    })
}

fn register_once(
    language: Language,
    api: &str,
    out_trade_no: &str,
    total_fee: &str,
) -> (Option<i32>, String) {
    let folder = TempDir::new().unwrap();
    let command = language.command("register");
    let output = Command::new(&command[0])
        .args(&command[1..])
        .args([MCH, out_trade_no, total_fee])
        .env("DATABASE", folder.path().join("shop.db"))
        .env("PAYBELL_API", api)
        .env_remove("PAYBELL_TOKEN")
        .output()
        .unwrap();
    let words = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&words).into_owned())
}

#[test]
fn every_example_registers_an_order() {
    let shop = Shop::open(&Settings::default());
    let api = format!("http://{}", shop.service.address("console"));
    for language in Language::ALL.into_iter().filter(|language| language.is_here()) {
        let order = format!("T{language:?}|1");
        let (code, words) = register(language, &api, &order, "1999");
        assert!(code == Some(0) && words.contains("registered"), "{language:?}: {code:?} {words}");
        let record = shop.record(&order.replace('|', "%7C")).unwrap();
        assert_eq!(record["registration"]["total_fee"], json!(1999), "{language:?}: {record}");

        let (code, words) = register(language, &api, &order, "1999");
        assert!(
            code == Some(0) && words.contains("was registered already"),
            "{language:?}: {code:?} {words}"
        );
        let (code, words) = register(language, &api, &order, "2000");
        assert!(code == Some(1) && words.contains("409"), "{language:?}: {code:?} {words}");
        let (code, words) = register(language, "http://127.0.0.1:1", &order, "1999");
        assert!(code == Some(1) && words.contains("Paybell is away"), "{language:?}: {code:?} {words}");
    }
}
