//! Everything that a token is and is not for a route, to be told: as [`Authenticator`] judges it, but where that stops at the
//! first fault, this goes on. Pure, so nothing is known of keys: whether the signature is right stays open.
//!
//! [`Authenticator`]: crate::pipeline::authenticate::Authenticator

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;

use crate::config::Algorithm;
use crate::config::IdentityProvider;
use crate::config::Introspection;
use crate::config::Policy;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::pipeline::authenticate::claims::Stated;
use crate::pipeline::authenticate::confirmation;
use crate::pipeline::authenticate::error::Error;
use crate::pipeline::authenticate::error::Kind;
use crate::pipeline::authenticate::issuer;
use crate::pipeline::authenticate::issuer::Issuer;
use crate::pipeline::authenticate::issuer::Standing;
use crate::pipeline::authenticate::jws;
use crate::pipeline::authenticate::jws::Jws;
use crate::pipeline::authenticate::policy;
use crate::pipeline::authenticate::principal::Form;
use crate::pipeline::authenticate::principal::Judged;
use crate::pipeline::authenticate::verify;
use crate::pipeline::authenticate::verify::Said;
use crate::pipeline::authenticate::verify::TenantRule;

const NO_FAULT: Result<(), Error> = Ok(());

/// What was found of a token.
#[derive(Debug)]
pub struct Appraisal {
    /// The provider whose token it seems to be.
    pub provider: Option<Arc<IdentityProvider>>,
    /// What was looked at, in the order in which faults win.
    pub findings: Vec<Finding>,
    /// The issuer it names, matched.
    pub issuer: Option<Issuer>,
    /// What it says in the words of that provider.
    pub said: Option<Said>,
    /// Who stands behind it, and by what that was told.
    pub judged: Option<Judged>,
    /// All its claims, if it could be read.
    pub claims: Map<String, Value>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub about: About,
    /// How it is.
    pub verdict: Verdict,
    /// Which rule decided that, where there are several.
    pub because: Option<Cow<'static, str>>,
}

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// Whether it can be read.
    Form,
    /// Its algorithm.
    Algorithm,
    /// `iss`.
    Issuer,
    /// Its signature.
    Signature,
    /// Whether user, scopes and roles are where the provider has them. Mentioned only if they are not.
    Words,
    /// `exp` and `nbf`.
    Times,
    /// `aud`.
    Audience,
    /// `tid`.
    Tenant,
    /// Whether it is an access token.
    AccessToken,
    /// Whether a user stands behind it, or who else may.
    Principal,
    /// `cnf`: whether it is anyone's.
    Holder,
    /// The client it was issued to.
    Client,
    /// Its scopes.
    Scopes,
    /// Its roles.
    Roles,
    /// The claim that is demanded, by its place among those of the policy.
    Claim(usize),
}

/// How a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be.
    Met,
    /// Not as it must be.
    Unmet(Kind),
    /// Nobody can tell without asking the issuer.
    Open,
}

impl Appraisal {
    /// The fault that wins, if there is any.
    pub fn fault(&self) -> Option<Error> {
        self.findings.iter().find_map(|finding| match finding.verdict {
            Verdict::Unmet(kind) => Some(Error { because: finding.because.clone(), ..kind.into() }),
            Verdict::Met | Verdict::Open => None,
        })
    }

    fn find(&mut self, about: About, result: Result<(), impl Into<Error>>) {
        let (verdict, because) = match result.map_err(Into::into) {
            Ok(()) => (Verdict::Met, None),
            Err(error) => (Verdict::Unmet(error.kind), error.because),
        };
        self.findings.push(Finding { about, verdict, because });
    }

    fn leave_open(&mut self, about: About) {
        self.findings.push(Finding { about, verdict: Verdict::Open, because: None });
    }
}

/// Appraises `token` for a route of that `policy` at the time `now`, brought by whoever showed the certificate of that
/// digest. Of `providers` those count that the policy names.
pub fn appraise(
    token: &str,
    policy: &Policy,
    providers: &[Arc<IdentityProvider>],
    certificate: Option<&Digest>,
    now: UnixTime,
) -> Appraisal {
    let mut appraisal = Appraisal {
        provider: None,
        findings: Vec::new(),
        issuer: None,
        said: None,
        judged: None,
        claims: Map::new(),
    };
    let named = |name: &Name| providers.iter().find(|provider| provider.name == *name);
    let candidates: Vec<_> = policy.identity_providers.iter().filter_map(named).collect();
    let is_asked = |provider: &&&Arc<IdentityProvider>| provider.introspection == Introspection::On;
    if let Some(provider) = candidates.iter().find(is_asked).filter(|_| !jws::is_meant(token)) {
        appraisal.provider = Some(Arc::clone(provider));
        appraisal.leave_open(About::Form);
        return appraisal;
    }
    let read = Jws::parse(token).and_then(|jws| Ok((Stated::parse(jws.payload())?, jws)));
    let (stated, jws) = match read {
        Ok(read) => read,
        Err(kind) => {
            appraisal.find(About::Form, Err(kind));
            return appraisal;
        }
    };
    appraisal.claims = stated.clone().into_members();
    // a domain is a tenant whose id is learnt from the issuer
    let standing = |provider: &&Arc<IdentityProvider>| issuer::standing(&provider.server, None, &stated);
    let standings = candidates.iter().filter_map(|provider| Some((*provider, standing(provider)?)));
    let meant = issuer::meant(standings);
    let is_entra_s = meant.as_ref().is_some_and(|(provider, _)| provider.entra().is_some());
    appraisal.find(About::Form, if is_entra_s { stated.check_as_entra_s() } else { Ok(()) });
    let allowed: Vec<Algorithm> = match &meant {
        Some((provider, _)) => provider.algorithms.clone(),
        None => candidates.iter().flat_map(|provider| provider.algorithms.iter().copied()).collect(),
    };
    appraisal.find(About::Algorithm, jws.algorithm(allowed).map(|_| ()));
    let Some((provider, standing)) = meant else {
        appraisal.find(About::Issuer, Err(Kind::WrongIssuer));
        return appraisal;
    };
    appraisal.provider = Some(provider.clone());
    match standing {
        Standing::Undecided => appraisal.leave_open(About::Issuer),
        Standing::Accepted(_) | Standing::Barred(_) => appraisal.find(About::Issuer, NO_FAULT),
    }
    appraisal.leave_open(About::Signature);
    look_inside(&mut appraisal, provider, &standing, &jws, &stated, Demands { policy, certificate, now });
    appraisal
}

/// What a token is held against, besides its provider.
struct Demands<'a> {
    policy: &'a Policy,
    certificate: Option<&'a Digest>,
    now: UnixTime,
}

/// The claims, in the order of [`verify::claims`], and then of [`policy::check`].
fn look_inside(
    appraisal: &mut Appraisal,
    provider: &IdentityProvider,
    standing: &Standing,
    jws: &Jws<'_>,
    stated: &Stated,
    demands: Demands<'_>,
) {
    let Demands { policy, certificate, now } = demands;
    let said = match verify::said(stated, provider) {
        Ok(said) => said,
        Err(kind) => return appraisal.find(About::Words, Err(kind)),
    };
    let times = verify::times(stated.expires_on(), stated.not_before(), provider.clock_skew, now);
    appraisal.find(About::Times, times);
    appraisal.find(About::Audience, verify::audience(stated, provider));
    let (issuer, rule) = match standing {
        Standing::Accepted(issuer) => (Some(issuer), TenantRule::Allowed),
        Standing::Barred(issuer) => (Some(issuer), TenantRule::Barred),
        Standing::Undecided => (None, TenantRule::Allowed),
    };
    match issuer {
        Some(issuer) => appraisal.find(About::Tenant, verify::tenant(stated, issuer, rule)),
        None => appraisal.leave_open(About::Tenant),
    }
    appraisal.issuer = issuer.cloned();
    match verify::principal(stated, Form::Jwt(jws.typ()), &said, provider) {
        Ok(judged) => {
            appraisal.judged = Some(judged);
            appraisal.find(About::AccessToken, NO_FAULT);
            appraisal.find(About::Principal, verify::admits(policy.principals, judged));
        }
        Err(error) => appraisal.find(About::AccessToken, Err(error)),
    }
    let holder = verify::holder(stated).and_then(|holder| confirmation::check(holder.as_ref(), certificate));
    appraisal.find(About::Holder, holder);
    appraisal.find(About::Client, policy::client(policy, said.client.as_deref()));
    appraisal.find(About::Scopes, policy::scopes(policy, &said.scopes));
    appraisal.find(About::Roles, policy::roles(policy, &said.roles));
    for (at, wanted) in policy.claims.iter().enumerate() {
        appraisal.find(About::Claim(at), policy::claim(wanted, &appraisal.claims));
    }
    appraisal.said = Some(said);
}
