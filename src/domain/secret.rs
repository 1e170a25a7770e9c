//! A secret in memory: wiped when dropped, never shown.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text. It has no `Display`, `Debug` hides it, and its memory is wiped on drop.
///
/// ```
/// # use obo_proxy::domain::secret::Secret;
/// let secret = Secret::new("hunter2".into());
/// assert_eq!(format!("{secret:?}"), "Secret(..)");
/// ```
///
/// It cannot be printed, written as JSON, nor be taken for a text:
///
/// ```compile_fail,E0277
/// # use obo_proxy::domain::secret::Secret;
/// # let secret = Secret::new("hunter2".into());
/// println!("{secret}");
/// ```
/// ```compile_fail,E0277
/// # use obo_proxy::domain::secret::Secret;
/// # let secret = Secret::new("hunter2".into());
/// serde_json::to_string(&secret);
/// ```
/// ```compile_fail,E0308
/// # use obo_proxy::domain::secret::Secret;
/// # let secret = Secret::new("hunter2".into());
/// let text: &str = &secret;
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes `text` over.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret that `content` is, without the line break that editors and `echo` end it with.
    ///
    /// # Errors
    /// If nothing is left, or more than one line of text: no secret that can be typed, sent in a form or in a header
    /// holds a control character (RFC 6749 appendix A.2).
    pub fn from_line(content: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(content).map_err(|_| Error::NotText)?;
        let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        match line.chars().find(|letter| letter.is_control()) {
            _ if line.starts_with('\u{feff}') => Err(Error::Mark),
            None if line.is_empty() => Err(Error::Empty),
            None => Ok(Self::new(line.to_owned())),
            Some(_) if line.contains('\n') => Err(Error::Lines),
            Some(_) => Err(Error::Control),
        }
    }

    /// The secret itself: to be used at the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Why a text is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.as_str())]
pub enum Error {
    /// Nothing is there.
    Empty,
    /// These bytes are no text.
    NotText,
    /// There is a second line: two secrets, or one in a format of its own.
    Lines,
    /// An editor has written what it is encoded in.
    Mark,
    /// There is a letter that is no letter.
    Control,
}

impl Error {
    /// How a sentence goes on that begins with where the text was found.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::NotText => "is not UTF-8",
            Self::Lines => "has a second line: a secret is one line",
            Self::Mark => "begins with a byte order mark: save it without one",
            Self::Control => "holds a control character, such as a tab: a secret is one line of text",
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_loses_one_line_break_and_nothing_else() {
        for (text, secret) in [
            ("s", "s"),
            ("s\n", "s"),
            ("s\r\n", "s"),
            (" s \n", " s "),
            ("a+b/c=~\n", "a+b/c=~"),
            ("ß€", "ß€"),
        ] {
            let found = Secret::from_line(text.as_bytes()).unwrap();
            assert_eq!(found.expose(), secret, "{text:?}");
        }
    }

    #[test]
    fn what_is_not_one_line_of_text_is_no_secret() {
        for (content, error) in [
            (&b""[..], Error::Empty),
            (b"\n", Error::Empty),
            (b"\r\n", Error::Empty),
            (b"s\xff", Error::NotText),
            (b"\xef\xbb\xbfs\n", Error::Mark),
            (b"s\n\n", Error::Lines),
            (b"\ns", Error::Lines),
            (b"old\nnew\n", Error::Lines),
            (b"old\r\nnew\r\n", Error::Lines),
            (b"s\r", Error::Control),
            (b"s\t", Error::Control),
            (b"s\0", Error::Control),
            (b"s\x7f", Error::Control),
            ("s\u{85}".as_bytes(), Error::Control),
        ] {
            assert_eq!(Secret::from_line(content), Err(error), "{content:?}");
        }
    }

    #[test]
    fn debug_does_not_show_a_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "Secret(..)");
    }
}
