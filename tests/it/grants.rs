//! The exchange in every form, by the real binary: what is sent is what is documented and nothing else, and the token that
//! comes back reaches the service.

use std::fs;

use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED;
use aws_lc_rs::signature::UnparsedPublicKey;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use obo_proxy::app::server::Transport;
use obo_proxy::domain::clock::Clock;
use rcgen::KeyPair;
use rcgen::PublicKeyData;
use serde_json::json;

use crate::support::certificates::Authority;
use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::idp::OTHER_TENANT;
use crate::support::idp::exchanged;
use crate::support::idp::parts;
use crate::support::sidecar::Sidecar;

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const SECRET: &str = "s3cret+/=";
const ALICE: &str = "a11ce000-5b1e-4c55-8d0a-0a4c3f1e7b01";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SAML1: &str = "urn:ietf:params:oauth:token-type:saml1";
const SAML2: &str = "urn:ietf:params:oauth:token-type:saml2";
/// An assertion as Entra writes it: base64url of XML.
const ASSERTION: &str =
    "PEFzc2VydGlvbiB4bWxucz0idXJuOm9hc2lzOm5hbWVzOnRjOlNBTUw6Mi4wOmFzc2VydGlvbiI-PC9Bc3NlcnRpb24-";

fn contoso(idp: &Idp) -> String {
    format!(
        r#"
  contoso:
    entra: {{ tenant: {TENANT}, authority: "{}" }}
    client_id: {CLIENT}
    credential: {{ secret: {{ env: SECRET }} }}"#,
        idp.authority()
    )
}

/// A provider `name` at that issuer, with further keys.
fn oidc(name: &str, idp: &Idp, more: &str) -> String {
    format!(
        r#"
  {name}:
    oidc: {{ issuer: "{}" }}
    audiences: [orders]
    {more}"#,
        idp.authority()
    )
}

fn sorted<'a>(mut form: Vec<(&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    form.sort_unstable();
    form
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_of_entra_are_asked_as_documented_and_saml_is_forwarded_as_received() {
    let now = Clock::system().now().as_seconds();
    let idp = Idp::start(move |asked| {
        let issued = asked.get("requested_token_type");
        Answer::json(200, &match (asked.path.as_str(), issued) {
            (_, SAML1 | SAML2) => json!({
                "token_type": "Bearer", "expires_in": 3296, "ext_expires_in": 0, "expires_on": now + 3296,
                "resource": "https://payroll.contoso.com", "refresh_token": "r", "access_token": ASSERTION,
                "issued_token_type": issued,
            }),
            (path, _) if path.ends_with("/oauth2/token") => json!({
                "token_type": "Bearer", "scope": "User.Read", "expires_in": "43482", "ext_expires_in": "302683",
                "expires_on": (now + 43482).to_string(), "not_before": now.to_string(),
                "resource": "https://graph.windows.net", "access_token": "version-1", "refresh_token": "r",
                "id_token": "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2V2aWwuZXhhbXBsZSJ9.",
            }),
            _ => json!({
                "token_type": "Bearer", "scope": "api://orders-backend/orders.read", "expires_in": 3269,
                "ext_expires_in": 0, "access_token": "version-2", "refresh_token": "r",
            }),
        })
    })
    .await;
    let routes = "
  v1: { match: /v1, exchange: { resource: https://graph.windows.net } }
  v2: { match: /v2, exchange: { scopes: [api://orders-backend/orders.read, api://orders-backend/orders.write] } }
  saml1: { match: /saml1, exchange: { resource: https://payroll.contoso.com, requested_token_type: saml1 } }
  saml2: { match: /saml2, exchange: { scopes: [https://payroll.contoso.com/.default], requested_token_type: saml2 } }
";
    let sidecar = Sidecar::start(&contoso(&idp), routes, &[]).await;
    let token = idp.entra_token(TENANT, ALICE, json!({}));
    let (v1, v2) = (format!("/{TENANT}/oauth2/token"), format!("/{TENANT}/oauth2/v2.0/token"));
    for (path, endpoint, target, token_b) in [
        ("/v1", &v1, vec![("resource", "https://graph.windows.net"), ("scope", "openid")], "version-1"),
        (
            "/v2",
            &v2,
            vec![("scope", "api://orders-backend/orders.read api://orders-backend/orders.write")],
            "version-2",
        ),
        (
            "/saml1",
            &v1,
            vec![("resource", "https://payroll.contoso.com"), ("requested_token_type", SAML1)],
            ASSERTION,
        ),
        (
            "/saml2",
            &v2,
            vec![("scope", "https://payroll.contoso.com/.default"), ("requested_token_type", SAML2)],
            ASSERTION,
        ),
    ] {
        let before = idp.requests();
        for _ in 0..2 {
            assert_eq!(sidecar.token_b(path, &token).await, token_b, "{path}");
        }
        assert_eq!(idp.requests(), before + 1, "{path}: the second answer is from the cache");
        let asked = idp.last();
        assert_eq!((asked.method.as_str(), &asked.path), ("POST", endpoint), "{path}");
        assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded", "{path}");
        let mut form = vec![
            ("assertion", token.as_str()),
            ("client_id", CLIENT),
            ("client_secret", SECRET),
            ("grant_type", JWT_BEARER),
            ("requested_token_use", "on_behalf_of"),
        ];
        form.extend(target);
        assert_eq!(asked.without(&[]), sorted(form), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saml_assertion_that_does_not_say_what_it_is_is_not_forwarded() {
    let idp = Idp::start(|_| Answer::granted(ASSERTION)).await;
    let routes = "
  saml2: { match: /, exchange: { scopes: [https://payroll.contoso.com/.default], requested_token_type: saml2 } }
";
    let sidecar = Sidecar::start(&contoso(&idp), routes, &[]).await;
    let token = idp.entra_token(TENANT, ALICE, json!({}));
    assert_eq!(sidecar.refused("/", &token).await, (502, "idp_bad_response".into()));
    assert_eq!(sidecar.echo.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_tenants_users_are_exchanged_at_their_own_tenant_and_no_third_ones() {
    const THIRD: &str = "33333333-489d-4002-8293-5b0c5134eacb";
    let idp = Idp::start(|asked| Answer::granted(asked.path.split('/').nth(1).unwrap())).await;
    let providers = format!(
        r#"
  partners:
    entra: {{ tenant: organizations, allowed_tenants: [{TENANT}, {OTHER_TENANT}], authority: "{}" }}
    client_id: {CLIENT}
    credential: {{ secret: {{ env: SECRET }} }}"#,
        idp.authority()
    );
    let routes = "\n  orders: { match: /, exchange: { scopes: [api://orders-backend/.default] } }\n";
    let sidecar = Sidecar::start(&providers, routes, &[]).await;
    // the same object id in both tenants: two users
    for tenant in [TENANT, OTHER_TENANT, TENANT] {
        let token = idp.entra_token(tenant, ALICE, json!({}));
        assert_eq!(sidecar.token_b("/", &token).await, tenant);
    }
    let asked: Vec<_> = idp.received().into_iter().map(|asked| asked.path).collect();
    assert_eq!(asked, [TENANT, OTHER_TENANT].map(|tenant| format!("/{tenant}/oauth2/v2.0/token")));
    for (changes, reason) in [
        (json!({"tid": THIRD}), "tenant_not_allowed"),
        (json!({"tid": THIRD, "iss": format!("{}/{THIRD}/v2.0", idp.authority())}), "tenant_not_allowed"),
        (json!({"iss": format!("{}/{OTHER_TENANT}/v2.0", idp.authority())}), "tenant_not_allowed"),
        (json!({"iss": format!("{}/{{tenantid}}/v2.0", idp.authority())}), "wrong_issuer"),
    ] {
        let token = idp.entra_token(TENANT, ALICE, changes.clone());
        assert_eq!(sidecar.refused("/", &token).await, (401, reason.into()), "{changes}");
    }
    assert_eq!(idp.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_known_by_its_domain_is_asked_by_its_id() {
    let idp = Idp::start(|_| Answer::granted("b")).await;
    let providers = contoso(&idp).replace(TENANT, "Contoso.Example");
    let routes = "\n  orders: { match: /, exchange: { scopes: [api://orders-backend/.default] } }\n";
    let sidecar = Sidecar::start(&providers, routes, &[]).await;
    assert_eq!(sidecar.token_b("/", &idp.entra_token(TENANT, ALICE, json!({}))).await, "b");
    assert_eq!(idp.last().path, format!("/{TENANT}/oauth2/v2.0/token"));
    let stranger = idp.entra_token(OTHER_TENANT, ALICE, json!({}));
    assert_eq!(sidecar.refused("/", &stranger).await, (401, "wrong_issuer".into()));
    assert_eq!(idp.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_gets_a_token_of_our_own_where_that_is_configured_and_none_elsewhere() {
    let idp = Idp::start(|asked| Answer::granted(&asked.get("grant_type").replace(':', "-"))).await;
    let secret = "client_id: orders-proxy\n    credential: { secret: { env: SECRET } }";
    let providers = [contoso(&idp), oidc("partner", &idp, secret)];
    let routes = "
  partners:
    match: /partners
    identity_provider: partner
    require: { clients: [robot] }
    exchange: { audience: inventory, scopes: [read], app_tokens: client_credentials }
  apps:
    match: /apps
    require: { roles: [Robot] }
    identity_provider: contoso
    exchange: { scopes: [api://orders-backend/.default], app_tokens: client_credentials }
  users: { match: /users, identity_provider: contoso, exchange: { scopes: [api://orders-backend/.default], app_tokens: reject } }
";
    let sidecar = Sidecar::start(&providers.concat(), routes, &[]).await;
    let app = |roles: &[&str], oid: &str| {
        let own = json!({"idtyp": "app", "scp": null, "oid": oid, "sub": oid, "roles": roles});
        idp.entra_token(TENANT, oid, own)
    };
    let robot = app(&["Robot"], "5e4c1ce0-5b1e-4c55-8d0a-0a4c3f1e7b10");
    for _ in 0..2 {
        assert_eq!(sidecar.token_b("/apps", &robot).await, "client_credentials");
    }
    assert_eq!(idp.requests(), 1);
    let form = [
        ("client_id", CLIENT),
        ("client_secret", SECRET),
        ("grant_type", "client_credentials"),
        ("scope", "api://orders-backend/.default"),
    ];
    assert_eq!(idp.last().without(&[]), form, "nothing of the caller's is sent");
    // a user who may come too has a token of theirs, in an entry of its own
    let user = idp.entra_token(TENANT, ALICE, json!({"roles": ["Robot"]}));
    assert_eq!(sidecar.token_b("/apps", &user).await, JWT_BEARER.replace(':', "-"));
    assert_eq!(idp.last().get("assertion"), user);
    assert_eq!(idp.requests(), 2);
    let other = app(&["Other"], "6e4c1ce0-5b1e-4c55-8d0a-0a4c3f1e7b11");
    assert_eq!(sidecar.refused("/apps", &other).await, (403, "insufficient_scope".into()));
    assert_eq!(sidecar.refused("/users", &robot).await, (403, "app_token_not_allowed".into()));
    assert_eq!(idp.requests(), 2);
    // elsewhere an application is its own subject (RFC 9068 section 2.2)
    let of_partner = idp.token("robot", json!({"client_id": "robot"}));
    assert_eq!(sidecar.token_b("/partners", &of_partner).await, "client_credentials");
    let form = [
        ("audience", "inventory"),
        ("client_id", "orders-proxy"),
        ("client_secret", SECRET),
        ("grant_type", "client_credentials"),
        ("scope", "read"),
    ];
    assert_eq!(idp.last().without(&[]), form);
    let stranger = idp.token("other", json!({"client_id": "other"}));
    assert_eq!(sidecar.refused("/partners", &stranger).await, (403, "client_not_allowed".into()));
    assert_eq!(idp.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_exchange_says_for_what_by_whom_and_proves_it_as_configured() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("tls.crt"), directory.path().join("tls.key"));
    let pair = Authority::new().issue("orders-proxy");
    fs::write(&certificate, &pair.certificate).unwrap();
    fs::write(&key, &pair.key).unwrap();
    let idp = Idp::start(|asked| match asked.get("grant_type") {
        "client_credentials" => Answer::granted("our-own"),
        JWT_BEARER => Answer::granted("b"),
        _ => Answer::exchanged("b"),
    })
    .await;
    let secret = "client_id: orders-proxy\n    credential: { secret: { env: SECRET } }";
    let signed = format!(
        "client_id: orders-proxy\n    credential: {{ certificate: {{ file: \"{}\", key: \"{}\", algorithm: ES256 }} }}",
        certificate.display(),
        key.display()
    );
    let providers = [
        oidc("post", &idp, secret),
        oidc("basic", &idp, &format!("{secret}\n    auth_method: client_secret_basic")),
        oidc("signed", &idp, &signed),
        oidc("nobody", &idp, "auth_method: none"),
        oidc(
            "bearer",
            &idp,
            &format!(
                "{secret}\n    grant: jwt_bearer\n    parameters: {{ requested_token_use: on_behalf_of }}"
            ),
        ),
    ];
    let routes = "
  post:
    match: /post
    identity_provider: post
    exchange:
      audience: [inventory, pricing]
      resource: https://inventory.example
      scopes: [read, write]
      requested_token_type: access_token
      actor: self
  basic: { match: /basic, identity_provider: basic, exchange: { audience: inventory } }
  signed: { match: /signed, identity_provider: signed, exchange: { audience: inventory-signed } }
  nobody: { match: /nobody, identity_provider: nobody, exchange: { audience: inventory-nobody } }
  bearer: { match: /bearer, identity_provider: bearer, exchange: { resource: https://inventory.example/ } }
";
    let sidecar = Sidecar::start(&providers.concat(), routes, &[]).await;
    let token = idp.token("alice", json!({}));
    let exchange = |more: &[(&'static str, &'static str)]| {
        let mut form = vec![
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", token.as_str()),
            ("subject_token_type", ACCESS_TOKEN),
        ];
        form.extend_from_slice(more);
        sorted(form)
    };
    let post = [("client_id", "orders-proxy"), ("client_secret", SECRET)];
    let target = ("audience", "inventory");
    let all = [
        target,
        ("audience", "pricing"),
        ("resource", "https://inventory.example"),
        ("scope", "read write"),
        ("requested_token_type", ACCESS_TOKEN),
        ("actor_token", "our-own"),
        ("actor_token_type", ACCESS_TOKEN),
    ];
    let bearer = [
        ("grant_type", JWT_BEARER),
        ("assertion", token.as_str()),
        ("requested_token_use", "on_behalf_of"),
        ("resource", "https://inventory.example/"),
    ];
    for (path, form, basic) in [
        ("/post", exchange(&[&all[..], &post].concat()), None),
        ("/basic", exchange(&[target]), Some("Basic b3JkZXJzLXByb3h5OnMzY3JldCUyQiUyRiUzRA==")),
        ("/signed", exchange(&[("audience", "inventory-signed"), post[0]]), None),
        ("/nobody", exchange(&[("audience", "inventory-nobody")]), None),
        ("/bearer", sorted([&bearer[..], &post].concat()), None),
    ] {
        assert_eq!(sidecar.token_b(path, &token).await, "b", "{path}");
        let asked = idp.last();
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/token"), "{path}");
        assert_eq!(asked.without(&["client_assertion", "client_assertion_type"]), form, "{path}");
        let authorization = asked.headers.get("authorization").map(|value| value.to_str().unwrap());
        assert_eq!(authorization, basic, "{path}");
        assert_eq!(asked.get("client_assertion").is_empty(), path != "/signed", "{path}");
    }
    let forms = idp.received();
    let ours = forms.iter().filter(|asked| asked.get("grant_type") == "client_credentials");
    assert_eq!(
        ours.map(|asked| asked.without(&[])).collect::<Vec<_>>(),
        [sorted([&post[..], &[("grant_type", "client_credentials")]].concat())]
    );
    let signed = forms.iter().find(|asked| !asked.get("client_assertion").is_empty()).unwrap();
    let assertion = signed.get("client_assertion");
    let [header, claims] = parts(assertion);
    assert_eq!(header["alg"], "ES256");
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("orders-proxy"), &json!("orders-proxy")));
    assert_eq!(claims["aud"], idp.authority());
    let (message, signature) = assertion.rsplit_once('.').unwrap();
    let public = KeyPair::from_pem(&pair.key).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public.der_bytes())
        .verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
    assert_eq!(signed.get("client_assertion_type"), "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_demands_a_certificate_is_shown_ours_where_it_is_told_to() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (trusted, untrusted) = (Authority::new(), Authority::new());
    let provider = |name: &str, issuer: &Idp, authority: &Authority| {
        let pair = authority.issue("orders-proxy");
        let certificate = file(&format!("{name}.crt"), &pair.certificate);
        let key = file(&format!("{name}.key"), &pair.key);
        let more = format!(
            "client_id: orders-proxy\n    auth_method: tls_client_auth\n    \
             credential: {{ certificate: {{ file: \"{certificate}\", key: \"{key}\" }} }}"
        );
        oidc(name, issuer, &more)
    };
    let tls = Transport::Tls(trusted.server_for_certified_callers().into());
    let guarded = Idp::start_with(json!({}), tls, |_| Answer::exchanged("b")).await;
    // RFC 8705 section 5: the endpoint for such clients has an address of its own
    let alias = format!("{}/token", guarded.authority());
    let more = json!({"mtls_endpoint_aliases": {"token_endpoint": alias}});
    let idp = Idp::start_with(more, Transport::Plain, |_| Answer::json(500, &json!({}))).await;
    let providers = [provider("known", &idp, &trusted), provider("unknown", &idp, &untrusted)];
    let routes = "
  known: { match: /known, identity_provider: known, exchange: { audience: inventory } }
  unknown: { match: /unknown, identity_provider: unknown, exchange: { audience: pricing } }
";
    let roots = file("roots.pem", &trusted.pem());
    let sidecar = Sidecar::start(&providers.concat(), routes, &[("SSL_CERT_FILE", &roots)]).await;
    let token = idp.token("alice", json!({}));
    assert_eq!(sidecar.token_b("/known", &token).await, "b");
    let form = [
        ("audience", "inventory"),
        ("client_id", "orders-proxy"),
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", token.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    assert_eq!(guarded.last().without(&[]), form);
    // the handshake fails, which looks like a server that is down
    assert_eq!(sidecar.refused("/unknown", &token).await, (503, "idp_unavailable".into()));
    assert_eq!((guarded.requests(), idp.requests()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_of_a_token_picks_its_provider_among_those_of_the_route() {
    let entra = Idp::start(|_| Answer::granted("of-entra")).await;
    let partner = Idp::start(|_| Answer::json(200, &exchanged("of-the-partner"))).await;
    let secret = "client_id: orders-proxy\n    credential: { secret: { env: SECRET } }";
    let providers = [contoso(&entra), oidc("partner", &partner, secret)];
    let routes = "
  both: { match: /, identity_provider: [contoso, partner], exchange: { scopes: [inventory] } }
  own: { match: /own, identity_provider: contoso, exchange: { scopes: [inventory] } }
";
    let sidecar = Sidecar::start(&providers.concat(), routes, &[]).await;
    let of_entra = entra.entra_token(TENANT, ALICE, json!({}));
    let of_partner = partner.token("alice", json!({}));
    assert_eq!(sidecar.token_b("/", &of_entra).await, "of-entra");
    assert_eq!(sidecar.token_b("/", &of_partner).await, "of-the-partner");
    assert_eq!(entra.last().get("assertion"), of_entra);
    assert_eq!(partner.last().get("subject_token"), of_partner);
    for (path, token, reason) in [
        ("/own", of_partner, "wrong_issuer"),
        // one issuer's key cannot sign the other's tokens
        (
            "/",
            entra.sign(json!({"iss": partner.authority(), "aud": "orders", "sub": "a"}), json!({})),
            "unknown_key",
        ),
        ("/", partner.entra_token(TENANT, ALICE, json!({"iss": issuer(&entra)})), "unknown_key"),
        ("/", partner.token("alice", json!({"iss": "https://id.example"})), "wrong_issuer"),
        ("/", partner.token("alice", json!({"aud": CLIENT})), "wrong_audience"),
    ] {
        assert_eq!(sidecar.refused(path, &token).await, (401, reason.into()));
    }
    assert_eq!((entra.requests(), partner.requests()), (1, 1));
}

fn issuer(entra: &Idp) -> String {
    format!("{}/{TENANT}/v2.0", entra.authority())
}
