//! The web server's access log in the common or combined format: hits of the notify URL and how they were answered.
//!
//! Such a log does not say which order a notification was about, unless the URL holds its number. Lines of other URLs
//! and lines that are no log lines are passed over and counted.

use paybell_core::Timestamp;

use super::moment;

/// One request to the notify URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub line: usize,
    pub at: Timestamp,
    /// Path and query.
    pub target: String,
    pub status: u16,
}

impl Hit {
    /// Whether WeChat may have counted the answer. The body is not in the log: HTML with status 200 is refused too.
    pub fn is_taken(&self) -> bool {
        self.status == 200
    }

    /// The parts of the URL that could be an order number.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.target.split(['/', '?', '&', '=']).filter(|part| !part.is_empty())
    }
}

/// The hits, and how many lines were no log lines.
pub fn read(text: &str, path: &str) -> (Vec<Hit>, usize) {
    let (mut hits, mut strange) = (Vec::new(), 0);
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match request(line) {
            Some((method, target, at, status)) => {
                if method == "POST" && target.starts_with(path) {
                    hits.push(Hit { line: index + 1, at, target: target.to_owned(), status });
                }
            }
            None => strange += 1,
        }
    }
    (hits, strange)
}

/// `… [TIME] "METHOD TARGET PROTOCOL" STATUS …`
fn request(line: &str) -> Option<(&str, &str, Timestamp, u16)> {
    let (_, rest) = line.split_once('[')?;
    let (time, rest) = rest.split_once(']')?;
    let (_, rest) = rest.split_once('"')?;
    let (request, rest) = rest.split_once('"')?;
    let mut words = request.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let status = rest.split_whitespace().next()?.parse().ok()?;
    Some((method, target, moment::of_log(time)?, status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_of_the_notify_url_are_found_among_everything_else() {
        let log = concat!(
            "101.226.103.9 - - [20/Nov/2026:12:00:04 +0800] \"POST /wxpay/notify/T1 HTTP/1.1\" 200 88 \"-\" \"Mozilla/4.0\"\n",
            "10.0.0.1 - - [20/Nov/2026:12:00:05 +0800] \"GET /wxpay/notify HTTP/1.1\" 405 0 \"-\" \"curl\"\n",
            "10.0.0.1 - - [20/Nov/2026:12:00:05 +0800] \"POST /other HTTP/1.1\" 200 0 \"-\" \"-\"\n",
            "\n",
            "something else\n",
            "101.226.103.9 - - [20/Nov/2026:12:00:06 +0800] \"POST /wxpay/notify HTTP/1.0\" 502 166\n",
        );
        let (hits, strange) = read(log, "/wxpay/notify");
        assert_eq!(strange, 1);
        let told: Vec<_> = hits.iter().map(|hit| (hit.line, hit.status, hit.is_taken())).collect();
        assert_eq!(told, [(1, 200, true), (6, 502, false)]);
        assert!(hits[0].parts().any(|part| part == "T1"));
        assert_eq!(hits[0].at.rfc3339(), "2026-11-20T12:00:04+08:00");
    }
}
