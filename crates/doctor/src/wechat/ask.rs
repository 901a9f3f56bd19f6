//! One question to WeChat: the signed query of an order that nobody can have placed, and when it was answered.

use std::time::{Duration, UNIX_EPOCH};

use wechat_pay::query;
use wechat_pay::request::{OrderRef, Signer};
use wechat_pay::sign::{Algorithm, ApiKey};

use super::{Merchant, verdict::Judged};
use crate::clock::wall_ms;
use crate::net::{NetError, Place, Request, Roots};
use crate::random;

/// Begins the number of an order that no shop places; random letters follow.
const NUMBER_PREFIX: &str = "PAYBELLDOCTOR";

/// In whose name it is asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'q> {
    pub mch_id: &'q str,
    pub app_id: &'q str,
    pub sub_mch_id: Option<&'q str>,
    pub key: &'q ApiKey,
    pub algorithm: Algorithm,
}

impl<'q> Question<'q> {
    /// For a merchant's first app.
    pub fn of(merchant: &'q Merchant, key: &'q ApiKey) -> Self {
        Self {
            mch_id: &merchant.mch_id,
            app_id: merchant.app_ids.first().map_or("", String::as_str),
            sub_mch_id: merchant.sub_mch_ids.first().map(String::as_str),
            key,
            algorithm: merchant.algorithm,
        }
    }

    fn body(&self) -> String {
        let number = format!("{NUMBER_PREFIX}{}", random::letters(32 - NUMBER_PREFIX.len()));
        let order = OrderRef::new(self.app_id, number);
        let order = match self.sub_mch_id {
            Some(sub_mch_id) => order.for_sub_merchant(sub_mch_id, None),
            None => order,
        };
        let signer = Signer { mch_id: self.mch_id, key: self.key, algorithm: self.algorithm };
        query::request_body(&order, signer, &random::letters(32))
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub judged: Judged,
    /// This machine's clock minus WeChat's, to about a second; `None` where the answer carries no date.
    pub skew_ms: Option<Skew>,
    pub took: Duration,
}

/// A difference of clocks, and how far it may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skew {
    pub ms: i64,
    pub uncertain_ms: i64,
}

impl Skew {
    /// How far the clocks differ at least.
    #[must_use]
    pub fn least_ms(self) -> i64 {
        self.ms.saturating_abs().saturating_sub(self.uncertain_ms).max(0)
    }
}

pub(super) async fn ask(base: &str, question: Question<'_>, roots: &Roots) -> Result<Asked, NetError> {
    let url = format!("{}{}", base.trim_end_matches('/'), query::PATH);
    let place =
        Place::parse(&url).ok_or_else(|| NetError::Name(base.to_owned(), "it is no URL".to_owned()))?;
    let answer = place.exchange(Request::xml(question.body()), roots).await?;
    let skew_ms = skew(answer.header("date"), wall_ms(), answer.took);
    let judged = Judged::of(&answer, question.key, question.algorithm);
    Ok(Asked { judged, skew_ms, took: answer.took })
}

/// A date has whole seconds, and was written somewhere between question and answer.
fn skew(date: &str, answered_ms: i64, took: Duration) -> Option<Skew> {
    let date = httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()?;
    let half_ms = i64::try_from(took.as_millis() / 2).unwrap_or(i64::MAX);
    let theirs_ms = i64::try_from(date.as_millis()).ok()?.saturating_add(500);
    let ms = answered_ms.saturating_sub(half_ms).saturating_sub(theirs_ms);
    Some(Skew { ms, uncertain_ms: half_ms.saturating_add(500) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_tells_the_clock_s_difference_as_far_as_it_goes() {
        // 1994-11-06 08:49:37 UTC
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let at = 784_111_777_000;
        let skew_of = |answered_ms| skew(date, answered_ms, Duration::from_millis(100)).unwrap();
        assert_eq!(skew_of(at + 550), Skew { ms: 0, uncertain_ms: 550 });
        assert_eq!(skew_of(at + 3_550).least_ms(), 2_450);
        assert_eq!(skew_of(at - 9_450).ms, -10_000);
        assert_eq!(skew("", at, Duration::ZERO), None);
        assert_eq!(skew("yesterday", at, Duration::ZERO), None);
    }
}
