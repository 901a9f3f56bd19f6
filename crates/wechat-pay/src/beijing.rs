//! Beijing time on the wire (`yyyyMMddHHmmss`, `yyyy-MM-dd HH:mm:ss`) and Unix milliseconds.
//!
//! China has had no summer time since 1991, so the offset is a constant and no time zone database is needed. Reads no
//! clock. Dates that no calendar has are refused, years are 1970 to 9999.

const OFFSET_S: i64 = 8 * 3600;
const DAY_S: i64 = 86_400;
/// 400 years.
const ERA_DAYS: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_1970: i64 = 719_468;

/// Reads `yyyyMMddHHmmss`, as in `time_end`, into Unix milliseconds.
#[must_use]
pub fn parse_compact(text: &str) -> Option<i64> {
    let (date, clock) = text.split_at_checked(8)?;
    let (year, date) = date.split_at_checked(4)?;
    let (month, day) = date.split_at_checked(2)?;
    let (hour, clock) = clock.split_at_checked(2)?;
    let (minute, second) = clock.split_at_checked(2)?;
    unix_ms(
        [number(year, 4)?, number(month, 2)?, number(day, 2)?],
        [number(hour, 2)?, number(minute, 2)?, number(second, 2)?],
    )
}

/// Reads `yyyy-MM-dd HH:mm:ss`, as in refund times and bills, into Unix milliseconds.
#[must_use]
pub fn parse_spaced(text: &str) -> Option<i64> {
    let (date, clock) = text.split_once(' ')?;
    let mut date = date.splitn(3, '-');
    let mut clock = clock.splitn(3, ':');
    let date = [number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?];
    unix_ms(date, [number(clock.next()?, 2)?, number(clock.next()?, 2)?, number(clock.next()?, 2)?])
}

/// Writes `yyyyMMddHHmmss`, without the milliseconds; `None` outside the years 1970 to 9999.
#[must_use]
pub fn format_compact(unix_ms: i64) -> Option<String> {
    let ([year, month, day], [hour, minute, second]) = civil(unix_ms)?;
    Some(format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"))
}

/// Writes `yyyy-MM-dd HH:mm:ss`, without the milliseconds; `None` outside the years 1970 to 9999.
#[must_use]
pub fn format_spaced(unix_ms: i64) -> Option<String> {
    let ([year, month, day], [hour, minute, second]) = civil(unix_ms)?;
    Some(format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"))
}

/// Exactly `length` ASCII digits.
fn number(text: &str, length: usize) -> Option<i64> {
    let digits = text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.bytes().fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0')))
}

fn unix_ms([year, month, day]: [i64; 3], [hour, minute, second]: [i64; 3]) -> Option<i64> {
    let date = year >= 1970 && (1..=days_in_month(year, month)?).contains(&day);
    let clock = hour < 24 && minute < 60 && second < 60;
    let seconds = days_since_1970(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second - OFFSET_S;
    (date && clock).then_some(seconds * 1000)
}

fn civil(unix_ms: i64) -> Option<([i64; 3], [i64; 3])> {
    let local = unix_ms.div_euclid(1000) + OFFSET_S;
    let (days, second) = (local.div_euclid(DAY_S), local.rem_euclid(DAY_S));
    // The inverse of `days_since_1970`, after Howard Hinnant's `civil_from_days`.
    let shifted = days + DAYS_TO_1970;
    let (era, day) = (shifted.div_euclid(ERA_DAYS), shifted.rem_euclid(ERA_DAYS));
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let clock = [second / 3600, second / 60 % 60, second % 60];
    (1970..=9999).contains(&year).then_some(([year, month, day], clock))
}

/// Years begin in March here, so that the leap day is a year's last; after Howard Hinnant's `days_from_civil`.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - DAYS_TO_1970
}

fn days_in_month(year: i64, month: i64) -> Option<i64> {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => Some(29),
        2 => Some(28),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_beijing() {
        assert_eq!(parse_compact("20261118223732"), Some(1_795_012_652_000));
        assert_eq!(parse_spaced("2026-11-18 22:37:32"), Some(1_795_012_652_000));
        assert_eq!(parse_compact("19700101080000"), Some(0));
        assert_eq!(format_compact(1_795_012_652_999).as_deref(), Some("20261118223732"));
        assert_eq!(format_spaced(-1).as_deref(), Some("1970-01-01 07:59:59"));
        assert_eq!(format_compact(i64::MAX), None);
        assert_eq!(format_compact(i64::MIN), None);
    }

    #[test]
    fn what_no_calendar_has_is_refused() {
        assert!(parse_compact("20240229000000").is_some());
        assert!(parse_compact("20000229000000").is_some());
        for text in [
            "20261301000000",
            "20260001000000",
            "20260431000000",
            "20230229000000",
            "21000229000000",
            "20260100000000",
            "20260101240000",
            "20260101006000",
            "20260101000060",
            "2026010100000",
            "202601010000000",
            "2026-1-1000000",
            "+0260101000000",
            "２0260101000000",
            "",
        ] {
            assert_eq!(parse_compact(text), None, "{text}");
        }
        for text in
            ["2026-11-18T22:37:32", "2026-11-18 22:37", "2026-11-18 22:37:32 ", "2026-1-18 22:37:32", "- ::"]
        {
            assert_eq!(parse_spaced(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        let mut next = parse_compact("20000101123456").unwrap();
        for _ in 0..ERA_DAYS {
            let text = format_compact(next).unwrap();
            assert_eq!(parse_compact(&text), Some(next), "{text}");
            assert_eq!(parse_spaced(&format_spaced(next).unwrap()), Some(next), "{text}");
            next += DAY_S * 1000;
        }
        assert_eq!(format_compact(next).as_deref(), Some("24000101123456"));
    }
}
