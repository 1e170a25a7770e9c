//! Providers, callers and messages that tests share.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::Value;
use serde_json::json;

use crate::config::Actor;
use crate::config::Algorithm;
use crate::config::AppTokens;
use crate::config::AuthMethod;
use crate::config::AuthorizationServer;
use crate::config::Cache;
use crate::config::CacheKeyMode;
use crate::config::ClaimNames;
use crate::config::Credential;
use crate::config::Egress;
use crate::config::Entra;
use crate::config::Exchange;
use crate::config::GrantType;
use crate::config::IdentityProvider;
use crate::config::Introspection;
use crate::config::Jwks;
use crate::config::Oidc;
use crate::config::ResourceMetadata;
use crate::config::Tenancy;
use crate::domain::caller::Caller;
use crate::domain::caller::Claims;
use crate::domain::caller::Principal;
use crate::domain::caller::UserKey;
use crate::domain::caller::claims_digest;
use crate::domain::caller::user_digest;
use crate::domain::clock::UnixTime;
use crate::domain::derived::Derived;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::scope::Scopes;
use crate::domain::secret::Secret;
use crate::domain::tenant::TenantId;
use crate::domain::token::UserToken;

/// The tenant of every caller here.
pub const TENANT: &str = "26039cce-489d-4002-8293-5b0c5134eacb";

/// The message of that id in Microsoft's documentation, as data.
pub fn seed(id: &str) -> Value {
    let seeds = seeds();
    let path = seeds["ids"][id].as_array().unwrap_or_else(|| panic!("no {id}"));
    path.iter().fold(seeds.clone(), |value, step| match step {
        Value::String(name) => value[name].clone(),
        index => value[usize::try_from(index.as_u64().unwrap()).unwrap()].clone(),
    })
}

/// The compact token of that id.
pub fn seed_token(id: &str) -> String {
    seeds()["tokens"][id].as_str().unwrap().to_owned()
}

fn seeds() -> Value {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/seeds.json"));
    serde_json::from_str(text).unwrap()
}

/// A provider with one secret in memory.
pub fn provider(authority: &str) -> IdentityProvider {
    IdentityProvider {
        name: Name::parse("contoso").unwrap(),
        server: AuthorizationServer::Entra(Entra {
            authority: authority.parse().unwrap(),
            v1_issuer_prefix: "https://sts.windows.net/".into(),
            tenancy: Tenancy::Id(TenantId::parse(TENANT).unwrap()),
        }),
        client_id: "625391af-c675-43e5-8e44-edd3e30ceb15".into(),
        audiences: vec!["625391af-c675-43e5-8e44-edd3e30ceb15".into()],
        credentials: vec![secret("right")],
        auth_method: AuthMethod::ClientSecretPost,
        grant: GrantType::JwtBearer,
        client_capabilities: vec![],
        introspection: Introspection::Off,
        resource_metadata: ResourceMetadata::Hidden,
        clock_skew: Duration::from_secs(60),
        timeout: Duration::from_secs(30),
        jwks: Jwks { refresh: Duration::from_secs(3600), cooldown: Duration::from_secs(30) },
        algorithms: vec![Algorithm::RS256],
        token_types: vec!["JWT".into()],
        claim_names: ClaimNames { user: None, scopes: "scp".into(), roles: "roles".into() },
        parameters: vec![],
        egress: Egress::Direct,
    }
}

/// A provider that is not Entra, with one secret in memory; without a token endpoint it is found by discovery.
pub fn oidc(issuer: &str, token_endpoint: Option<&str>, grant: GrantType) -> IdentityProvider {
    IdentityProvider {
        server: AuthorizationServer::Oidc(Oidc {
            issuer: issuer.into(),
            jwks_uri: None,
            token_endpoint: token_endpoint.map(|url| url.parse().unwrap()),
            introspection_endpoint: None,
            authorization_endpoint: None,
        }),
        client_id: "Orders".into(),
        audiences: vec!["Orders".into()],
        grant,
        claim_names: ClaimNames { user: None, scopes: "scope".into(), roles: "roles".into() },
        ..provider("https://login.example")
    }
}

/// A secret in memory.
pub fn secret(text: &str) -> Credential {
    Credential::Secret(Secret::new(text.into()))
}

/// The contract's defaults.
pub fn cache() -> Cache {
    Cache {
        max_entries: 10_000,
        max_bytes: 64 * 1024 * 1024,
        key: CacheKeyMode::User,
        expiry_margin: Duration::from_secs(300),
        negative_ttl: Duration::from_secs(30),
        redis: None,
    }
}

/// An exchange for these scopes.
pub fn exchange(scopes: &[&str]) -> Arc<Exchange> {
    Arc::new(Exchange {
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        resources: vec![],
        audiences: vec![],
        actor: Actor::Nobody,
        requested_token_type: None,
        app_tokens: AppTokens::Reject,
    })
}

/// The caller whose token A is `token`, with these claims.
pub fn caller_of(token: &str, claims: &Value) -> Caller {
    let all = claims.as_object().unwrap().clone();
    let text = |name: &str| all.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let authorization = HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
    Caller {
        token: UserToken::from_authorization(authorization, 7).unwrap(),
        claims: Arc::new(Claims {
            identity_provider: Name::parse("contoso").unwrap(),
            issuer: text("iss"),
            tenant: TenantId::parse(&text("tid")),
            user: UserKey::entra(&text("oid")),
            user_digest: user_digest(TenantId::parse(&text("tid")).as_ref(), &UserKey::entra(&text("oid"))),
            client: None,
            scopes: Scopes::parse(&text("scp")),
            roles: vec![],
            principal: Principal::User,
            expires_on: UnixTime::from_seconds(i64::MAX),
            not_before: None,
            token_digest: Digest::of(token.as_bytes()),
            claims_digest: claims_digest(&all),
            all,
            derived: Derived::default(),
        }),
    }
}

/// A caller of another IdP than Entra, known by issuer and subject.
pub fn subject(issuer: &str, subject: &str, uti: u32) -> Caller {
    let all = json!({"iss": issuer, "sub": subject, "jti": uti});
    let caller = caller_of(&format!("{subject}.{uti}"), &all);
    with_claims(caller, |claims| {
        claims.user = UserKey::subject(issuer, subject);
        claims.user_digest = user_digest(None, &claims.user);
    })
}

/// An application that calls on its own behalf.
pub fn application(name: &str) -> Caller {
    let caller = caller_of(name, &json!({"tid": TENANT, "oid": name, "roles": ["Robot"]}));
    with_claims(caller, |claims| claims.principal = Principal::Application)
}

fn with_claims(mut caller: Caller, change: impl FnOnce(&mut Claims)) -> Caller {
    change(Arc::get_mut(&mut caller.claims).unwrap());
    caller
}

/// One of several tokens of one session of a user: they differ in `uti` only.
pub fn caller(user: &str, uti: u32) -> Caller {
    caller_of(
        &format!("{user}.{uti}"),
        &json!({"tid": TENANT, "oid": user, "scp": "user_impersonation", "uti": uti}),
    )
}

/// The caller of a compact token, believed as it stands.
pub fn caller_of_compact(token: &str) -> Caller {
    let payload = token.split('.').nth(1).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap();
    caller_of(token, &serde_json::from_slice(&claims).unwrap())
}
