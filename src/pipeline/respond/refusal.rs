//! The one table from what a stage found to what the caller is told. Each match is exhaustive: a new error of a stage
//! does not compile until it has its row.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use crate::pipeline::accept;
use crate::pipeline::authenticate;
use crate::pipeline::exchange;
use crate::pipeline::forward;
use crate::pipeline::respond::caught::PanicError;
use crate::pipeline::respond::reason::Reason;
use crate::pipeline::route;

/// Why a request is not forwarded, or its upstream's answer not handed back.
#[derive(Debug)]
pub struct Refusal {
    /// The public reason.
    pub reason: Reason,
    /// When to come back.
    pub retry_after: Option<Duration>,
    /// What the identity provider said, if it spoke.
    pub idp: Option<Arc<exchange::OAuthError>>,
    /// The id of the exchange in the identity provider's logs, if one was attempted.
    pub correlation_id: Option<Arc<str>>,
    /// Whether the connection may carry another request.
    pub connection: Connection,
    /// What happened, for the log.
    pub source: Arc<dyn StdError + Send + Sync>,
}

/// Whether a connection may carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It may.
    Keep,
    /// It is closed: what follows on it cannot be told apart from what came.
    Close,
}

/// The keys are fetched anew about every second.
const KEYS_RETRY: Duration = Duration::from_secs(1);

/// Where requests come and go all the time, there is room soon.
const ROOM_RETRY: Duration = Duration::from_secs(1);

impl Refusal {
    fn new(reason: Reason, source: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            reason,
            retry_after: None,
            idp: None,
            correlation_id: None,
            connection: Connection::Keep,
            source: Arc::new(source),
        }
    }

    /// The same, as the last answer on its connection.
    pub fn closing(self) -> Self {
        Self { connection: Connection::Close, ..self }
    }

    fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }
}

impl From<PanicError> for Refusal {
    fn from(error: PanicError) -> Self {
        Self::new(Reason::InternalError, error).closing()
    }
}

impl From<accept::head::Error> for Refusal {
    fn from(error: accept::head::Error) -> Self {
        use accept::head::Error;
        match error {
            Error::MethodNotAllowed => Self::new(Reason::MethodNotAllowed, error),
            Error::ExpectationFailed => Self::new(Reason::ExpectationFailed, error).closing(),
            Error::NotImplemented => Self::new(Reason::NotImplemented, error).closing(),
            Error::BadRequest(_) => Self::new(Reason::BadRequest, error).closing(),
        }
    }
}

impl From<accept::unread::Error> for Refusal {
    fn from(error: accept::unread::Error) -> Self {
        use accept::unread::Error;
        match error {
            Error::Malformed => Self::new(Reason::BadRequest, error).closing(),
            Error::TooLarge => Self::new(Reason::HeadersTooLarge, error).closing(),
        }
    }
}

impl From<accept::certificate::Error> for Refusal {
    fn from(error: accept::certificate::Error) -> Self {
        use accept::certificate::Error;
        match error {
            Error::Missing | Error::NotAdmitted => Self::new(Reason::ClientNotAllowed, error),
        }
    }
}

impl From<route::Error> for Refusal {
    fn from(error: route::Error) -> Self {
        use route::Error;
        match error {
            Error::InvalidPath(_) => Self::new(Reason::InvalidPath, error),
            Error::NoRoute => Self::new(Reason::NoRoute, error),
        }
    }
}

impl From<authenticate::Error> for Refusal {
    fn from(error: authenticate::Error) -> Self {
        use authenticate::Kind;
        let reason = match error.kind {
            Kind::MissingToken => Reason::MissingToken,
            Kind::InvalidRequest => Reason::InvalidRequest,
            Kind::Malformed(_) => Reason::MalformedToken,
            Kind::AlgorithmNotAllowed => Reason::AlgNotAllowed,
            Kind::WrongIssuer => Reason::WrongIssuer,
            Kind::UnknownKey => Reason::UnknownKey,
            Kind::BadSignature => Reason::BadSignature,
            Kind::Expired => Reason::TokenExpired,
            Kind::NotYetValid => Reason::TokenNotYetValid,
            Kind::WrongAudience => Reason::WrongAudience,
            Kind::TenantNotAllowed => Reason::TenantNotAllowed,
            Kind::NotAnAccessToken => Reason::NotAnAccessToken,
            Kind::AppTokenNotAllowed => Reason::AppTokenNotAllowed,
            Kind::UnsupportedCnf => Reason::UnsupportedCnf,
            Kind::ClientNotAllowed => Reason::ClientNotAllowed,
            Kind::InsufficientScope => Reason::InsufficientScope,
            // of a token that was good once, expiry is the usual reason; more the issuer does not say
            Kind::Inactive => Reason::TokenExpired,
            Kind::KeysUnavailable => {
                return Self::new(Reason::KeysUnavailable, error).retry_after(KEYS_RETRY);
            }
            Kind::IdpUnavailable { retry_after } => {
                return Self::new(Reason::IdpUnavailable, error).retry_after(retry_after);
            }
            Kind::IdpThrottled { retry_after } => {
                return Self::new(Reason::IdpThrottled, error).retry_after(retry_after);
            }
            Kind::IdpBadResponse => Reason::IdpBadResponse,
            Kind::Misconfigured => Reason::ProxyMisconfigured,
        };
        Self::new(reason, error)
    }
}

impl From<exchange::Error> for Refusal {
    fn from(error: exchange::Error) -> Self {
        use exchange::Kind;
        let (reason, retry_after) = match error.kind {
            Kind::BadResponse => (Reason::IdpBadResponse, None),
            Kind::Unavailable { retry_after } => (Reason::IdpUnavailable, Some(retry_after)),
            Kind::Throttled { retry_after } => (Reason::IdpThrottled, Some(retry_after)),
            Kind::Misconfigured => (Reason::ProxyMisconfigured, None),
            Kind::Denied => (Reason::AccessDenied, None),
            Kind::ClaimsChallenge | Kind::InteractionRequired | Kind::UpstreamChallenge => {
                (Reason::InteractionRequired, None)
            }
            Kind::InteractionLoop => (Reason::InteractionLoop, None),
            Kind::ConsentRequired => (Reason::ConsentRequired, None),
            Kind::AssertionRejected => (Reason::AssertionRejected, None),
            Kind::Overloaded { retry_after } => (Reason::Overloaded, Some(retry_after)),
            Kind::Internal => (Reason::InternalError, None),
        };
        let idp = error.answer.clone();
        // the id we sent serves where the identity provider named none
        let named = idp.as_ref().and_then(|idp| idp.correlation_id.as_deref()).map(Arc::from);
        let correlation_id = named.or_else(|| error.correlation_id.clone());
        Self { retry_after, idp, correlation_id, ..Self::new(reason, error) }
    }
}

/// The word alone, for whoever tells of an error that another one is still to be told of.
impl From<&forward::Error> for Reason {
    fn from(error: &forward::Error) -> Self {
        use forward::Error;
        match error {
            Error::Connect(_) | Error::Tls(_) | Error::Reset(_) | Error::BadReply(_) => {
                Self::UpstreamUnreachable
            }
            Error::Timeout(_) => Self::UpstreamTimeout,
            Error::RequestBody(_) | Error::Target(_) => Self::BadRequest,
            Error::SlowCaller => Self::RequestTimeout,
            Error::BodyTooLarge(_) => Self::BodyTooLarge,
            Error::Crowded | Error::NoRoom => Self::Overloaded,
            Error::NoWebSocket => Self::NotImplemented,
            Error::Random(_) | Error::UnknownRoute => Self::InternalError,
        }
    }
}

impl From<forward::Error> for Refusal {
    fn from(error: forward::Error) -> Self {
        use forward::Error;
        let is_over = matches!(error, Error::RequestBody(_) | Error::SlowCaller | Error::BodyTooLarge(_));
        let is_crowded = matches!(error, Error::Crowded | Error::NoRoom);
        let refusal = Self::new(Reason::from(&error), error);
        match (is_over, is_crowded) {
            (true, _) => refusal.closing(),
            (_, true) => refusal.retry_after(ROOM_RETRY),
            _ => refusal,
        }
    }
}
