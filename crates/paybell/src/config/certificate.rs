//! The API certificate of a merchant (`apiclient_cert.pem`, `apiclient_key.pem`): refunds need it. Read when the
//! configuration is checked, so that a pair which does not fit is found before somebody waits for money.
//!
//! One that has ended is told and taken all the same: a shop whose certificate ran out must still hear of payments.

use std::path::Path;

use doctor::net::read_pem;
use paybell_core::MchId;
use wechat_pay::client::ClientCertificate;
use zeroize::Zeroizing;

use super::secret::PemPair;

impl PemPair {
    /// Ready for calls, if the two belong together.
    pub fn client_certificate(&self) -> Result<ClientCertificate, String> {
        let (certificate, key) = (read(&self.cert_file)?, read(&self.key_file)?);
        ClientCertificate::from_pem(&certificate, &key)
            .map_err(|error| format!("{}, {}: {error}", self.cert_file.display(), self.key_file.display()))
    }

    /// What is wrong with it as the certificate of this merchant: WeChat would refuse every refund.
    pub(super) fn check_for(&self, mch_id: &MchId) -> Result<(), String> {
        self.client_certificate()?;
        let shown = self.cert_file.display();
        let certificate = read_pem(&self.cert_file).map_err(|cause| format!("{shown}: {cause}"))?;
        // WeChat puts the merchant number there; of anything else we would only guess.
        let is_number = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        match certificate.common_name.filter(is_number) {
            Some(named) if named != mch_id.as_str() => Err(format!(
                "{shown} is the certificate of merchant {named}: take the one of {mch_id} (in provider mode the \
                 provider's)"
            )),
            _ => Ok(()),
        }
    }

    /// Days until it ends, negative once it has; `None` if it cannot be read any more.
    pub fn days_left(&self, now_s: u64) -> Option<i64> {
        let certificate = read_pem(&self.cert_file).ok()?;
        Some(certificate.days_left(std::time::Duration::from_secs(now_s)))
    }
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    std::fs::read(file)
        .map(Zeroizing::new)
        .map_err(|cause| format!("cannot read {}: {cause}", file.display()))
}
