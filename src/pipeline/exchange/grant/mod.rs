//! The form that is sent to the token endpoint: the JWT bearer grant (RFC 7523) On-Behalf-Of a user.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow>
//!
//! **In:** provider, route's exchange, token A, our secret. **Out:** parameters, and the encoded form. **Never:** a
//! parameter twice, a secret unencoded, I/O.

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
            AuthMethod::PrivateKeyJwt | AuthMethod::TlsClientAuth | AuthMethod::None => None,
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
pub(super) fn basic(client_id: &str, secret: &Secret) -> Option<HeaderValue> {
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
mod tests;
