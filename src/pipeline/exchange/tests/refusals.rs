//! What a refusal means, for whom, and for how long.

use std::error::Error as _;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::config::IdentityProvider;
use crate::domain::name::Name;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::tests::World;
use crate::pipeline::exchange::tests::idp::Answer;
use crate::pipeline::exchange::tests::idp::Idp;
use crate::pipeline::exchange::tests::idp::granted;
use crate::pipeline::exchange::tests::idp::json;
use crate::pipeline::exchange::tests::in_turn;
use crate::pipeline::exchange::tests::sample;
use crate::pipeline::exchange::tests::sample::caller;
use crate::telemetry::metrics::CacheResult;

#[tokio::test]
async fn a_refusal_is_remembered_for_its_token_a_and_its_time() {
    let idp = Idp::open(|received| match received.assertion() {
        "alice.1" => json(400, &json!({"error": "invalid_grant", "claims": "{\"a\":1}"})),
        _ => granted(received),
    })
    .await;
    let world = World::of(&idp);
    for _ in 0..3 {
        let error = world.get(&caller("alice", 1)).await.unwrap_err();
        assert_eq!(error.kind, Kind::ClaimsChallenge);
        assert_eq!(error.answer.unwrap().claims.as_deref(), Some("{\"a\":1}"));
    }
    assert_eq!(idp.requests(), 1);
    world.pass(29);
    assert_eq!(world.kind(&caller("alice", 1)).await, Kind::ClaimsChallenge);
    assert_eq!(idp.requests(), 1);
    world.pass(1);
    assert_eq!(world.kind(&caller("alice", 1)).await, Kind::ClaimsChallenge);
    assert_eq!(idp.requests(), 2);
    // a user who has stepped up is not answered from before, and then all the session's tokens are
    assert_eq!(world.fetch(&caller("alice", 2)).await.1, CacheResult::Miss);
    assert_eq!(idp.requests(), 3);
}

#[tokio::test]
async fn token_a_is_not_taken_for_token_b() {
    let answer = |token: &str| json(200, &json!({"token_type": "Bearer", "access_token": token}));
    let idp = Idp::open(move |received| answer(received.assertion())).await;
    let world = World::of(&idp);
    let error = world.get(&caller("alice", 1)).await.unwrap_err();
    assert_eq!(error.kind, Kind::BadResponse);
    assert_eq!(error.source().unwrap().to_string(), "the token in the answer is the caller's own");
    assert_eq!(world.exchanger.cached(), 0);
}

#[tokio::test]
async fn what_says_nothing_about_the_next_try_is_not_remembered() {
    let idp = Idp::open(in_turn(vec![
        |_| json(500, &json!({})),
        |_| json(500, &json!({})), // the second try
        |_| json(200, &json!({})),
        |_| json(400, &json!({"error": "invalid_grant", "suberror": "token_expired"})),
        |_| Answer { status: 302, headers: vec![("location", "/elsewhere".into())], body: String::new() },
        |_| Answer { status: 200, headers: vec![], body: "x".repeat(256 * 1024 + 1) },
        granted,
    ]))
    .await;
    let world = World::of(&idp);
    let user = caller("alice", 1);
    for expected in [
        Kind::Unavailable { retry_after: Duration::from_secs(1) },
        Kind::BadResponse,
        Kind::AssertionRejected,
        Kind::BadResponse,
        Kind::BadResponse,
    ] {
        assert_eq!(world.kind(&user).await, expected);
    }
    assert_eq!(world.fetch(&user).await.1, CacheResult::Miss);
    assert_eq!(idp.requests(), 7); // the redirect was not followed
}

#[tokio::test]
async fn throttling_blocks_its_key_for_everyone_and_no_other_key() {
    let idp = Idp::open(in_turn(vec![
        |_| Answer {
            status: 429,
            headers: vec![("retry-after", "20".into())],
            body: "Too Many Requests".into(),
        },
        granted,
    ]))
    .await;
    let world = World::of(&idp);
    let throttled = |seconds| Kind::Throttled { retry_after: Duration::from_secs(seconds) };
    assert_eq!(world.kind(&caller("alice", 1)).await, throttled(20));
    world.pass(15);
    assert_eq!(world.kind(&caller("alice", 2)).await, throttled(5));
    assert_eq!(idp.requests(), 1);
    assert_eq!(world.fetch(&caller("bob", 1)).await.1, CacheResult::Miss);
    assert_eq!(idp.requests(), 2);
    world.pass(5);
    assert_eq!(world.fetch(&caller("alice", 2)).await.1, CacheResult::Miss);
    assert_eq!(idp.requests(), 3);
}

#[tokio::test]
async fn an_idp_that_is_not_there_is_unavailable() {
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::new(sample::provider(&format!("http://{nowhere}")), &sample::cache());
    let error = world.get(&caller("alice", 1)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable { retry_after: Duration::from_secs(1) });
    assert!(error.source().is_some() && error.correlation_id.is_some());
}

#[tokio::test]
async fn a_caller_of_no_known_provider_or_tenant_is_our_own_fault() {
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let homeless = sample::caller_of("a.b.c", &json!({"oid": "alice"}));
    assert_eq!(world.kind(&homeless).await, Kind::Internal);
    let stranger =
        IdentityProvider { name: Name::parse("other").unwrap(), ..sample::provider(&idp.authority()) };
    let world = World::new(stranger, &sample::cache());
    assert_eq!(world.kind(&caller("alice", 1)).await, Kind::Internal);
    assert_eq!(idp.requests(), 0);
}

#[tokio::test]
async fn an_answer_that_breaks_off_or_never_comes_is_none() {
    const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n\
        {\"token_type\":\"Bearer\",\"access_token\":\"b\"}";
    for (beginning, ends) in [(HALF, true), (HALF, false), (b"", true), (b"", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut kept = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(beginning).await.unwrap();
                if !ends {
                    kept.push(stream);
                }
            }
        });
        let provider = IdentityProvider {
            timeout: Duration::from_millis(if ends { 30_000 } else { 50 }),
            ..sample::provider(&authority)
        };
        let world = World::new(provider, &sample::cache());
        let unavailable = Kind::Unavailable { retry_after: Duration::from_secs(1) };
        assert_eq!(world.kind(&caller("alice", 1)).await, unavailable, "{ends}");
        assert_eq!(world.exchanger.cached(), 0);
        server.abort();
    }
}

#[tokio::test]
async fn an_idp_that_does_not_speak_http_makes_no_sense() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("http://{}", listener.local_addr().unwrap());
    let garbage = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    });
    let world = World::new(sample::provider(&authority), &sample::cache());
    assert_eq!(world.kind(&caller("alice", 1)).await, Kind::BadResponse);
    drop(garbage);
}
