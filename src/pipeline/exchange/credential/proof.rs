//! How one request says who we are: in the form, in a header, or by the connection it comes on.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::domain::digest::Digest;
use crate::domain::secret::Secret;
use crate::net::client::Client;

/// RFC 7523 section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What makes the IdP believe that a request is ours.
#[derive(Clone, Debug)]
pub struct Proof {
    /// What to add to the form, each once.
    pub parameters: Vec<(&'static str, Secret)>,
    /// What to send in the `Authorization` header.
    pub authorization: Option<HeaderValue>,
    /// Whom to send it through, if our certificate is shown in the TLS handshake.
    pub client: Option<Client>,
    /// Tells the content of the credential from another: what changes with every request left out.
    pub content: Digest,
}

impl Proof {
    /// No proof: `client_id` alone, if there is one.
    pub fn none(client_id: &str) -> Self {
        Self { parameters: vec![], authorization: None, client: None, content: Digest::of(&[]) }
            .naming(client_id)
    }

    /// A secret in the form (RFC 6749 section 2.3.1).
    pub fn post(client_id: &str, secret: &Secret) -> Self {
        let content = Digest::of(secret.expose().as_bytes());
        Self { content, ..Self::none(client_id) }.with("client_secret", secret.clone())
    }

    /// A secret in the header (RFC 6749 section 2.3.1). The client id is there too, and nowhere else.
    pub fn basic(client_id: &str, secret: &Secret) -> Option<Self> {
        let content = Digest::of(secret.expose().as_bytes());
        let authorization = Some(basic(client_id, secret)?);
        Some(Self { authorization, content, ..Self::none("") })
    }

    /// A client assertion (RFC 7523 section 2.2), made of a credential with that `content`.
    pub fn assertion(client_id: &str, assertion: Secret, content: Digest) -> Self {
        Self { content, ..Self::none(client_id) }
            .with("client_assertion_type", Secret::new(JWT_BEARER.into()))
            .with("client_assertion", assertion)
    }

    /// The certificate that `client` shows (RFC 8705 section 2), with that `content`.
    pub fn tls(client_id: &str, client: Client, content: Digest) -> Self {
        Self { client: Some(client), content, ..Self::none(client_id) }
    }

    /// The same, with the client id in the form as well.
    pub fn naming(self, client_id: &str) -> Self {
        let is_named = self.parameters.iter().any(|(name, _)| *name == "client_id");
        match client_id.is_empty() || is_named {
            true => self,
            false => self.with("client_id", Secret::new(client_id.into())),
        }
    }

    fn with(mut self, name: &'static str, value: Secret) -> Self {
        self.parameters.push((name, value));
        self
    }
}

/// Id and secret are form-encoded before they are joined.
fn basic(client_id: &str, secret: &Secret) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(String::with_capacity(3 * (client_id.len() + secret.expose().len()) + 1));
    pair.extend(form_urlencoded::byte_serialize(client_id.as_bytes()));
    pair.push(':');
    pair.extend(form_urlencoded::byte_serialize(secret.expose().as_bytes()));
    let mut value = Zeroizing::new(String::with_capacity(6 + 4 * pair.len().div_ceil(3)));
    value.push_str("Basic ");
    BASE64_STANDARD.encode_string(pair.as_bytes(), &mut value);
    let bytes = Bytes::from_owner(Zeroizing::new(std::mem::take(&mut *value).into_bytes()));
    let mut value = HeaderValue::from_maybe_shared(bytes).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(proof: &Proof) -> Vec<(&str, &str)> {
        proof.parameters.iter().map(|(name, value)| (*name, value.expose())).collect()
    }

    #[test]
    fn each_method_puts_its_proof_in_one_place_only() {
        let secret = Secret::new("s3cret".into());
        let content = Digest::of(b"content");
        let client = Client::plain().unwrap();
        let assertion = ["client_assertion_type", "client_assertion"];
        for (proof, names) in [
            (Proof::none("us"), &["client_id"][..]),
            (Proof::none(""), &[]),
            (Proof::post("us", &secret), &["client_id", "client_secret"]),
            (Proof::basic("us", &secret).unwrap(), &[]),
            (Proof::basic("us", &secret).unwrap().naming("us").naming("us"), &["client_id"]),
            (Proof::assertion("us", secret.clone(), content), &["client_id", assertion[0], assertion[1]]),
            (Proof::tls("us", client, content), &["client_id"]),
        ] {
            let found: Vec<_> = shown(&proof).into_iter().map(|(name, _)| name).collect();
            assert_eq!(found, names, "{proof:?}");
            assert!(!format!("{proof:?}").contains("s3cret"));
        }
        let sent = Proof::assertion("us", secret, content);
        assert_eq!(
            shown(&sent)[1..],
            [
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", "s3cret")
            ]
        );
    }

    #[test]
    fn id_and_secret_are_form_encoded_within_the_header() {
        let proof = Proof::basic("orders proxy", &Secret::new("p:w+%é".into())).unwrap();
        let authorization = proof.authorization.unwrap();
        assert!(authorization.is_sensitive());
        let encoded = authorization.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(BASE64_STANDARD.decode(encoded).unwrap(), b"orders+proxy:p%3Aw%2B%25%C3%A9");
    }

    #[test]
    fn proofs_of_one_content_are_told_from_those_of_another() {
        let content = |secret: &str| Proof::post("us", &Secret::new(secret.into())).content;
        assert_eq!(content("a"), content("a"));
        assert_ne!(content("a"), content("b"));
    }
}
