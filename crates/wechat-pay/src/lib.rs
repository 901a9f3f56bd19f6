//! WeChat Pay API v2 (XML): documents, signatures, notifications, queries, and a client.
//!
//! Everything but [`client`] is pure: bytes in, values out, no clock, no sockets. Nothing here decides whether an
//! order counts as paid in *your* books: this crate says what WeChat said and that WeChat said it.

pub mod answer;
pub mod beijing;
pub mod bill;
pub mod check;
pub mod client;
pub mod close;
pub mod error_code;
pub mod fields;
pub mod notification;
pub mod openid;
pub mod pay_parameters;
pub mod query;
pub mod refund;
pub mod refund_notification;
pub mod refund_query;
pub mod request;
pub mod sign;
pub mod unified_order;
pub mod xml;

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
