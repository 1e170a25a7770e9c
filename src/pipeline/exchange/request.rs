//! A grant as an HTTP request.

use bytes::Bytes;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::header;
use http_body_util::Full;

use crate::pipeline::exchange::grant::Grant;

/// A token request, and the id by which the IdP's logs know it.
#[derive(Debug)]
pub struct TokenRequest {
    /// What to send.
    pub request: Request<Full<Bytes>>,
    /// Its `client-request-id`; it comes back as `correlation_id`.
    pub id: String,
}

/// Why there is no request to send.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system gives no random bytes.
    #[error("no random bytes for a request id")]
    NoRandomness,
    /// The endpoint is no URI, or an id no header value.
    #[error("the token endpoint or the request id cannot be sent")]
    Unsendable(#[from] http::Error),
}

/// The request that sends `grant` to `endpoint`. It invites no compression, as nothing here undoes one.
///
/// # Errors
/// If the endpoint is no URI, or there are no random bytes.
pub fn token_request(endpoint: &str, grant: &Grant<'_>) -> Result<TokenRequest, Error> {
    let id = random_guid()?;
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(endpoint)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::ACCEPT, "application/json")
        .header("client-request-id", id.as_str())
        .header("return-client-request-id", HeaderValue::from_static("true"))
        .body(Full::new(grant.body()))?;
    if let Some(authorization) = &grant.authorization {
        request.headers_mut().insert(header::AUTHORIZATION, authorization.clone());
    }
    Ok(TokenRequest { request, id })
}

/// A random GUID (RFC 9562 section 5.4).
///
/// # Errors
/// If the operating system gives no random bytes.
pub fn random_guid() -> Result<String, Error> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
    let number = u128::from_be_bytes(bytes);
    let number = number & !(0xf << 76) | (0x4 << 76); // version
    let number = number & !(0x3 << 62) | (0x2 << 62); // variant
    let hex = format!("{number:032x}");
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    Ok(groups.map(|group| hex.get(group).unwrap_or_default()).join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tenant::TenantId;

    #[test]
    fn ids_are_random_guids_of_version_four() {
        let (one, two) = (random_guid().unwrap(), random_guid().unwrap());
        assert_ne!(one, two);
        for id in [one, two] {
            assert!(TenantId::parse(&id).is_some(), "{id}"); // it has the form of a GUID
            assert_eq!(&id[14..15], "4", "{id}");
            assert!("89ab".contains(&id[19..20]), "{id}");
        }
    }

    #[test]
    fn a_request_is_a_form_that_asks_for_plain_json() {
        let grant = Grant { parameters: vec![("a", "b c".into())], authorization: None };
        let sent = token_request("https://login.example/t/oauth2/v2.0/token", &grant).unwrap();
        let headers = sent.request.headers();
        assert_eq!(sent.request.method(), Method::POST);
        assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(headers["accept"], "application/json");
        assert_eq!(headers["client-request-id"], sent.id.as_str());
        assert_eq!(headers["return-client-request-id"], "true");
        assert!(!headers.contains_key("accept-encoding") && !headers.contains_key("authorization"));
    }

    #[test]
    fn an_endpoint_that_is_no_uri_is_an_error() {
        let grant = Grant { parameters: vec![], authorization: None };
        assert!(matches!(token_request("not a uri", &grant), Err(Error::Unsendable(_))));
    }
}
