//! The metrics as numbers to reckon with: what a scraper is told, read back.
//!
//! **In:** the OpenMetrics text. **Out:** its samples. **Never:** a panic, whatever the text is.

use std::collections::BTreeMap;
use std::time::Duration;

/// The samples at one moment, by their names.
#[derive(Clone, Debug, Default)]
pub struct Figures(BTreeMap<String, Vec<Sample>>);

/// One value and what it is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// What the label `name` says; empty if there is none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.label(name) == *value)
    }
}

impl Figures {
    /// Those that `text` tells of; what cannot be read is left out.
    pub fn read(text: &str) -> Self {
        let mut figures = Self::default();
        for (name, sample) in text.lines().filter_map(sample) {
            match figures.0.get_mut(name) {
                Some(samples) => samples.push(sample),
                None => drop(figures.0.insert(name.to_owned(), vec![sample])),
            }
        }
        figures
    }

    /// The samples of that name that have these labels among theirs.
    pub fn of<'a>(
        &'a self,
        name: &str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.get(name).into_iter().flatten().filter(move |sample| sample.has(labels))
    }

    /// Their sum.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|sample| sample.value).sum()
    }

    /// Their sum, as a count.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        whole(self.sum(name, labels))
    }

    /// The first of them as a moment, in the time since 1970-01-01 UTC.
    pub fn moment(&self, name: &str, labels: &[(&str, &str)]) -> Option<Duration> {
        let first = self.of(name, labels).next()?;
        Duration::try_from_secs_f64(first.value).ok()
    }

    /// Counts by what the label `by` says, without those that are zero.
    pub fn by(&self, name: &str, labels: &[(&str, &str)], by: &str) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for sample in self.of(name, labels).filter(|sample| sample.value > 0.0) {
            *counts.entry(sample.label(by).to_owned()).or_default() += whole(sample.value);
        }
        counts
    }
}

/// The count that a float holds.
pub fn whole(value: f64) -> u64 {
    // counts are far below 2^53, and `as` saturates
    value.round() as u64
}

/// `name{label="value",...} value`, or the same without labels.
fn sample(line: &str) -> Option<(&str, Sample)> {
    if line.starts_with('#') {
        return None;
    }
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (Vec::new(), rest),
    };
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some((name, Sample { labels, value }))
}

/// The labels, and what follows their closing brace.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = quoted(after)?;
        labels.push((name.to_owned(), value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

/// The text up to the closing quote, unescaped, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, text.get(at + 1..)?)),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            (_, other) => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::name::Name;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn what_was_counted_can_be_read_back() {
        let metrics = Metrics::new();
        let name = Name::parse("orders").unwrap();
        for reason in ["no_route", "missing_token", "missing_token"] {
            metrics.refusal(Some(&name), reason);
        }
        metrics.refusal(None, "no_route");
        let figures = Figures::read(&metrics.encode());
        let of_route = [("route", "orders")];
        assert_eq!(figures.count("obo_refusals_total", &of_route), 3);
        assert_eq!(figures.count("obo_refusals_total", &[]), 4);
        assert_eq!(figures.count("obo_refusals_total", &[("route", "")]), 1);
        assert_eq!(figures.count("obo_refusals_total", &[("route", "x")]), 0);
        assert_eq!(figures.count("nothing", &[]), 0);
        let by_reason = figures.by("obo_refusals_total", &of_route, "reason");
        assert_eq!(by_reason, [("missing_token".to_owned(), 2), ("no_route".to_owned(), 1)].into());
        assert!(figures.sum("process_resident_memory_bytes", &[]) > 0.0);
    }

    #[test]
    fn labels_may_hold_anything() {
        let figures = Figures::read("a_total{x=\"a\\\"},b=\\\\ \\n\",y=\"\"} 7 123.4\n# b 2\nc\nd NaNo\n");
        let samples: Vec<_> = figures.of("a_total", &[("y", "")]).collect();
        assert_eq!((samples[0].label("x"), samples[0].value), ("a\"},b=\\ \n", 7.0));
        assert_eq!(figures.0.len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "[a-z{}\"=\\\\, 0-9\n]{0,60}") {
            Figures::read(&text);
        }
    }
}
