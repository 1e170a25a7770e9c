//! Where operators write secrets that belong elsewhere: what is said of such a file shows none of them.

use crate::config::load_text;
use crate::config::tests::FINE;
use crate::config::tests::secrets::CANARY;
use crate::config::tests::secrets::everything;

/// Below the identity provider of the fine configuration.
const IDENTITY_PROVIDER: [&str; 16] = [
    "parameters: { subject_token: CANARY }",
    "parameters: { a: [CANARY] }",
    "parameters: CANARY",
    "parameters: [CANARY]",
    "parametres: { a: CANARY }",
    "token: CANARY",
    "apitoken: CANARY",
    "sec: CANARY",
    "client_secret: CANARY",
    "proxy: http://u:CANARY@p:1",
    "proxy: http://CANARY@p:1",
    "proxy: socks5://CANARY@p",
    "entra: CANARY",
    "oidc: { issuer: 'https://id.example/#CANARY' }",
    "parameters: { subject_token: \"CANARY }",
    "parameters: { subject_token: 'CANARY",
];

/// Below its route.
const ROUTE: [&str; 39] = [
    "headers: { set: { x-api-key: CANARY } }",
    "headers: { set: { x-a: \"{claims.oid}CANARY\" } }",
    "headers: { set: { x-a: \"{CANARY\" } }",
    "headers: { set: { x-a: \"{claims.oid CANARY}\" } }",
    "headers: { set: { x-a: \"a\\nCANARY\" } }",
    "headers: { set: { x-a: éCANARY } }",
    "headers: { set: { x_a: CANARY } }",
    "headers: { set: { host: CANARY } }",
    "headers: { set: { connection: CANARY } }",
    "headers: { set: { authorization: Bearer CANARY } }",
    "headers: { set: { x-a: CANARY }, st: 1 }",
    "headers: { set: { x-a: 1, x-b: CANARY, x-a: 2 } }",
    "headers: { set: { x-a: a, x-a: CANARY } }",
    "headers: { set: { X-A: CANARY, x-a: CANARY } }",
    "headers: { set: [ { x-a: CANARY } ] }",
    "headers: { set: CANARY }",
    "headers: { st: { x-a: CANARY } }",
    "headers: { x-a: CANARY }",
    "headers: [ x-a: CANARY ]",
    "headers: CANARY",
    "header: { set: { x-a: CANARY } }",
    "headers: { set: { x-a: &CANARY b } }",
    "headers: { set: { x-a: *CANARY } }",
    "headers: { set: { x-a: !CANARY b } }",
    "headers: { set: { x-a: \"CANARY } }",
    "headers: { set: { x-a: 'CANARY",
    "headers: { set: { x-a: \"b\" CANARY } }",
    "headers: { set: { x-a: CANARY",
    "headers: { set: { x-a: @CANARY } }",
    "headers: { set: { x-a: `CANARY } }",
    "match: { path: /, headers: { x: CANARY } }",
    "match: { path: /, headers: { x: CANARY }, exakt: true }",
    "match: { path: /, header: { x: CANARY } }",
    "match: { path: /, headers: { x: \"CANARY\\n\" } }",
    "upstream: https://h/#CANARY",
    "upstream: https://u%3ACANARY%40h/",
    "upstream: https://h/?sig=CANARY",
    "cors: { origins: [\"https://u:CANARY@h\"] }",
    "cookie: CANARY",
];

/// At the top.
const TOP: [&str; 34] = [
    "jwt: CANARY",
    "token: CANARY",
    "pw: CANARY",
    "cookie: CANARY",
    "connection_string: CANARY",
    "sas: \"SharedAccessSignature sr=x&sig=CANARY\"",
    "dsn: \"postgres://u:CANARY@h\"",
    "api-key: CANARY",
    "bogus: [a, CANARY]",
    "bogus: { a: { b: CANARY } }",
    "bogus: |\n  CANARY\n",
    "admin: CANARY",
    "admin: { tokn: CANARY }",
    "admin: { bearer_token: CANARY }",
    "admin: [CANARY]",
    "cache: CANARY",
    "cache: { redis: CANARY }",
    "cache: { redis: { url: 'rediss://h', pasword: CANARY } }",
    "cache: { redis: { url: 'rediss://h/#CANARY' } }",
    "telemetry: CANARY",
    "telemetry: { traces: { otlp: 'http://h', headers: { x-key: CANARY } } }",
    "telemetry: { traces: { otlp: 'http://h', headers: x=CANARY } }",
    "telemetry: { traces: { otlp: 'http://h/?k=CANARY' } }",
    "defaults: { headers: { set: { x-a: CANARY }, st: 1 } }",
    "upstreams: { x: { ur: 'https://h/?a=CANARY' } }",
    "upstreams: { x: { url: 'http://h', jwt: CANARY } }",
    "listeners: CANARY",
    "bogus: 1 # CANARY",
    "x: y CANARY: z",
    "\tCANARY",
    "}CANARY",
    "bogus: \"\u{1}CANARY\"",
    "bogus: \\0CANARY",
    "bogus: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbCANARY",
];

#[test]
fn nothing_is_shown_of_a_value_that_may_be_a_secret_or_stands_where_none_belongs() {
    let after = |line: usize, text: &str| {
        let mut lines: Vec<&str> = FINE.lines().collect();
        lines.insert(line, text);
        lines.join("\n") + "\n"
    };
    let places = IDENTITY_PROVIDER.map(|text| after(5, &format!("    {text}"))).into_iter();
    let places = places.chain(ROUTE.map(|text| after(9, &format!("    {text}"))));
    let places = places.chain(TOP.map(|text| after(9, text)));
    let mut shown = Vec::new();
    for text in places.map(|text| text.replace("CANARY", CANARY)) {
        let written = load_text("config.yaml", &text, &[]).map(|loaded| loaded.config.written);
        let written = written.map(|written| format!("{}{}", written.to_yaml(), written.to_json()));
        let told = everything(&text, &[]) + &written.unwrap_or_default();
        if told.contains(CANARY) {
            shown.push(format!("{text}\n{told}"));
        }
    }
    assert!(shown.is_empty(), "{}: {}", shown.len(), shown.join("\n\n"));
}

#[test]
fn a_value_from_the_environment_that_stands_where_none_belongs_is_not_shown() {
    for variable in ["OBO__JWT", "OBO__ADMIN", "OBO__ROUTES__ORDERS__HEADER__X", "OBO__CACHE__REDIS"] {
        let told = everything(FINE, &[(variable, CANARY)]);
        assert!(told.contains(variable) && !told.contains(CANARY), "{variable}\n{told}");
    }
}

#[test]
fn where_a_file_cannot_be_parsed_the_settings_named_there_are_shown() {
    let told = everything(&FINE.replace("match: /", "match: { path: /v1, headers: { x: \"y }"), &[]);
    assert!(told.contains("error: this is not YAML"), "{told}");
    let told = everything(&FINE.replace("match: /", "match: / upstream: here"), &[]);
    assert!(told.contains("    match: / upstream: ***\n"), "{told}");
}
