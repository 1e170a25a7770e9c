use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::config::TokenType;
use crate::pipeline::exchange::aadsts;
use crate::pipeline::exchange::aadsts::Topic;
use crate::pipeline::exchange::tests::sample::seed;
use crate::pipeline::exchange::tests::sample::seed_token;

mod successes;

/// Tue, 21 Nov 2023 00:00:00 GMT.
const NOW: UnixTime = UnixTime::from_seconds(1_700_524_800);

const CLAIMS: &str = r#"{"access_token":{"polids":{"essential":true,"Values":["9ab03e19"]}}}"#;

fn answer(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Response<Vec<u8>> {
    let response =
        Response::builder().status(status).header("content-type", "application/json; charset=utf-8");
    let mut response = response.body(body.as_ref().to_vec()).unwrap();
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

fn row(response: &Response<Vec<u8>>) -> Row {
    classify(response, Expected::default(), NOW).unwrap_err().row.unwrap()
}

fn oauth(body: &Value) -> Row {
    row(&answer(400, &[], body.to_string()))
}

fn success(body: &Value, requested: Option<TokenType>) -> Result<Success, Error> {
    let expected = Expected { requested: requested.map(TokenType::uri), ..Expected::default() };
    classify(&answer(200, &[], body.to_string()), expected, NOW)
}

/// The answer to a token exchange that asked for a token of that type.
fn exchanged(body: &Value, requested: Option<&str>) -> Result<Success, Error> {
    let expected = Expected { requested, asked_by: AskedBy::TokenExchange };
    classify(&answer(200, &[], body.to_string()), expected, NOW)
}

fn bearer(success: &Success) -> String {
    success.token.authorization().to_str().unwrap().to_owned()
}

#[test]
fn rows_4_and_5_say_wait() {
    let wait = |seconds| Row::Throttled(Duration::from_secs(seconds));
    let grant = |code: u64| json!({"error": "invalid_grant", "error_codes": [code]}).to_string();
    for (status, headers, body, expected) in [
        (429, &[("retry-after", "60"), ("content-type", "text/plain")][..], "Too Many Requests", wait(60)),
        (429, &[], "", wait(60)),
        (429, &[("retry-after", "7")], "", wait(7)),
        (429, &[("retry-after", "0")], "", wait(1)),
        (429, &[("retry-after", "99999")], "", wait(3600)),
        (429, &[("retry-after", "99999999999999999999999")], "", wait(3600)),
        (429, &[("retry-after", "Tue, 21 Nov 2023 00:02:00 GMT")], "", wait(120)),
        (429, &[("retry-after", "Mon, 20 Nov 2023 00:00:00 GMT")], "", wait(1)),
        (429, &[("retry-after", "soon")], "", wait(60)),
        (429, &[("retry-after", "-5")], "", wait(60)),
        (503, &[("retry-after", "5")], "", wait(5)),
        (400, &[("retry-after", "5")], &grant(50076), wait(5)),
        (302, &[("retry-after", "5")], "", wait(5)),
        (400, &[], &grant(50196), wait(60)),
        (400, &[], &grant(90055), wait(60)),
        (500, &[("content-type", "text/html")], "<html>", Row::Outage),
        (503, &[("retry-after", "soon")], "", Row::Outage),
        (500, &[("content-encoding", "gzip")], "x", Row::Outage),
        (502, &[], &grant(50076), Row::Outage),
        (400, &[], r#"{"error":"temporarily_unavailable"}"#, Row::Outage),
        (400, &[], r#"{"error":"Server_Error"}"#, Row::Outage),
        (400, &[], &grant(50033), Row::Outage),
        (400, &[], &grant(501_621), Row::Outage),
    ] {
        assert_eq!(row(&answer(status, headers, body)), expected, "{status} {headers:?} {body}");
    }
}

#[test]
fn rows_6_to_16_follow_the_oauth_error() {
    for (body, expected) in [
        (json!({"error": "invalid_client", "error_codes": [7_000_215]}), Row::BadClient),
        (json!({"error": "invalid_client", "claims": CLAIMS}), Row::BadClient),
        (json!({"error": "INVALID_CLIENT"}), Row::BadClient),
        (json!({"error": "invalid_grant", "suberror": "client_mismatch"}), Row::UnfitClient),
        (json!({"error": "x", "suberror": "Protection_Policy_Required", "claims": CLAIMS}), Row::UnfitClient),
        (
            json!({"error": "invalid_grant", "suberror": "basic_action", "error_codes": [50076], "claims": CLAIMS}),
            Row::Challenge,
        ),
        (json!({"error": "interaction_required", "claims": CLAIMS}), Row::Challenge),
        (json!({"error": "access_denied", "error_codes": [53002], "claims": CLAIMS}), Row::Challenge),
        (json!({"error": "something_new", "claims": " {} "}), Row::Challenge),
        (json!({"error": "interaction_required"}), Row::Interaction),
        (json!({"error": "Login_Required"}), Row::Interaction),
        (json!({"error": "insufficient_user_authentication", "acr_values": "gold"}), Row::Interaction),
        (json!({"error": "interaction_required", "claims": "[1]"}), Row::Interaction),
        (json!({"error": "interaction_required", "claims": "{\"a\":"}), Row::Interaction),
        (json!({"error": "interaction_required", "claims": {"a": 1}}), Row::Interaction),
        (
            json!({"error": "interaction_required", "claims": format!("{{\"a\":\"{}\"}}", "b".repeat(8192))}),
            Row::Interaction,
        ),
        (json!({"error": "interaction_required", "error_codes": [53002]}), Row::Interaction),
        (
            json!({"error": "invalid_grant", "suberror": "message_only", "error_codes": [53003]}),
            Row::Interaction,
        ),
        (
            json!({"error": "invalid_grant", "suberror": "bad_token", "error_codes": [70000]}),
            Row::Interaction,
        ),
        (json!({"error": "invalid_grant", "suberror": "additional_action"}), Row::Interaction),
        (json!({"error": "invalid_grant", "suberror": "user_password_expired"}), Row::Interaction),
        (json!({"error": "invalid_grant", "suberror": "device_authentication_failed"}), Row::Interaction),
        (json!({"error": "invalid_grant", "suberror": "ui_not_allowed"}), Row::Interaction),
        (json!({"error": "invalid_grant", "suberror": "interrupted_user"}), Row::Interaction),
        (json!({"error": "consent_required"}), Row::Consent),
        (
            json!({"error": "invalid_grant", "suberror": "consent_required", "error_codes": [65001]}),
            Row::Consent,
        ),
        (json!({"error": "interaction_required", "error_codes": [65001]}), Row::Consent),
        (json!({"error": "invalid_grant", "error_codes": [500_133]}), Row::StaleAssertion),
        (json!({"error": "invalid_grant", "suberror": "token_expired"}), Row::StaleAssertion),
        (json!({"error": "unauthorized_client", "error_codes": [7_000_114]}), Row::WrongAssertion),
        (json!({"error": "invalid_grant", "error_codes": [1, 240_002]}), Row::WrongAssertion),
        (json!({"error": "invalid_request", "error_codes": [90016]}), Row::WrongAssertion),
        (json!({"error": "invalid_grant", "error_codes": [50013]}), Row::UnacceptableAssertion),
        (json!({"error": "invalid_grant", "error_codes": [500_131]}), Row::UnacceptableAssertion),
        (json!({"error": "invalid_grant", "error_codes": [50105]}), Row::Denied),
        (json!({"error": "invalid_grant", "error_codes": [530_032]}), Row::Denied),
        (json!({"error": "access_denied"}), Row::Denied),
        (json!({"error": "invalid_grant", "error_codes": [53003]}), Row::InvalidGrant),
        (json!({"error": "invalid_grant", "error_codes": [65001]}), Row::InvalidGrant),
        (json!({"error": "invalid_grant", "error_codes": [999_999_999]}), Row::InvalidGrant),
        (json!({"error": "invalid_grant", "error_codes": "50105"}), Row::InvalidGrant),
        (json!({"error": "invalid_grant", "error_codes": ["50105", -1, 1.5]}), Row::InvalidGrant),
        (json!({"error": "invalid_grant", "suberror": 7}), Row::InvalidGrant),
        (json!({"error": "invalid_scope", "error_codes": [70011]}), Row::Refused),
        (json!({"error": "unauthorized_client"}), Row::Refused),
        (json!({"error": "never_heard_of"}), Row::Refused),
        (json!({"error": "invalid_target"}), Row::Refused),
        (json!({"error": "invalid_request", "error_description": "a\r\nset-cookie: b"}), Row::Refused),
        (json!({"error": "invalid_grant", "error_description": "a\r\nset-cookie: b"}), Row::InvalidGrant),
    ] {
        assert_eq!(oauth(&body), expected, "{body}");
    }
    // Entra answers an unknown client with 401; the row is the same
    assert_eq!(row(&answer(401, &[], r#"{"error":"invalid_client"}"#)), Row::BadClient);
}

#[test]
fn a_number_denies_for_good_exactly_if_its_words_say_so() {
    for meaning in aadsts::MEANINGS {
        for code in meaning.codes {
            let row = oauth(&json!({"error": "invalid_grant", "error_codes": [code]}));
            assert_eq!(row == Row::Denied, meaning.topic == Topic::Denied, "{code}: {row:?}");
        }
    }
    // none denies that people would have to look up elsewhere
    for code in table::DENIED {
        assert!(aadsts::meaning(*code).is_some(), "{code}");
    }
}

#[test]
fn row_17_is_whatever_makes_no_sense() {
    for (status, headers, body) in [
        (400, &[][..], ""),
        (400, &[], "<html>"),
        (404, &[], "{}"),
        (400, &[], r#"{"error":7}"#),
        (400, &[], r#"{"error":""}"#),
        (400, &[], r#"{"error":"a\r\nb"}"#),
        (400, &[], r#"["invalid_grant"]"#),
        (400, &[], r#"{"error":"invalid_grant","error":"invalid_client"}"#),
        (400, &[], r#"{"error":"invalid_grant","claims":"{}","claims":"{\"a\":1}"}"#),
        (400, &[("content-encoding", "gzip")], r#"{"error":"invalid_grant"}"#),
        (302, &[("location", "https://elsewhere.example/")], r#"{"error":"invalid_grant"}"#),
        (304, &[], ""),
    ] {
        let response = answer(status, headers, body);
        let error = classify(&response, Expected::default(), NOW).unwrap_err();
        assert_eq!(error.row, Some(Row::Malformed), "{status} {body}");
        assert!(error.answer.is_none());
    }
}

#[test]
fn microsofts_error_is_surfaced_without_its_description() {
    let body = seed("TV-E1");
    let error = classify(&answer(400, &[], body.to_string()), Expected::default(), NOW).unwrap_err();
    assert_eq!(error.row, Some(Row::Challenge));
    let said = error.answer.clone().unwrap();
    assert_eq!(said.error, "interaction_required");
    assert_eq!(said.suberror, None);
    assert_eq!(said.error_codes, [50079]);
    assert_eq!(said.trace_id.as_deref(), body["trace_id"].as_str());
    assert_eq!(said.correlation_id.as_deref(), body["correlation_id"].as_str());
    assert_eq!(
        said.claims.as_deref(),
        Some(
            r#"{"access_token":{"polids":{"essential":true,"values":["9ab03e19-ed42-4168-b6b7-7001fb3e933a"]}}}"#
        )
    );
    assert!(!format!("{error:?} {error}").contains("polids"));
}

#[test]
fn claims_keep_their_bytes() {
    let odd = " {\"b\" : 1.0e2,\n\"a\":\"\\u00e9é\"} ";
    let body = json!({"error": "invalid_grant", "claims": odd}).to_string();
    let error = classify(&answer(400, &[], body), Expected::default(), NOW).unwrap_err();
    assert_eq!(error.answer.unwrap().claims.as_deref(), Some(odd));
}

#[test]
fn words_that_do_not_belong_into_a_header_are_left_out() {
    let body = json!({
        "error": "invalid_grant", "suberror": "a\"b", "trace_id": "x\r\ny", "correlation_id": "é",
        "error_codes": (0..100).collect::<Vec<_>>(),
    });
    let said =
        classify(&answer(400, &[], body.to_string()), Expected::default(), NOW).unwrap_err().answer.unwrap();
    assert_eq!((&said.suberror, &said.trace_id, &said.correlation_id), (&None, &None, &None));
    assert_eq!(said.error_codes.len(), 16);
    let body = json!({"error": "invalid_grant", "trace_id": "x".repeat(129)});
    assert_eq!(
        classify(&answer(400, &[], body.to_string()), Expected::default(), NOW)
            .unwrap_err()
            .answer
            .unwrap()
            .trace_id,
        None
    );
}

#[test]
fn what_a_stronger_sign_in_must_be_is_passed_on() {
    let said = |more: Value| {
        let mut body = json!({"error": "insufficient_user_authentication"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer =
            classify(&answer(400, &[], body.to_string()), Expected::default(), NOW).unwrap_err().answer;
        let answer = answer.unwrap();
        (answer.acr_values.clone(), answer.max_age)
    };
    assert_eq!(
        said(json!({"acr_values": "gold silver", "max_age": 60})),
        (Some("gold silver".into()), Some(60))
    );
    assert_eq!(said(json!({"max_age": "300"})), (None, Some(300)));
    assert_eq!(said(json!({"acr_values": "a\"b", "max_age": -1})), (None, None));
    assert_eq!(said(json!({"acr_values": ["gold"], "max_age": "soon"})), (None, None));
}

/// JSON that looks like an answer, or like nothing.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let word = "invalid_grant|invalid_client|interaction_required|Bearer|basic_action|\\{\\}|.{0,8}";
    let value = prop_oneof![
        word.prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::collection::vec(any::<u64>(), 0..3).prop_map(Value::from),
        Just(Value::Null),
    ];
    let name =
        "error|suberror|claims|error_codes|access_token|token_type|expires_in|expires_on|issued_token_type";
    let object = proptest::collection::vec((name, value), 0..6).prop_map(|members| {
        let members: serde_json::Map<String, Value> = members.into_iter().collect();
        Value::from(members).to_string().into_bytes()
    });
    let good = Just(br#"{"token_type":"Bearer","access_token":"b"}"#.to_vec());
    prop_oneof![object, good, any::<Vec<u8>>()]
}

proptest! {
    #[test]
    fn every_answer_has_its_row_and_only_a_200_a_token(
        status in prop_oneof![100_u16..1000, Just(200)],
        retry_after in proptest::option::of("[ -~]{0,32}|[0-9]{1,30}"),
        encoding in proptest::option::of("identity|gzip"),
        kind in "application/json|text/html|[ -~]{0,20}",
        requested in proptest::option::of(proptest::sample::select(vec![TokenType::Saml2, TokenType::Jwt])),
        body in bodies(),
        now in any::<i64>(),
    ) {
        let mut headers = vec![("content-type", kind.as_str())];
        headers.extend(retry_after.as_deref().map(|value| ("retry-after", value)));
        headers.extend(encoding.as_deref().map(|value| ("content-encoding", value)));
        let expected = Expected { requested: requested.map(TokenType::uri), ..Expected::default() };
        match classify(&answer(status, &headers, &body), expected, UnixTime::from_seconds(now)) {
            Ok(success) => {
                prop_assert_eq!(status, 200);
                prop_assert!(success.token.size() > "Bearer ".len());
            }
            Err(error) => match error.row {
                Some(Row::Throttled(wait)) => {
                    prop_assert!((1..=3600).contains(&wait.as_secs()), "{:?}", wait);
                }
                row => prop_assert!(row.is_some()),
            },
        }
    }
}
