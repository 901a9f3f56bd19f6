//! Looks that run beside each other and may be cut short: whatever each of them found until then is kept. Judges nothing.

use std::slice::IterMut;

use crate::finding::Finding;

/// A place for the findings of each look. When it goes, also because nobody waits any longer, all of them stand in the
/// report's list, in the order of the looks.
pub(crate) struct Beside<'f> {
    all: &'f mut Vec<Finding>,
    each: Vec<Vec<Finding>>,
}

impl<'f> Beside<'f> {
    pub(crate) fn of(looks: usize, all: &'f mut Vec<Finding>) -> Self {
        Self { all, each: vec![Vec::new(); looks] }
    }

    pub(crate) fn each(&mut self) -> IterMut<'_, Vec<Finding>> {
        self.each.iter_mut()
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        self.all.extend(self.each.drain(..).flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use futures_util::future::join_all;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_found_before_the_time_was_up_is_kept_in_order() {
        let mut all = vec![Finding::ok("first", "")];
        let look = async {
            let mut beside = Beside::of(3, &mut all);
            let looks =
                beside.each().zip(["hangs at once", "hangs later", "ends"]).map(async |(found, about)| {
                    if about == "hangs at once" {
                        pending::<()>().await;
                    }
                    found.push(Finding::ok("found", about));
                    if about == "hangs later" {
                        pending::<()>().await;
                    }
                });
            join_all(looks).await;
        };
        assert!(timeout(Duration::from_secs(1), look).await.is_err());
        let about: Vec<&str> = all.iter().map(|finding| finding.about.en.as_str()).collect();
        assert_eq!(about, ["", "hangs later", "ends"]);
    }
}
