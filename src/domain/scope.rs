//! OAuth scopes as a caller's token grants them (RFC 6749 section 3.3: case-sensitive, order without meaning).

/// The scopes a token carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<String>);

impl Scopes {
    /// The scopes of a space-separated list.
    pub fn parse(list: &str) -> Self {
        Self(list.split(' ').filter(|scope| !scope.is_empty()).map(String::from).collect())
    }

    /// Whether `scope` is among them, byte for byte.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.iter().any(|own| own == scope)
    }

    /// One after the other.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<String> for Scopes {
    fn from_iter<I: IntoIterator<Item = String>>(scopes: I) -> Self {
        Self(scopes.into_iter().filter(|scope| !scope.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_compared_whole_and_with_case() {
        let scopes = Scopes::parse("orders.read  Mail.Send");
        assert!(scopes.contains("orders.read") && scopes.contains("Mail.Send"));
        assert!(!scopes.contains("orders") && !scopes.contains("mail.send") && !scopes.contains(""));
        assert!(Scopes::parse(" ").is_empty());
    }
}
