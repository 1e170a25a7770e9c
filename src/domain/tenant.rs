//! Entra tenant ids.

use std::fmt;

/// A tenant id: a GUID in its canonical lower-case form. Safe to put into a URL or a header.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(String);

impl TenantId {
    /// `text` as a tenant id, or `None` if it is no GUID of the form 8-4-4-4-12.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_guid = bytes.len() == 36
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        is_guid.then(|| Self(text.to_ascii_lowercase()))
    }

    /// The GUID, lower-case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_guids_are_tenant_ids_and_case_is_folded() {
        let id = TenantId::parse("8EAEF023-2b34-4da1-9baa-8bc8c9d6a490").unwrap();
        assert_eq!(id.as_str(), "8eaef023-2b34-4da1-9baa-8bc8c9d6a490");
        for bad in [
            "",
            "common",
            "8eaef0232b344da19baa8bc8c9d6a490",
            "8eaef023-2b34-4da1-9baa-8bc8c9d6a49/",
            "{8eaef023-2b34-4da1-9baa-8bc8c9d6a490}",
        ] {
            assert!(TenantId::parse(bad).is_none(), "{bad}");
        }
    }
}
