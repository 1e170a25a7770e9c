//! What good identity providers other than Entra become, and what is asked of any of them.

use std::sync::Arc;

use crate::config::Access;
use crate::config::Actor;
use crate::config::Algorithm;
use crate::config::AppTokens;
use crate::config::AuthMethod;
use crate::config::AuthorizationServer;
use crate::config::Config;
use crate::config::EntraVersion;
use crate::config::Exchange;
use crate::config::GrantType;
use crate::config::Introspection;
use crate::config::Oidc;
use crate::config::Principals;
use crate::config::ResourceMetadata;
use crate::config::ValidatedToken;
use crate::config::load_text;
use crate::config::tests::FINE;
use crate::config::tests::config;
use crate::config::tests::env;
use crate::config::tests::route;
use crate::domain::tenant::TenantId;

/// The shortest configuration of another identity provider.
const OTHER: &str = "\
identity_providers:
  kc:
    oidc: { issuer: https://id.example/realms/b2b }
    client_id: orders-proxy
    credential: { secret: { file: /run/secrets/client_secret } }
routes:
  orders:
    match: /
    upstream: http://127.0.0.1:8000
    exchange: { audience: inventory }
";

const CREDENTIAL: &str = "credential: { secret: { file: /run/secrets/client_secret } }";

fn oidc(config: &Config) -> &Oidc {
    match &config.identity_providers[0].server {
        AuthorizationServer::Oidc(oidc) => oidc,
        AuthorizationServer::Entra(_) => panic!("this is Entra"),
    }
}

fn exchange(config: &Config) -> (Principals, Arc<Exchange>) {
    match &route(config, "orders").access {
        Access::Validated { policy, token: ValidatedToken::Exchange(exchange) } => {
            (policy.principals, exchange.clone())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_provider_has_the_defaults_of_the_standards() {
    // the environment of AKS says nothing about other identity providers
    let environment = env(&[("AZURE_CLIENT_ID", "x"), ("AZURE_TENANT_ID", "y")]);
    let config = load_text("config.yaml", OTHER, &environment).unwrap().config;
    let provider = &config.identity_providers[0];
    let server = oidc(&config);
    assert!(provider.entra().is_none() && provider.server.speaks_tls());
    assert_eq!(server.issuer, "https://id.example/realms/b2b");
    assert_eq!(server.discovery().unwrap().as_str(), "https://id.example/realms/b2b");
    for endpoint in [
        &server.jwks_uri,
        &server.token_endpoint,
        &server.introspection_endpoint,
        &server.authorization_endpoint,
    ] {
        assert_eq!(*endpoint, None);
    }
    assert_eq!(
        (provider.client_id.as_str(), provider.audiences.as_slice()),
        ("orders-proxy", &["orders-proxy".into()][..])
    );
    assert_eq!(
        (provider.auth_method, provider.grant),
        (AuthMethod::ClientSecretPost, GrantType::TokenExchange)
    );
    assert_eq!(provider.introspection, Introspection::Off);
    assert_eq!(provider.resource_metadata, ResourceMetadata::Hidden);
    assert_eq!(provider.algorithms, Algorithm::ALL);
    assert_eq!(provider.token_types, ["JWT", "at+jwt"]);
    assert_eq!(provider.claim_names.user, None);
    assert_eq!(
        (provider.claim_names.scopes.as_str(), provider.claim_names.roles.as_str()),
        ("scope", "roles")
    );
}

#[test]
fn all_that_can_be_said_about_another_provider_is_understood() {
    let server = "oidc:
      issuer: http://fs.example/adfs/services/trust
      jwks_uri: https://fs.example/adfs/discovery/keys
      token_endpoint: 'https://fs.example/adfs/oauth2/token?tenant=1'
      introspection_endpoint: http://127.0.0.1:1/introspect
      authorization_endpoint: https://fs.example/adfs/oauth2/authorize
    grant: jwt_bearer
    auth_method: client_secret_basic
    introspection: true
    resource_metadata: true
    algorithms: [EdDSA, ES256]
    token_types: at+jwt
    claim_names: { user: upn, scopes: scp, roles: realm_access.roles }
    parameters: { requested_token_use: on_behalf_of, subject_token_type: 'urn:x', requested_token_type: 'urn:y' }";
    let config = config(
        &OTHER
            .replace("oidc: { issuer: https://id.example/realms/b2b }", server)
            .replace("audience: inventory", "resource: https://api.example"),
    );
    let provider = &config.identity_providers[0];
    let server = oidc(&config);
    assert_eq!(server.issuer, "http://fs.example/adfs/services/trust");
    assert_eq!(server.discovery(), None);
    assert_eq!(
        server.token_endpoint.as_ref().unwrap().as_str(),
        "https://fs.example/adfs/oauth2/token?tenant=1"
    );
    assert_eq!(server.jwks_uri.as_ref().unwrap().path(), "/adfs/discovery/keys");
    assert_eq!(server.introspection_endpoint.as_ref().unwrap().as_str(), "http://127.0.0.1:1/introspect");
    assert_eq!(server.authorization_endpoint.as_ref().unwrap().path(), "/adfs/oauth2/authorize");
    assert!(provider.server.speaks_tls());
    assert_eq!((provider.auth_method, provider.grant), (AuthMethod::ClientSecretBasic, GrantType::JwtBearer));
    assert_eq!(provider.introspection, Introspection::On);
    assert_eq!(provider.resource_metadata, ResourceMetadata::Served);
    assert_eq!(provider.algorithms, [Algorithm::EdDSA, Algorithm::ES256]);
    assert_eq!(provider.claim_names.user.as_deref(), Some("upn"));
    assert_eq!(provider.claim_names.roles, "realm_access.roles");
    assert_eq!(provider.parameters.len(), 3);
}

#[test]
fn without_authentication_no_client_is_needed() {
    let text = OTHER
        .replace(CREDENTIAL, "auth_method: none")
        .replace("client_id: orders-proxy", "audiences: [orders]");
    let config = config(&text);
    let provider = &config.identity_providers[0];
    assert_eq!((provider.client_id.as_str(), provider.auth_method), ("", AuthMethod::None));
    assert!(provider.credentials.is_empty());
}

#[test]
fn a_server_on_this_machine_needs_no_tls() {
    let local = config(&OTHER.replace("https://id.example/realms/b2b", "http://127.0.0.1:8090/realm"));
    assert!(!local.identity_providers[0].server.speaks_tls());
    assert_eq!(oidc(&local).discovery().unwrap().as_str(), "http://127.0.0.1:8090/realm");
    let keys = "http://localhost:1, jwks_uri: https://id.example/keys";
    assert!(
        config(&OTHER.replace("https://id.example/realms/b2b", keys)).identity_providers[0]
            .server
            .speaks_tls()
    );
}

#[test]
fn discovery_begins_at_plain_urls_only() {
    for (issuer, begins) in [
        ("https://id.example", true),
        ("https://id.example/", true),
        ("http://localhost:8090/realm", true),
        ("http://[::1]:8090", true),
        ("http://id.example", false),
        ("http://127.0.0.1.example", false),
        ("https://id.example?x=1", false),
        ("https://id.example#x", false),
        ("https://user@id.example", false),
        ("id.example", false),
        ("urn:id", false),
        ("file:///etc/passwd", false),
        ("", false),
    ] {
        let oidc = Oidc {
            issuer: issuer.into(),
            jwks_uri: None,
            token_endpoint: None,
            introspection_endpoint: None,
            authorization_endpoint: None,
        };
        assert_eq!(oidc.discovery().is_some(), begins, "{issuer}");
    }
}

#[test]
fn entra_is_told_what_clients_can_handle_only_if_that_is_written() {
    assert!(config(FINE).identity_providers[0].client_capabilities.is_empty());
    let text = FINE.replace(
        CREDENTIAL,
        &format!("{CREDENTIAL}\n    client_capabilities: cp1\n    resource_metadata: true"),
    );
    let provider = &config(&text).identity_providers[0];
    assert_eq!(provider.client_capabilities, ["cp1"]);
    assert_eq!(provider.resource_metadata, ResourceMetadata::Served);
    assert_eq!((provider.grant, provider.introspection), (GrantType::JwtBearer, Introspection::Off));
    assert_eq!(provider.algorithms, [Algorithm::RS256]);
}

#[test]
fn a_resource_is_exchanged_at_entras_version_1_and_scopes_at_version_2() {
    let tenant = TenantId::parse("8eaef023-2b34-4da1-9baa-8bc8c9d6a490").unwrap();
    for (target, version, path) in [
        ("scopes: [api://orders-backend/.default]", EntraVersion::V2, "oauth2/v2.0/token"),
        ("resource: https://graph.windows.net", EntraVersion::V1, "oauth2/token"),
        ("resource: api://x, requested_token_type: saml2", EntraVersion::V1, "oauth2/token"),
    ] {
        let config = config(&FINE.replace("scopes: [api://orders-backend/.default]", target));
        let (_, exchange) = exchange(&config);
        assert_eq!(exchange.entra_version(), version);
        let entra = config.identity_providers[0].entra().unwrap();
        let expected = format!("https://login.microsoftonline.com/{tenant}/{path}");
        assert_eq!(entra.token_endpoint(version, &tenant), expected);
    }
}

#[test]
fn a_target_may_be_scopes_resources_and_audiences_together() {
    let target = "scopes: [a, b], resource: [https://a, https://b], audience: [x, '//y'], actor: self";
    let config = config(&OTHER.replace("audience: inventory", target));
    let (principals, exchange) = exchange(&config);
    assert_eq!(exchange.scopes, ["a", "b"]);
    assert_eq!(exchange.resources, ["https://a", "https://b"]);
    assert_eq!(exchange.audiences, ["x", "//y"]);
    assert_eq!((exchange.actor, exchange.app_tokens), (Actor::Ourselves, AppTokens::Reject));
    assert_eq!(principals, Principals::Users);
}

#[test]
fn a_route_that_names_a_target_takes_none_from_the_defaults() {
    let read = |own: &str, defaults: &str| {
        let text = FINE.replace("scopes: [api://orders-backend/.default]", own);
        exchange(&config(&format!("{text}defaults: {{ exchange: {{ {defaults} }} }}\n"))).1
    };
    let own = read("resource: https://b", "scopes: [a], requested_token_type: saml1");
    assert_eq!((own.scopes.len(), own.resources.as_slice()), (0, &["https://b".into()][..]));
    assert!(own.requested_token_type.is_some());
    let inherited = read("requested_token_type: jwt", "scopes: [a]");
    assert_eq!(inherited.scopes, ["a"]);
}

#[test]
fn applications_pass_an_exchange_where_they_get_a_token_of_ours() {
    for required in ["roles: [Batch]", "clients: [9ada6f8a-6d83-41bc-b169-a306c21527a5]"] {
        let text = FINE.replace(
            "exchange: { scopes",
            &format!("require: {{ {required} }}\n    exchange: {{ app_tokens: client_credentials, scopes"),
        );
        let (principals, exchange) = exchange(&config(&text));
        assert_eq!(
            (principals, exchange.app_tokens),
            (Principals::UsersAndApplications, AppTokens::ClientCredentials)
        );
    }
}
