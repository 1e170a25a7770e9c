//! The endpoints that give a managed identity's tokens, emulated.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use serde_json::json;

use crate::config::ManagedIdentity;
use crate::config::ManagedIdentityId;
use crate::config::ManagedIdentitySource;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::secret::Secret;
use crate::net::client::Client;
use crate::pipeline::exchange::credential::managed_identity::Error;
use crate::pipeline::exchange::credential::managed_identity::Tokens;
use crate::pipeline::exchange::credential::managed_identity::patience;
use crate::pipeline::exchange::tests::idp;
use crate::pipeline::exchange::tests::idp::Answer;
use crate::pipeline::exchange::tests::idp::Idp;

const NOW: i64 = 1_700_000_000;
const LIMIT: Duration = Duration::from_secs(30);
const AUDIENCE: &str = "api://AzureADTokenExchange";

fn imds(idp: &Idp) -> ManagedIdentity {
    ManagedIdentity {
        identity: Some(ManagedIdentityId::ClientId("mi-client".into())),
        source: ManagedIdentitySource::Imds(idp.authority().parse().unwrap()),
        audience: AUDIENCE.into(),
    }
}

fn tokens(settings: ManagedIdentity) -> (Arc<Tokens>, Clock) {
    let clock = Clock::manual(UnixTime::from_seconds(NOW));
    let tokens = Tokens::new(settings, Client::plain().unwrap(), clock.clone(), LIMIT);
    (Arc::new(tokens.trying_again_after(Duration::from_millis(1))), clock)
}

async fn get(tokens: &Arc<Tokens>) -> Result<String, Arc<Error>> {
    tokens.token(LIMIT).await.map(|token| token.expose().to_owned())
}

/// The answer of the metadata service: all members are strings.
fn issued(token: &str, expires_on: i64) -> Answer {
    let body = json!({
        "access_token": token, "refresh_token": "", "expires_in": "3599", "expires_on": expires_on.to_string(),
        "not_before": "1700000000", "resource": AUDIENCE, "token_type": "Bearer",
    });
    idp::json(200, &body)
}

/// Answers the n-th request by the n-th status, and with a token after the last.
fn after(statuses: &'static [u16]) -> impl Fn(&idp::Received) -> Answer + Send + Sync {
    let turn = AtomicUsize::new(0);
    move |_| match statuses.get(turn.fetch_add(1, Ordering::SeqCst)) {
        Some(status) => {
            idp::json(*status, &json!({"error": "invalid_request", "error_description": "secret"}))
        }
        None => issued("mi", NOW + 86_400),
    }
}

#[tokio::test]
async fn each_endpoint_is_asked_as_it_is_documented() {
    let idp = Idp::open(|_| issued("mi", NOW + 86_400)).await;
    let app_service = || ManagedIdentitySource::AppService {
        endpoint: format!("{}/msi/token?zone=1", idp.authority()).parse().unwrap(),
        header: Secret::new("door key".into()),
    };
    let (client, object, resource) = (
        || ManagedIdentityId::ClientId("c".into()),
        || ManagedIdentityId::ObjectId("o".into()),
        || ManagedIdentityId::ResourceId("/r".into()),
    );
    let cases: [(Option<ManagedIdentityId>, &str, &str); 4] = [
        (Some(client()), "client_id=c", "client_id=c"),
        (Some(object()), "object_id=o", "principal_id=o"),
        (Some(resource()), "msi_res_id=/r", "mi_res_id=/r"),
        (None, "", ""),
    ];
    for (identity, by_imds, by_app_service) in cases {
        let settings = ManagedIdentity { identity: identity.clone(), ..imds(&idp) };
        assert_eq!(get(&tokens(settings).0).await.unwrap(), "mi");
        let settings = ManagedIdentity { identity, source: app_service(), audience: AUDIENCE.into() };
        assert_eq!(get(&tokens(settings).0).await.unwrap(), "mi");
        let [.., vm, app] = &idp.received()[..] else { panic!() };
        let query = |received: &idp::Received| {
            let pairs = received.query.iter().map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join("&")
        };
        let sorted = |expected: &[&str]| {
            let mut expected: Vec<&str> = expected.iter().copied().filter(|pair| !pair.is_empty()).collect();
            expected.sort_unstable();
            expected.join("&")
        };
        let resource = format!("resource={AUDIENCE}");
        assert_eq!(vm.path, "/metadata/identity/oauth2/token");
        assert_eq!(query(vm), sorted(&["api-version=2018-02-01", &resource, by_imds]));
        assert_eq!(vm.headers["metadata"], "true");
        assert!(!vm.headers.contains_key("x-identity-header"));
        assert_eq!(app.path, "/msi/token");
        assert_eq!(query(app), sorted(&["api-version=2019-08-01", &resource, by_app_service, "zone=1"]));
        assert_eq!(app.headers["x-identity-header"], "door key");
        assert!(!app.headers.contains_key("metadata"));
    }
}

#[tokio::test]
async fn a_token_serves_until_shortly_before_its_end() {
    let turn = AtomicUsize::new(0);
    let idp = Idp::open(move |_| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        issued(&format!("mi-{turn}"), NOW + 3600 * (1 + turn as i64))
    })
    .await;
    let (tokens, clock) = tokens(imds(&idp));
    for (pass, token) in [(0, "mi-0"), (3299, "mi-0"), (1, "mi-1"), (3599, "mi-1"), (1, "mi-2")] {
        clock.advance(Duration::from_secs(pass));
        assert_eq!(get(&tokens).await.unwrap(), token);
    }
    assert_eq!(idp.requests(), 3);
}

#[tokio::test]
async fn however_many_want_a_token_one_request_is_made() {
    let idp = Idp::closed(|_| issued("mi", NOW + 86_400)).await;
    let (tokens, _clock) = tokens(imds(&idp));
    let herd: Vec<_> = (0..50)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { get(&tokens).await.unwrap() })
        })
        .collect();
    idp.arrived(1).await;
    idp.open_gate();
    for one in herd {
        assert_eq!(one.await.unwrap(), "mi");
    }
    assert_eq!(idp.requests(), 1);
}

#[tokio::test]
async fn a_fetch_goes_on_when_nobody_waits_any_more() {
    let idp = Idp::closed(|_| issued("mi", NOW + 86_400)).await;
    let (tokens, _clock) = tokens(imds(&idp));
    let error = tokens.token(Duration::from_millis(10)).await.unwrap_err();
    assert!(matches!(*error, Error::TooSlow(_)), "{error}");
    idp.arrived(1).await;
    idp.open_gate();
    assert_eq!(get(&tokens).await.unwrap(), "mi");
    assert_eq!(idp.requests(), 1);
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_nothing_else() {
    for (statuses, requests, works) in [
        (&[500, 503][..], 3, true),
        (&[404, 429], 3, true),
        (&[500, 500, 500], 3, false),
        (&[410, 410, 410, 410, 410, 410], 7, true),
        (&[400], 1, false),
        (&[403], 1, false),
    ] {
        let idp = Idp::open(after(statuses)).await;
        let (tokens, _clock) = tokens(imds(&idp));
        let got = get(&tokens).await;
        assert_eq!((got.is_ok(), idp.requests()), (works, requests), "{statuses:?}");
        if let Err(error) = got {
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}

#[test]
fn the_pauses_grow_and_an_update_is_waited_for_longest() {
    const SECOND: Duration = Duration::from_secs(1);
    let pauses = |status: Option<u16>| {
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        (1..)
            .map_while(|tries| patience(status, tries, SECOND).map(|pause| pause.as_secs()))
            .collect::<Vec<_>>()
    };
    for (status, expected) in [
        (None, &[1, 2][..]),
        (Some(404), &[1, 2]),
        (Some(408), &[1, 2]),
        (Some(429), &[1, 2]),
        (Some(500), &[1, 2]),
        (Some(503), &[1, 2]),
        (Some(410), &[10; 6]),
        (Some(400), &[]),
        (Some(401), &[]),
        (Some(403), &[]),
        (Some(302), &[]),
    ] {
        assert_eq!(pauses(status), expected, "{status:?}");
    }
}

#[tokio::test]
async fn a_failure_is_not_repeated_at_once_and_not_kept_for_long() {
    let idp = Idp::open(after(&[400])).await;
    let (tokens, clock) = tokens(imds(&idp));
    for _ in 0..3 {
        assert!(matches!(*get(&tokens).await.unwrap_err(), Error::Refused(StatusCode::BAD_REQUEST)));
    }
    assert_eq!(idp.requests(), 1);
    clock.advance(Duration::from_secs(5));
    assert_eq!(get(&tokens).await.unwrap(), "mi");
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_serves_to_its_end() {
    let turn = AtomicUsize::new(0);
    let idp = Idp::open(move |_| match turn.fetch_add(1, Ordering::SeqCst) {
        0 => issued("mi", NOW + 3600),
        _ => idp::json(400, &json!({})),
    })
    .await;
    let (tokens, clock) = tokens(imds(&idp));
    for (pass, works) in [(0, true), (3400, true), (199, true), (1, false)] {
        clock.advance(Duration::from_secs(pass));
        assert_eq!(get(&tokens).await.is_ok(), works);
    }
}

#[tokio::test]
async fn a_live_token_serves_while_its_endpoint_is_slow() {
    let idp = Idp::closed(|_| issued("mi", NOW + 3600)).await;
    let (tokens, clock) = tokens(imds(&idp));
    idp.open_gate_once();
    assert_eq!(get(&tokens).await.unwrap(), "mi");
    clock.advance(Duration::from_secs(3400));
    const SHORT: Duration = Duration::from_millis(20);
    for _ in 0..3 {
        assert_eq!(tokens.token(SHORT).await.map(|token| token.expose().to_owned()).unwrap(), "mi");
    }
    idp.arrived(2).await;
    // a refusal is taken note of meanwhile
    tokens.refuse(Digest::of(b"mi"));
    clock.advance(Duration::from_secs(200));
    assert!(matches!(*tokens.token(SHORT).await.unwrap_err(), Error::TooSlow(_)));
    assert_eq!(idp.requests(), 2);
}

#[tokio::test]
async fn a_token_that_the_idp_refuses_is_fetched_anew_but_not_in_a_storm() {
    let idp = Idp::open(|_| issued("mi", NOW + 86_400)).await;
    let (tokens, clock) = tokens(imds(&idp));
    let refuse = async |token: &str| {
        tokens.refuse(Digest::of(token.as_bytes()));
        get(&tokens).await.unwrap();
        idp.requests()
    };
    assert_eq!(refuse("another").await, 1);
    assert_eq!(refuse("mi").await, 1);
    clock.advance(Duration::from_secs(5));
    assert_eq!(refuse("another").await, 2);
    clock.advance(Duration::from_secs(5));
    assert_eq!(refuse("another").await, 2);
    assert_eq!(refuse("mi").await, 3);
    assert_eq!(refuse("mi").await, 3);
}

#[tokio::test]
async fn an_answer_that_is_no_token_is_no_token() {
    for (body, works) in [
        (json!({"access_token": "mi", "expires_on": "1700003600"}), true),
        (json!({"access_token": "mi", "expires_on": 1_700_003_600}), true),
        (json!({"access_token": "mi", "expires_in": "3600"}), true),
        (json!({"access_token": "mi"}), true),
        (json!({"access_token": "mi", "expires_on": "09/14/2017 00:00:00 PM +00:00"}), true),
        (json!({"access_token": "mi", "expires_on": "1699999999"}), false),
        (json!({"access_token": ""}), false),
        (json!({"access_token": 1}), false),
        (json!({"expires_on": "1700003600"}), false),
        (json!([]), false),
        (Value::Null, false),
    ] {
        let answer = body.clone();
        let idp = Idp::open(move |_| idp::json(200, &answer)).await;
        assert_eq!(get(&tokens(imds(&idp)).0).await.is_ok(), works, "{body}");
    }
}
