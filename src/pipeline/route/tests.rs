//! The table as a whole: precedence, readings, and a reference it must agree with.

use std::time::Duration;

use http::HeaderName;
use http::HeaderValue;
use http::Method;
use proptest::prelude::*;

use crate::config::Access;
use crate::config::HostPattern;
use crate::config::HostRewrite;
use crate::config::Http2;
use crate::config::Match;
use crate::config::PathKind;
use crate::config::Rewrite;
use crate::config::Scheme;
use crate::config::Timeouts;
use crate::config::Treatment;
use crate::config::UnvalidatedToken;
use crate::config::Upstream;
use crate::config::UpstreamTls;

use super::*;

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn prefix(path: &str) -> Match {
    Match {
        hosts: Vec::new(),
        path: path.into(),
        path_kind: PathKind::Prefix,
        methods: Vec::new(),
        headers: Vec::new(),
    }
}

fn exact(path: &str) -> Match {
    Match { path_kind: PathKind::Exact, ..prefix(path) }
}

fn route(called: &str, matches: Match) -> Route {
    Route {
        name: name(called),
        listeners: None,
        matches,
        client_certificate: None,
        access: Access::Anonymous(UnvalidatedToken::Remove),
        upstream: Arc::new(Upstream {
            authority: "127.0.0.1:8000".parse().unwrap(),
            socket: None,
            scheme: Scheme::Http,
            base_path: String::new(),
            http2: Http2::Auto,
            tls: UpstreamTls::default(),
            connect_timeout: Duration::from_secs(2),
        }),
        rewrite: Rewrite { strip_prefix: None, host: HostRewrite::Preserve },
        encoded_slashes: EncodedSlashes::Reject,
        timeouts: Timeouts { response: Duration::from_secs(30), idle: Duration::from_secs(90) },
        treatment: Treatment::default(),
    }
}

fn table(routes: Vec<(&str, Match)>) -> RouteTable {
    let routes: Vec<_> =
        routes.into_iter().map(|(called, matches)| Arc::new(route(called, matches))).collect();
    RouteTable::new(&routes)
}

fn head(method: &str, host: &str, target: &str) -> Parts {
    let request = http::Request::builder().method(method).uri(target);
    let request = if host.is_empty() { request } else { request.header("host", host) };
    request.body(()).unwrap().into_parts().0
}

fn found(table: &RouteTable, head: &Parts) -> Result<String, Error> {
    table.find(&name("default"), head).map(|routed| routed.route.name.to_string())
}

#[test]
fn the_most_specific_route_wins_whatever_the_order() {
    let hosts = |patterns: &[HostPattern], matches: Match| Match { hosts: patterns.to_vec(), ..matches };
    let exact_host = HostPattern::Exact("api.orders.example".into());
    let near = HostPattern::Wildcard(".orders.example".into());
    let far = HostPattern::Wildcard(".example".into());
    let with_methods = Match { methods: vec![Method::POST], ..prefix("/api") };
    let with_header = Match {
        headers: vec![(HeaderName::from_static("x-channel"), HeaderValue::from_static("web"))],
        ..prefix("/api")
    };
    let mut routes = vec![
        ("all", prefix("/")),
        ("api", prefix("/api")),
        ("api_deep", prefix("/api/orders")),
        ("api_exact", exact("/api/orders")),
        ("api_post", with_methods),
        ("api_web", with_header),
        ("host_exact", hosts(&[exact_host], prefix("/"))),
        ("host_near", hosts(&[near], exact("/api"))),
        ("host_far", hosts(&[far], prefix("/"))),
    ];
    for _ in 0..routes.len() {
        routes.rotate_left(1);
        let table = table(routes.clone());
        for (method, host, target, expected) in [
            ("GET", "x", "/", "all"),
            ("GET", "x", "/apix", "all"),
            ("GET", "x", "/api", "api"),
            ("GET", "x", "/api/", "api"),
            ("GET", "x", "/api/x?q=/..", "api"),
            ("POST", "x", "/api/x", "api_post"),
            ("HEAD", "x", "/api/x", "api"),
            ("GET", "x", "/api/orders", "api_exact"),
            ("GET", "x", "/api/orders/1", "api_deep"),
            ("POST", "x", "/api/orders/1", "api_deep"),
            ("GET", "API.orders.example.:8443", "/api/orders", "host_exact"),
            ("GET", "b.orders.example", "/api", "host_near"),
            ("GET", "b.orders.example", "/other", "host_far"),
            ("GET", "a.b.example:80", "/api", "host_far"),
            ("GET", "example", "/api", "api"),
            ("GET", "", "/api", "api"),
            ("GET", "ignored", "http://api.orders.example/x", "host_exact"),
            ("GET", "[::1]:80", "/api", "api"),
        ] {
            assert_eq!(
                found(&table, &head(method, host, target)).as_deref(),
                Ok(expected),
                "{method} {host} {target}"
            );
        }
        let mut web = head("GET", "x", "/api/x");
        web.headers.append("x-channel", HeaderValue::from_static("web"));
        assert_eq!(found(&table, &web).as_deref(), Ok("api_web"));
        web.headers.append("x-channel", HeaderValue::from_static("other"));
        assert_eq!(found(&table, &web).as_deref(), Ok("api"), "a list is not its first value");
    }
}

#[test]
fn a_route_takes_only_its_listeners_and_methods() {
    let mut only = route("only", prefix("/"));
    only.listeners = Some(vec![name("public")]);
    only.matches.methods = vec![Method::GET];
    let table = RouteTable::new(&[Arc::new(only)]);
    let get = head("GET", "x", "/");
    assert!(table.find(&name("public"), &get).is_ok());
    assert_eq!(table.find(&name("egress"), &get).unwrap_err(), Error::NoRoute);
    assert_eq!(table.find(&name("public"), &head("HEAD", "x", "/")).unwrap_err(), Error::NoRoute);
}

#[test]
fn the_path_that_was_matched_is_the_one_that_goes_on() {
    let table = table(vec![("orders", prefix("/orders"))]);
    let routed = table.find(&name("default"), &head("GET", "x", "/%6frders/caf%c3%a9?x=%6f")).unwrap();
    assert_eq!(routed.path, "/orders/caf%C3%A9");
}

#[test]
fn an_encoded_slash_passes_only_where_it_is_kept_and_never_divides_segments() {
    let mut kept = route("kept", prefix("/projects"));
    kept.encoded_slashes = EncodedSlashes::Keep;
    let admin = route("admin", prefix("/projects/x/admin"));
    let reject = route("all", prefix("/"));
    let table = RouteTable::new(&[Arc::new(kept), Arc::new(admin), Arc::new(reject)]);
    let invalid = |why| Err(Error::InvalidPath(why));
    for (target, expected) in [
        ("/projects/group%2fname", Ok("kept".to_owned())),
        ("/other/group%2Fname", invalid(Why::EncodedSlash)),
        ("/projects%2Fx", invalid(Why::EncodedSlash)),
        ("/projects/x%2Fadmin", invalid(Why::Ambiguous)),
        ("/projects/x%2F..%2Fadmin", invalid(Why::DotSegment)),
        ("/projects/x%2F%2Fadmin", invalid(Why::DoubleSlash)),
        ("/projects/x%2F/admin", invalid(Why::DoubleSlash)),
    ] {
        assert_eq!(found(&table, &head("GET", "x", target)), expected, "{target}");
    }
    let routed = table.find(&name("default"), &head("GET", "x", "/projects/group%2fname")).unwrap();
    assert_eq!(routed.path, "/projects/group%2Fname");
    let empty = RouteTable::new(&[]);
    assert_eq!(found(&empty, &head("GET", "x", "/a%2Fb")), invalid(Why::EncodedSlash));
    assert_eq!(found(&empty, &head("OPTIONS", "x", "*")), invalid(Why::NotAbsolute));
}

#[test]
fn a_path_whose_readings_lead_to_two_routes_is_refused() {
    let table = table(vec![("all", prefix("/")), ("admin", prefix("/admin")), ("batch", exact("/a/$batch"))]);
    for (target, expected) in [
        ("/admin/x;v=1", Ok("admin")),
        ("/users;v=1/x", Ok("all")),
        ("/admin;v=1/x", Err(Why::Ambiguous)),
        ("/admin;/x", Err(Why::Ambiguous)),
        ("/admin%3Bx/y", Err(Why::Ambiguous)),
        ("/;x/admin", Err(Why::DoubleSlash)),
        ("/a/$batch", Ok("batch")),
        ("/a/%24batch", Err(Why::Ambiguous)),
        ("/a/%24other", Ok("all")),
    ] {
        let expected = expected.map(String::from).map_err(Error::InvalidPath);
        assert_eq!(found(&table, &head("GET", "x", target)), expected, "{target}");
    }
}

/// The precedence, said differently: of all routes that take the request, the best by pairwise comparison.
fn reference<'a>(
    routes: &'a [Arc<Route>],
    listener: &str,
    host: &str,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
) -> Option<&'a Arc<Route>> {
    let host_rank = |matches: &Match| match matches.hosts.as_slice() {
        [] => Some(0),
        hosts => hosts
            .iter()
            .filter_map(|pattern| match pattern {
                HostPattern::Exact(name) => (name == host).then_some(1_000),
                HostPattern::Wildcard(suffix) => {
                    (host.ends_with(suffix.as_str()) && host != suffix).then_some(suffix.len())
                }
            })
            .max(),
    };
    let path_rank = |matches: &Match| {
        let own: Vec<&str> = matches.path.split('/').filter(|segment| !segment.is_empty()).collect();
        let asked: Vec<&str> = path.split('/').skip(1).collect();
        match matches.path_kind {
            PathKind::Exact => (matches.path == path).then_some(1_000),
            PathKind::Prefix => asked.starts_with(&own).then_some(own.join("/").len()),
        }
    };
    let rank = |route: &Arc<Route>| {
        let matches = &route.matches;
        let method_rank = match matches.methods.as_slice() {
            [] => Some(0),
            methods => methods.iter().any(|own| own.as_str() == method).then_some(1),
        };
        let is_served = route.listeners.iter().flatten().any(|own| own.as_str() == listener);
        let says = |(own, value): &(HeaderName, HeaderValue)| {
            let mut said = fields.iter().filter(|(name, _)| own == name);
            said.next().is_some_and(|(_, said)| value == said) && said.next().is_none()
        };
        let is_taken = (is_served || route.listeners.is_none()) && matches.headers.iter().all(says);
        is_taken.then_some((host_rank(matches)?, path_rank(matches)?, method_rank?, matches.headers.len()))
    };
    let best = routes.iter().filter_map(rank).max()?;
    routes.iter().filter(|route| rank(route) == Some(best)).min_by_key(|route| route.name.clone())
}

fn some_match() -> impl Strategy<Value = Match> {
    let host = prop_oneof![
        prop::sample::select(vec!["a.x", "b.x", "a.b.x"]).prop_map(|host| HostPattern::Exact(host.into())),
        prop::sample::select(vec![".x", ".b.x"]).prop_map(|host| HostPattern::Wildcard(host.into())),
    ];
    let path = prop::sample::select(vec!["/", "/a", "/a/b", "/a/b/c", "/b"]);
    let method = prop::sample::select(vec![Method::GET, Method::POST]);
    let field = (prop::sample::select(vec!["x-a", "x-b"]), prop::sample::select(vec!["1", "2"]));
    let fields = prop::collection::btree_map(
        field.clone().prop_map(|(name, _)| name),
        field.prop_map(|(_, value)| value),
        0..3,
    );
    let hosts = prop::collection::vec(host, 0..3);
    (hosts, path, any::<bool>(), prop::collection::vec(method, 0..2), fields).prop_map(
        |(hosts, path, is_exact, methods, fields)| {
            let matches = if is_exact { exact(path) } else { prefix(path) };
            let field = |(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
            Match { hosts, methods, headers: fields.into_iter().map(field).collect(), ..matches }
        },
    )
}

#[test]
fn an_announced_request_is_taken_by_its_method_and_by_the_names_of_its_fields() {
    let channel = |value| vec![(HeaderName::from_static("x-channel"), HeaderValue::from_static(value))];
    let table = table(vec![
        ("all", prefix("/")),
        ("put", Match { methods: vec![Method::PUT], ..prefix("/api") }),
        ("options", Match { methods: vec![Method::OPTIONS], ..prefix("/api") }),
        ("web", Match { headers: channel("web"), ..prefix("/api/channel") }),
    ]);
    for (method, fields, path, expected) in [
        ("PUT", "", "/api", Some("put")),
        ("GET", "", "/api", Some("all")),
        ("OPTIONS", "", "/api", Some("options")),
        ("GET", "authorization", "/api/channel", Some("all")),
        ("GET", "authorization,X-Channel", "/api/channel", Some("web")),
        ("PUT", "x-channel, not a name", "/api/channel", Some("put")),
        ("PUT", "", "/api/../x", None),
    ] {
        let mut head = head("OPTIONS", "x", path);
        let announcing = [
            ("origin", "https://app.example"),
            ("access-control-request-method", method),
            ("access-control-request-headers", fields),
            ("x-channel", "app"),
        ];
        for (name, value) in announcing {
            head.headers.insert(name, HeaderValue::from_static(value));
        }
        let announced = Announced::by(&head).unwrap();
        let found = table.find_announced(&name("default"), &head, &announced);
        let found = found.ok().map(|routed| routed.route.name.to_string());
        assert_eq!(found.as_deref(), expected, "{method} {path} {fields}");
    }
}

proptest! {
    #[test]
    fn the_table_agrees_with_the_reference(
        matches in prop::collection::vec((some_match(), prop::option::of("one|two")), 0..8),
        listener in "one|two",
        fields in prop::collection::vec((prop::sample::select(vec!["x-a", "x-b"]), prop::sample::select(vec!["1", "2"])), 0..3),
        host in prop::sample::select(vec!["a.x", "b.x", "a.b.x", "c.b.x", "x", "y"]),
        method in prop::sample::select(vec!["GET", "POST", "HEAD"]),
        path in prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a/bc", "/a/b/c", "/a/b/c/d", "/b", "/c"]),
    ) {
        let routes: Vec<_> = matches
            .into_iter()
            .enumerate()
            .map(|(at, (matches, listener))| {
                let listeners = listener.map(|listener| vec![name(&listener)]);
                Arc::new(Route { listeners, ..route(&format!("r{at}"), matches) })
            })
            .collect();
        let expected = reference(&routes, &listener, host, method, path, &fields);
        let mut head = head(method, host, path);
        for (name, value) in fields {
            head.headers.append(name, HeaderValue::from_static(value));
        }
        let found = RouteTable::new(&routes).find(&name(&listener), &head).map(|found| found.route.name.to_string());
        prop_assert_eq!(found.ok(), expected.map(|route| route.name.to_string()));
    }

    #[test]
    fn what_was_found_is_found_again_by_the_path_that_goes_on(
        target in "/[a-d./;%2-7BEFbef$]{0,12}",
    ) {
        let table = table(vec![("all", prefix("/")), ("a", prefix("/a")), ("ab", exact("/a/b"))]);
        let Ok(target) = target.parse::<Uri>() else { return Ok(()) };
        let ask = |target: &str| table.find(&name("default"), &head("GET", "x", target));
        if let Ok(first) = ask(&target.to_string()) {
            let again = ask(&first.path).unwrap();
            prop_assert_eq!(&again.path, &first.path);
            prop_assert!(Arc::ptr_eq(&again.route, &first.route));
        }
    }
}
