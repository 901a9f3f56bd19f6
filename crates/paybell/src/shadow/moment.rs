//! Times as other people's files write them. What has no offset is Beijing time, like everything of WeChat's; a text
//! that could mean two moments is refused.

use paybell_core::Timestamp;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// RFC 3339, `2026-11-20 12:00:03`, `2026/11/20 12:00`, `2026年11月20日 12时00分03秒`, `20261120120003`, a date alone,
/// or seconds or milliseconds since 1970.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return digits(text);
    }
    if let Ok(time) = Timestamp::parse_rfc3339(text) {
        return Some(time);
    }
    if text.ends_with('Z') || text.contains('+') || text.to_ascii_uppercase().ends_with('M') {
        // An offset that is none, or an hour of twelve.
        return None;
    }
    let numbers: Vec<&str> =
        text.split(|character: char| !character.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    let [year, month, day, rest @ ..] = numbers.as_slice() else { return None };
    let (hour, minute, second) = match rest {
        [] => ("0", "0", "0"),
        [hour, minute] => (*hour, *minute, "0"),
        [hour, minute, second] | [hour, minute, second, _] => (*hour, *minute, *second),
        _ => return None,
    };
    (year.len() == 4).then(|| beijing([year, month, day, hour, minute, second]))?
}

/// `21/Nov/2026:07:21:20 +0800`, as web servers write it.
pub fn of_log(text: &str) -> Option<Timestamp> {
    let (clock, offset) = text.split_once(' ')?;
    let (date, time) = clock.split_once(':')?;
    let [day, month, year] = date.split('/').collect::<Vec<_>>().try_into().ok()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let (hours, minutes) = offset.split_at_checked(3)?;
    Timestamp::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}{hours}:{minutes}")).ok()
}

fn digits(text: &str) -> Option<Timestamp> {
    match text.len() {
        10 => Some(Timestamp::from_millis(text.parse::<i64>().ok()?.checked_mul(1_000)?)),
        13 => Some(Timestamp::from_millis(text.parse().ok()?)),
        14 => {
            let part = |from: usize, to: usize| text.get(from..to);
            beijing([part(0, 4)?, part(4, 6)?, part(6, 8)?, part(8, 10)?, part(10, 12)?, part(12, 14)?])
        }
        _ => None,
    }
}

fn beijing([year, month, day, hour, minute, second]: [&str; 6]) -> Option<Timestamp> {
    let text = format!("{year}-{month:0>2}-{day:0>2}T{hour:0>2}:{minute:0>2}:{second:0>2}+08:00");
    Timestamp::parse_rfc3339(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_moment_in_every_spelling() {
        let noon = Timestamp::parse_rfc3339("2026-11-20T12:00:03+08:00").unwrap();
        for text in [
            "2026-11-20T04:00:03Z",
            " 2026-11-20 12:00:03 ",
            "2026/11/20 12:00:03",
            "2026-11-20 12:00:03.250",
            "2026年11月20日 12时00分03秒",
            "20261120120003",
            "1795147203",
        ] {
            assert_eq!(parse(text), Some(noon), "{text}");
        }
        assert_eq!(parse("1795147203250").map(Timestamp::millis), Some(1_795_147_203_250));
        assert_eq!(parse("2026/1/2").unwrap().rfc3339(), "2026-01-02T00:00:00+08:00");
        assert_eq!(parse("2026/11/20 9:05").unwrap().rfc3339(), "2026-11-20T09:05:00+08:00");
        assert_eq!(of_log("20/Nov/2026:04:00:03 +0000"), Some(noon));
        assert_eq!(of_log("20/Nov/2026:12:00:03 +0800"), Some(noon));
    }

    #[test]
    fn what_could_mean_two_moments_is_refused() {
        for text in
            ["", "soon", "20/11/2026 12:00", "2026-13-01", "2026-11-20 01:00 PM", "123", "2026-11-20 12"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["20/Nov/2026:04:00:03", "20/Nix/2026:04:00:03 +0000", "", "20/Nov/2026 +08"] {
            assert_eq!(of_log(text), None, "{text}");
        }
    }
}
