//! Downloads a bill into a writer, piece by piece; never the whole in memory.
//!
//! A refusal comes as a document in place of the bill and is told by its first byte. Once a byte is written there is
//! no other host and no repeat: the caller throws away what was written and asks again. Unpacks and reads nothing:
//! that is [`crate::bill::open`]'s, for which a cut file is an error.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::host::Host;
use super::slots::NoSlot;
use super::{Cause, Client, MerchantAccount, Priority, nonce};
use crate::bill::{BillRefusal, BillRequest, RefusalKind};
use crate::request::Signer;
use crate::sign::ApiKey;
use crate::xml::{BODY_BYTES_MAX, XmlError};

/// Longest packed bill that is downloaded, in bytes: some two hundred million rows.
pub const BILL_BYTES_MAX: u64 = 2 << 30;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BillDownload {
    /// So many bytes were written, packed or plain as they came.
    Written { bytes: u64 },
    /// There is no bill; nothing was written.
    Refused(BillRefusal),
}

/// Why no whole bill came.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Nothing was sent.
    #[error("the merchant's query rate left no slot in time")]
    NoSlot,
    /// What was written is not whole: throw it away and ask again.
    #[error("the bill did not come: {0}")]
    Call(Cause),
    #[error("the bill cannot be written")]
    Write(#[from] std::io::Error),
}

impl Client {
    /// Downloads a bill, which is there from [`crate::bill::BillDate::ready_ms`] on. Each piece has the time of a
    /// whole call.
    pub async fn download_bill(
        &self,
        account: &MerchantAccount,
        request: &BillRequest,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<BillDownload, DownloadError> {
        let slot = account.slots().acquire(Priority::Cadence, self.slot_wait_max).await;
        slot.map_err(|NoSlot| DownloadError::NoSlot)?;
        let mut outcome = None;
        for (key_used, key) in account.keys().in_order() {
            match self.begin(account, request, key).await.map_err(DownloadError::Call)? {
                Begun::Refused(refusal) if refusal.kind == RefusalKind::Sign => {
                    outcome = Some(BillDownload::Refused(refusal));
                }
                Begun::Refused(refusal) => return Ok(BillDownload::Refused(refusal)),
                Begun::Bill { head, rest } => {
                    account.keys().worked(key_used);
                    let bytes = self.pour(head, rest, to).await?;
                    return Ok(BillDownload::Written { bytes });
                }
            }
        }
        Ok(outcome.expect("a key ring has at least one key, and each returned or was refused"))
    }

    /// Asks host after host, until one answers with the beginning of something.
    async fn begin(
        &self,
        account: &MerchantAccount,
        request: &BillRequest,
        key: &ApiKey,
    ) -> Result<Begun, Cause> {
        let mut failure = Cause::Timeout;
        for admitted_only in [true, false] {
            let mut asked = false;
            for host in &self.hosts {
                if !admitted_only || host.circuit.admit(Instant::now()) {
                    asked = true;
                    match self.begin_at(host, account, request, key).await {
                        Err(cause) if cause.is_the_hosts() => failure = cause,
                        outcome => return outcome,
                    }
                }
            }
            // Every circuit open: asking all the same is better than not asking.
            if asked {
                break;
            }
        }
        Err(failure)
    }

    async fn begin_at(
        &self,
        host: &Host,
        account: &MerchantAccount,
        request: &BillRequest,
        key: &ApiKey,
    ) -> Result<Begun, Cause> {
        let signer = Signer { mch_id: account.mch_id(), key, algorithm: account.algorithm() };
        let body = request.body(signer, &nonce()?);
        let begun = timeout(self.request_timeout, async {
            let mut rest = self.transport.send(&host.download_bill, body).await?.into_body();
            let mut head = BytesMut::new();
            while is_undecided(&head) {
                match piece(&mut rest).await? {
                    Some(more) => head.extend_from_slice(&more),
                    None if first(&head).is_none() => return Err(Cause::NotXml(XmlError::Empty)),
                    None => break,
                }
            }
            if first(&head) != Some(b'<') {
                return Ok(Begun::Bill { head: head.freeze(), rest });
            }
            while let Some(more) = piece(&mut rest).await? {
                if head.len() + more.len() > BODY_BYTES_MAX {
                    return Err(Cause::TooLarge);
                }
                head.extend_from_slice(&more);
            }
            // A gateway's page is no answer of WeChat's.
            crate::xml::Document::parse(&head).map_err(Cause::NotXml)?;
            Ok(Begun::Refused(BillRefusal::parse(&head)))
        });
        let outcome = begun.await.unwrap_or(Err(Cause::Timeout));
        match &outcome {
            Ok(_) => host.circuit.succeeded(),
            Err(cause) => host.judge(cause),
        }
        outcome
    }

    async fn pour(
        &self,
        head: Bytes,
        mut rest: Incoming,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, DownloadError> {
        let mut written = 0_u64;
        let mut next = Some(head);
        while let Some(bytes) = next {
            written = written.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if written > BILL_BYTES_MAX {
                return Err(DownloadError::Call(Cause::TooLarge));
            }
            to.write_all(&bytes).await?;
            let more = timeout(self.request_timeout, piece(&mut rest)).await.unwrap_or(Err(Cause::Timeout));
            next = more.map_err(DownloadError::Call)?;
        }
        to.flush().await?;
        Ok(written)
    }
}

enum Begun {
    Bill { head: Bytes, rest: Incoming },
    Refused(BillRefusal),
}

/// The next bytes of a body; `None` at its end.
async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, Cause> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Cause::Broken(error.to_string())),
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}

/// Blanks and a byte order mark may come first, and in pieces.
fn is_undecided(head: &[u8]) -> bool {
    head.len() < 3 || first(head).is_none()
}

/// The first byte that means something.
fn first(head: &[u8]) -> Option<u8> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    text.iter().copied().find(|byte| !byte.is_ascii_whitespace())
}
