//! Our own credentials: who we are, proven anew with each request.
//!
//! **In:** a provider's configured credentials, and what is in their files now. **Out:** a [`Proof`] for one request,
//! or why there is none. **Never:** a restart to use a new file; the content of a file in an error.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::AssertionAudience;
use crate::config::AuthMethod;
use crate::config::Credential;
use crate::config::IdentityProvider;
use crate::domain::clock::Clock;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::secret::Secret;
use crate::net::client::Client;
use crate::pipeline::exchange::credential::assertion::Signer;
use crate::pipeline::exchange::credential::assertion::Statement;
use crate::pipeline::exchange::credential::error::What;
use crate::pipeline::exchange::credential::file::Reader;
use crate::pipeline::exchange::credential::keeper::Keeper;
use crate::pipeline::exchange::credential::managed_identity::Tokens;
use crate::pipeline::exchange::request::random_guid;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;

pub mod assertion;
pub mod certificate;
pub mod error;
pub mod federated;
pub mod file;
mod keeper;
pub mod managed_identity;
mod proof;

pub use error::Error;
pub use proof::Proof;

/// How long an assertion of ours may be used at Entra.
const ENTRA_LIFETIME: Duration = Duration::from_secs(300);
/// How long it may be used elsewhere: TokenX takes none that lives longer.
const LIFETIME: Duration = Duration::from_secs(120);

/// Proves who we are, to every identity provider.
#[derive(Debug)]
pub struct Provers {
    by_name: HashMap<Name, Arc<Prover>>,
    files: Arc<Reader>,
    signing: Arc<Semaphore>,
}

/// Proves to one identity provider who we are.
#[derive(Debug)]
pub struct Prover {
    provider: Arc<IdentityProvider>,
    means: Vec<Means>,
    files: Arc<Reader>,
    /// As many sign at the same time as there are cores: more threads would only take memory.
    signing: Arc<Semaphore>,
    clock: Clock,
    metrics: Arc<Metrics>,
}

/// One way to prove it.
#[derive(Debug)]
pub struct Means(Kind);

#[derive(Debug)]
enum Kind {
    /// There is nothing to prove.
    Nothing,
    Secret(Secret),
    SecretFile(PathBuf),
    Signature(Keeper<Signer>),
    Tls(Keeper<Client>),
    FederatedToken(PathBuf),
    ManagedIdentity(Arc<Tokens>),
}

/// To whom it is proven: what an assertion may be addressed to.
#[derive(Clone, Copy, Debug)]
pub struct Audience<'a> {
    /// The URL of the endpoint that is asked.
    pub endpoint: &'a str,
    /// The issuer whose endpoint it is.
    pub issuer: &'a str,
}

impl Provers {
    /// For these providers. `client` asks for the tokens of managed identities.
    pub fn new(
        providers: &[Arc<IdentityProvider>],
        client: &Client,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        let signing = Arc::new(Semaphore::new(cores));
        let none = Self { by_name: HashMap::new(), files: Arc::default(), signing };
        none.succeeding(providers, client, clock, metrics)
    }

    /// For these providers, in their place: for those that did not change there are the same.
    pub fn succeeding(
        &self,
        providers: &[Arc<IdentityProvider>],
        client: &Client,
        clock: &Clock,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let credentials = providers.iter().flat_map(|provider| &provider.credentials);
        let paths = credentials.filter_map(|credential| match credential {
            Credential::SecretFile(path) | Credential::FederatedToken(path) => Some(path.as_path()),
            Credential::Secret(_) | Credential::Certificate(_) | Credential::ManagedIdentity(_) => None,
        });
        self.files.forget_all_but(&paths.collect::<Vec<_>>());
        let prover = |provider: &Arc<IdentityProvider>| match self.by_name.get(&provider.name) {
            Some(same) if same.provider == *provider => same.clone(),
            _ => Arc::new(Prover {
                provider: provider.clone(),
                means: means(provider, client, clock),
                files: self.files.clone(),
                signing: self.signing.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
            }),
        };
        let by_name = providers.iter().map(|provider| (provider.name.clone(), prover(provider)));
        Self { by_name: by_name.collect(), files: self.files.clone(), signing: self.signing.clone() }
    }

    /// That for the provider of that name.
    pub fn of(&self, provider: &Name) -> Option<&Prover> {
        self.by_name.get(provider).map(|prover| &**prover)
    }

    /// Reads every certificate, so that its end is known before it is used first.
    pub async fn start(&self) {
        for prover in self.by_name.values() {
            prover.start().await;
        }
    }
}

fn means(provider: &IdentityProvider, client: &Client, clock: &Clock) -> Vec<Means> {
    let kind = |credential: &Credential| match credential {
        Credential::Secret(secret) => Kind::Secret(secret.clone()),
        Credential::SecretFile(path) => Kind::SecretFile(path.clone()),
        Credential::Certificate(settings) => match provider.auth_method {
            AuthMethod::TlsClientAuth => Kind::Tls(Keeper::new(settings.clone(), provider.egress.clone())),
            _ => Kind::Signature(Keeper::new(settings.clone(), ())),
        },
        Credential::FederatedToken(path) => Kind::FederatedToken(path.clone()),
        Credential::ManagedIdentity(settings) => {
            let (client, clock) = (client.clone(), clock.clone());
            Kind::ManagedIdentity(Arc::new(Tokens::new(settings.clone(), client, clock, provider.timeout)))
        }
    };
    match provider.auth_method {
        AuthMethod::None => vec![Means(Kind::Nothing)],
        _ => provider.credentials.iter().map(|credential| Means(kind(credential))).collect(),
    }
}

impl Prover {
    /// The ways there are, in the order in which they are to be tried: two while one credential replaces the other.
    pub fn means(&self) -> &[Means] {
        &self.means
    }

    /// A proof for one request to `audience`, waited for no longer than the provider's own answers are.
    ///
    /// # Errors
    /// If the credential cannot be used.
    pub async fn prove(&self, means: &Means, audience: Audience<'_>) -> Result<Proof, Error> {
        let limit = self.provider.timeout;
        let client_id = self.provider.client_id.as_str();
        match &means.0 {
            Kind::Nothing => Ok(Proof::none(client_id)),
            Kind::Secret(secret) => self.secret(secret),
            Kind::SecretFile(path) => {
                self.secret(&self.files.last_line(What::Secret, path, limit, &self.clock).await?)
            }
            Kind::Signature(keeper) => self.signature(keeper, audience).await,
            Kind::Tls(keeper) => {
                let kept = keeper.newest(&self.files, limit).await?;
                self.publish_expiry();
                Ok(Proof::tls(client_id, kept.made.clone(), kept.content))
            }
            Kind::FederatedToken(path) => {
                let what = What::FederatedToken;
                let token = self.files.last_line(what, path, limit, &self.clock).await?;
                match federated::flaw(token.expose(), self.clock.now()) {
                    Some(problem) => Err(Error::Unusable { what, path: path.clone(), problem }),
                    None => Ok(forwarded(client_id, token)),
                }
            }
            Kind::ManagedIdentity(tokens) => {
                Ok(forwarded(client_id, tokens.token(limit).await.map_err(Error::ManagedIdentity)?))
            }
        }
    }

    /// A new proof after one with that `content` was refused: only if the credential has changed in between, as any
    /// other would be refused again.
    pub async fn renewed(&self, means: &Means, audience: Audience<'_>, content: Digest) -> Option<Proof> {
        match &means.0 {
            Kind::Nothing | Kind::Secret(_) => return None,
            Kind::ManagedIdentity(tokens) => tokens.refuse(content),
            Kind::SecretFile(_) | Kind::Signature(_) | Kind::Tls(_) | Kind::FederatedToken(_) => {}
        }
        let proof = self.prove(means, audience).await.ok()?;
        (proof.content != content).then_some(proof)
    }

    async fn start(&self) {
        for means in &self.means {
            let read = match &means.0 {
                Kind::Signature(keeper) => keeper.newest(&self.files, self.provider.timeout).await.err(),
                Kind::Tls(keeper) => keeper.newest(&self.files, self.provider.timeout).await.err(),
                _ => None,
            };
            if let Some(error) = read {
                let identity_provider = &self.provider.name;
                let cause = logs::report(&error);
                tracing::error!(%identity_provider, cause, "a credential cannot be used yet");
            }
        }
        self.publish_expiry();
    }

    fn secret(&self, secret: &Secret) -> Result<Proof, Error> {
        let client_id = self.provider.client_id.as_str();
        match self.provider.auth_method {
            AuthMethod::ClientSecretBasic => {
                let proof = Proof::basic(client_id, secret).ok_or(Error::Unsendable)?;
                // Entra wants the id in the form whatever else there is; others may take it for a second proof
                Ok(if self.provider.entra().is_some() { proof.naming(client_id) } else { proof })
            }
            _ => Ok(Proof::post(client_id, secret)),
        }
    }

    async fn signature(&self, keeper: &Keeper<Signer>, audience: Audience<'_>) -> Result<Proof, Error> {
        let kept = keeper.newest(&self.files, self.provider.timeout).await?;
        self.publish_expiry();
        let content = kept.content;
        let audience = match &keeper.settings().audience {
            AssertionAudience::TokenEndpoint => audience.endpoint,
            AssertionAudience::Issuer => audience.issuer,
            AssertionAudience::Other(other) => other,
        };
        let (client_id, audience) = (self.provider.client_id.clone(), audience.to_owned());
        let lifetime = if self.provider.entra().is_some() { ENTRA_LIFETIME } else { LIFETIME };
        let id = random_guid().map_err(|_| Error::Unsigned)?;
        let turn = self.signing.clone().acquire_owned().await.map_err(|_| Error::Unsigned)?;
        let issued_at = self.clock.now();
        // a signature takes a millisecond, in which others would wait
        let signing = tokio::task::spawn_blocking(move || {
            let statement =
                Statement { client_id: &client_id, audience: &audience, id: &id, issued_at, lifetime };
            let signed = kept.made.sign(statement);
            drop(turn); // not before: whoever waited may be gone, the thread is not
            signed
        });
        let assertion = signing.await.unwrap_or(Err(Error::Unsigned))?;
        Ok(Proof::assertion(&self.provider.client_id, assertion, content))
    }

    /// The end of the certificate that ends first.
    fn publish_expiry(&self) {
        let ends = self.means.iter().filter_map(|means| match &means.0 {
            Kind::Signature(keeper) => keeper.kept().map(|kept| kept.not_after),
            Kind::Tls(keeper) => keeper.kept().map(|kept| kept.not_after),
            _ => None,
        });
        if let Some(end) = ends.min() {
            self.metrics.ends().credential(&self.provider.name, end);
        }
    }
}

/// A token of another issuer's as our assertion, unmodified.
fn forwarded(client_id: &str, token: Secret) -> Proof {
    let content = Digest::of(token.expose().as_bytes());
    Proof::assertion(client_id, token, content)
}

#[cfg(test)]
pub(super) mod tests;
