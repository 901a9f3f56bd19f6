//! The notify URL's text, name and addresses.

use std::net::SocketAddr;

use delivery::transport::is_public;

use crate::finding::Finding;
use crate::net::{NetError, Place};
use crate::wechat::Merchant;

/// Longest notify_url that WeChat takes.
const URL_CHARS_MAX: usize = 256;

/// What the text alone tells.
pub(super) fn of_url(url: &str, merchants: &[Merchant]) -> Vec<Finding> {
    let Some(place) = Place::parse(url) else { return Vec::new() };
    let mut findings = Vec::new();
    if place.path.contains('?') {
        let finding = Finding::error("notify-url-query", url)
            .seen(
                "it has a query string (?…), which WeChat refuses in a notify_url",
                "带有查询参数（?…），微信不接受这样的 notify_url",
            )
            .remedy(
                "put what you need into the path: /notify/pay/MCH_ID",
                "把需要的信息放进路径：/notify/pay/商户号",
            );
        findings.push(finding);
    }
    if !place.is_https {
        let finding = Finding::warning("notify-url-plain-http", url)
            .seen(
                "http: WeChat's newer rules demand https for public names",
                "使用 http：微信新规要求公网域名使用 https",
            )
            .remedy(
                "put a certificate on the listener or on nginx, and use https",
                "在监听端口或 nginx 上配置证书，改用 https",
            );
        findings.push(finding);
    }
    if place.literal().is_some() || place.has_explicit_port && !matches!(place.port, 80 | 443) {
        let finding = Finding::warning("notify-url-unusual-host", url)
            .seen(
                "an IP address or a port of its own: firewalls and WeChat itself may refuse it",
                "使用了 IP 地址或非标准端口：防火墙或微信可能拒绝",
            )
            .remedy("use a name and port 443", "请使用域名和 443 端口");
        findings.push(finding);
    }
    if place.host.contains('_') {
        let finding = Finding::error("notify-url-underscore", url)
            .seen(
                "the host name has an underscore, which WeChat's callers do not resolve",
                "主机名含下划线，微信的回调程序无法解析",
            )
            .remedy("use a name of letters, digits and dashes", "请使用只含字母、数字和连字符的域名");
        findings.push(finding);
    }
    let longest = merchants.iter().map(|merchant| merchant.mch_id.len() + 1).max().unwrap_or(0);
    let chars = url.chars().count() + longest;
    if chars > URL_CHARS_MAX {
        let finding = Finding::error("notify-url-too-long", url)
            .seen(
                format!("with the merchant number it has {chars} characters; WeChat takes {URL_CHARS_MAX}"),
                format!("加上商户号共 {chars} 个字符，微信最多接受 {URL_CHARS_MAX} 个"),
            )
            .remedy("shorten the path of ingress.public_url", "缩短 ingress.public_url 的路径");
        findings.push(finding);
    }
    findings
}

/// The addresses, if there are any.
pub(super) async fn resolve(place: &Place, findings: &mut Vec<Finding>) -> Option<Vec<SocketAddr>> {
    match place.resolve().await {
        Ok(addresses) => {
            findings.extend(of_addresses(place, &addresses));
            Some(addresses)
        }
        Err(error) => {
            let finding = Finding::error("notify-url-unresolved", &place.host)
                .seen(error.to_string(), format!("域名无法解析：{error}"))
                .remedy(
                    "create the DNS record, and mind that a new one takes minutes to be seen",
                    "添加 DNS 解析记录；新记录需几分钟生效",
                );
            findings.push(finding);
            None
        }
    }
}

fn of_addresses(place: &Place, addresses: &[SocketAddr]) -> Option<Finding> {
    let closed = addresses.iter().map(SocketAddr::ip).find(|address| !is_public(*address))?;
    let seen_en = format!("{closed} is not on the public internet: WeChat cannot reach it");
    let seen_zh = format!("{closed} 不是公网地址，微信无法访问");
    Some(if place.literal().is_some() {
        Finding::error("notify-url-private", &place.host)
            .seen(seen_en, seen_zh)
            .remedy("give a public name in ingress.public_url", "在 ingress.public_url 中填写公网域名")
    } else {
        Finding::warning("notify-url-private", &place.host).seen(seen_en, seen_zh).remedy(
            "fine if only your own network resolves the name so; ask a public resolver (dig @223.5.5.5 NAME) to be sure",
            "若仅内网解析到该地址则无妨；请用公共 DNS 确认：dig @223.5.5.5 域名",
        )
    })
}

pub(super) fn unreachable(place: &Place, error: &NetError) -> Finding {
    Finding::error("notify-url-unreachable", &place.authority).seen(error.to_string(), format!("无法连接：{error}")).remedy(
        format!(
            "open port {} to the world (security group, firewall, port forwarding), and see that nginx or paybell listens; \
             some routers cannot reach their own public address: then look from outside",
            place.port
        ),
        format!(
            "对公网开放 {} 端口（安全组、防火墙、端口映射），并确认 nginx 或 paybell 在监听；\
             有些路由器无法从内网访问自己的公网地址：请从外部再试",
            place.port
        ),
    )
}
