//! The record that the page about the private API shows, against the document that describes each field.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::page::Page;

const OPENAPI: &str = include_str!("../../crates/console/src/openapi.json");

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_record_that_is_shown_has_every_field_that_is_sure_to_be_there() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let required = |name: &str| -> BTreeSet<&str> {
        let required = document["components"]["schemas"][name]["required"].as_array();
        required.unwrap().iter().map(|field| field.as_str().unwrap()).collect()
    };
    for page in ["docs/api.md", "docs/api.zh-CN.md"] {
        let page = Page::read(page);
        let block = page.blocks.iter().find(|block| block.language == "json").unwrap();
        let record: Value = serde_json::from_str(&block.lines.join("\n")).unwrap();
        assert_eq!(keys(&record), required("Record"));
        assert_eq!(keys(&record["registration"]), required("Registered"));
        assert_eq!(keys(&record["payment"]), required("Payment"));
        for entry in record["history"].as_array().unwrap() {
            assert!(required("Entry").is_subset(&keys(entry)), "{entry}");
        }
    }
}
