//! Queue, event log and ledger in one SQLite file
