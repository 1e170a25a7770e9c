//! `proxy` of an identity provider: the way that calls to it take.
//!
//! **In:** what the file says, and what the environment says of proxies. **Out:** an [`Egress`]. **Never:** shows a
//! password, or a value of the environment that may hold one.

use std::net::Ipv6Addr;

use crate::config::AuthorizationServer;
use crate::config::Egress;
use crate::config::Exception;
use crate::config::ForwardProxy;
use crate::config::check::At;
use crate::domain::secret::Secret;

const FORM: &str = "write none, environment, or http://host:port";

/// Which variables name a proxy for https, the first that is set and not empty; and those that name exceptions. The
/// spelling in small letters comes first, as curl has it.
const PROXIES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Why a text names no proxy, and what to do.
struct Complaint(&'static str, &'static str);

/// The way to `server`. `None` if it cannot be used, which was reported.
pub fn check(written: Option<&str>, server: Option<&AuthorizationServer>, at: &At<'_>) -> Option<Egress> {
    match written {
        None | Some("none") => Some(Egress::Direct),
        Some("environment") => environment(at),
        Some(text) => named(text, server, at),
    }
}

fn named(text: &str, server: Option<&AuthorizationServer>, at: &At<'_>) -> Option<Egress> {
    if !text.contains("://") {
        at.error_with(format!("`{}` is not a proxy", at.shown(text)), FORM);
        return None;
    }
    let proxy = match parse(text) {
        Ok(proxy) => proxy,
        Err(Complaint(complaint, help)) => {
            at.error_with(format!("`{}` cannot be used: {complaint}", at.shown(text)), help);
            return None;
        }
    };
    if server.is_some_and(AuthorizationServer::speaks_plain) {
        // whoever shares the network with the proxy would read secrets and tokens
        let message = "an identity provider without TLS is not reached through a proxy";
        at.error_with(message, "plain http is for this machine: leave `proxy` out, or write https:// URLs");
        return None;
    }
    if proxy.login.is_some() && at.is_in_file() {
        let message = "a password stands in the configuration itself: whoever can read that has it";
        let help = "write `proxy: environment` and set HTTPS_PROXY, or set this by its OBO__ variable";
        at.warning(message, help);
    }
    Some(Egress::Proxied { proxy, except: Vec::new() })
}

fn environment(at: &At<'_>) -> Option<Egress> {
    let Some((variable, value)) = first(&PROXIES, at) else { return Some(Egress::Direct) };
    // curl and many others take it without a scheme
    let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let proxy = match parse(&url) {
        Ok(proxy) => proxy,
        Err(Complaint(complaint, help)) => {
            // not shown: there may be a password in it
            let message = format!("the environment variable `{variable}` cannot be used: {complaint}");
            at.error_with(message, help);
            return None;
        }
    };
    // this machine is reached directly: no proxy could reach it, and only here is TLS left out
    let mut except = vec![Exception::Loopback];
    if let Some((variable, list)) = first(&EXCEPTIONS, at) {
        for item in list.split([',', ' ']).map(str::trim).filter(|item| !item.is_empty()) {
            match Exception::parse(item) {
                Some(exception) => except.push(exception),
                None => {
                    let message = format!("`{}` in `{variable}` is ignored", at.shown(item));
                    at.warning(message, "write names, addresses and networks, with commas between them");
                }
            }
        }
    }
    Some(Egress::Proxied { proxy, except })
}

/// The first of these variables that says something.
fn first<'a>(variables: &[&'static str], at: &At<'a>) -> Option<(&'static str, &'a str)> {
    let said = |variable: &&'static str| Some((*variable, at.environment(variable)?.trim()));
    variables.iter().filter_map(said).find(|(_, value)| !value.is_empty())
}

/// The proxy that is `http://host:port`, maybe with `user:password@` in it.
fn parse(url: &str) -> Result<ForwardProxy, Complaint> {
    let rest = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
            let help = "write http://host:port: the TLS with the identity provider goes through it";
            return Err(Complaint("a proxy is not spoken to over TLS", help));
        }
        _ => return Err(Complaint("the scheme must be http", FORM)),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (login, authority) = match rest.rsplit_once('@') {
        Some((login, authority)) => (Some(self::login(login)?), authority),
        None => (None, rest),
    };
    if authority.contains(['/', '?', '#']) {
        return Err(Complaint("a path does not belong here", FORM));
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) if host.parse::<Ipv6Addr>().is_ok() => (host, rest.strip_prefix(':')),
        Some(_) => return Err(Complaint("this is not a host", FORM)),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || !(authority.starts_with('[') || host.bytes().all(is_name)) {
        return Err(Complaint("this is not a host", FORM));
    }
    let Some(digits) = port else {
        let help = "write it out, as in http://host:3128: what is meant without differs between programs";
        return Err(Complaint("the port is missing", help));
    };
    let port =
        digits.parse().ok().filter(|port| *port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let port = port.ok_or(Complaint("this is not a port", "write a number from 1 to 65535"))?;
    Ok(ForwardProxy { host: host.into(), port, login })
}

/// `user:password`, whose percent signs stand for what a URL cannot hold (RFC 3986 section 2.1).
fn login(text: &str) -> Result<Secret, Complaint> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let help = "write user:password, with %40 for @, %3A for : and %25 for %";
    let (Some(user), Some(password)) = (decoded(user), decoded(password)) else {
        return Err(Complaint("its user name or password is not percent-encoded", help));
    };
    let is_sendable = |secret: &Secret| !secret.expose().chars().any(char::is_control);
    // what stands before the first colon is the user (RFC 7617 section 2)
    if user.expose().contains(':') || !is_sendable(&user) || !is_sendable(&password) {
        return Err(Complaint("its user name or password cannot be sent", help));
    }
    Ok(Secret::new(format!("{}:{}", user.expose(), password.expose())))
}

fn decoded(text: &str) -> Option<Secret> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                bytes.push(u8::try_from(16 * high + low).ok()?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok().map(Secret::new)
}
