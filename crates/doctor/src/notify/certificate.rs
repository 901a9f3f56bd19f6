//! The notify URL's certificate: believed by everybody, for how long, and also by a caller that names no host.

use std::net::SocketAddr;

use crate::clock::wall;
use crate::finding::Finding;
use crate::net::{Handshake, NetError, Place, Roots, Sni, TlsFault};

/// Renewals happen thirty days before the end; what is left below that tells that one failed.
const WARNING_DAYS: i64 = 21;
const ERROR_DAYS: i64 = 5;

/// Looks twice, with and without the host's name; true if callers that name the host get through.
pub(super) async fn look(
    place: &Place,
    addresses: &[SocketAddr],
    roots: &Roots,
    findings: &mut Vec<Finding>,
) -> bool {
    let named = match place.handshake(addresses, Sni::Sent, roots).await {
        Ok(handshake) => handshake,
        Err(error) => {
            findings.push(failed(place, &error));
            return false;
        }
    };
    if let Err(error) = &named.stream {
        findings.push(failed(place, error));
        return false;
    }
    findings.extend(named.certificates.first().map(|own| of_age(&place.host, own.days_left(wall()))));
    if place.literal().is_none() {
        let unnamed = place.handshake(addresses, Sni::Left, roots).await;
        findings.push(without_name(place, &named, unnamed));
    }
    true
}

/// How long it is good; also for a client certificate.
pub(crate) fn of_age(about: &str, days: i64) -> Finding {
    let seen_en = format!("the certificate ends in {days} days");
    let seen_zh = format!("证书还有 {days} 天到期");
    let remedy_en = "renew it now, and see why it was not renewed by itself (certbot renew, acme.sh)";
    let remedy_zh = "请立即续期，并检查自动续期（certbot renew、acme.sh）为何没有生效";
    if days < ERROR_DAYS {
        Finding::error("certificate-ends-soon", about).seen(seen_en, seen_zh).remedy(remedy_en, remedy_zh)
    } else if days < WARNING_DAYS {
        Finding::warning("certificate-ends-soon", about).seen(seen_en, seen_zh).remedy(remedy_en, remedy_zh)
    } else {
        Finding::ok("certificate-good", about).seen(
            format!("complete, believed, good for {days} days"),
            format!("证书链完整可信，{days} 天后到期"),
        )
    }
}

fn failed(place: &Place, error: &NetError) -> Finding {
    let finding =
        Finding::error("notify-url-certificate", &place.host).seen(error.to_string(), in_chinese(error));
    match error {
        NetError::Tls(TlsFault::Incomplete) => finding.remedy(
            "give the server the whole chain: fullchain.pem, not cert.pem (nginx: ssl_certificate; ours: ingress.tls_cert_file)",
            "请使用包含中间证书的完整证书链：fullchain.pem 而不是 cert.pem（nginx 的 ssl_certificate，或 ingress.tls_cert_file）",
        ),
        NetError::Tls(TlsFault::Expired) => {
            finding.remedy("renew it, and reload nginx or paybell", "请续期证书，并重新加载 nginx 或 paybell")
        }
        NetError::Tls(TlsFault::NotYetValid) => {
            finding.remedy("this machine's clock is behind, or the certificate's", "本机时钟偏慢，或证书签发时间有误")
        }
        NetError::Tls(TlsFault::OtherName) => finding.remedy(
            format!("get a certificate for {}, or correct ingress.public_url", place.host),
            format!("请申请 {} 的证书，或更正 ingress.public_url", place.host),
        ),
        NetError::Tls(TlsFault::SelfSigned | TlsFault::UnknownIssuer) => finding.remedy(
            "WeChat believes only public authorities: get a certificate from one (Let's Encrypt, your cloud)",
            "微信只信任公共证书机构：请申请公共证书（Let's Encrypt 或云厂商）",
        ),
        _ => finding.remedy(
            "see that this port speaks TLS 1.2 or 1.3: openssl s_client -connect HOST:443 -servername HOST",
            "确认该端口支持 TLS 1.2 或 1.3：openssl s_client -connect 域名:443 -servername 域名",
        ),
    }
}

fn in_chinese(error: &NetError) -> String {
    let NetError::Tls(fault) = error else { return format!("TLS 握手失败：{error}") };
    match fault {
        TlsFault::Expired => "证书已过期".to_owned(),
        TlsFault::NotYetValid => "证书尚未生效".to_owned(),
        TlsFault::OtherName => "证书与域名不符".to_owned(),
        TlsFault::Incomplete => "证书链不完整：服务器没有发送中间证书".to_owned(),
        TlsFault::SelfSigned => "证书是自签名的".to_owned(),
        TlsFault::UnknownIssuer => "证书由未知机构签发".to_owned(),
        TlsFault::Other(what) => format!("TLS 握手失败：{what}"),
    }
}

/// Some of WeChat's callers were seen to name no host; they get the default certificate.
fn without_name(place: &Place, named: &Handshake, unnamed: Result<Handshake, NetError>) -> Finding {
    let is_same = |unnamed: &Handshake| {
        unnamed.stream.is_ok() && unnamed.certificates.first() == named.certificates.first()
    };
    let cause = match unnamed {
        Ok(handshake) if is_same(&handshake) => {
            return Finding::ok("notify-url-without-sni", &place.host)
                .seen("the same certificate without SNI", "不带 SNI 时证书相同");
        }
        Ok(Handshake { stream: Err(error), .. }) | Err(error) => error,
        Ok(_) => NetError::Tls(TlsFault::Other("another certificate".to_owned())),
    };
    Finding::warning("notify-url-needs-sni", &place.host)
        .seen(
            format!("a caller that sends no SNI gets something else: {cause}"),
            format!("不带 SNI 的请求得到不同的结果：{}", in_chinese(&cause)),
        )
        .remedy(
            "some shops got no https notification at all for this reason: make this host the default server of the port (nginx: listen 443 ssl default_server)",
            "曾有商户因此收不到 https 通知：请把该域名设为此端口的默认站点（nginx：listen 443 ssl default_server）",
        )
}
