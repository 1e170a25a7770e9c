//! Colours, where somebody sees them.

use std::ffi::OsString;

/// Whether texts are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// They are not.
    Plain,
    /// They are, by the codes that every terminal knows (ECMA-48 section 8.3.117).
    Colours,
}

/// What a text is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// A terminal.
    Terminal,
    /// A pipe, a file: a program reads it, or somebody will later.
    Other,
}

impl Paint {
    /// For what goes to `medium`, as the environment's `variable`s wish: NO_COLOR has the first word (<https://no-color.org>),
    /// CLICOLOR_FORCE the second (<https://bixense.com/clicolors>); without both a terminal gets colours, unless it knows none.
    pub fn on(medium: Medium, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
        let knows_colours = || variable("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        match medium {
            _ if is_set("NO_COLOR") => Self::Plain,
            _ if is_set("CLICOLOR_FORCE") => Self::Colours,
            Medium::Terminal if knows_colours() => Self::Colours,
            Medium::Terminal | Medium::Other => Self::Plain,
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

    #[test]
    fn who_asks_for_colours_or_against_them_gets_that() {
        use Medium::Other;
        use Medium::Terminal;
        for (medium, variables, expected) in [
            (Terminal, &[("TERM", "xterm")][..], Paint::Colours),
            (Terminal, &[("TERM", "xterm"), ("NO_COLOR", "")], Paint::Colours),
            (Terminal, &[("TERM", "xterm"), ("NO_COLOR", "1")], Paint::Plain),
            (Terminal, &[("TERM", "xterm"), ("NO_COLOR", "0")], Paint::Plain),
            (Terminal, &[("TERM", "dumb")], Paint::Plain),
            (Terminal, &[("TERM", "")], Paint::Plain),
            (Terminal, &[], Paint::Plain),
            (Terminal, &[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")], Paint::Colours),
            (Other, &[("TERM", "xterm")], Paint::Plain),
            (Other, &[("TERM", "xterm"), ("CLICOLOR_FORCE", "")], Paint::Plain),
            (Other, &[("CLICOLOR_FORCE", "1")], Paint::Colours),
            (Other, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], Paint::Plain),
        ] {
            let variable = |name: &str| {
                variables.iter().find(|(own, _)| *own == name).map(|(_, value)| OsString::from(value))
            };
            assert_eq!(Paint::on(medium, variable), expected, "{medium:?} {variables:?}");
        }
    }
}
