//! Who may look, and who may steer.

use bytes::Bytes;
use http::Method;
use http::Request;
use serde_json::json;

use crate::admin::PLACES;
use crate::admin::world;
use crate::admin::world_with;
use crate::support::raw;

const PURGE: &str = "/api/v1/cache/purge";
const LEVEL: &str = "/api/v1/log_level";
const BODY: &str = "{\"user\":\"0123456789abcdef\"}";

#[tokio::test]
async fn what_is_not_meant_changes_nothing() {
    let world = world().await;
    world.get("/orders", &world.token("alice")).await;
    let own = format!("http://{}", world.admin.unwrap());
    let meant = [("x-obo-admin", "1"), ("content-type", "application/json")];
    for (more, status) in [
        (&[][..], 200),
        (&[("origin", own.as_str()), ("sec-fetch-site", "same-origin")], 200),
        (&[("host", "localhost:9901")], 200),
        (&[("x-obo-admin", "")], 403),
        (&[("x-obo-admin", "yes")], 403),
        (&[("origin", "https://evil.example")], 403),
        (&[("origin", "null")], 403),
        (&[("sec-fetch-site", "cross-site")], 403),
        (&[("sec-fetch-site", "same-site")], 403),
        (&[("content-type", "text/plain")], 415),
        (&[("content-type", "application/x-www-form-urlencoded")], 415),
        (&[("content-type", "multipart/form-data; boundary=x")], 415),
        (&[("host", "evil.example")], 421),
        (&[("host", "127.0.0.1.evil.example:9901")], 421),
    ] {
        for (path, body) in [(PURGE, BODY), (LEVEL, "{\"level\":null}")] {
            let mut request = Request::post(world.admin_url(path));
            for (name, value) in
                meant.iter().filter(|(name, _)| !more.iter().any(|(own, _)| own == name)).chain(more)
            {
                request = request.header(*name, *value);
            }
            let answer = world.send_body(request, Bytes::from(body)).await;
            // in a test there is no log to turn
            let expected = if path == LEVEL && status == 200 { 409 } else { status };
            assert_eq!(answer.status, expected, "{path} {more:?} {answer:?}");
            if expected >= 400 {
                assert_eq!(answer.json()["status"], expected);
            }
        }
    }
    assert_eq!(world.json("cache").await["memory"]["entries"], 1);
}

#[tokio::test]
async fn pages_whose_name_was_pointed_here_read_nothing() {
    let world = world().await;
    for place in PLACES {
        for (host, status) in
            [("evil.example", 421), ("evil.example:9901", 421), ("[::1]:9901", 200), ("LOCALHOST", 200)]
        {
            let answer = world.send(Request::get(world.admin_url(place)).header("host", host)).await;
            assert_eq!(answer.status, status, "{place} {host}");
        }
    }
    let admin = world.admin.unwrap();
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@localhost\r\nConnection: close\r\n\r\n",
    ] {
        let answer = raw(admin, request).await;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        assert!(["400", "421"].contains(&status), "{request}\n{answer}");
    }
}

#[tokio::test]
async fn each_place_has_its_methods() {
    let world = world().await;
    for (method, path, status, allow) in [
        (Method::POST, "/", 405, "GET, HEAD"),
        (Method::DELETE, "/api/v1/status", 405, "GET, HEAD"),
        (Method::OPTIONS, "/api/v1/status", 405, "GET, HEAD"),
        (Method::GET, PURGE, 405, "POST"),
        (Method::PUT, LEVEL, 405, "POST"),
        (Method::OPTIONS, PURGE, 405, "POST"),
        (Method::GET, "/metrics", 404, ""),
        (Method::GET, "/api/v1/status/", 404, ""),
        (Method::GET, "//", 404, ""),
    ] {
        let answer = world.send(Request::builder().method(method.clone()).uri(world.admin_url(path))).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (status, allow), "{method} {path}");
    }
}

#[tokio::test]
async fn bodies_are_short_and_come_in_time() {
    let world = world().await;
    let long = json!({ "user": "a".repeat(5000) });
    assert_eq!(world.steer(PURGE, &long).await.status, 413);
    let head = format!(
        "POST {PURGE} HTTP/1.1\r\nHost: localhost\r\nX-Obo-Admin: 1\r\nContent-Type: application/json\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(world.admin.unwrap(), &head).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn where_there_is_a_token_it_must_be_shown() {
    let world = world_with("admin: { address: \"0.0.0.0:0\", token: { value: s3cret-of-admins } }").await;
    let url = format!("http://127.0.0.1:{}", world.admin.unwrap().port());
    for (authorization, status) in [
        ("", 401),
        ("Bearer wrong", 401),
        ("Basic YTp3cm9uZw==", 401),
        ("Bearer s3cret-of-admins", 200),
        // anyone:s3cret-of-admins
        ("Basic YW55b25lOnMzY3JldC1vZi1hZG1pbnM=", 200),
    ] {
        for place in PLACES {
            let request = Request::get(format!("{url}{place}")).header("host", "obo.prod.svc");
            let request = if authorization.is_empty() {
                request
            } else {
                request.header("authorization", authorization)
            };
            let answer = world.send(request).await;
            assert_eq!(answer.status, status, "{authorization} {place}");
            let challenges = answer.headers.get_all("www-authenticate").iter().count();
            assert_eq!(challenges, if status == 401 { 2 } else { 0 });
            assert!(!String::from_utf8_lossy(&answer.body).contains("s3cret-of"), "{place}");
        }
    }
    // to know it is not to mean it
    let request = Request::post(format!("{url}{PURGE}")).header("authorization", "Bearer s3cret-of-admins");
    assert_eq!(world.send_body(request, Bytes::from(BODY)).await.status, 403);
}
