use serde_json::Value;

use super::*;

const SEEDS: &str = include_str!("../../../../../tests/vectors/seeds.json");

/// JSON text without the white space between its tokens.
fn compact(json: &str) -> String {
    let (mut out, mut in_string, mut escaped) = (String::new(), false, false);
    for character in json.chars() {
        match character {
            '"' if !escaped => in_string = !in_string,
            white if !in_string && white.is_ascii_whitespace() => continue,
            _ => {}
        }
        escaped = in_string && character == '\\' && !escaped;
        out.push(character);
    }
    out
}

#[test]
fn the_answer_of_2017_is_the_documented_one_byte_for_byte() {
    let seeds: Value = serde_json::from_str(SEEDS).unwrap();
    let ours: Value = serde_json::from_str(ENROLMENT_2017).unwrap();
    assert_eq!(seeds["responses"]["seed0"][1], ours);
    assert!(compact(SEEDS).contains(ENROLMENT_2017), "the order of members differs");
}

#[test]
fn timestamps_follow_the_calendar() {
    for (seconds, text) in [
        (0, "1970-01-01 00:00:00Z"),
        (-1, "1969-12-31 23:59:59Z"),
        (951_782_399, "2000-02-28 23:59:59Z"),
        (951_782_400, "2000-02-29 00:00:00Z"),
        (1_493_678_600, "2017-05-01 22:43:20Z"),
        (1_735_689_599, "2024-12-31 23:59:59Z"),
        (4_107_542_400, "2100-03-01 00:00:00Z"),
    ] {
        assert_eq!(timestamp(UnixTime::from_seconds(seconds)), text);
    }
}

#[test]
fn the_client_request_id_comes_back_only_if_it_is_a_guid_and_wanted() {
    const GUID: &str = "73d656cf-54b1-4eb2-b429-26d8165a52d7";
    let refusal = Refusal::new("invalid_grant", 65_001, "No.");
    for (id, wanted, correlated, returned) in [
        (Some(GUID), Some("true"), true, true),
        (Some(GUID), Some("false"), true, false),
        (Some(GUID), None, true, false),
        (Some("mine"), Some("true"), false, false),
        (None, Some("true"), false, false),
    ] {
        let mut headers = HeaderMap::new();
        id.map(|id| headers.insert(CLIENT_REQUEST_ID, HeaderValue::from_static(id)));
        wanted.map(|wanted| headers.insert(RETURN_CLIENT_REQUEST_ID, HeaderValue::from_static(wanted)));
        let trace = Trace::new(&headers, UnixTime::from_seconds(0)).unwrap();
        let response = trace.refused("http://127.0.0.1:1", &refusal).unwrap();
        let body: Value = serde_json::from_str(response.body()).unwrap();
        assert_eq!(body["correlation_id"] == GUID, correlated, "{id:?} {wanted:?}");
        assert_eq!(response.headers().contains_key(CLIENT_REQUEST_ID), returned, "{id:?} {wanted:?}");
        assert_eq!(response.headers()[X_MS_REQUEST_ID], body["trace_id"].as_str().unwrap());
    }
}

#[test]
fn an_error_body_has_the_members_and_line_ends_of_entra() {
    let trace = Trace::new(&HeaderMap::new(), UnixTime::from_seconds(1_493_678_600)).unwrap();
    let refusal = Refusal::new("invalid_grant", 500_133, "Late.").suberror("token_expired").claims("{}");
    let response = trace.refused("http://127.0.0.1:1", &refusal).unwrap();
    let body: Value = serde_json::from_str(response.body()).unwrap();
    let (trace_id, correlation_id) = (&body["trace_id"], &body["correlation_id"]);
    let description = format!(
        "AADSTS500133: Late.\r\nTrace ID: {}\r\nCorrelation ID: {}\r\nTimestamp: 2017-05-01 22:43:20Z",
        trace_id.as_str().unwrap(),
        correlation_id.as_str().unwrap()
    );
    assert_eq!(body["error_description"], description);
    assert_eq!(body["error_codes"], serde_json::json!([500_133]));
    assert_eq!(body["timestamp"], "2017-05-01 22:43:20Z");
    assert_eq!(body["error_uri"], "http://127.0.0.1:1/error?code=500133");
    assert_eq!((&body["suberror"], &body["claims"]), (&"token_expired".into(), &"{}".into()));
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store, no-cache");
}
