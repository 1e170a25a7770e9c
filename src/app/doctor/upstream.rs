//! An upstream: reached, and asked for the head of its root as the proxy would ask.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Request;
use http_body_util::Empty;
use tokio::net::UnixStream;

use crate::app::doctor::check::Check;
use crate::app::doctor::check::Round;
use crate::app::doctor::check::Verdict;
use crate::app::doctor::reach::Reached;
use crate::app::doctor::reach::Server;
use crate::app::doctor::reach::Tls;
use crate::app::doctor::reach::reach;
use crate::app::doctor::remedies;
use crate::app::doctor::remedies::Whose;
use crate::config::Config;
use crate::config::Http2;
use crate::config::Route;
use crate::config::Scheme;
use crate::config::Upstream;
use crate::domain::peer::Peer;
use crate::domain::peer::Trust;
use crate::net::tls;
use crate::pipeline::forward;
use crate::pipeline::forward::Authorization;
use crate::pipeline::forward::Forwarder;
use crate::pipeline::forward::Onward;
use crate::telemetry::logs;

/// What it is called.
pub const KIND: &str = "upstream";

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// By what the upstream's log knows the request.
const REQUEST_ID: HeaderValue = HeaderValue::from_static("obo-proxy-doctor");

/// One route to each upstream.
pub fn distinct(config: &Config) -> Vec<&Arc<Route>> {
    let mut found: Vec<&Arc<Route>> = Vec::new();
    for route in &config.routes {
        if !found.iter().any(|known| known.upstream == route.upstream) {
            found.push(route);
        }
    }
    found
}

/// Its URL, as far as it is configured.
pub fn name(upstream: &Upstream) -> String {
    match (&upstream.socket, upstream.scheme) {
        (Some(path), _) => format!("unix:{}", path.display()),
        (None, Scheme::Http) => format!("http://{}{}", upstream.authority, upstream.base_path),
        (None, Scheme::Https) => format!("https://{}{}", upstream.authority, upstream.base_path),
    }
}

/// Looks at the upstream of `route`.
pub async fn look(round: &Round, route: &Arc<Route>) -> Vec<Check> {
    let upstream = &*route.upstream;
    let reached = match &upstream.socket {
        Some(path) => reach_local(round, path).await,
        None => match server(upstream) {
            Ok(server) => reach(round, &server).await,
            Err(error) => return vec![Check::at_once("tls", remedies::client(&error))],
        },
    };
    let mut checks = reached.checks;
    if reached.is_there {
        let version = match (upstream.http2, reached.speaks.as_deref()) {
            (Http2::Always, _) | (Http2::Auto, Some(b"h2")) => "HTTP/2",
            _ => "HTTP/1.1",
        };
        checks.push(round.check("http HEAD /", LIMIT, answered(round, route, version)).await);
    }
    checks
}

fn server(upstream: &Upstream) -> Result<Server, tls::Error> {
    let settings = &upstream.tls;
    let tls = match upstream.scheme {
        Scheme::Http => None,
        Scheme::Https => {
            let pair = settings.client_certificate.as_ref();
            let pair = pair.map(|(certificate, key)| (certificate.as_path(), key.as_path()));
            let tls = Tls::with(settings.ca.as_deref(), pair, upstream.http2)?;
            Some(Tls { server_name: settings.server_name.clone(), ..tls })
        }
    };
    let usual = if tls.is_some() { 443 } else { 80 };
    Ok(Server {
        host: upstream.authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: upstream.authority.port_u16().unwrap_or(usual),
        tls,
        whose: Whose::Upstream,
    })
}

async fn reach_local(round: &Round, path: &Path) -> Reached {
    let (check, connected) = round
        .check_for(format!("socket {}", path.display()), LIMIT, async {
            match UnixStream::connect(path).await {
                Ok(_) => Ok((Verdict::well("connected"), ())),
                Err(error) => Err(unconnected(&error)),
            }
        })
        .await;
    Reached { checks: vec![check], is_there: connected.is_some(), speaks: None }
}

fn unconnected(error: &io::Error) -> Verdict {
    match error.kind() {
        io::ErrorKind::NotFound => Verdict::unreachable(
            error.to_string(),
            "the upstream makes the socket when it starts: is it running, and is the directory a volume that both see?",
        ),
        io::ErrorKind::PermissionDenied => {
            Verdict::wrong(error.to_string(), "let this user or its group write to the socket")
        }
        _ => {
            Verdict::unreachable(error.to_string(), "nobody listens at the socket: is the upstream running?")
        }
    }
}

/// Asks as the proxy does for a caller of the route, without a token.
async fn answered(round: &Round, route: &Arc<Route>, version: &str) -> Verdict {
    let forwarder = match Forwarder::new(std::slice::from_ref(route)) {
        Ok(forwarder) => forwarder,
        Err(error) => return remedies::client(&error),
    };
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::HEAD;
    let peer = Peer::new(None, Trust::Untrusted);
    let onward = Onward {
        route,
        path: "/",
        authorization: Authorization::Remove,
        caller: None,
        peer: &peer,
        scheme: Scheme::Http,
        request_id: &REQUEST_ID,
        trace: None,
        websocket: None,
    };
    match forwarder.send(request, onward).await {
        Ok(answer) => Verdict::well(format!("{version} {}", answer.status().as_u16())),
        Err(error) => unanswered(round, &error, &route.upstream),
    }
}

fn unanswered(round: &Round, error: &forward::Error, upstream: &Upstream) -> Verdict {
    let host = upstream.tls.server_name.as_deref().unwrap_or_else(|| upstream.authority.host());
    let remedy = match (error, upstream.http2) {
        (forward::Error::Tls(cause), _) => {
            return remedies::tls(cause.as_ref(), host, Whose::Upstream, round.clock.now());
        }
        (forward::Error::Connect(_) | forward::Error::Timeout(_), _) => {
            return Verdict::unreachable(
                logs::report(error),
                "it accepts connections and does not answer: look at its own log, it may be starting or overloaded",
            );
        }
        (_, Http2::Always) => "does it speak HTTP/2 at this port? if not, take `http2: always` away",
        _ => {
            "does it speak HTTP at this port, or TLS (https://)? a server of HTTP/2 alone takes `http2: always`"
        }
    };
    Verdict::wrong(logs::report(error), remedy)
}
