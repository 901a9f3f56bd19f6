//! Files that hold secrets, and certificates that end. Reads no secret: only who else may.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::clock::wall;
use crate::finding::{Finding, Severity};
use crate::net::read_pem;
use crate::notify::of_age;

const OTHERS_READ: u32 = 0o004;
const OTHERS_WRITE: u32 = 0o002;

/// Looks at who may read a file that holds a secret. Nothing is said of a good one.
#[must_use]
pub fn secret(path: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    if mode & (OTHERS_READ | OTHERS_WRITE) == 0 {
        return None;
    }
    let (about, mode) = (path.display().to_string(), mode & 0o777);
    Some(
        Finding::warning("secret-readable", &about)
            .seen(
                format!("mode {mode:03o}: every user of this machine may read a secret"),
                format!("权限 {mode:03o}：本机所有用户都能读到密钥"),
            )
            .remedy(
                format!(
                    "chown it to the service's user and chmod 600 {about}; who has the key can forge payments"
                ),
                format!("请将其所有者改为服务用户并执行 chmod 600 {about}；拿到密钥即可伪造支付通知"),
            ),
    )
}

/// Looks at how long a certificate in a file is good.
#[must_use]
pub fn certificate(path: &Path) -> Finding {
    let about = path.display().to_string();
    match read_pem(path) {
        Ok(certificate) => {
            let finding = of_age(&about, certificate.days_left(wall()));
            if finding.severity == Severity::Ok {
                return finding;
            }
            // Nobody renews it by itself: a person fetches it.
            finding.remedy(
                "the super administrator fetches a new one at pay.weixin.qq.com → 账户中心 → API安全; after its end WeChat refuses every refund. New files are taken without a restart",
                "请由超级管理员在商户平台 → 账户中心 → API安全 更换证书；到期后微信会拒绝所有退款。更新文件后无需重启",
            )
        }
        Err(cause) => Finding::error("certificate-unreadable", about)
            .seen(format!("no certificate can be read: {cause}"), format!("无法读取证书：{cause}"))
            .remedy(
                "merchants' certificates (apiclient_cert.pem) come from pay.weixin.qq.com → 账户中心 → API安全; only the super administrator gets them",
                "商户证书（apiclient_cert.pem）在商户平台 → 账户中心 → API安全 中获取，仅超级管理员可操作",
            ),
    }
}
