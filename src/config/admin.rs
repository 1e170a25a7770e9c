//! The admin interface, checked: where it is, and who may use it.

use crate::config::Address;
use crate::config::loopback::is_loopback_host;
use crate::config::redis::SecretSource;

/// Where operators look and steer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it is served.
    pub address: Address,
    /// What whoever uses it must know; `None` = nothing, and the address is loopback.
    pub token: Option<SecretSource>,
}

impl Admin {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.address.host)
    }
}
