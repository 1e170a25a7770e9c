//! Colours, where somebody sees them.

use std::io::IsTerminal;

/// Whether texts are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// They are not.
    Plain,
    /// They are, by the codes that every terminal knows (ECMA-48 section 8.3.117).
    Colours,
}

impl Paint {
    /// For what goes to stdout: coloured on a terminal, unless NO_COLOR is set (<https://no-color.org>).
    pub fn of_stdout() -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        match std::io::stdout().is_terminal() && !is_unwanted {
            true => Self::Colours,
            false => Self::Plain,
        }
    }

    /// What is as it should be.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What is not.
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What may not be.
    pub fn doubtful(self, text: &str) -> String {
        self.with("33", text)
    }

    /// What matters.
    pub fn strong(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What does not.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colours if text.trim().is_empty() => text.to_owned(),
            Self::Colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_where_they_are_wanted() {
        assert_eq!(Paint::Plain.bad("no"), "no");
        assert_eq!(Paint::Colours.bad("no"), "\u{1b}[31mno\u{1b}[0m");
        assert_eq!(Paint::Colours.dim("  "), "  ");
    }
}
