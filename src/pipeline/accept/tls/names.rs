//! Which of several things a caller means by the host name in its hello (RFC 6066 section 3). Pure.

use std::collections::HashMap;

use crate::config::HostPattern;

/// Things by the host names they are for.
#[derive(Clone, Debug)]
pub struct ByName<T> {
    first: T,
    exact: HashMap<String, T>,
    /// By what follows the first label, the dot included.
    wildcard: HashMap<String, T>,
}

impl<T: Clone> ByName<T> {
    /// Nothing but `first`, which is for those who name no host, or one that nothing is for.
    pub fn new(first: T) -> Self {
        Self { first, exact: HashMap::new(), wildcard: HashMap::new() }
    }

    /// The same with `thing` for `name`, unless something is for it already.
    pub fn with(mut self, name: &HostPattern, thing: &T) -> Self {
        let (map, key) = match name {
            HostPattern::Exact(name) => (&mut self.exact, name),
            HostPattern::Wildcard(suffix) => (&mut self.wildcard, suffix),
        };
        map.entry(key.to_ascii_lowercase()).or_insert_with(|| thing.clone());
        self
    }

    /// What is for `name`. A wildcard stands for one label (RFC 6125 section 6.4.3).
    pub fn find(&self, name: Option<&str>) -> &T {
        let Some(name) = name.map(str::to_ascii_lowercase) else { return &self.first };
        let below = || self.wildcard.get(name.get(name.find('.')?..)?);
        self.exact.get(&name).or_else(below).unwrap_or(&self.first)
    }
}

/// A host name as certificates write it: `*.` stands for one label.
pub fn pattern(name: &str) -> HostPattern {
    match name.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') => HostPattern::Wildcard(suffix.into()),
        _ => HostPattern::Exact(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_itself_comes_before_a_wildcard_and_the_first_is_for_all_others() {
        let names = ByName::new("first")
            .with(&pattern("a.example"), &"exact")
            .with(&pattern("*.example"), &"wildcard")
            .with(&pattern("*.Deep.Example"), &"deep")
            .with(&pattern("a.example"), &"late");
        for (name, found) in [
            (Some("a.example"), "exact"),
            (Some("A.Example"), "exact"),
            (Some("b.example"), "wildcard"),
            (Some("x.b.example"), "first"),
            (Some("x.deep.example"), "deep"),
            (Some("deep.example"), "wildcard"),
            (Some("example"), "first"),
            (Some(".example"), "wildcard"),
            (Some("other"), "first"),
            (Some(""), "first"),
            (None, "first"),
        ] {
            assert_eq!(*names.find(name), found, "{name:?}");
        }
    }
}
