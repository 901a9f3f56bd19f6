//! What a path means to us: a label for counters, whether it places an order, whether it needs a client certificate.
//! Every path is forwarded, also those that this list does not know: WeChat adds interfaces, and a shop must not
//! wait for us to learn them.

/// What is known of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The place of its label in [`LABELS`].
    pub(crate) label: usize,
    pub(crate) places_orders: bool,
    pub(crate) certificate: Certificate,
}

/// Whether WeChat asks for the merchant's client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certificate {
    Never,
    /// Not known to: it is shown if there is one, and WeChat judges.
    Perhaps,
    Always,
}

/// What `path` is in metrics: the calls that matter by name, the rest together.
pub(crate) const LABELS: [&str; 11] = [
    "/pay/unifiedorder",
    "/pay/micropay",
    "/pay/orderquery",
    "/pay/closeorder",
    "/pay/refundquery",
    "/pay/downloadbill",
    "/pay/downloadfundflow",
    "/secapi/pay/refund",
    "/secapi/pay/reverse",
    "sandbox",
    OTHER,
];
const OTHER: &str = "other";
const SANDBOXES: [&str; 3] = ["/sandboxnew/", "/xdc/apiv2sandbox/", "/xdc/apiv2getsignkey/"];
const WITHOUT_CERTIFICATE: [&str; 4] = ["/pay/", "/payitil/", "/tools/", "/v3/"];
const WITH_CERTIFICATE: [&str; 11] = [
    "/pay/downloadfundflow",
    "/secapi/",
    "/billcommentsp/",
    "/mmpaymkttransfers/promotion/transfers",
    "/mmpaymkttransfers/gettransferinfo",
    "/mmpaymkttransfers/sendredpack",
    "/mmpaymkttransfers/sendgroupredpack",
    "/mmpaymkttransfers/gethbinfo",
    "/mmpaymkttransfers/send_coupon",
    "/mmpaysptrans/pay_bank",
    "/mmpaysptrans/query_bank",
];

impl Endpoint {
    /// `path` as it came. A base URL that ends in a slash makes `//pay/unifiedorder` of an SDK's path: the same call.
    pub(crate) fn of(path: &str) -> Self {
        let doubled = path.bytes().take_while(|byte| *byte == b'/').count().saturating_sub(1);
        let path = path.get(doubled..).unwrap_or(path);
        let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
        let is_sandbox = begins(&SANDBOXES);
        let name = if is_sandbox { "sandbox" } else { path };
        let label = LABELS.iter().position(|label| *label == name).unwrap_or(LABELS.len() - 1);
        let certificate = if is_sandbox {
            Certificate::Never
        } else if begins(&WITH_CERTIFICATE) {
            Certificate::Always
        } else if begins(&WITHOUT_CERTIFICATE) {
            Certificate::Never
        } else {
            Certificate::Perhaps
        };
        Self { label, places_orders: matches!(path, "/pay/unifiedorder" | "/pay/micropay"), certificate }
    }

    /// For counters and logs: never what the caller sent.
    pub(crate) fn name(self) -> &'static str {
        LABELS.get(self.label).copied().unwrap_or(OTHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        use Certificate::{Always, Never, Perhaps};
        for (path, label, places_orders, certificate) in [
            ("/pay/unifiedorder", "/pay/unifiedorder", true, Never),
            ("//pay/unifiedorder", "/pay/unifiedorder", true, Never),
            ("/pay/micropay", "/pay/micropay", true, Never),
            ("/pay/unifiedorder/", "other", false, Never),
            ("/pay/orderquery", "/pay/orderquery", false, Never),
            ("/pay/downloadfundflow", "/pay/downloadfundflow", false, Always),
            ("/secapi/pay/refund", "/secapi/pay/refund", false, Always),
            ("/secapi/pay/refundv2", "other", false, Always),
            ("/sandboxnew/pay/unifiedorder", "sandbox", false, Never),
            ("/sandboxnew/secapi/pay/refund", "sandbox", false, Never),
            ("/xdc/apiv2sandbox/pay/micropay", "sandbox", false, Never),
            ("/mmpaymkttransfers/sendredpack", "other", false, Always),
            ("/mmpaymkttransfers/query_coupon_stock", "other", false, Perhaps),
            ("/deposit/micropay", "other", false, Perhaps),
            ("/", "other", false, Perhaps),
            ("", "other", false, Perhaps),
            ("*", "other", false, Perhaps),
        ] {
            let endpoint = Endpoint::of(path);
            assert_eq!(LABELS[endpoint.label], label, "{path}");
            assert_eq!(
                (endpoint.places_orders, endpoint.certificate),
                (places_orders, certificate),
                "{path}"
            );
        }
    }
}
