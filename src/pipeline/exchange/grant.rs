//! The form that is sent to the token endpoint: the JWT bearer grant (RFC 7523) On-Behalf-Of a user.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow>

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::config::AuthMethod;
use crate::config::Exchange;
use crate::config::IdentityProvider;
use crate::domain::secret::Secret;
use crate::domain::token::UserToken;

/// Parameters the grant itself decides on: the configuration adds to them, and never replaces one.
const OURS: [&str; 9] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion_type",
    "client_assertion",
    "assertion",
    "requested_token_use",
    "scope",
    "requested_token_type",
];

/// What a token request says. It has no `Debug`: it holds token A and our secret.
pub struct Grant<'a> {
    /// The form's parameters, each once.
    pub parameters: Vec<(&'a str, Cow<'a, str>)>,
    /// Our credential, where it is not in the form.
    pub authorization: Option<HeaderValue>,
}

impl<'a> Grant<'a> {
    /// A request for `exchange` on behalf of the user of `assertion`, as the client `provider` says we are.
    pub fn on_behalf_of(
        provider: &'a IdentityProvider,
        exchange: &'a Exchange,
        assertion: &'a UserToken,
        secret: &'a Secret,
    ) -> Self {
        let mut parameters: Vec<(&str, Cow<'_, str>)> = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".into()),
            ("client_id", provider.client_id.as_str().into()),
            ("assertion", assertion.expose().into()),
            ("requested_token_use", "on_behalf_of".into()),
            ("scope", exchange.scopes.join(" ").into()),
        ];
        if let Some(kind) = exchange.requested_token_type {
            parameters.push(("requested_token_type", kind.uri().into()));
        }
        let authorization = match provider.auth_method {
            AuthMethod::ClientSecretPost => {
                parameters.push(("client_secret", secret.expose().into()));
                None
            }
            AuthMethod::ClientSecretBasic => basic(&provider.client_id, secret),
        };
        let extra = provider.parameters.iter().filter(|(name, _)| !OURS.contains(&name.as_str()));
        parameters.extend(extra.map(|(name, value)| (name.as_str(), value.as_str().into())));
        Self { parameters, authorization }
    }

    /// The form, encoded. Its memory is wiped when the last clone is dropped.
    pub fn body(&self) -> Bytes {
        // a byte becomes three at most: with this much room no copy is left behind by growing
        let room = self.parameters.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(room));
        form.extend_pairs(&self.parameters);
        Bytes::from_owner(Zeroizing::new(form.finish().into_bytes()))
    }
}

/// RFC 6749 section 2.3.1: id and secret are form-encoded before they are joined.
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
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::TokenType;
    use crate::pipeline::exchange::tests::sample;

    fn decoded(body: &[u8]) -> BTreeMap<String, String> {
        let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
        let form: BTreeMap<String, String> = pairs.iter().cloned().collect();
        assert_eq!(form.len(), pairs.len(), "a parameter stands twice");
        form
    }

    fn sent(
        provider: &IdentityProvider,
        exchange: &Exchange,
        token: &str,
        secret: &str,
    ) -> (BTreeMap<String, String>, Option<HeaderValue>) {
        let caller = sample::caller_of(token, &serde_json::json!({}));
        let secret = Secret::new(secret.into());
        let grant = Grant::on_behalf_of(provider, exchange, &caller.token, &secret);
        (decoded(&grant.body()), grant.authorization)
    }

    #[test]
    fn the_forms_are_those_of_microsofts_page() {
        for (id, scopes) in [
            ("TV-Q1", &["https://graph.microsoft.com/user.read", "offline_access"][..]),
            ("TV-Q2", &["https://graph.microsoft.com/user.read"]),
        ] {
            let body = sample::seed(id)["body"].as_str().unwrap().to_owned();
            let expected = decoded(body.as_bytes());
            let provider = IdentityProvider {
                client_id: expected["client_id"].clone(),
                ..sample::provider("https://login.example")
            };
            let (form, authorization) = sent(
                &provider,
                &sample::exchange(scopes),
                &expected["assertion"],
                &expected["client_secret"],
            );
            assert_eq!(form, expected, "{id}");
            assert_eq!(expected["assertion"], sample::seed_token("TV-J1"), "{id}");
            assert!(authorization.is_none());
        }
    }

    #[test]
    fn a_secret_survives_the_encoding_whatever_it_holds() {
        let provider = sample::provider("https://login.example");
        for secret in ["0Y1W+Y3yYb3d9N8vSjvm8WrGzVZaAaHbHHcGbcgG+oI=", "a b&c=d%2B~.é", "\u{1f511}\n"] {
            let (form, _) = sent(&provider, &sample::exchange(&["a"]), "a.b.c", secret);
            assert_eq!(form["client_secret"], secret);
        }
        let secret = Secret::new("a+b".into());
        let caller = sample::caller("alice", 1);
        let exchange = sample::exchange(&["a"]);
        let body = Grant::on_behalf_of(&provider, &exchange, &caller.token, &secret).body();
        assert!(std::str::from_utf8(&body).unwrap().contains("client_secret=a%2Bb"));
    }

    #[test]
    fn basic_authentication_takes_the_secret_out_of_the_form() {
        let provider = IdentityProvider {
            client_id: "orders proxy".into(),
            auth_method: AuthMethod::ClientSecretBasic,
            ..sample::provider("https://login.example")
        };
        let (form, authorization) = sent(&provider, &sample::exchange(&["a"]), "a.b.c", "p:w+%é");
        assert_eq!(form["client_id"], "orders proxy");
        assert!(!form.contains_key("client_secret"));
        let authorization = authorization.unwrap();
        assert!(authorization.is_sensitive());
        let encoded = authorization.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(BASE64_STANDARD.decode(encoded).unwrap(), b"orders+proxy:p%3Aw%2B%25%C3%A9");
    }

    #[test]
    fn extra_parameters_are_added_and_never_replace_ours() {
        let extra = |name: &str| (name.to_owned(), "extra".to_owned());
        let provider = IdentityProvider {
            parameters: OURS.iter().map(|name| extra(name)).chain([extra("resource")]).collect(),
            ..sample::provider("https://login.example")
        };
        let exchange = Exchange { scopes: vec!["a".into()], requested_token_type: Some(TokenType::Saml2) };
        let (form, _) = sent(&provider, &exchange, "a.b.c", "right");
        let expected = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("client_id", "625391af-c675-43e5-8e44-edd3e30ceb15"),
            ("client_secret", "right"),
            ("assertion", "a.b.c"),
            ("requested_token_use", "on_behalf_of"),
            ("scope", "a"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:saml2"),
            ("resource", "extra"),
        ];
        assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }
}
