//! `[reconcile]`: when bills are looked for and where they are kept; and what of a merchant's bills is ours. Asks for
//! no bill.

use std::path::{Path, PathBuf};

use paybell_core::{Timestamp, time::Millis};
use reconcile::Pattern;

use super::{EngineKind, reader::Section, values::path};

/// What the operator decided about bills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconcile {
    /// Every morning, without anybody asking.
    pub automatic: bool,
    /// When a day's bill is looked for first: after the midnight that ends the day.
    pub after: Millis,
    /// Where bills are kept.
    pub folder: PathBuf,
}

/// What of a merchant's bills may become events.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BillScope {
    /// `None`: since this installation first met the merchant.
    pub active_since: Option<Timestamp>,
    pub out_trade_no_pattern: Option<Pattern>,
}

pub(super) fn reconcile(root: &mut Section<'_>, engine: EngineKind, data_dir: &Path) -> Reconcile {
    root.section("reconcile", |section| Reconcile {
        automatic: section.boolean("automatic", true),
        after: section.value("after", "10:00", time_of_day),
        folder: section.optional("folder", path).unwrap_or_else(|| match engine {
            EngineKind::Embedded => data_dir.join("bills"),
            // Any process may do the work, so what lies here is only a copy.
            EngineKind::Cluster => std::env::temp_dir().join("paybell-bills"),
        }),
    })
}

pub(super) fn bill_scope(section: &mut Section<'_>) -> BillScope {
    BillScope {
        active_since: section.optional("active_since", moment),
        out_trade_no_pattern: section.optional("out_trade_no_pattern", pattern),
    }
}

/// Beijing time.
fn time_of_day(text: &str) -> Result<Millis, String> {
    let parts = text.split_once(':').filter(|(hours, minutes)| hours.len() == 2 && minutes.len() == 2);
    let number = |text: &str, below: i64| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| is_plain && *number < below)
    };
    let parsed = parts.and_then(|(hours, minutes)| Some((number(hours, 24)?, number(minutes, 60)?)));
    let (hours, minutes) = parsed
        .ok_or_else(|| format!("\"{text}\" is no time of day: write it like \"10:00\", in Beijing time"))?;
    Ok(Millis::seconds(hours * 3600 + minutes * 60))
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).map_err(|error| format!("\"{text}\": {error}"))
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|error| format!("\"{text}\": {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_has_hours_and_minutes() {
        for (text, minutes) in [("00:00", 0), ("10:00", 600), ("23:59", 1439)] {
            assert_eq!(time_of_day(text), Ok(Millis::seconds(minutes * 60)));
        }
        for text in ["", "10", "24:00", "10:60", "1:00", "10:0", "-1:00", "10:00:00", "+1:00"] {
            let said = time_of_day(text).unwrap_err();
            assert!(said.contains("\"10:00\""), "{said}");
        }
    }
}
