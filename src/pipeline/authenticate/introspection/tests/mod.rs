//! Opaque tokens from the header to the caller, over a real connection to an issuer that answers as told.

mod crowds;
mod server;

use http::HeaderValue;
use http::header::AUTHORIZATION;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::config::AuthorizationServer;
use crate::config::Demand;
use crate::config::Introspection;
use crate::config::Policy;
use crate::config::Principals;
use crate::domain::caller::Caller;
use crate::domain::caller::Principal;
use crate::domain::caller::UserKey;
use crate::domain::secret::Secret;
use crate::net::client_authentication::Proving;
use crate::pipeline::authenticate::Authenticator;
use crate::pipeline::authenticate::Error;
use crate::pipeline::authenticate::Kind;
use crate::pipeline::authenticate::Outside;
use crate::pipeline::authenticate::introspection::tests::server::Server;
use crate::pipeline::authenticate::testing::NOW;
use crate::pipeline::authenticate::testing::Signer;
use crate::pipeline::authenticate::testing::cache;
use crate::pipeline::authenticate::testing::changed;
use crate::pipeline::authenticate::testing::name;
use crate::pipeline::authenticate::testing::oidc;
use crate::pipeline::authenticate::testing::outside;
use crate::pipeline::authenticate::testing::partner;
use crate::pipeline::authenticate::testing::partner_claims;
use crate::pipeline::authenticate::testing::policy;

const SECOND: Duration = Duration::from_secs(1);

/// Two secrets, one of which replaces the other.
#[derive(Debug)]
struct TwoSecrets;

impl ClientAuthentication for TwoSecrets {
    fn proof<'a>(&'a self, _: &'a IdentityProvider, endpoint: &'a str, refused: usize) -> Proving<'a> {
        assert!(endpoint.ends_with("/introspect"));
        Box::pin(async move {
            let secret = ["old", "new"].get(refused)?;
            let parameters = vec![("client_secret", Secret::new((*secret).into()))];
            let authorization = Some(HeaderValue::from_static("Basic b2xk"));
            Some(Ok(Proof { parameters, authorization, client: None }))
        })
    }
}

struct Running {
    server: Server,
    authenticator: Arc<Authenticator>,
    clock: Clock,
}

impl Running {
    async fn with(timeout: Duration, change: impl FnOnce(&mut Outside)) -> Self {
        let server = Server::start().await;
        let provider = Arc::new(IdentityProvider {
            server: AuthorizationServer::Oidc(oidc(&server.issuer())),
            introspection: Introspection::On,
            timeout,
            ..partner()
        });
        let clock = Clock::manual(NOW);
        let mut outside = outside(std::slice::from_ref(&provider), &clock);
        outside.authentication = Arc::new(TwoSecrets);
        change(&mut outside);
        let authenticator = Arc::new(Authenticator::new(&[provider], &cache(), &outside));
        Self { server, authenticator, clock }
    }

    /// An issuer that says what it would of a good user token, with these changes; a null removes.
    async fn saying(changes: Value) -> Self {
        let running = Self::with(Duration::from_secs(5), |_| {}).await;
        running.says(changes);
        running
    }

    fn says(&self, changes: Value) {
        let claims =
            partner_claims(json!({"iss": self.server.issuer(), "active": true, "token_type": "Bearer"}));
        self.server.says(&changed(claims, changes));
    }

    async fn caller(&self, token: &str, policy: &Policy) -> Result<Caller, Error> {
        let mut headers = http::HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        self.authenticator.caller(&headers, policy, None).await
    }

    async fn refused(&self, token: &str) -> Option<Kind> {
        match self.caller(token, &partners()).await.err()?.kind {
            Kind::Malformed(_) => Some(Kind::Malformed("")),
            kind => Some(kind),
        }
    }
}

fn partners() -> Policy {
    Policy { identity_providers: vec![name("partner")], ..policy() }
}

#[tokio::test]
async fn an_active_token_makes_a_caller() {
    let running = Running::saying(json!({"iss": null, "roles": ["Clerk"]})).await;
    let caller = running.caller("opaque+/~==", &partners()).await.unwrap();
    let claims = &caller.claims;
    assert_eq!(caller.token.expose(), "opaque+/~==");
    assert_eq!(claims.identity_provider, name("partner"));
    assert_eq!(claims.issuer, running.server.issuer());
    assert_eq!(claims.user, UserKey::subject(&running.server.issuer(), "alice"));
    assert_eq!(claims.client.as_deref(), Some("spa"));
    assert_eq!(claims.principal, Principal::User);
    assert!(claims.scopes.contains("orders.read"));
    assert_eq!(claims.roles, ["Clerk"]);
    assert_eq!(claims.token_digest, Digest::of(b"opaque+/~=="));
    let question = running.server.last();
    let form: Vec<(&str, &str)> =
        question.form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [("token", "opaque+/~=="), ("token_type_hint", "access_token"), ("client_secret", "old")];
    assert_eq!(form, expected);
    assert_eq!(question.headers["authorization"], "Basic b2xk");
    assert_eq!(question.headers["accept"], "application/json");
}

#[tokio::test]
async fn what_is_said_of_a_token_is_checked_as_if_it_were_signed() {
    let now = NOW.as_seconds();
    for (changes, reason) in [
        (json!({}), None),
        (json!({"active": false}), Some(Kind::Inactive)),
        (json!({"exp": null}), Some(Kind::Malformed(""))),
        (json!({"exp": now - 60}), Some(Kind::Expired)),
        (json!({"nbf": now + 61}), Some(Kind::NotYetValid)),
        (json!({"aud": null}), Some(Kind::WrongAudience)),
        (json!({"aud": "elsewhere"}), Some(Kind::WrongAudience)),
        (json!({"iss": "https://elsewhere.example"}), Some(Kind::WrongIssuer)),
        (json!({"sub": "spa"}), Some(Kind::AppTokenNotAllowed)),
        (json!({"sub": null}), Some(Kind::AppTokenNotAllowed)),
        (json!({"token_type": "refresh_token"}), Some(Kind::NotAnAccessToken)),
        (json!({"typ": "Refresh"}), Some(Kind::NotAnAccessToken)),
        (json!({"cnf": {"jkt": "x"}}), Some(Kind::UnsupportedCnf)),
        (json!({"token_type": "DPoP", "cnf": {"jkt": "x"}}), Some(Kind::UnsupportedCnf)),
        (
            json!({"cnf": {"x5t#S256": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}}),
            Some(Kind::UnsupportedCnf),
        ),
        (json!({"active": "yes"}), Some(Kind::IdpBadResponse)),
        (json!({"exp": "soon"}), Some(Kind::IdpBadResponse)),
    ] {
        let running = Running::saying(changes.clone()).await;
        assert_eq!(running.refused("opaque").await, reason, "{changes}");
        if reason.is_some() {
            let error = running.caller("opaque", &partners()).await.unwrap_err();
            assert_eq!(error.identity_provider, Some(name("partner")));
        }
    }
}

#[tokio::test]
async fn only_what_is_no_jwt_is_shown_to_the_issuer() {
    let running = Running::saying(json!({})).await;
    let jwt = Signer::rsa().token(&partner_claims(json!({})));
    for token in [jwt.as_str(), "e30.e30.", &jwt.replace('.', ".A.")[..40]] {
        let asked = running.server.asked();
        let is_jwt = token.split('.').count() == 3;
        assert_eq!(running.refused(token).await.is_some(), is_jwt, "{token}");
        assert_eq!(running.server.asked() - asked, usize::from(!is_jwt), "{token}");
    }
    // what is no token at all is not asked about either
    assert_eq!(running.refused("a b").await, Some(Kind::InvalidRequest));
    let without = Arc::new(partner());
    let clock = Clock::manual(NOW);
    let outside = outside(std::slice::from_ref(&without), &clock);
    let authenticator = Arc::new(Authenticator::new(&[without], &cache(), &outside));
    let running = Running { authenticator, ..running };
    assert_eq!(running.refused("opaque").await, Some(Kind::Malformed("")));
}

#[tokio::test]
async fn a_good_word_is_relied_on_for_a_minute_and_never_past_the_end() {
    for (lifetime, relied_on) in [(3600, 60), (20, 20)] {
        let running = Running::saying(json!({"exp": NOW.as_seconds() + lifetime})).await;
        let ask = async || {
            assert_eq!(running.refused("opaque").await, None);
            running.server.asked()
        };
        assert_eq!((ask().await, ask().await), (1, 1));
        running.clock.advance(Duration::from_secs(relied_on) - SECOND);
        assert_eq!(ask().await, 1, "{lifetime}");
        running.clock.advance(SECOND);
        assert_eq!(ask().await, 2, "{lifetime}");
    }
    // within the tolerance for clocks a token lives on, but is asked about each time
    let running = Running::saying(json!({"exp": NOW.as_seconds() - 30})).await;
    assert_eq!(running.refused("opaque").await, None);
    running.clock.advance(REMEMBERED);
    assert_eq!(running.refused("opaque").await, None);
    assert_eq!(running.server.asked(), 2);
}

#[tokio::test]
async fn a_revoked_token_is_refused_within_a_minute() {
    let running = Running::saying(json!({})).await;
    assert_eq!(running.refused("opaque").await, None);
    running.says(json!({"active": false}));
    assert_eq!(running.refused("opaque").await, None);
    running.clock.advance(RELIED_ON);
    assert_eq!(running.refused("opaque").await, Some(Kind::Inactive));
}

#[tokio::test]
async fn a_bad_word_is_remembered_for_ten_seconds() {
    for changes in [json!({"active": false}), json!({"aud": "elsewhere"}), json!({"sub": "spa"})] {
        let running = Running::saying(changes.clone()).await;
        let reason = running.refused("opaque").await;
        assert!(reason.is_some());
        running.clock.advance(REMEMBERED - SECOND);
        assert_eq!(running.refused("opaque").await, reason, "{changes}");
        assert_eq!(running.server.asked(), 1, "{changes}");
        assert_eq!(running.refused("another").await, reason, "{changes}");
        assert_eq!(running.server.asked(), 2, "{changes}");
        running.clock.advance(SECOND);
        running.says(json!({}));
        assert_eq!(running.refused("opaque").await, None, "{changes}");
    }
}

#[tokio::test]
async fn a_remembered_word_lets_nobody_onto_a_route_that_wants_more() {
    let running = Running::saying(json!({"sub": "spa"})).await;
    let everybodys = Policy { principals: Principals::UsersAndApplications, ..partners() };
    assert!(running.caller("opaque", &everybodys).await.is_ok());
    assert_eq!(running.refused("opaque").await, Some(Kind::AppTokenNotAllowed));
    let demanding = Policy { scopes: Demand::All(vec!["orders.delete".into()]), ..everybodys };
    let error = running.caller("opaque", &demanding).await.unwrap_err();
    assert_eq!(error.kind, Kind::InsufficientScope);
    assert_eq!(running.server.asked(), 1);
}

#[tokio::test]
async fn however_many_ask_at_once_the_issuer_is_asked_once() {
    let running = Running::saying(json!({})).await;
    running.server.close_gate();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let authenticator = running.authenticator.clone();
        callers.spawn(async move {
            let headers = [(AUTHORIZATION, HeaderValue::from_static("Bearer opaque"))].into_iter().collect();
            authenticator.caller(&headers, &partners(), None).await.map(drop)
        });
    }
    while running.server.asked() == 0 {
        tokio::task::yield_now().await;
    }
    // who hangs up takes nobody along
    let policy = partners();
    let hanging = running.caller("opaque", &policy);
    assert!(tokio::time::timeout(Duration::from_millis(1), hanging).await.is_err());
    running.server.open_gate();
    while let Some(outcome) = callers.join_next().await {
        outcome.unwrap().unwrap();
    }
    assert_eq!(running.server.asked(), 1);
}

#[tokio::test]
async fn a_refused_credential_gives_way_to_the_next() {
    let running = Running::saying(json!({})).await;
    running.server.replies(401, &[], "");
    assert_eq!(running.refused("opaque").await, Some(Kind::Misconfigured));
    assert_eq!(running.server.asked(), 2);
    let secrets = [running.server.last(), running.server.last()].map(|question| question.form[2].1.clone());
    assert_eq!(secrets, ["new", "old"]);
    // nobody else tries again at once
    assert_eq!(running.refused("another").await, Some(Kind::Misconfigured));
    assert_eq!(running.server.asked(), 0);
    running.says(json!({}));
    running.clock.advance(SECOND);
    assert_eq!(running.refused("another").await, None);
}

#[tokio::test]
async fn without_a_credential_nobody_is_asked() {
    use crate::pipeline::authenticate::testing::Nobody;
    let running = Running::with(SECOND, |outside| outside.authentication = Arc::new(Nobody)).await;
    assert_eq!(running.refused("opaque").await, Some(Kind::Misconfigured));
    assert_eq!(running.server.asked(), 0);
}

#[tokio::test]
async fn an_issuer_in_trouble_is_not_the_caller_s_fault() {
    let running = Running::saying(json!({})).await;
    let unavailable = |seconds| Some(Kind::IdpUnavailable { retry_after: Duration::from_secs(seconds) });
    running.server.replies(500, &[], "");
    assert_eq!(running.refused("one").await, unavailable(1));
    running.says(json!({}));
    // a failure that may be this token's own keeps no other waiting
    assert_eq!(running.refused("two").await, None);
    running.server.replies(503, &[("retry-after", "20")], "");
    assert_eq!(running.refused("three").await, unavailable(20));
    let asked = running.server.asked();
    running.says(json!({}));
    running.clock.advance(Duration::from_secs(19));
    assert_eq!(running.refused("four").await, unavailable(20));
    assert_eq!(running.server.asked(), asked);
    // what was good is good meanwhile
    assert_eq!(running.refused("two").await, None);
    running.clock.advance(SECOND);
    assert_eq!(running.refused("four").await, None);
    running.server.replies(429, &[("retry-after", "5")], "");
    let throttled = Some(Kind::IdpThrottled { retry_after: Duration::from_secs(5) });
    assert_eq!(running.refused("five").await, throttled);
}

#[tokio::test]
async fn an_answer_that_is_none_is_the_issuer_s_fault() {
    let running = Running::saying(json!({})).await;
    let huge = format!("{{\"active\":true,\"exp\":1,\"x\":\"{}\"}}", "x".repeat(answer::MAX_BYTES));
    let json = ("content-type", "application/json");
    for (at, (status, headers, body)) in [
        (200, &[("content-type", "text/html")][..], "<html>"),
        (200, &[json], "{"),
        (200, &[json], huge.as_str()),
        (302, &[("location", "http://127.0.0.1:1/")], ""),
    ]
    .into_iter()
    .enumerate()
    {
        running.server.replies(status, headers, body);
        assert_eq!(running.refused(&format!("token-{at}")).await, Some(Kind::IdpBadResponse), "{at}");
    }
}

#[tokio::test]
async fn an_issuer_that_is_slow_or_gone_is_not_waited_for() {
    let unavailable = Some(Kind::IdpUnavailable { retry_after: SECOND });
    let running = Running::with(Duration::from_millis(50), |_| {}).await;
    running.server.close_gate();
    assert_eq!(running.refused("opaque").await, unavailable);
    let gone = Arc::new(IdentityProvider {
        server: AuthorizationServer::Oidc(oidc("http://127.0.0.1:1")),
        introspection: Introspection::On,
        ..partner()
    });
    let outside = outside(std::slice::from_ref(&gone), &Clock::manual(NOW));
    let authenticator = Arc::new(Authenticator::new(&[gone], &cache(), &outside));
    assert_eq!(Running { authenticator, ..running }.refused("opaque").await, unavailable);
}

#[tokio::test]
async fn nothing_of_a_token_or_its_claims_is_shown() {
    let running = Running::saying(json!({"name": "canary-name"})).await;
    assert_eq!(running.refused("canary-token").await, None);
    let shown = format!("{:?}", running.authenticator);
    assert!(!shown.contains("canary") && !shown.contains("alice"), "{shown}");
}
