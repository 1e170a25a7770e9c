//! What is wrong with a configuration, and how it is told.

use std::fmt;

use serde_json::Value;
use serde_json::json;

use crate::config::source::Excerpt;
use crate::domain::paint::Paint;

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but is probably not what was meant.
    Warning,
}

impl Severity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Where a [`Problem`] is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// In a file.
    File {
        /// Its place among the files, for sorting.
        order: usize,
        /// Its name.
        name: String,
        /// Line and column, from 1; `None` = the file as a whole.
        position: Option<(usize, usize)>,
    },
    /// In the environment variable of this name.
    Environment(String),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, position: Some((line, column)), .. } => write!(f, "{name}:{line}:{column}"),
            Self::File { name, position: None, .. } => f.write_str(name),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
        }
    }
}

/// One thing that is wrong. Holds no secret: whatever was one is masked before it gets here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub location: Location,
    /// What is wrong, in one line.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The line it is on.
    pub excerpt: Option<Excerpt>,
}

impl Problem {
    /// The problem for a machine: `severity`, `file`, `line`, `column`, `variable`, `message`, `help`.
    pub fn to_json(&self) -> Value {
        let (file, position, variable) = match &self.location {
            Location::File { name, position, .. } => (Some(name), *position, None),
            Location::Environment(variable) => (None, None, Some(variable)),
        };
        json!({
            "severity": self.severity.as_str(),
            "file": file,
            "line": position.map(|(line, _)| line),
            "column": position.map(|(_, column)| column),
            "variable": variable,
            "message": self.message,
            "help": self.help,
        })
    }

    /// The problem for a person: message, place, the line with the wrong part underlined, advice.
    pub fn to_text(&self, paint: Paint) -> String {
        let marked = |text: &str| match self.severity {
            Severity::Error => paint.bad(text),
            Severity::Warning => paint.doubtful(text),
        };
        let line = match &self.location {
            Location::File { position: Some((line, _)), .. } => line.to_string(),
            _ => String::new(),
        };
        let gutter = " ".repeat(line.len().max(1));
        let severity = marked(self.severity.as_str());
        let mut text = format!("{severity}: {}\n{gutter}--> {}\n", self.message, self.location);
        if let Some(Excerpt { line: shown, indent, width }) = &self.excerpt {
            let underlined = " ".repeat(*indent) + &marked(&"^".repeat(*width));
            text.push_str(&format!("{gutter} |\n{line} | {shown}\n{gutter} | {underlined}\n"));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("{gutter} = help: {help}\n"));
        }
        text
    }
}

/// As [`Problem::to_text`], without colours.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(Paint::Plain))
    }
}

/// Why there is no configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A file cannot be read.
    Unreadable,
    /// The files can be read, but what they say cannot be used.
    Invalid,
}

/// Everything that is wrong with a configuration, warnings included, by file and line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    cause: Cause,
    problems: Vec<Problem>,
}

impl Report {
    /// A report of `problems`, sorted.
    pub fn new(cause: Cause, mut problems: Vec<Problem>) -> Self {
        sort(&mut problems);
        Self { cause, problems }
    }

    /// Why there is no configuration.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// The problems, by file and line.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The problems for a machine.
    pub fn to_json(&self) -> Value {
        self.problems.iter().map(Problem::to_json).collect()
    }

    /// The problems for a person, with an empty line between them.
    pub fn to_text(&self, paint: Paint) -> String {
        let texts: Vec<String> = self.problems.iter().map(|problem| problem.to_text(paint)).collect();
        texts.join("\n")
    }
}

/// As [`Report::to_text`], without colours.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text(Paint::Plain))
    }
}

impl std::error::Error for Report {}

/// Sorts by file, line and column; the environment comes last.
pub fn sort(problems: &mut Vec<Problem>) {
    problems
        .sort_by(|a, b| (&a.location, a.severity, &a.message).cmp(&(&b.location, b.severity, &b.message)));
    problems.dedup();
}
