//! Tokens of our own: for callers that are no users, and to say who acts.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use serde_json::json;

use super::*;
use crate::config::Actor;
use crate::config::AppTokens;
use crate::config::Exchange;
use crate::config::GrantType;
use crate::pipeline::exchange::demand::Claims;
use crate::pipeline::exchange::demand::Demand;
use crate::pipeline::exchange::demand::StepUp;
use crate::pipeline::exchange::tests::idp::json;

pub const ISSUER: &str = "https://id.example";

pub fn for_applications() -> Arc<Exchange> {
    Arc::new(Exchange {
        app_tokens: AppTokens::ClientCredentials,
        ..Exchange::clone(&sample::exchange(&["api://b/.default"]))
    })
}

fn acting() -> Arc<Exchange> {
    Arc::new(Exchange { actor: Actor::Ourselves, ..Exchange::clone(&sample::exchange(&["a"])) })
}

/// An endpoint that numbers the tokens of our own, and names in each token B who acts.
pub fn numbering(expires_in: u64) -> impl Fn(&idp::Received) -> Answer + Send + Sync {
    let tokens = AtomicUsize::new(0);
    move |received| {
        let token = match received.form["grant_type"].as_str() {
            "client_credentials" => format!("ours{}", tokens.fetch_add(1, Ordering::SeqCst)),
            _ => format!("b:{}:{}", received.form["subject_token"], received.form["actor_token"]),
        };
        let issued = "urn:ietf:params:oauth:token-type:access_token";
        let body = json!({
            "token_type": "Bearer", "access_token": token, "issued_token_type": issued, "expires_in": expires_in,
        });
        json(200, &body)
    }
}

fn world_of(idp: &Idp) -> World {
    let endpoint = format!("{}/token", idp.authority());
    World::new(sample::oidc(ISSUER, Some(&endpoint), GrantType::TokenExchange), &sample::cache())
}

pub async fn token_b(world: &World, user: &str, uti: u32) -> String {
    text(&world.exchanger.token(&sample::subject(ISSUER, user, uti), &acting()).await.unwrap())
}

#[tokio::test]
async fn an_application_gets_a_token_of_ours_that_no_user_gets() {
    let idp = Idp::open(|received| {
        let token = match received.form.get("assertion") {
            Some(assertion) => format!("b:{assertion}"),
            None => "ours".into(),
        };
        json(200, &json!({"token_type": "Bearer", "expires_in": 3600, "access_token": token}))
    })
    .await;
    let world = World::of(&idp);
    let exchange = for_applications();
    for (caller, token, cache) in [
        (sample::application("robot"), "ours", CacheResult::Miss),
        (sample::application("crawler"), "ours", CacheResult::Hit),
        (caller("robot", 1), "b:robot.1", CacheResult::Miss),
        (sample::application("robot"), "ours", CacheResult::Hit),
    ] {
        let exchanged = world.exchanger.token(&caller, &exchange).await.unwrap();
        assert_eq!((text(&exchanged).as_str(), exchanged.cache), (token, cache));
    }
    let ours = &idp.received()[0];
    assert_eq!(ours.path, format!("/{}/oauth2/v2.0/token", sample::TENANT));
    let names: Vec<&str> = ours.form.keys().map(String::as_str).collect();
    assert_eq!(names, ["client_id", "client_secret", "grant_type", "scope"]);
    assert!(!ours.pairs.iter().any(|(_, value)| value.contains("robot")));
}

#[tokio::test]
async fn where_applications_are_rejected_nothing_is_asked_for_them() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    assert_eq!(world.kind(&sample::application("robot")).await, Kind::Internal);
    assert_eq!(idp.requests(), 0);
}

#[tokio::test]
async fn a_refusal_of_our_own_request_is_no_reason_to_sign_in() {
    for error in ["invalid_grant", "interaction_required", "access_denied", "invalid_scope"] {
        let claims = json!({"error": error, "claims": "{\"a\":1}"});
        let idp = Idp::open(move |_| json(400, &claims)).await;
        let world = World::of(&idp);
        let refused = world.exchanger.token(&sample::application("robot"), &for_applications()).await;
        assert_eq!(refused.unwrap_err().kind, Kind::Misconfigured, "{error}");
        let world = world_of(&idp);
        let refused = world.exchanger.token(&sample::subject(ISSUER, "alice", 1), &acting()).await;
        assert_eq!(refused.unwrap_err().kind, Kind::Misconfigured, "{error}");
    }
    let idp = Idp::open(|_| json(503, &json!({}))).await;
    let refused = world_of(&idp).exchanger.token(&sample::subject(ISSUER, "alice", 1), &acting()).await;
    assert_eq!(refused.unwrap_err().kind, Kind::Unavailable { retry_after: Duration::from_secs(1) });
}

#[tokio::test]
async fn one_actor_token_serves_every_user_until_it_is_old() {
    let idp = Idp::open(numbering(3600)).await;
    let world = world_of(&idp);
    assert_eq!(token_b(&world, "alice", 1).await, "b:alice.1:ours0");
    assert_eq!(token_b(&world, "bob", 1).await, "b:bob.1:ours0");
    assert_eq!(idp.requests(), 3);
    assert_eq!(idp.received()[0].form["grant_type"], "client_credentials");
    assert!(!idp.received()[0].form.contains_key("scope"));
    // near its end it is renewed, and serves meanwhile
    world.pass(3_400);
    assert_eq!(token_b(&world, "carol", 1).await, "b:carol.1:ours0");
    idp.arrived(5).await;
    world.until_that("renewed", || world.exchanger.cached() == 4 && idp.requests() == 5).await;
    world.pass(300);
    assert_eq!(token_b(&world, "dave", 1).await, "b:dave.1:ours1");
}

/// An endpoint that gives out `numbering` tokens, and refuses exchanges as long as the actor's is of before `oldest`.
pub fn forgetful(oldest: Arc<AtomicUsize>) -> impl Fn(&idp::Received) -> Answer + Send + Sync {
    let answers = numbering(3600);
    move |received| {
        let number = received.form.get("actor_token").and_then(|token| token.strip_prefix("ours"));
        match number.map(|number| number.parse::<usize>().unwrap()) {
            Some(number) if number < oldest.load(Ordering::SeqCst) => {
                json(400, &json!({"error": "invalid_request"}))
            }
            _ => answers(received),
        }
    }
}

#[tokio::test]
async fn an_actor_token_the_idp_has_forgotten_is_replaced() {
    let oldest = Arc::new(AtomicUsize::new(0));
    let idp = Idp::open(forgetful(oldest.clone())).await;
    let world = world_of(&idp);
    assert_eq!(token_b(&world, "alice", 1).await, "b:alice.1:ours0");
    oldest.store(1, Ordering::SeqCst);
    assert_eq!(token_b(&world, "bob", 1).await, "b:bob.1:ours1");
    assert_eq!(token_b(&world, "carol", 1).await, "b:carol.1:ours1");
    assert_eq!(idp.requests(), 6);
}

#[tokio::test]
async fn what_no_other_actor_token_mends_has_one_fetched_now_and_then() {
    let oldest = Arc::new(AtomicUsize::new(0));
    let idp = Idp::open(forgetful(oldest.clone())).await;
    let world = world_of(&idp);
    token_b(&world, "alice", 1).await;
    oldest.store(usize::MAX, Ordering::SeqCst);
    let before = idp.requests();
    for (user, requests) in [("bob", 3), ("carol", 4), ("dave", 5)] {
        let refused = world.exchanger.token(&sample::subject(ISSUER, user, 1), &acting()).await;
        assert_eq!(refused.unwrap_err().kind, Kind::Misconfigured);
        assert_eq!(idp.requests() - before, requests, "{user}");
    }
    world.pass(31);
    let refused = world.exchanger.token(&sample::subject(ISSUER, "erin", 1), &acting()).await;
    assert_eq!(refused.unwrap_err().kind, Kind::Misconfigured);
    assert_eq!(idp.requests() - before, 8);
}

#[tokio::test]
async fn all_who_need_an_actor_token_at_once_share_one() {
    let idp = Idp::closed(numbering(3600)).await;
    let world = world_of(&idp);
    let users = (0..20).map(|user| {
        let world = world.clone();
        tokio::spawn(async move { token_b(&world, &format!("user{user}"), 1).await })
    });
    let users = Vec::from_iter(users);
    idp.arrived(1).await;
    idp.open_gate();
    for user in users {
        assert!(user.await.unwrap().ends_with(":ours0"));
    }
    assert_eq!(idp.requests(), 21);
}

#[tokio::test]
async fn the_token_endpoint_is_discovered_and_kept() {
    let documents = Arc::new(AtomicUsize::new(0));
    let counted = documents.clone();
    let idp = Idp::open(move |received| {
        let issuer = format!("http://{}", received.headers["host"].to_str().unwrap());
        match received.path.as_str() {
            "/.well-known/openid-configuration" => {
                counted.fetch_add(1, Ordering::SeqCst);
                json(200, &json!({"issuer": issuer, "token_endpoint": format!("{issuer}/found")}))
            }
            "/found" => numbering(3600)(received),
            path => panic!("{path}"),
        }
    })
    .await;
    let provider = sample::oidc(&idp.authority(), None, GrantType::TokenExchange);
    let world = World::new(provider, &sample::cache());
    for user in ["alice", "bob"] {
        let caller = sample::subject(&idp.authority(), user, 1);
        let exchanged = world.exchanger.token(&caller, &acting()).await.unwrap();
        assert_eq!(text(&exchanged), format!("b:{user}.1:ours0"));
    }
    assert_eq!(documents.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_token_endpoint_that_cannot_be_found_is_no_fault_of_the_callers() {
    let unavailable = Kind::Unavailable { retry_after: Duration::from_secs(1) };
    for (status, body, kind) in [
        (200, r#"{"issuer":"https://elsewhere.example"}"#, Kind::BadResponse),
        (404, "", Kind::BadResponse),
        (503, "", unavailable),
        (200, "ISSUER", Kind::Misconfigured), // it names no token endpoint
    ] {
        let idp = Idp::open(move |received| {
            let issuer = format!("http://{}", received.headers["host"].to_str().unwrap());
            let body = body.replace("ISSUER", &format!("{{\"issuer\":\"{issuer}\"}}"));
            Answer { status, headers: vec![], body }
        })
        .await;
        let provider = sample::oidc(&idp.authority(), None, GrantType::TokenExchange);
        let world = World::new(provider, &sample::cache());
        let caller = sample::subject(&idp.authority(), "alice", 1);
        let error = world.exchanger.token(&caller, &sample::exchange(&["a"])).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status} {body}");
    }
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let issuer = format!("http://{nowhere}");
    let world = World::new(sample::oidc(&issuer, None, GrantType::TokenExchange), &sample::cache());
    let caller = sample::subject(&issuer, "alice", 1);
    let error = world.exchanger.token(&caller, &sample::exchange(&["a"])).await.unwrap_err();
    assert_eq!(error.kind, unavailable);
}

#[tokio::test]
async fn an_application_is_not_blamed_for_what_our_own_token_lacks() {
    let idp = Idp::open(numbering(3600)).await;
    let world = world_of(&idp);
    let (exchange, robot) = (for_applications(), sample::application("robot"));
    let had = world.exchanger.token(&robot, &exchange).await.unwrap();
    let claims = Demand { claims: Claims::parse(r#"{"access_token":{}}"#), step_up: None };
    let step_up = Demand { claims: None, step_up: Some(StepUp { acr_values: None, max_age: Some(5) }) };
    // again and again, too
    for demand in [&claims, &step_up, &claims, &claims, &claims] {
        let Exchanged { token, asked_at, .. } = &had;
        let (caller, exchange, asked_at, chance) = (&robot, &exchange, *asked_at, Chance::Never);
        let rejected = Rejected { caller, exchange, token, asked_at, demand, chance, asker: None };
        let error = world.exchanger.rejected(rejected).await.unwrap_err();
        assert_eq!(error.kind, Kind::Misconfigured, "{demand:?}");
    }
}
