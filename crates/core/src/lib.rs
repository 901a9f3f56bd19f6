//! Paybell's language: orders, records, decisions, events, and the ports to the engines
