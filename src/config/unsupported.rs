//! Settings that are part of the design but not of this version: refused by name, so that nobody takes them for typing
//! errors, and never ignored.

use crate::config::node::Path;

/// The keys that lead to each of them; `*` is any name. List positions are not counted.
const LATER: &[&[&str]] = &[&["admin"], &["identity_providers", "*", "proxy"]];

/// The key of the setting at `path`, if it comes later. `defaults` is looked up as a route.
pub fn find(path: &Path) -> Option<String> {
    let keys = path.keys();
    let route: Vec<&str> = match keys.split_first() {
        Some((&"defaults", rest)) => ["routes", "*"].into_iter().chain(rest.iter().copied()).collect(),
        _ => keys,
    };
    let fits = |later: &&&[&str]| {
        later.len() == route.len()
            && later.iter().zip(&route).all(|(pattern, key)| *pattern == "*" || pattern == key)
    };
    LATER.iter().find(fits)?;
    Some((*route.last()?).to_owned())
}

/// Every entry, for the test that writes each of them down.
#[cfg(test)]
pub fn all() -> impl Iterator<Item = &'static [&'static str]> {
    LATER.iter().copied()
}
