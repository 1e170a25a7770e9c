//! Why a token A is refused: one word per reason, and whose token it claimed to be.

use std::borrow::Cow;
use std::time::Duration;

use crate::domain::digest::Digest;
use crate::domain::name::Name;

/// A refusal. No value of the token is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{}", told(because.as_deref()))]
pub struct Error {
    /// What is wrong.
    pub kind: Kind,
    /// Which rule decided that, where there are several, or what would have been right: names of claims and words of the
    /// configuration.
    pub because: Option<Cow<'static, str>>,
    /// The identity provider whose issuer the token names, as soon as it is known. The token need not be its own:
    /// this is for metrics and logs, not for trust.
    pub identity_provider: Option<Name>,
    /// Whose token it is, if it is good and only the route does not admit it: for the log, which hashes it with a key.
    pub user: Option<Digest>,
}

impl From<Kind> for Error {
    fn from(kind: Kind) -> Self {
        Self { kind, because: None, identity_provider: None, user: None }
    }
}

impl Error {
    /// A refusal by this rule.
    pub fn because(kind: Kind, rule: impl Into<Cow<'static, str>>) -> Self {
        Self { because: Some(rule.into()), ..kind.into() }
    }
}

fn told(because: Option<&str>) -> String {
    because.map(|because| format!(": {because}")).unwrap_or_default()
}

/// What is wrong with a token A, in the order in which the reasons win where several apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// No `Authorization`, or another scheme than Bearer.
    #[error("the request carries no bearer token")]
    MissingToken,
    /// More than one `Authorization`, or one that is garbled.
    #[error("the Authorization header is not one bearer token")]
    InvalidRequest,
    /// No JWT, or one with a part that may not be.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// `alg` is none of ours, or not the one the key is for.
    #[error("the token's algorithm is not allowed")]
    AlgorithmNotAllowed,
    /// `iss` is none of the route's issuers.
    #[error("the token's issuer is not accepted here")]
    WrongIssuer,
    /// No key of the issuer has the token's `kid`, and the issuer could be asked.
    #[error("the token names no key that its issuer publishes")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is yet to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `aud` is somebody else.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// `tid` may not enter, or is not the tenant of `iss`.
    #[error("the token's tenant is not accepted here")]
    TenantNotAllowed,
    /// An id_token, or a `typ` of another kind of JWT.
    #[error("the token is no access token")]
    NotAnAccessToken,
    /// No user stands behind the token, and the route wants one.
    #[error("the token is an application's, and the route wants a user's")]
    AppTokenNotAllowed,
    /// The token is bound to a key whose possession we cannot check (`cnf`).
    #[error("the token is bound to a key of its holder")]
    UnsupportedCnf,
    /// The client it was issued to may not pass.
    #[error("the token's client may not use this route")]
    ClientNotAllowed,
    /// A scope, role or claim is missing.
    #[error("the token lacks a scope, role or claim the route requires")]
    InsufficientScope,
    /// The issuer does not vouch for an opaque token (any more): it has expired, or was revoked, or never was one.
    #[error("the issuer says that the token is not active")]
    Inactive,
    /// The issuer's keys could not be fetched, or not for too long, or not since one was named that nobody knows: the token
    /// may be good.
    #[error("the issuer's keys cannot be fetched")]
    KeysUnavailable,
    /// The issuer does not answer about an opaque token.
    #[error("the issuer does not say whether the token is active")]
    IdpUnavailable {
        /// When to come back.
        retry_after: Duration,
    },
    /// The issuer wants to be asked less about opaque tokens.
    #[error("the issuer is asked about too many tokens")]
    IdpThrottled {
        /// When to come back.
        retry_after: Duration,
    },
    /// The issuer's answer about an opaque token makes no sense.
    #[error("the issuer's answer about the token makes no sense")]
    IdpBadResponse,
    /// The issuer does not let us ask about opaque tokens.
    #[error("the issuer does not let us ask about the token")]
    Misconfigured,
}
