//! Certificates as the merchant platform hands them out, made in a folder: an authority, the server's certificate, and for
//! each merchant `apiclient_cert.pem` and `apiclient_key.pem`. What is there already is kept, so that a restart breaks
//! nobody's configuration. Good for this simulator only.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::error::Error;

/// What the server may be called.
const SERVER_NAMES: [&str; 4] = ["localhost", "127.0.0.1", "::1", "api.mch.weixin.qq.com"];

/// The files of a folder.
#[derive(Debug, Clone)]
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes what is missing.
    pub(crate) fn in_folder(folder: &Path, mch_ids: &[String]) -> Result<Certificates, Error> {
        let made = Certificates { folder: folder.to_owned() };
        made.complete(mch_ids)
            .map_err(|problem| Error::Certificates { folder: folder.to_owned(), problem })?;
        Ok(made)
    }

    /// What clients are to trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key.
    pub(crate) fn server(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("server.pem"), self.folder.join("server_key.pem"))
    }

    pub(crate) fn merchant(&self, mch_id: &str) -> (PathBuf, PathBuf) {
        let folder = self.folder.join(mch_id);
        (folder.join("apiclient_cert.pem"), folder.join("apiclient_key.pem"))
    }

    fn complete(&self, mch_ids: &[String]) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let authority = self.read_authority()?;
        let names = SERVER_NAMES.map(str::to_owned).to_vec();
        issue(&authority, "api.mch.weixin.qq.com", names, &self.server())?;
        for mch_id in mch_ids {
            fs::create_dir_all(self.folder.join(mch_id))?;
            issue(&authority, mch_id, Vec::new(), &self.merchant(mch_id))?;
        }
        Ok(())
    }

    fn read_authority(&self) -> io::Result<Issuer<'static, KeyPair>> {
        let key_file = self.folder.join("ca_key.pem");
        let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "WeChat Pay simulator");
        let key = if key_file.exists() {
            KeyPair::from_pem(&fs::read_to_string(&key_file)?).map_err(io::Error::other)?
        } else {
            let key = KeyPair::generate().map_err(io::Error::other)?;
            let certificate = params.self_signed(&key).map_err(io::Error::other)?;
            write(&self.authority(), &certificate.pem())?;
            write(&key_file, &key.serialize_pem())?;
            key
        };
        Ok(Issuer::new(params, key))
    }
}

fn issue(
    authority: &Issuer<'static, KeyPair>,
    name: &str,
    addresses: Vec<String>,
    (certificate_file, key_file): &(PathBuf, PathBuf),
) -> io::Result<()> {
    if certificate_file.exists() && key_file.exists() {
        return Ok(());
    }
    let is_server = !addresses.is_empty();
    let mut params = CertificateParams::new(addresses).map_err(io::Error::other)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![if is_server {
        ExtendedKeyUsagePurpose::ServerAuth
    } else {
        ExtendedKeyUsagePurpose::ClientAuth
    }];
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = params.signed_by(&key, authority).map_err(io::Error::other)?;
    write(certificate_file, &certificate.pem())?;
    write(key_file, &key.serialize_pem())
}

/// For the owner only.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}
