//! Why a TLS handshake failed, in words.

use std::error::Error as StdError;

use rustls::AlertDescription;
use rustls::CertificateError;
use rustls::Error;

use crate::app::doctor::certificate::days_until;
use crate::app::doctor::certificate::in_days;
use crate::app::doctor::check::Verdict;
use crate::app::doctor::remedies::Whose;
use crate::app::doctor::remedies::last_cause;
use crate::domain::clock::UnixTime;
use crate::net::causes;

/// Most names of a certificate that are shown.
const MOST_NAMES: usize = 5;
/// The longest of them.
const LONGEST_NAME: usize = 80;

/// What `error` says of the handshake with a server whose certificate should be for `expected`.
pub fn tls(error: &(dyn StdError + 'static), expected: &str, whose: Whose, now: UnixTime) -> Verdict {
    match causes(error).find_map(|cause| cause.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(problem)) => certificate(problem, expected, whose, now),
        Some(Error::AlertReceived(alert)) => alerted(*alert, whose),
        Some(Error::InvalidMessage(_) | Error::PeerMisbehaved(_)) => Verdict::wrong(
            "what answers there does not speak TLS",
            "write http:// if it speaks plain HTTP, or use the port at which it speaks TLS",
        ),
        Some(Error::PeerIncompatible(_)) => Verdict::wrong(
            "the server speaks no version or cipher of TLS that is safe",
            "have it speak TLS 1.2 or 1.3",
        ),
        _ => Verdict::wrong(last_cause(error), "look at the server's own log"),
    }
}

fn certificate(problem: &CertificateError, expected: &str, whose: Whose, now: UnixTime) -> Verdict {
    let days = |end: rustls::pki_types::UnixTime| {
        days_until(now, UnixTime::from_seconds(i64::try_from(end.as_secs()).unwrap_or(i64::MAX)))
    };
    match problem {
        CertificateError::Expired => wrong("the certificate has ended", RENEW),
        CertificateError::ExpiredContext { not_after, .. } => {
            wrong(&format!("the certificate ended {} ago", in_days(days(*not_after))), RENEW)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => wrong(
            "the certificate is not valid yet",
            "set this machine's clock (NTP), or have the server's certificate made anew",
        ),
        CertificateError::UnknownIssuer => wrong("the certificate's issuer is not trusted", trust(whose)),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<String> = presented.iter().take(MOST_NAMES).map(|name| shown(name)).collect();
            let names = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
            wrong(&format!("the certificate is for {names}, not for {expected}"), rename(whose))
        }
        CertificateError::NotValidForName => {
            wrong(&format!("the certificate is not for {expected}"), rename(whose))
        }
        CertificateError::Revoked => wrong("the certificate is revoked", RENEW),
        CertificateError::BadSignature => {
            wrong("the certificate is not signed by the authority that it names", trust(whose))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            wrong("the certificate is not one for servers", RENEW)
        }
        other if other.to_string().contains("CaUsedAsEndEntity") => wrong(
            "the certificate is an authority's (CA:TRUE) and not a server's: most likely self-signed",
            "have the server show a certificate with CA:FALSE, as `openssl req -x509 -addext basicConstraints=CA:FALSE` makes one",
        ),
        other => wrong(&format!("the certificate is not acceptable: {other}"), trust(whose)),
    }
}

const RENEW: &str = "have whoever runs the server renew its certificate";

fn wrong(seen: &str, remedy: &str) -> Verdict {
    Verdict::wrong(seen, remedy)
}

pub(super) fn trust(whose: Whose) -> &'static str {
    match whose {
        Whose::IdentityProvider => {
            "does a proxy that inspects TLS stand between? then add its authority to the system's (SSL_CERT_FILE names a PEM file)"
        }
        Whose::Upstream => "name the authority's PEM file in the upstream's `tls.ca`",
        Whose::Redis => "name the authority's PEM file in `cache.redis.tls.ca`",
    }
}

fn rename(whose: Whose) -> &'static str {
    match whose {
        Whose::IdentityProvider => {
            "compare the host with the configuration; if it is right, somebody else answers in its name"
        }
        Whose::Upstream => {
            "use a name that the certificate has, or set the upstream's `tls.server_name` to one"
        }
        Whose::Redis => "use a name that the certificate has",
    }
}

/// The name in `DnsName("a.example")` or `IpAddress(127.0.0.1)`, as far as it is visible.
fn shown(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    let name = inner.unwrap_or(presented).trim_matches('"');
    name.chars().filter(char::is_ascii_graphic).take(LONGEST_NAME).collect()
}

fn alerted(alert: AlertDescription, whose: Whose) -> Verdict {
    let ours = match whose {
        Whose::IdentityProvider => "its own `credential` with `auth_method: tls_client_auth`",
        Whose::Upstream => "the upstream's `tls.client_certificate`",
        Whose::Redis => "`cache.redis.tls.client_certificate`",
    };
    match alert {
        AlertDescription::CertificateRequired => Verdict::wrong(
            "the server demands a certificate of ours, and there is none",
            format!("set {ours}"),
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => Verdict::wrong(
            format!("the server refuses our certificate, or wants one ({alert:?})"),
            format!("compare {ours} with what the server trusts"),
        ),
        AlertDescription::UnrecognisedName => {
            Verdict::wrong("the server knows no host of that name", rename(whose))
        }
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => Verdict::wrong(
            format!(
                "the server refuses the handshake ({alert:?}): no version or cipher in common, or it wants a certificate"
            ),
            format!("have it speak TLS 1.2 or 1.3; set {ours} if it asks for one"),
        ),
        other => {
            Verdict::wrong(format!("the server refuses the handshake ({other:?})"), "look at its own log")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(error: Error) -> String {
        tls(&error, "idp.example", Whose::Upstream, UnixTime::from_seconds(10 * 86_400)).seen
    }

    #[test]
    fn certificates_are_judged_in_words() {
        let of = |problem| seen(Error::InvalidCertificate(problem));
        let at = |days: u64| {
            rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(days * 86_400))
        };
        assert_eq!(
            of(CertificateError::ExpiredContext { time: at(10), not_after: at(7) }),
            "the certificate ended 3 days ago"
        );
        let presented = vec!["DnsName(\"a.example\")".to_owned(), "DnsName(\"b\u{1b}[2J\")".to_owned()];
        let expected = rustls::pki_types::ServerName::try_from("idp.example").unwrap();
        assert_eq!(
            of(CertificateError::NotValidForNameContext { expected, presented }),
            "the certificate is for a.example, b[2J, not for idp.example"
        );
        assert_eq!(of(CertificateError::UnknownIssuer), "the certificate's issuer is not trusted");
    }

    #[test]
    fn the_error_is_found_wherever_it_is_wrapped() {
        let inner = Error::AlertReceived(AlertDescription::CertificateRequired);
        let wrapped = std::io::Error::other(std::io::Error::other(inner));
        let verdict = tls(&wrapped, "x", Whose::Upstream, UnixTime::from_seconds(0));
        assert_eq!(verdict.remedy.as_deref(), Some("set the upstream's `tls.client_certificate`"));
    }
}
