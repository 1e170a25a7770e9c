//! The table: which answer that is no token amounts to which row. AADSTS numbers only refine.
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>

use std::time::Duration;

use http::StatusCode;

use crate::pipeline::exchange::error::OAuthError;
use crate::pipeline::exchange::row::Row;

/// How long callers wait when the IdP throttles without saying how long.
const THROTTLED: Duration = Duration::from_secs(60);

/// Loop detected; the tenant is throttled.
const THROTTLING: &[u64] = &[50196, 90055];

/// Worth another try, by Microsoft's own word.
const TRANSIENT: &[u64] = &[50033, 50087, 50166, 70012, 90006, 90012, 90024, 90033, 90090, 501_621];

/// Token A is outside its times.
const STALE_ASSERTION: &[u64] = &[500_133];

/// Token A is no token that can be exchanged: malformed, an id_token, without a user.
const WRONG_ASSERTION: &[u64] = &[50027, 240_002, 90016, 90083, 7_000_114];

/// Token A passed our own checks and not the IdP's: audience, issuer or signing key are not as configured.
const UNACCEPTABLE_ASSERTION: &[u64] = &[50013, 500_131];

/// Consent is missing.
const NO_CONSENT: &[u64] = &[65001];

/// Signing in anew will not help. 53003 is not here: the sign-in page explains the block.
pub const DENIED: &[u64] = &[
    50002, 50005, 50014, 50020, 50034, 50053, 50057, 50105, 50127, 50177, 50178, 51004, 53002, 53010, 53011,
    54000, 65004, 90072, 500_021, 500_022, 500_212, 500_213, 530_032, 530_034, 530_035,
];

/// Errors that a sign-in can settle; the last one is of RFC 9470.
const INTERACTIVE_ERRORS: &[&str] =
    &["interaction_required", "consent_required", "login_required", "insufficient_user_authentication"];

/// Suberrors that a sign-in can settle.
const INTERACTIVE: &[&str] = &[
    "basic_action",
    "additional_action",
    "message_only",
    "consent_required",
    "user_password_expired",
    "bad_token",
    "device_authentication_failed",
    "ui_not_allowed",
    "interrupted_user",
];

/// The first row that matches an answer of `status`, `retry_after` and, if it was one, an OAuth error.
pub fn refusal(status: StatusCode, retry_after: Option<Duration>, oauth: Option<&OAuthError>) -> Row {
    let throttled = status == StatusCode::TOO_MANY_REQUESTS
        || retry_after.is_some()
        || oauth.is_some_and(|answer| answer.has_code(THROTTLING));
    if throttled {
        return Row::Throttled(retry_after.unwrap_or(THROTTLED));
    }
    if status.is_server_error() {
        return Row::Outage;
    }
    oauth.map_or(Row::Malformed, oauth_row)
}

fn oauth_row(answer: &OAuthError) -> Row {
    let grant = answer.is(&["invalid_grant"]);
    let interactive = answer.is(INTERACTIVE_ERRORS);
    match answer {
        _ if answer.is(&["temporarily_unavailable", "server_error"]) || answer.has_code(TRANSIENT) => {
            Row::Outage
        }
        _ if answer.is(&["invalid_client"]) => Row::BadClient,
        _ if answer.is_sub(&["client_mismatch", "protection_policy_required"]) => Row::UnfitClient,
        _ if answer.claims.is_some() => Row::Challenge,
        _ if interactive || answer.is_sub(INTERACTIVE) => match answer.wants_consent() {
            true => Row::Consent,
            false => Row::Interaction,
        },
        _ if grant && (answer.has_code(STALE_ASSERTION) || answer.is_sub(&["token_expired"])) => {
            Row::StaleAssertion
        }
        _ if answer.has_code(WRONG_ASSERTION) => Row::WrongAssertion,
        _ if answer.has_code(UNACCEPTABLE_ASSERTION) => Row::UnacceptableAssertion,
        _ if answer.has_code(DENIED) || answer.is(&["access_denied"]) => Row::Denied,
        _ if grant => Row::InvalidGrant,
        _ => Row::Refused,
    }
}

impl OAuthError {
    fn is(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.error.eq_ignore_ascii_case(word))
    }

    fn is_sub(&self, words: &[&str]) -> bool {
        let suberror = self.suberror.as_deref().unwrap_or_default();
        words.iter().any(|word| suberror.eq_ignore_ascii_case(word))
    }

    fn has_code(&self, codes: &[u64]) -> bool {
        self.error_codes.iter().any(|code| codes.contains(code))
    }

    fn wants_consent(&self) -> bool {
        self.is(&["consent_required"]) || self.is_sub(&["consent_required"]) || self.has_code(NO_CONSENT)
    }
}
