//! What routes do to their requests: `headers`, `cors`, `limits`, `retry`, of their own and from `defaults`.

use std::time::Duration;

use http::HeaderName;
use http::Method;
use http::StatusCode;

use crate::config::Config;
use crate::config::Cors;
use crate::config::Piece;
use crate::config::Retry;
use crate::config::RouteLimits;
use crate::config::Setback;
use crate::config::tests::FINE;
use crate::config::tests::config;
use crate::config::tests::lines;
use crate::config::tests::route;
use crate::config::tests::routes;

/// The fields of a route, `set` as `name=text<claim>`, then those that are removed.
fn fields(config: &Config, name: &str) -> String {
    let Some(rules) = &route(config, name).treatment.headers else { return "nothing".into() };
    let piece = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Claim(claim) => format!("<{claim}>"),
    };
    let mut shown: Vec<String> = rules
        .set
        .iter()
        .map(|(name, template)| format!("{name}={}", template.0.iter().map(piece).collect::<String>()))
        .collect();
    shown.sort_unstable();
    shown.extend(rules.remove.iter().map(|name| format!("-{name}")));
    shown.join(" ")
}

#[test]
fn without_a_word_nothing_is_done() {
    let config = config(FINE);
    let treatment = &route(&config, "orders").treatment;
    assert!(treatment.headers.is_none() && treatment.cors.is_none() && treatment.retry.is_none());
    assert_eq!(treatment.limits, RouteLimits { request_body: None, concurrency: None });
}

#[test]
fn fields_of_a_route_count_beside_those_of_the_defaults() {
    let config = routes(
        "defaults:
  upstream: http://127.0.0.1
  token: remove
  headers: { set: { X-User-Id: '{claims.oid}', x-channel: sidecar }, remove: [cookie, x-debug] }",
        "
  plain: { match: /plain }
  more: { match: /more, headers: { set: { x-team: 'a {{b}} {claims.t.u}' } } }
  other: { match: /other, headers: { set: { x_user_id: '{claims.sub}', cookie: a=b } } }
  less: { match: /less, headers: { remove: [x_channel] } }
  open: { match: /open, auth: anonymous }
",
    );
    assert_eq!(fields(&config, "plain"), "x-channel=sidecar x-user-id=<oid> -cookie -x-debug");
    assert_eq!(
        fields(&config, "more"),
        "x-channel=sidecar x-team=a {b} <t.u> x-user-id=<oid> -cookie -x-debug"
    );
    assert_eq!(fields(&config, "other"), "cookie=a=b x-channel=sidecar x_user_id=<sub> -x-debug");
    assert_eq!(fields(&config, "less"), "x-user-id=<oid> -x_channel");
    // nobody's claims: what callers send under that name goes all the same
    assert_eq!(fields(&config, "open"), fields(&config, "plain"));
    let rules = route(&config, "open").treatment.headers.clone().unwrap();
    for (name, is_ours) in [("x_user_id", true), ("x-user.id", true), ("cookie", true), ("x-user", false)] {
        assert_eq!(rules.owns(HeaderName::from_static(name).as_str()), is_ours, "{name}");
    }
}

#[test]
fn limits_and_retries_are_taken_one_by_one_and_origins_whole() {
    let config = routes(
        "defaults:
  upstream: http://127.0.0.1
  token: remove
  cors: { origins: https://app.example }
  limits: { request_body: 1MiB, concurrency: 5 }
  retry: { attempts: 3, on: [reset, 503, '500'] }",
        "
  plain: { match: /plain }
  own: { match: /own, cors: { origins: ['http://localhost:3000', 'https://x.example'] }, limits: { concurrency: 1 }, retry: { methods: GET, backoff: 1s } }
",
    );
    let (plain, own) = (&route(&config, "plain").treatment, &route(&config, "own").treatment);
    assert_eq!(plain.limits, RouteLimits { request_body: Some(1 << 20), concurrency: Some(5) });
    assert_eq!(own.limits, RouteLimits { request_body: Some(1 << 20), concurrency: Some(1) });
    let origins = |cors: &Option<Cors>| match cors {
        Some(Cors::Origins(origins)) => {
            origins.iter().map(|origin| origin.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(origins(&plain.cors), ["https://app.example"]);
    assert_eq!(origins(&own.cors), ["http://localhost:3000", "https://x.example"]);
    let status = Setback::Status;
    let on = vec![
        Setback::Reset,
        status(StatusCode::SERVICE_UNAVAILABLE),
        status(StatusCode::INTERNAL_SERVER_ERROR),
    ];
    let idempotent = vec![Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE];
    let backoff = Duration::from_millis(100);
    let expected = Retry { attempts: 3, on: on.clone(), methods: idempotent.clone(), backoff };
    assert_eq!(plain.retry, Some(expected));
    let backoff = Duration::from_secs(1);
    assert_eq!(own.retry, Some(Retry { attempts: 3, on, methods: vec![Method::GET], backoff }));
    let bare = crate::config::tests::config(&format!("{FINE}    retry: {{}}\n"));
    let on = vec![Setback::ConnectError];
    let backoff = Duration::from_millis(100);
    let expected = Retry { attempts: 1, on, methods: idempotent, backoff };
    assert_eq!(route(&bare, "orders").treatment.retry, Some(expected));
}

#[test]
fn every_wrong_treatment_is_told_with_position_and_advice() {
    let form = "write a scheme, a host and perhaps a port, without a path, as in https://app.example";
    let retry_after = "write connect_error, reset, or a status from 500 to 599";
    let own = "it concerns one connection only, and each side of the proxy has its own: leave it out";
    let forwarding = "the proxy says there where a request came from; a listener's `trusted_proxies` says whose word counts";
    let logs = "it ties the logs of a request together, and goes on as it is: leave it out";
    let braces = "write {claims.NAME} for a claim, and {{ or }} for a brace";
    for (text, expected) in [
        ("headers: { set: {} }", "11:16 error: this map is empty [leave it out for the default]".to_owned()),
        ("headers: { remove: [] }", "11:16 error: this list is empty [leave it out for the default]".into()),
        (
            "headers: { set: { 'x user': a } }",
            "11:23 error: `x user` is not a header name [write it as it is sent, as in x-user-id]".into(),
        ),
        (
            "headers: { remove: [':path'] }",
            "11:25 error: `:path` is not a header name [write it as it is sent, as in x-user-id]".into(),
        ),
        (
            "headers: { set: { Host: a } }",
            "11:23 error: the field `host` can be neither set nor removed [`rewrite.host` says which one goes upstream]".into(),
        ),
        (
            "headers: { set: { Content_Length: '1' } }",
            format!("11:23 error: the field `content_length` can be neither set nor removed [{own}]"),
        ),
        (
            "headers: { remove: [connection] }",
            format!("11:25 error: the field `connection` can be neither set nor removed [{own}]"),
        ),
        (
            "headers: { set: { X-Forwarded-User: a } }",
            format!("11:23 error: the field `x-forwarded-user` can be neither set nor removed [{forwarding}]"),
        ),
        (
            "headers: { remove: [Forwarded] }",
            format!("11:25 error: the field `forwarded` can be neither set nor removed [{forwarding}]"),
        ),
        (
            "headers: { remove: [traceparent] }",
            format!("11:25 error: the field `traceparent` can be neither set nor removed [{logs}]"),
        ),
        (
            "headers: { set: { x-a: a, X_A: b } }",
            "11:23 error: the field `x-a` is there twice [case makes no difference, nor do - and _: leave one of them out]".into(),
        ),
        (
            "headers: { set: { x-a: a }, remove: [x_a] }",
            "11:42 error: the field `x_a` is both set and removed [what a caller sends under a name that is set is removed anyway: leave it out here]".into(),
        ),
        (
            "headers: { set: { x-a: '{oid}' } }",
            format!("11:28 error: a brace in this value belongs to no claim [{braces}]"),
        ),
        (
            "headers: { set: { x-a: ' a' } }",
            "11:28 error: this value is empty, or begins or ends with a space [write what the field is to say; to send none, name it under `remove`]".into(),
        ),
        (
            "headers: { set: { x-a: gr\u{fc}n } }",
            "11:28 error: this value has a character that no header may have [header values are ASCII: write it percent-encoded, or in another way that the upstream reads]".into(),
        ),
        ("headers: { set: { x-a: {claims.oid} } }", "11:23 error: a map is not a text".into()),
        ("cors: {}", "11:5 error: `origins` is missing in `routes.orders.cors` [write whose scripts may call the route, as in origins: [https://app.example]]".into()),
        (
            "cors: { origins: app.example }",
            format!("11:22 error: `app.example` is no origin as browsers send it [{form}]"),
        ),
        (
            "cors: { origins: [https://app.example/] }",
            "11:23 error: `https://app.example/` is no origin as browsers send it [write https://app.example]".into(),
        ),
        (
            "cors: { origins: [https://*.example] }",
            "11:23 error: `https://*.example` is no origin as browsers send it [origins are compared whole: list them, or write `*` alone for any]".into(),
        ),
        (
            "cors: { origins: ['null'] }",
            "11:23 error: `null` is no origin as browsers send it [pages without an origin of their own all send `null`: serve yours from one that has one]".into(),
        ),
        (
            "cors: { origins: ['*', https://a.example] }",
            "11:23 error: `*` is every origin [leave the others out, or it]".into(),
        ),
        (
            "cors: { origins: '*' }",
            "11:22 warning: scripts of any site may call this route from a browser [name the origins of your own pages, unless this is for everybody's]".into(),
        ),
        (
            "limits: { request_body: 10 }",
            "11:29 error: `10` is not a size: write a number and a unit, as in 512B, 64KiB, 10MiB, 1GiB".into(),
        ),
        (
            "limits: { concurrency: 0 }",
            "11:28 error: this must be a number of requests, from 1 to 1000000".into(),
        ),
        (
            "retry: { attempts: 11 }",
            "11:24 error: this must be from 1 to 10 [it counts the attempts beyond the first; for none leave `retry` out]".into(),
        ),
        ("retry: { on: [404] }", format!("11:19 error: `404` is nothing to retry after [{retry_after}]")),
        ("retry: { on: timeout }", format!("11:18 error: `timeout` is nothing to retry after [{retry_after}]")),
        ("retry: { on: ['5xx'] }", format!("11:19 error: `5xx` is nothing to retry after [{retry_after}]")),
        ("retry: { on: [] }", "11:14 error: this list is empty [leave it out for the default]".into()),
        (
            "retry: { methods: [get] }",
            "11:24 error: `get` is not a method [methods are upper-case, as in GET]".into(),
        ),
        ("retry: { methods: [TRACE] }", "11:24 error: `TRACE` is never served".into()),
        ("retry: { backoff: 0s }", "11:23 error: this must be longer than nothing".into()),
        (
            "retry: { on: [reset], methods: [GET, POST] }",
            "11:5 warning: an upstream that has acted on a POST request already is sent it again [leave the method out, or retry it on connect_error alone, after which nothing was sent]".into(),
        ),
    ] {
        assert_eq!(lines(&format!("{FINE}    {text}\n")), [expected], "{text}");
    }
    // where nothing was sent, any method may go again
    assert_eq!(lines(&format!("{FINE}    retry: {{ methods: [POST] }}\n")), [""; 0]);
}

#[test]
fn the_defaults_are_told_once_however_many_routes_there_are() {
    let text = |defaults: &str| {
        let two = "  two: { match: /two, upstream: 'http://127.0.0.1', token: remove }\n";
        let three = "  three: { match: /three, upstream: 'http://127.0.0.1', token: remove }\n";
        lines(&format!("{FINE}{two}{three}defaults: {{ {defaults} }}\n"))
    };
    for (defaults, place) in [
        ("headers: { set: { host: x } }", "13:31"),
        ("cors: { origins: '*' }", "13:30"),
        ("retry: { on: [reset], methods: [POST] }", "13:13"),
        ("retry: { attempts: 0 }", "13:32"),
        ("limits: { concurrency: 0 }", "13:36"),
    ] {
        let told = text(defaults);
        assert!(told.len() == 1 && told[0].starts_with(place), "{defaults}: {told:?}");
    }
}

#[test]
fn claims_of_nobody_are_an_error_where_they_are_written() {
    let route = "  open: { match: /open, upstream: 'http://127.0.0.1', auth: anonymous, headers: { set: { x-a: plain, x-b: 'u={claims.oid}' } } }";
    assert_eq!(
        lines(&format!("{FINE}{route}\n")),
        [
            "11:107 error: this wants a claim of a token that nobody looks at [without a validated token there are no claims: leave the field out, or `auth: anonymous`]"
        ]
    );
}

#[test]
fn no_value_of_a_field_is_shown() {
    for text in ["headers: { set: { x-a: 'canary{' } }", "headers: { set: { host: canary } }"] {
        let told = lines(&format!("{FINE}    {text}\n"));
        assert!(told.len() == 1 && !told[0].contains("canary"), "{told:?}");
    }
    let config = config(&format!("{FINE}    headers: {{ set: {{ x-a: canary }} }}\n"));
    assert!(!format!("{config:?}").contains("canary"));
}
