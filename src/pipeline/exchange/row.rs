//! What the absence of a token B means: for the caller, for the cache, for others who wait.

use std::fmt;
use std::time::Duration;

/// How long callers wait after an outage.
const OUTAGE: Duration = Duration::from_secs(1);

/// How long a wrong credential of ours is not tried again.
const BAD_CLIENT: Duration = Duration::from_secs(30);

/// What an answer that is no token amounts to, in the order in which the rows are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// 3: no answer.
    NoAnswer,
    /// 4: the IdP asks us to wait this long.
    Throttled(Duration),
    /// 5: the IdP cannot answer.
    Outage,
    /// 6: our credential is wrong.
    BadClient,
    /// 7: only another kind of client could get this token.
    UnfitClient,
    /// 8: the user must satisfy claims.
    Challenge,
    /// 9 and 10: the user must sign in anew.
    Interaction,
    /// 9 and 10: consent is missing.
    Consent,
    /// 11: token A is stale.
    StaleAssertion,
    /// 12: token A is of the wrong kind.
    WrongAssertion,
    /// 13: token A is refused though it is valid for us.
    UnacceptableAssertion,
    /// 14: the user is denied.
    Denied,
    /// 15: any other `invalid_grant`.
    InvalidGrant,
    /// 16: any other OAuth error.
    Refused,
    /// 2 and 17: no token, and no OAuth error either.
    Malformed,
}

/// For whom a refusal is remembered, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// Not at all.
    No,
    /// For everyone who shares the cache key.
    ForKey(Duration),
    /// For the same token A only: a user who has just stepped up is not answered from before.
    ForAssertion(Duration),
}

/// Which waiters of a flight its refusal answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All.
    All,
    /// Those with the same token A; the others may fare better.
    SameAssertion,
}

impl Row {
    /// What it means for the caller.
    pub fn kind(self) -> Kind {
        match self {
            Self::Malformed => Kind::BadResponse,
            Self::NoAnswer | Self::Outage => Kind::Unavailable { retry_after: OUTAGE },
            Self::Throttled(retry_after) => Kind::Throttled { retry_after },
            Self::BadClient | Self::UnacceptableAssertion | Self::Refused => Kind::Misconfigured,
            Self::UnfitClient | Self::Denied => Kind::Denied,
            Self::Challenge => Kind::ClaimsChallenge,
            Self::Interaction | Self::InvalidGrant => Kind::InteractionRequired,
            Self::Consent => Kind::ConsentRequired,
            Self::StaleAssertion | Self::WrongAssertion => Kind::AssertionRejected,
        }
    }

    /// Whether, and how long, the same request is not sent again.
    pub fn remembered(self, negative_ttl: Duration) -> Remembered {
        match self {
            Self::Malformed | Self::NoAnswer | Self::Outage | Self::StaleAssertion => Remembered::No,
            Self::Throttled(wait) => Remembered::ForKey(wait),
            Self::BadClient => Remembered::ForAssertion(BAD_CLIENT),
            Self::UnfitClient
            | Self::Challenge
            | Self::Interaction
            | Self::Consent
            | Self::WrongAssertion
            | Self::UnacceptableAssertion
            | Self::Denied
            | Self::InvalidGrant
            | Self::Refused => Remembered::ForAssertion(negative_ttl),
        }
    }

    /// Whether a token B that is still cached must not serve any more.
    pub fn evicts(self) -> bool {
        matches!(
            self,
            Self::Challenge | Self::Interaction | Self::Consent | Self::StaleAssertion | Self::InvalidGrant
        )
    }

    /// Which waiters it answers.
    pub fn sharing(self) -> Sharing {
        match self {
            Self::Challenge
            | Self::Interaction
            | Self::Consent
            | Self::StaleAssertion
            | Self::WrongAssertion
            | Self::InvalidGrant => Sharing::SameAssertion,
            _ => Sharing::All,
        }
    }
}

/// What it means for the caller that there is no token B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The IdP's answer makes no sense.
    BadResponse,
    /// The IdP does not answer, or only to say that it cannot.
    Unavailable {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The IdP asks us to wait.
    Throttled {
        /// When to ask again.
        retry_after: Duration,
    },
    /// Our credential, scope, audience or request is wrong.
    Misconfigured,
    /// The user is denied for good.
    Denied,
    /// The user must sign in anew and satisfy the claims in the answer.
    ClaimsChallenge,
    /// The user must sign in anew.
    InteractionRequired,
    /// The user or an administrator must consent.
    ConsentRequired,
    /// Token A is stale for the IdP, or of the wrong kind.
    AssertionRejected,
    /// The upstream demands more of the user's sign-in.
    UpstreamChallenge,
    /// It does so again and again.
    InteractionLoop,
    /// Too many wait for one key's exchanges, which are made one after the other, or there is no file descriptor left for one.
    Overloaded {
        /// When to ask again.
        retry_after: Duration,
    },
    /// A fault of the proxy.
    Internal,
}

impl Kind {
    /// The public word: metric label, log field and code in the answer.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadResponse => "idp_bad_response",
            Self::Unavailable { .. } => "idp_unavailable",
            Self::Throttled { .. } => "idp_throttled",
            Self::Misconfigured => "proxy_misconfigured",
            Self::Denied => "access_denied",
            Self::ClaimsChallenge | Self::InteractionRequired | Self::UpstreamChallenge => {
                "interaction_required"
            }
            Self::InteractionLoop => "interaction_loop",
            Self::ConsentRequired => "consent_required",
            Self::AssertionRejected => "assertion_rejected",
            Self::Overloaded { .. } => "overloaded",
            Self::Internal => "internal_error",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadResponse => "the identity provider's answer makes no sense",
            Self::Unavailable { .. } => "the identity provider is unavailable",
            Self::Throttled { .. } => "the identity provider asks to wait",
            Self::Misconfigured => "the identity provider refuses the proxy's own request",
            Self::Denied => "the identity provider denies the user for good",
            Self::ClaimsChallenge => "the identity provider demands more of the user's sign-in",
            Self::InteractionRequired => "the identity provider demands that the user signs in anew",
            Self::ConsentRequired => "the identity provider demands consent",
            Self::AssertionRejected => "the identity provider refuses the caller's token",
            Self::UpstreamChallenge => "the upstream demands more of the user's sign-in",
            Self::InteractionLoop => "the upstream demands the same of the user's sign-in again and again",
            Self::Overloaded { .. } => "more is asked for than the proxy can do at a time",
            Self::Internal => "the exchange failed inside the proxy",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_reason_and_its_effects_on_the_cache() {
        const TTL: Duration = Duration::from_secs(45);
        const WAIT: Duration = Duration::from_secs(7);
        use Remembered::{ForAssertion, ForKey, No};
        use Sharing::{All, SameAssertion};
        let kept = ForAssertion(TTL);
        for (row, reason, remembered, evicts, sharing) in [
            (Row::NoAnswer, "idp_unavailable", No, false, All),
            (Row::Throttled(WAIT), "idp_throttled", ForKey(WAIT), false, All),
            (Row::Outage, "idp_unavailable", No, false, All),
            (Row::BadClient, "proxy_misconfigured", ForAssertion(BAD_CLIENT), false, All),
            (Row::UnfitClient, "access_denied", kept, false, All),
            (Row::Challenge, "interaction_required", kept, true, SameAssertion),
            (Row::Interaction, "interaction_required", kept, true, SameAssertion),
            (Row::Consent, "consent_required", kept, true, SameAssertion),
            (Row::StaleAssertion, "assertion_rejected", No, true, SameAssertion),
            (Row::WrongAssertion, "assertion_rejected", kept, false, SameAssertion),
            (Row::UnacceptableAssertion, "proxy_misconfigured", kept, false, All),
            (Row::Denied, "access_denied", kept, false, All),
            (Row::InvalidGrant, "interaction_required", kept, true, SameAssertion),
            (Row::Refused, "proxy_misconfigured", kept, false, All),
            (Row::Malformed, "idp_bad_response", No, false, All),
        ] {
            assert_eq!(row.kind().reason(), reason, "{row:?}");
            assert_eq!(row.remembered(TTL), remembered, "{row:?}");
            assert_eq!(row.evicts(), evicts, "{row:?}");
            assert_eq!(row.sharing(), sharing, "{row:?}");
        }
        assert_eq!(BAD_CLIENT, Duration::from_secs(30));
        assert_eq!(Row::Outage.kind(), Kind::Unavailable { retry_after: Duration::from_secs(1) });
        assert_eq!(Row::Throttled(WAIT).kind(), Kind::Throttled { retry_after: WAIT });
        assert_eq!(Row::Challenge.kind(), Kind::ClaimsChallenge);
        assert_eq!(Kind::Internal.reason(), "internal_error");
    }
}
