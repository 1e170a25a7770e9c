//! A request head becomes the one route, or is refused.

use http::Method;
use http::StatusCode;

use crate::support::Plan;
use crate::support::World;

#[tokio::test]
async fn no_route_is_404() {
    let world = World::new().await;
    for path in ["/", "/ordersx", "/Orders", "/nothing"] {
        let answer = world.get(path, &world.token("alice")).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (404, "no_route"), "{path}");
    }
    assert_eq!(world.metric("obo_refusals_total{route=\"\",reason=\"no_route\"} ").await, Some(4.0));
}

#[tokio::test]
async fn what_was_matched_is_what_is_forwarded() {
    let world = World::new().await;
    let seen = world.get_anonymously("/%70ublic/a%20b/%c3%a9?x=%41&y=../..").await.json();
    assert_eq!(seen["path"], "/public/a%20b/%C3%A9?x=%41&y=../..");
}

#[tokio::test]
async fn the_most_specific_route_wins_whatever_the_order() {
    const SPECIFIC: &str = "
  prefix: { match: /a, auth: anonymous, rewrite: { strip_prefix: /a } }
  longer: { match: /a/b, auth: anonymous }
  exact: { match: { path: /a/b, exact: true }, auth: anonymous, rewrite: { strip_prefix: /a/b } }
  posted: { match: { path: /a/b, methods: [POST] }, auth: anonymous, rewrite: { strip_prefix: /a } }
  tagged: { match: { path: /a/b, headers: { x-channel: web } }, auth: anonymous, rewrite: { strip_prefix: /a/b } }
  hosted: { match: { host: \"*.shop.example\", path: / }, auth: anonymous }
";
    let world = World::with(Plan { routes: SPECIFIC, ..Plan::default() }).await;
    let path = async |request: http::request::Builder| world.send(request).await.json()["path"].clone();
    assert_eq!(path(world.request(Method::GET, "/a/x")).await, "/x");
    assert_eq!(path(world.request(Method::GET, "/a/b/c")).await, "/a/b/c");
    assert_eq!(path(world.request(Method::GET, "/a/b")).await, "/");
    assert_eq!(path(world.request(Method::POST, "/a/b/c")).await, "/b/c");
    assert_eq!(path(world.request(Method::GET, "/a/b/c").header("x-channel", "web")).await, "/c");
    assert_eq!(path(world.request(Method::GET, "/a/b").header("host", "www.shop.example:80")).await, "/a/b");
    assert_eq!(world.get_anonymously("/other").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_encoded_slash_passes_undecoded_where_it_is_kept() {
    const ROUTES: &str = "
  files: { match: /files, auth: anonymous, encoded_slashes: keep }
  other: { match: /other, auth: anonymous }
";
    let world = World::with(Plan { routes: ROUTES, ..Plan::default() }).await;
    assert_eq!(world.get_anonymously("/files/a%2fb").await.json()["path"], "/files/a%2Fb");
    assert_eq!(world.get_anonymously("/other/a%2fb").await.reason(), "invalid_path");
    assert_eq!(world.get_anonymously("/files/%2f..%2fother").await.reason(), "invalid_path");
}
