//! The public notify URL, seen as WeChat sees it: from its name to the exact bytes of an answer.
//!
//! Each step is looked at only where the one before it let us through; what was not reached is not guessed.

mod address;
mod certificate;
mod front;
mod sent;

pub(crate) use certificate::of_age;

use std::net::SocketAddr;

use crate::finding::Finding;
use crate::net::{Place, Roots};
use crate::wechat::Merchant;

/// Whether a canary is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    Send,
    LeaveOut,
}

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Notify<'n> {
    /// `ingress.public_url`.
    pub public_url: &'n str,
    pub merchants: &'n [Merchant],
    pub canary: Canary,
    pub roots: Roots,
}

/// A place whose address and certificate were good.
struct Reached<'n> {
    notify: &'n Notify<'n>,
    place: Place,
    addresses: Vec<SocketAddr>,
}

/// Looks at everything; each step has its own time.
pub async fn look(notify: &Notify<'_>) -> Vec<Finding> {
    let url = format!("{}/notify/pay", notify.public_url.trim_end_matches('/'));
    let mut findings = address::of_url(&url, notify.merchants);
    let Some(place) = Place::parse(&url) else { return findings };
    let addresses = match address::resolve(&place, &mut findings).await {
        Some(addresses) => addresses,
        None => return unreached(findings, notify),
    };
    if let Err(error) = place.connect(&addresses).await {
        findings.push(address::unreachable(&place, &error));
        return unreached(findings, notify);
    }
    if place.is_https && !certificate::look(&place, &addresses, &notify.roots, &mut findings).await {
        return unreached(findings, notify);
    }
    let reached = Reached { notify, place, addresses };
    if front::look(&reached, &mut findings).await {
        findings.extend(sent::canaries(&reached).await);
    } else {
        return unreached(findings, notify);
    }
    findings
}

fn unreached(mut findings: Vec<Finding>, notify: &Notify<'_>) -> Vec<Finding> {
    if notify.canary == Canary::Send {
        let finding = Finding::unseen("canary-not-sent", notify.public_url)
            .seen(
                "the way to Paybell is not open, so no canary was sent",
                "通往 Paybell 的路不通，没有发送探测通知",
            )
            .remedy("mend what is wrong above, then look again", "先解决上面的问题，再运行一次");
        findings.push(finding);
    }
    findings
}
