//! The answer of an introspection endpoint.

use std::time::Duration;

use http::StatusCode;
use obo_proxy::pipeline::authenticate::introspection::answer::Word;
use serde_json::Value;

use super::material;

/// A token counts as active by the word of a 200 alone, and nobody is kept waiting for longer than an hour.
pub fn check(bytes: &[u8]) {
    let Some(response) = material::answer(bytes) else { return };
    let body = || serde_json::from_slice::<Value>(response.body()).unwrap();
    match Word::read(&response) {
        Ok(word) => {
            assert_eq!(response.status(), StatusCode::OK);
            match word {
                Word::Active(stated) => {
                    assert_eq!(body()["active"], true);
                    assert!(body()["exp"].is_number());
                    assert!(stated.find("active").is_some());
                }
                Word::Endless => assert!(body()["active"] == true && body().get("exp").is_none()),
                Word::Inactive => assert_eq!(body()["active"], false),
            }
        }
        Err(fault) => {
            let bounds = Duration::from_secs(1)..=Duration::from_secs(3600);
            assert!(fault.pause().is_none_or(|pause| bounds.contains(&pause)));
        }
    }
}
