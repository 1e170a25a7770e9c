//! Whatever a token endpoint answers, the caller is told whose fault it is, the service is spared, and no text of the
//! endpoint's gets where it could do harm.

use http::StatusCode;
use serde_json::Value;
use serde_json::json;

use crate::support::idp::Answer;
use crate::support::idp::Content;
use crate::support::idp::Idp;
use crate::support::idp::exchanged;
use crate::support::sidecar::Sidecar;

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const DESCRIPTION: &str = "AADSTS50076: prose\r\nSet-Cookie: stolen=1\r\n\r\n<script>";

const ROUTES: &str = "
  entra: { match: /entra, identity_provider: contoso, exchange: { scopes: [api://orders-backend/.default] } }
  partner: { match: /partner, identity_provider: partner, exchange: { audience: inventory } }
  saml: { match: /saml, identity_provider: contoso, exchange: { scopes: [api://orders-backend/.default], requested_token_type: saml2 } }
";

async fn sidecar(idp: &Idp) -> Sidecar {
    let providers = format!(
        r#"
  contoso:
    entra: {{ tenant: {TENANT}, authority: "{authority}" }}
    client_id: {CLIENT}
    credential: {{ secret: {{ env: SECRET }} }}
    timeout: 2s
  partner:
    oidc: {{ issuer: "{authority}" }}
    client_id: orders-proxy
    credential: {{ secret: {{ env: SECRET }} }}
    audiences: [orders]
    timeout: 2s"#,
        authority = idp.authority()
    );
    Sidecar::start(&providers, ROUTES, &[]).await
}

/// A token of a user whom no other case has: what is remembered of one does not count for the next.
fn token(idp: &Idp, path: &str, user: usize) -> String {
    match path {
        "/partner" => idp.token(&format!("user-{user}"), json!({})),
        _ => idp.entra_token(TENANT, &format!("a11ce000-5b1e-4c55-8d0a-{user:012}"), json!({})),
    }
}

fn granted(changes: Value) -> Answer {
    changed(json!({"token_type": "Bearer", "expires_in": 3600, "access_token": "b"}), changes)
}

fn swapped(changes: Value) -> Answer {
    changed(exchanged("b"), changes)
}

/// The object with these changes, as an answer; null removes.
fn changed(mut object: Value, changes: Value) -> Answer {
    let members = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    Answer::json(200, &object)
}

fn refused(error: Value) -> Answer {
    Answer::json(400, &error)
}

/// What is answered on a path, and what comes of it: status, reason, and the `error` of the challenge if there is one.
struct Case {
    of: &'static str,
    path: &'static str,
    answer: fn() -> Answer,
    seen: (u16, &'static str, &'static str),
}

const NONSENSE: (u16, &str, &str) = (502, "idp_bad_response", "");
const OURS: (u16, &str, &str) = (502, "proxy_misconfigured", "");
const SIGN_IN: (u16, &str, &str) = (401, "interaction_required", "interaction_required");
const AWAY: (u16, &str, &str) = (503, "idp_unavailable", "");

const fn case(
    of: &'static str,
    path: &'static str,
    seen: (u16, &'static str, &'static str),
    answer: fn() -> Answer,
) -> Case {
    Case { of, path, answer, seen }
}

const CASES: [Case; 33] = [
    case("no JSON", "/entra", NONSENSE, || Answer::text(200, "text/html", "<html>sign in here</html>")),
    case("no JSON, but called that", "/entra", NONSENSE, || {
        Answer::text(200, "application/json", "<html>sign in here</html>")
    }),
    case("nothing", "/entra", NONSENSE, || Answer::text(200, "application/json", "")),
    case("a list", "/entra", NONSENSE, || Answer::json(200, &json!(["Bearer", "b"]))),
    case("a token called HTML", "/entra", NONSENSE, || Answer {
        headers: vec![("content-type", "text/html".into())],
        ..granted(json!({}))
    }),
    case("a token called nothing", "/entra", NONSENSE, || Answer { headers: vec![], ..granted(json!({})) }),
    case("compressed", "/entra", NONSENSE, || granted(json!({})).with("content-encoding", "gzip")),
    case("huge", "/entra", NONSENSE, || granted(json!({"padding": "x".repeat(300_000)}))),
    case("a huge token", "/entra", NONSENSE, || granted(json!({"access_token": "b".repeat(70_000)}))),
    case("redirecting", "/entra", NONSENSE, || {
        Answer { status: 302, ..granted(json!({})) }.with("location", "/elsewhere")
    }),
    case("redirecting with the form", "/partner", NONSENSE, || {
        Answer { status: 307, ..swapped(json!({})) }.with("location", "/elsewhere")
    }),
    case("another success", "/entra", NONSENSE, || Answer { status: 201, ..granted(json!({})) }),
    case("truncated JSON", "/entra", NONSENSE, || {
        Answer::text(200, "application/json", "{\"token_type\":\"Bearer\",\"access_token\":\"b\"")
    }),
    case("no token", "/entra", NONSENSE, || granted(json!({"access_token": null}))),
    case("an empty token", "/entra", NONSENSE, || granted(json!({"access_token": ""}))),
    case("a token with a line in it", "/entra", NONSENSE, || {
        granted(json!({"access_token": "b\r\nx-admin: true"}))
    }),
    case("a number for a token", "/entra", NONSENSE, || granted(json!({"access_token": 7}))),
    case("no token_type", "/entra", NONSENSE, || granted(json!({"token_type": null}))),
    case("token_type pop", "/entra", NONSENSE, || granted(json!({"token_type": "pop"}))),
    case("token_type N_A", "/partner", NONSENSE, || swapped(json!({"token_type": "N_A"}))),
    case("token_type DPoP", "/partner", NONSENSE, || swapped(json!({"token_type": "DPoP"}))),
    case("no issued_token_type", "/partner", NONSENSE, || swapped(json!({"issued_token_type": null}))),
    case("another issued_token_type", "/partner", NONSENSE, || {
        swapped(json!({"issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}))
    }),
    case("no SAML, though asked", "/saml", NONSENSE, || {
        granted(json!({"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}))
    }),
    case("an error without a name", "/entra", NONSENSE, || {
        refused(json!({"error_description": DESCRIPTION}))
    }),
    case("a line in the error", "/entra", NONSENSE, || {
        refused(json!({"error": "x\r\nset-cookie: stolen=1"}))
    }),
    case("an error nobody knows", "/entra", OURS, || refused(json!({"error": "teapot"}))),
    case("lines in the description", "/entra", SIGN_IN, || {
        refused(json!({"error": "interaction_required", "error_description": DESCRIPTION}))
    }),
    case("claims that are no object", "/entra", SIGN_IN, || {
        refused(
            json!({"error": "interaction_required", "claims": "[\"x\"]", "error_description": DESCRIPTION}),
        )
    }),
    case("claims that are no text", "/entra", SIGN_IN, || {
        refused(json!({"error": "invalid_grant", "suberror": "basic_action", "claims": {"access_token": {}}}))
    }),
    // these would open the breaker of their endpoint if there were more of them
    case("truncated", "/partner", AWAY, || {
        let text = exchanged("b").to_string();
        Answer { content: Content::BrokenOff(text), ..swapped(json!({})) }
    }),
    case("an error page", "/partner", AWAY, || Answer::text(500, "text/html", "<h1>stolen</h1>")),
    case("too slow", "/entra", AWAY, || Answer { content: Content::Never, ..granted(json!({})) }),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_answer_has_its_status_and_its_reason() {
    let idp = Idp::start(|_| granted(json!({}))).await;
    let sidecar = sidecar(&idp).await;
    for (user, Case { of, path, answer, seen: (status, reason, error) }) in CASES.into_iter().enumerate() {
        idp.answers(move |_| answer());
        let given = sidecar.get(path, &token(&idp, path, user)).await;
        assert_eq!((given.status.as_u16(), given.reason().as_str()), (status, reason), "{of}");
        let challenge = given.header("www-authenticate");
        match error {
            "" => assert_eq!(challenge, "", "{of}"),
            error => assert!(challenge.ends_with(&format!("error=\"{error}\"")), "{of}: {challenge}"),
        }
        assert_eq!(given.header("retry-after"), if status == 503 { "1" } else { "" }, "{of}");
        assert_eq!(given.header("content-type"), "application/problem+json", "{of}");
        assert_eq!(given.header("cache-control"), "no-store", "{of}");
        let whole = format!("{:?} {}", given.headers, given.json());
        for foreign in ["set-cookie", "stolen", "prose", "script", "html", "x-admin"] {
            assert!(!whole.to_lowercase().contains(foreign), "{of}: {whole}");
        }
    }
    assert_eq!(sidecar.echo.requests(), 0, "the service was asked");
    assert!(idp.received().iter().all(|asked| asked.path != "/elsewhere"), "a redirect was followed");
    // none of it hurt anyone else
    idp.answers(|_| granted(json!({})));
    assert_eq!(sidecar.get("/entra", &token(&idp, "/entra", 1000)).await.status, StatusCode::OK);
    let log = sidecar.proxy.log();
    assert!(!log.contains("stolen") && !log.contains("eyJ"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_own_token_is_no_token_for_the_service() {
    let idp = Idp::start(|asked| Answer::granted(asked.get("assertion"))).await;
    let sidecar = sidecar(&idp).await;
    let refused = sidecar.refused("/entra", &token(&idp, "/entra", 1)).await;
    assert_eq!(refused, (502, "idp_bad_response".into()));
    assert_eq!(sidecar.echo.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_at_no_sensible_time_is_used_once_and_not_kept() {
    let idp = Idp::start(|_| granted(json!({}))).await;
    let sidecar = sidecar(&idp).await;
    for (user, (changes, is_kept)) in [
        (json!({}), true),
        (json!({"expires_in": "3600"}), true),
        (json!({"expires_in": 3599.0}), true),
        (json!({"expires_in": null, "expires_on": "4000000000"}), false),
        (json!({"expires_in": null}), false),
        (json!({"expires_in": -1}), false),
        (json!({"expires_in": 0}), false),
        (json!({"expires_in": "1e3"}), false),
        (json!({"expires_in": true}), false),
        (json!({"expires_in": 1_000_000_000_000_u64}), false),
        (json!({"expires_in": null, "expires_on": 1_493_466_951}), false),
        (json!({"expires_in": null, "expires_on": 1_795_000_000_000_u64}), false),
    ]
    .into_iter()
    .enumerate()
    {
        let said = changes.clone();
        idp.answers(move |_| granted(said.clone()));
        let (token, before) = (token(&idp, "/entra", user), idp.requests());
        for _ in 0..2 {
            assert_eq!(sidecar.token_b("/entra", &token).await, "b", "{changes}");
        }
        assert_eq!(idp.requests() - before, if is_kept { 1 } else { 2 }, "{changes}");
    }
}
