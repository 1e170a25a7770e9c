//! `cache.redis`: what is written well, and a table of what is not.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Redis;
use crate::config::RedisServer;
use crate::config::SecretSource;
use crate::config::Topology;
use crate::config::Transport;
use crate::config::load;
use crate::config::load_text;
use crate::config::tests::FINE;
use crate::config::tests::config;
use crate::config::tests::env;
use crate::config::tests::lines;
use crate::config::tests::told;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const CANARY: &str = "hunter2canary";

/// A configuration with that `cache.redis`, on line 12 from column 10.
fn written(redis: &str) -> String {
    format!("{FINE}cache:\n  redis: {redis}\n")
}

/// The same, with an encryption key after `redis`, which begins in column 12.
fn with_key(redis: &str) -> String {
    written(&format!("{{ {redis}, encryption_keys: [{{ file: /k }}] }}"))
}

fn redis_in(text: &str, environment: &[(&str, &str)]) -> Arc<Redis> {
    match load_text("config.yaml", text, &env(environment)) {
        Ok(loaded) => loaded.config.cache.redis.unwrap(),
        Err(report) => panic!("{report}"),
    }
}

/// The tier that is written so, without a complaint.
fn redis(redis: &str) -> Arc<Redis> {
    let text = with_key(redis);
    assert_eq!(lines(&text), [""; 0], "{text}");
    redis_in(&text, &[])
}

fn server(host: &str, port: u16, transport: Transport) -> RedisServer {
    RedisServer { host: host.into(), port, transport }
}

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
fn without_it_tokens_are_kept_in_memory_only() {
    for text in ["", "cache: { max_entries: 5 }\n", "cache: { redis: }\n"] {
        assert!(config(&format!("{FINE}{text}")).cache.redis.is_none(), "{text}");
    }
}

#[test]
fn one_server_is_written_in_four_lines() {
    let text = format!(
        "{FINE}cache:
  redis:
    url: rediss://redis:6380/0
    password: {{ file: /run/secrets/redis }}
    encryption_keys: [{{ file: /run/secrets/cache_key }}]
    timeout: 50ms
"
    );
    assert_eq!(lines(&text), [""; 0]);
    let redis = redis_in(&text, &[]);
    let Topology::Standalone { server: found, database } = &redis.topology else { panic!("one server") };
    assert_eq!((found, *database), (&server("redis", 6380, Transport::Tls), 0));
    let file = |path: &str| SecretSource::File(path.into());
    assert_eq!(redis.login.password, Some(file("/run/secrets/redis")));
    assert_eq!(
        (&redis.login.username, &redis.login.ca, &redis.login.client_certificate),
        (&None, &None, &None)
    );
    assert_eq!(redis.encryption_keys, [file("/run/secrets/cache_key")]);
    assert_eq!(redis.timeout, Duration::from_millis(50));
}

#[test]
fn a_url_names_host_port_and_database() {
    for (url, host, port, transport, number) in [
        ("redis://127.0.0.1", "127.0.0.1", 6379, Transport::Plain, 0),
        ("rediss://redis", "redis", 6379, Transport::Tls, 0),
        ("rediss://redis/", "redis", 6379, Transport::Tls, 0),
        ("rediss://cache_1.svc.example:1/15", "cache_1.svc.example", 1, Transport::Tls, 15),
        ("rediss://redis:65535/2147483647", "redis", 65535, Transport::Tls, 2_147_483_647),
        ("redis://[::1]:6380/3", "::1", 6380, Transport::Plain, 3),
        ("rediss://[2001:db8::1]", "2001:db8::1", 6379, Transport::Tls, 0),
    ] {
        let redis = redis(&format!("url: '{url}'"));
        let Topology::Standalone { server: found, database } = &redis.topology else { panic!("{url}") };
        assert_eq!((found, *database), (&server(host, port, transport), number), "{url}");
        assert_eq!(redis.timeout, Duration::from_millis(50));
    }
}

#[test]
fn a_cluster_is_one_server_or_several() {
    for (urls, expected) in [
        ("rediss://a", vec![server("a", 6379, Transport::Tls)]),
        (
            "['redis://a:1', 'redis://[::1]:2/']",
            vec![server("a", 1, Transport::Plain), server("::1", 2, Transport::Plain)],
        ),
    ] {
        let Topology::Cluster(servers) = &redis(&format!("cluster: {urls}")).topology else {
            panic!("{urls}")
        };
        assert_eq!(*servers, expected);
    }
}

#[test]
fn sentinels_have_a_login_of_their_own() {
    let whole = redis(
        "username: obo, password: { file: /p }, tls: { ca: /ca }, sentinel: { urls: [rediss://s0, rediss://s1:1], \
         master: mymaster, username: watcher, password: { file: /w }, database: 4, \
         tls: { ca: system, client_certificate: { file: /c, key: /k } } }",
    );
    let Topology::Sentinel { sentinels, login, master, database, transport } = &whole.topology else {
        panic!("sentinels")
    };
    assert_eq!(*sentinels, [server("s0", 26379, Transport::Tls), server("s1", 1, Transport::Tls)]);
    assert_eq!((master.as_str(), *database, *transport), ("mymaster", 4, Transport::Tls));
    assert_eq!(login.username.as_deref(), Some("watcher"));
    assert_eq!(login.password, Some(SecretSource::File("/w".into())));
    assert_eq!((&login.ca, &login.client_certificate), (&None, &Some(("/c".into(), "/k".into()))));
    assert_eq!(whole.login.username.as_deref(), Some("obo"));
    assert_eq!(whole.login.password, Some(SecretSource::File("/p".into())));
    assert_eq!((whole.login.ca.as_deref(), &whole.login.client_certificate), (Some(Path::new("/ca")), &None));

    for (sentinel, expected) in [
        ("urls: redis://s", Transport::Plain),
        ("urls: redis://s, master_tls: true", Transport::Tls),
        ("urls: rediss://s, master_tls: false", Transport::Plain),
    ] {
        let redis = redis(&format!("sentinel: {{ {sentinel}, master: m }}"));
        let Topology::Sentinel { login, database, transport, .. } = &redis.topology else {
            panic!("sentinels")
        };
        assert_eq!((*transport, *database), (expected, 0), "{sentinel}");
        assert!(login.username.is_none() && login.password.is_none(), "{sentinel}");
    }
}

#[test]
fn an_encryption_key_is_in_a_file_a_variable_or_here() {
    let keys = |keys: &str, environment: &[(&str, &str)]| {
        let text = written(&format!("{{ url: rediss://r, encryption_keys: {keys} }}"));
        redis_in(&text, environment).encryption_keys.clone()
    };
    let here = |text: &str| SecretSource::Here(crate::domain::secret::Secret::new(text.into()));
    let file = |path: &str| SecretSource::File(path.into());
    let other = KEY.replace('0', "x");
    assert_eq!(keys("{ file: /k }", &[]), [file("/k")]);
    assert_eq!(keys("[{ file: /k }, { env: K }]", &[("K", &format!("{KEY}\n"))]), [file("/k"), here(KEY)]);
    assert_eq!(
        keys(&format!("[{{ value: {other} }}, {{ env: K }}, {{ file: /a }}, {{ file: /b }}]"), &[("K", KEY)]),
        [here(&other), here(KEY), file("/a"), file("/b")]
    );
}

#[test]
fn the_environment_can_say_all_of_it() {
    let urls = "redis://127.0.0.1:7000,redis://127.0.0.1:7001";
    let redis = redis_in(
        FINE,
        &[
            ("OBO__CACHE__REDIS__CLUSTER", urls),
            ("OBO__CACHE__REDIS__PASSWORD__ENV", "PASSWORD"),
            ("PASSWORD", "p"),
            ("OBO__CACHE__REDIS__ENCRYPTION_KEYS__VALUE", KEY),
            ("OBO__CACHE__REDIS__TIMEOUT", "1s"),
        ],
    );
    assert!(matches!(&redis.topology, Topology::Cluster(servers) if servers.len() == 2));
    assert!(matches!(&redis.login.password, Some(SecretSource::Here(secret)) if secret.expose() == "p"));
    assert!(matches!(&redis.encryption_keys[..], [SecretSource::Here(key)] if key.expose() == KEY));
    assert_eq!(redis.timeout, Duration::from_secs(1));
    // what is written is replaced as a whole
    let text = with_key("url: rediss://redis/1");
    let redis = redis_in(&text, &[("OBO__CACHE__REDIS__URL", "rediss://other:1")]);
    let Topology::Standalone { server: found, database } = &redis.topology else { panic!("one server") };
    assert_eq!((found, *database), (&server("other", 1, Transport::Tls), 0));
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
            "12:10 error: `rediss://redis` is not a map [write { url: rediss://HOST, encryption_keys: [{ file: PATH }] }]",
        ),
        (
            with_key("sentinel: rediss://s"),
            "12:22 error: `rediss://s` is not a map [write { urls: [rediss://HOST], master: NAME }]",
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
        (
            "redis://redis#insecure",
            format!("`redis://redis#insecure` {used} a fragment does not belong here {FORM}"),
        ),
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
fn no_secret_of_it_is_shown() {
    let everything =
        |text: &str, environment: &[(&str, &str)]| match load_text("config.yaml", text, &env(environment)) {
            Ok(loaded) => format!("{loaded:?}"),
            Err(report) => format!("{report}\n{report:?}\n{}", report.to_json()),
        };
    let long = format!("{CANARY}{KEY}");
    for text in [
        "{ url: redis://obo:CANARY@redis }",
        "{ url: redis://CANARY@redis }",
        "{ url: redis://:CANARY@redis/0, timeout: 1 }",
        "{ url: rediss:obo:CANARY@redis }",
        "{ url: obo:CANARY@redis }",
        "{ url: CANARY@redis:6379 }",
        "{ uri: redis://obo:CANARY@redis }",
        "{ url: 'redis://redis?password=CANARY' }",
        "{ url: [redis://obo:CANARY@redis] }",
        "{ cluster: [redis://redis, redis://obo:CANARY@redis] }",
        "{ sentinel: { urls: redis://obo:CANARY@redis } }",
        "redis://obo:CANARY@redis",
        "[redis://obo:CANARY@redis]",
        "{ url: rediss://r, password: CANARY }",
        "{ url: rediss://r, password: [CANARY] }",
        "{ url: rediss://r, password: { value: CANARY }, x: 1 }",
        "{ url: rediss://r, password: { vale: CANARY } }",
        "{ url: rediss://r, pasword: CANARY }",
        "{ url: rediss://r, sentinel: { password: { value: CANARY } } }",
        "{ url: rediss://r, encryption_keys: CANARY }",
        "{ url: rediss://r, encryption_keys: [CANARY] }",
        "{ url: rediss://r, encryption_keys: [{ value: CANARY }] }",
        "{ url: rediss://r, encryption_keys: { value: CANARY, file: x } }",
        "{ url: rediss://r, encryption_key: CANARY }",
        "{ url: rediss://r, encryption_keys: [{ value: LONG }], password: { value: CANARY } }",
    ] {
        let text = written(&text.replace("CANARY", CANARY).replace("LONG", &long));
        let told = everything(&text, &[]);
        assert!(!told.contains(CANARY), "{text}\n{told}");
    }
    let fine = with_key("timeout: 1s");
    for (variable, value) in [
        ("OBO__CACHE__REDIS__URL", "redis://obo:CANARY@redis"),
        ("OBO__CACHE__REDIS__URL", "obo:CANARY@redis"),
        ("OBO__CACHE__REDIS__CLUSTER", "redis://redis,redis://obo:CANARY@redis"),
        ("OBO__CACHE__REDIS__SENTINEL__URLS", "redis://obo:CANARY@redis"),
        ("OBO__CACHE__REDIS__PASSWORD", "CANARY"),
        ("OBO__CACHE__REDIS__SENTINEL__PASSWORD__VALUE", "CANARY"),
        ("OBO__CACHE__REDIS__ENCRYPTION_KEYS", "CANARY"),
        ("OBO__CACHE__REDIS__ENCRYPTION_KEYS__VALUE", "CANARY"),
        ("OBO__CACHE__REDIS", "redis://obo:CANARY@redis"),
    ] {
        let value = value.replace("CANARY", CANARY);
        for text in [FINE, &fine] {
            let all = everything(text, &[(variable, &value)]);
            assert!(all.contains("error: ") && !all.contains(CANARY), "{variable}\n{all}");
        }
        assert!(told(&fine, &[(variable, &value)]).contains(variable), "{variable}");
    }
}

#[test]
fn every_file_of_it_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("config.yaml");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "hunter2").unwrap();
    let warned = |redis: &str| {
        let fine = FINE.replace("/run/secrets/client_secret", secret.to_str().unwrap());
        std::fs::write(&file, format!("{fine}cache:\n  redis: {redis}\n")).unwrap();
        let warnings = load(std::slice::from_ref(&file), &[]).unwrap().warnings;
        for warning in &warnings {
            assert!(warning.message.starts_with("the file cannot be read: "), "{warning}");
            assert_eq!(warning.help.as_deref(), Some("no token is shared until it can be read"));
        }
        warnings.iter().map(|warning| warning.to_json()["column"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let key = format!("encryption_keys: [{{ file: {} }}]", secret.display());
    assert_eq!(warned(&format!("{{ url: rediss://r, {key} }}")), [0; 0]);
    assert_eq!(
        warned("{ url: rediss://r, encryption_keys: [{ file: /nonexistent/k }, { file: /nonexistent/l }] }"),
        [55, 81]
    );
    assert_eq!(warned(&format!("{{ url: rediss://r, password: {{ file: /nonexistent/p }}, {key} }}")), [47]);
    let certificates =
        "tls: { ca: /nonexistent/ca, client_certificate: { file: /nonexistent/c, key: /nonexistent/k } }";
    assert_eq!(warned(&format!("{{ url: rediss://r, {certificates}, {key} }}")), [40, 85, 106]);
    let sentinel = format!("{{ sentinel: {{ urls: rediss://s, master: m, {certificates} }}, {key} }}");
    assert_eq!(warned(&sentinel).len(), 3);
    // nothing is encrypted, and nothing is read
    let told = lines(&with_key(&format!("url: redis://127.0.0.1, {certificates}")));
    assert!(told.len() == 1 && told[0].contains("`tls` has no effect"), "{told:?}");
}
