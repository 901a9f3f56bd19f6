//! Dev only: conformance suite, in-memory ports with faults, virtual time
