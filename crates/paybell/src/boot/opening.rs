//! The engine of a service that starts while a command, such as `paybell reconcile`, works on the embedded engine's
//! folder. The command ends by itself, and a service manager starts nobody again whose exit code is 2, so this waits for
//! it. Another service is not waited for: two on one folder are a mistake in the configuration. Takes nothing from
//! anybody: the folder is free when its holder ends.

use std::time::Duration;

use tokio::{pin, time::sleep};

use crate::{
    boot::signals::Signals,
    config::Config,
    engine::{Engine, Needs},
    error::Error,
};

/// Between two looks at the folder.
const LOOK_GAP: Duration = Duration::from_millis(250);

/// The engine, once no command holds it; `None` if a signal came before.
pub(super) async fn open(
    config: &Config,
    needs: Needs,
    signals: &mut Signals,
) -> Result<Option<Engine>, Error> {
    once_free(async || Engine::open(config, needs).await, signals.next()).await
}

/// Opens until no command holds it, or a signal comes while it waits.
async fn once_free<T>(
    mut open: impl AsyncFnMut() -> Result<T, Error>,
    signal: impl Future<Output = &'static str>,
) -> Result<Option<T>, Error> {
    pin!(signal);
    let mut told = None;
    loop {
        let said = match open().await {
            Err(Error::Held { said, is_errand: true }) => said,
            done => return done.map(Some),
        };
        if told.as_ref() != Some(&said) {
            tracing::warn!(cause = said, "starting when the command that holds the folder ends: {said}");
            told = Some(said);
        }
        tokio::select! {
            () = sleep(LOOK_GAP) => {}
            signal = &mut signal => {
                tracing::info!(signal, "{signal}: ended before the start");
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    fn held(by: &str, is_errand: bool) -> Result<&'static str, Error> {
        Err(Error::Held { said: format!("in use by {by}"), is_errand })
    }

    #[tokio::test(start_paused = true)]
    async fn another_service_is_named_at_once() {
        let begun = Instant::now();
        let refused = once_free(async || held("process 1", false), pending()).await.unwrap_err();
        assert_eq!((refused.exit_code(), refused.to_string().as_str()), (2, "in use by process 1"));
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_takes_its_time_is_waited_for() {
        let begun = Instant::now();
        let open = async || match begun.elapsed().as_secs() {
            0..600 => held("process 2 for paybell reconcile", true),
            _ => Ok("open"),
        };
        assert_eq!(once_free(open, pending()).await.unwrap(), Some("open"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_signal_ends_the_wait() {
        let begun = Instant::now();
        let signal = async {
            sleep(Duration::from_secs(5)).await;
            "SIGTERM"
        };
        let ended = once_free(async || held("process 2 for paybell reconcile", true), signal).await;
        assert_eq!((ended.unwrap(), begun.elapsed().as_secs()), (None, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waiting_does_not_mend_is_said_at_once() {
        let begun = Instant::now();
        let refused = once_free(async || Err::<(), _>(Error::Failed("no disk".to_owned())), pending()).await;
        assert_eq!(refused.unwrap_err().to_string(), "no disk");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
