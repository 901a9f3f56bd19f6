//! The mode of a process, at its start and while it runs: that of its installation, which the ledger keeps.
//!
//! A process that is configured for another mode does not start. One that runs follows the ledger within a second, so
//! that one command changes the mode of all at once, and says what its configuration has to say before the next start.
//! Decides about no order; it never changes the ledger's word.

use std::{sync::Arc, time::Duration};

use paybell_core::{AgreedMode, Mode, ModeKeeper, ports::PortError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{error::Error, metrics::ModeGauges};

/// Between two looks at the ledger.
const LOOK_GAP: Duration = Duration::from_secs(1);

/// Refuses a process that is configured for another mode than its installation is in. `file` is where it says so.
pub async fn agree(modes: &ModeKeeper, file: &str) -> Result<(), Error> {
    match modes.look().await {
        Ok(mode) if mode == modes.configured() => {}
        Ok(_) => return Err(Error::Usage(refusal(modes, file))),
        Err(PortError::Unavailable { cause, .. }) => tracing::warn!(
            cause,
            "the ledger does not say yet in which mode the installation is, and what it says will hold: {cause}"
        ),
        Err(error @ PortError::Corrupt { .. }) => return Err(Error::Failed(error.to_string())),
    }
    say_if_in_shadow(modes.current());
    Ok(())
}

/// Keeps up with the ledger until `end` is cancelled.
pub async fn follow(modes: Arc<ModeKeeper>, gauges: ModeGauges, end: CancellationToken) {
    let mut last = modes.current();
    gauges.show(last, modes.configured());
    while !end.is_cancelled() {
        // A ledger that is away says so elsewhere; until it is back nothing is decided.
        if let Err(error @ PortError::Corrupt { .. }) = modes.look().await {
            tracing::error!(error = %error, "the mode of the installation cannot be read: {error}");
        }
        let mode = modes.current();
        gauges.show(mode, modes.configured());
        if std::mem::replace(&mut last, mode) != mode {
            say_changed(&modes, mode);
        }
        tokio::select! {
            () = end.cancelled() => {}
            () = sleep(LOOK_GAP) => {}
        }
    }
}

/// Since when, and by whom.
pub fn history(agreed: &AgreedMode) -> String {
    let AgreedMode { mode, since, change, by, why } = agreed;
    let mode = mode.as_str();
    match (*change, why.as_str()) {
        (0, _) => format!("{mode} since {since}, as its first process was configured"),
        (_, "") => format!("{mode} since {since}, changed by {by}"),
        (_, why) => format!("{mode} since {since}, changed by {by}: {why}"),
    }
}

fn refusal(modes: &ModeKeeper, file: &str) -> String {
    let (configured, current) = (modes.configured().as_str(), modes.current().as_str());
    let history = modes.agreed().as_ref().map_or_else(|| current.to_owned(), history);
    let harm = match modes.current() {
        Mode::Live => "in shadow it would keep to itself what the others have to tell",
        Mode::Shadow => "live it would tell what your own handler tells",
    };
    format!(
        "{file}: mode: this process is configured for {configured:?}, and its installation is {history}. {harm}, so it \
         does not start. Set mode = {current:?} (or PAYBELL__MODE={current}); if all processes shall be \
         {configured} from now on, run: paybell mode {configured} --config {file}"
    )
}

fn say_changed(modes: &ModeKeeper, mode: Mode) {
    let history = modes.agreed().as_ref().map(history).unwrap_or_default();
    if mode == modes.configured() {
        tracing::warn!(mode = mode.as_str(), "the installation is {history}; so is this process by now");
    } else {
        tracing::warn!(
            mode = mode.as_str(),
            "the installation is {history}; so is this process by now, but its configuration says mode = {:?}: change it \
             before the next start, which would be refused",
            modes.configured().as_str()
        );
    }
    say_if_in_shadow(mode);
}

/// Whoever waits for events must find out why none come.
fn say_if_in_shadow(mode: Mode) {
    if mode == Mode::Shadow {
        tracing::warn!(
            "mode = \"shadow\": everything is decided and nothing is told; notifications are answered FAIL, because \
             WeChat's answer must come from your own handler"
        );
    }
}
