//! Redis, real, with one fault each.

use crate::doctor::Around;
use crate::doctor::GOOD;
use crate::doctor::Said;
use crate::doctor::examined_with;
use crate::doctor::file;
use crate::support::redis::Redis;

async fn seen_with(around: &Around, members: &str, key: &str) -> Said {
    let cache = format!("cache: {{ redis: {{ encryption_keys: [{{ file: {key} }}], {members} }} }}");
    let environment = [("PASSWORD", "hunter2-of-obo"), ("WRONG", "hunter2-is-wrong")];
    examined_with(&around.config(GOOD, &cache), &["--only", "redis"], &environment).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_in_which_redis_refuses_is_told_apart() {
    let around = Around::new().await;
    let (_directory, key) = file("key", "a secret of more than thirty-two characters\n");
    let mut redis = Redis::start();
    let (url, place) = (format!("url: \"{}\"", redis.url()), format!("tcp 127.0.0.1:{}", redis.port()));
    let user = |commands: &str| {
        let words = format!("ACL SETUSER obo reset on >hunter2-of-obo ~obo:* resetchannels -@all {commands}");
        redis.command::<()>(&words.split_whitespace().collect::<Vec<_>>());
    };
    // what the page on the shared cache grants is enough
    user("+getrange +set +del");
    let login = format!("{url}, username: obo, password: {{ env: PASSWORD }}");
    let said = seen_with(&around, &login, &key).await;
    assert_eq!((said.code, said.failed()), (0, vec![]), "{:#}", said.document);

    let wrong = format!("{url}, username: obo, password: {{ env: WRONG }}");
    let said = seen_with(&around, &wrong, &key).await;
    assert_eq!((said.code, said.failed()), (1, vec!["login"]), "{:#}", said.document);
    assert!(said.remedy("redis", "login").contains("password"));

    user("+getrange +del");
    let said = seen_with(&around, &login, &key).await;
    assert_eq!((said.code, said.failed()), (1, vec!["SET"]), "{:#}", said.document);
    assert!(said.remedy("redis", "SET").contains("ACL SETUSER obo"));

    let (_other, short) = file("key", "short\n");
    let said = seen_with(&around, &login, &short).await;
    assert_eq!((said.code, said.failed()), (1, vec!["encryption keys"]));
    assert!(said.seen("redis", "encryption keys").contains("openssl rand"), "{:#}", said.document);

    redis.kill();
    let said = seen_with(&around, &login, &key).await;
    assert_eq!((said.code, said.failed()), (69, vec![place.as_str()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_a_password_says_so() {
    let around = Around::new().await;
    let (_directory, key) = file("key", "a secret of more than thirty-two characters\n");
    let redis = Redis::guarded("hunter2-of-obo");
    let said = seen_with(&around, &format!("url: \"{}\"", redis.url()), &key).await;
    assert_eq!(said.code, 1, "{:#}", said.document);
    assert_eq!(said.failed(), vec!["login"], "{:#}", said.document);
    assert!(said.remedy("redis", "login").contains("`cache.redis.password`"), "{:#}", said.document);
}
