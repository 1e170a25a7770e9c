//! The `WWW-Authenticate` value of a refusal (RFC 6750 section 3; Microsoft's claims challenge format:
//! <https://learn.microsoft.com/entra/identity-platform/claims-challenge>). Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// Who asks, and where a user would sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Realm {
    /// The tenant id, empty where any of several is meant; off Entra the issuer.
    pub realm: String,
    /// The authorization endpoint; empty where it is not known.
    pub authorization_uri: String,
    /// Our client id: the API the caller needs a token for.
    pub client_id: String,
    /// Where what protects the resource is described (RFC 9728 section 5.1).
    pub resource_metadata: Option<String>,
}

/// What a challenge demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand<'a> {
    /// Any token.
    Token,
    /// A well-formed request.
    ValidRequest,
    /// Another token.
    ValidToken,
    /// A token with these scopes of ours; none = not said.
    Scopes(&'a [String]),
    /// A token that satisfies this claims request: the decoded JSON, forwarded byte for byte.
    Claims(&'a str),
    /// A sign-in by the user.
    Interaction,
    /// A sign-in by the user in a certain way (RFC 9470 section 3).
    StepUp {
        /// Any of these authentication context classes, the first preferred.
        acr_values: Option<&'a str>,
        /// So many seconds ago at most.
        max_age: Option<u64>,
    },
}

/// The challenge for `demand`: in Microsoft's words or in those of RFC 9470, never in both. Parameters are separated by one comma and one space, none is repeated, and no value
/// holds a comma, a quote or text of the identity provider: clients parse this header by hand.
pub fn challenge(demand: Demand<'_>, realm: &Realm) -> Option<HeaderValue> {
    let mut parameters = vec![("realm", realm.realm.clone())];
    let mut interactive = |error: &str| {
        if !realm.authorization_uri.is_empty() {
            parameters.push(("authorization_uri", realm.authorization_uri.clone()));
        }
        parameters.push(("client_id", realm.client_id.clone()));
        parameters.push(("error", error.to_owned()));
    };
    match demand {
        Demand::Token => {}
        Demand::ValidRequest => parameters.push(("error", "invalid_request".into())),
        Demand::ValidToken => parameters.push(("error", "invalid_token".into())),
        Demand::Scopes(scopes) => {
            parameters.push(("error", "insufficient_scope".into()));
            if !scopes.is_empty() {
                parameters.push(("scope", scopes.join(" ")));
            }
        }
        Demand::Claims(claims) => {
            interactive("insufficient_claims");
            parameters.push(("claims", STANDARD.encode(claims)));
        }
        Demand::Interaction => interactive("interaction_required"),
        Demand::StepUp { acr_values, max_age } => {
            parameters.push(("error", "insufficient_user_authentication".into()));
            let classes = acr_values.unwrap_or_default().split(' ').filter(|class| !class.contains(','));
            let classes: Vec<&str> = classes.filter(|class| !class.is_empty()).collect();
            if !classes.is_empty() {
                parameters.push(("acr_values", classes.join(" ")));
            }
            parameters.extend(max_age.map(|seconds| ("max_age", seconds.to_string())));
        }
    }
    parameters.extend(realm.resource_metadata.clone().map(|url| ("resource_metadata", url)));
    let parameters: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{name}=\"{}\"", quotable(value))).collect();
    HeaderValue::try_from(format!("Bearer {}", parameters.join(", "))).ok()
}

/// `value` without what a quoted-string of a challenge may not hold (RFC 6750 section 3).
fn quotable(value: &str) -> String {
    value.chars().filter(|c| matches!(c, ' '..='!' | '#'..='[' | ']'..='~')).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn realm() -> Realm {
        let tenant = "26039cce-489d-4002-8293-5b0c5134eacb";
        Realm {
            realm: tenant.into(),
            authorization_uri: format!("https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize"),
            client_id: "625391af-c675-43e5-8e44-edd3e30ceb15".into(),
            resource_metadata: None,
        }
    }

    #[track_caller]
    fn check(demand: Demand<'_>, expected: &str) {
        assert_eq!(challenge(demand, &realm()).unwrap(), expected);
    }

    #[test]
    fn the_claims_of_the_example_error_become_the_documented_header() {
        let claims = r#"{"access_token":{"polids":{"essential":true,"values":["9ab03e19-ed42-4168-b6b7-7001fb3e933a"]}}}"#;
        check(
            Demand::Claims(claims),
            concat!(
                r#"Bearer realm="26039cce-489d-4002-8293-5b0c5134eacb", "#,
                r#"authorization_uri="https://login.microsoftonline.com/26039cce-489d-4002-8293-5b0c5134eacb/oauth2/v2.0/authorize", "#,
                r#"client_id="625391af-c675-43e5-8e44-edd3e30ceb15", error="insufficient_claims", "#,
                r#"claims="eyJhY2Nlc3NfdG9rZW4iOnsicG9saWRzIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWVzIjpbIjlhYjAzZTE5LWVkNDItNDE2OC1iNmI3LTcwMDFmYjNlOTMzYSJdfX19""#
            ),
        );
    }

    #[test]
    fn claims_are_padded_standard_base64() {
        // two documented challenges of Microsoft's, white space and all
        for (claims, encoded) in [
            (
                r#"{"access_token":{"acrs":{"essential":true,"value":"cp1"}}}"#,
                "eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiY3AxIn19fQ==",
            ),
            (
                r#"{"access_token":{"nbf":{"essential":true, "value":"1604106651"}}}"#,
                "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwgInZhbHVlIjoiMTYwNDEwNjY1MSJ9fX0=",
            ),
        ] {
            let header = challenge(Demand::Claims(claims), &realm()).unwrap();
            assert!(header.to_str().unwrap().ends_with(&format!("claims=\"{encoded}\"")));
        }
    }

    #[test]
    fn each_demand_has_its_error() {
        check(Demand::Token, r#"Bearer realm="26039cce-489d-4002-8293-5b0c5134eacb""#);
        check(
            Demand::ValidRequest,
            r#"Bearer realm="26039cce-489d-4002-8293-5b0c5134eacb", error="invalid_request""#,
        );
        check(
            Demand::ValidToken,
            r#"Bearer realm="26039cce-489d-4002-8293-5b0c5134eacb", error="invalid_token""#,
        );
        let scopes = ["orders.read".to_owned(), "orders.write".to_owned()];
        check(
            Demand::Scopes(&scopes),
            r#"Bearer realm="26039cce-489d-4002-8293-5b0c5134eacb", error="insufficient_scope", scope="orders.read orders.write""#,
        );
        check(
            Demand::Scopes(&[]),
            r#"Bearer realm="26039cce-489d-4002-8293-5b0c5134eacb", error="insufficient_scope""#,
        );
        check(
            Demand::Interaction,
            concat!(
                r#"Bearer realm="26039cce-489d-4002-8293-5b0c5134eacb", "#,
                r#"authorization_uri="https://login.microsoftonline.com/26039cce-489d-4002-8293-5b0c5134eacb/oauth2/v2.0/authorize", "#,
                r#"client_id="625391af-c675-43e5-8e44-edd3e30ceb15", error="interaction_required""#
            ),
        );
    }

    #[test]
    fn a_step_up_is_asked_for_in_the_words_of_its_standard_alone() {
        let realm = Realm {
            realm: "https://id.example".into(),
            authorization_uri: "https://id.example/authorize".into(),
            client_id: "orders".into(),
            resource_metadata: Some("https://api.example/.well-known/oauth-protected-resource".into()),
        };
        let start = r#"Bearer realm="https://id.example", error="insufficient_user_authentication""#;
        let end = r#", resource_metadata="https://api.example/.well-known/oauth-protected-resource""#;
        for (acr_values, max_age, middle) in [
            (Some("gold silver"), Some(300), r#", acr_values="gold silver", max_age="300""#),
            (Some("urn:a"), None, r#", acr_values="urn:a""#),
            (None, Some(0), r#", max_age="0""#),
            (None, None, ""),
            (Some("  "), None, ""),
            (Some("a,b gold \"x\""), None, r#", acr_values="gold x""#),
        ] {
            let header = challenge(Demand::StepUp { acr_values, max_age }, &realm).unwrap();
            assert_eq!(header, format!("{start}{middle}{end}"));
        }
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let realm = Realm { authorization_uri: String::new(), ..realm() };
        let header = challenge(Demand::Interaction, &realm).unwrap();
        let expected = concat!(
            r#"Bearer realm="26039cce-489d-4002-8293-5b0c5134eacb", "#,
            r#"client_id="625391af-c675-43e5-8e44-edd3e30ceb15", error="interaction_required""#
        );
        assert_eq!(header, expected);
    }

    #[test]
    fn another_sign_in_is_asked_for_in_the_words_of_rfc_9470() {
        for (acr_values, max_age, expected) in [
            (Some("gold  silver"), Some(300), r#", acr_values="gold silver", max_age="300""#),
            // a comma in a quoted string leads clients astray that split at commas
            (Some("a,b c"), None, r#", acr_values="c""#),
            (None, None, ""),
        ] {
            check(
                Demand::StepUp { acr_values, max_age },
                &format!(
                    r#"Bearer realm="26039cce-489d-4002-8293-5b0c5134eacb", error="insufficient_user_authentication"{expected}"#
                ),
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_breaks_out_of_its_quotes(claims in ".*", word in ".*") {
            let realm = Realm {
                realm: word.clone(),
                authorization_uri: word.clone(),
                client_id: word.clone(),
                resource_metadata: Some(word.clone()),
            };
            let scopes = [word.clone()];
            let step_up = Demand::StepUp { acr_values: Some(&word), max_age: Some(1) };
            for demand in [Demand::Claims(&claims), Demand::Scopes(&scopes), Demand::Interaction, step_up] {
                let header = challenge(demand, &realm).unwrap();
                let text = header.to_str().unwrap();
                let parameters = text.strip_prefix("Bearer ").unwrap().split(", ").count();
                prop_assert_eq!(text.matches('"').count() % 2, 0);
                prop_assert!(text.bytes().all(|b| (b' '..=b'~').contains(&b)));
                prop_assert!(parameters >= 2);
            }
        }
    }
}
