//! The samples of a `/metrics` page, as far as a doctor reads them. Tolerates what it does not know.

/// One line of the page.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// A page, read.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Samples(Vec<Sample>);

impl Samples {
    pub fn read(page: &str) -> Self {
        Self(page.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The sum of all samples of that name whose labels are these, among others.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let of = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| {
                    sample.labels.iter().any(|(found, is)| found == label && is == value)
                })
        };
        self.0.iter().filter(of).map(|sample| sample.value).sum()
    }

    /// The values of a label with the sample's own value, where the name fits.
    pub fn by<'s>(&'s self, name: &'s str, label: &'s str) -> impl Iterator<Item = (&'s str, f64)> {
        self.0.iter().filter(move |sample| sample.name == name).filter_map(move |sample| {
            let (_, value) = sample.labels.iter().find(|(found, _)| found == label)?;
            Some((value.as_str(), sample.value))
        })
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (head, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = rest.rsplit_once('}')?;
            ((name, labels), rest)
        }
        None => {
            let (name, rest) = line.split_once(' ')?;
            ((name, ""), rest)
        }
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    let labels = head.1.split("\",").filter_map(|label| {
        let (name, value) = label.split_once("=\"")?;
        Some((name.trim().to_owned(), value.trim_end_matches('"').to_owned()))
    });
    Some(Sample { name: head.0.trim().to_owned(), labels: labels.collect(), value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_by_name_and_labels() {
        let page = "# HELP paybell_x About it.\n# TYPE paybell_x counter\n\
                    paybell_x_total{mch_id=\"1\",result=\"accepted\"} 3\n\
                    paybell_x_total{mch_id=\"2\",result=\"accepted\"} 4.5 1700000000\n\
                    paybell_x_total{mch_id=\"2\",result=\"bad\"} 1\npaybell_y 7\nnonsense\n# EOF\n";
        let samples = Samples::read(page);
        assert_eq!(samples.sum("paybell_x_total", &[("result", "accepted")]), 7.5);
        assert_eq!(samples.sum("paybell_x_total", &[("mch_id", "2"), ("result", "bad")]), 1.0);
        assert_eq!(samples.sum("paybell_x_total", &[("mch_id", "3")]), 0.0);
        assert_eq!(samples.sum("paybell_y", &[]), 7.0);
        let by: Vec<_> = samples.by("paybell_x_total", "mch_id").collect();
        assert_eq!(by, [("1", 3.0), ("2", 4.5), ("2", 1.0)]);
        assert_eq!(Samples::read("<html>"), Samples::default());
    }
}
