use std::sync::OnceLock;

use http::HeaderValue;
use http::StatusCode;
use http::header;
use serde_json::json;
use url::form_urlencoded;

use crate::app::demo::entra::client_assertion::Seen;
use crate::app::demo::entra::keys::OldKey;
use crate::app::demo::entra::settings::Settings;
use crate::app::demo::entra::wish::SignIn;
use crate::app::demo::entra::wish::TokenWish;
use crate::config::EntraVersion;
use crate::domain::caller::Principal;

use super::*;

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const CLIENT_ID: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const POST: &Method = &Method::POST;

fn realm() -> Realm {
    Realm { settings: Settings::default(), authority: "http://127.0.0.1:8090".into(), seen: Seen::default() }
}

fn keys() -> &'static KeyRing {
    static KEYS: OnceLock<KeyRing> = OnceLock::new();
    KEYS.get_or_init(|| KeyRing::generate().unwrap())
}

fn token_of(user: &str, wish: &TokenWish) -> String {
    let user = User::named(user).unwrap();
    token::for_proxy(&realm(), keys().current(), user, wish, NOW).unwrap()
}

fn claims_of(token: &str) -> Map<String, Value> {
    jsonwebtoken::dangerous::insecure_decode(token).unwrap().claims
}

/// Alice's claims with `changes`, signed again; null removes a claim.
fn forged(changes: Value, header: Value) -> String {
    let mut claims = claims_of(&token_of("alice", &TokenWish::default()));
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.remove(name),
            value => claims.insert(name.clone(), value.clone()),
        };
    }
    keys().current().sign(&claims, header.as_object().unwrap()).unwrap()
}

/// A good request; each test spoils one thing of it.
struct Sent {
    method: Method,
    headers: HeaderMap,
    form: Vec<(&'static str, String)>,
}

impl Sent {
    fn by(user: &str) -> Self {
        Self::with(token_of(user, &TokenWish::default()))
    }

    fn with(assertion: String) -> Self {
        let mut headers = HeaderMap::new();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form_type);
        let secret = realm().settings.client_secret.expose().to_owned();
        let form = vec![
            ("grant_type", JWT_BEARER.to_owned()),
            ("client_id", CLIENT_ID.to_owned()),
            ("client_secret", secret),
            ("assertion", assertion),
            ("scope", "api://orders-backend/.default".to_owned()),
            ("requested_token_use", "on_behalf_of".to_owned()),
        ];
        Self { method: Method::POST, headers, form }
    }

    fn set(mut self, name: &'static str, value: &str) -> Self {
        self.form.retain(|(own, _)| *own != name);
        self.form.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.form.retain(|(own, _)| *own != name);
        self
    }

    fn again(mut self, name: &'static str) -> Self {
        let (_, value) = self.form.iter().find(|(own, _)| *own == name).unwrap().clone();
        self.form.push((name, value));
        self
    }

    fn authorization(mut self, value: &str) -> Self {
        self.headers.append(header::AUTHORIZATION, value.parse().unwrap());
        self
    }

    fn content_type(mut self, value: &'static str) -> Self {
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
        self
    }

    fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    fn body(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.form).finish()
    }

    fn answer(&self, segment: Segment<'_>) -> Answer {
        let body = self.body();
        answer_raw(&self.method, &self.headers, body.as_bytes(), segment)
    }

    fn answered(&self) -> (StatusCode, Value) {
        parsed(&self.answer(Segment::Tenant(TENANT)))
    }
}

fn answer_raw(method: &Method, headers: &HeaderMap, body: &[u8], segment: Segment<'_>) -> Answer {
    answer(Request { segment, method, headers, body }, &realm(), keys(), NOW).unwrap()
}

fn parsed(answer: &Answer) -> (StatusCode, Value) {
    (answer.response.status(), serde_json::from_str(answer.response.body()).unwrap())
}

fn basic(id: &str, secret: &str) -> String {
    use base64::Engine;
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let credentials = format!("{}:{}", encode(id), encode(secret));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
}

#[test]
fn every_mistake_in_a_request_has_its_answer() {
    let secret = realm().settings.client_secret.expose().to_owned();
    let good = || Sent::by("alice");
    let in_header = || good().without("client_secret");
    let cases: Vec<(&str, Sent, u16, &str, u32)> = vec![
        ("GET", good().method(Method::GET), 400, "invalid_request", 900_561),
        ("JSON", good().content_type("application/json"), 400, "invalid_request", 9_002_313),
        ("no grant_type", good().without("grant_type"), 400, "invalid_request", 900_144),
        ("no client_id", good().without("client_id"), 400, "invalid_request", 900_144),
        ("no assertion", good().without("assertion"), 400, "invalid_request", 900_144),
        ("no scope", good().without("scope"), 400, "invalid_request", 900_144),
        ("no token use", good().without("requested_token_use"), 400, "invalid_request", 900_144),
        ("empty assertion", good().set("assertion", ""), 400, "invalid_request", 900_144),
        ("two scopes", good().again("scope"), 400, "invalid_request", 9_002_313),
        ("two assertions", good().again("assertion"), 400, "invalid_request", 9_002_313),
        ("other grant", good().set("grant_type", "password"), 400, "unsupported_grant_type", 70_003),
        ("other use", good().set("requested_token_use", "On_Behalf_Of"), 400, "invalid_request", 9_002_313),
        ("resource", good().set("resource", "api://orders-backend"), 400, "invalid_request", 901_002),
        ("claims", good().set("claims", "[1]"), 400, "invalid_request", 9_002_313),
        (
            "SAML",
            good().set("requested_token_type", "urn:ietf:params:oauth:token-type:saml2"),
            400,
            "invalid_request",
            9_002_313,
        ),
        (
            "a token type by half its name",
            good().set("requested_token_type", "token-type:access_token"),
            400,
            "invalid_request",
            9_002_313,
        ),
        ("unknown client", good().set("client_id", TENANT), 400, "unauthorized_client", 700_016),
        ("no secret", in_header(), 401, "invalid_client", 7_000_218),
        ("wrong secret", good().set("client_secret", "guess"), 401, "invalid_client", 7_000_215),
        // the `+` of a secret that was not encoded arrives as a space
        (
            "bare plus",
            good().set("client_secret", &secret.replace('+', " ")),
            401,
            "invalid_client",
            7_000_215,
        ),
        ("two ways", good().authorization(&basic(CLIENT_ID, &secret)), 400, "invalid_request", 9_002_313),
        (
            "wrong in header",
            in_header().authorization(&basic(CLIENT_ID, "guess")),
            401,
            "invalid_client",
            7_000_215,
        ),
        (
            "none in header",
            in_header().authorization(&basic(CLIENT_ID, "")),
            401,
            "invalid_client",
            7_000_218,
        ),
        (
            "other client",
            in_header().authorization(&basic(TENANT, &secret)),
            400,
            "invalid_request",
            9_002_313,
        ),
        ("no Basic", in_header().authorization("Bearer x"), 400, "invalid_request", 9_002_313),
        ("no base64", in_header().authorization("Basic ???"), 400, "invalid_request", 9_002_313),
        (
            "two headers",
            in_header().authorization(&basic(CLIENT_ID, &secret)).authorization(&basic(CLIENT_ID, &secret)),
            400,
            "invalid_request",
            9_002_313,
        ),
        ("client assertion", in_header().set("client_assertion", "a.b.c"), 401, "invalid_client", 700_027),
        ("assertion and secret", good().set("client_assertion", "a.b.c"), 400, "invalid_request", 9_002_313),
        ("no resource", good().set("scope", "openid offline_access"), 400, "invalid_scope", 70_011),
        ("blank scope", good().set("scope", " "), 400, "invalid_scope", 70_011),
        ("Graph", good().set("scope", "user.read"), 400, "invalid_resource", 500_011),
        ("unknown API", good().set("scope", "api://nowhere/.default"), 400, "invalid_resource", 500_011),
        (
            "unknown scope",
            good().set("scope", "api://orders-backend/orders.burn"),
            400,
            "invalid_scope",
            70_011,
        ),
        (
            "two APIs",
            good().set("scope", "api://orders-backend/orders.read api://reports-backend/reports.read"),
            400,
            "invalid_scope",
            70_011,
        ),
        (
            "default and more",
            good().set("scope", "api://orders-backend/.default api://orders-backend/orders.read"),
            400,
            "invalid_scope",
            70_011,
        ),
    ];
    for (what, sent, status, error, code) in cases {
        let (got, body) = sent.answered();
        let expected = (status, &json!(error), &json!([code]));
        assert_eq!((got.as_u16(), &body["error"], &body["error_codes"]), expected, "{what}: {body}");
        let prefix = format!("AADSTS{code}: ");
        assert!(body["error_description"].as_str().unwrap().starts_with(&prefix), "{what}");
    }
}

#[test]
fn a_missing_parameter_is_named() {
    let (_, body) = Sent::by("alice").without("scope").answered();
    assert!(body["error_description"].as_str().unwrap().contains("'scope'"));
}

#[test]
fn a_body_that_is_not_form_encoded_is_refused() {
    let sent = Sent::by("alice");
    for tail in ["&x=%zz", "&x=%4", "&x=a b", "&x=\u{e4}"] {
        let body = sent.body() + tail;
        let answer = answer_raw(POST, &sent.headers, body.as_bytes(), Segment::Tenant(TENANT));
        assert_eq!(parsed(&answer).1["error_codes"], json!([9_002_313]), "{tail}");
    }
    let body = sent.body() + "&x=%20";
    let answer = answer_raw(POST, &sent.headers, body.as_bytes(), Segment::Tenant(TENANT));
    assert_eq!(answer.response.status(), 200);
}

#[test]
fn every_mistake_in_an_assertion_has_its_answer() {
    let stranger = KeyRing::generate().unwrap();
    let alice = User::named("alice").unwrap();
    let wish = TokenWish::default();
    let strange = token::for_proxy(&realm(), stranger.current(), alice, &wish, NOW).unwrap();
    // signed by a stranger who knows the name of our key
    let kid = json!({ "kid": keys().current().kid() });
    let misnamed = stranger.current().sign(&claims_of(&strange), kid.as_object().unwrap()).unwrap();
    let app = TokenWish { principal: Principal::Application, ..TokenWish::default() };
    let now = NOW.as_seconds();
    let f = |changes| forged(changes, json!({}));
    let h = |header| forged(json!({}), header);
    for (what, assertion, error, code) in [
        ("no JWT", "abc".to_owned(), "invalid_request", 50_027),
        ("no JSON", "a.b.c".to_owned(), "invalid_request", 50_027),
        ("alg none", h(json!({ "alg": "none" })), "invalid_request", 50_027),
        ("alg HS256", h(json!({ "alg": "HS256" })), "invalid_request", 50_027),
        ("alg RS512", h(json!({ "alg": "RS512" })), "invalid_request", 50_027),
        ("crit", h(json!({ "crit": ["b64"] })), "invalid_request", 50_027),
        ("no kid", h(json!({ "kid": null })), "invalid_request", 50_027),
        ("unknown key", strange, "invalid_grant", 50_013),
        ("bad signature", misnamed, "invalid_grant", 50_013),
        ("other issuer", f(json!({ "iss": "https://login.example/" })), "invalid_grant", 50_013),
        (
            "issuer in a list",
            f(json!({ "iss": [realm().issuer(EntraVersion::V2, TENANT)] })),
            "invalid_grant",
            50_013,
        ),
        (
            "v1 issuer, v2 token",
            f(json!({ "iss": realm().issuer(EntraVersion::V1, TENANT) })),
            "invalid_grant",
            50_013,
        ),
        ("other tenant", f(json!({ "tid": CLIENT_ID })), "invalid_grant", 50_013),
        ("other audience", f(json!({ "aud": "api://orders-backend" })), "invalid_grant", 500_131),
        (
            "audience with a slash",
            f(json!({ "aud": format!("api://{CLIENT_ID}/") })),
            "invalid_grant",
            500_131,
        ),
        ("expires now", f(json!({ "exp": now })), "invalid_grant", 500_133),
        ("not yet valid", f(json!({ "nbf": now + 1 })), "invalid_grant", 500_133),
        ("no exp", f(json!({ "exp": null })), "invalid_grant", 90_016),
        ("exp as text", f(json!({ "exp": (now + 60).to_string() })), "invalid_grant", 90_016),
        ("no nbf", f(json!({ "nbf": null })), "invalid_grant", 90_016),
        ("no oid", f(json!({ "oid": null })), "invalid_grant", 90_016),
        ("no ver", f(json!({ "ver": null })), "invalid_grant", 90_016),
        ("id_token", f(json!({ "scp": null, "azp": null })), "invalid_grant", 240_002),
        ("empty scp", f(json!({ "scp": "" })), "invalid_grant", 240_002),
        ("application", token_of("alice", &app), "unauthorized_client", 7_000_114),
        ("idtyp app", f(json!({ "idtyp": "app" })), "unauthorized_client", 7_000_114),
    ] {
        let (status, body) = Sent::with(assertion).answered();
        assert_eq!(status, 400, "{what}");
        assert_eq!((&body["error"], &body["error_codes"]), (&json!(error), &json!([code])), "{what}: {body}");
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_signature_is_refused() {
    let token = token_of("alice", &TokenWish::default());
    let signature = token.rfind('.').unwrap() + 1;
    for at in (signature..token.len() - 1).step_by(37) {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let (_, body) = Sent::with(String::from_utf8(bytes).unwrap()).answered();
        assert_eq!(body["error_codes"], json!([50_013]), "byte {at}");
    }
}

#[test]
fn a_token_of_one_tenant_is_not_exchanged_at_another_or_at_common() {
    let other = Sent::by("alice").answer(Segment::Tenant("72f988bf-86f1-41af-91ab-2d7cd011db47"));
    assert_eq!(parsed(&other).1["error_codes"], json!([50_013]));
    let shared = Sent::by("alice").answer(Segment::Shared);
    assert_eq!(parsed(&shared).1["error_codes"], json!([90_130]));
}

#[test]
fn a_good_request_is_answered_with_a_token_for_the_api() {
    for version in [EntraVersion::V1, EntraVersion::V2] {
        let wish = TokenWish { version, ..TokenWish::default() };
        let assertion = token_of("alice", &wish);
        let answer = Sent::with(assertion.clone()).answer(Segment::Tenant(TENANT));
        let (status, body) = parsed(&answer);
        assert_eq!((status.as_u16(), answer.pause), (200, Duration::ZERO), "{body}");
        assert_eq!(body["token_type"], "Bearer");
        assert_eq!((&body["expires_in"], &body["ext_expires_in"]), (&json!(3600), &json!(3600)));
        assert_eq!(body["scope"], "api://orders-backend/orders.read api://orders-backend/.default");
        assert!(body.get("refresh_token").is_none() && body.get("expires_on").is_none());
        let headers = answer.response.headers();
        assert_eq!(headers[header::CACHE_CONTROL], "no-store, no-cache");
        assert_eq!(headers[header::PRAGMA], "no-cache");

        let (a, b) = (claims_of(&assertion), claims_of(body["access_token"].as_str().unwrap()));
        assert_eq!(b["aud"], "api://orders-backend");
        assert_eq!(b["iss"], format!("https://sts.windows.net/{TENANT}/"));
        assert_eq!((&b["scp"], &b["appid"]), (&json!("orders.read"), &json!(CLIENT_ID)));
        assert_eq!((&b["ver"], &b["appidacr"]), (&json!("1.0"), &json!("1")));
        assert_eq!((&b["oid"], &b["tid"], &b["name"]), (&a["oid"], &a["tid"], &a["name"]));
        assert_ne!(b["sub"], a["sub"], "a subject is pairwise");
        assert_eq!(b["exp"], NOW.as_seconds() + 3600);
        assert_eq!(b["nbf"], NOW.as_seconds() - 300);
    }
}

#[test]
fn explicit_scopes_are_granted_without_regard_to_case_and_offline_access_gives_a_refresh_token() {
    let scope = "api://orders-backend/Orders.READ offline_access";
    let (status, body) = Sent::by("bob").set("scope", scope).answered();
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["scope"], "api://orders-backend/orders.read");
    assert!(body["refresh_token"].as_str().is_some_and(|token| !token.is_empty()));
}

#[test]
fn the_secret_may_come_in_the_header_with_or_without_the_id_in_the_form() {
    let secret = realm().settings.client_secret.expose().to_owned();
    let sent = || Sent::by("alice").without("client_secret").authorization(&basic(CLIENT_ID, &secret));
    assert_eq!(sent().answered().0, 200);
    assert_eq!(sent().without("client_id").answered().0, 200);
}

#[test]
fn parameters_nobody_knows_and_client_capabilities_are_accepted() {
    let claims = r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#;
    let kind = "urn:ietf:params:oauth:token-type:access_token";
    let sent = Sent::by("alice").set("x", "y").set("claims", claims).set("requested_token_type", kind);
    assert_eq!(sent.answered().0, 200);
}

#[test]
fn a_key_that_is_still_published_is_good_and_one_withdrawn_is_not() {
    let mut ring = KeyRing::generate().unwrap();
    let alice = User::named("alice").unwrap();
    let token = token::for_proxy(&realm(), ring.current(), alice, &TokenWish::default(), NOW).unwrap();
    let sent = Sent::with(token);
    let status = |ring: &KeyRing| {
        let body = sent.body();
        let request = Request {
            segment: Segment::Tenant(TENANT),
            method: POST,
            headers: &sent.headers,
            body: body.as_bytes(),
        };
        answer(request, &realm(), ring, NOW).unwrap().response.status().as_u16()
    };
    ring.rotate(OldKey::Kept).unwrap();
    assert_eq!(status(&ring), 200);
    ring.rotate(OldKey::Dropped).unwrap();
    assert_eq!(status(&ring), 400);
}

#[test]
fn each_user_meets_their_fate() {
    for (user, status, error, code, suberror) in [
        ("mfa", 400, "invalid_grant", 50_076, Some("basic_action")),
        ("legacy", 400, "interaction_required", 50_079, None),
        ("noconsent", 400, "invalid_grant", 65_001, Some("consent_required")),
        ("blocked", 400, "invalid_grant", 53_002, None),
        ("down", 503, "temporarily_unavailable", 90_033, None),
    ] {
        let (got, body) = Sent::by(user).answered();
        assert_eq!((got.as_u16(), &body["error"]), (status, &json!(error)), "{user}");
        assert_eq!(body["error_codes"], json!([code]), "{user}");
        assert_eq!(body.get("suberror").and_then(Value::as_str), suberror, "{user}");
        let has_claims = body.get("claims").is_some();
        assert_eq!(has_claims, ["mfa", "legacy"].contains(&user), "{user}");
    }
    for (user, pause) in [("alice", Duration::ZERO), ("bob", Duration::ZERO), ("slow", SLOW)] {
        let answer = Sent::by(user).answer(Segment::Tenant(TENANT));
        assert_eq!((answer.response.status().as_u16(), answer.pause), (200, pause), "{user}");
    }
    let throttled = Sent::by("throttled").answer(Segment::Tenant(TENANT)).response;
    assert_eq!((throttled.status().as_u16(), throttled.body().as_str()), (429, "Too Many Requests"));
    assert_eq!(throttled.headers()[header::RETRY_AFTER], "2");
    assert_eq!(throttled.headers()[header::CONTENT_TYPE], "text/plain");
}

#[test]
fn the_claims_demanded_are_json_in_a_string() {
    let (_, body) = Sent::by("mfa").answered();
    let claims: Value = serde_json::from_str(body["claims"].as_str().unwrap()).unwrap();
    assert_eq!(claims["access_token"]["capolids"]["essential"], true);
    let legacy = Sent::by("legacy").answer(Segment::Tenant(TENANT)).response;
    assert_eq!(legacy.body(), crate::app::demo::entra::answers::ENROLMENT_2017);
}

#[test]
fn a_second_factor_satisfies_the_demand_for_one() {
    let wish = TokenWish { sign_in: SignIn::MultiFactor, ..TokenWish::default() };
    assert_eq!(Sent::with(token_of("mfa", &wish)).answered().0, 200);
}

proptest::proptest! {
    #[test]
    fn no_body_makes_it_panic_and_no_guess_gets_a_token(body: Vec<u8>, authorization in "[ -~]{0,40}") {
        let sent = Sent::by("alice").authorization(&authorization);
        let answer = answer_raw(POST, &sent.headers, &body, Segment::Tenant(TENANT));
        proptest::prop_assert!(answer.response.status().is_client_error());
    }

    #[test]
    fn no_assertion_that_was_not_issued_is_exchanged(assertion in "[A-Za-z0-9_=-]{0,40}(\\.[A-Za-z0-9_=-]{0,40}){0,4}") {
        let (status, _) = Sent::with(assertion).answered();
        proptest::prop_assert_eq!(status.as_u16(), 400);
    }
}

#[test]
fn an_application_gets_tokens_of_its_own_for_what_is_registered() {
    let own = || {
        let scope = format!("{CLIENT_ID}/.default");
        let bare = Sent::by("alice").without("assertion").without("requested_token_use");
        bare.set("grant_type", "client_credentials").set("scope", &scope)
    };
    let (status, body) = own().answered();
    assert_eq!((status, body.get("scope")), (StatusCode::OK, None));
    let claims = claims_of(body["access_token"].as_str().unwrap());
    assert_eq!((claims["aud"].as_str(), claims["idtyp"].as_str()), (Some(CLIENT_ID), Some("app")));
    assert_eq!(own().set("scope", "api://orders-backend/.default").answered().0, StatusCode::OK);
    for (sent, code) in [
        (own().set("client_secret", "wrong"), 7_000_215),
        (own().set("scope", "api://orders-backend/orders.read"), 1_002_012),
        (own().set("scope", "api://nobody/.default"), 500_011),
        (own().set("scope", &format!("api://{CLIENT_ID}/.default")), 90_009),
        (own().set("requested_token_use", "on_behalf_of"), 9_002_313),
        (own().without("scope"), 900_144),
    ] {
        assert_eq!(sent.answered().1["error_codes"][0], code);
    }
}
