//! What operators change.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use obo_proxy::app::admin::Desk;
use obo_proxy::app::admin::steer;
use obo_proxy::config;
use obo_proxy::telemetry::dial::Dial;
use obo_proxy::telemetry::dial::Setting;
use serde_json::Value;
use serde_json::json;
use tokio::runtime::Handle;

use crate::admin::world;
use crate::support::World;
use crate::support::until;

const PURGE: &str = "/api/v1/cache/purge";

fn claims(token: &str) -> Value {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

async fn exchanges(world: &World) -> u64 {
    let providers = world.json("identity_providers").await;
    providers["identity_providers"][0]["exchanges"]["ok"].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn a_purged_user_is_exchanged_for_anew_and_nobody_else_is() {
    let world = world().await;
    let [alice, bob] = ["alice", "bob"].map(|user| world.token(user));
    for token in [&alice, &alice, &bob] {
        assert_eq!(world.get("/orders", token).await.status, 200);
    }
    assert_eq!(exchanges(&world).await, 2);
    let claims = claims(&alice);
    let user = json!({ "tenant": claims["tid"], "oid": claims["oid"] });
    let purged = world.steer(PURGE, &user).await;
    assert_eq!(purged.status, 200, "{purged:?}");
    let purged = purged.json();
    assert_eq!((&purged["found"], &purged["tokens"]), (&json!(true), &json!(1)));
    let word = purged["user"].as_str().unwrap().to_owned();
    for token in [&alice, &bob] {
        world.get("/orders", token).await;
    }
    assert_eq!(exchanges(&world).await, 3);
    // by the name that the log has for her
    let purged = world.steer(PURGE, &json!({ "user": word })).await.json();
    assert_eq!(purged, json!({ "user": word, "found": true, "tokens": 1 }));
    let again = world.steer(PURGE, &json!({ "user": word })).await.json();
    assert_eq!(again, json!({ "user": word, "found": false, "tokens": 0 }));
}

#[tokio::test]
async fn a_user_is_purged_by_what_the_page_calls_it() {
    let world = world().await;
    let token = world.token("mfa");
    world.get("/orders", &token).await;
    let events = world.json("events").await;
    let purged = world.steer(PURGE, &json!({ "user": events["events"][0]["user"] })).await.json();
    assert_eq!(
        (&purged["found"], &purged["tokens"]),
        (&json!(true), &json!(0)),
        "the refusal was remembered"
    );
}

#[tokio::test]
async fn what_names_no_user_or_no_level_is_refused_with_what_to_write() {
    let world = world().await;
    let tenant = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
    for body in [
        json!({}),
        json!([]),
        json!({ "user": "alice" }),
        json!({ "user": "0123456789ABCDEF" }),
        json!({ "user": "0123456789abcdef0" }),
        json!({ "user": 7 }),
        json!({ "tenant": tenant }),
        json!({ "oid": "x" }),
        json!({ "tenant": "contoso.example", "oid": "x" }),
        json!({ "tenant": tenant, "oid": "x", "user": "0123456789abcdef" }),
        json!({ "issuer": "https://id.example" }),
        json!({ "user": "0123456789abcdef", "all": true }),
    ] {
        let answer = world.steer(PURGE, &body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("16 hexadecimal digits"));
    }
    let known = json!({ "issuer": "https://id.example", "subject": "x" });
    assert_eq!(world.steer(PURGE, &known).await.json()["found"], false);
    for body in [
        json!({ "level": 7 }),
        json!({ "level": "debug", "for": 10 }),
        json!({ "level": "debug", "for": "10" }),
        json!({ "level": "debug", "for": "0s" }),
        json!({ "level": "debug", "forever": true }),
        json!({ "level": "a=b=c" }),
    ] {
        let status = world.steer("/api/v1/log_level", &body).await.status.as_u16();
        // where there is no log to turn, what is well-formed meets that first
        assert!(status == 400 || (status == 409 && body["level"] == "a=b=c"), "{body}: {status}");
    }
}

#[tokio::test]
async fn a_level_by_hand_leaves_nothing_behind_of_those_before_it() {
    let world = world().await;
    let text = "routes: { all: { match: /, auth: anonymous, upstream: \"http://127.0.0.1:1\" } }";
    let config = config::load_text("test.yaml", text, &[]).unwrap_or_else(|report| panic!("{report}")).config;
    let dial = Dial::at(Setting::of(&config.telemetry.logs).unwrap());
    let desk = Desk::new(world.probes.clone(), Arc::new(config), 1, world.clock.clone());
    desk.log_by(dial);
    let turn = |body: Value| steer::log_level(&desk, body.to_string().as_bytes()).unwrap();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..1000 {
        assert!(turn(json!({ "level": "debug", "for": "8760h" })).until.is_some());
    }
    until("one of them is left", async || tasks() <= before + 1).await;
    assert!(turn(json!({ "level": "trace" })).until.is_none());
    until("none of them is left", async || tasks() <= before).await;
    turn(json!({ "level": "debug", "for": "8760h" }));
    assert_eq!(turn(json!({ "level": null })).level, "info");
    until("none of them is left", async || tasks() <= before).await;
}
