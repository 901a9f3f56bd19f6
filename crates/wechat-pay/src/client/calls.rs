//! The calls that place orders and move money back.
//!
//! Each looks at its request before anything is sent, and each may be repeated: orders and refunds are named by our own
//! numbers, under which WeChat acts once. An unknown outcome stays unknown; nothing here takes a new number.

use crate::answer::Verified;
use crate::check::InvalidRequest;
use crate::refund::{RefundAnswer, RefundRequest};
use crate::refund_query::{RefundQuery, RefundQueryAnswer};
use crate::unified_order::{UnifiedOrder, UnifiedOrderAnswer};

use super::{Call, CallError, Client, MerchantAccount, Priority};

/// Why a call was not made, or brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Nothing was sent.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// Nothing was sent: refunds need the certificate of the merchant platform (账户中心 / API安全).
    #[error(
        "the merchant has no client certificate (apiclient_cert.pem, apiclient_key.pem), and this call needs one"
    )]
    NoCertificate,
    /// What became of it is unknown: the same again, never under a new number.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Client {
    /// Places an order. Unchanged, it may be placed again while it is unpaid.
    pub async fn unified_order(
        &self,
        account: &MerchantAccount,
        order: &UnifiedOrder,
        priority: Priority,
    ) -> Result<Verified<UnifiedOrderAnswer>, RequestError> {
        order.check()?;
        let call = Call {
            account,
            transport: &self.transport,
            path: |host| &host.unified_order,
            write: &|signer, nonce| order.write(signer, nonce),
            parse: UnifiedOrderAnswer::parse,
        };
        Ok(self.perform(&call, priority).await?)
    }

    /// Asks for a refund, with the merchant's certificate. The same `out_refund_no` refunds once.
    pub async fn refund(
        &self,
        account: &MerchantAccount,
        refund: &RefundRequest,
        priority: Priority,
    ) -> Result<Verified<RefundAnswer>, RequestError> {
        refund.check()?;
        let certificate = account.certificate().ok_or(RequestError::NoCertificate)?;
        let call = Call {
            account,
            transport: certificate.transport(self.connect_timeout),
            path: |host| &host.refund,
            write: &|signer, nonce| refund.write(signer, nonce),
            parse: RefundAnswer::parse,
        };
        Ok(self.perform(&call, priority).await?)
    }

    /// Asks what became of refunds.
    pub async fn refund_query(
        &self,
        account: &MerchantAccount,
        query: &RefundQuery,
        priority: Priority,
    ) -> Result<Verified<RefundQueryAnswer>, RequestError> {
        query.check()?;
        let call = Call {
            account,
            transport: &self.transport,
            path: |host| &host.refund_query,
            write: &|signer, nonce| query.write(signer, nonce),
            parse: RefundQueryAnswer::parse,
        };
        Ok(self.perform(&call, priority).await?)
    }
}
