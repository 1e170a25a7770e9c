//! From what went wrong to words: what was seen, and what to do. Pure.
//!
//! **In:** an error of whatever made it. **Out:** a [`Verdict`]. **Never:** text of another's that was not checked.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use crate::app::doctor::check::Verdict;
use crate::net;
use crate::net::binding;
use crate::net::causes;
use crate::net::client;
use crate::net::names;
use crate::pipeline::exchange::OAuthError;
use crate::pipeline::exchange::aadsts;
use crate::pipeline::exchange::aadsts::Meaning;
use crate::pipeline::exchange::probe;
use crate::telemetry::logs;

mod handshake;

pub use handshake::tls;

/// Which part of the configuration says how a server's certificate is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// None: the system's roots are believed.
    IdentityProvider,
    /// `upstreams`.
    Upstream,
    /// `cache.redis`.
    Redis,
}

/// The name has no address.
pub fn unknown_host(why: &str) -> Verdict {
    Verdict::unreachable(
        why,
        "compare the name with the configuration; if it is right, look at the name servers of this machine or pod (/etc/resolv.conf) and at NetworkPolicies for port 53",
    )
}

/// The name resolves, and the proxy does not go there.
pub fn off_limits(error: &names::Error) -> Verdict {
    Verdict::wrong(
        error.to_string(),
        "find out who has the name resolve so; if it is meant, write the address into the configuration in place of the name",
    )
}

/// There is no connection.
pub fn tcp(error: &io::Error) -> Verdict {
    let remedy = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            "nothing listens there: is it running, and is the port the right one?"
        }
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            "no way leads there from here: look at routes, and at whether this network has IPv6"
        }
        io::ErrorKind::PermissionDenied => {
            "this user or pod may not connect there: look at NetworkPolicies and file permissions"
        }
        _ => "look at firewalls and NetworkPolicies on the way",
    };
    Verdict::unreachable(error.to_string(), remedy)
}

/// The handshake broke off without a word.
pub fn broken_handshake(error: &(dyn StdError + 'static)) -> Verdict {
    Verdict::unreachable(
        format!("the connection ended within the TLS handshake: {}", last_cause(error)),
        "does the server speak TLS at this port? a firewall that inspects traffic may also cut it",
    )
}

/// The handshake takes too long.
pub fn slow_handshake(limit: Duration) -> Verdict {
    Verdict::unreachable(
        format!("the TLS handshake was not done within {limit:?}"),
        "does the server speak TLS at this port? it accepts connections and says nothing",
    )
}

/// TLS cannot be spoken with anybody, or not as configured.
pub fn client(error: &net::tls::Error) -> Verdict {
    let remedy = match error {
        net::tls::Error::NoRoots => "install ca-certificates, or set SSL_CERT_FILE",
        net::tls::Error::Unreadable { .. } | net::tls::Error::Pem { .. } => {
            "put a PEM file there that this user can read"
        }
        net::tls::Error::ClientCertificate(_) => {
            "the key must be that of the first certificate in the file: replace both"
        }
        net::tls::Error::Setup(_) => "compare the TLS settings with the reference",
    };
    Verdict::wrong(logs::report(error), remedy)
}

/// A request to an identity provider got no answer.
pub fn no_answer(error: &client::Error) -> Verdict {
    match error {
        client::Error::TooLong(_) => Verdict::wrong(
            error.to_string(),
            "that is no identity provider's answer: compare the URL with the configuration",
        ),
        client::Error::Timeout(_) => Verdict::unreachable(
            error.to_string(),
            "it accepts connections and does not answer: ask whoever runs it, or raise `timeout`",
        ),
        client::Error::ProxiedTimeout(..) => Verdict::unreachable(
            error.to_string(),
            "the proxy or what is behind it does not answer: ask whoever runs it, or raise `timeout`",
        ),
        client::Error::NoAnswer(cause) | client::Error::Cut(cause) if is_distrust(cause.as_ref()) => {
            Verdict::wrong(
                format!("{error}: {}", last_cause(cause.as_ref())),
                handshake::trust(Whose::IdentityProvider),
            )
        }
        client::Error::NoAnswer(cause) | client::Error::Cut(cause) => Verdict::unreachable(
            format!("{error}: {}", last_cause(cause.as_ref())),
            "something ends the connection: a firewall on the way, or a server that speaks no HTTP at this port",
        ),
    }
}

/// Whether a certificate was shown that is not accepted.
fn is_distrust(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// What an identity provider says, with the number that tells most.
pub fn said(answer: &OAuthError) -> String {
    let mut text = answer.error.clone();
    if let Some(suberror) = &answer.suberror {
        text.push_str(&format!(", {suberror}"));
    }
    let codes: Vec<String> = answer.error_codes.iter().map(|code| format!("AADSTS{code}")).collect();
    if !codes.is_empty() {
        text.push_str(&format!(", {}", codes.join(", ")));
    }
    if let Some(meaning) = meaning(answer) {
        text.push_str(&format!(": {}", meaning.says));
    }
    if let Some(trace) = &answer.trace_id {
        text.push_str(&format!(" (trace {trace})"));
    }
    text
}

/// What to do about what an identity provider says; `otherwise` if there is no number in it that is known.
pub fn cure(answer: &OAuthError, otherwise: &str) -> String {
    meaning(answer).map_or(otherwise, |meaning| meaning.cure).to_owned()
}

fn meaning(answer: &OAuthError) -> Option<&'static Meaning> {
    aadsts::first_meaning(&answer.error_codes)
}

/// Redis does not do what it should.
pub fn redis(error: &probe::Error) -> Verdict {
    let seen = logs::report(error);
    if error.is_ours() {
        return Verdict::wrong(seen, "put the secret there as one line of text, readable by this user");
    }
    let refused = match error.code() {
        Some("WRONGPASS") => "compare user and password with the ACL of the server",
        Some("NOAUTH") => "the server wants a password: set `cache.redis.password`",
        Some("NOPERM") => {
            "let the user do it: ACL SETUSER obo on >PASSWORD ~obo:* resetchannels -@all +getrange +set +del"
        }
        Some("OOM") => "it is full and evicts nothing: set maxmemory-policy allkeys-lru, or give it memory",
        Some("MISCONF" | "READONLY" | "NOREPLICAS") => {
            "the server takes no writes: is it a replica, or is its disk full?"
        }
        Some("ERR" | "MOVED" | "CLUSTERDOWN" | "MASTERDOWN" | "LOADING" | "DENIED") => {
            "look at what the server says, and at whether `cluster` or `sentinel` should be set"
        }
        _ => {
            return Verdict::unreachable(
                seen,
                "no request fails for it, but nothing is shared: look at the server and the network between",
            );
        }
    };
    Verdict::wrong(seen, refused)
}

/// An address cannot be bound, which `setting` says.
pub fn bind(error: &io::Error, setting: &str) -> Verdict {
    Verdict::wrong(error.to_string(), format!("`{setting}`: {}", binding::remedy(error)))
}

/// What stands at the bottom of an error.
pub fn last_cause(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_entras_is_told_by_its_number_and_what_it_means() {
        let answer = OAuthError {
            error: "invalid_client".into(),
            error_codes: vec![7_000_222],
            trace_id: Some("b72a68c3".into()),
            ..OAuthError::default()
        };
        assert_eq!(
            said(&answer),
            "invalid_client, AADSTS7000222: the client secret has expired (trace b72a68c3)"
        );
        assert!(cure(&answer, "x").starts_with("make a new one"));
        let other = OAuthError { error: "invalid_client".into(), ..OAuthError::default() };
        assert_eq!((said(&other).as_str(), cure(&other, "x").as_str()), ("invalid_client", "x"));
    }
}
