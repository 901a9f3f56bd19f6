//! The judgement of one refund notification, in the order size → parse → merchant → decrypting → appid and sub merchant
//! → fields, and the check that it becomes.
//!
//! It has no sign. That `req_info` decrypts under a key of the merchant stands in the sign's place, and is less: the
//! outer fields may be anybody's, and blocks of genuine notifications can be put together anew. So the check says no
//! more than "ask about this refund", and nothing here believes that money went anywhere.

use std::sync::Arc;

use paybell_core::record::SeenAs;
use paybell_core::{AppId, Check, MchId, OrderKey, OutRefundNo};
use wechat_pay::refund_notification::{Refund, RefundNotificationError, Sealed};
use wechat_pay::xml::XmlError;

use crate::answer::Answer;
use crate::merchants::Merchant;
use crate::metrics::Kind;
use crate::receive::{Ingress, Judged, Reception, is_listed_for, of_xml};

impl Ingress {
    /// Judges a refund notification and, if a key of the merchant opens it, stores a check. SUCCESS means that the
    /// check is durable.
    pub async fn receive_refund(&self, path_mch_id: Option<&str>, body: &[u8]) -> Reception {
        let judged = self.open(path_mch_id, body);
        self.conclude(Kind::Refund, judged).await
    }

    fn open(&self, path_mch_id: Option<&str>, body: &[u8]) -> Judged {
        let sealed = Sealed::parse(body).map_err(|error| (of_error(error), None))?;
        let merchant = self.merchant(path_mch_id, sealed.mch_id()).map_err(|reception| (reception, None))?;
        let of_merchant = |reception| (reception, Some(merchant.mch_id.clone()));
        let (refund, key_index) = opened(&sealed, &merchant).map_err(of_error).map_err(of_merchant)?;
        self.metrics.key_used(&merchant.mch_id, key_index);
        is_listed_for(&merchant, sealed.appid(), sealed.sub_mch_id()).map_err(of_merchant)?;
        check_of(&merchant, &sealed, &refund).map_err(of_merchant)
    }
}

/// What the first fitting key opens, and that key's place.
fn opened(sealed: &Sealed<'_>, merchant: &Arc<Merchant>) -> Result<(Refund, usize), RefundNotificationError> {
    let mut refused = RefundNotificationError::BadPadding;
    for (index, key) in merchant.keys.iter().enumerate() {
        match sealed.open(&[key]) {
            Ok(refund) => return Ok((refund, index)),
            // It decrypts to a document: no other key would, and what it lacks is the answer.
            Err(
                error @ (RefundNotificationError::MissingField(_) | RefundNotificationError::InvalidField(_)),
            ) => return Err(error),
            Err(RefundNotificationError::BadPadding) => {}
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn check_of(merchant: &Merchant, sealed: &Sealed<'_>, refund: &Refund) -> Result<Check, Reception> {
    let malformed = |result| Reception { answer: Answer::Malformed, result };
    let invalid = malformed("invalid_field");
    let key = OrderKey::new(merchant.mch_id.as_str(), refund.out_trade_no.as_str()).map_err(|_| invalid)?;
    let number = OutRefundNo::new(refund.out_refund_no.as_str()).map_err(|_| invalid)?;
    let appid = sealed.appid().ok_or(malformed("missing_field"))?;
    let appid = AppId::new(appid).map_err(|_| invalid)?;
    let sub_mch_id = sealed.sub_mch_id().map(MchId::new).transpose().map_err(|_| invalid)?;
    Ok(Check::refund_notified(key, number).with_seen_as(SeenAs { appid, sub_mch_id }))
}

fn of_error(error: RefundNotificationError) -> Reception {
    use RefundNotificationError as Error;
    let answer = match error {
        Error::Xml(error) => return of_xml(error),
        // Opened by a key of the merchant, or signed by none: the difference between a fault and a stranger.
        Error::MissingField("req_info") => Answer::Unauthorized,
        Error::MissingField(_) | Error::InvalidField(_) => Answer::Malformed,
        Error::Plaintext(XmlError::Dtd | XmlError::DuplicateField) => Answer::Malformed,
        _ => Answer::Unauthorized,
    };
    let result = match error {
        Error::MissingField("req_info") => "missing_req_info",
        // One word for all that no key opens: an operator has the same to do about each.
        _ if answer == Answer::Unauthorized && error != Error::ReturnCodeFail => "not_decrypted",
        _ => error.reason(),
    };
    Reception { answer, result }
}
