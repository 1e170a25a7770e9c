//! No secret is ever shown, wherever it was written by mistake.

use proptest::prelude::*;

use crate::config::load_text;
use crate::config::tests::FINE;
use crate::config::tests::env;
use crate::config::tests::told;

pub(super) const CANARY: &str = "hunter2canary";

/// Everything there is to read about `text`: problems for people and for machines, `Debug` of what was loaded.
pub(super) fn everything(text: &str, environment: &[(&str, &str)]) -> String {
    match load_text("config.yaml", text, &env(environment)) {
        Ok(loaded) => format!("{loaded:?}"),
        Err(report) => format!("{report}\n{report:?}\n{}", report.to_json()),
    }
}

fn with_credential(text: &str) -> String {
    FINE.replace("    credential: { secret: { file: /run/secrets/client_secret } }\n", text)
}

#[test]
fn a_secret_is_not_shown_however_it_is_mis_written() {
    let credentials = [
        "    credential: { secret: { value: CANARY } }\n    clint_id: x\n",
        "    credential: { secret: { value: CANARY, file: x } }\n",
        "    credential: { secret: { vale: CANARY } }\n",
        "    credential: { secret: CANARY }\n",
        "    credential: CANARY\n",
        "    credential: [CANARY]\n",
        "    credential: { CANARY }\n",
        "    credential: { CANARY: x }\n",
        "    credential: { secret: { CANARY: x, CANARY: y } }\n",
        "    credential: { secret: [CANARY, x] }\n",
        "    credential: { secrt: { value: CANARY } }\n",
        "    credental: { secret: { value: CANARY } }\n",
        "    secrt: CANARY\n",
        "    secret: CANARY\n",
        "    client_secret: CANARY\n",
        "    clientsecret: CANARY\n",
        "    password: CANARY\n",
        "    client_secret: CANARY # CANARY\n",
        "    credentials: { secret: { value: CANARY } } # CANARY\n",
        "    cred: x # CANARY\n",
        "    api_key: CANARY\n",
        "    entra: { secret: CANARY }\n",
        "    parameters: { client_secret: CANARY }\n",
        "    parameters: { client_secret: [CANARY] }\n",
        "    credential: { secret: { value: { CANARY: 1 } } }\n",
        "    credential: { secret: { value: [CANARY] } }\n",
        "    credential: { secret: { file: [CANARY] } }\n",
        "    credential: { certificate: { password: CANARY } }\n",
        "    credential: { certificate: CANARY }\n",
        "    credential: { certificate: { key: CANARY, fil: x } }\n",
        "    credential: { certificate: { algorithm: { CANARY: x } } }\n",
        "    credential: { certificate: { file: x, key: [CANARY] } }\n",
        "    credential: { federated_token: CANARY }\n",
        "    credential: { federated_token: { token: CANARY } }\n",
        "    credential: { workload_identity: CANARY }\n",
        "    credential: { workload_identity: { secret: CANARY } }\n",
        "    credential: { managed_identity: CANARY }\n",
        "    credential: { managed_identity: { client_secret: CANARY } }\n",
        "    credential: [workload_identity, CANARY]\n",
        "    parameters: { requested_token_use: x, client_secret: CANARY }\n",
        "    oidc: { issuer: https://user:CANARY@host/ }\n",
        "    oidc: { token_endpoint: 'http://host/?code=CANARY' }\n",
        "    credential:\n      secret:\n        value: |\n          CANARY\n        x: 1\n",
        "    credential:\n      secret:\n        value: >-\n          CANARY\n          CANARY\n    x: CANARY2 # CANARY\n",
        "    credential:\n      secret:\n        value:\n          CANARY\n           CANARY\n",
        "    credential:\n    secret:\n      value: CANARY\n",
        "  credential:\n    secret:\n      value: CANARY\n",
        "credential:\n  secret: { value: CANARY }\n",
        "    credential: { secret: { value: \"CANARY\" }, x: 1 }\n",
        "    credential: { secret: { value: 'it''s CANARY' }, x: 1 }\n",
        "    credential: { secret: { value: \"a\\\"CANARY\" }, x: 1 }\n",
        "    credential: { secret: { value: &a CANARY } }\n",
        "    credential: { secret: { value: *CANARY } }\n",
        "    credential: { secret: { value: !CANARY x } }\n",
        "    credential: { secret: { value: !!str CANARY } }\n",
        // an anchor or tag on nothing
        "    credential: { secret: { value: &CANARY } }\n",
        "    credential: { secret: { value: !CANARY } }\n",
        "    credential: { secret: { value: !<CANARY> } }\n",
        "    credential: { secret: { value: !CANARY%2B, x: 1 } }\n",
        "    credential: { secret: { value: !!CANARY , x: 1 } }\n",
        "    credential: { secret: { value: &CANARY&CANARY } }\n",
        "    credential: { secret: { value: &x !CANARY , file: x } }\n",
        "    credential: { secret: { value: &x&CANARY\n   } }\n",
        "    credential: { secret: [&CANARY, !CANARY] }\n",
        "    credential: { secret: &CANARY }\n",
        "    credential: { secret: &CANARY { value: x } }\n",
        "    credential: { secret: { &CANARY value: x } }\n",
        "    credential: { secret: { &CANARY : x } }\n",
        "    credential: { secret: { !CANARY : x } }\n",
        "    credential: &CANARY\n",
        "    credential: !CANARY\n",
        "    credential:\n      secret:\n        value: &CANARY\n",
        "    credential:\n      secret:\n        value: !CANARY\n        file: x\n",
        "    credential:\n      secret:\n        value:\n          !CANARY\n        file: x\n",
        // on a level of its own
        "    credential:\n      secret:\nx: CANARY\n",
        "    credential:\n      secret: { value: }\n    timeouts: CANARY\n",
        // no YAML at all
        "    credential: { secret: { value: \"CANARY } }\n",
        "    credential: { secret: { value: 'CANARY } }\n",
        "    credential: { secret: { value: \"CANARY\" x } }\n",
        "    credential: { secret: { value: CANARY }\n",
        "    credential: x: CANARY\n",
        "    credential: x y: CANARY\n",
        "    credential: { }CANARY }\n",
        "    credential: [ ]CANARY }\n",
        "    credential: {\n    }CANARY }\n",
        "    credential: { secret: { file: x } } CANARY\n",
        "    credential: { secret: { file: x }, a: b, c: d } CANARY\n",
        "    credential: { secret: }CANARY }\n",
        "    credential: { secret: ]CANARY }\n",
        "    credential: { secret: { value: }CANARY } }\n",
        "    credential: { secret: { value: ]CANARY } }\n",
        "    credential: { secret: { value: }}CANARY } }\n",
        "    credential: { secret: { value: ,CANARY } }\n",
        "    credential: { secret: { value: }x CANARY } }\n",
        "    credential: { secret: [ }CANARY ] }\n",
        "    secret: }CANARY\n",
        "    secret: ]CANARY\n",
        "    password: %CANARY\n",
        "    credential: { secret: value: CANARY } }\n",
        "    credential: { secret: { value: @CANARY } }\n",
        "    credential: { secret: { value: `CANARY } }\n",
        "    credential: { secret: { value: %CANARY } }\n",
        "    credential:\n\tsecret: CANARY\n",
        "    credential:\n      secret:\n      \tvalue: CANARY\n",
        "    credential:\n      secret:\n        value: \"x\n CANARY\n",
        "    credential:\n      secret:\n        value: \"x\n          CANARY \\z\"\n",
        "    credential:\n      secret:\n        value: \"x\" CANARY\n",
        "    credential:\n      secret:\n        value: x: CANARY\n",
        "    credential:\n      secret:\n        value: [a, CANARY\n",
        "    credential:\n      secret:\n        value: -\n       CANARY\n",
        "    credential:\n      secret:\n        value: x\n       CANARY\n",
        "    client_secret: 'CANARY\n",
        "    secrt: \"CANARY\n",
        "    client_id: \"abc\n    credential: { secret: { value: CANARY\"x } }\n",
    ];
    let mut shown = Vec::new();
    for text in credentials {
        let text = with_credential(&text.replace("CANARY", CANARY));
        let told = everything(&text, &[]);
        // an unknown key with an innocent name is no secret
        let told = told.replace(&format!("x: {CANARY}2"), "");
        if told.contains(CANARY) {
            shown.push(format!("{text}\n{told}"));
        }
    }
    assert!(shown.is_empty(), "{}", shown.join("\n\n"));
}

#[test]
fn secrets_in_other_places_are_not_shown() {
    for text in [
        "    upstreem: https://user:CANARY@host/\n",
        "    upstream: https://user:CANARY@host/\n",
        "    upstream: https://host/?code=CANARY\n",
        "    token: eyJCANARY\n",
        "    listeners: [eyJCANARY]\n",
        "    require: { claims: [eyJCANARY] }\n",
        "    headers: { set: { authorization: Bearer CANARY } }\n",
        "    match: { headers: { x-api-key: [CANARY] } }\n",
        "    match: { headers: { authorization: CANARY } }\n",
        "    listeners: [abc8Q~CANARY]\n",
        "    cors: \"-----BEGIN PRIVATE KEY-----CANARY\"\n",
    ] {
        let text = format!("{FINE}{}", text.replace("CANARY", CANARY));
        let told = everything(&text, &[]);
        assert!(told.contains("error: ") && !told.contains(CANARY), "{text}\n{told}");
    }
}

#[test]
fn a_secret_from_the_environment_is_not_shown() {
    for variable in [
        "OBO__IDENTITY_PROVIDERS__CONTOSO__CREDENTIAL__SECRET__VALU",
        "OBO__IDENTITY_PROVIDERS__CONTOSO__CREDENTIAL__SECRET",
        "OBO__IDENTITY_PROVIDERS__CONTOSO__CREDENTIAL",
        "OBO__IDENTITY_PROVIDERS__CONTOSO__CREDENTIALS__SECRET__VALUE",
        "OBO__IDENTITY_PROVIDERS__CONTOSO__CLIENT_SECRET",
        "OBO__CACHE__REDIS__PASSWORD__VALUE",
        "OBO__PASSWORD",
    ] {
        let all = everything(FINE, &[(variable, CANARY)]);
        assert!(!all.contains(CANARY), "{variable}\n{all}");
        let told = told(FINE, &[(variable, CANARY)]);
        assert!(
            told.contains("error: ") && told.contains(variable) && !told.contains(CANARY),
            "{variable}\n{told}"
        );
    }
    let only = with_credential("");
    let variable = ("OBO__IDENTITY_PROVIDERS__CONTOSO__CREDENTIAL__SECRET__VALUE", CANARY);
    let warned = told(&only, &[variable]);
    assert!(
        warned.contains("warning: a secret stands in the configuration itself") && !warned.contains(CANARY),
        "{warned}"
    );
    let told =
        everything(&with_credential("    credential: { secret: { env: S } }\n    x: 1\n"), &[("S", CANARY)]);
    assert!(!told.contains(CANARY), "{told}");
}

#[test]
fn what_is_masked_leaves_the_rest_of_the_line_readable() {
    assert_eq!(
        told(
            &with_credential(
                "    credential: { secret: { value: \"a b\" }, wx: 1, yz: https://a } # old: z\n"
            ),
            &[]
        ),
        "\
warning: a secret stands in the configuration itself: whoever can read that has it
 --> config.yaml:5:36
  |
5 |     credential: { secret: { value: *** }, ***: ***, ***: *** }
  |                                    ^^^
  = help: write { file: PATH } or { env: NAME }

error: unknown setting `***`
 --> config.yaml:5:45
  |
5 |     credential: { secret: { value: *** }, ***: ***, ***: *** }
  |                                           ^^^
  = help: what can be set here: secret, certificate, federated_token, workload_identity, managed_identity

error: unknown setting `***`
 --> config.yaml:5:52
  |
5 |     credential: { secret: { value: *** }, ***: ***, ***: *** }
  |                                                     ^^^
  = help: what can be set here: secret, certificate, federated_token, workload_identity, managed_identity
"
    );
}

/// Ways to write the canary down.
fn spelling() -> impl Strategy<Value = String> {
    let quoted = prop_oneof![
        Just("CANARY".to_owned()),
        Just("'CANARY'".to_owned()),
        Just("\"CANARY\"".to_owned()),
        Just("\"CANARY".to_owned()),
        Just("'CANARY".to_owned()),
        Just("[CANARY, x]".to_owned()),
        Just("{ CANARY: x }".to_owned()),
        Just("{ x: CANARY".to_owned()),
        Just("!t CANARY".to_owned()),
        Just("&a CANARY".to_owned()),
        Just("&CANARY".to_owned()),
        Just("!CANARY".to_owned()),
        Just("}CANARY".to_owned()),
        Just("]CANARY".to_owned()),
        Just("x: CANARY".to_owned()),
        Just("x CANARY".to_owned()),
        Just("\"x\" CANARY".to_owned()),
        Just("|\n            CANARY".to_owned()),
        Just("\n            CANARY\n             CANARY".to_owned()),
    ];
    quoted.prop_map(|text| text.replace("CANARY", CANARY))
}

fn secret_key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "secret: { value: HERE }",
        "secret:\n        value: HERE",
        "secret: HERE",
        "secrt: HERE",
        "secert: { valu: HERE }",
        "{ secret: { value: HERE } }",
        "{ secret: { value: HERE, file: x } }",
        "password: HERE",
    ])
}

proptest! {
    #[test]
    fn no_secret_is_shown_among_signs(
        before in "[ {}\\[\\],:&!*|>%@`#?'\"<\\-x]{0,5}",
        after in "[ {}\\[\\],:&!*|>%@`#?'\"<\\-x]{0,5}",
        place in prop::sample::select(vec![
            "credential: { secret: { value: HERE } }",
            "credential: { secret: HERE }",
            "credential: HERE",
            "credential:\n      secret:\n        value: HERE",
            "client_secret: HERE",
        ]),
    ) {
        let text = place.replace("HERE", &format!("{before}{CANARY}{after}"));
        let text = with_credential(&format!("    {text}\n"));
        let told = everything(&text, &[]);
        prop_assert!(!told.contains(CANARY), "{}\n{}", text, told);
    }

    #[test]
    fn no_secret_is_shown_when_a_file_is_damaged_anywhere(
        spelling in spelling(),
        key in secret_key(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(vec!["\n", " ", "\t", "{", "}", "[", "]", ":", "\"", "'", "#", "&", "*", "|", "-", ",", "x"])), 0..4),
    ) {
        let key = key.replace("HERE", &spelling);
        let mut text = with_credential(&format!("    credential:\n      {key}\n"));
        for (at, what) in damage {
            // damage outside the words that name the secret and the secret itself
            let spots: Vec<usize> = (0..text.len())
                .filter(|at| text.is_char_boundary(*at))
                .filter(|at| !inside_word(&text, *at))
                .collect();
            if !spots.is_empty() {
                text.insert_str(spots[at.index(spots.len())], what);
            }
        }
        let told = everything(&text, &[]);
        prop_assert!(!told.contains(CANARY), "{}\n{}", text, told);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = everything(&text, &[]);
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "([ \\n\\t:{}\\[\\]'\"#&*!|>,?%@`~\\-]|[a-z]{1,3}|routes|match|- |: |é|\u{feff}|\r){0,60}") {
        let _ = everything(&text, &[]);
    }

    #[test]
    fn no_damaged_configuration_makes_it_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<char>()), 1..6),
    ) {
        let mut text = include_str!("../../../config/reference.yaml").to_owned();
        for (at, what) in damage {
            let spots: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            text.insert(spots[at.index(spots.len())], what);
        }
        let _ = everything(&text, &[]);
    }

    #[test]
    fn no_variable_makes_it_panic(name in "OBO__[A-Z0-9_.\\[\\]-]{0,30}", value in "\\PC{0,20}") {
        let _ = everything(FINE, &[(name.as_str(), value.as_str())]);
    }
}

/// Whether `at` is inside a word: a damaged `secret` or canary is no longer one.
fn inside_word(text: &str, at: usize) -> bool {
    let word = |character: char| character.is_alphanumeric() || character == '_';
    let before = text[..at].chars().next_back().is_some_and(word);
    let after = text[at..].chars().next().is_some_and(word);
    before && after
}
