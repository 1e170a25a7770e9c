//! URLs: which forms are allowed, and which hosts are this machine.

use url::Host;
use url::Url;

use crate::config::check::At;
use crate::config::check::matches;

/// A URL of `scheme` `http` or `https` with a host and nothing but a path behind it.
pub fn parse(text: &str, at: &At<'_>) -> Option<Url> {
    let help = "write it as https://host, https://host:port or https://host/path";
    let shown = at.shown(text);
    let clean =
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>'));
    let Some(url) = Url::parse(text).ok().filter(|_| clean && text.contains("://")) else {
        at.error_with(format!("`{shown}` is not a URL"), help);
        return None;
    };
    let complaint = if !matches!(url.scheme(), "http" | "https") {
        Some("the scheme must be http or https")
    } else if url.host().is_none() || text.contains(":///") {
        Some("the host is missing")
    } else if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        Some("a user name or password does not belong in a URL")
    } else if url.query().is_some() {
        Some("a query does not belong here")
    } else if url.fragment().is_some() {
        Some("a fragment does not belong here")
    } else if url.port() == Some(0) {
        Some("port 0 cannot be connected to")
    } else {
        None
    };
    match complaint {
        None => Some(url),
        Some(complaint) => {
            at.error_with(format!("`{shown}` cannot be used: {complaint}"), help);
            None
        }
    }
}

/// The path of a URL as written, without a trailing slash: empty for the root.
pub fn base_path(text: &str, at: &At<'_>) -> Option<String> {
    let (_, rest) = text.split_once("://")?;
    let path = rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or("/");
    let path = path.strip_suffix('/').unwrap_or(path);
    if let Some(complaint) = Some(path).filter(|path| !path.is_empty()).and_then(matches::not_canonical) {
        at.error_with(
            format!("the path of `{}` cannot be used: {complaint}", at.shown(text)),
            matches::CANONICAL,
        );
        return None;
    }
    Some(path.into())
}

/// Whether the host is this machine: 127.0.0.0/8, ::1 or localhost.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}
