//! `headers`: what the upstream may believe, whatever callers send.

use std::sync::Arc;
use std::sync::Mutex;

use http::Method;
use serde_json::json;

use crate::route_settings::upstream::Raw;
use crate::route_settings::upstream::send;
use crate::route_settings::upstream::until_end;
use crate::route_settings::world;
use crate::support::Plan;
use crate::support::World;

const ROUTES: &str = "
  api: { match: /, token: remove, headers: { set: { x-user-id: '{claims.oid}', x-name: 'v1; {claims.name}', x-groups: '{claims.groups}' }, remove: [cookie] } }
  public: { match: /public, auth: anonymous, headers: { set: { x-channel: '{{sidecar}}' } } }
";

#[tokio::test]
async fn what_the_token_says_is_written_and_what_callers_write_is_gone_in_every_spelling() {
    let plan = Plan { routes: ROUTES, listener: ", underscore_headers: keep", ..Plan::default() };
    let world = World::with(plan).await;
    let claims = json!({"name": "Doe, Jörg\r\nx-admin: 1", "groups": ["a", "b c", 7]});
    let token = world.altered(claims, json!({}));
    let answer = world
        .raw(&format!(
            "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close, x-groups\r\nAuthorization: Bearer {token}\r\n\
             X-User-Id: eve\r\nx_user_id: eve\r\nX_USER-ID: eve\r\nx.user.id: eve\r\nX-NAME: eve\r\nx_name: eve\r\n\
             x-groups: eve\r\nx_groups: eve\r\nCookie: eve=1\r\nX-User: stays\r\nx_other: stays\r\n\r\n"
        ))
        .await;
    let seen: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(!seen.to_string().contains("eve"), "{seen}");
    let headers = &seen["headers"];
    assert_eq!(headers["x-name"], "v1; Doe%2C J%C3%B6rg%0D%0Ax-admin: 1");
    assert_eq!(headers["x-groups"], "a,b c,7");
    assert_eq!((&headers["x-user"], &headers["x_other"]), (&json!("stays"), &json!("stays")));
    assert_eq!(headers["x-user-id"].as_str().unwrap().len(), 36, "{seen}");
    assert!(headers.get("x-admin").is_none() && headers.get("authorization").is_none());
}

#[tokio::test]
async fn without_the_claim_there_is_no_field_and_a_text_needs_none() {
    let world = world(ROUTES.to_owned()).await;
    let token = world.altered(json!({"name": null, "groups": {"a": 1}}), json!({}));
    let bearer = format!("Bearer {token}");
    let request = world.request(Method::GET, "/a").header("authorization", bearer);
    let request = request.header("x-name", "eve").header("x-groups", "eve");
    let headers = world.send(request).await.json()["headers"].clone();
    assert!(headers.get("x-name").is_none() && headers.get("x-groups").is_none(), "{headers}");
    assert!(headers.get("x-user-id").is_some());
    let answer = world.send(world.request(Method::GET, "/public").header("x-channel", "eve")).await;
    assert_eq!(answer.json()["headers"]["x-channel"], "{sidecar}");
}

#[tokio::test]
async fn one_users_claims_are_never_anothers() {
    let world = world(ROUTES.to_owned()).await;
    let mut ids = Vec::new();
    for user in ["alice", "bob", "alice", "bob"] {
        let seen = world.get("/a", &world.token(user)).await.json();
        ids.push(seen["headers"]["x-user-id"].as_str().unwrap().to_owned());
    }
    assert!(ids[0] == ids[2] && ids[1] == ids[3] && ids[0] != ids[1], "{ids:?}");
}

#[tokio::test]
async fn trailers_bring_none_of_them() {
    let got = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&got);
    let upstream = Raw::start(move |_, mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            let mut came = until_end(&mut stream, "\r\n0\r\n").await;
            if !came.ends_with("\r\n\r\n") {
                came += &until_end(&mut stream, "\r\n\r\n").await;
            }
            *kept.lock().unwrap() = came;
            send(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        }
    })
    .await;
    let world = world(format!(
        "\n  api: {{ match: /, token: remove, upstream: \"http://{}\", headers: {{ set: {{ x-user-id: '{{claims.oid}}' }} }} }}\n",
        upstream.address
    ))
    .await;
    let token = world.token("alice");
    let answer = world
        .raw(&format!(
            "POST /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nTE: trailers\r\n\
             Trailer: x-sum, x-user-id, authorization, host\r\nTransfer-Encoding: chunked\r\n\r\n\
             4\r\nbody\r\n0\r\nx-sum: 1\r\nX-User-Id: eve\r\nAuthorization: eve\r\nContent-Length: 9\r\nHost: eve\r\nTransfer-Encoding: gzip\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    let got = got.lock().unwrap().clone();
    assert!(got.contains("\r\n0\r\nx-sum: 1\r\n\r\n"), "{got}");
    assert!(!got.contains("eve") && !got.contains("gzip"), "{got}");
}

#[tokio::test]
async fn a_caller_cannot_take_our_fields_for_the_upstreams_by_naming_them_as_its_connections() {
    let world = world(ROUTES.to_owned()).await;
    let token = world.token("alice");
    let answer = world
        .raw(&format!(
            "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close, x-user-id, authorization\r\nAuthorization: Bearer {token}\r\nX-User-Id: eve\r\n\r\n"
        ))
        .await;
    let seen: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(seen["headers"]["x-user-id"].as_str().unwrap().len(), 36, "{seen}");
}
