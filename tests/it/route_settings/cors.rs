//! `cors`: what browsers are told.

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::Response;
use obo_proxy::net::Body;

use crate::route_settings::upstream::Scripted;
use crate::route_settings::upstream::status;
use crate::route_settings::world;
use crate::support::Answer;
use crate::support::World;

const APP: &str = "https://app.example";
const EXPOSED: &str = "WWW-Authenticate, x-request-id";

/// An upstream that would share everything with everyone.
async fn generous() -> Scripted {
    Scripted::start(|_, _| async {
        let mut response: Response<Body> = status(200);
        for (name, value) in [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-credentials", "true"),
            ("access-control-expose-headers", "x-secret"),
            ("vary", "accept-encoding"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    })
    .await
}

async fn before(upstream: &Scripted) -> World {
    world(format!(
        "
  read: {{ match: {{ path: /api, methods: [GET, HEAD] }}, upstream: \"http://{0}\", require: {{ scopes: [orders.read] }}, exchange: {{ scopes: [api://orders-backend/orders.read] }}, cors: {{ origins: [{APP}, 'http://localhost:3000'] }} }}
  write: {{ match: {{ path: /api, methods: [PUT] }}, upstream: \"http://{0}\", token: remove, cors: {{ origins: ['https://admin.example'] }} }}
  own: {{ match: /own, upstream: \"http://{0}\", auth: anonymous }}
  open: {{ match: /open, upstream: \"http://{0}\", auth: anonymous, cors: {{ origins: '*' }}, limits: {{ request_body: 4B }} }}
  dead: {{ match: /dead, upstream: \"http://127.0.0.1:1\", auth: anonymous, cors: {{ origins: [{APP}] }} }}
",
        upstream.address()
    ))
    .await
}

async fn preflight(world: &World, path: &str, origin: &str, method: &str) -> Answer {
    let request = world
        .request(Method::OPTIONS, path)
        .header("origin", origin)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,x-a");
    world.send(request).await
}

/// The fields that browsers look at, sorted.
fn told(answer: &Answer) -> Vec<String> {
    let line = |name: &str, value: &HeaderValue| format!("{name}: {}", value.to_str().unwrap());
    let is_meant = |name: &str| name.starts_with("access-control-") || name == "vary";
    let meant = |headers: &HeaderMap| {
        let fields = headers.iter().filter(|(name, _)| is_meant(name.as_str()));
        fields.map(|(name, value)| line(name.as_str(), value)).collect::<Vec<_>>()
    };
    let mut lines = meant(&answer.headers);
    lines.sort_unstable();
    lines
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_token_for_the_route_of_the_method_it_asks_for() {
    let upstream = generous().await;
    let world = before(&upstream).await;
    let vary = "vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    let allowed = |origin: &str, methods: &str| {
        vec![
            "access-control-allow-headers: authorization, x-a".to_owned(),
            format!("access-control-allow-methods: {methods}"),
            format!("access-control-allow-origin: {origin}"),
            "access-control-max-age: 600".to_owned(),
            vary.to_owned(),
        ]
    };
    let nothing = vec![vary.to_owned()];
    for (path, origin, method, expected) in [
        ("/api/1", APP, "GET", allowed(APP, "GET, HEAD")),
        ("/api/1", "http://localhost:3000", "HEAD", allowed("http://localhost:3000", "GET, HEAD")),
        ("/api/1", APP, "PUT", nothing.clone()),
        ("/api/1", "https://admin.example", "PUT", allowed("https://admin.example", "PUT")),
        ("/api/1", "https://admin.example", "GET", nothing.clone()),
        ("/api/1", "null", "GET", nothing.clone()),
        ("/open", "https://anybody.example", "PATCH", allowed("*", "PATCH")),
    ] {
        let answer = preflight(&world, path, origin, method).await;
        assert_eq!((answer.status.as_u16(), told(&answer)), (204, expected), "{path} {origin} {method}");
        assert!(answer.body.is_empty() && answer.headers.contains_key("x-request-id"));
        assert!(!answer.headers.contains_key("www-authenticate"));
    }
    assert_eq!((upstream.count(), world.entra().token_requests()), (0, 0));
    // it is a request of the route all the same
    let requests = "http_server_request_duration_seconds_count{http_route=\"read\",http_request_method=\"OPTIONS\",http_response_status_code=\"204\"} ";
    assert_eq!(world.metric(requests).await, Some(4.0));
}

#[tokio::test]
async fn what_is_no_preflight_of_a_route_with_origins_goes_its_usual_way() {
    let upstream = generous().await;
    let world = before(&upstream).await;
    // a route that leaves it to its upstream
    let answer = preflight(&world, "/own", APP, "GET").await;
    assert_eq!((answer.status.as_u16(), upstream.count()), (200, 1));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    // no route takes the method, or the path has no one meaning
    assert_eq!(preflight(&world, "/api", APP, "DELETE").await.reason(), "no_route");
    assert_eq!(preflight(&world, "/api/..%2f", APP, "GET").await.reason(), "invalid_path");
    // an OPTIONS that announces nothing
    let plain = world.request(Method::OPTIONS, "/open").header("origin", APP);
    let answer = world.send(plain).await;
    assert_eq!((answer.status.as_u16(), upstream.count()), (200, 2));
    assert_eq!(upstream.seen()[1].method, Method::OPTIONS);
    let twice = world
        .request(Method::OPTIONS, "/open")
        .header("origin", APP)
        .header("access-control-request-method", "GET")
        .header("access-control-request-method", "PUT");
    assert_eq!(world.send(twice).await.status, 200);
    assert_eq!(upstream.count(), 3);
}

#[tokio::test]
async fn fields_that_are_no_names_or_too_many_are_not_allowed() {
    let upstream = generous().await;
    let world = before(&upstream).await;
    let many = (0..65).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(",");
    for (fields, allowed) in [("x-a, b c", ""), (many.as_str(), ""), ("", ""), ("X-A, x-b,,x-a", "x-a, x-b")]
    {
        let request = world
            .request(Method::OPTIONS, "/open")
            .header("origin", APP)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", fields);
        let answer = world.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-headers")), (204, allowed));
        assert_eq!(answer.header("access-control-allow-methods"), "GET");
    }
}

#[tokio::test]
async fn every_answer_of_the_route_can_be_read_by_those_who_are_listed_and_by_nobody_else() {
    let upstream = generous().await;
    let world = before(&upstream).await;
    let good = format!("Bearer {}", world.token("alice"));
    let ask = async |path: &str, method: Method, token: Option<&str>, origin: Option<&str>, body: &str| {
        let mut request = world.request(method, path);
        for (name, value) in [("authorization", token), ("origin", origin)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        world.send_body(request, Bytes::from(body.to_owned())).await
    };
    let read = |answer: &Answer| {
        let shared = answer.header("access-control-allow-origin").to_owned();
        assert_eq!(
            answer.header("access-control-expose-headers"),
            if shared.is_empty() { "" } else { EXPOSED }
        );
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        (answer.status.as_u16(), shared)
    };
    let scopeless = format!("Bearer {}", world.token_for("user=alice&scope=other"));
    let mfa = format!("Bearer {}", world.token("mfa"));
    for (token, status) in [
        (Some(good.as_str()), 200),
        (None, 401),
        (Some("Bearer x"), 401),
        (Some(&scopeless), 403),
        (Some(&mfa), 401),
    ] {
        for (origin, shared) in [(Some(APP), APP), (Some("https://evil.example"), ""), (None, "")] {
            let answer = ask("/api/1", Method::GET, token, origin, "").await;
            assert_eq!(read(&answer), (status, shared.to_owned()), "{status} {origin:?}");
            let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
            assert!(vary.contains(&&HeaderValue::from_static("Origin")), "{answer:?}");
            assert_eq!(answer.headers.contains_key("www-authenticate"), matches!(status, 401 | 403));
        }
    }
    let challenge = ask("/api/1", Method::GET, Some(&mfa), Some(APP), "").await;
    assert!(challenge.header("www-authenticate").contains("claims=\""));
    let anyone = ask("/open", Method::GET, None, Some("https://anybody.example"), "").await;
    assert_eq!(read(&anyone), (200, "*".to_owned()));
    assert_eq!(anyone.header("vary"), "accept-encoding");
    let long = ask("/open", Method::POST, None, Some(APP), "too long").await;
    assert_eq!(read(&long), (413, "*".to_owned()));
    let dead = ask("/dead", Method::GET, None, Some(APP), "").await;
    assert_eq!(read(&dead), (502, APP.to_owned()));
    // without a route nothing is known
    let lost = ask("/nowhere", Method::GET, None, Some(APP), "").await;
    assert_eq!(read(&lost), (404, String::new()));
    let own = ask("/own", Method::GET, None, Some(APP), "").await;
    assert_eq!(own.header("access-control-expose-headers"), "x-secret");
}

#[tokio::test]
async fn a_grpc_refusal_can_be_read_too() {
    let upstream = generous().await;
    let world = before(&upstream).await;
    let call = world.request(Method::GET, "/api").header("content-type", "application/grpc-web+proto");
    let answer = world.send(call.header("origin", APP)).await;
    assert_eq!((answer.header("grpc-status"), answer.header("access-control-allow-origin")), ("16", APP));
    assert_eq!(
        answer.header("access-control-expose-headers"),
        format!("{EXPOSED}, grpc-status, grpc-message")
    );
}
