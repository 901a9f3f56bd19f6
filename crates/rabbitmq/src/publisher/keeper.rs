//! Keeps channels in confirm mode open for the publishers of a link: others when one closed, when they are spent, or on
//! the next connection. While the broker blocks the connection nobody gets them. It publishes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use lapin::options::ConfirmSelectOptions;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::outlet::Outlet;
use crate::link::{Link, LinkError, LinkState, Session, bounded};

/// How long the broker may take to switch a channel to confirm mode.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);

/// Channels that are being opened at once.
const OPENING_MAX: usize = 16;

/// Publishes whose end nobody saw, before other channels are opened.
const LEFT_BEHIND_MAX: u32 = 1_024;

pub(super) struct Keeper {
    link: Link,
    slots: usize,
    opened: watch::Sender<Option<Arc<Opened>>>,
}

/// The channels of one connection.
pub(super) struct Opened {
    session: Session,
    outlets: Vec<Outlet>,
    spent: CancellationToken,
    left_behind: AtomicU32,
}

impl Keeper {
    pub fn new(link: Link, slots: usize, opened: watch::Sender<Option<Arc<Opened>>>) -> Self {
        Self { link, slots, opened }
    }

    /// Never returns.
    pub async fn keep(self) {
        loop {
            let session = self.link.up().await;
            match Opened::on(session.clone(), self.slots).await {
                Ok(opened) => self.lend(Arc::new(opened)).await,
                Err(error) => self.link.broken(&session, error),
            }
        }
    }

    /// Lends the channels out until they are of no more use; takes them back while the link is blocked.
    async fn lend(&self, opened: Arc<Opened>) {
        let mut state = self.link.watch();
        loop {
            let is_up = matches!(*state.borrow_and_update(), LinkState::Up(_));
            let is_over = opened.is_over();
            self.opened.send_replace((is_up && !is_over).then(|| opened.clone()));
            if is_over && (is_up || opened.session.has_ended()) {
                return;
            }
            tokio::select! {
                changed = state.changed() => if changed.is_err() { return },
                () = opened.session.ended() => {}
                () = opened.spent.cancelled(), if is_up => {}
            }
        }
    }
}

impl Opened {
    /// Opens all of them, a few at once. Whoever publishes may go at any time; this has to be done by somebody who stays.
    async fn on(session: Session, slots: usize) -> Result<Self, LinkError> {
        let opening = (0..slots).map(|_| confirming(session.clone()));
        let outlets = stream::iter(opening).buffered(OPENING_MAX).try_collect().await?;
        Ok(Self { session, outlets, spent: CancellationToken::new(), left_behind: AtomicU32::new(0) })
    }

    /// The channel of a slot, in confirm mode.
    pub fn outlet(&self, slot: usize) -> Result<&Outlet, LinkError> {
        self.outlets.get(slot).ok_or(LinkError::Unconfirmed)
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    /// They are of no more use: the next publish gets others.
    pub fn spend(&self) {
        self.spent.cancel();
    }

    /// Somebody went before a confirm came.
    pub fn leave_one_behind(&self) {
        if self.left_behind.fetch_add(1, Ordering::Relaxed) + 1 == LEFT_BEHIND_MAX {
            self.spend();
        }
    }

    /// Whether they are of no more use.
    pub fn is_over(&self) -> bool {
        self.spent.is_cancelled() || self.session.has_ended()
    }
}

async fn confirming(session: Session) -> Result<Outlet, LinkError> {
    let channel = session.channel().await?;
    let selected = channel.confirm_select(ConfirmSelectOptions::default());
    bounded("confirm.select", OPEN_TIMEOUT, selected).await?;
    Ok(Outlet::new(channel))
}
