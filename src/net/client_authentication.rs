//! How a request says to an authorization server that it is ours (RFC 6749 section 2.3). Who makes the proofs is not
//! for those to know who send them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http::HeaderValue;

use crate::config::IdentityProvider;
use crate::domain::secret::Secret;
use crate::net::BoxError;
use crate::net::client::Client;

/// What makes the server believe that one request is ours.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// What to add to the form.
    pub parameters: Vec<(&'static str, Secret)>,
    /// What to send in the `Authorization` header.
    pub authorization: Option<HeaderValue>,
    /// Whom to send it through, if our certificate is shown in the TLS handshake.
    pub client: Option<Client>,
}

/// A proof that is being made. Dropping it ends the making.
pub type Proving<'a> = Pin<Box<dyn Future<Output = Option<Result<Proof, BoxError>>> + Send + 'a>>;

/// Makes proofs.
pub trait ClientAuthentication: fmt::Debug + Send + Sync {
    /// A proof for one request to `endpoint` of `provider`, by the next of our credentials after the first `refused`
    /// ones: two are configured while one replaces the other. `None` if there is no further one.
    fn proof<'a>(&'a self, provider: &'a IdentityProvider, endpoint: &'a str, refused: usize) -> Proving<'a>;
}
