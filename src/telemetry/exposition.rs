//! The text that scrapers get: OpenMetrics, and what was there before it.

/// `openmetrics` in Prometheus' text format 0.0.4, which has no infos and no end, and names the type of a counter as it
/// names its samples.
pub fn plain(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        let own = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '));
        match (help, own) {
            (Some((name, said)), _) => {
                let next = lines.peek().and_then(|next| next.strip_prefix("# TYPE ")?.split_once(' '));
                let (ending, _) = described(next.map_or("", |(_, kind)| kind));
                text.extend(["# HELP ", name, ending, " ", said, "\n"]);
            }
            (None, Some((name, kind))) => {
                let (ending, kind) = described(kind);
                text.extend(["# TYPE ", name, ending, " ", kind, "\n"]);
            }
            (None, None) if line == "# EOF" || line.starts_with("# UNIT ") => {}
            (None, None) => text.extend([line, "\n"]),
        }
    }
    text
}

/// What the samples of a type are called besides their metric, and the type's name.
fn described(kind: &str) -> (&'static str, &str) {
    match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        other => ("", other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_becomes_the_text_that_was_there_before_it() {
        let openmetrics = "\
# HELP obo_build The running version.
# TYPE obo_build info
obo_build_info{version=\"1\"} 1
# HELP a Counts # TYPE a counter.
# TYPE a counter
a_total{x=\"# EOF\"} 2
# HELP b_seconds How long.
# TYPE b_seconds histogram
# UNIT b_seconds seconds
b_seconds_sum 0.5
# HELP c What
# TYPE c gauge
c 3
# EOF
";
        let expected = "\
# HELP obo_build_info The running version.
# TYPE obo_build_info gauge
obo_build_info{version=\"1\"} 1
# HELP a_total Counts # TYPE a counter.
# TYPE a_total counter
a_total{x=\"# EOF\"} 2
# HELP b_seconds How long.
# TYPE b_seconds histogram
b_seconds_sum 0.5
# HELP c What
# TYPE c gauge
c 3
";
        assert_eq!(plain(openmetrics), expected);
    }
}
