//! What the log says of a reload: names of settings and files, never what they hold.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::config::Changes;
use crate::config::problem::Problem;
use crate::config::problem::Report;
use crate::config::problem::Severity;
use crate::telemetry::logs;

/// The most names in one list.
const MOST: usize = 50;

/// Why nothing is known of what was not read.
pub const UNREAD: &str = "its files could not be read in time: the file system hangs";

/// Another configuration is in use.
pub fn in_use(changes: &Changes, warnings: &[Problem]) {
    warnings.iter().for_each(problem);
    if changes.is_empty() {
        tracing::info!("the configuration was read again; it says what it said before");
        return;
    }
    let list = |names: &[String]| (!names.is_empty()).then(|| list(names));
    let (added, removed, changed) = (list(&changes.added), list(&changes.removed), list(&changes.changed));
    tracing::info!(added, removed, changed, "another configuration is in use");
}

/// What was read cannot be used.
pub fn invalid(report: &Report) {
    report.problems().iter().for_each(problem);
    refused(None);
}

/// What was read could be used elsewhere, but not here and now.
pub fn unusable(error: &anyhow::Error) {
    refused(Some(logs::report(error.as_ref())));
}

/// What was to be read is not there in time.
pub fn unread() {
    refused(Some(UNREAD.to_owned()));
}

/// Files were read anew.
pub fn renewed(files: &BTreeSet<PathBuf>) {
    tracing::info!(files = paths(files), "files have changed and were read anew");
}

/// Files should have been read anew.
pub fn not_renewed(files: &BTreeSet<PathBuf>, error: &anyhow::Error) {
    let cause = logs::report(error.as_ref());
    tracing::error!(
        files = paths(files),
        cause,
        "files have changed and cannot be used; what was read goes on"
    );
}

/// As `check` lists it.
pub fn problem(problem: &Problem) {
    let Problem { severity, location, message, help, excerpt } = problem;
    let line = excerpt.as_ref().map(|excerpt| excerpt.line.trim());
    let help = help.as_deref();
    match severity {
        Severity::Error => tracing::error!(at = %location, line, help, "{message}"),
        Severity::Warning => tracing::warn!(at = %location, line, help, "{message}"),
    }
}

fn refused(cause: Option<String>) {
    tracing::error!(
        cause,
        "the configuration is refused and the one in use goes on; it is read again when its files change, or on SIGHUP"
    );
}

fn paths(files: &BTreeSet<PathBuf>) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    list(&files)
}

fn list(names: &[String]) -> String {
    let shown = names.iter().take(MOST).map(String::as_str);
    let more = names.len().saturating_sub(MOST);
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
