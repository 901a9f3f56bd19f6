//! A certificate authority of a test's own, and a certificate of it for `localhost`, in files that servers read.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// Gone with its files when it is dropped.
pub struct Papers {
    folder: TempDir,
    authority: String,
}

impl Papers {
    /// A new authority, which nobody else trusts.
    pub fn issue() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is no bad name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = || KeyPair::generate().expect("this machine has randomness");
        let issuer = CertifiedIssuer::self_signed(params, key()).expect("these parameters are sound");
        let (own, names) = (key(), vec!["localhost".to_owned()]);
        let params = CertificateParams::new(names).expect("localhost is a name");
        let certificate = params.signed_by(&own, &issuer).expect("these parameters are sound");
        let papers = Self { folder: TempDir::new().expect("a folder"), authority: issuer.pem() };
        for (name, text) in
            [("ca.pem", issuer.pem()), ("cert.pem", certificate.pem()), ("key.pem", own.serialize_pem())]
        {
            std::fs::write(papers.file(name), text).expect("the folder is ours");
        }
        papers
    }

    /// The path of `ca.pem`, `cert.pem` or `key.pem`.
    pub fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The authority's certificate, as PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }
}
