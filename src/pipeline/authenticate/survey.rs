//! How this stage stands at a moment, for operators.

use std::time::Duration;

use crate::config::EntraVersion;
use crate::domain::name::Name;
use crate::pipeline::authenticate::Authenticator;

/// One set of keys.
#[derive(Clone, Debug)]
pub struct KeysInUse {
    /// Whose they are.
    pub identity_provider: Name,
    /// Of which version of Entra's tokens; `None` = there is one set only.
    pub version: Option<EntraVersion>,
    /// What is in use; `None` = they were never fetched.
    pub held: Option<HeldKeys>,
    /// Whether they can be fetched anew; `None` = as far as is known.
    pub failing: Option<FailingFetches>,
}

/// Fetches that have failed one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailingFetches {
    /// How long ago the first of them ended.
    pub age: Duration,
    /// How many there were.
    pub count: u32,
    /// Why the last one failed, as the log has it.
    pub cause: String,
}

/// The keys in use of one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldKeys {
    /// How many.
    pub count: usize,
    /// How long ago they were fetched.
    pub age: Duration,
}

/// The memo of validated tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// How many.
    pub tokens: u64,
    /// Bytes that they take, by our reckoning.
    pub bytes: u64,
}

impl Authenticator {
    /// The keys in use, and what is remembered.
    pub fn survey(&self) -> (Vec<KeysInUse>, Remembered) {
        let mut keys = Vec::new();
        for provider in &self.providers {
            let versions = match provider.config.entra() {
                Some(_) => [Some(EntraVersion::V2), Some(EntraVersion::V1)],
                None => [None, None],
            };
            for (source, version) in provider.sources().zip(versions) {
                let identity_provider = provider.config.name.clone();
                let (held, failing) = (source.held(), source.failing());
                keys.push(KeysInUse { identity_provider, version, held, failing });
            }
        }
        (keys, Remembered { tokens: self.memo.tokens(), bytes: self.memo.bytes() })
    }
}
