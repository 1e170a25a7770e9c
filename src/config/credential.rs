//! A credential of ours, checked, and how it is sent.

use std::path::PathBuf;

use url::Url;

use crate::config::algorithm::Algorithm;
use crate::domain::secret::Secret;

/// A credential of ours.
#[derive(Debug, PartialEq, Eq)]
pub enum Credential {
    /// A client secret in a file, read anew for each exchange.
    SecretFile(PathBuf),
    /// A client secret from the environment or the configuration itself.
    Secret(Secret),
    /// A certificate, whose key signs assertions or the TLS handshake.
    Certificate(Certificate),
    /// A token another issuer made for us, in a file, read anew for each exchange: it is the client assertion (RFC 7523
    /// section 2.2).
    FederatedToken(PathBuf),
    /// The token of an Azure managed identity: it is the client assertion.
    ManagedIdentity(ManagedIdentity),
}

/// A certificate of ours and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// A PEM file: the certificate, and maybe its chain after it.
    pub file: PathBuf,
    /// A PEM file with the private key; may be the same.
    pub key: PathBuf,
    /// What the key signs assertions with.
    pub algorithm: Algorithm,
    /// Whether assertions carry the certificate itself.
    pub chain: SendChain,
    /// Whom assertions are addressed to.
    pub audience: AssertionAudience,
}

/// Whether an assertion carries the certificate and its chain (`x5c`, RFC 7515 section 4.1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendChain {
    /// The thumbprint alone: the IdP knows the certificate.
    Omit,
    /// The chain too: the IdP knows subject and issuer.
    Send,
}

/// Whom a client assertion is addressed to (RFC 7523 section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssertionAudience {
    /// The token endpoint's URL.
    TokenEndpoint,
    /// The issuer.
    Issuer,
    /// This.
    Other(String),
}

/// An Azure managed identity, whose token stands for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedIdentity {
    /// Which of those assigned to this machine; `None` = the system's own.
    pub identity: Option<ManagedIdentityId>,
    /// Where its tokens come from.
    pub source: ManagedIdentitySource,
    /// Whom they are addressed to: the token exchange of the cloud.
    pub audience: String,
}

/// Names a user-assigned managed identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagedIdentityId {
    /// By its client id.
    ClientId(String),
    /// By its principal's object id.
    ObjectId(String),
    /// By its resource id in Azure Resource Manager.
    ResourceId(String),
}

/// Where a managed identity's tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManagedIdentitySource {
    /// The instance metadata service of a virtual machine or a node: `http://169.254.169.254`, or what stands in its place.
    Imds(Url),
    /// The endpoint that App Service, Functions and Container Apps give a process.
    AppService {
        /// Its URL.
        endpoint: Url,
        /// What the header `X-IDENTITY-HEADER` must hold.
        header: Secret,
    },
}

/// How a client authenticates at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// A secret in the form (RFC 6749 section 2.3.1).
    ClientSecretPost,
    /// A secret in the `Authorization` header (RFC 6749 section 2.3.1).
    ClientSecretBasic,
    /// A signed assertion (RFC 7523 section 2.2): of our own key, or of somebody who vouches for us.
    PrivateKeyJwt,
    /// The certificate of the TLS connection (RFC 8705 section 2).
    TlsClientAuth,
    /// Not at all.
    None,
}
