//! The example configurations against emulations of the identity providers they are for: what is sent is what their
//! documentation wants and nothing else, and what is peculiar in their answers makes no difference.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::config::Access;
use crate::config::AuthMethod;
use crate::config::AuthorizationServer;
use crate::config::Exchange;
use crate::config::Look;
use crate::config::Route;
use crate::config::ValidatedToken;
use crate::pipeline::exchange::tests::idp::json;
use crate::pipeline::exchange::tests::idps::emulations::ACCESS_TOKEN;
use crate::pipeline::exchange::tests::idps::emulations::Emulation;
use crate::pipeline::exchange::tests::idps::emulations::emulations;

mod emulations;

/// How we prove who we are where a test has no certificate.
const PROOF: [&str; 4] = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// The provider and the exchange of an example, with the IdP's place taken by `idp`.
fn set_up([file, provider, route]: [&str; 3], path: &str, idp: &Idp) -> (IdentityProvider, Arc<Exchange>) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("config/examples/{file}.yaml"));
    let text = std::fs::read_to_string(&example).unwrap();
    let (key, value) = match text.contains("entra:") {
        true => ("ENTRA__AUTHORITY", idp.authority()),
        false => ("OIDC__TOKEN_ENDPOINT", format!("{}{path}", idp.authority())),
    };
    let place = format!("OBO__IDENTITY_PROVIDERS__{}__{key}", provider.to_uppercase());
    let mut environment = vec![(place, value)];
    for name in ["AUTH0", "ENTRA", "KEYCLOAK", "OKTA", "PING", "ZITADEL"] {
        environment.push((format!("{name}_SECRET"), "right".into()));
    }
    let config = config::load(&[example], &environment.into(), Look::Away).unwrap().config;
    let wanted = |route: &Arc<Route>| match &route.access {
        Access::Validated { token: ValidatedToken::Exchange(exchange), .. } => exchange.clone(),
        _ => panic!("{file} does not exchange"),
    };
    let exchange = config.routes.iter().find(|found| found.name.as_str() == route).map(wanted).unwrap();
    let mut found = config.identity_providers.into_iter().find(|found| found.name.as_str() == provider);
    let mut provider = Arc::into_inner(found.take().unwrap()).unwrap();
    provider.name = Name::parse("contoso").unwrap(); // that of every caller here
    if provider.auth_method == AuthMethod::PrivateKeyJwt {
        // what a certificate says is tested elsewhere
        provider.auth_method = AuthMethod::ClientSecretPost;
        provider.credentials = vec![sample::secret("right")];
    }
    (provider, exchange)
}

fn caller_at(provider: &IdentityProvider, uti: u32) -> Caller {
    match &provider.server {
        AuthorizationServer::Entra(_) => caller("alice", uti),
        AuthorizationServer::Oidc(oidc) => sample::subject(&oidc.issuer, "alice", uti),
    }
}

/// What was sent besides the proof of who we are, sorted.
fn said(received: &idp::Received) -> Vec<(String, String)> {
    let mut said: Vec<_> =
        received.pairs.iter().filter(|(name, _)| !PROOF.contains(&name.as_str())).cloned().collect();
    said.sort();
    said
}

#[tokio::test]
async fn every_identity_provider_is_sent_what_it_wants_and_no_more() {
    for Emulation { example, path, form, answer, is_kept } in emulations() {
        let token_b = answer.clone();
        let idp = Idp::open(move |received| match received.form["grant_type"].as_str() {
            "client_credentials" => {
                json(200, &json!({"access_token": "ours", "token_type": "Bearer", "expires_in": 7199}))
            }
            _ => json(200, &token_b),
        })
        .await;
        let (provider, exchange) = set_up(example, path, &idp);
        let (auth_method, first) = (provider.auth_method, caller_at(&provider, 1));
        let again = caller_at(&provider, 2);
        let world = World::new(provider, &sample::cache());
        let exchanged = world.exchanger.token(&first, &exchange).await.unwrap();
        assert_eq!(text(&exchanged), "b", "{example:?}");
        let last = idp.received().pop().unwrap();
        assert_eq!(last.path, path, "{example:?}");
        let mut expected: Vec<_> =
            form.iter().map(|(name, value)| (String::from(*name), String::from(*value))).collect();
        expected.sort();
        assert_eq!(said(&last), expected, "{example:?}");
        let in_form = last.form.get("client_secret").map(String::as_str);
        let in_header = last.headers.contains_key("authorization");
        let expected = match auth_method {
            AuthMethod::ClientSecretPost => (Some("right"), false),
            AuthMethod::ClientSecretBasic => (None, true),
            _ => (None, false),
        };
        assert_eq!((in_form, in_header), expected, "{example:?}");
        let cache = world.exchanger.token(&again, &exchange).await.unwrap().cache;
        assert_eq!(cache == CacheResult::Hit, is_kept, "{example:?}");
    }
}

#[test]
fn every_example_that_exchanges_is_emulated() {
    let emulated: BTreeSet<String> =
        emulations().iter().map(|emulation| format!("{}.yaml", emulation.example[0])).collect();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let files = std::fs::read_dir(directory).unwrap();
    let files: BTreeSet<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    // the endpoints of the national clouds are pinned below
    let left: Vec<&String> = files.difference(&emulated).collect();
    assert_eq!(left, ["entra-clouds.yaml"]);
}

#[test]
fn each_cloud_and_tenant_has_a_token_endpoint_of_its_own() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples");
    let secret = vec![("ENTRA_SECRET".to_owned(), "right".to_owned())].into();
    let tenants = [sample::TENANT, "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"]
        .map(|tenant| crate::domain::tenant::TenantId::parse(tenant).unwrap());
    for (file, hosts) in [
        ("entra-multi-tenant", &["login.microsoftonline.com"][..]),
        ("entra-clouds", &["login.partner.microsoftonline.cn", "login.microsoftonline.us"]),
    ] {
        let config =
            config::load(&[directory.join(format!("{file}.yaml"))], &secret, Look::Away).unwrap().config;
        let mut found = Vec::new();
        for provider in &config.identity_providers {
            let entra = provider.entra().unwrap();
            found.push(entra.authority.host_str().unwrap().to_owned());
            for tenant in &tenants {
                for (version, path) in [
                    (config::EntraVersion::V1, "oauth2/token"),
                    (config::EntraVersion::V2, "oauth2/v2.0/token"),
                ] {
                    let expected = format!("{}{tenant}/{path}", entra.authority);
                    assert_eq!(entra.token_endpoint(version, tenant), expected);
                }
            }
        }
        assert_eq!(found, hosts, "{file}");
    }
}

#[tokio::test]
async fn what_identity_providers_refuse_is_told_apart() {
    for (example, status, body, kind) in [
        // Keycloak: the client is not in the token's audience, the audience is not available, consent is missing
        (
            ["keycloak", "keycloak", "inventory"],
            403,
            json!({"error": "access_denied", "error_description": "Client is not within the token audience"}),
            Kind::Denied,
        ),
        (
            ["keycloak", "keycloak", "inventory"],
            400,
            json!({"error": "invalid_request", "error_description": "Requested audience not available: pricing"}),
            Kind::Misconfigured,
        ),
        (["keycloak", "keycloak", "inventory"], 400, json!({"error": "invalid_scope"}), Kind::Misconfigured),
        // RFC 8693 section 2.2.2
        (["zitadel", "zitadel", "inventory"], 400, json!({"error": "invalid_target"}), Kind::Misconfigured),
        // Auth0 throttles by the tenant
        (
            ["auth0", "auth0", "inventory"],
            429,
            json!({"error": "too_many_requests"}),
            Kind::Throttled { retry_after: Duration::from_secs(60) },
        ),
        (["okta", "okta", "inventory"], 401, json!({"error": "invalid_client"}), Kind::Misconfigured),
        (["okta", "okta", "inventory"], 400, json!({"error": "invalid_grant"}), Kind::InteractionRequired),
        // a stronger sign-in is demanded (RFC 9470)
        (
            ["ping", "ping", "inventory"],
            400,
            json!({"error": "insufficient_user_authentication", "acr_values": "mfa"}),
            Kind::InteractionRequired,
        ),
        // AD FS says MSIS9650 of a token without the scope user_impersonation
        (
            ["adfs", "adfs", "inventory"],
            400,
            json!({"error": "invalid_grant", "error_description": "MSIS9650: \r\n"}),
            Kind::InteractionRequired,
        ),
        (
            ["tokenx", "tokenx", "inventory"],
            200,
            json!({"access_token": "b", "token_type": "Bearer", "expires_in": 299}),
            Kind::BadResponse,
        ),
        (
            ["zitadel", "zitadel", "inventory"],
            200,
            json!({"access_token": "b", "token_type": "N_A", "issued_token_type": "urn:ietf:params:oauth:token-type:id_token"}),
            Kind::BadResponse,
        ),
        (
            ["auth0", "auth0", "inventory"],
            200,
            json!({"access_token": "b", "token_type": "DPoP", "issued_token_type": ACCESS_TOKEN}),
            Kind::BadResponse,
        ),
    ] {
        let said = body.clone();
        let idp = Idp::open(move |received| match received.form["grant_type"].as_str() {
            "client_credentials" => {
                json(200, &json!({"access_token": "ours", "token_type": "Bearer", "expires_in": 7199}))
            }
            _ => json(status, &body),
        })
        .await;
        let (provider, exchange) = set_up(example, "/token", &idp);
        let caller = caller_at(&provider, 1);
        let world = World::new(provider, &sample::cache());
        let error = world.exchanger.token(&caller, &exchange).await.unwrap_err();
        assert_eq!(error.kind, kind, "{example:?} {said}");
    }
}
