//! How long each step of an order took, from the process's own metrics before and after.

use std::net::SocketAddr;

use crate::{
    bench::{client::Connection, float, report::Report, while_doing},
    error::Error,
};

/// The histograms whose sums and counts are read, and the steps they time.
const STEPS: [(&str, &str); 7] = [
    ("ack", "paybell_ack_seconds"),
    ("query", "paybell_query_seconds"),
    ("take", "paybell_check_step_seconds{step=\"take\"}"),
    ("commit", "paybell_check_step_seconds{step=\"commit\"}"),
    ("publish", "paybell_check_step_seconds{step=\"publish\"}"),
    ("clear", "paybell_check_step_seconds{step=\"clear\"}"),
    ("done", "paybell_check_step_seconds{step=\"done\"}"),
];

/// Sum of seconds and count of each step.
pub struct Steps([(f64, f64); STEPS.len()]);

impl Steps {
    /// As they are now.
    pub async fn read(admin: SocketAddr) -> Result<Self, Error> {
        let doing = "reading the metrics";
        let mut connection = Connection::open(admin).await.map_err(while_doing(doing))?;
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\n\r\n");
        let answer = connection.exchange(request.as_bytes()).await.map_err(while_doing(doing))?;
        let text = String::from_utf8_lossy(answer.body);
        Ok(Self(STEPS.map(|(_, metric)| (sum_of(&text, metric, "_sum"), sum_of(&text, metric, "_count")))))
    }

    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.0;
        for ((sum, count), (sum_before, count_before)) in since.iter_mut().zip(earlier.0) {
            *sum -= sum_before;
            *count -= count_before;
        }
        Self(since)
    }

    /// The mean of each, and its share of their sum.
    pub fn tell(&self, report: &mut Report) {
        let all: f64 = self.0.iter().map(|(sum, _)| sum).sum();
        for ((step, _), (sum, count)) in STEPS.iter().zip(self.0) {
            if count > 0.0 {
                report.figure(format!("sustained.step.{step}_mean_ms"), sum / count * 1e3, "ms");
                report.figure(format!("sustained.step.{step}_percent"), sum / all * 100.0, "% of all steps");
            }
        }
    }
}

/// Over all other labels.
fn sum_of(text: &str, metric: &str, suffix: &str) -> f64 {
    let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
    let (name, labels) = (format!("{name}{suffix}"), labels.trim_end_matches('}'));
    let of_line = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(name.as_str())?;
        let (line_labels, value) = rest.rsplit_once(' ')?;
        let is_metric = line_labels.is_empty() || line_labels.starts_with('{');
        (is_metric && line_labels.contains(labels)).then(|| value.parse().ok())?
    };
    text.lines().filter_map(of_line).fold(float(0), |sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_over_all_labels_but_those_named() {
        let text = "# HELP x\npaybell_ack_seconds_sum 1.5\npaybell_ack_seconds_count 3\n\
                    paybell_q_seconds_sum{mch_id=\"1\"} 2.0\npaybell_q_seconds_sum{mch_id=\"2\"} 0.25\n\
                    paybell_s_sum{step=\"take\"} 4.0\npaybell_s_sum{step=\"done\"} 8.0\n";
        assert_eq!(sum_of(text, "paybell_ack_seconds", "_sum"), 1.5);
        assert_eq!(sum_of(text, "paybell_ack_seconds", "_count"), 3.0);
        assert_eq!(sum_of(text, "paybell_q_seconds", "_sum"), 2.25);
        assert_eq!(sum_of(text, "paybell_s{step=\"done\"}", "_sum"), 8.0);
        assert_eq!(sum_of(text, "paybell", "_sum"), 0.0);
    }
}
