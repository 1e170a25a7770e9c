//! The metadata document itself: where it is, and what is taken from it. Pure.

use std::fmt;

use serde_json::Value;
use url::Host;
use url::Url;

use crate::config::is_loopback;
use crate::net::off_limits::is_off_limits;

/// An endpoint of an authorization server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// Where users sign in.
    Authorization,
    /// Where tokens are asked about (RFC 7662).
    Introspection,
    /// Where its keys are: `jwks_uri`.
    Keys,
    /// Where tokens are exchanged.
    Token,
}

impl Endpoint {
    const ALL: [Self; 4] = [Self::Authorization, Self::Introspection, Self::Keys, Self::Token];

    /// Its name in the document (RFC 8414 section 2).
    pub fn name(self) -> &'static str {
        match self {
            Self::Authorization => "authorization_endpoint",
            Self::Introspection => "introspection_endpoint",
            Self::Keys => "jwks_uri",
            Self::Token => "token_endpoint",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a document is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No JSON object with a text `issuer`.
    #[error("the metadata is not a JSON object with an issuer")]
    NotMetadata,
    /// It speaks for another issuer: it must not be used (RFC 8414 section 3.3).
    #[error(transparent)]
    WrongIssuer(#[from] Mismatch),
    /// Secrets and tokens would go there in the clear.
    #[error(
        "the {0} in the metadata is neither https nor, beside a loopback issuer, loopback; or it is link-local"
    )]
    Unsafe(Endpoint),
}

/// Who publishes a document, and who should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the metadata is of the issuer {named}, and not of {expected}")]
pub struct Mismatch {
    named: String,
    expected: String,
}

impl Mismatch {
    /// Longest name that is repeated, in characters.
    const LONGEST: usize = 200;

    /// Of a document that names `named`, in words that can stand in a log: whoever answers there wrote it.
    pub fn new(named: &str, expected: &str) -> Self {
        let printable = |c: char| if c.is_ascii_graphic() { c } else { '?' };
        Self {
            named: named.chars().take(Self::LONGEST).map(printable).collect(),
            expected: expected.to_owned(),
        }
    }
}

/// What is taken from a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    endpoints: Vec<(Endpoint, Url)>,
    mtls_aliases: Vec<(Endpoint, Url)>,
}

impl Document {
    /// The document in `bytes`, if it is that of `issuer` to the byte.
    ///
    /// # Errors
    /// If it is not, or an endpoint in it must not be used.
    pub fn parse(bytes: &[u8], issuer: &str) -> Result<Self, Error> {
        let document: Value = serde_json::from_slice(bytes).map_err(|_| Error::NotMetadata)?;
        let named = document.get("issuer").and_then(Value::as_str).ok_or(Error::NotMetadata)?;
        if named != issuer {
            return Err(Mismatch::new(named, issuer).into());
        }
        let issuer = Url::parse(issuer).ok();
        let mtls_aliases = match document.get("mtls_endpoint_aliases") {
            Some(aliases) => endpoints(aliases, issuer.as_ref())?,
            None => Vec::new(),
        };
        Ok(Self { endpoints: endpoints(&document, issuer.as_ref())?, mtls_aliases })
    }

    /// Where `endpoint` is.
    pub fn endpoint(&self, endpoint: Endpoint) -> Option<&Url> {
        find(&self.endpoints, endpoint)
    }

    /// Where it is for clients that authenticate by TLS certificate (RFC 8705 section 5).
    pub fn mtls_alias(&self, endpoint: Endpoint) -> Option<&Url> {
        find(&self.mtls_aliases, endpoint)
    }
}

/// Where the document of the issuer at `url` may be, in the order in which to look: that of OpenID Connect Discovery 1.0
/// section 4, then that of RFC 8414 section 3.
pub fn addresses(url: &Url) -> [Url; 2] {
    let path = url.path().trim_end_matches('/');
    let paths = [
        format!("{path}/.well-known/openid-configuration"),
        format!("/.well-known/oauth-authorization-server{path}"),
    ];
    paths.map(|path| {
        let mut address = url.clone();
        address.set_path(&path);
        address
    })
}

fn endpoints(object: &Value, issuer: Option<&Url>) -> Result<Vec<(Endpoint, Url)>, Error> {
    let named = Endpoint::ALL.iter().filter_map(|endpoint| {
        let value = object.get(endpoint.name()).filter(|value| !value.is_null())?;
        Some((*endpoint, value))
    });
    named
        .map(|(endpoint, value)| {
            let url = value.as_str().and_then(|text| Url::parse(text).ok());
            let safe = url.filter(|url| is_safe(url, issuer)).ok_or(Error::Unsafe(endpoint))?;
            Ok((endpoint, safe))
        })
        .collect()
}

fn find(endpoints: &[(Endpoint, Url)], wanted: Endpoint) -> Option<&Url> {
    endpoints.iter().find(|(endpoint, _)| *endpoint == wanted).map(|(_, url)| url)
}

/// Whether tokens may be sent to `url`, and keys believed that come from there, by the word of `issuer`.
fn is_safe(url: &Url, issuer: Option<&Url>) -> bool {
    match url.scheme() {
        "https" => !leads_off_limits(url) || issuer.is_some_and(|issuer| issuer.host() == url.host()),
        "http" => issuer.is_some_and(is_loopback) && is_loopback(url),
        _ => false,
    }
}

/// Whether the host is an address that only a configuration may name.
fn leads_off_limits(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_off_limits(address.into()),
        Some(Host::Ipv6(address)) => is_off_limits(address.into()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example/realms/b2b";

    fn parsed(document: &Value, issuer: &str) -> Result<Document, Error> {
        Document::parse(document.to_string().as_bytes(), issuer)
    }

    #[test]
    fn a_document_is_looked_for_where_both_standards_put_it() {
        for (issuer, expected) in [
            (
                "https://id.example",
                [
                    "https://id.example/.well-known/openid-configuration",
                    "https://id.example/.well-known/oauth-authorization-server",
                ],
            ),
            (
                "https://id.example/realms/b2b/",
                [
                    "https://id.example/realms/b2b/.well-known/openid-configuration",
                    "https://id.example/.well-known/oauth-authorization-server/realms/b2b",
                ],
            ),
            (
                "http://127.0.0.1:8080/a",
                [
                    "http://127.0.0.1:8080/a/.well-known/openid-configuration",
                    "http://127.0.0.1:8080/.well-known/oauth-authorization-server/a",
                ],
            ),
        ] {
            let found = addresses(&issuer.parse().unwrap()).map(String::from);
            assert_eq!(found, expected, "{issuer}");
        }
    }

    #[test]
    fn endpoints_are_taken_from_the_issuers_own_document_alone() {
        let document = json!({
            "issuer": ISSUER,
            "token_endpoint": "https://id.example/token",
            "jwks_uri": "https://keys.example/",
            "introspection_endpoint": null,
            "mtls_endpoint_aliases": {"token_endpoint": "https://mtls.example/token", "other": 7},
        });
        let read = parsed(&document, ISSUER).unwrap();
        let text = |endpoint| read.endpoint(endpoint).map(Url::as_str);
        assert_eq!(text(Endpoint::Token), Some("https://id.example/token"));
        assert_eq!(text(Endpoint::Keys), Some("https://keys.example/"));
        assert_eq!(text(Endpoint::Introspection), None);
        assert_eq!(text(Endpoint::Authorization), None);
        assert_eq!(read.mtls_alias(Endpoint::Token).map(Url::as_str), Some("https://mtls.example/token"));
        assert_eq!(read.mtls_alias(Endpoint::Keys), None);
        for other in ["https://id.example/realms/b2b/", "https://ID.example/realms/b2b", "https://id.example"]
        {
            assert_eq!(parsed(&document, other), Err(Mismatch::new(ISSUER, other).into()), "{other}");
        }
    }

    #[test]
    fn no_endpoint_is_reached_in_the_clear_but_on_loopback_or_is_link_local_but_beside_its_issuer() {
        const LOCAL: &str = "http://127.0.0.1:8080";
        for (issuer, url, is_safe) in [
            (ISSUER, "https://elsewhere.example/token", true),
            (ISSUER, "https://169.254.169.254/token", false),
            (ISSUER, "https://0xa9fea9fe/token", false),
            (ISSUER, "https://[::ffff:169.254.169.254]/token", false),
            (ISSUER, "https://[fd00:ec2::254]/token", false),
            (ISSUER, "https://10.0.0.1/token", true),
            ("https://169.254.7.7", "https://169.254.7.7/token", true),
            ("https://169.254.7.7", "https://169.254.169.254/token", false),
            (ISSUER, "http://id.example/token", false),
            (ISSUER, "http://127.0.0.1/token", false),
            (LOCAL, "http://127.0.0.1:8080/token", true),
            (LOCAL, "http://localhost/token", true),
            (LOCAL, "http://[::1]/token", true),
            (LOCAL, "http://10.0.0.1/token", false),
            (LOCAL, "http://127.0.0.1.evil.example/token", false),
            (LOCAL, "file:///etc/passwd", false),
            (LOCAL, "/token", false),
        ] {
            let plain = json!({"issuer": issuer, "token_endpoint": url});
            let alias = json!({"issuer": issuer, "mtls_endpoint_aliases": {"token_endpoint": url}});
            for document in [plain, alias] {
                let read = parsed(&document, issuer);
                assert_eq!(read.err(), (!is_safe).then_some(Error::Unsafe(Endpoint::Token)), "{document}");
            }
        }
        let odd = json!({"issuer": ISSUER, "jwks_uri": 7});
        assert_eq!(parsed(&odd, ISSUER), Err(Error::Unsafe(Endpoint::Keys)));
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        for text in ["", "<html>", "[]", "{}", r#"{"issuer":1}"#, r#"{"issuer":null}"#] {
            assert_eq!(Document::parse(text.as_bytes(), ISSUER), Err(Error::NotMetadata), "{text}");
        }
    }
}
