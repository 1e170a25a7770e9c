//! Our own secret: wrong, rotated, in a file.

use std::error::Error as _;

use serde_json::json;

use crate::config::Credential;
use crate::config::IdentityProvider;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::tests::World;
use crate::pipeline::exchange::tests::idp;
use crate::pipeline::exchange::tests::idp::Answer;
use crate::pipeline::exchange::tests::idp::Idp;
use crate::pipeline::exchange::tests::idp::granted;
use crate::pipeline::exchange::tests::idp::json;
use crate::pipeline::exchange::tests::sample;
use crate::pipeline::exchange::tests::sample::caller;
use crate::telemetry::metrics::CacheResult;

fn only_right(received: &idp::Received) -> Answer {
    match received.form["client_secret"].as_str() {
        "right" => granted(received),
        _ => json(401, &json!({"error": "invalid_client", "error_codes": [7_000_215]})),
    }
}

fn with_credentials(idp: &Idp, credentials: Vec<Credential>) -> World {
    World::new(IdentityProvider { credentials, ..sample::provider(&idp.authority()) }, &sample::cache())
}

#[tokio::test]
async fn a_wrong_secret_is_the_proxys_fault_and_not_tried_for_half_a_minute() {
    let idp = Idp::open(only_right).await;
    let world = with_credentials(&idp, vec![sample::secret("wrong")]);
    let user = caller("alice", 1);
    for _ in 0..3 {
        let error = world.get(&user).await.unwrap_err();
        assert_eq!(error.kind, Kind::Misconfigured);
        assert_eq!(error.answer.unwrap().error_codes, [7_000_215]);
    }
    world.pass(29);
    assert_eq!(world.kind(&user).await, Kind::Misconfigured);
    assert_eq!(idp.requests(), 1);
    world.pass(1);
    assert_eq!(world.kind(&user).await, Kind::Misconfigured);
    assert_eq!(idp.requests(), 2);
}

#[tokio::test]
async fn while_a_secret_is_rotated_the_one_that_works_is_found() {
    let idp = Idp::open(only_right).await;
    let missing = Credential::SecretFile("/nonexistent/secret".into());
    for (credentials, requests) in [
        (vec![sample::secret("right"), sample::secret("wrong")], 1),
        (vec![sample::secret("wrong"), sample::secret("right")], 2),
        (vec![missing, sample::secret("right")], 1),
    ] {
        let before = idp.requests();
        let world = with_credentials(&idp, credentials);
        assert_eq!(world.fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
        assert_eq!(idp.requests() - before, requests);
    }
    let world = with_credentials(&idp, vec![sample::secret("wrong"), sample::secret("wrong too")]);
    let before = idp.requests();
    assert_eq!(world.kind(&caller("alice", 1)).await, Kind::Misconfigured);
    assert_eq!(idp.requests() - before, 2);
}

#[tokio::test]
async fn a_refused_secret_is_not_tried_for_half_a_minute_whatever_is_wrong_with_the_other() {
    let idp = Idp::open(only_right).await;
    let missing = || Credential::SecretFile("/nonexistent/secret".into());
    for (user, credentials) in [
        ("alice", vec![sample::secret("wrong"), missing()]),
        ("bob", vec![missing(), sample::secret("wrong")]),
    ] {
        let before = idp.requests();
        let world = with_credentials(&idp, credentials);
        for _ in 0..3 {
            assert_eq!(world.kind(&caller(user, 1)).await, Kind::Misconfigured);
        }
        assert_eq!(idp.requests() - before, 1);
    }
}

#[tokio::test]
async fn a_secret_file_is_read_anew_for_each_exchange() {
    let idp = Idp::open(only_right).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    let world = with_credentials(&idp, vec![Credential::SecretFile(path.clone())]);
    let error = world.get(&caller("alice", 1)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Misconfigured);
    assert!(error.source().unwrap().to_string().contains("cannot read the client secret"));
    assert_eq!(idp.requests(), 0);
    std::fs::write(&path, "right\n").unwrap();
    assert_eq!(world.fetch(&caller("alice", 1)).await.1, CacheResult::Miss);
    std::fs::write(&path, "wrong\n").unwrap();
    assert_eq!(world.kind(&caller("bob", 1)).await, Kind::Misconfigured);
}
