//! Any bytes through the XML reader; what it accepts must survive the writer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wechat_pay::xml::{BODY_BYTES_MAX, Document, FIELDS_MAX, write};

fuzz_target!(|body: &[u8]| {
    let Ok(document) = Document::parse(body) else { return };
    assert!((1..=FIELDS_MAX).contains(&document.len()) && body.len() <= BODY_BYTES_MAX);
    for (name, value) in document.iter() {
        assert_eq!(document.get(name), Some(value), "the first of two fields called {name}");
    }
    let written = write(document.iter());
    // Escapes may make it longer than a reader takes.
    if written.len() <= BODY_BYTES_MAX {
        let again = Document::parse(written.as_bytes()).expect("what is written is well formed");
        assert!(again.iter().eq(document.iter()));
    }
});
