//! `cache.redis`: a table of what is written wrongly, and how it is told.

use crate::config::tests::FINE;
use crate::config::tests::lines;
use crate::config::tests::redis::KEY;
use crate::config::tests::redis::redis;
use crate::config::tests::redis::with_key;
use crate::config::tests::redis::written;
use crate::config::tests::told;

#[track_caller]
fn each_is_told_alone(cases: &[(String, &str)]) {
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let told = lines(text);
        // one mistake, one problem
        if told.len() != 1 || told[0] != *expected {
            wrong.push(format!("{text}\nexpected {expected}\ntold     {told:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn exactly_one_way_to_the_servers_is_written() {
    const KINDS: &str = "[write exactly one of url, cluster and sentinel]";
    let none = format!("12:3 error: this names no server {KINDS}");
    let several = format!("12:3 error: this says more than once where the servers are {KINDS}");
    let sentinel = "sentinel: { urls: redis://s, master: m }";
    each_is_told_alone(&[
        (with_key("timeout: 1s"), &none),
        (with_key("url: rediss://r, cluster: rediss://r"), &several),
        (with_key(&format!("url: rediss://r, {sentinel}")), &several),
        (with_key(&format!("cluster: rediss://r, {sentinel}")), &several),
        (with_key("cluster: []"), "12:12 error: this list is empty [write one server at least]"),
        (
            with_key("cluster: [rediss://a, rediss://b, redis://c]"),
            "12:46 error: some of these servers are spoken to over TLS, and some are not [write rediss:// for all, or redis:// for all]",
        ),
        (
            with_key("sentinel: { urls: [], master: m }"),
            "12:24 error: this list is empty [write one server at least]",
        ),
        (
            with_key("sentinel: { urls: [redis://a, rediss://b], master: m }"),
            "12:42 error: some of these servers are spoken to over TLS, and some are not [write rediss:// for all, or redis:// for all]",
        ),
        (
            with_key("sentinel: { urls: redis://s }"),
            "12:12 error: `master` is missing in `cache.redis.sentinel` [write what the sentinels call it, as in master: mymaster]",
        ),
        (
            with_key("sentinel: { master: m }"),
            "12:12 error: `urls` is missing in `cache.redis.sentinel` [write where the sentinels are, as in urls: [rediss://sentinel-0:26379]]",
        ),
        (
            with_key("sentinel: { urls: redis://s, master: my master }"),
            "12:49 error: `my master` is not the name of a master",
        ),
        (
            with_key("sentinel: { urls: redis://s, master: m, database: 2147483648 }"),
            "12:62 error: `2147483648` is not the number of a database",
        ),
        (
            with_key("sentinel: { urls: redis://s, master: m, database: one }"),
            "12:62 error: `one` is not a whole number",
        ),
        (
            with_key("sentinel: { urls: redis://s, master: m, master_tls: maybe }"),
            "12:64 error: `maybe` is not `true` or `false`",
        ),
        (with_key("urll: rediss://r"), "12:12 error: unknown setting `urll` [did you mean `url`?]"),
        (
            written("rediss://redis"),
            "12:10 error: `***` is not a map [write { url: rediss://HOST, encryption_keys: [{ file: PATH }] }]",
        ),
        (
            with_key("sentinel: rediss://s"),
            "12:22 error: `***` is not a map [write { urls: [rediss://HOST], master: NAME }]",
        ),
        (with_key("url: [rediss://r]"), "12:12 error: a list is not a text"),
    ]);
}

#[test]
fn a_url_that_cannot_be_used_is_told_with_what_to_write() {
    const FORM: &str = "[write it as rediss://host or rediss://host:port, or with redis:// for no TLS]";
    const SCHEME: &str = "[write rediss://, or redis:// for no TLS]";
    const LOGIN: &str = "[write `username` and `password: { file: PATH }` beside it]";
    const HOST: &str = "[write a name or an address; of version 6 in brackets, as in rediss://[::1]:6379]";
    const PORT: &str = "[write a number up to 65535, as in rediss://host:6379]";
    const DATABASE: &str = "[write rediss://host:port/1 for database 1; without a path it is 0]";
    let used = "cannot be used:";
    let masked = format!("`***` {used} a user name or password does not belong in a URL {LOGIN}");
    let scheme = |url: &str| format!("`{url}` {used} the scheme must be redis or rediss {SCHEME}");
    let missing = |url: &str| format!("`{url}` {used} the host is missing {FORM}");
    let host = |url: &str| format!("`{url}` {used} this is not a host {HOST}");
    let port = |url: &str| format!("`{url}` {used} this is not a port {PORT}");
    let number = |url: &str| format!("`{url}` {used} its path is not the number of a database {DATABASE}");
    let cases: Vec<(&str, String)> = vec![
        ("redis", format!("`redis` is not a URL {FORM}")),
        ("redis:6379", format!("`redis:6379` is not a URL {FORM}")),
        ("", format!("`` is not a URL {FORM}")),
        ("https://redis", scheme("https://redis")),
        ("valkeys://redis", scheme("valkeys://redis")),
        ("REDIS://redis", scheme("REDIS://redis")),
        ("unix:///run/redis.sock", scheme("unix:///run/redis.sock")),
        ("redis://obo:hunter2@redis", masked.clone()),
        ("redis://:hunter2@redis/0", masked.clone()),
        ("redis://hunter2@redis", masked.clone()),
        ("redis://obo:hun/t?er#2@redis", masked.clone()),
        ("redis://", missing("redis://")),
        ("redis:///0", missing("redis:///0")),
        ("redis://:6379", missing("redis://:6379")),
        ("redis://re dis", host("redis://re dis")),
        ("redis://rédis", host("redis://rédis")),
        ("redis://a,redis", host("redis://a,redis")),
        ("redis://::1", host("redis://::1")),
        ("redis://::1:6379", host("redis://::1:6379")),
        ("redis://[127.0.0.1]", host("redis://[127.0.0.1]")),
        ("redis://[::1", host("redis://[::1")),
        ("redis://redis:", port("redis://redis:")),
        ("redis://redis:70000", port("redis://redis:70000")),
        ("redis://redis:+1", port("redis://redis:+1")),
        ("redis://[::1]x", port("redis://[::1]x")),
        ("redis://redis:0", format!("`redis://redis:0` {used} port 0 cannot be connected to {FORM}")),
        ("redis://redis/zero", number("redis://redis/zero")),
        ("redis://redis/-1", number("redis://redis/-1")),
        ("redis://redis/0/1", number("redis://redis/0/1")),
        ("redis://redis//", number("redis://redis//")),
        ("redis://redis/2147483648", number("redis://redis/2147483648")),
        ("redis://redis/0?protocol=resp3", format!("`***` {used} a query does not belong here {FORM}")),
        ("redis://redis#insecure", format!("`***` {used} a fragment does not belong here {FORM}")),
    ];
    let expected: Vec<(String, String)> = cases
        .into_iter()
        .map(|(url, told)| (with_key(&format!("url: '{url}'")), format!("12:17 error: {told}")))
        .collect();
    let borrowed: Vec<(String, &str)> =
        expected.iter().map(|(text, told)| (text.clone(), told.as_str())).collect();
    each_is_told_alone(&borrowed);

    let path = "a path does not belong here";
    each_is_told_alone(&[
        (
            with_key("cluster: [rediss://a, rediss://b/0]"),
            &format!(
                "12:34 error: `rediss://b/0` {used} {path} [a cluster has no numbered databases: leave the path out]"
            ),
        ),
        (
            with_key("sentinel: { urls: rediss://s/1, master: m }"),
            &format!(
                "12:30 error: `rediss://s/1` {used} {path} [the number of the database is written as `database`, beside `urls`]"
            ),
        ),
        (with_key("cluster: [rediss://a, 'rediss://u:hunter2@b']"), &format!("12:34 error: {masked}")),
    ]);
}

#[test]
fn encryption_keys_are_long_and_differ() {
    const MAKE_ONE: &str = "make one with `openssl rand -base64 32`";
    let keys = |keys: &str| written(&format!("{{ url: rediss://r, encryption_keys: {keys} }}"));
    let files = |count: usize| {
        let files: Vec<String> = (0..count).map(|file| format!("{{ file: /{file} }}")).collect();
        keys(&format!("[{}]", files.join(", ")))
    };
    let short = format!("error: this encryption key is shorter than 32 bytes [{MAKE_ONE}]");
    let nowhere = "error: this says nowhere what the secret is [write exactly one of file, env and value]";
    assert_eq!(lines(&files(4)), [""; 0]);
    each_is_told_alone(&[
        (
            written("{ url: rediss://r }"),
            &format!(
                "12:3 error: `encryption_keys` is missing in `cache.redis` [write encryption_keys: [{{ file: PATH }}], and {MAKE_ONE}]"
            ),
        ),
        (keys("[]"), &format!("12:29 error: this list is empty [write [{{ file: PATH }}], and {MAKE_ONE}]")),
        (
            files(5),
            "12:29 error: there are more than 4 encryption keys [two are enough to replace one by the other]",
        ),
        (
            keys("[{ file: /k }, { file: /l }, { file: /k }]"),
            "12:83 error: this is the same encryption key as that of config.yaml:12 [leave one of them out]",
        ),
        (keys("[{}]"), &format!("12:47 {nowhere}")),
        (keys("{ file: '' }"), "12:54 error: this must be the path of a file"),
        (
            keys("[{ env: NOT_THERE }]"),
            "12:54 error: the environment variable `NOT_THERE` is not set [set it to the secret itself, or write { file: PATH }]",
        ),
        (
            keys("/run/secrets/key"),
            "12:46 error: `***` is not a list of secrets [write { file: PATH } or { env: NAME }]",
        ),
        (
            keys("[/run/secrets/key]"),
            "12:47 error: `***` is not a map [write { file: PATH } or { env: NAME }]",
        ),
        (
            with_key("url: rediss://r, password: hunter2"),
            "12:39 error: `***` is not a map [write { file: PATH } or { env: NAME }]",
        ),
    ]);
    let in_environment = |key: &str| told(&keys("{ env: K }"), &[("K", key)]);
    assert!(in_environment(&KEY[1..]).contains("shorter than 32 bytes"));
    assert_eq!(in_environment(KEY), "");
    let value = lines(&keys(&format!("[{{ value: {} }}]", &KEY[1..])));
    let warning = "12:56 warning: a secret stands in the configuration itself: whoever can read that has it \
                   [write { file: PATH } or { env: NAME }]";
    assert_eq!(value, [format!("12:56 {short}"), warning.to_owned()]);
    let twice = told(&keys(&format!("[{{ env: K }}, {{ value: {KEY} }}]")), &[("K", KEY)]);
    assert!(twice.contains("error: this is the same encryption key") && !twice.contains(KEY), "{twice}");
}

#[test]
fn logins_and_times_that_are_probably_not_meant_are_told() {
    const SLOW: &str =
        "[while Redis is slow, every request whose token is not in memory waits for that long]";
    const CLEAR: &str = "warning: the password is sent without TLS: whoever shares the network can read it";
    const NO_TLS: &str = "warning: `tls` has no effect: these servers are spoken to without it";
    let password = "password: { file: /p }";
    let sentinel = |text: &str| format!("sentinel: {{ master: m, {text} }}");
    each_is_told_alone(&[
        (with_key("url: rediss://r, timeout: 0s"), "12:38 error: this must be longer than nothing"),
        (
            with_key("url: rediss://r, timeout: 5001ms"),
            &format!("12:38 error: this must be 5s at most {SLOW}"),
        ),
        (
            with_key("url: rediss://r, timeout: 5s"),
            &format!("12:38 warning: this is long for a look-up {SLOW}"),
        ),
        (
            with_key("url: rediss://r, timeout: 1001ms"),
            &format!("12:38 warning: this is long for a look-up {SLOW}"),
        ),
        (
            with_key("url: rediss://r, timeout: 50"),
            "12:38 error: `50` is not a duration: write a number and a unit, as in 250ms, 30s, 5m, 1h",
        ),
        (with_key(&format!("url: redis://r, {password}")), &format!("12:28 {CLEAR} [write rediss://]")),
        (
            with_key(&format!("cluster: [redis://127.0.0.1, redis://r], {password}")),
            &format!("12:53 {CLEAR} [write rediss://]"),
        ),
        (
            with_key(&sentinel(&format!("urls: redis://s, {password}, master_tls: true"))),
            &format!("12:52 {CLEAR} [write rediss:// in `urls`]"),
        ),
        (
            with_key(&format!("{}, {password}", sentinel("urls: rediss://s, master_tls: false"))),
            &format!("12:74 {CLEAR} [write `master_tls: true` in `sentinel`]"),
        ),
        (
            with_key("url: redis://127.0.0.1, tls: { ca: /ca }"),
            &format!("12:36 {NO_TLS} [write rediss://, or leave it out]"),
        ),
        (with_key("url: redis://r, tls: {}"), &format!("12:28 {NO_TLS} [write rediss://, or leave it out]")),
        (
            with_key(&sentinel("urls: redis://s, tls: { ca: /ca }")),
            &format!("12:52 {NO_TLS} [write rediss:// in `urls`, or leave it out]"),
        ),
        (
            with_key(&format!("{}, tls: {{ ca: /ca }}", sentinel("urls: redis://s"))),
            &format!("12:54 {NO_TLS} [write `master_tls: true` in `sentinel`, or leave it out]"),
        ),
        (
            with_key("url: rediss://r, tls: { client_certificate: { file: /c } }"),
            "12:36 error: `key` is missing in `cache.redis.tls.client_certificate` [write the path of a PEM file with the private key]",
        ),
        (
            with_key("url: rediss://r, tls: { server_name: x }"),
            "12:36 error: unknown setting `server_name` [what can be set here: ca, client_certificate]",
        ),
        (
            with_key("url: rediss://r, username: obo"),
            "12:3 error: `password` is missing in `cache.redis` [a user needs one: write password: { file: PATH }, or leave `username` out]",
        ),
        (
            with_key(&format!("url: rediss://r, username: '', {password}")),
            "12:39 error: `` is not the name of a user",
        ),
        (
            with_key(&sentinel("urls: rediss://s, username: obo")),
            "12:12 error: `password` is missing in `cache.redis.sentinel` [a user needs one: write password: { file: PATH }, or leave `username` out]",
        ),
        (
            with_key("url: rediss://r, password: { file: /p, env: P }"),
            "12:29 error: this says more than once where the secret is [write exactly one of file, env and value]",
        ),
    ]);
    for fine in [
        "url: redis://localhost, password: { file: /p }",
        "url: redis://127.9.9.9, password: { file: /p }",
        "url: 'redis://[::1]', password: { file: /p }",
        "sentinel: { urls: redis://localhost, master: m, password: { file: /p } }, password: { file: /q }",
        "url: redis://redis",
        "url: rediss://r, timeout: 1s",
    ] {
        redis(fine);
    }
}

#[test]
fn an_item_of_a_list_is_not_set_by_its_number_and_the_setting_is_named() {
    let text =
        format!("{FINE}cache: {{ redis: {{ url: rediss://a, encryption_keys: [{{ file: /a }}] }} }}\n");
    for (variable, setting) in [
        ("OBO__CACHE__REDIS__ENCRYPTION_KEYS__0__FILE", "cache.redis.encryption_keys.0"),
        ("OBO__CACHE__REDIS__ENCRYPTION_KEYS__10__ENV", "cache.redis.encryption_keys.10"),
        (
            "OBO__IDENTITY_PROVIDERS__CONTOSO__CREDENTIAL__1__SECRET",
            "identity_providers.contoso.credential.1",
        ),
    ] {
        let told = told(&text, &[(variable, "hunter2")]);
        let expected = format!("error: unknown setting `{setting}`\n --> environment variable {variable}\n");
        assert!(told.starts_with(&expected) && told.contains("a list is written as a whole"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
