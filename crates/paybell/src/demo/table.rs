//! The summary, for people: plain words and aligned columns of ASCII, so that every terminal and font shows them
//! straight. Every number in it follows from the seed; what depends on the machine is in [`timing`].

use std::time::Duration;

use super::verdict::Tally;

const LABEL_WIDTH: usize = 28;
const NUMBER_WIDTH: usize = 7;

/// Whether everything had the time to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    Whole,
    CutShort,
}

/// The table.
pub fn table(tally: &Tally, run: Run) -> String {
    let pending = tally.not_paid.saturating_sub(tally.told_unpaid);
    let told = match pending {
        0 => format!("{} order.unpaid", tally.told_unpaid),
        _ => format!("{} order.unpaid, {pending} still open", tally.told_unpaid),
    };
    let mut rows = vec![
        row("paid at WeChat", tally.paid, ""),
        row("order.paid events", tally.events, "one id for each order"),
        row("  learned by notification", tally.by_notification, ""),
        row("  learned by poll", tally.by_poll, "the notification was lost"),
    ];
    if tally.otherwise > 0 {
        rows.push(row("  learned otherwise", tally.otherwise, "somebody asked for a check"));
    }
    rows.extend([
        row("repeated notifications", tally.repeats, &format!("{} dropped", tally.repeats_dropped)),
        row("forged notifications", tally.forgeries, &format!("{} refused", tally.forgeries_refused)),
        row("not paid", tally.not_paid, &told),
        match run {
            Run::Whole => row("lost", tally.lost, ""),
            Run::CutShort => row("not known yet", tally.lost, "a poll was still to come"),
        },
    ]);
    rows.join("\n")
}

/// What depends on the machine, apart from the table.
pub fn timing(took: Duration, queries: u64, mut delays: Vec<Duration>) -> String {
    delays.sort_unstable();
    let at = |hundredths: usize| delays.get(delays.len().saturating_sub(1) * hundredths / 100);
    let mut text = format!("Took {:.1} s; queries to WeChat: {queries}.", took.as_secs_f64());
    if let (Some(half), Some(most)) = (at(50), at(99)) {
        let (half, most) = (half.as_millis(), most.as_millis());
        text.push_str(&format!(
            " From payment to event by notification: half within {half} ms, 99% within {most} ms."
        ));
    }
    text
}

/// An amount in fen as people write it.
pub fn yuan(fen: i64) -> String {
    format!("\u{a5}{}.{:02}", fen / 100, fen % 100)
}

pub(super) fn row(label: &str, number: impl ToString, remark: &str) -> String {
    let number = number.to_string();
    format!("  {label:<LABEL_WIDTH$}{number:>NUMBER_WIDTH$}   {remark}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALLY: Tally = Tally {
        paid: 191,
        events: 191,
        by_notification: 152,
        by_poll: 39,
        otherwise: 0,
        repeats: 44,
        repeats_dropped: 44,
        forgeries: 31,
        forgeries_refused: 31,
        not_paid: 9,
        told_unpaid: 9,
        lost: 0,
    };

    #[test]
    fn columns_are_aligned() {
        insta::assert_snapshot!(table(&TALLY, Run::Whole));
    }

    #[test]
    fn unusual_rows_are_shown_only_when_they_are_needed() {
        let text = table(&Tally { otherwise: 2, told_unpaid: 7, ..TALLY }, Run::Whole);
        assert!(text.contains("learned otherwise") && text.contains("7 order.unpaid, 2 still open"));
    }

    #[test]
    fn a_run_that_was_cut_short_lost_nothing() {
        let text = table(&TALLY, Run::CutShort);
        assert!(text.contains("not known yet") && !text.contains("lost  "), "{text}");
    }

    #[test]
    fn amounts_are_in_yuan() {
        assert_eq!([1, 99, 100, 99_999].map(yuan), ["¥0.01", "¥0.99", "¥1.00", "¥999.99"]);
    }

    #[test]
    fn delays_are_told_if_there_are_any() {
        let delays = (1..=100).rev().map(Duration::from_millis).collect();
        let text = timing(Duration::from_millis(11_260), 243, delays);
        assert!(
            text.contains("11.3 s; queries to WeChat: 243") && text.contains("half within 50 ms"),
            "{text}"
        );
        assert!(text.contains("99% within 99 ms"), "{text}");
        assert!(!timing(Duration::ZERO, 0, Vec::new()).contains("half"));
    }
}
