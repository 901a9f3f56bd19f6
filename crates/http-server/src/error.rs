//! What can go wrong before a listener serves: the address or the TLS files. Faults of single connections are no
//! errors of this crate; they end the connection.

use std::{io, path::PathBuf};

use rustls::pki_types::pem;

/// Why a listener cannot start. The text is meant for the person who wrote the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address does not resolve, is taken, or is not ours.
    #[error("cannot listen on {address}: {}", explain_bind(.source))]
    Bind {
        /// As configured.
        address: String,
        #[source]
        source: io::Error,
    },
    /// A certificate or key file cannot be used.
    #[error("{}: {problem}", .file.display())]
    TlsFile {
        /// The file to look at.
        file: PathBuf,
        #[source]
        problem: TlsFileError,
    },
    /// The files are fine, but no TLS configuration comes of them.
    #[error("TLS configuration refused: {0}")]
    Tls(#[from] rustls::Error),
}

/// What is wrong with one PEM file. Carries no content of the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    #[error("cannot read it: {0}")]
    Unreadable(#[from] io::Error),
    #[error("holds no \"BEGIN CERTIFICATE\" section; give the full chain in PEM form, own certificate first")]
    NoCertificate,
    #[error(
        "holds no unencrypted private key (\"BEGIN PRIVATE KEY\", \"BEGIN RSA PRIVATE KEY\" or \"BEGIN EC PRIVATE KEY\")"
    )]
    NoPrivateKey,
    #[error("damaged PEM: {0}")]
    Damaged(&'static str),
    #[error("the private key does not belong to the first certificate of {}", .certificate_file.display())]
    WrongKey {
        /// The certificate file that the key was tried against.
        certificate_file: PathBuf,
    },
    #[error("key or certificate not usable: {0}")]
    Unusable(rustls::Error),
}

impl TlsFileError {
    /// `missing` is what to say when the file has no section of the wanted kind.
    pub(crate) fn from_pem(error: pem::Error, missing: TlsFileError) -> TlsFileError {
        match error {
            pem::Error::NoItemsFound => missing,
            pem::Error::Io(source) => TlsFileError::Unreadable(source),
            pem::Error::MissingSectionEnd { .. } => TlsFileError::Damaged("a section has no END line"),
            pem::Error::IllegalSectionStart { .. } => TlsFileError::Damaged("a BEGIN line is malformed"),
            pem::Error::Base64Decode(_) => TlsFileError::Damaged("a section is not valid base64"),
            _ => TlsFileError::Damaged("not readable as PEM"),
        }
    }
}

fn explain_bind(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is already in use by another process".to_owned(),
        io::ErrorKind::AddrNotAvailable => "no network interface of this machine has that address".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted (ports below 1024 need a privilege)".to_owned(),
        io::ErrorKind::InvalidInput => "not an address; write it as HOST:PORT".to_owned(),
        _ => error.to_string(),
    }
}
