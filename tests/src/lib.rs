//! End-to-end tests of Paybell. Nothing is here: they all are in the one test binary `it`, which drives the real
//! `paybell` over real sockets and knows of it only what an operator, a shop and WeChat know.
