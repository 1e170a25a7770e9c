//! The process environment, as it is handed in: the variables that are text, and the names of those that are not.

use std::collections::BTreeSet;
use std::ffi::OsString;

/// The process environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// The variables that are text.
    pub texts: Vec<(String, String)>,
    /// The names of those whose name or value is none. What cannot be read of a name is a sign for it.
    pub others: BTreeSet<String>,
}

/// A variable that is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable<'a> {
    /// To this.
    Text(&'a str),
    /// To bytes that are no text.
    NotText,
}

impl Environment {
    /// The variable called `name`, if it is set.
    pub fn variable(&self, name: &str) -> Option<Variable<'_>> {
        let text = self.texts.iter().find(|(variable, _)| variable == name);
        text.map(|(_, value)| Variable::Text(value))
            .or_else(|| self.others.contains(name).then_some(Variable::NotText))
    }
}

impl From<Vec<(String, String)>> for Environment {
    fn from(texts: Vec<(String, String)>) -> Self {
        Self { texts, others: BTreeSet::new() }
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(variables: T) -> Self {
        let mut found = Self::default();
        for (name, value) in variables {
            let shown = name.to_string_lossy().into_owned();
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => found.texts.push((name, value)),
                _ => drop(found.others.insert(shown)),
            }
        }
        found
    }
}
