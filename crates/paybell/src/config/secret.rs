//! Values that nobody may see, and the files that hold them. A refusal speaks of lengths and paths, never of
//! content. Files are read once, here; later changes of a file are not noticed.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use http_server::TlsConfig;
use wechat_pay::sign::{ApiKey, KeyError};
use zeroize::Zeroizing;

/// Larger files hold no key and no token.
const SECRET_FILE_BYTES_MAX: usize = 64 * 1024;

/// A secret text, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes it over.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A certificate chain and its key, as files in PEM form that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemPair {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

impl PemPair {
    /// Reads both and makes sure that they belong together.
    pub fn load(&self) -> Result<TlsConfig, http_server::Error> {
        TlsConfig::from_pem_files(&self.cert_file, &self.key_file)
    }
}

/// The text of a key or token file, without white space at its end.
pub fn read_file(path: &Path) -> Result<Secret, String> {
    let shown = path.display();
    let bytes = std::fs::read(path).map_err(|cause| format!("cannot read {shown}: {cause}"))?;
    let bytes = Zeroizing::new(bytes);
    if bytes.len() > SECRET_FILE_BYTES_MAX {
        return Err(format!("{shown} has over {SECRET_FILE_BYTES_MAX} bytes: that is no key or token"));
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{shown} is not UTF-8 text"))?;
    Ok(Secret::new(text.trim_end()))
}

/// A merchant's API key from a file.
pub(super) fn read_api_key(text: &str) -> Result<ApiKey, String> {
    let secret = read_file(Path::new(text))?;
    api_key(secret.reveal()).map_err(|what| format!("{text}: {what}"))
}

/// A merchant's API key.
pub fn api_key(text: &str) -> Result<ApiKey, String> {
    ApiKey::new(text).map_err(|error| match error {
        KeyError::Length(found) => format!("an API key has exactly 32 ASCII characters, this one has {found}"),
        KeyError::Characters => {
            let found = text.chars().count();
            format!("an API key has exactly 32 visible ASCII characters, no blanks or line ends; this text has {found} and others among them")
        }
    })
}

/// A bearer token from a file: something that fits into an HTTP header.
pub(super) fn read_token(text: &str) -> Result<Secret, String> {
    let secret = read_file(Path::new(text))?;
    if secret.reveal().is_empty() {
        return Err(format!("{text} is empty: put a long random token into it"));
    }
    if !secret.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{text}: a token has only visible ASCII characters, on one line"));
    }
    Ok(secret)
}
