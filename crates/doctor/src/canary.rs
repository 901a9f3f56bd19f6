//! The canary: a notification of an order that does not exist, rightly signed, sent the way WeChat's own come.
//!
//! Its number begins with [`NUMBER_PREFIX`] and ends in random letters; its amount is one fen. It goes the normal way:
//! verified, stored, answered SUCCESS, looked up at WeChat, which knows no such order; then it is forgotten and emits
//! nothing. So it proves the whole way in, and can never become an event. Sent by `paybell doctor` and by [`crate::watch`].

use std::net::SocketAddr;
use std::time::Duration;

use wechat_pay::notification::write::{Details, Payment, write};
use wechat_pay::request::Signer;

use crate::clock::wall_ms;
use crate::net::{Answer, NetError, Place, Request, Roots};
use crate::random;
use crate::wechat::Merchant;

/// Begins the number of every canary. No shop's order may begin so.
pub const NUMBER_PREFIX: &str = "PAYBELLCANARY";

/// Characters of an order's number.
const NUMBER_CHARS: usize = 32;

/// The one answer that WeChat takes for a yes.
pub const SUCCESS: &[u8] =
    b"<xml><return_code><![CDATA[SUCCESS]]></return_code><return_msg><![CDATA[OK]]></return_msg></xml>";

/// WeChat gives up after 5 s; Paybell answers within 3.
pub const LATE: Duration = Duration::from_secs(3);

/// What came of a canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The exact answer in time.
    Accepted { took: Duration },
    /// The exact answer, after [`LATE`].
    Late { took: Duration },
    /// Taken, but the answer was not exact: WeChat would come again.
    Changed { what: String },
    /// 401: whoever runs there does not hold this key for this merchant.
    Refused,
    /// 503: not stored.
    NotStored,
    /// Something that Paybell does not answer.
    Strange { what: String },
    /// No answer.
    Unreachable(NetError),
}

impl Outcome {
    /// A stable word for counters.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Outcome::Accepted { .. } => "accepted",
            Outcome::Late { .. } => "late",
            Outcome::Changed { .. } => "changed",
            Outcome::Refused => "refused",
            Outcome::NotStored => "not_stored",
            Outcome::Strange { .. } => "strange",
            Outcome::Unreachable(_) => "unreachable",
        }
    }

    /// All the words.
    pub const WORDS: [&str; 7] =
        ["accepted", "late", "changed", "refused", "not_stored", "strange", "unreachable"];
}

/// Where a merchant's notifications go under a public URL.
#[must_use]
pub fn notify_url(public_url: &str, mch_id: &str) -> String {
    format!("{}/notify/pay/{mch_id}", public_url.trim_end_matches('/'))
}

/// Sends one, through the name and the address that WeChat would use.
pub async fn send(public_url: &str, merchant: &Merchant, roots: &Roots) -> Outcome {
    let url = notify_url(public_url, &merchant.mch_id);
    let Some(place) = Place::parse(&url) else {
        return Outcome::Unreachable(NetError::Name(url, "it is no URL".to_owned()));
    };
    match place.resolve().await {
        Ok(addresses) => send_at(&place, &addresses, merchant, roots).await,
        Err(error) => Outcome::Unreachable(error),
    }
}

/// The same at addresses that are known.
pub(crate) async fn send_at(
    place: &Place,
    addresses: &[SocketAddr],
    merchant: &Merchant,
    roots: &Roots,
) -> Outcome {
    let Some(body) = document(merchant) else {
        let what = "the merchant's app or sub merchant cannot stand in a notification".to_owned();
        return Outcome::Strange { what };
    };
    match place.exchange_at(addresses, Request::xml(body), roots).await {
        Ok(answer) => judge(&answer),
        Err(error) => Outcome::Unreachable(error),
    }
}

/// `None` only if the merchant's own ids cannot be written.
fn document(merchant: &Merchant) -> Option<String> {
    let number = format!("{NUMBER_PREFIX}{}", random::letters(NUMBER_CHARS - NUMBER_PREFIX.len()));
    let details = Details {
        sub_mch_id: merchant.sub_mch_ids.first().map(String::as_str),
        trade_type: Some("NATIVE"),
        bank_type: Some("OTHERS"),
        cash_fee: Some(1),
        ..Details::default()
    };
    let payment = Payment {
        appid: merchant.app_ids.first()?,
        out_trade_no: &number,
        // No payment has such a number: WeChat's have 28 digits.
        transaction_id: &number,
        total_fee: 1,
        time_end_ms: wall_ms(),
        fee_type: "CNY",
        details,
    };
    let signer =
        Signer { mch_id: &merchant.mch_id, key: merchant.keys.first()?, algorithm: merchant.algorithm };
    write(&payment, signer, &random::letters(32)).ok()
}

fn judge(answer: &Answer) -> Outcome {
    let is_ours = answer.body.starts_with(b"<xml><return_code>");
    match answer.status {
        200 if answer.body == SUCCESS && answer.took <= LATE => Outcome::Accepted { took: answer.took },
        200 if answer.body == SUCCESS => Outcome::Late { took: answer.took },
        200..=202 if is_success(&answer.body) => {
            Outcome::Changed { what: format!("HTTP {}: {}", answer.status, answer.excerpt()) }
        }
        401 if is_ours => Outcome::Refused,
        503 if is_ours => Outcome::NotStored,
        status => Outcome::Strange { what: format!("HTTP {status}: {}", answer.excerpt()) },
    }
}

/// It was meant as SUCCESS, whatever was added on the way.
fn is_success(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    text.contains("return_code") && text.contains("SUCCESS")
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;
    use wechat_pay::notification::Unverified;
    use wechat_pay::sign::{AcceptedAlgorithm, Algorithm, ApiKey};

    use super::*;

    fn merchant() -> Merchant {
        Merchant {
            mch_id: "1900000109".to_owned(),
            app_ids: vec!["wx8888888888888888".to_owned()],
            sub_mch_ids: vec!["1573520957".to_owned()],
            keys: vec![ApiKey::new("192006250b4c09247ec02edce69f6a2d").unwrap()],
            algorithm: Algorithm::HmacSha256,
        }
    }

    #[test]
    fn a_canary_is_a_notification_like_any_other_but_for_its_number() {
        let (merchant, mut seen) = (merchant(), Vec::new());
        for _ in 0..2 {
            let text = document(&merchant).unwrap();
            let unverified = Unverified::parse(text.as_bytes()).unwrap();
            let accepted = AcceptedAlgorithm::Only(Algorithm::HmacSha256);
            let (authentic, _) = unverified.verify(&[&merchant.keys[0]], accepted).unwrap();
            let notification = authentic.into_notification().unwrap();
            let number = notification.out_trade_no().to_owned();
            assert!(number.starts_with(NUMBER_PREFIX) && number.len() == 32, "{number}");
            let payment = notification.payment().unwrap();
            assert_eq!((payment.total_fee, payment.transaction_id), (1, number.as_str()));
            assert_eq!(notification.sub_mch_id(), Some("1573520957"));
            seen.push(number);
        }
        assert_ne!(seen[0], seen[1]);
    }

    #[test]
    fn only_the_exact_bytes_in_time_are_a_yes() {
        let judged = |status, body: &[u8], ms| {
            let (headers, took) = (HeaderMap::new(), Duration::from_millis(ms));
            judge(&Answer { status, headers, body: body.to_vec().into(), took }).word()
        };
        let fail = b"<xml><return_code><![CDATA[FAIL]]></return_code></xml>";
        assert_eq!(judged(200, SUCCESS, 12), "accepted");
        assert_eq!(judged(200, SUCCESS, 3_001), "late");
        assert_eq!(judged(200, &[SUCCESS, b"\n"].concat(), 12), "changed");
        assert_eq!(judged(201, SUCCESS, 12), "changed");
        assert_eq!(judged(200, b"success", 12), "strange");
        assert_eq!(judged(200, fail, 12), "strange");
        assert_eq!(judged(401, fail, 12), "refused");
        assert_eq!(judged(401, b"<html>login</html>", 12), "strange");
        assert_eq!(judged(503, fail, 12), "not_stored");
        assert_eq!(judged(503, b"<html>", 12), "strange");
        assert_eq!(judged(404, fail, 12), "strange");
    }

    #[test]
    fn notify_urls_name_the_merchant() {
        assert_eq!(notify_url("https://pay.example/shop/", "1"), "https://pay.example/shop/notify/pay/1");
    }
}
