//! Names an operator gave to something: a route, an identity provider, a listener.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A configured name, `[a-z][a-z0-9_]*`. Cheap to clone; safe as a metric label.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// `text` as a name, or `None` if it is not of the form `[a-z][a-z0-9_]*`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let starts = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
        let goes_on = bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        (starts && goes_on).then(|| Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_snake_case_words_are_names() {
        for good in ["a", "orders", "orders_write2"] {
            assert!(Name::parse(good).is_some(), "{good}");
        }
        for bad in ["", "_a", "2a", "Orders", "orders-write", "orders.write", "ä"] {
            assert!(Name::parse(bad).is_none(), "{bad}");
        }
    }
}
