//! URLs: which forms are allowed.

use url::Url;

use crate::config::check::At;
use crate::config::check::matches;
use crate::config::is_loopback;

const FORM: &str = "write it as https://host, https://host:port or https://host/path";

/// A URL of `scheme` `http` or `https` with a host and nothing but a path behind it.
pub fn parse(text: &str, at: &At<'_>) -> Option<Url> {
    let url = with_query(text, at)?;
    if url.query().is_some() {
        at.error_with(format!("`{}` cannot be used: a query does not belong here", at.shown(text)), FORM);
        return None;
    }
    Some(url)
}

/// An endpoint of an identity provider, to which secrets and tokens are sent. It may have a query (RFC 6749 section 3.2).
pub fn of_identity_provider(text: &str, at: &At<'_>) -> Option<Url> {
    with_query(text, at).filter(|url| is_private(url, text, at))
}

/// Whether what is sent to `url` can only be read there; an error if not.
pub fn is_private(url: &Url, text: &str, at: &At<'_>) -> bool {
    let is_private = url.scheme() == "https" || is_loopback(url);
    if !is_private {
        at.error_with(
            format!("`{}` is not https", at.shown(text)),
            "secrets and tokens are sent there: plain http is only for 127.0.0.0/8, ::1 and localhost",
        );
    }
    is_private
}

fn with_query(text: &str, at: &At<'_>) -> Option<Url> {
    let shown = at.shown(text);
    let clean =
        text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>'));
    let Some(url) = Url::parse(text).ok().filter(|_| clean && text.contains("://")) else {
        at.error_with(format!("`{shown}` is not a URL"), FORM);
        return None;
    };
    let complaint = if !matches!(url.scheme(), "http" | "https") {
        Some("the scheme must be http or https")
    } else if url.host().is_none() || text.contains(":///") {
        Some("the host is missing")
    } else if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
        Some("a user name or password does not belong in a URL")
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
            at.error_with(format!("`{shown}` cannot be used: {complaint}"), FORM);
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
