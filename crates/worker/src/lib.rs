//! Turns a check into an event: lease, query, decide, commit, publish, clear
