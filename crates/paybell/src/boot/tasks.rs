//! The tasks of a process, each with a name and none forgotten. A task that ends before it was told to is a fault,
//! whether it returned or panicked.

use std::{collections::HashMap, future::Future, time::Duration};

use tokio::{
    task::{Id, JoinError, JoinSet},
    time::timeout,
};

/// Tasks that are waited for together.
#[derive(Default)]
pub struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A task that ended.
#[derive(Debug)]
pub struct Ended {
    pub name: &'static str,
    pub cause: String,
}

impl Tasks {
    /// Starts one.
    pub fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let handle = self.running.spawn(work);
        self.names.insert(handle.id(), name);
    }

    /// Waits until one ends; for ever if there is none. Dropping the future loses nothing.
    pub async fn first_to_end(&mut self) -> Ended {
        match self.running.join_next_with_id().await {
            Some(ended) => self.ended(ended),
            None => std::future::pending().await,
        }
    }

    /// Waits until all have ended, then gives up the rest.
    pub async fn wait(mut self, at_most: Duration) {
        let all = async {
            while let Some(ended) = self.running.join_next_with_id().await {
                if let Err(error) = &ended
                    && error.is_panic()
                {
                    let ended = self.ended(ended);
                    tracing::error!(task = ended.name, cause = %ended.cause, "{} {}", ended.name, ended.cause);
                }
            }
        };
        if timeout(at_most, all).await.is_err() {
            let left = self.running.len();
            tracing::warn!(
                left,
                "{left} tasks did not finish within {} s and are given up",
                at_most.as_secs()
            );
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) -> Ended {
        let (id, cause) = match ended {
            Ok((id, ())) => (id, "ended without being told to".to_owned()),
            Err(error) => (error.id(), format!("ended by a fault: {}", describe(error))),
        };
        Ended { name: self.names.remove(&id).unwrap_or("a task"), cause }
    }
}

fn describe(error: JoinError) -> String {
    if !error.is_panic() {
        return error.to_string();
    }
    let payload = error.into_panic();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_is_named_with_its_cause() {
        let mut tasks = Tasks::default();
        tasks.spawn("waits", std::future::pending());
        tasks.spawn("returns", async {});
        let ended = tasks.first_to_end().await;
        assert_eq!((ended.name, ended.cause.as_str()), ("returns", "ended without being told to"));
        tasks.spawn("falls", async { panic!("out of paper") });
        let ended = tasks.first_to_end().await;
        assert_eq!((ended.name, ended.cause.as_str()), ("falls", "ended by a fault: panic: out of paper"));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_bounded() {
        let mut tasks = Tasks::default();
        tasks.spawn("waits", std::future::pending());
        let begun = tokio::time::Instant::now();
        tasks.wait(Duration::from_secs(15)).await;
        assert_eq!(begun.elapsed().as_secs(), 15);
    }
}
