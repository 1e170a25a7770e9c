use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use http::header;
use serde_json::json;
use url::form_urlencoded;

use crate::app::demo::caller;
use crate::app::demo::entra::users::USERS;
use crate::app::demo::entra::wish::SignIn;
use crate::config::EntraVersion;
use crate::domain::caller::Principal;
use crate::domain::caller::claims_digest;
use crate::domain::clock::UnixTime;

use super::*;

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const OTHER: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";
const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

async fn entra() -> Entra {
    let settings = Settings { other_tenants: vec![OTHER.into()], ..Settings::default() };
    Entra::start(settings, caller::listener().await, Clock::manual(NOW)).await.unwrap()
}

async fn json_at(entra: &Entra, path: &str) -> Value {
    let (status, _, body) = caller::read(entra.address(), path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

fn part(token: &str, at: usize) -> Map<String, Value> {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn form(entra: &Entra, assertion: &str) -> String {
    let secret = entra.settings().client_secret.expose();
    form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .append_pair("client_id", &entra.settings().client_id)
        .append_pair("client_secret", secret)
        .append_pair("assertion", assertion)
        .append_pair("scope", "api://orders-backend/orders.read")
        .append_pair("requested_token_use", "on_behalf_of")
        .finish()
}

async fn exchange(entra: &Entra, tenant: &str, assertion: &str) -> (u16, HeaderMap, String) {
    let path = format!("/{tenant}/oauth2/v2.0/token");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let response = caller::send(entra.address(), "POST", &path, &headers, form(entra, assertion)).await;
    caller::whole(response).await
}

#[tokio::test]
async fn metadata_names_the_issuer_and_where_the_keys_are() {
    let entra = entra().await;
    let authority = entra.authority();
    for (path, issuer, keys) in [
        (format!("/{TENANT}/v2.0"), format!("{authority}/{TENANT}/v2.0"), "v2.0/keys"),
        (format!("/{TENANT}"), format!("https://sts.windows.net/{TENANT}/"), "keys"),
        (format!("/{}/v2.0", TENANT.to_uppercase()), format!("{authority}/{TENANT}/v2.0"), "v2.0/keys"),
        ("/contoso.example/v2.0".into(), format!("{authority}/{TENANT}/v2.0"), "v2.0/keys"),
        (format!("/{OTHER}/v2.0"), format!("{authority}/{OTHER}/v2.0"), "v2.0/keys"),
        ("/common/v2.0".into(), format!("{authority}/{{tenantid}}/v2.0"), "v2.0/keys"),
        ("/organizations".into(), "https://sts.windows.net/{tenantid}/".into(), "keys"),
    ] {
        let document = json_at(&entra, &format!("{path}/.well-known/openid-configuration")).await;
        assert_eq!(document["issuer"], issuer, "{path}");
        let jwks_uri = document["jwks_uri"].as_str().unwrap();
        assert!(
            jwks_uri.starts_with(authority) && jwks_uri.ends_with(&format!("/discovery/{keys}")),
            "{jwks_uri}"
        );
        assert_eq!(document["id_token_signing_alg_values_supported"], json!(["RS256"]));

        let set = json_at(&entra, jwks_uri.strip_prefix(authority).unwrap()).await;
        let key = &set["keys"][0];
        assert_eq!(key["issuer"], issuer, "{path}");
        assert_eq!((&key["kty"], &key["use"], &key["e"]), (&json!("RSA"), &json!("sig"), &json!("AQAB")));
        assert_eq!(URL_SAFE_NO_PAD.decode(key["n"].as_str().unwrap()).unwrap().len(), 256);
        assert!(key.get("alg").is_none(), "Entra's keys name no algorithm");
    }
    assert_eq!(entra.key_requests(), 7);
    let v2 = json_at(&entra, &format!("/{TENANT}/v2.0/.well-known/openid-configuration")).await;
    assert_eq!(v2["token_endpoint"], format!("{authority}/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(v2["authorization_endpoint"], format!("{authority}/{TENANT}/oauth2/v2.0/authorize"));
}

#[tokio::test]
async fn the_published_key_verifies_what_is_signed() {
    let entra = entra().await;
    let token = entra.token("alice", &TokenWish::default()).unwrap();
    let header = part(&token, 0);
    let set = json_at(&entra, &format!("/{TENANT}/discovery/v2.0/keys")).await;
    let key = &set["keys"][0];
    assert_eq!(Value::Object(header), json!({ "typ": "JWT", "alg": "RS256", "kid": key["kid"] }));
    let (n, e) = (key["n"].as_str().unwrap(), key["e"].as_str().unwrap());
    let key = jsonwebtoken::DecodingKey::from_rsa_components(n, e).unwrap();
    let (message, signature) = token.rsplit_once('.').unwrap();
    let verified =
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, jsonwebtoken::Algorithm::RS256);
    assert!(verified.unwrap());
}

#[tokio::test]
async fn keys_rotate_and_old_ones_stay_or_go() {
    let entra = entra().await;
    let path = format!("/{TENANT}/discovery/v2.0/keys");
    let kids = async || {
        let set = json_at(&entra, &path).await;
        let keys = set["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let first = kids().await;
    entra.rotate_keys(OldKey::Kept).unwrap();
    let both = kids().await;
    assert_eq!(both.len(), 2);
    assert!(both[0] != first[0] && both[1] == first[0], "the current key comes first");
    entra.rotate_keys(OldKey::Dropped).unwrap();
    let last = kids().await;
    assert!(last.len() == 1 && !both.contains(&last[0]));
    let token = entra.token("alice", &TokenWish::default()).unwrap();
    assert_eq!(part(&token, 0)["kid"], last[0]);
}

#[tokio::test]
async fn a_version_2_token_says_what_entras_says() {
    let entra = entra().await;
    let claims = part(&entra.token("alice", &TokenWish::default()).unwrap(), 1);
    let alice = User::named("alice").unwrap();
    let now = NOW.as_seconds();
    for (name, value) in [
        ("aud", json!(entra.settings().client_id)),
        ("iss", json!(format!("{}/{TENANT}/v2.0", entra.authority()))),
        ("iat", json!(now - 300)),
        ("nbf", json!(now - 300)),
        ("exp", json!(now + 3600)),
        ("azp", json!(token::CLIENT)),
        ("azpacr", json!("0")),
        ("name", json!(alice.display_name)),
        ("oid", json!(alice.oid)),
        ("sid", json!(alice.sid)),
        ("preferred_username", json!("alice@contoso.example")),
        ("scp", json!("orders.read")),
        ("tid", json!(TENANT)),
        ("amr", json!(["pwd"])),
        ("ver", json!("2.0")),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    for name in ["sub", "uti", "rh", "aio"] {
        assert!(claims[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    for name in ["appid", "roles", "idtyp", "upn", "acr"] {
        assert!(!claims.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_version_1_token_says_what_entras_says() {
    let entra = entra().await;
    let wish = TokenWish { version: EntraVersion::V1, ..TokenWish::default() };
    let claims = part(&entra.token("bob", &wish).unwrap(), 1);
    for (name, value) in [
        ("aud", json!(format!("api://{}", entra.settings().client_id))),
        ("iss", json!(format!("https://sts.windows.net/{TENANT}/"))),
        ("appid", json!(token::CLIENT)),
        ("appidacr", json!("0")),
        ("upn", json!("bob@contoso.example")),
        ("unique_name", json!("bob@contoso.example")),
        ("acr", json!("1")),
        ("amr", json!(["pwd"])),
        ("ver", json!("1.0")),
        ("scp", json!("orders.read")),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    let v2 = part(&entra.token("bob", &TokenWish::default()).unwrap(), 1);
    assert_eq!(claims["sub"], v2["sub"], "both versions of one application share the subject");
    assert!(!claims.contains_key("azp") && !claims.contains_key("preferred_username"));
}

#[tokio::test]
async fn wishes_are_granted() {
    let entra = entra().await;
    let app = TokenWish { principal: Principal::Application, ..TokenWish::default() };
    let claims = part(&entra.token("alice", &app).unwrap(), 1);
    assert_eq!((&claims["idtyp"], &claims["roles"]), (&json!("app"), &json!(["Orders.Read.All"])));
    assert_eq!(claims["oid"], claims["sub"]);
    assert!(!claims.contains_key("scp") && !claims.contains_key("name"));

    let several = TokenWish { scope: "orders.read orders.write".into(), ..TokenWish::default() };
    assert_eq!(part(&entra.token("alice", &several).unwrap(), 1)["scp"], "orders.read orders.write");
    let none = TokenWish { scope: String::new(), ..TokenWish::default() };
    assert!(!part(&entra.token("alice", &none).unwrap(), 1).contains_key("scp"));
    let brief = TokenWish { lifetime: Duration::from_secs(60), ..TokenWish::default() };
    assert_eq!(part(&entra.token("alice", &brief).unwrap(), 1)["exp"], NOW.as_seconds() + 60);
}

#[tokio::test]
async fn two_tokens_of_a_session_differ_in_volatile_claims_only() {
    let entra = entra().await;
    for version in [EntraVersion::V1, EntraVersion::V2] {
        let wish = TokenWish { version, ..TokenWish::default() };
        let mfa = TokenWish { sign_in: SignIn::MultiFactor, ..wish.clone() };
        let brief = TokenWish { lifetime: Duration::from_secs(60), ..wish.clone() };
        for user in &USERS {
            let token = |wish| entra.token(user.name, wish).unwrap();
            let digest = |token: &str| claims_digest(&part(token, 1));
            let (one, two) = (token(&wish), token(&wish));
            assert!(one != two && part(&one, 1)["uti"] != part(&two, 1)["uti"]);
            assert!(digest(&one) == digest(&two), "{}", user.name);
            assert!(digest(&one) == digest(&token(&brief)), "{}", user.name);
            assert!(digest(&one) != digest(&token(&mfa)), "{}", user.name);
        }
    }
    let digests: std::collections::HashSet<_> = USERS
        .iter()
        .map(|user| claims_digest(&part(&entra.token(user.name, &TokenWish::default()).unwrap(), 1)))
        .collect();
    assert_eq!(digests.len(), USERS.len(), "no two users share a digest");
}

#[tokio::test]
async fn demo_tokens_come_as_text_and_mistakes_are_explained() {
    let entra = entra().await;
    let path = "/demo/token?user=mfa&mfa=true&scope=reports.read&lifetime=60&version=1";
    let (status, headers, token) = caller::read(entra.address(), path).await;
    assert_eq!((status, &headers[header::CACHE_CONTROL]), (200, &HeaderValue::from_static("no-store")));
    assert!(!token.ends_with('\n'), "it is pasted into a header");
    let claims = part(&token, 1);
    assert_eq!((&claims["amr"], &claims["scp"]), (&json!(["pwd", "mfa"]), &json!("reports.read")));
    for (query, hint) in [
        ("", "alice, bob"),
        ("?user=eve", "alice, bob"),
        ("?user=alice&scopes=a", "there are user, scope"),
        ("?user=alice&lifetime=soon", "seconds"),
    ] {
        let (status, _, text) = caller::read(entra.address(), &format!("/demo/token{query}")).await;
        assert_eq!(status, 400, "{query}");
        assert!(text.contains(hint), "{query}: {text}");
    }
    assert!(entra.token("eve", &TokenWish::default()).is_err());
}

#[tokio::test]
async fn an_exchange_works_end_to_end_and_is_recorded() {
    let entra = entra().await;
    let token = entra.token("alice", &TokenWish::default()).unwrap();
    assert!(entra.last_form().is_none());
    let (status, headers, body) = exchange(&entra, TENANT, &token).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(headers[header::CONTENT_TYPE], "application/json; charset=utf-8");
    assert_eq!(entra.token_requests(), 1);
    let form = entra.last_form().unwrap();
    assert!(form.contains(&("assertion".into(), token)), "the last form is kept");
    assert_eq!(form.len(), 6);
    assert!(entra.last_headers().unwrap().contains_key(header::CONTENT_TYPE));
}

#[tokio::test]
async fn tokens_of_another_tenant_are_exchanged_there() {
    let entra = entra().await;
    let mut claims = part(&entra.token("alice", &TokenWish::default()).unwrap(), 1);
    claims.insert("tid".into(), OTHER.into());
    claims.insert("iss".into(), format!("{}/{OTHER}/v2.0", entra.authority()).into());
    let token = entra.sign(&claims, &Map::new()).unwrap();
    let (status, _, body) = exchange(&entra, OTHER, &token).await;
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(part(body["access_token"].as_str().unwrap(), 1)["tid"], OTHER);
    assert_eq!(exchange(&entra, TENANT, &token).await.0, 400);
}

#[tokio::test]
async fn unknown_tenants_and_paths_are_refused() {
    let entra = entra().await;
    let nobody = "00000000-0000-0000-0000-000000000000";
    for path in
        [format!("/{nobody}/v2.0/.well-known/openid-configuration"), format!("/{nobody}/discovery/keys")]
    {
        let (status, _, body) = caller::read(entra.address(), &path).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["error_codes"]), (400, &json!([90_002])), "{path}");
    }
    let (status, _, body) = exchange(&entra, nobody, "a.b.c").await;
    assert!(status == 400 && body.contains("AADSTS90002"), "{body}");
    for path in ["/nothing", "/demo", "//v2.0/.well-known/openid-configuration", "/a/b/c"] {
        assert_eq!(caller::read(entra.address(), path).await.0, 404, "{path}");
    }
    let posted = caller::send(entra.address(), "POST", "/demo/token?user=alice", &[], "").await;
    assert_eq!(posted.status(), 405);
    let (status, _, text) = caller::read(entra.address(), "/").await;
    assert!(status == 200 && text.contains("/demo/token?user="), "{text}");
}

#[tokio::test]
async fn scripted_answers_come_first_and_run_out() {
    let entra = entra().await;
    let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static("7"))]);
    entra.script(|script| script.answer(2, StatusCode::BAD_GATEWAY, headers, "<html>"));
    let token = entra.token("alice", &TokenWish::default()).unwrap();
    for _ in 0..2 {
        let (status, headers, body) = exchange(&entra, TENANT, &token).await;
        assert_eq!((status, body.as_str()), (502, "<html>"));
        assert_eq!(headers[header::RETRY_AFTER], "7");
    }
    assert_eq!(exchange(&entra, TENANT, &token).await.0, 200);
    assert_eq!(entra.token_requests(), 3);
}

#[tokio::test]
async fn held_token_requests_wait_until_the_hold_ends() {
    let entra = entra().await;
    let hold = entra.script(Script::hold);
    let token = entra.token("alice", &TokenWish::default()).unwrap();
    let waiting = exchange(&entra, TENANT, &token);
    tokio::pin!(waiting);
    while entra.token_requests() == 0 {
        tokio::select! {
            _ = &mut waiting => panic!("it was answered while held"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(hold);
    assert_eq!(waiting.await.0, 200);
    assert_eq!(exchange(&entra, TENANT, &token).await.0, 200);
}

#[tokio::test]
async fn the_keys_endpoint_can_fail_and_heal() {
    let entra = entra().await;
    let path = format!("/{TENANT}/discovery/v2.0/keys");
    entra.script(|script| script.keys(KeysEndpoint::Failing));
    assert_eq!(caller::read(entra.address(), &path).await.0, 503);
    entra.script(|script| script.keys(KeysEndpoint::Working));
    assert_eq!(caller::read(entra.address(), &path).await.0, 200);
    assert_eq!(entra.key_requests(), 2, "a failed request counts");
}

#[tokio::test]
async fn it_serves_over_tls() {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let entra = Entra::start_tls(Settings::default(), caller::listener().await, server, Clock::manual(NOW))
        .await
        .unwrap();
    assert_eq!(entra.authority(), format!("https://{}", entra.address()));

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let names = crate::net::names::Names::default();
    let connector = crate::net::connector(
        client,
        crate::config::Http2::Never,
        Duration::from_secs(5),
        None,
        names,
        crate::net::budget::Share::default(),
    );
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
    let uri = format!("{}/{TENANT}/v2.0/.well-known/openid-configuration", entra.authority());
    let request = Request::get(uri).body(http_body_util::Empty::<Bytes>::new()).unwrap();
    let response = client.build(connector).request(request).await.unwrap();
    let (status, _, body) = caller::whole(response).await;
    assert!(status == 200 && body.contains(entra.authority()), "{body}");
}

#[tokio::test]
async fn a_dropped_entra_no_longer_listens() {
    let entra = entra().await;
    let address = entra.address();
    drop(entra);
    tokio::task::yield_now().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
