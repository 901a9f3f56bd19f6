//! Files with secrets and certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use doctor::files::{certificate, secret};

use super::complete;
use super::stand::Authority;

#[test]
fn a_secret_that_everybody_may_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, "192006250b4c09247ec02edce69f6a2d").unwrap();
    let told = |mode| {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        secret(&path)
    };
    for mode in [0o600, 0o400, 0o640] {
        assert_eq!(told(mode), None, "{mode:o}");
    }
    for mode in [0o644, 0o604, 0o602] {
        let finding = told(mode).unwrap();
        assert_eq!((finding.code, finding.severity.as_str()), ("secret-readable", "warning"));
        assert!(!format!("{finding:?}").contains("192006250b4c"));
        complete(&[finding]);
    }
    assert_eq!(secret(&folder.path().join("gone")), None, "the configuration says so already");
}

#[test]
fn a_client_certificate_is_read_for_its_end() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let path = folder.path().join("apiclient_cert.pem");
    let told = |pem: &str| {
        fs::write(&path, pem).unwrap();
        let finding = certificate(&path);
        complete(std::slice::from_ref(&finding));
        (finding.code, finding.severity.as_str())
    };
    assert_eq!(told(&authority.signs("1900000109", 900).pem), ("certificate-good", "ok"));
    assert_eq!(told(&authority.signs("1900000109", 7).pem), ("certificate-ends-soon", "warning"));
    let ending = certificate(&path);
    assert!(ending.remedy.en.contains("refund") && ending.remedy.zh.contains("API安全"), "{ending:?}");
    assert_eq!(told(&authority.signs("1900000109", 2).pem), ("certificate-ends-soon", "error"));
    assert_eq!(told("no certificate"), ("certificate-unreadable", "error"));
}
