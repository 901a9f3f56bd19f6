//! What a report tells of a certificate: whose it is, until when it is good, and whether it vouches for itself. Verifies
//! nothing.

use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

const DAY_SECONDS: i64 = 86_400;

/// A certificate as it was shown or found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    /// Seconds since 1970.
    pub not_after: i64,
    pub is_self_signed: bool,
    /// Whom it names: of a merchant's API certificate the merchant number.
    pub common_name: Option<String>,
}

impl Certificate {
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            der: der.to_vec(),
            not_after: parsed.validity().not_after.timestamp(),
            is_self_signed: parsed.issuer() == parsed.subject(),
            common_name: parsed
                .subject()
                .iter_common_name()
                .next()
                .and_then(|name| name.as_str().ok())
                .map(str::to_owned),
        })
    }

    /// Whole days until it ends; negative once it has.
    #[must_use]
    pub fn days_left(&self, wall: Duration) -> i64 {
        let now = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
        self.not_after.saturating_sub(now).div_euclid(DAY_SECONDS)
    }
}

/// The first certificate of a PEM file.
pub fn read_pem(path: &Path) -> Result<Certificate, String> {
    let der = CertificateDer::from_pem_file(path).map_err(|error| error.to_string())?;
    Certificate::parse(&der).ok_or_else(|| "it is no X.509 certificate".to_owned())
}
