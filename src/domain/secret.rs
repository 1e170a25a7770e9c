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

    /// The secret that `text` is, without the line break that editors and `echo` end it with; `None` if nothing is left.
    pub fn from_line(text: &str) -> Option<Self> {
        let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
        (!line.is_empty()).then(|| Self::new(line.to_owned()))
    }

    /// The secret itself: to be used at the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
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
        let of = |text: &str| Secret::from_line(text).map(|secret| secret.expose().to_owned());
        for (text, secret) in
            [("s", "s"), ("s\n", "s"), ("s\r\n", "s"), ("s\n\n", "s\n"), (" s \n", " s "), ("s\r", "s\r")]
        {
            assert_eq!(of(text).as_deref(), Some(secret), "{text:?}");
        }
        assert_eq!((of(""), of("\n"), of("\r\n")), (None, None, None));
    }

    #[test]
    fn debug_does_not_show_a_secret() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".into())), "Secret(..)");
    }
}
