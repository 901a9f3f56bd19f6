//! `paybell sign`: the sign that belongs to a document. The key comes from an environment variable, because command
//! lines are seen by every user of a machine.

use clap::{Args as ClapArgs, ValueEnum};
use wechat_pay::{
    sign::{Algorithm, ApiKey, sign},
    xml::Document,
};

use crate::{config, error::Error, output};

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// How to sign; the document's own sign_type is signed like any field, but not obeyed
    #[arg(long, value_enum)]
    algorithm: AlgorithmName,
    /// The environment variable that holds the API key
    #[arg(long, value_name = "VAR")]
    key_env: String,
}

/// The names on the wire.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum AlgorithmName {
    #[value(name = "MD5")]
    Md5,
    #[value(name = "HMAC-SHA256")]
    HmacSha256,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Md5 => Self::Md5,
            AlgorithmName::HmacSha256 => Self::HmacSha256,
        }
    }
}

/// Prints the sign.
pub fn run(args: Args) -> Result<(), Error> {
    let key = key_from(&args.key_env)?;
    let body = output::read_input()?;
    let document = parse(&body)?;
    let algorithm = Algorithm::from(args.algorithm);
    match document.get("sign_type") {
        Some(other) if !other.is_empty() && other != algorithm.as_str() => {
            output::remark(&format!(
                "note: the document says sign_type={other}, signed with {algorithm} as asked"
            ));
        }
        _ => {}
    }
    output::line(&sign(document.iter(), &key, algorithm))
}

/// The document on standard input, without its line end.
pub(super) fn parse(body: &[u8]) -> Result<Document<'_>, Error> {
    Document::parse(body)
        .map_err(|error| Error::Failed(format!("standard input: {error} ({})", error.reason())))
}

/// The key in an environment variable.
pub(super) fn key_from(variable: &str) -> Result<ApiKey, Error> {
    let text = config::variable(variable).ok_or_else(|| {
        Error::Usage(format!("the environment variable {variable} is not set: put the API key in it"))
    })?;
    config::api_key(text.reveal().trim_end()).map_err(|what| Error::Usage(format!("{variable}: {what}")))
}
