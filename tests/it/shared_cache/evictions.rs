//! A token that must not serve any more is no other proxy's either.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;

use crate::support::fleet::Fleet;
use crate::support::fleet::granted;
use crate::support::fleet::name;
use crate::support::fleet::of;
use crate::support::fleet::served;
use crate::support::fleet::token_b;
use crate::support::idp::Answer;
use crate::support::redis::Redis;
use crate::support::sidecar::Sidecar;
use crate::support::until;

async fn fleet(redis: &Redis) -> (Fleet, [Arc<Sidecar>; 3]) {
    let fleet = Fleet::around(&format!("url: \"{}\"", redis.url())).await;
    let proxies = [fleet.proxy().await, fleet.proxy().await, fleet.proxy().await];
    (fleet, proxies)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_disproves_a_token_takes_it_from_all() {
    let claims = r#"{"access_token":{"polids":{"essential":true,"values":["p"]}}}"#;
    // what the renewal is refused with, and whether the token may serve on
    let cases = [
        (400, json!({"error": "interaction_required"}), false),
        (400, json!({"error": "interaction_required", "claims": claims}), false),
        (400, json!({"error": "consent_required"}), false),
        (400, json!({"error": "invalid_grant", "error_codes": [500133]}), false),
        (400, json!({"error": "invalid_grant"}), false),
        (400, json!({"error": "access_denied"}), true),
        (400, json!({"error": "invalid_scope"}), true),
        (503, json!({}), true),
    ];
    let redis = Redis::start();
    let (fleet, [first, second, third]) = fleet(&redis).await;
    // it is to be renewed in a second
    fleet.idp.answers(|asked| {
        let token = token_b(asked);
        let body =
            json!({"token_type": "Bearer", "expires_in": 3600, "refresh_in": 1, "access_token": token});
        Answer::json(200, &body)
    });
    let fetched = fleet.serves_all(&first, 0..cases.len()).await;
    until("all are there", async || redis.entries().len() == cases.len()).await;
    let refusals = cases.clone();
    fleet.idp.answers(move |asked| {
        let refused = refusals.iter().enumerate().find(|(user, _)| of(asked) == name(*user));
        refused.map_or_else(|| granted(asked), |(_, (status, body, _))| Answer::json(*status, body))
    });
    let kept = cases.iter().filter(|(.., serves_on)| *serves_on).count();
    for user in 0..cases.len() {
        until("its renewal was refused", async || {
            second.ask("/", Some(&fleet.token(user))).await;
            fleet.exchanges(user) > 1
        })
        .await;
    }
    until("what is disproved is gone", async || redis.entries().len() == kept).await;
    for (user, (_, refusal, serves_on)) in cases.iter().enumerate() {
        let answer = third.get("/", &fleet.token(user)).await;
        let number = || answer.json()["token"]["number"].as_u64().unwrap();
        match serves_on {
            true => assert_eq!((answer.status.as_u16(), number()), (200, fetched[user]), "{refusal}"),
            false => assert_eq!(answer.status, 401, "{refusal}"),
        }
    }
}

/// What the second proxy is asked, whose upstream refuses the token that the first has fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It may ask again with another token.
    Replayed,
    /// Its body is gone.
    TooLarge,
    /// There is no token that would do.
    Refused,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_an_upstream_refused_is_taken_from_all() {
    const CHALLENGED: &str = "/demo/challenge/c1";
    let redis = Redis::start();
    let (fleet, [first, second, third]) = fleet(&redis).await;
    for (user, way) in [Way::Replayed, Way::TooLarge, Way::Refused].into_iter().enumerate() {
        let token = fleet.token(user);
        let before = redis.entries();
        let refused = fleet.serves(&first, user).await;
        let new = async || redis.entries().into_iter().find(|(name, _)| !before.contains_key(name));
        until("it is there", async || new().await.is_some()).await;
        let (entry, value) = new().await.unwrap();
        // the second has it from there
        assert_eq!(fleet.serves(&second, user).await, refused, "{way:?}");
        assert_eq!(fleet.exchanges(user), 1, "{way:?}");
        let status = match way {
            Way::Replayed => {
                assert_ne!(served(&second, CHALLENGED, &token).await, refused);
                200
            }
            Way::TooLarge => {
                let body = Bytes::from(vec![7; 100_000]);
                second.post(CHALLENGED, &token, body).await.status.as_u16()
            }
            Way::Refused => {
                fleet.idp.answers(|_| Answer::json(400, &json!({"error": "interaction_required"})));
                let answer = second.get(CHALLENGED, &token).await;
                fleet.idp.answers(granted);
                answer.status.as_u16()
            }
        };
        assert_eq!(status, if way == Way::Replayed { 200 } else { 401 }, "{way:?}");
        until("it is gone", async || redis.entries().get(&entry) != Some(&value)).await;
        assert_ne!(fleet.serves(&third, user).await, refused, "{way:?}");
        // what satisfied the upstream serves the third as well
        assert_eq!(fleet.exchanges(user), if way == Way::Refused { 3 } else { 2 }, "{way:?}");
    }
}
