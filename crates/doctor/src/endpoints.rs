//! Endpoints that events or notifications are posted to: whether they can be reached as the delivery will. Connects and
//! shakes hands; posts nothing.

use delivery::transport::is_public;
use futures_util::future::join_all;

use crate::beside::Beside;
use crate::clock::wall;
use crate::finding::Finding;
use crate::net::{Place, Roots, Sni};
use crate::notify::of_age;

/// One endpoint of the configuration.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub name: String,
    pub url: String,
    /// The operator said that a private address is meant.
    pub allows_private: bool,
}

/// Looks at all of them at once. What is found stands in `found` as soon as it is, should nobody wait for the rest.
pub async fn look(endpoints: &[Endpoint], roots: &Roots, found: &mut Vec<Finding>) {
    let mut beside = Beside::of(endpoints.len(), found);
    let looks =
        beside.each().zip(endpoints).map(async |(found, endpoint)| *found = one(endpoint, roots).await);
    join_all(looks).await;
}

async fn one(endpoint: &Endpoint, roots: &Roots) -> Vec<Finding> {
    let name = endpoint.name.as_str();
    let Some(place) = Place::parse(&endpoint.url) else { return Vec::new() };
    let addresses = match place.resolve().await {
        Ok(addresses) => addresses,
        Err(error) => return vec![unreachable(name, &error.to_string())],
    };
    let closed = addresses.iter().map(std::net::SocketAddr::ip).find(|address| !is_public(*address));
    if let Some(address) = closed.filter(|_| !endpoint.allows_private) {
        let finding = Finding::error("endpoint-private", name)
            .seen(
                format!(
                    "{} leads to {address}, which is not on the public internet: nothing is delivered there",
                    place.host
                ),
                format!("{} 指向 {address}，不是公网地址：不会投递", place.host),
            )
            .remedy(
                "if it is your own machine, set allow_private = true for this endpoint",
                "如果是您自己的机器，请为该端点设置 allow_private = true",
            );
        return vec![finding];
    }
    if !place.is_https {
        return match place.connect(&addresses).await {
            Ok(_) => vec![good(name, &place.authority)],
            Err(error) => vec![unreachable(name, &error.to_string())],
        };
    }
    match place.handshake(&addresses, Sni::Sent, roots).await {
        Ok(handshake) => match &handshake.stream {
            Ok(_) => {
                let age = handshake.certificates.first().map(|own| of_age(name, own.days_left(wall())));
                [Some(good(name, &place.authority)), age.filter(|age| age.code != "certificate-good")]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Err(error) => vec![
                Finding::error("endpoint-certificate", name)
                    .seen(error.to_string(), format!("TLS 握手失败：{error}"))
                    .remedy(
                        "give that server a certificate of a public authority, with the whole chain",
                        "请为该服务器配置公共机构签发的完整证书链",
                    ),
            ],
        },
        Err(error) => vec![unreachable(name, &error.to_string())],
    }
}

fn good(name: &str, authority: &str) -> Finding {
    Finding::ok("endpoint-good", name)
        .seen(format!("{authority} can be reached"), format!("{authority} 可以连接"))
}

fn unreachable(name: &str, cause: &str) -> Finding {
    Finding::error("endpoint-unreachable", name).seen(cause, format!("无法连接：{cause}")).remedy(
        "correct its url, start what listens there, and let this machine out to it",
        "请更正 url，启动对应服务，并放行本机到它的访问",
    )
}
