//! The form that is sent to the token endpoint: the JWT bearer grant (RFC 7523) On-Behalf-Of a user.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow>
//!
//! **In:** provider, route's exchange, token A, the proof that it is us. **Out:** parameters, and the encoded form. **Never:** a
//! parameter twice, a secret unencoded, I/O.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderValue;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::config::Exchange;
use crate::config::IdentityProvider;
use crate::domain::token::UserToken;
use crate::pipeline::exchange::credential::Proof;

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
    /// The proof that it is us, where it is not in the form.
    pub authorization: Option<HeaderValue>,
}

impl<'a> Grant<'a> {
    /// A request for `exchange` on behalf of the user of `assertion`, as the client that `proof` shows us to be.
    pub fn on_behalf_of(
        provider: &'a IdentityProvider,
        exchange: &'a Exchange,
        assertion: &'a UserToken,
        proof: &'a Proof,
    ) -> Self {
        let mut parameters: Vec<(&str, Cow<'_, str>)> = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer".into()),
            ("assertion", assertion.expose().into()),
            ("requested_token_use", "on_behalf_of".into()),
            ("scope", exchange.scopes.join(" ").into()),
        ];
        if let Some(kind) = exchange.requested_token_type {
            parameters.push(("requested_token_type", kind.uri().into()));
        }
        parameters.extend(proof.parameters.iter().map(|(name, value)| (*name, value.expose().into())));
        let extra = provider.parameters.iter().filter(|(name, _)| !OURS.contains(&name.as_str()));
        parameters.extend(extra.map(|(name, value)| (name.as_str(), value.as_str().into())));
        Self { parameters, authorization: proof.authorization.clone() }
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

#[cfg(test)]
mod tests;
