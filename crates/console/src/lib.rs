//! Private API: orders, events, checks, dead letters, for services and operators
