//! What can be changed while the simulator runs, besides faults: how long refunds take, when bills are ready, whether a
//! certificate is asked for. Checks itself; `world` keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Rules with numbers. Times are the simulator's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The least life of an order that names its `time_expire`.
    pub time_expire_min_s: u32,
    /// No order is closed before it is that old.
    pub close_age_s: u64,
    /// Queries and closes of an order that unifiedorder placed find none until a payer pays or begins to.
    pub hides_unopened: bool,
    /// Ways of paying that a merchant has not opened, by `mch_id`: `NOAUTH`.
    pub closed_products: BTreeMap<String, Vec<String>>,
    /// Domains from which an `mweb_url` may be opened, by `mch_id`; absent: from any.
    pub h5_domains: BTreeMap<String, Vec<String>>,
    /// What the addresses of pages begin with that may call JSAPI, by `mch_id`; absent: any.
    pub pay_directories: BTreeMap<String, Vec<String>>,
    /// From the acceptance of a refund to its end.
    pub refund_delay_s: u64,
    /// Between two refunds of one order; before that `INVALID_REQ_TOO_MUCH`. 0: no limit.
    pub refund_interval_s: u64,
    /// Refunds of one order at most.
    pub refunds_per_order_max: usize,
    /// What stands in over plain HTTP for the client certificate of refunds and reversals.
    pub certificate: Certificate,
    /// Who holds the device that `/connect/oauth2/authorize` is opened on, unless `X-Sim-Person` says.
    pub person: String,
    /// People whose logins are refused: `40226`.
    pub blocked_people: Vec<String>,
    /// Where a merchant is told of the end of refunds that name no address themselves: a setting of the merchant
    /// platform, by `mch_id`.
    pub refund_notify_urls: BTreeMap<String, String>,
    /// Seconds after midnight in Beijing when the bill of the day before is ready.
    pub bill_ready_s: u32,
    /// A day without trade has a bill without rows instead of `No Bill Exist`.
    pub empty_bills: bool,
    /// With a byte order mark,
    pub bill_bom: bool,
    /// with CR LF at line ends,
    pub bill_crlf: bool,
    /// in the layout until about 2018: fewer columns, other names.
    pub bill_old_layout: bool,
    /// WeChat's fee in hundredths of a percent.
    pub fee_rate_bp: u32,
}

/// Who is taken for the holder of a merchant's certificate over plain HTTP. Over TLS only who shows one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certificate {
    /// Everybody.
    Assumed,
    /// Who sends the header `X-Sim-Certificate` with the merchant's number.
    Header,
    /// Nobody.
    Missing,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            time_expire_min_s: 300,
            close_age_s: 300,
            hides_unopened: false,
            closed_products: BTreeMap::new(),
            h5_domains: BTreeMap::new(),
            pay_directories: BTreeMap::new(),
            refund_delay_s: 60,
            refund_interval_s: 0,
            refunds_per_order_max: 50,
            certificate: Certificate::Assumed,
            person: "alice".to_owned(),
            blocked_people: Vec::new(),
            refund_notify_urls: BTreeMap::new(),
            bill_ready_s: 10 * 3600,
            empty_bills: false,
            bill_bom: true,
            bill_crlf: true,
            bill_old_layout: false,
            fee_rate_bp: 60,
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.refunds_per_order_max == 0 {
            return Err(Error::config("refunds_per_order_max", "must be at least 1"));
        }
        if self.bill_ready_s > 86_400 {
            return Err(Error::config("bill_ready_s", "a day has 86400 seconds"));
        }
        if self.fee_rate_bp > 10_000 {
            return Err(Error::config("fee_rate_bp", "at most 10000, which is all of it"));
        }
        Ok(())
    }
}

/// What a merchant has to pay refunds with, in fen; absent means any amount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Funds {
    /// `REFUND_SOURCE_UNSETTLED_FUNDS`.
    pub unsettled_fee: Option<u64>,
    /// `REFUND_SOURCE_RECHARGE_FUNDS`.
    pub recharge_fee: Option<u64>,
}
