//! Why we cannot prove who we are.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::net::tls;
use crate::pipeline::exchange::credential::managed_identity;

/// Why a credential cannot be used. It names the file and what to do, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the {what} {path}")]
    Unreadable {
        /// What should be in it.
        what: What,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file does not hold what it should.
    #[error("the {what} {path} {problem}")]
    Unusable {
        /// What should be in it.
        what: What,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Reading took too long.
    #[error("reading the {what} {path} took longer than {limit:?}")]
    TooSlow {
        /// What should be in it.
        what: What,
        /// The file.
        path: PathBuf,
        /// How long it might have taken.
        limit: Duration,
    },
    /// Two files that do not go together.
    #[error("the private key {key} does not belong to the first certificate in {certificate}: replace both")]
    Mismatch {
        /// Where the certificate is.
        certificate: PathBuf,
        /// Where the key is.
        key: PathBuf,
    },
    /// TLS cannot be spoken with a certificate.
    #[error("the certificate {certificate} cannot be shown in TLS with the private key {key}")]
    Tls {
        /// Where the certificate is.
        certificate: PathBuf,
        /// Where the key is.
        key: PathBuf,
        /// Why not.
        #[source]
        source: tls::Error,
    },
    /// There is no token of our managed identity.
    #[error("there is no token of the managed identity")]
    ManagedIdentity(#[source] Arc<managed_identity::Error>),
    /// A client id or secret that no header can hold.
    #[error("the client id or secret cannot be sent in a header")]
    Unsendable,
    /// The cryptography library fails, or the system gives no random bytes.
    #[error("the client assertion cannot be signed")]
    Unsigned,
}

/// What a file holds for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A client secret.
    Secret,
    /// A certificate, and maybe its chain.
    Certificate,
    /// The private key of one.
    Key,
    /// A token that another issuer made for us.
    FederatedToken,
    /// The password of a server.
    Password,
    /// What shared values are sealed with.
    EncryptionKey,
}

impl What {
    /// The most bytes that are read of it: none comes near.
    pub fn longest(self) -> u64 {
        match self {
            Self::Secret | Self::FederatedToken | Self::Password | Self::EncryptionKey => 16 * 1024,
            Self::Certificate | Self::Key => 256 * 1024,
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "client secret",
            Self::Certificate => "certificate",
            Self::Key => "private key",
            Self::FederatedToken => "federated token",
            Self::Password => "password",
            Self::EncryptionKey => "encryption key",
        })
    }
}
