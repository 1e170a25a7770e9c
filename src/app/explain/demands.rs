//! What a route demands, one by one, and how a request stands to it.

use std::borrow::Cow;

use serde::Serialize;

use crate::app::words;
use crate::config;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::Principals;
use crate::config::RequiredCertificate;
use crate::domain::caller;
use crate::domain::caller::Principal;
use crate::domain::clock::UnixTime;
use crate::domain::peer::AlternativeName;
use crate::domain::printable;
use crate::pipeline::accept;
use crate::pipeline::authenticate;
use crate::pipeline::authenticate::appraisal::About;
use crate::pipeline::authenticate::appraisal::Appraisal;
use crate::pipeline::authenticate::appraisal::Finding;
use crate::pipeline::authenticate::appraisal::Verdict;
use crate::pipeline::respond::refusal::Refusal;

/// Claims whose values say nothing of a person.
const HARMLESS: [&str; 10] = ["acr", "acrs", "amr", "appid", "aud", "azp", "iss", "roles", "scp", "tid"];

/// One demand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Demand {
    /// What is looked at.
    pub about: String,
    /// What is wanted.
    pub wanted: String,
    /// What is there, as far as it may be shown.
    pub has: Option<String>,
    /// How that stands to each other.
    pub mark: Mark,
    /// By which rule that was told, where there are several.
    pub because: Option<String>,
    /// What would be answered for it.
    pub reason: Option<String>,
    /// The status of that answer.
    pub status: Option<u16>,
}

/// How what is there stands to what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// It is what is wanted.
    Met,
    /// It is not.
    Unmet,
    /// It was not looked at.
    Open,
}

impl Demand {
    fn open(about: &str, wanted: String) -> Self {
        let (has, because, reason, status) = (None, None, None, None);
        Self { about: about.into(), wanted, has, mark: Mark::Open, because, reason, status }
    }

    fn having(self, has: Option<String>) -> Self {
        Self { has, ..self }
    }

    /// The same, which is met.
    pub fn met(self) -> Self {
        Self { mark: Mark::Met, ..self }
    }

    /// The same, which is not met and answered so.
    pub fn unmet(self, refusal: impl Into<Refusal>) -> Self {
        let row = refusal.into().reason.row();
        let (reason, status) = (Some(row.word.to_owned()), Some(row.status.as_u16()));
        Self { mark: Mark::Unmet, reason, status, ..self }
    }
}

/// The demand of a client certificate.
pub fn of_certificate(
    required: &RequiredCertificate,
    result: &Result<(), accept::certificate::Error>,
) -> Demand {
    let name = |name: &AlternativeName| match name {
        AlternativeName::Dns(name) | AlternativeName::Uri(name) | AlternativeName::Email(name) => {
            name.clone()
        }
    };
    let names: Vec<String> = required.names.iter().map(name).collect();
    let mut wanted = Vec::new();
    if !required.subjects.is_empty() {
        wanted.push(format!("subject {}", required.subjects.join(" or ")));
    }
    if !names.is_empty() {
        wanted.push(format!("name {}", words::any_of(&names)));
    }
    let demand = Demand::open("client certificate", wanted.join(", and "));
    match result {
        Ok(()) => demand.met(),
        Err(error) => demand.unmet(*error),
    }
}

/// The demands of a policy on a token that is not there.
pub fn of_policy(policy: &Policy, providers: &[&IdentityProvider]) -> Vec<Demand> {
    let mut demands = vec![
        Demand::open("issuer", issuers(providers)),
        Demand::open("audience", audiences(providers)),
        Demand::open("caller", principals(policy.principals)),
    ];
    if !policy.clients.is_empty() {
        demands.push(Demand::open("client", words::any_of(&policy.clients)));
    }
    if !policy.scopes.words().is_empty() {
        demands.push(Demand::open("scopes", listed(&policy.scopes)));
    }
    if !policy.roles.words().is_empty() {
        demands.push(Demand::open("roles", listed(&policy.roles)));
    }
    demands.extend(policy.claims.iter().map(|wanted| Demand::open("claim", claim(wanted))));
    demands
}

/// The demands of a policy, and how a token stands to them.
pub fn of_token(
    policy: &Policy,
    providers: &[&IdentityProvider],
    appraisal: &Appraisal,
    now: UnixTime,
) -> Vec<Demand> {
    let judge = Judge { policy, providers, appraisal, now };
    appraisal.findings.iter().filter_map(|finding| judge.demand(finding)).collect()
}

struct Judge<'a> {
    policy: &'a Policy,
    providers: &'a [&'a IdentityProvider],
    appraisal: &'a Appraisal,
    now: UnixTime,
}

impl Judge<'_> {
    /// What was found, if it is worth telling: what nobody demands, and is not wrong, is not.
    fn demand(&self, finding: &Finding) -> Option<Demand> {
        let Self { policy, appraisal, .. } = self;
        let said = appraisal.said.as_ref();
        let is_met = finding.verdict == Verdict::Met;
        let algorithms = || {
            let all = self.meant().into_iter().flat_map(|provider| &provider.algorithms);
            all.map(|algorithm| algorithm.name()).collect::<Vec<_>>()
        };
        let demand = match &finding.about {
            About::Form if finding.verdict == Verdict::Open => {
                Demand::open("form", "no JWT: the issuer is asked what it is worth (RFC 7662)".into())
            }
            About::Form => Demand::open("form", "a well-formed signed JWT".into()),
            About::Algorithm => Demand::open("algorithm", words::any_of(&algorithms())),
            About::Issuer => Demand::open("issuer", issuers(self.providers)).having(self.text("iss")),
            About::Signature => Demand::open("signature", "by a key that the issuer publishes".into()),
            About::Words => Demand::open("claims", "a user, scopes and roles of the right types".into()),
            About::Times => Demand::open("time", "not before nbf, before exp".into()).having(self.times()),
            About::Audience => {
                let meant: Vec<&IdentityProvider> = self.meant();
                Demand::open("audience", audiences(&meant)).having(self.text("aud"))
            }
            About::Tenant if self.meant().iter().any(|provider| provider.entra().is_some()) => {
                Demand::open("tenant", "one that may enter".into()).having(self.text("tid"))
            }
            About::Tenant if is_met => return None,
            About::Tenant => Demand::open("tenant", "one that may enter".into()),
            About::AccessToken => {
                let because = finding.because.clone().map(Cow::into_owned);
                Demand { because, ..Demand::open("kind", "an access token".into()) }
            }
            About::Principal => {
                let has = appraisal.judged.map(|judged| match judged.principal {
                    Principal::User => "a user".to_owned(),
                    Principal::Application => "an application".to_owned(),
                });
                let because = appraisal.judged.map(|judged| judged.sign.to_owned());
                Demand { because, ..Demand::open("caller", principals(policy.principals)).having(has) }
            }
            About::Holder if is_met && !appraisal.claims.contains_key("cnf") => return None,
            About::Holder => Demand::open("holder", "the certificate that the token is bound to".into()),
            About::Client if policy.clients.is_empty() => return None,
            About::Client => Demand::open("client", words::any_of(&policy.clients))
                .having(said.and_then(|said| said.client.as_deref()).map(printable::line)),
            About::Scopes if policy.scopes.words().is_empty() => return None,
            About::Scopes => Demand {
                because: self.missing(|names| &names.scopes),
                ..Demand::open("scopes", listed(&policy.scopes))
                    .having(said.map(|said| shown(said.scopes.words())))
            },
            About::Roles if policy.roles.words().is_empty() => return None,
            About::Roles => Demand {
                because: self.missing(|names| &names.roles),
                ..Demand::open("roles", listed(&policy.roles)).having(said.map(|said| shown(&said.roles)))
            },
            About::Claim(at) => {
                let wanted = policy.claims.get(*at)?;
                let has = match appraisal.claims.get(&wanted.0) {
                    Some(_) if HARMLESS.contains(&wanted.0.as_str()) => self.text(&wanted.0),
                    Some(_) if is_met => None,
                    Some(_) => Some("another value".into()),
                    None if is_met => None,
                    None => Some("nothing".into()),
                };
                Demand::open("claim", claim(wanted)).having(has)
            }
        };
        Some(match finding.verdict {
            Verdict::Met => demand.met(),
            Verdict::Unmet(kind) => demand.unmet(authenticate::Error::from(kind)),
            Verdict::Open => demand,
        })
    }

    /// The provider whose token it is; all that count, if it is nobody's.
    fn meant(&self) -> Vec<&IdentityProvider> {
        match &self.appraisal.provider {
            Some(provider) => vec![provider.as_ref()],
            None => self.providers.to_vec(),
        }
    }

    /// That the claim is not there at all which the provider has for something.
    fn missing(&self, name: impl Fn(&config::ClaimNames) -> &String) -> Option<String> {
        let name = name(&self.appraisal.provider.as_ref()?.claim_names);
        let is_there = caller::claim(&self.appraisal.claims, name).is_some();
        (!is_there).then(|| format!("the claim {name} is not there"))
    }

    /// A claim that may be shown.
    fn text(&self, name: &str) -> Option<String> {
        let text = match self.appraisal.claims.get(name)? {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some(printable::line(&text))
    }

    fn times(&self) -> Option<String> {
        let time = |name: &str| {
            let seconds = self.appraisal.claims.get(name)?.as_f64()?;
            Some(format!("{name} {}", words::moment(UnixTime::from_seconds(seconds as i64), self.now)))
        };
        // nbf is worth a word only where it is to come
        let early = time("nbf").filter(|text| text.contains(", in "));
        Some([time("exp"), early].into_iter().flatten().collect::<Vec<_>>().join("; "))
    }
}

fn issuers(providers: &[&IdentityProvider]) -> String {
    let issuer = |provider: &&IdentityProvider| match &provider.server {
        config::AuthorizationServer::Oidc(oidc) => oidc.issuer.clone(),
        config::AuthorizationServer::Entra(entra) => match &entra.tenancy {
            config::Tenancy::Id(id) => format!("Entra, tenant {id}"),
            config::Tenancy::Domain(domain) => format!("Entra, the tenant of {domain}"),
            config::Tenancy::Shared { allowed, .. } => {
                format!("Entra, {} tenants", allowed.len())
            }
        },
    };
    let all: Vec<String> =
        providers.iter().map(|provider| format!("{} ({})", provider.name, issuer(provider))).collect();
    words::any_of(&all)
}

fn audiences(providers: &[&IdentityProvider]) -> String {
    let all: Vec<&str> =
        providers.iter().flat_map(|provider| &provider.audiences).map(String::as_str).collect();
    words::any_of(&all)
}

fn principals(principals: Principals) -> String {
    match principals {
        Principals::Users => "a user".into(),
        Principals::UsersAndApplications => "a user or an application".into(),
    }
}

fn listed(demand: &config::Demand) -> String {
    match demand {
        config::Demand::All(all) => words::all_of(all),
        config::Demand::Any(any) => words::any_of(any),
    }
}

fn claim((name, wanted): &(String, String)) -> String {
    format!("{name} = {wanted}")
}

fn shown(all: &[String]) -> String {
    printable::line(&words::all_of(all))
}
