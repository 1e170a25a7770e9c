//! `upstreams`: what a route's upstream is, once its timeouts are known.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::Authority;
use url::Url;

use crate::config::Http2;
use crate::config::Scheme;
use crate::config::Upstream;
use crate::config::UpstreamTls;
use crate::config::check::At;
use crate::config::check::endpoint;
use crate::config::check::tls;
use crate::config::is_loopback;
use crate::config::wire;

/// What fits into a socket address, besides the zero byte at its end (unix(7)).
const LONGEST_SOCKET: usize = 107;

/// A checked upstream, but for its connect timeout, which a route may set.
pub struct Target {
    url: Url,
    authority: Authority,
    socket: Option<PathBuf>,
    base_path: String,
    http2: Http2,
    tls: UpstreamTls,
    /// Its own timeouts.
    pub timeouts: wire::upstream::Timeouts,
}

impl Target {
    /// An upstream of the `upstreams` map. `None` if it cannot be used, which was reported.
    pub fn named(wire: &wire::upstream::Upstream, at: &At<'_>) -> Option<Self> {
        let mut target = match &wire.url {
            Some(url) => Self::at_url(url, &at.key("url")),
            None => {
                at.missing("url", "write where it is, as in url: http://127.0.0.1:8000");
                None
            }
        };
        let own_tls = wire.tls.as_ref().map(|wire| own_tls(wire, &at.key("tls"))).unwrap_or_default();
        if let Some(target) = &mut target {
            if wire.tls.is_some() && target.scheme() == Scheme::Http {
                let kind = if target.socket.is_some() { "a unix:" } else { "an http://" };
                at.key("tls").warning(
                    format!("`tls` has no effect on {kind} upstream"),
                    "write https://, or leave it out",
                );
            }
            target.http2 = match wire.http2 {
                None | Some(wire::upstream::Http2::Auto) => Http2::Auto,
                Some(wire::upstream::Http2::Always) => Http2::Always,
                Some(wire::upstream::Http2::Never) => Http2::Never,
            };
            if target.scheme() == Scheme::Https {
                let (ca, client) = (own_tls.ca.as_ref(), own_tls.client_certificate.as_ref());
                tls::look_at(ca, client, tls::Use::Needed, &at.key("tls"));
            }
            target.tls = own_tls;
            target.timeouts = wire.timeouts.unwrap_or_default();
        }
        target
    }

    /// An upstream that a route names by its URL.
    pub fn at_url(text: &str, at: &At<'_>) -> Option<Self> {
        let socket = text.strip_prefix("unix:").map(|path| socket(path, at));
        let socket = match socket {
            Some(path) => Some(path?),
            None => None,
        };
        // to whom a request over a socket is addressed matters to nobody but the back end
        let text = if socket.is_some() { "http://localhost" } else { text };
        let url = endpoint::parse(text, at)?;
        let base_path = endpoint::base_path(text, at)?;
        let host = url.host_str()?;
        let authority = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let Ok(authority) = authority.parse() else {
            at.error(format!("the host of `{}` cannot be sent in a request", at.shown(text)));
            return None;
        };
        let (http2, tls, timeouts) =
            (Http2::Auto, UpstreamTls::default(), wire::upstream::Timeouts::default());
        Some(Self { url, authority, socket, base_path, http2, tls, timeouts })
    }

    /// Plain or TLS.
    pub fn scheme(&self) -> Scheme {
        if self.url.scheme() == "https" { Scheme::Https } else { Scheme::Http }
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }

    /// The upstream, with that bound on connecting.
    pub fn with_connect_timeout(&self, connect_timeout: Duration) -> Upstream {
        Upstream {
            authority: self.authority.clone(),
            socket: self.socket.clone(),
            scheme: self.scheme(),
            base_path: self.base_path.clone(),
            http2: self.http2,
            tls: self.tls.clone(),
            connect_timeout,
        }
    }
}

fn own_tls(wire: &wire::upstream::Tls, at: &At<'_>) -> UpstreamTls {
    if let Some(name) = &wire.server_name {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
        if name.is_empty() || name.len() > 253 || !name.bytes().all(plain) {
            let at = at.key("server_name");
            at.error_with(
                format!("`{}` is not a host name", at.shown(name)),
                "write it without scheme and port",
            );
        }
    }
    UpstreamTls {
        ca: tls::ca(wire.ca.as_deref(), at),
        server_name: wire.server_name.clone(),
        client_certificate: tls::client_certificate(wire.client_certificate.as_ref(), at),
    }
}

/// The path of a Unix socket.
fn socket(written: &str, at: &At<'_>) -> Option<PathBuf> {
    // as in a URL without a host
    let path = written.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(written);
    let complaint = if !path.starts_with('/') || path.starts_with("//") {
        "the path of its socket does not begin with /"
    } else if path.ends_with('/') {
        "the path of its socket ends with /"
    } else if path.len() > LONGEST_SOCKET {
        "the path of its socket is longer than 107 bytes"
    } else if path.contains('\0') {
        "there is a zero byte in it"
    } else {
        return Some(path.into());
    };
    at.error_with(
        format!("`unix:{}` cannot be used: {complaint}", at.shown(written)),
        "write it as unix:/run/app.sock",
    );
    None
}

/// A path that names something.
pub fn path(text: &str, at: &At<'_>) -> Option<PathBuf> {
    if text.trim().is_empty() || text.contains('\0') {
        at.error("this must be the path of a file");
        return None;
    }
    Some(text.into())
}
