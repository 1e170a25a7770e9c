//! What was found, as a person or a machine reads it. Pure.

use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::app::doctor::Check;
use crate::app::doctor::Finding;
use crate::app::doctor::Group;
use crate::config::problem::Problem;
use crate::config::problem::Severity;
use crate::domain::paint::Paint;
use crate::domain::printable;

/// Names are no longer than this as far as their column goes.
const WIDEST: usize = 52;

/// 0 if all is well, 69 if something cannot be reached, 1 if anything else is wrong too.
pub fn code(groups: &[Group]) -> u8 {
    match all(groups).map(|check| check.finding).max() {
        Some(Finding::Wrong) => 1,
        Some(Finding::Unreachable) => 69,
        Some(Finding::Well | Finding::Doubtful) | None => 0,
    }
}

/// What is wrong with a configuration, as a group of its own.
pub fn configuration(problems: &[Problem]) -> Group {
    let check = |problem: &Problem| Check {
        name: problem.location.to_string(),
        finding: match problem.severity {
            Severity::Error => Finding::Wrong,
            Severity::Warning => Finding::Doubtful,
        },
        took: Duration::ZERO,
        seen: problem.message.clone(),
        remedy: problem.help.clone(),
    };
    Group::new("configuration", "", problems.iter().map(check).collect())
}

/// For a machine.
pub fn json(groups: &[Group]) -> String {
    let check = |group: &Group, check: &Check| {
        json!({
            "group": group.name,
            "name": check.name,
            "result": check.finding.as_str(),
            "took_ms": u64::try_from(check.took.as_millis()).unwrap_or(u64::MAX),
            "seen": check.seen,
            "remedy": check.remedy,
        })
    };
    let checks = groups.iter().flat_map(|group| group.checks.iter().map(move |own| check(group, own)));
    let checks: Vec<Value> = checks.collect();
    printable::json(format!("{:#}\n", json!({"checks": checks, "ok": code(groups) == 0})))
}

/// For a person.
pub fn human(groups: &[Group], paint: Paint) -> String {
    let mut text = String::new();
    for group in groups.iter().filter(|group| !group.checks.is_empty()) {
        let names = group.checks.iter().map(|check| check.name.chars().count());
        let width = names.max().unwrap_or_default().min(WIDEST);
        text.push_str(&format!("{}\n", group.name));
        for check in &group.checks {
            text.push_str(&line(check, width, paint));
        }
        text.push('\n');
    }
    text + &summary(groups)
}

fn line(check: &Check, width: usize, paint: Paint) -> String {
    let Check { name, finding, took, seen, remedy } = check;
    let begun = format!("  {} {name:width$} {:>8}", mark(*finding, paint), duration(*took));
    let mut text = match finding {
        Finding::Well => format!("{begun}  {seen}\n"),
        _ => format!("{begun}\n      seen: {seen}\n"),
    };
    if let Some(remedy) = remedy {
        text.push_str(&format!("      do:   {remedy}\n"));
    }
    text
}

fn mark(finding: Finding, paint: Paint) -> String {
    match finding {
        Finding::Well => paint.good("✓"),
        Finding::Doubtful => paint.doubtful("!"),
        Finding::Unreachable | Finding::Wrong => paint.bad("✗"),
    }
}

fn duration(took: Duration) -> String {
    match took.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", took.as_secs_f64()),
    }
}

fn summary(groups: &[Group]) -> String {
    let count = |wanted: &[Finding]| all(groups).filter(|check| wanted.contains(&check.finding)).count();
    let number =
        |number: usize, thing: &str| format!("{number} {thing}{}", if number == 1 { "" } else { "s" });
    let checks = number(all(groups).count(), "check");
    let warnings = match count(&[Finding::Doubtful]) {
        0 => String::new(),
        warnings => format!(", {}", number(warnings, "warning")),
    };
    match count(&[Finding::Wrong, Finding::Unreachable]) {
        0 => format!("all is well: {checks}{warnings}\n"),
        failed => format!("{failed} of {checks} failed{warnings}\n"),
    }
}

fn all(groups: &[Group]) -> impl Iterator<Item = &Check> {
    groups.iter().flat_map(|group| &group.checks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, finding: Finding, took: u64, remedy: Option<&str>) -> Check {
        Check {
            name: name.into(),
            finding,
            took: Duration::from_millis(took),
            seen: format!("seen of {name}"),
            remedy: remedy.map(Into::into),
        }
    }

    fn sample() -> Vec<Group> {
        let provider = vec![
            check("dns a.example", Finding::Well, 12, None),
            check("clock", Finding::Doubtful, 0, Some("set it")),
            check("token endpoint", Finding::Wrong, 1234, Some("make a new one")),
        ];
        vec![Group::new("identity_provider", "contoso", provider), Group::new("files", "", vec![])]
    }

    #[test]
    fn a_person_reads_one_line_a_check_and_what_to_do_below() {
        assert_eq!(
            human(&sample(), Paint::Plain),
            "identity provider contoso
  ✓ dns a.example     12 ms  seen of dns a.example
  ! clock              0 ms
      seen: seen of clock
      do:   set it
  ✗ token endpoint    1.2 s
      seen: seen of token endpoint
      do:   make a new one

1 of 3 checks failed, 1 warning
"
        );
        assert!(human(&sample(), Paint::Colours).contains("\u{1b}[31m✗\u{1b}[0m token endpoint"));
        assert_eq!(human(&[], Paint::Plain), "all is well: 0 checks\n");
    }

    #[test]
    fn a_machine_reads_one_document() {
        let document: Value = serde_json::from_str(&json(&sample())).unwrap();
        assert_eq!(document["ok"], false);
        assert_eq!(
            document["checks"][2],
            json!({
                "group": "identity provider contoso", "name": "token endpoint", "result": "failed",
                "took_ms": 1234, "seen": "seen of token endpoint", "remedy": "make a new one",
            })
        );
        assert_eq!(document["checks"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn the_exit_code_says_whether_it_is_only_out_of_reach() {
        let of = |findings: &[Finding]| {
            let checks = findings.iter().map(|finding| check("x", *finding, 0, None)).collect();
            code(&[Group::new("x", "", checks)])
        };
        assert_eq!(of(&[Finding::Well, Finding::Doubtful]), 0);
        assert_eq!(of(&[Finding::Unreachable, Finding::Well]), 69);
        assert_eq!(of(&[Finding::Unreachable, Finding::Wrong]), 1);
        assert_eq!(of(&[]), 0);
    }
}
