//! Any bytes as a downloaded bill.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wechat_pay::bill::{Opened, Tally, open};

fuzz_target!(|bytes: &[u8]| {
    let Ok(Opened::Bill(mut bill)) = open(bytes) else { return };
    let columns = bill.columns().len();
    while let Ok(Some(row)) = bill.next_row() {
        assert_eq!(row.iter().count(), columns);
    }
    if bill.summary().is_some() {
        assert!(matches!(bill.next_row(), Ok(None)), "the end stays the end");
    }
    let Ok(Opened::Bill(mut bill)) = open(bytes) else { return };
    let mut tally = Tally::default();
    while let Ok(Some(entry)) = bill.next_entry() {
        tally.add(&entry);
    }
    if let Some(summary) = bill.summary() {
        assert!(tally.differences(summary).len() <= summary.len());
    }
});
