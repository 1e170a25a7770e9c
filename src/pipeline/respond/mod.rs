//! A refusal becomes an answer the caller can act on.
//!
//! **In:** a [`refusal::Refusal`]. **Out:** a complete response. **Never:** blames the caller for our or the identity
//! provider's fault; puts text of the identity provider into a header.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::HeaderValue;
use http::Response;
use http::StatusCode;
use http::header;
use http::request::Parts;
use http_body_util::BodyExt;
use http_body_util::Empty;
use http_body_util::Full;
use serde::Serialize;
use url::form_urlencoded;

use crate::config::AuthorizationServer;
use crate::config::EntraVersion;
use crate::config::IdentityProvider;
use crate::config::Policy;
use crate::config::ResourceMetadata;
use crate::config::Scheme;
use crate::config::Tenancy;
use crate::domain::name::Name;
use crate::domain::peer::Trust;
use crate::domain::tenant::TenantId;
use crate::net::Body;
use crate::net::metadata::Endpoint;
use crate::net::metadata::Metadata;
use crate::pipeline::exchange::OAuthError;

pub mod caught;
pub mod challenge;
pub mod cors;
pub mod drain;
pub mod grpc;
pub mod log;
pub mod reason;
pub mod refusal;
pub mod resource;

use challenge::Demand;
use challenge::Realm;
use grpc::Dialect;
use reason::ChallengeError;
use reason::Row;
use refusal::Connection;
use refusal::Refusal;
use resource::Described;
use resource::Description;

/// Builds the answers.
#[derive(Debug)]
pub struct Responder {
    identity_providers: HashMap<Name, Arc<IdentityProvider>>,
    metadata: HashMap<Name, Metadata>,
    describes: bool,
}

/// What is known of the request that is refused.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The id the caller may quote.
    pub request_id: &'a str,
    /// Whose tokens the route takes; `None` = no provider is known yet.
    pub identity_provider: Option<&'a Name>,
    /// The tenant of the validated token, if it came that far.
    pub tenant: Option<&'a TenantId>,
    /// The scopes the route requires of its callers.
    pub scopes: &'a [String],
    /// Where the resource is described, if it is.
    pub resource_metadata: Option<&'a str>,
    /// How the caller reads the answer.
    pub dialect: Dialect,
}

/// The body of every answer of the proxy's own (RFC 9457).
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    reason: &'a str,
    detail: &'a str,
    request_id: &'a str,
    #[serde(flatten)]
    idp: Option<IdpAnswer<'a>>,
}

/// The members of an identity provider's error that a caller may need (RFC 6749 section 5.2 and Entra's own). Its
/// description stays out: it is text for the operator, and not ours.
#[derive(Serialize)]
struct IdpAnswer<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    suberror: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a str>,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    error_codes: &'a [u64],
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
}

impl<'a> IdpAnswer<'a> {
    fn of(error: &'a OAuthError) -> Self {
        Self {
            error: &error.error,
            suberror: error.suberror.as_deref(),
            claims: error.claims.as_deref(),
            error_codes: &error.error_codes,
            trace_id: error.trace_id.as_deref(),
            correlation_id: error.correlation_id.as_deref(),
        }
    }
}

impl Responder {
    /// A responder that knows where the users of `identity_providers` sign in: of those found by discovery, `metadata`
    /// says so.
    pub fn new(identity_providers: &[Arc<IdentityProvider>], metadata: HashMap<Name, Metadata>) -> Self {
        let by_name = |provider: &Arc<IdentityProvider>| (provider.name.clone(), provider.clone());
        let describes = identity_providers.iter().any(|provider| is_served(provider));
        Self { identity_providers: identity_providers.iter().map(by_name).collect(), metadata, describes }
    }

    /// Where the resource that a request is for would be described, if any is.
    pub fn metadata_url(&self, head: &Parts, scheme: Scheme, trust: Trust) -> Option<String> {
        self.describes.then_some(())?;
        resource::metadata_url(&resource::origin(head, scheme, trust)?, head.uri.path())
    }

    /// The resource whose description a request wants, if any is described.
    pub fn described(&self, head: &Parts, scheme: Scheme, trust: Trust) -> Option<Described> {
        self.describes.then(|| resource::described(head, scheme, trust)).flatten()
    }

    /// Whether a resource whose route has that policy is described.
    pub fn is_described(&self, policy: &Policy) -> bool {
        self.described_by(policy).next().is_some()
    }

    /// The description of the resource at that URL, whose routes have these policies (RFC 9728 section 3.2); `None` if it
    /// is not to be described.
    pub fn description<'p>(
        &self,
        resource: String,
        policies: impl IntoIterator<Item = &'p Policy>,
    ) -> Option<Response<Body>> {
        let mut description = Description { resource, ..Description::default() };
        let Description { authorization_servers, scopes_supported, .. } = &mut description;
        for policy in policies {
            for provider in self.described_by(policy) {
                let issuer = issuer(provider);
                if !authorization_servers.contains(&issuer) {
                    authorization_servers.push(issuer);
                }
            }
            if self.is_described(policy) {
                let new = |scope: &&String| !scopes_supported.contains(scope);
                let new: Vec<String> = policy.scopes.words().iter().filter(new).cloned().collect();
                scopes_supported.extend(new);
            }
        }
        (!authorization_servers.is_empty()).then_some(())?;
        let body = serde_json::to_vec(&description).ok()?;
        let mut response = Response::new(Full::from(body).map_err(|never| match never {}).boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // it depends on the name by which the client knows us
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Some(response)
    }

    fn described_by<'p>(&'p self, policy: &'p Policy) -> impl Iterator<Item = &'p IdentityProvider> {
        let providers = policy.identity_providers.iter().filter_map(|name| self.identity_providers.get(name));
        providers.map(AsRef::as_ref).filter(|provider| is_served(provider))
    }

    /// The answer to a refused request.
    pub fn answer(&self, refusal: &Refusal, context: Context<'_>) -> Response<Body> {
        let row = refusal.reason.row();
        let mut response = match context.dialect {
            Dialect::Http => problem(&row, refusal, context),
            Dialect::Grpc => {
                let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
                response.headers_mut().extend(grpc::trailers_only(row.status, row.detail));
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = self.challenge(row.challenge, refusal, context) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(after) = refusal.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(after)));
        }
        if row.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(
                header::ALLOW,
                HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            );
        }
        if refusal.connection == Connection::Close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Replaces the challenge of an upstream that refuses token B: it names an audience that is not the caller's.
    pub fn rewrite_challenge(&self, headers: &mut HeaderMap, context: Context<'_>) {
        headers.remove(header::WWW_AUTHENTICATE);
        if let Some(challenge) = challenge::challenge(Demand::Token, &self.realm(context)) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
    }

    fn challenge(
        &self,
        error: ChallengeError,
        refusal: &Refusal,
        context: Context<'_>,
    ) -> Option<HeaderValue> {
        let said = refusal.idp.as_deref();
        let claims = said.and_then(|answer| answer.claims.as_deref());
        let realm = self.realm(context);
        let demand = match error {
            ChallengeError::NoChallenge => return None,
            ChallengeError::Unnamed => Demand::Token,
            ChallengeError::InvalidRequest => Demand::ValidRequest,
            ChallengeError::InvalidToken => Demand::ValidToken,
            ChallengeError::InsufficientScope => Demand::Scopes(context.scopes),
            ChallengeError::Interaction => {
                let step_up = said.filter(|_| !self.is_entra(context)).and_then(step_up);
                step_up.unwrap_or_else(|| claims.map_or(Demand::Interaction, Demand::Claims))
            }
        };
        let is_unauthorized = refusal.reason.row().status == StatusCode::UNAUTHORIZED;
        let resource_metadata = realm.resource_metadata.filter(|_| is_unauthorized);
        challenge::challenge(demand, &Realm { resource_metadata, ..realm })
    }

    fn provider(&self, context: Context<'_>) -> Option<&IdentityProvider> {
        context.identity_provider.and_then(|name| self.identity_providers.get(name)).map(AsRef::as_ref)
    }

    fn is_entra(&self, context: Context<'_>) -> bool {
        self.provider(context).is_some_and(|provider| provider.entra().is_some())
    }

    /// Where an administrator of the user's tenant may consent for everyone
    /// (<https://learn.microsoft.com/entra/identity-platform/v2-admin-consent>); `None` off Entra.
    pub fn admin_consent(&self, context: Context<'_>) -> Option<String> {
        let provider = self.provider(context)?;
        let tenancy = &provider.entra()?.tenancy;
        let tenant = match (context.tenant, tenancy) {
            (Some(tenant), _) | (None, Tenancy::Id(tenant)) => tenant.as_str(),
            (None, Tenancy::Domain(domain)) => domain.as_str(),
            (None, Tenancy::Shared { .. }) => return None,
        };
        let client_id: String = form_urlencoded::byte_serialize(provider.client_id.as_bytes()).collect();
        Some(format!("{}/{tenant}/adminconsent?client_id={client_id}", provider.entra()?.origin()))
    }

    fn realm(&self, context: Context<'_>) -> Realm {
        let resource_metadata = context.resource_metadata.map(String::from);
        let Some(provider) = self.provider(context) else {
            return Realm { resource_metadata, ..Realm::default() };
        };
        let entra = match &provider.server {
            AuthorizationServer::Entra(entra) => entra,
            AuthorizationServer::Oidc(oidc) => {
                let metadata = self.metadata.get(&provider.name);
                let endpoint = metadata.and_then(|metadata| metadata.known(Endpoint::Authorization));
                return Realm {
                    realm: oidc.issuer.clone(),
                    authorization_uri: endpoint.map_or_else(String::new, String::from),
                    client_id: provider.client_id.clone(),
                    resource_metadata,
                };
            }
        };
        let (realm, segment) = match (context.tenant, &entra.tenancy) {
            (Some(tenant), _) | (None, Tenancy::Id(tenant)) => (tenant.as_str(), tenant.as_str()),
            (None, Tenancy::Domain(domain)) => (domain.as_str(), domain.as_str()),
            (None, Tenancy::Shared { endpoint, .. }) => ("", endpoint.as_str()),
        };
        Realm {
            realm: realm.to_owned(),
            authorization_uri: entra.authorization_endpoint(segment),
            client_id: provider.client_id.clone(),
            resource_metadata,
        }
    }
}

fn is_served(provider: &IdentityProvider) -> bool {
    provider.resource_metadata == ResourceMetadata::Served
}

/// The issuer by which clients find the server's metadata. Entra's clients get version 2 tokens from its endpoint.
fn issuer(provider: &IdentityProvider) -> String {
    match &provider.server {
        AuthorizationServer::Entra(entra) => entra.issuer(EntraVersion::V2, entra.tenancy.segment()),
        AuthorizationServer::Oidc(oidc) => oidc.issuer.clone(),
    }
}

/// What RFC 9470 makes of an answer that asks for another sign-in. Entra uses claims instead.
fn step_up(answer: &OAuthError) -> Option<Demand<'_>> {
    let is_step_up = answer.error.eq_ignore_ascii_case("insufficient_user_authentication");
    let (acr_values, max_age) = (answer.acr_values.as_deref(), answer.max_age);
    is_step_up.then_some(Demand::StepUp { acr_values, max_age })
}

/// The answer of `row` with problem details as its body.
fn problem(row: &Row, refusal: &Refusal, context: Context<'_>) -> Response<Body> {
    let problem = Problem {
        kind: format!("urn:obo-proxy:{}", row.word),
        title: row.status.canonical_reason().unwrap_or_default(),
        status: row.status.as_u16(),
        reason: row.word,
        detail: row.detail,
        request_id: context.request_id,
        idp: refusal.idp.as_deref().map(IdpAnswer::of),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Full::from(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = row.status;
    let content_type = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// `Retry-After` counts whole seconds; a fraction is rounded up, so that nobody comes back too early.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
