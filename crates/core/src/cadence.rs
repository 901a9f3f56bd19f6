//! When an unpaid order is looked at: WeChat's own retry cadence, counted from the order's creation.

use crate::time::{Millis, Timestamp};

/// The gaps 15s 15s 30s 3m 10m 20m 30m 30m 30m 60m 3h 3h 3h 6h 6h, in seconds: 24 h 4 m in all.
pub const WECHAT_GAPS_S: [i64; 15] =
    [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600];

/// The points of an order's life at which it is polled, as distances from `created_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cadence {
    offsets: Vec<Millis>,
}

/// A cadence that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cadence needs 1 to 64 gaps, each of at least 1 ms")]
pub struct CadenceError;

impl Cadence {
    /// From the gaps between the points, the first counted from the order's creation.
    pub fn from_gaps(gaps: impl IntoIterator<Item = Millis>) -> Result<Self, CadenceError> {
        let mut offsets = Vec::new();
        let mut end = Millis(0);
        for gap in gaps {
            if gap.0 < 1 {
                return Err(CadenceError);
            }
            end = Millis(end.0.saturating_add(gap.0));
            offsets.push(end);
        }
        if offsets.is_empty() || offsets.len() > 64 { Err(CadenceError) } else { Ok(Self { offsets }) }
    }

    /// WeChat's own.
    pub fn wechat() -> Self {
        let mut end = 0;
        let offsets = WECHAT_GAPS_S
            .iter()
            .map(|gap| {
                end += gap;
                Millis::seconds(end)
            })
            .collect();
        Self { offsets }
    }

    /// The last point: `expires_at` where the order has one, else the cadence's own end.
    pub fn last_point(&self, created_at: Timestamp, expires_at: Option<Timestamp>) -> Timestamp {
        let own_end = self.offsets.last().copied().unwrap_or(Millis(0));
        expires_at.unwrap_or(created_at + own_end)
    }

    /// The first point after `after`; `None` when the last one is not after it.
    pub fn next_point(
        &self,
        created_at: Timestamp,
        expires_at: Option<Timestamp>,
        after: Timestamp,
    ) -> Option<Timestamp> {
        let last = self.last_point(created_at, expires_at);
        let before_last = self.offsets.len().saturating_sub(1);
        self.offsets
            .iter()
            .take(before_last)
            .map(|offset| created_at + *offset)
            .chain([last])
            .find(|point| *point > after && *point <= last)
    }
}

impl Default for Cadence {
    fn default() -> Self {
        Self::wechat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: Timestamp = Timestamp::from_millis(1_000_000);

    #[test]
    fn the_whole_window_is_24_h_4_m() {
        assert_eq!(Cadence::wechat().last_point(T0, None).since(T0), Millis::seconds(86_640));
    }

    #[test]
    fn every_point_is_reached_once_and_missed_points_are_skipped() {
        let cadence = Cadence::wechat();
        let mut at = T0;
        let mut gaps = Vec::new();
        while let Some(next) = cadence.next_point(T0, None, at) {
            gaps.push(next.since(at).0 / 1000);
            at = next;
        }
        assert_eq!(gaps, WECHAT_GAPS_S);
        assert_eq!(
            cadence.next_point(T0, None, T0 + Millis::seconds(59)),
            Some(T0 + Millis::seconds(60)),
            "the points at 15 s and 30 s were missed"
        );
    }

    #[test]
    fn expires_at_replaces_the_last_point() {
        let cadence = Cadence::wechat();
        let early = T0 + Millis::seconds(40);
        assert_eq!(cadence.next_point(T0, Some(early), T0 + Millis::seconds(30)), Some(early));
        assert_eq!(cadence.next_point(T0, Some(early), early), None);
        let late = T0 + Millis::seconds(200_000);
        assert_eq!(cadence.next_point(T0, Some(late), T0 + Millis::seconds(65_040)), Some(late));
    }

    #[test]
    fn an_expiry_between_two_points_leaves_no_point_after_it() {
        let cadence = Cadence::wechat();
        let expires_at = Some(T0 + Millis::seconds(50));
        assert_eq!(cadence.next_point(T0, expires_at, T0 + Millis::seconds(30)), expires_at);
        assert_eq!(cadence.next_point(T0, expires_at, T0 + Millis::seconds(50)), None);
        assert_eq!(cadence.next_point(T0, Some(T0 - Millis(1)), T0), None, "expired before it was created");
        assert_eq!(cadence.next_point(T0, Some(T0 - Millis(1)), T0 - Millis(9)), Some(T0 - Millis(1)));
    }

    #[test]
    fn a_cadence_has_1_to_64_gaps_of_at_least_a_millisecond() {
        let gaps = |count| vec![Millis(1); count];
        for (gaps, is_one) in [
            (gaps(0), false),
            (gaps(1), true),
            (gaps(64), true),
            (gaps(65), false),
            (vec![Millis(5), Millis(0)], false),
            (vec![Millis(-5)], false),
        ] {
            assert_eq!(Cadence::from_gaps(gaps.clone()).is_ok(), is_one, "{gaps:?}");
        }
        let own = Cadence::from_gaps(WECHAT_GAPS_S.map(Millis::seconds)).unwrap();
        assert_eq!(own, Cadence::wechat());
    }
}
