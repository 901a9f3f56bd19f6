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

/// Who answers at the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    Paybell,
    /// In shadow mode the shop's own handler does: nothing is sent to it.
    OldHandler,
}

/// What is looked at.
#[derive(Debug, Clone)]
pub struct Notify<'n> {
    /// `ingress.public_url`.
    pub public_url: &'n str,
    pub merchants: &'n [Merchant],
    pub canary: Canary,
    pub answers: Answers,
    pub roots: Roots,
}

/// A place whose address and certificate were good.
struct Reached<'n> {
    notify: &'n Notify<'n>,
    place: Place,
    addresses: Vec<SocketAddr>,
}

/// Looks at everything; each step has its own time. What is found stands in `found` as soon as it is, should nobody wait
/// for the rest.
pub async fn look(notify: &Notify<'_>, found: &mut Vec<Finding>) {
    let url = format!("{}/notify/pay", notify.public_url.trim_end_matches('/'));
    found.extend(address::of_url(&url, notify.merchants));
    let Some(place) = Place::parse(&url) else { return };
    let Some(addresses) = address::resolve(&place, found).await else { return unreached(notify, found) };
    if let Err(error) = place.connect(&addresses).await {
        found.push(address::unreachable(&place, &error));
        return unreached(notify, found);
    }
    if place.is_https && !certificate::look(&place, &addresses, &notify.roots, found).await {
        return unreached(notify, found);
    }
    if notify.answers == Answers::OldHandler {
        return found.push(shadow(&url));
    }
    let reached = Reached { notify, place, addresses };
    if front::look(&reached, found).await {
        sent::canaries(&reached, found).await;
    } else {
        unreached(notify, found);
    }
}

fn shadow(url: &str) -> Finding {
    Finding::unseen("shadow-mode", url)
        .seen(
            "mode = \"shadow\": your own handler answers there, so nothing was sent to it",
            "mode = \"shadow\"：由原有程序应答，未向其发送任何内容",
        )
        .remedy("look again after the take-over", "切换到 Paybell 后请再次运行")
}

fn unreached(notify: &Notify<'_>, found: &mut Vec<Finding>) {
    if notify.canary == Canary::Send && notify.answers == Answers::Paybell {
        let finding = Finding::unseen("canary-not-sent", notify.public_url)
            .seen(
                "the way to Paybell is not open, so no canary was sent",
                "通往 Paybell 的路不通，没有发送探测通知",
            )
            .remedy("mend what is wrong above, then look again", "先解决上面的问题，再运行一次");
        found.push(finding);
    }
}
