//! What an exchange is made for, and where: as whoever wants it says it, and as a flight takes it along.

use std::sync::Arc;

use crate::config::Actor;
use crate::config::AppTokens;
use crate::config::AuthorizationServer;
use crate::config::EntraVersion;
use crate::config::Exchange;
use crate::config::IdentityProvider;
use crate::domain::caller::Caller;
use crate::domain::caller::Claims;
use crate::domain::caller::Principal;
use crate::domain::digest::Digest;
use crate::domain::tenant::TenantId;
use crate::domain::token::DownstreamToken;
use crate::net::metadata;
use crate::net::metadata::Endpoint;
use crate::net::metadata::Metadata;
use crate::pipeline::exchange::demand;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::filed::Filed;
use crate::pipeline::exchange::key::CacheKey;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::row::Row;
use crate::pipeline::exchange::weather::Tries;
use crate::pipeline::exchange::witness::Witness;
use crate::telemetry::lead::Asker;
use crate::telemetry::lead::Lead;

/// A provider, and what it says of its endpoints if they do not follow from its configuration.
#[derive(Clone, Debug)]
pub struct Known {
    /// The provider.
    pub provider: Arc<IdentityProvider>,
    /// Its metadata.
    pub metadata: Option<Metadata>,
}

/// A token that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What it is filed under.
    pub key: CacheKey,
    /// What it is for.
    pub errand: Errand<'a>,
    /// The token that it is to replace.
    pub instead: Option<Instead<'a>>,
    /// The request because of which it is wanted.
    pub asker: Option<Asker<'a>>,
}

/// A token that will not do, though it is live.
#[derive(Clone, Copy, Debug)]
pub struct Instead<'a> {
    /// The token.
    pub of: &'a DownstreamToken,
    /// What it lacks, if that is known.
    pub claims: Option<&'a demand::Claims>,
}

/// What a token is for.
#[derive(Clone, Copy, Debug)]
pub enum Errand<'a> {
    /// For a caller.
    Caller(&'a Caller, &'a Arc<Exchange>),
    /// To say that it is we who act for a user.
    Actor(&'a Known),
}

impl Wanted<'_> {
    /// What its exchange and the refusals of its token A are filed under: an exchange that satisfies no claims is no
    /// substitute for one that does.
    pub fn flight(&self) -> CacheKey {
        match self.claims() {
            Some(claims) => self.key.demanding(claims.digest()),
            None => self.key,
        }
    }

    /// What it is filed under, and whose it is: a user's, or our own.
    pub fn filed(&self) -> Filed {
        let holder = match self.errand {
            Errand::Caller(caller, _) => holder(caller),
            Errand::Actor(_) => None,
        };
        Filed { key: self.key, holder }
    }

    /// The claims that the token must satisfy.
    pub fn claims(&self) -> Option<&demand::Claims> {
        self.instead.and_then(|instead| instead.claims)
    }

    /// Whether `token`, which was asked to satisfy the claims of that digest, will do.
    pub fn is_met_by(&self, token: &DownstreamToken, claims: Option<Digest>) -> bool {
        self.instead.is_none_or(|instead| {
            !token.equals(instead.of)
                && (instead.claims.is_none() || instead.claims.map(demand::Claims::digest) == claims)
        })
    }

    /// What refusals are remembered for besides the key: token A, where there is one.
    pub fn assertion(&self) -> Digest {
        match self.errand {
            Errand::Caller(caller, _) => caller.claims.token_digest,
            Errand::Actor(_) => Digest::of(b""),
        }
    }
}

/// All that a flight needs to go on without its caller.
#[derive(Clone, Debug)]
pub struct Journey {
    /// What its token is filed under.
    pub key: CacheKey,
    /// What its refusals are filed under.
    pub flight: CacheKey,
    /// The claims that its token must satisfy.
    pub claims: Option<demand::Claims>,
    /// Whose token A it uses.
    pub assertion: Digest,
    /// Where it goes.
    pub known: Known,
    /// Whose endpoint that is.
    pub issuer: String,
    /// The token endpoint, where that is known without asking.
    url: Option<String>,
    /// What it is for.
    pub load: Load,
    /// Who hears what the IdP says, if anybody wants to know.
    pub witness: Option<Arc<Witness>>,
    /// What its token takes the place of.
    pub replacing: Replacing,
    /// How often it asks, if nothing comes.
    pub tries: Tries,
    /// The request that led to it.
    pub lead: Option<Lead>,
}

/// What a token takes the place of.
#[derive(Clone, Debug)]
pub enum Replacing {
    /// There is none.
    Nothing,
    /// One that its upstream refuses.
    Refused(DownstreamToken),
    /// One whose end is near.
    Due,
}

/// What a flight takes along.
#[derive(Clone, Debug)]
pub enum Load {
    /// A user's token A.
    User(Caller, Arc<Exchange>),
    /// What the route wants, and who wants it, but not their token: the caller is no user, and gets a token of our own.
    Ourselves(Arc<Claims>, Arc<Exchange>),
    /// Nothing: the token is to say who we are.
    Actor,
}

/// Where a token is asked for.
#[derive(Clone, Debug)]
pub struct Place {
    /// Whose endpoint it is.
    pub issuer: String,
    /// The endpoint; `None` = the issuer's metadata say where it is.
    pub url: Option<String>,
}

impl Place {
    /// Where `provider` gives what `exchange` wants for a caller of that tenant; `None` if that is Entra, and the caller is
    /// of none.
    pub fn of(provider: &IdentityProvider, exchange: &Exchange, tenant: Option<&TenantId>) -> Option<Self> {
        Some(match &provider.server {
            AuthorizationServer::Oidc(oidc) => Self { issuer: oidc.issuer.clone(), url: None },
            AuthorizationServer::Entra(entra) => Self {
                issuer: entra.issuer(EntraVersion::V2, tenant?.as_str()),
                url: Some(entra.token_endpoint(exchange.entra_version(), tenant?)),
            },
        })
    }
}

impl Journey {
    /// The same, of which `witness` hears what the IdP says.
    pub fn witnessed(self, witness: Arc<Witness>) -> Self {
        Self { witness: Some(witness), ..self }
    }

    /// The same, for what is there and serves meanwhile: nobody waits, and who comes next tries again.
    pub fn renewing(self) -> Self {
        Self { replacing: Replacing::Due, tries: Tries::One, ..self }
    }

    /// The journey to `known` for a caller.
    ///
    /// # Errors
    /// If there is nobody to act on behalf of, and nothing else to do, or Entra is to be asked for a caller of no
    /// tenant. Authentication lets no such caller through.
    pub fn of_caller(
        wanted: &Wanted<'_>,
        known: &Known,
        caller: &Caller,
        exchange: &Arc<Exchange>,
    ) -> Result<Self, Error> {
        let Place { issuer, url } = Place::of(&known.provider, exchange, caller.claims.tenant.as_ref())
            .ok_or_else(|| Error::ours(Kind::Internal))?;
        let load = match (caller.claims.principal, exchange.app_tokens) {
            (Principal::User, _) => Load::User(caller.clone(), exchange.clone()),
            (Principal::Application, AppTokens::ClientCredentials) => {
                Load::Ourselves(caller.claims.clone(), exchange.clone())
            }
            (Principal::Application, AppTokens::Reject) => return Err(Error::ours(Kind::Internal)),
        };
        Ok(Self {
            key: wanted.key,
            flight: wanted.flight(),
            claims: wanted.claims().cloned(),
            assertion: caller.claims.token_digest,
            known: known.clone(),
            issuer,
            url,
            load,
            witness: None,
            replacing: wanted
                .instead
                .map_or(Replacing::Nothing, |instead| Replacing::Refused(instead.of.clone())),
            tries: Tries::Two,
            lead: wanted.asker.map(Lead::from),
        })
    }

    /// The journey to `known` for a token that says who we are.
    ///
    /// # Errors
    /// If that is Entra, which is told of no actors. The configuration lets no such exchange through.
    pub fn of_actor(wanted: &Wanted<'_>, known: &Known) -> Result<Self, Error> {
        let AuthorizationServer::Oidc(oidc) = &known.provider.server else {
            return Err(Error::ours(Kind::Internal));
        };
        Ok(Self {
            key: wanted.key,
            flight: wanted.key,
            claims: None,
            assertion: Digest::of(b""),
            known: known.clone(),
            issuer: oidc.issuer.clone(),
            url: None,
            load: Load::Actor,
            witness: None,
            replacing: Replacing::Nothing,
            tries: Tries::Two,
            lead: wanted.asker.map(Lead::from),
        })
    }

    /// What its token is filed under, and whose it is: a user's, or our own.
    pub fn filed(&self) -> Filed {
        let holder = match &self.load {
            Load::User(caller, _) => holder(caller),
            Load::Ourselves(..) | Load::Actor => None,
        };
        Filed { key: self.key, holder }
    }

    /// Whether the user's IdP is to be told that it is we who act.
    pub fn wants_actor(&self) -> bool {
        matches!(&self.load, Load::User(_, exchange) if exchange.actor == Actor::Ourselves)
    }

    /// Where it goes.
    ///
    /// # Errors
    /// If the IdP does not say where its token endpoint is.
    pub async fn url(&self) -> Result<String, Error> {
        match (&self.url, &self.known.metadata) {
            (Some(url), _) => Ok(url.clone()),
            (None, Some(metadata)) => {
                metadata.endpoint(Endpoint::Token).await.map(String::from).map_err(lost)
            }
            (None, None) => Err(Error::ours(Kind::Internal)),
        }
    }

    /// The error as whoever waits sees it: a request of our own says nothing of the user, so that no sign-in mends it.
    pub fn seen(&self, error: Error) -> Error {
        match (&self.load, error.kind) {
            (Load::User(..), _)
            | (_, Kind::Unavailable { .. } | Kind::Throttled { .. } | Kind::BadResponse | Kind::Internal) => {
                error
            }
            (Load::Ourselves(..) | Load::Actor, _) => error.of_ourselves(),
        }
    }
}

/// Whose token the caller gets: an application is given one of our own.
fn holder(caller: &Caller) -> Option<Digest> {
    (caller.claims.principal == Principal::User).then_some(caller.claims.user_digest)
}

/// What it means that the token endpoint cannot be found.
fn lost(error: metadata::Error) -> Error {
    let kept = match &error {
        metadata::Error::NoAnswer(_) => Error::of(Row::NoAnswer, None),
        metadata::Error::Status(status) if status.is_server_error() || status.as_u16() == 429 => {
            Error::of(Row::Outage, None)
        }
        metadata::Error::Status(_) | metadata::Error::Encoded | metadata::Error::Document(_) => {
            Error::of(Row::Malformed, None)
        }
        metadata::Error::NotDiscoverable | metadata::Error::Unnamed(_) => Error::ours(Kind::Misconfigured),
    };
    kept.caused_by(error)
}
