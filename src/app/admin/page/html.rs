//! Writes HTML. What is not written here in the source is a text, and every text is escaped: there is no way around it.

use std::fmt;
use std::fmt::Write;

use crate::domain::printable;

/// A document that is being written.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// Markup of our own.
    pub fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// A text, inside an element or a quoted attribute.
    pub fn text(&mut self, text: impl fmt::Display) -> &mut Self {
        // writing to a String does not fail
        let _ = write!(Escaped(&mut self.0), "{text}");
        self
    }

    /// A text in an element.
    pub fn element(&mut self, open: &'static str, text: impl fmt::Display, close: &'static str) -> &mut Self {
        self.markup(open).text(text).markup(close)
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.0
    }
}

/// Lets nothing through that HTML reads as markup, in elements or in quoted attributes.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                blank @ ('\n' | '\t') => self.0.push(blank),
                other => self.0.push(printable::letter(other)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut html = Html::default();
        html.text(text);
        html.finish()
    }

    #[test]
    fn no_text_becomes_markup() {
        assert_eq!(
            escaped("<script>alert('x' + \"&\")</script>\u{202e}\u{200b}\0"),
            "&lt;script&gt;alert(&#39;x&#39; + &quot;&amp;&quot;)&lt;/script&gt;\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(escaped("Jörg\n7 %"), "Jörg\n7 %");
    }

    proptest! {
        #[test]
        fn nothing_that_html_reads_is_left(text in any::<String>()) {
            let escaped = escaped(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'', '\0']));
            let entities = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
            let ampersands = escaped.match_indices('&');
            for (at, _) in ampersands {
                prop_assert!(entities.iter().any(|entity| escaped[at..].starts_with(entity)));
            }
        }
    }
}
