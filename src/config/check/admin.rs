//! `admin`: a status page and an API that steers the proxy.

use crate::config::Address;
use crate::config::Admin;
use crate::config::check::At;
use crate::config::check::address;
use crate::config::check::secret;
use crate::config::wire;

const UNREADABLE: &str = "until it can be read, the admin interface refuses everybody";

/// The admin interface; `None` = there is none, or something is wrong with it.
pub fn check(written: Option<&wire::server::Admin>, at: &At<'_>) -> Option<Admin> {
    let written = written?;
    let address = match &written.address {
        Some(text) => address::parse(text, &at.key("address")),
        None => Some(Address { host: "127.0.0.1".into(), port: 9901 }),
    };
    let token = written.token.as_ref().map(|token| secret::check(token, UNREADABLE, &at.key("token")));
    let admin = Admin { address: address?, token: token.clone().flatten() };
    if !admin.is_loopback() && token.is_none() && !at.key("token").is_poisoned() {
        let help = "keep it on 127.0.0.1, or add token: { file: PATH }";
        let message = "whoever reaches this address could purge users and read the configuration";
        at.key("address").error_with(message, help);
        return None;
    }
    // a token that is wrong was complained of
    (token.is_some() == admin.token.is_some()).then_some(admin)
}
