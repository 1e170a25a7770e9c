//! What is a token, and what is not although the status says so.

use std::time::Duration;

use serde_json::json;

use super::*;

#[test]
fn microsofts_successes_are_read() {
    let v2 = success(&seed("TV-R1"), None).unwrap();
    assert_eq!(bearer(&v2), format!("Bearer {}", seed_token("TV-J3")));
    assert_eq!(v2.stated.expires_in, Some(Duration::from_secs(3269)));
    assert_eq!(v2.stated.expires_on, None);
    let v1 = success(&seed("TV-R2"), None).unwrap();
    assert_eq!(bearer(&v1), format!("Bearer {}", seed_token("TV-J5")));
    assert_eq!(v1.stated.expires_in, Some(Duration::from_secs(43482)));
    assert_eq!(v1.stated.expires_on, Some(UnixTime::from_seconds(1_493_466_951)));
    // the page writes placeholders with blanks into its SAML example
    let mut saml = seed("TV-R3");
    saml["access_token"] = "PEFzc2VydGlvbj4".into();
    let saml = success(&saml, Some(TokenType::Saml2)).unwrap();
    assert_eq!(bearer(&saml), "Bearer PEFzc2VydGlvbj4");
    assert_eq!(saml.stated.expires_on, Some(UnixTime::from_seconds(1_529_627_844)));
    assert!(success(&seed("TV-R3"), Some(TokenType::Saml2)).is_err());
}

#[test]
fn only_the_asked_kind_of_token_is_taken() {
    const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
    const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
    const SAML1: &str = "urn:ietf:params:oauth:token-type:saml1";
    const SAML2: &str = "urn:ietf:params:oauth:token-type:saml2";
    const REFRESH: &str = "urn:ietf:params:oauth:token-type:refresh_token";
    for (requested, issued, taken) in [
        (None, None, true),
        (None, Some(JWT), true),
        (None, Some(ACCESS), true),
        (None, Some(SAML2), false),
        (None, Some(REFRESH), false),
        (None, Some(""), false),
        (Some(TokenType::Jwt), None, true),
        (Some(TokenType::Jwt), Some(JWT), true),
        (Some(TokenType::AccessToken), Some(SAML1), false),
        (Some(TokenType::Saml1), Some(SAML1), true),
        (Some(TokenType::Saml1), Some(SAML2), false),
        (Some(TokenType::Saml2), Some(SAML2), true),
        (Some(TokenType::Saml2), Some(ACCESS), false),
        (Some(TokenType::Saml2), None, false),
    ] {
        let mut body = json!({"token_type": "bearer", "access_token": "b", "expires_in": 1});
        if let Some(issued) = issued {
            body["issued_token_type"] = issued.into();
        }
        assert_eq!(success(&body, requested).is_ok(), taken, "{requested:?} {issued:?}");
    }
}

#[test]
fn a_token_exchange_says_what_it_issued() {
    const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
    const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
    const ID: &str = "urn:ietf:params:oauth:token-type:id_token";
    const SAML1: &str = "urn:ietf:params:oauth:token-type:saml1";
    const SAML2: &str = "urn:ietf:params:oauth:token-type:saml2";
    const ODD: &str = "urn:params:oauth:token-type:jwt";
    for (requested, issued, token_type, taken) in [
        (None, None, "Bearer", false),
        (None, Some(ACCESS), "Bearer", true),
        (None, Some(ACCESS), "bearer", true),
        (None, Some(JWT), "Bearer", true),
        (None, Some(ID), "Bearer", false),
        (None, Some(ID), "N_A", false),
        (None, Some(ACCESS), "N_A", false),
        (None, Some(ACCESS), "DPoP", false),
        (None, Some(SAML2), "N_A", false),
        (Some(JWT), Some(ACCESS), "Bearer", true),
        (Some(ODD), Some(ODD), "Bearer", true),
        (Some(ODD), Some(JWT), "Bearer", true),
        (Some(JWT), Some(ODD), "Bearer", false),
        (Some(JWT), None, "Bearer", false),
        (Some(ID), Some(ID), "N_A", false),
        (Some(SAML2), Some(SAML2), "N_A", true),
        (Some(SAML2), Some(SAML2), "n_a", true),
        (Some(SAML2), Some(SAML2), "Bearer", true),
        (Some(SAML2), Some(SAML2), "DPoP", false),
        (Some(SAML2), Some(SAML1), "N_A", false),
        (Some(SAML2), Some(ACCESS), "Bearer", false),
        (Some(SAML2), None, "N_A", false),
    ] {
        let mut body = json!({"token_type": token_type, "access_token": "b", "expires_in": 300});
        if let Some(issued) = issued {
            body["issued_token_type"] = issued.into();
        }
        let result = exchanged(&body, requested);
        assert_eq!(result.is_ok(), taken, "{requested:?} {issued:?} {token_type}");
        assert!(taken || result.unwrap_err().row == Some(Row::Malformed));
    }
    // elsewhere no SAML assertion goes by that name
    let saml = json!({"token_type": "N_A", "access_token": "b", "issued_token_type": SAML2});
    assert!(success(&saml, Some(TokenType::Saml2)).is_err());
}

#[test]
fn what_idps_add_to_an_answer_does_not_matter() {
    let issued = "urn:ietf:params:oauth:token-type:access_token";
    for more in [
        // Entra, version 1: an unsigned id token, numbers as text
        json!({"id_token": "eyJhbGciOiJub25lIn0.e30.", "ext_expires_in": "302683", "not_before": "1493423168"}),
        // AD FS
        json!({"refresh_token": "r", "refresh_token_expires_in": 28800, "id_token": "x", "resource": "y"}),
        // Keycloak
        json!({"refresh_expires_in": 0, "not-before-policy": 0, "session_state": "s", "scope": "a b"}),
        // what no IdP should send
        json!({"refresh_token": null, "id_token": 7, "scope": ["a"], "claims": "{}", "error_codes": "x"}),
    ] {
        let mut body = json!({"token_type": "Bearer", "access_token": "b", "expires_in": "300"});
        body["issued_token_type"] = issued.into();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let read = exchanged(&body, None).unwrap();
        assert_eq!(
            (bearer(&read).as_str(), read.stated.expires_in),
            ("Bearer b", Some(Duration::from_secs(300)))
        );
    }
}

#[test]
fn a_200_without_a_usable_token_is_malformed() {
    let good = json!({"token_type": "BEARER", "access_token": "b", "expires_in": 3600});
    assert!(success(&good, None).is_ok());
    for (name, value) in [
        ("token_type", json!("N_A")),
        ("token_type", json!("pop")),
        ("token_type", json!("mtls_pop")),
        ("token_type", json!("DPoP")),
        ("token_type", json!("")),
        ("token_type", json!(null)),
        ("access_token", json!("")),
        ("access_token", json!(7)),
        ("access_token", json!(null)),
        ("access_token", json!("a\r\nx-admin: 1")),
        ("access_token", json!("a b")),
        ("access_token", json!("a".repeat(64 * 1024 + 1))),
        ("issued_token_type", json!(7)),
    ] {
        let mut body = good.clone();
        body[name] = value;
        assert_eq!(success(&body, None).unwrap_err().row, Some(Row::Malformed), "{name}");
    }
    for body in [
        "",
        "null",
        "<html>",
        r#"{"error":"invalid_grant"}"#,
        r#"{"token_type":"Bearer","access_token":"b""#,
        r#"{"token_type":"Bearer","access_token":"b"} {}"#,
        r#"{"token_type":"Bearer","access_token":"b","access_token":"c"}"#,
        r#"["b","Bearer",null,1,2,3]"#,
    ] {
        assert_eq!(row(&answer(200, &[], body)), Row::Malformed, "{body}");
    }
    let good = good.to_string();
    for headers in [
        ("content-type", "text/html"),
        ("content-type", "text/json"),
        ("content-type", "application/jsonp"),
        ("content-encoding", "gzip"),
    ] {
        assert_eq!(row(&answer(200, &[headers], &good)), Row::Malformed, "{headers:?}");
    }
    for headers in [
        ("content-type", "application/vnd.x+json"),
        ("content-type", "Application/JSON;charset=utf-8"),
        ("content-encoding", "identity"),
        ("retry-after", "5"),
    ] {
        assert!(classify(&answer(200, &[headers], &good), Expected::default(), NOW).is_ok(), "{headers:?}");
    }
    for status in [201, 202, 204, 206] {
        assert_eq!(row(&answer(status, &[], &good)), Row::Malformed, "{status}");
    }
}

#[test]
fn an_odd_life_does_not_spoil_a_token() {
    for (value, expected) in [
        (json!("3600"), Some(3600)),
        (json!(3600.0), Some(3600)),
        (json!(-1), None),
        (json!("soon"), None),
        (json!(null), None),
        (json!({"a": 1}), None),
        (json!(u64::MAX), Some(u64::MAX)),
    ] {
        let body = json!({"token_type": "Bearer", "access_token": "b", "expires_in": value});
        let stated = success(&body, None).unwrap().stated;
        assert_eq!(stated.expires_in, expected.map(Duration::from_secs), "{body}");
    }
}
