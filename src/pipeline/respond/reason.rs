//! Why a request was refused. The same word is the log field, the metric label and the public code.

use http::StatusCode;

use crate::telemetry::access_log::Fault;

/// Every reason there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // each has its sentence in `row`
pub enum Reason {
    AccessDenied,
    AlgNotAllowed,
    AppTokenNotAllowed,
    AssertionRejected,
    BadRequest,
    BadSignature,
    BodyTooLarge,
    ClientNotAllowed,
    ConsentRequired,
    ExpectationFailed,
    HeadersTooLarge,
    IdpBadResponse,
    IdpThrottled,
    IdpUnavailable,
    InsufficientScope,
    InteractionLoop,
    InteractionRequired,
    InternalError,
    InvalidPath,
    InvalidRequest,
    KeysUnavailable,
    MalformedToken,
    MethodNotAllowed,
    MissingToken,
    NoRoute,
    NotAnAccessToken,
    NotImplemented,
    Overloaded,
    ProxyMisconfigured,
    RequestTimeout,
    TenantNotAllowed,
    TokenExpired,
    TokenNotYetValid,
    UnknownKey,
    UnsupportedCnf,
    UpstreamTimeout,
    UpstreamUnreachable,
    WrongAudience,
    WrongIssuer,
}

/// Which `error` a `WWW-Authenticate` challenge carries (RFC 6750 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeError {
    /// No challenge at all.
    NoChallenge,
    /// A challenge that only says who asks: there were no credentials.
    Unnamed,
    /// `invalid_request`.
    InvalidRequest,
    /// `invalid_token`.
    InvalidToken,
    /// `insufficient_scope`.
    InsufficientScope,
    /// `insufficient_claims` where the IdP sent claims, else `interaction_required`.
    Interaction,
}

/// What follows from a reason.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The word.
    pub word: &'static str,
    /// The status of the answer.
    pub status: StatusCode,
    /// Who is to blame.
    pub fault: Fault,
    /// The challenge that goes with it.
    pub challenge: ChallengeError,
    /// What the caller reads: what happened and what to do.
    pub detail: &'static str,
}

impl Reason {
    /// Every reason, for tests and documentation.
    pub const ALL: [Self; 39] = [
        Self::AccessDenied,
        Self::AlgNotAllowed,
        Self::AppTokenNotAllowed,
        Self::AssertionRejected,
        Self::BadRequest,
        Self::BadSignature,
        Self::BodyTooLarge,
        Self::ClientNotAllowed,
        Self::ConsentRequired,
        Self::ExpectationFailed,
        Self::HeadersTooLarge,
        Self::IdpBadResponse,
        Self::IdpThrottled,
        Self::IdpUnavailable,
        Self::InsufficientScope,
        Self::InteractionLoop,
        Self::InteractionRequired,
        Self::InternalError,
        Self::InvalidPath,
        Self::InvalidRequest,
        Self::KeysUnavailable,
        Self::MalformedToken,
        Self::MethodNotAllowed,
        Self::MissingToken,
        Self::NoRoute,
        Self::NotAnAccessToken,
        Self::NotImplemented,
        Self::Overloaded,
        Self::ProxyMisconfigured,
        Self::RequestTimeout,
        Self::TenantNotAllowed,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::UnknownKey,
        Self::UnsupportedCnf,
        Self::UpstreamTimeout,
        Self::UpstreamUnreachable,
        Self::WrongAudience,
        Self::WrongIssuer,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        self.row().word
    }

    /// The table: 401 = the caller can fix it by getting another token; 403 = it cannot; 5xx = not its fault.
    pub fn row(self) -> Row {
        use ChallengeError::Interaction;
        use ChallengeError::InvalidToken;
        use ChallengeError::NoChallenge;
        use ChallengeError::Unnamed;
        use Fault::Client;
        use Fault::Idp;
        use Fault::Proxy;
        use Fault::Upstream;
        let (word, status, fault, challenge, detail) = match self {
            Self::AccessDenied => (
                "access_denied",
                403,
                Client,
                NoChallenge,
                "The identity provider denies this user access to the API behind this service. Another sign-in will not change that.",
            ),
            Self::AlgNotAllowed => (
                "alg_not_allowed",
                401,
                Client,
                InvalidToken,
                "The token is signed with an algorithm that is not accepted here.",
            ),
            Self::AppTokenNotAllowed => (
                "app_token_not_allowed",
                403,
                Client,
                NoChallenge,
                "The token stands for an application. A token that was issued to a user is needed.",
            ),
            Self::AssertionRejected => (
                "assertion_rejected",
                401,
                Client,
                InvalidToken,
                "The identity provider does not accept the token any more. Get a new one.",
            ),
            Self::BadRequest => (
                "bad_request",
                400,
                Client,
                NoChallenge,
                "The request is not well-formed: framing, Host and authority must be unambiguous, and a token belongs in the Authorization header.",
            ),
            Self::BadSignature => {
                ("bad_signature", 401, Client, InvalidToken, "The token's signature is not valid.")
            }
            Self::BodyTooLarge => {
                ("body_too_large", 413, Client, NoChallenge, "The request body is larger than allowed.")
            }
            Self::ClientNotAllowed => (
                "client_not_allowed",
                403,
                Client,
                ChallengeError::InsufficientScope,
                "The application that the token was issued to, or whose certificate was shown, may not call this.",
            ),
            Self::ConsentRequired => (
                "consent_required",
                401,
                Client,
                Interaction,
                "The user or an administrator must consent before the API behind this service can be called on the user's behalf.",
            ),
            Self::ExpectationFailed => {
                ("expectation_failed", 417, Client, NoChallenge, "Only Expect: 100-continue is understood.")
            }
            Self::HeadersTooLarge => (
                "headers_too_large",
                431,
                Client,
                NoChallenge,
                "The request's header fields are larger than allowed.",
            ),
            Self::IdpBadResponse => (
                "idp_bad_response",
                502,
                Idp,
                NoChallenge,
                "The identity provider gave an answer that makes no sense.",
            ),
            Self::IdpThrottled => (
                "idp_throttled",
                503,
                Idp,
                NoChallenge,
                "The identity provider asks to slow down. Try again after the time in Retry-After.",
            ),
            Self::IdpUnavailable => (
                "idp_unavailable",
                503,
                Idp,
                NoChallenge,
                "The identity provider cannot be reached. Try again.",
            ),
            Self::InsufficientScope => (
                "insufficient_scope",
                403,
                Client,
                ChallengeError::InsufficientScope,
                "The token lacks a scope, role or claim that this route requires.",
            ),
            Self::InteractionLoop => (
                "interaction_loop",
                401,
                Client,
                Interaction,
                "The user must sign in again with the claims given here. Tokens that do not satisfy them were sent again and again.",
            ),
            Self::InteractionRequired => (
                "interaction_required",
                401,
                Client,
                Interaction,
                "The user must sign in again, with the claims given here if there are any.",
            ),
            Self::InternalError => {
                ("internal_error", 500, Proxy, NoChallenge, "Something went wrong in the proxy.")
            }
            Self::InvalidPath => (
                "invalid_path",
                400,
                Client,
                NoChallenge,
                "The path can be read in more than one way: it must have no dot segments, empty segments, encoded slashes, backslashes, control characters or broken or double percent-encoding.",
            ),
            Self::InvalidRequest => (
                "invalid_request",
                400,
                Client,
                ChallengeError::InvalidRequest,
                "There must be one Authorization header of the form Bearer, one space, token.",
            ),
            Self::KeysUnavailable => (
                "keys_unavailable",
                503,
                Idp,
                NoChallenge,
                "The identity provider's keys could not be loaded. Try again.",
            ),
            Self::MalformedToken => {
                ("malformed_token", 401, Client, InvalidToken, "The token is no well-formed signed JWT.")
            }
            Self::MethodNotAllowed => {
                ("method_not_allowed", 405, Client, NoChallenge, "CONNECT and TRACE are not served.")
            }
            Self::MissingToken => (
                "missing_token",
                401,
                Client,
                Unnamed,
                "An access token is needed: Authorization: Bearer, one space, token.",
            ),
            Self::NoRoute => ("no_route", 404, Client, NoChallenge, "No route takes this request."),
            Self::NotAnAccessToken => (
                "not_an_access_token",
                401,
                Client,
                InvalidToken,
                "The token is no access token of a user: an ID token, for instance, cannot be used here.",
            ),
            Self::NotImplemented => (
                "not_implemented",
                501,
                Client,
                NoChallenge,
                "The only transfer coding understood is chunked.",
            ),
            Self::Overloaded => {
                ("overloaded", 503, Proxy, NoChallenge, "The proxy is at its limit. Try again.")
            }
            Self::ProxyMisconfigured => (
                "proxy_misconfigured",
                502,
                Proxy,
                NoChallenge,
                "The proxy itself is refused by the identity provider, or cannot ask it. Its operator must mend its registration or configuration.",
            ),
            Self::RequestTimeout => {
                ("request_timeout", 408, Client, NoChallenge, "The request body did not come in time.")
            }
            Self::TenantNotAllowed => (
                "tenant_not_allowed",
                401,
                Client,
                InvalidToken,
                "The token comes from a tenant that is not accepted here.",
            ),
            Self::TokenExpired => {
                ("token_expired", 401, Client, InvalidToken, "The token has expired. Get a new one.")
            }
            Self::TokenNotYetValid => {
                ("token_not_yet_valid", 401, Client, InvalidToken, "The token is not valid yet.")
            }
            Self::UnknownKey => (
                "unknown_key",
                401,
                Client,
                InvalidToken,
                "The token is signed with a key that its issuer does not publish.",
            ),
            Self::UnsupportedCnf => (
                "unsupported_cnf",
                401,
                Client,
                InvalidToken,
                "The token is bound to a key, and the proof cannot be checked here.",
            ),
            Self::UpstreamTimeout => (
                "upstream_timeout",
                504,
                Upstream,
                NoChallenge,
                "The service behind the proxy did not answer in time.",
            ),
            Self::UpstreamUnreachable => (
                "upstream_unreachable",
                502,
                Upstream,
                NoChallenge,
                "The service behind the proxy cannot be reached or broke off.",
            ),
            Self::WrongAudience => {
                ("wrong_audience", 401, Client, InvalidToken, "The token was issued for another service.")
            }
            Self::WrongIssuer => (
                "wrong_issuer",
                401,
                Client,
                InvalidToken,
                "The token comes from an issuer that is not accepted here.",
            ),
        };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Row { word, status, fault, challenge, detail }
    }
}
