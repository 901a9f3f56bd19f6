//! Refund notifications (退款结果通知): an outer document without any sign, around an encrypted `req_info`.
//!
//! That `req_info` decrypts is all the trust there is: AES-256-ECB protects no integrity, and the outer fields can be
//! changed by anybody. A [`Refund`] read here is a hint; ask refundquery before booking anything.

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, KeyInit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use crate::beijing;
use crate::fields::{fen, filled, is_out_trade_no, is_transaction_id};
use crate::refund_query::RefundReceiver;
use crate::sign::ApiKey;
use crate::xml::{Document, XmlError};

const BLOCK_BYTES: usize = 16;

/// The outer document: anybody may have written it.
#[derive(Debug)]
pub struct Sealed<'a> {
    document: Document<'a>,
}

/// A decrypted refund. Amounts are in the smallest unit of the order's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    pub transaction_id: String,
    pub out_trade_no: String,
    pub refund_id: String,
    pub out_refund_no: String,
    pub total_fee: i64,
    pub refund_fee: i64,
    pub settlement_refund_fee: i64,
    /// The order's amount less coupons that were not paid for.
    pub settlement_total_fee: Option<i64>,
    pub status: RefundStatus,
    /// Unix milliseconds.
    pub success_time_ms: Option<i64>,
    pub received_by: Option<RefundReceiver>,
    /// Where the money came from, such as `REFUND_SOURCE_RECHARGE_FUNDS`.
    pub account: Option<String>,
    pub requested_by: Option<RequestSource>,
}

/// Who asked for a refund.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestSource {
    Api,
    /// A person in the merchant platform: nobody here knows of this refund yet.
    VendorPlatform,
    Other(String),
}

/// How a refund ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefundStatus {
    Success,
    /// The bank refused: to be handled by hand in the merchant platform. Not a failure, and not money returned.
    Change,
    Closed,
}

/// Why a refund notification is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefundNotificationError {
    #[error(transparent)]
    Xml(#[from] XmlError),
    #[error("return_code is not SUCCESS: there is no req_info")]
    ReturnCodeFail,
    #[error("the field {0} is missing")]
    MissingField(&'static str),
    #[error("the field {0} is malformed")]
    InvalidField(&'static str),
    #[error("req_info is not base64")]
    InvalidBase64,
    #[error("req_info has no whole number of blocks")]
    InvalidCiphertextLength,
    #[error("req_info does not decrypt with any key of the merchant")]
    BadPadding,
    #[error("req_info decrypts to something else than a document: {0}")]
    Plaintext(XmlError),
}

impl<'a> Sealed<'a> {
    /// Reads the outer document.
    pub fn parse(body: &'a [u8]) -> Result<Self, RefundNotificationError> {
        let document = Document::parse(body)?;
        if document.get("return_code") != Some("SUCCESS") {
            return Err(RefundNotificationError::ReturnCodeFail);
        }
        Ok(Self { document })
    }

    /// Whose notification this claims to be: good for choosing a key, for nothing else.
    #[must_use]
    pub fn mch_id(&self) -> Option<&str> {
        filled(&self.document, "mch_id")
    }

    /// The same for the appid.
    #[must_use]
    pub fn appid(&self) -> Option<&str> {
        filled(&self.document, "appid")
    }

    /// The same for the sub merchant of a provider.
    #[must_use]
    pub fn sub_mch_id(&self) -> Option<&str> {
        filled(&self.document, "sub_mch_id")
    }

    /// Decrypts with the first of the keys that fits.
    pub fn open(&self, keys: &[&ApiKey]) -> Result<Refund, RefundNotificationError> {
        let info =
            filled(&self.document, "req_info").ok_or(RefundNotificationError::MissingField("req_info"))?;
        let ciphertext = STANDARD.decode(info).map_err(|_| RefundNotificationError::InvalidBase64)?;
        if ciphertext.is_empty() || !ciphertext.len().is_multiple_of(BLOCK_BYTES) {
            return Err(RefundNotificationError::InvalidCiphertextLength);
        }
        let mut refused = RefundNotificationError::BadPadding;
        for key in keys {
            match open_with(key, ciphertext.clone()) {
                Ok(refund) => return Ok(refund),
                // A wrong key may pass the padding by chance; it never gives a document.
                Err(RefundNotificationError::BadPadding) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }
}

fn open_with(key: &ApiKey, ciphertext: Vec<u8>) -> Result<Refund, RefundNotificationError> {
    let mut buffer = Zeroizing::new(ciphertext);
    let decryptor = ecb::Decryptor::<Aes256>::new(&(*aes_key(key)).into());
    let plaintext =
        decryptor.decrypt_padded::<Pkcs7>(&mut buffer).map_err(|_| RefundNotificationError::BadPadding)?;
    let document =
        Document::parse_with_root(plaintext, "root").map_err(RefundNotificationError::Plaintext)?;
    Refund::read(&document)
}

/// What `req_info` is encrypted with: the 32 ASCII bytes of the lower-case hex MD5 of the API key; not its 16 raw bytes.
#[must_use]
pub fn aes_key(key: &ApiKey) -> Zeroizing<[u8; 32]> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest: [u8; 16] = Md5::digest(key.as_bytes()).into();
    let mut hex = Zeroizing::new([b'0'; 32]);
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
        for (digit, nibble) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *digit = DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        }
    }
    hex
}

impl Refund {
    fn read(document: &Document<'_>) -> Result<Self, RefundNotificationError> {
        Ok(Self {
            transaction_id: checked(document, "transaction_id", |text| {
                is_transaction_id(text).then(|| text.to_owned())
            })?,
            out_trade_no: checked(document, "out_trade_no", |text| {
                is_out_trade_no(text).then(|| text.to_owned())
            })?,
            refund_id: checked(document, "refund_id", |text| {
                is_transaction_id(text).then(|| text.to_owned())
            })?,
            out_refund_no: checked(document, "out_refund_no", |text| Some(text.to_owned()))?,
            total_fee: checked(document, "total_fee", fen)?,
            refund_fee: checked(document, "refund_fee", fen)?,
            settlement_refund_fee: checked(document, "settlement_refund_fee", crate::fields::fen_or_zero)?,
            status: checked(document, "refund_status", |text| match text {
                "SUCCESS" => Some(RefundStatus::Success),
                "CHANGE" => Some(RefundStatus::Change),
                "REFUNDCLOSE" => Some(RefundStatus::Closed),
                _ => None,
            })?,
            success_time_ms: match filled(document, "success_time") {
                None => None,
                Some(_) => Some(checked(document, "success_time", beijing::parse_spaced)?),
            },
            settlement_total_fee: filled(document, "settlement_total_fee")
                .and_then(crate::fields::fen_or_zero),
            received_by: filled(document, "refund_recv_accout").map(RefundReceiver::from),
            account: filled(document, "refund_account").map(str::to_owned),
            requested_by: filled(document, "refund_request_source").map(|text| match text {
                "API" => RequestSource::Api,
                "VENDOR_PLATFORM" => RequestSource::VendorPlatform,
                other => RequestSource::Other(other.to_owned()),
            }),
        })
    }
}

fn checked<T>(
    document: &Document<'_>,
    name: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, RefundNotificationError> {
    let text = filled(document, name).ok_or(RefundNotificationError::MissingField(name))?;
    read(text).ok_or(RefundNotificationError::InvalidField(name))
}

impl RefundNotificationError {
    /// A stable word for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Xml(error) => error.reason(),
            Self::ReturnCodeFail => "return_code_fail",
            Self::MissingField(_) => "missing_field",
            Self::InvalidField(_) => "invalid_field",
            Self::InvalidBase64 => "invalid_base64",
            Self::InvalidCiphertextLength => "invalid_ciphertext_length",
            Self::BadPadding => "bad_padding",
            Self::Plaintext(XmlError::Dtd) => "plaintext_dtd_forbidden",
            Self::Plaintext(XmlError::DuplicateField) => "plaintext_duplicate_field",
            Self::Plaintext(XmlError::Encoding) => "plaintext_invalid_encoding",
            Self::Plaintext(_) => "plaintext_invalid",
        }
    }
}
