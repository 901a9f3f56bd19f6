//! Reconciliation: a day's bill against the ledger, in both directions.
//!
//! A bill is read twice. The first time only to see that it is whole: a cut or malformed file gives an error and
//! nothing else, never half a verdict. The second time its rows are compared, in bounded memory, with what the ledger
//! holds. What differs goes to a [`Listener`] one by one, with the check that may heal it; the sums and counts are the
//! [`Reconciliation`].
//!
//! Walk of a comparison: [`compare`] (both readings) → `met` (what the ledger holds of the day) → `judge` (one row,
//! one order) → [`Scope`] (may it be healed) → [`Listener`] → [`Reconciliation`].
//!
//! Pure: no I/O, no clock, no engine. Publishes nothing and mends nothing: whoever calls publishes the checks.

mod carry;
mod compare;
mod difference;
mod earlier;
mod heal;
mod judge;
mod ledger;
mod met;
mod result;
mod run;
mod scope;
mod standing;
mod sums;
mod survey;
mod words;

pub use carry::{CARRIED_MAX, Carry, EDGE, Early};
pub use compare::{Failure, Listener, Progress, Stage, Stopped, Task, compare};
pub use difference::{Difference, Healing, Kind, RefundNumbers, Side};
pub use earlier::{Earlier, Told};
pub use ledger::{Held, HeldPage, Ledger, LedgerError, PAGE_ROWS};
pub use result::{LISTED_MAX, Reconciliation, TotalOff};
pub use scope::{OutOfScope, PATTERN_CHARS_MAX, Pattern, PatternError, Scope};
pub use standing::{PaymentHere, RefundStanding, RefundState, Standing};
pub use sums::{SUB_MERCHANTS_MAX, SubSums, Sums};
pub use survey::{ROWS_MAX, Source, Survey, Surveyed, survey};
