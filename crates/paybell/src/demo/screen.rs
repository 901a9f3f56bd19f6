//! What the person sees: lines on standard output, a progress bar on standard error below them. The bar is hidden when
//! standard error is not a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::Count;
use crate::{error::Error, output};

/// Cheap to clone; clones share the bar.
#[derive(Clone)]
pub struct Screen(ProgressBar);

impl Screen {
    /// With a bar for so many orders.
    pub fn new(orders: u32) -> Self {
        let bar = ProgressBar::with_draw_target(Some(u64::from(orders)), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:40} {pos} of {len} orders, {elapsed}");
        bar.set_style(style.expect("the template is well formed").progress_chars("##-"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// A line above the bar.
    pub fn line(&self, text: &str) -> Result<(), Error> {
        self.0.suspend(|| output::line(text))
    }

    /// Moves the bar.
    pub fn settled(&self, count: Count) {
        self.0.set_position(count.paid + count.unpaid);
    }

    /// Takes the bar away.
    pub fn end_progress(&self) {
        self.0.finish_and_clear();
    }
}
