//! The answer of a token endpoint.

use std::time::Duration;

use http::StatusCode;
use obo_proxy::domain::clock::UnixTime;
use obo_proxy::pipeline::exchange::Kind;
use obo_proxy::pipeline::exchange::OAuthError;
use obo_proxy::pipeline::exchange::classify::AskedBy;
use obo_proxy::pipeline::exchange::classify::Expected;
use obo_proxy::pipeline::exchange::classify::Success;
use obo_proxy::pipeline::exchange::classify::classify;
use obo_proxy::pipeline::exchange::lifetime::LONGEST;
use obo_proxy::pipeline::exchange::lifetime::lifetime;
use serde_json::Map;
use serde_json::Value;

use super::material;
use super::material::is_plain;

const NOW: UnixTime = UnixTime::from_seconds(1_500_000_000);
const SAML: &str = "urn:ietf:params:oauth:token-type:saml2";

/// A token comes from a 200 alone, can be sent, is what the answer says, and lives no longer; everything else means something,
/// and what is kept of it can stand in a header.
pub fn check(bytes: &[u8]) {
    let Some(response) = material::answer(bytes) else { return };
    // members that nobody reads need not be text: then serde_json does not read the answer as a whole
    let body: Option<Value> = serde_json::from_slice(response.body()).ok();
    for requested in [None, Some(SAML)] {
        for asked_by in [AskedBy::Grant, AskedBy::TokenExchange] {
            match classify(&response, Expected { requested, asked_by }, NOW) {
                Ok(success) => {
                    assert_eq!(response.status(), StatusCode::OK);
                    if let Some(body) = &body {
                        check_success(&success, body, asked_by, requested);
                    }
                }
                Err(error) => {
                    if response.status().is_server_error() {
                        assert!(!is_the_users(error.kind), "{:?} of {}", error.kind, response.status());
                    }
                    if let (Some(answer), Some(body)) = (&error.answer, &body) {
                        check_error(answer, body);
                    }
                    assert!(is_plain(&error.to_string()));
                }
            }
        }
    }
}

fn check_success(success: &Success, body: &Value, asked_by: AskedBy, requested: Option<&str>) {
    assert_eq!(body["access_token"], success.token.expose());
    assert!(success.token.expose().bytes().all(|byte| byte.is_ascii_graphic()));
    let kind = body["token_type"].as_str().unwrap();
    assert!(kind.eq_ignore_ascii_case("bearer") || kind.eq_ignore_ascii_case("n_a"));
    let issued = body.get("issued_token_type").and_then(Value::as_str);
    assert!(asked_by == AskedBy::Grant || issued.is_some());
    assert_eq!(issued == Some(SAML), requested == Some(SAML));
    assert!(!format!("{success:?}").contains(success.token.expose()) || success.token.expose().len() < 20);
    for margin in [Duration::ZERO, Duration::from_secs(300)] {
        let Some(life) = lifetime(success.stated, NOW, margin) else { continue };
        assert!(NOW < life.expires_on && life.expires_on.since(NOW) <= LONGEST);
        assert!(life.renew_at <= life.expires_on);
        let stated = success.stated.expires_in.map(|time| NOW.after(time).after(Duration::from_secs(60)));
        assert!(stated.is_none_or(|stated| life.expires_on <= stated));
        assert!(success.stated.expires_on.is_none_or(|stated| life.expires_on <= stated));
    }
}

fn check_error(answer: &OAuthError, body: &Value) {
    assert_eq!(body["error"], answer.error.as_str());
    let words = [&answer.suberror, &answer.trace_id, &answer.correlation_id, &answer.acr_values]
        .map(Option::as_deref);
    for word in words.into_iter().flatten().chain([answer.error.as_str()]) {
        assert!((1..=128).contains(&word.len()) && is_plain(word) && !word.contains(['"', '\\']), "{word}");
    }
    if let Some(claims) = &answer.claims {
        assert_eq!(body["claims"], claims.as_str());
        assert!(claims.len() <= 8192 && serde_json::from_str::<Map<String, Value>>(claims).is_ok());
    }
    assert!(answer.error_codes.len() <= 16);
}

/// Whether it is for the user to do something about it.
fn is_the_users(kind: Kind) -> bool {
    matches!(kind, Kind::ClaimsChallenge | Kind::InteractionRequired | Kind::ConsentRequired)
}
