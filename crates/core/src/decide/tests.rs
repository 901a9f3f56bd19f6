//! Tests of the decision table: one named test per row here, one subject per file below.

#[path = "tests/table.rs"]
mod table;
