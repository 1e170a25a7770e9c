//! A provider's metadata document (OpenID Connect Discovery 1.0 section 4.3, RFC 8414 section 3.3): who publishes it,
//! and where the keys are. Pure.

use serde_json::Value;
use url::Host;
use url::Url;

use crate::config::Entra;
use crate::config::EntraVersion;
use crate::config::Tenancy;
use crate::domain::tenant::TenantId;
use crate::net::metadata::Mismatch;
use crate::pipeline::authenticate::issuer;

/// What is taken from a metadata document.
#[derive(Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Where the keys are.
    pub jwks_uri: Url,
    /// The tenant it speaks of; `None` at an endpoint that several share.
    pub tenant: Option<TenantId>,
}

/// Why a metadata document is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No JSON object with texts `issuer` and `jwks_uri`.
    #[error("the metadata is not a JSON object with issuer and jwks_uri")]
    NotMetadata,
    /// It speaks for another issuer: it must not be used (RFC 8414 section 3.3).
    #[error(transparent)]
    WrongIssuer(#[from] Mismatch),
    /// Keys fetched from there could be anybody's.
    #[error("the metadata's jwks_uri is neither https nor, beside a loopback authority, loopback")]
    UnsafeJwksUri,
}

/// The metadata in `bytes`, if it is that of the issuer `entra` expects for tokens of that version.
///
/// # Errors
/// If it is not.
pub fn parse(bytes: &[u8], entra: &Entra, version: EntraVersion) -> Result<Metadata, Error> {
    let document: Value = serde_json::from_slice(bytes).map_err(|_| Error::NotMetadata)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str).ok_or(Error::NotMetadata);
    let (issuer, jwks_uri) = (text("issuer")?, text("jwks_uri")?);
    let expected = match &entra.tenancy {
        Tenancy::Id(id) => entra.issuer(version, id.as_str()),
        Tenancy::Domain(_) | Tenancy::Shared { .. } => entra.issuer(version, issuer::TENANT),
    };
    let tenant = match &entra.tenancy {
        Tenancy::Id(id) => (expected == issuer).then(|| Some(id.clone())),
        Tenancy::Domain(_) => issuer::tenant_in(entra, version, issuer).map(Some),
        Tenancy::Shared { .. } => (expected == issuer).then_some(None),
    };
    let tenant = tenant.ok_or_else(|| Mismatch::new(issuer, &expected))?;
    let jwks_uri = Url::parse(jwks_uri).map_err(|_| Error::UnsafeJwksUri)?;
    let is_safe = match jwks_uri.scheme() {
        "https" => true,
        "http" => is_loopback(&jwks_uri) && is_loopback(&entra.authority),
        _ => false,
    };
    if is_safe { Ok(Metadata { jwks_uri, tenant }) } else { Err(Error::UnsafeJwksUri) }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::pipeline::authenticate::testing::OTHER_TENANT;
    use crate::pipeline::authenticate::testing::TENANT;
    use crate::pipeline::authenticate::testing::entra;
    use crate::pipeline::authenticate::testing::entra_at;
    use crate::pipeline::authenticate::testing::tenant;

    const KEYS: &str = "https://login.microsoftonline.com/common/discovery/v2.0/keys";

    fn document(issuer: &str, jwks_uri: &str) -> Vec<u8> {
        json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string().into_bytes()
    }

    fn v2(tenant: &str) -> String {
        format!("https://login.microsoftonline.com/{tenant}/v2.0")
    }

    #[test]
    fn the_issuer_must_be_the_expected_one_to_the_byte() {
        let ours = || tenant(TENANT);
        let shared = || Tenancy::Shared { endpoint: "common".into(), allowed: vec![ours()] };
        let domain = || Tenancy::Domain("contoso.example".into());
        for (tenancy, issuer, found) in [
            (Tenancy::Id(ours()), v2(TENANT), Some(Some(ours()))),
            (Tenancy::Id(ours()), v2(OTHER_TENANT), None),
            (Tenancy::Id(ours()), v2("{tenantid}"), None),
            (Tenancy::Id(ours()), format!("{}/", v2(TENANT)), None),
            (Tenancy::Id(ours()), format!("https://sts.windows.net/{TENANT}/"), None),
            (shared(), v2("{tenantid}"), Some(None)),
            (shared(), v2(TENANT), None),
            (domain(), v2(OTHER_TENANT), Some(Some(tenant(OTHER_TENANT)))),
            (domain(), v2("contoso.example"), None),
            (domain(), "https://evil.example".to_owned(), None),
        ] {
            let read = parse(&document(&issuer, KEYS), &entra(tenancy), EntraVersion::V2);
            match (read, found) {
                (Ok(metadata), Some(tenant)) => assert_eq!(metadata.tenant, tenant, "{issuer}"),
                (Err(Error::WrongIssuer(told)), None) => {
                    let told = told.to_string();
                    assert!(told.contains(&issuer) && told.matches("https://").count() == 2, "{told}");
                }
                (read, _) => panic!("{issuer}: {read:?}"),
            }
        }
        let v1 = format!("https://sts.windows.net/{TENANT}/");
        assert!(parse(&document(&v1, KEYS), &entra(Tenancy::Id(ours())), EntraVersion::V1).is_ok());
    }

    #[test]
    fn keys_come_over_tls_unless_the_whole_provider_is_on_loopback() {
        for (authority, uri, is_safe) in [
            ("https://login.microsoftonline.com", KEYS, true),
            ("https://login.microsoftonline.com", "http://login.microsoftonline.com/keys", false),
            ("https://login.microsoftonline.com", "http://127.0.0.1/keys", false),
            ("http://127.0.0.1:8090", "http://127.0.0.1:8090/keys", true),
            ("http://127.0.0.1:8090", "http://localhost/keys", true),
            ("http://127.0.0.1:8090", "http://[::1]/keys", true),
            ("http://127.0.0.1:8090", "http://10.0.0.1/keys", false),
            ("http://127.0.0.1:8090", "http://127.0.0.1.evil.example/keys", false),
            ("http://127.0.0.1:8090", "https://keys.example/keys", true),
            ("http://127.0.0.1:8090", "file:///etc/passwd", false),
            ("http://127.0.0.1:8090", "/keys", false),
        ] {
            let entra = entra_at(authority, Tenancy::Id(tenant(TENANT)));
            let issuer = entra.issuer(EntraVersion::V2, TENANT);
            let read = parse(&document(&issuer, uri), &entra, EntraVersion::V2);
            assert_eq!(read.is_ok(), is_safe, "{authority} {uri}");
        }
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        for text in ["", "<html>", "[]", "{}", r#"{"issuer":1,"jwks_uri":"https://x"}"#, r#"{"issuer":"x"}"#]
        {
            let read = parse(text.as_bytes(), &entra(Tenancy::Id(tenant(TENANT))), EntraVersion::V2);
            assert_eq!(read, Err(Error::NotMetadata), "{text}");
        }
    }
}
