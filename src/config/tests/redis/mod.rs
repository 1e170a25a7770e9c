//! `cache.redis`: what it becomes, what of it is never shown, and which files are looked at.

mod mistakes;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Environment;
use crate::config::Look;
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
        let warnings = load(std::slice::from_ref(&file), &Environment::default(), Look::At).unwrap().warnings;
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
