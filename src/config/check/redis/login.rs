//! As whom Redis is spoken to, and whether what says so fits the way it takes.

use crate::config::Login;
use crate::config::check::At;
use crate::config::check::redis::UNREADABLE;
use crate::config::check::secret;
use crate::config::check::tls;
use crate::config::check::visible;
use crate::config::wire;

/// What the file says of a login.
pub struct Written<'w> {
    /// The user.
    pub username: Option<&'w str>,
    /// Its password.
    pub password: Option<&'w wire::credential::Secret>,
    /// Certificates.
    pub tls: Option<&'w wire::redis::Tls>,
}

/// The way a login takes to its server.
pub enum Way {
    /// Over TLS.
    Tls,
    /// Without, on this machine; and what to write for TLS.
    Loopback(&'static str),
    /// Without, over a network; and what to write for TLS.
    Network(&'static str),
}

/// The login. `way` is `None` if it is not known, which was reported. `None` = an error.
pub fn check(written: &Written<'_>, way: Option<&Way>, at: &At<'_>) -> Option<Login> {
    let username = written.username.map(|name| user(name, written, at));
    let password = written.password.map(|password| secret::check(password, UNREADABLE, &at.key("password")));
    if let (Some(Way::Network(remedy)), Some(Some(_))) = (way, &password) {
        let message = "the password is sent without TLS: whoever shares the network can read it";
        at.key("password").warning(message, format!("write {remedy}"));
    }
    let mut login = written.tls.map(|tls| certificates(tls, way, &at.key("tls"))).unwrap_or_default();
    if let Some(username) = username {
        login.username = Some(username?);
    }
    if let Some(password) = password {
        login.password = Some(password?);
    }
    Some(login)
}

fn user(name: &str, written: &Written<'_>, at: &At<'_>) -> Option<String> {
    if written.password.is_none() {
        // without one, nobody would log in
        at.missing("password", "a user needs one: write password: { file: PATH }, or leave `username` out");
    }
    visible(name, "the name of a user", &at.key("username")).filter(|_| written.password.is_some())
}

/// A login with nothing but the certificates that are written.
fn certificates(written: &wire::redis::Tls, way: Option<&Way>, at: &At<'_>) -> Login {
    let ca = tls::ca(written.ca.as_deref(), at);
    let client_certificate = tls::client_certificate(written.client_certificate.as_ref(), at);
    match way {
        Some(Way::Tls) => {
            let used = tls::Use::Later(UNREADABLE);
            tls::look_at(ca.as_ref(), client_certificate.as_ref(), used, at);
        }
        Some(Way::Loopback(remedy) | Way::Network(remedy)) => {
            let help = format!("write {remedy}, or leave it out");
            at.warning("`tls` has no effect: these servers are spoken to without it", help);
        }
        None => {}
    }
    Login { ca, client_certificate, ..Login::default() }
}
