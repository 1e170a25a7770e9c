//! What becomes of a caller's token: whether it lets its caller in, and what the upstream gets in its place.

use std::sync::Arc;

use serde::Serialize;

use crate::app::explain::Walk;
use crate::app::explain::demands;
use crate::app::explain::demands::Demand;
use crate::config::Config;
use crate::config::Credential;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::Tenancy;
use crate::config::UnvalidatedToken;
use crate::config::ValidatedToken;
use crate::domain::caller::Principal;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::printable;
use crate::domain::tenant::TenantId;
use crate::pipeline::authenticate;
use crate::pipeline::authenticate::Kind;
use crate::pipeline::authenticate::appraisal;
use crate::pipeline::authenticate::appraisal::About;
use crate::pipeline::authenticate::appraisal::Appraisal;
use crate::pipeline::authenticate::appraisal::Verdict;
use crate::pipeline::exchange::plan;
use crate::pipeline::exchange::plan::Shown;
use crate::pipeline::respond::refusal::Refusal;

/// What a token says of its caller, as far as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// Whose token it seems to be.
    pub identity_provider: Option<String>,
    /// A hash of the user, to tell two apart.
    pub user: Option<String>,
    /// The client it was issued to.
    pub client: Option<String>,
    /// Whether a user stands behind it.
    pub is_user: Option<bool>,
}

/// What becomes of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "fate")]
pub enum Fate {
    /// It is exchanged.
    Exchange {
        /// How, at each provider whose token it may be.
        at: Vec<Exchange>,
    },
    /// It goes on as it came.
    Passthrough {
        /// Whether it is validated.
        validated: bool,
    },
    /// It is removed.
    Remove {
        /// Whether it is validated.
        validated: bool,
    },
}

/// An exchange at one provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// Where.
    pub identity_provider: String,
    /// The token endpoint; `None` = found by discovery, or decided by the caller's tenant.
    pub endpoint: Option<String>,
    /// What is sent, but for secrets and tokens.
    pub parameters: Vec<(String, String)>,
    /// How we say who we are.
    pub authentication: Vec<String>,
}

impl Fate {
    /// What becomes of a token that nobody looks at.
    pub fn anonymous(token: UnvalidatedToken) -> Self {
        match token {
            UnvalidatedToken::Remove => Self::Remove { validated: false },
            UnvalidatedToken::Passthrough => Self::Passthrough { validated: false },
        }
    }

    /// What becomes of a token that is good.
    pub fn validated(
        config: &Config,
        policy: &Policy,
        token: &ValidatedToken,
        appraisal: Option<&Appraisal>,
    ) -> Self {
        let exchange = match token {
            ValidatedToken::Passthrough => return Self::Passthrough { validated: true },
            ValidatedToken::Remove => return Self::Remove { validated: true },
            ValidatedToken::Exchange(exchange) => exchange,
        };
        let known = appraisal.and_then(|appraisal| appraisal.provider.clone());
        let providers = match known {
            Some(provider) => vec![provider],
            None => candidates(config, policy),
        };
        let principal = appraisal
            .and_then(|appraisal| appraisal.judged)
            .map_or(Principal::User, |judged| judged.principal);
        let at = |provider: &Arc<IdentityProvider>| {
            let tenant = appraisal
                .and_then(|appraisal| appraisal.issuer.as_ref()?.tenant())
                .or_else(|| only_tenant(provider));
            let plan = plan::plan(provider, exchange, tenant, principal);
            let shown = |(name, value): (String, Shown)| {
                let value = match value {
                    Shown::Text(text) => text,
                    Shown::TokenA => "(token A)".into(),
                    Shown::ActorToken => "(an actor token of our own)".into(),
                    Shown::Configured => "(as configured under parameters)".into(),
                };
                (name, value)
            };
            Exchange {
                identity_provider: provider.name.to_string(),
                endpoint: plan.endpoint,
                parameters: plan.parameters.into_iter().map(shown).collect(),
                authentication: provider.credentials.iter().map(credential).collect(),
            }
        };
        Self::Exchange { at: providers.iter().map(at).collect() }
    }
}

/// A token that was looked at.
pub struct Judged {
    /// What was demanded of it.
    pub demands: Vec<Demand>,
    /// What it says.
    pub caller: Option<Caller>,
    /// All that was found; `None` = there is no token.
    pub appraisal: Option<Appraisal>,
    /// What is left to be true for it to let its caller in, or why it does not.
    pub outcome: Result<Vec<String>, Refusal>,
}

/// Judges the token of a request by a policy.
pub(super) fn judge(walk: &Walk<'_>, policy: &Policy) -> Judged {
    let Walk { config, question, peer, verdict, .. } = walk;
    let providers = candidates(config, policy);
    let known: Vec<&IdentityProvider> = providers.iter().map(AsRef::as_ref).collect();
    let Some(token) = &question.token else {
        let given = "a token that meets the demands is sent; without one: 401 missing_token".to_owned();
        return Judged {
            demands: demands::of_policy(policy, &known),
            caller: None,
            appraisal: None,
            outcome: Ok(vec![given]),
        };
    };
    let certificate = peer.certificate.as_ref().map(|shown| &shown.digest);
    let mut found =
        appraisal::appraise(token.expose(), policy, &config.identity_providers, certificate, question.now);
    if let Some(verdict) = verdict {
        settle(&mut found, verdict);
    }
    let outcome = match (verdict, found.fault()) {
        (Some(Ok(())), _) => Ok(Vec::new()),
        (Some(Err(error)), _) => Err(Refusal::from(error.clone())),
        (None, Some(error)) => Err(Refusal::from(error)),
        (None, None) => Ok(vec!["the issuer vouches for the token (see --verify)".to_owned()]),
    };
    Judged {
        demands: demands::of_token(policy, &known, &found, question.now),
        caller: Some(caller(&found)),
        appraisal: Some(found),
        outcome,
    }
}

/// What has to come true beyond that, for a route that does this with a token.
pub fn provided(token: &ValidatedToken) -> Option<String> {
    let is_exchanged = matches!(token, ValidatedToken::Exchange(_));
    is_exchanged.then(|| "the identity provider grants token B (see token exchange)".to_owned())
}

/// Closes what was open, by the word of whoever has the keys.
pub(super) fn settle(found: &mut Appraisal, verdict: &Result<(), authenticate::Error>) {
    for finding in found.findings.iter_mut().filter(|finding| finding.verdict == Verdict::Open) {
        finding.verdict = match verdict {
            Ok(()) => Verdict::Met,
            Err(error) => match (error.kind, &finding.about) {
                (kind @ (Kind::UnknownKey | Kind::BadSignature), About::Signature) => Verdict::Unmet(kind),
                (kind @ Kind::Inactive, About::Form) => Verdict::Unmet(kind),
                (kind @ Kind::WrongIssuer, About::Issuer) => Verdict::Unmet(kind),
                // what comes after the signature was reached, so the signature is right
                (
                    Kind::Expired
                    | Kind::NotYetValid
                    | Kind::WrongAudience
                    | Kind::TenantNotAllowed
                    | Kind::NotAnAccessToken
                    | Kind::AppTokenNotAllowed
                    | Kind::UnsupportedCnf
                    | Kind::ClientNotAllowed
                    | Kind::InsufficientScope,
                    _,
                ) => Verdict::Met,
                _ => Verdict::Open,
            },
        };
    }
}

pub(super) fn caller(found: &Appraisal) -> Caller {
    let hash = |user: &crate::domain::caller::UserKey| {
        let digest = Digest::of(user.as_bytes());
        digest.as_bytes().iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    Caller {
        identity_provider: found.provider.as_ref().map(|provider| provider.name.to_string()),
        user: found.said.as_ref().map(|said| hash(&said.user)),
        client: found.said.as_ref().and_then(|said| said.client.as_deref()).map(printable::line),
        is_user: found.judged.map(|judged| judged.principal == Principal::User),
    }
}

pub(super) fn candidates(config: &Config, policy: &Policy) -> Vec<Arc<IdentityProvider>> {
    let named = |name: &Name| config.identity_providers.iter().find(|provider| provider.name == *name);
    policy.identity_providers.iter().filter_map(named).cloned().collect()
}

fn only_tenant(provider: &IdentityProvider) -> Option<&TenantId> {
    match &provider.entra()?.tenancy {
        Tenancy::Id(id) => Some(id),
        Tenancy::Domain(_) | Tenancy::Shared { .. } => None,
    }
}

fn credential(credential: &Credential) -> String {
    match credential {
        Credential::SecretFile(path) => format!("the secret in {}", path.display()),
        Credential::Secret(_) => "a secret".into(),
        Credential::Certificate(certificate) => format!("the certificate {}", certificate.file.display()),
        Credential::FederatedToken(path) => format!("the federated token in {}", path.display()),
        Credential::ManagedIdentity(_) => "a managed identity".into(),
    }
}
