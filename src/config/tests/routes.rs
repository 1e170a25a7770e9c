//! What good routes become: access, defaults and precedence, ties, warnings.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Access;
use crate::config::Demand;
use crate::config::EncodedSlashes;
use crate::config::HostPattern;
use crate::config::HostRewrite;
use crate::config::Http2;
use crate::config::PathKind;
use crate::config::Principals;
use crate::config::Scheme;
use crate::config::UnderscoreHeaders;
use crate::config::UnvalidatedToken;
use crate::config::ValidatedToken;
use crate::config::load_text;
use crate::config::tests::FINE;
use crate::config::tests::lines;
use crate::config::tests::route;
use crate::config::tests::routes;
use crate::domain::peer::Trust;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn every_form_of_access_is_understood() {
    let config = routes(
        "",
        "
  open: { match: /open, upstream: 'http://127.0.0.1', auth: anonymous }
  raw: { match: /raw, upstream: 'http://127.0.0.1', auth: anonymous, token: passthrough }
  pass: { match: /pass, upstream: 'http://127.0.0.1', token: passthrough, require: { roles: { any_of: [A, B] }, scopes: x } }
  bare: { match: /bare, upstream: 'http://127.0.0.1', token: remove }
",
    );
    assert!(matches!(route(&config, "open").access, Access::Anonymous(UnvalidatedToken::Remove)));
    assert!(matches!(route(&config, "raw").access, Access::Anonymous(UnvalidatedToken::Passthrough)));
    assert!(matches!(
        &route(&config, "bare").access,
        Access::Validated { token: ValidatedToken::Remove, .. }
    ));
    let Access::Validated { policy, token: ValidatedToken::Passthrough } = &route(&config, "pass").access
    else {
        panic!("passthrough")
    };
    assert_eq!(policy.principals, Principals::UsersAndApplications);
    assert_eq!(policy.roles, Demand::Any(vec!["A".into(), "B".into()]));
    assert_eq!(policy.scopes, Demand::All(vec!["x".into()]));
}

#[test]
fn a_routes_own_settings_win_over_the_defaults() {
    let config = routes(
        "defaults:
  upstream: http://127.0.0.1:1
  token: passthrough
  require: { scopes: [all] }
  rewrite: { host: upstream }
  encoded_slashes: keep",
        "
  plain: { match: /plain }
  open: { match: /open, auth: anonymous }
  own: { match: /own/x, upstream: 'http://127.0.0.1:2', rewrite: { strip_prefix: /own }, require: { roles: R } }
",
    );
    // `orders` has `exchange` of its own: the defaults' `token` does not contradict it
    assert!(matches!(
        &route(&config, "orders").access,
        Access::Validated { token: ValidatedToken::Exchange(_), .. }
    ));
    let plain = route(&config, "plain");
    assert!(
        matches!(&plain.access, Access::Validated { token: ValidatedToken::Passthrough, policy } if policy.scopes.words() == ["all"])
    );
    assert_eq!(
        (plain.upstream.authority.as_str(), plain.rewrite.host),
        ("127.0.0.1:1", HostRewrite::Upstream)
    );
    assert_eq!(plain.encoded_slashes, EncodedSlashes::Keep);
    // nothing looks at tokens there, so the defaults do not pass them on either
    assert!(matches!(route(&config, "open").access, Access::Anonymous(UnvalidatedToken::Remove)));
    let own = route(&config, "own");
    assert_eq!(own.upstream.authority.as_str(), "127.0.0.1:2");
    assert_eq!(
        (own.rewrite.strip_prefix.as_deref(), own.rewrite.host),
        (Some("/own"), HostRewrite::Upstream)
    );
    assert!(
        matches!(&own.access, Access::Validated { policy, .. } if policy.scopes.words() == ["all"] && policy.roles.words() == ["R"])
    );
}

#[test]
fn timeouts_come_from_the_route_then_the_upstream_then_the_defaults() {
    let config = routes(
        "upstreams:
  legacy: { url: 'http://127.0.0.1:8000', timeouts: { connect: 1s, response: 11s } }
defaults: { timeouts: { connect: 3s, response: 13s, idle: 14s } }",
        "
  named: { match: /named, upstream: legacy, token: remove }
  same: { match: /same, upstream: legacy, token: remove, timeouts: { response: 1s } }
  other: { match: /other, upstream: legacy, token: remove, timeouts: { connect: 250ms } }
  url: { match: /url, upstream: 'http://127.0.0.1:8000', token: remove }
",
    );
    let seen = |name: &str| {
        let route = route(&config, name);
        (route.upstream.connect_timeout, route.timeouts.response, route.timeouts.idle)
    };
    assert_eq!(seen("named"), (SECOND, 11 * SECOND, 14 * SECOND));
    assert_eq!(seen("same"), (SECOND, SECOND, 14 * SECOND));
    assert_eq!(seen("other"), (SECOND / 4, 11 * SECOND, 14 * SECOND));
    assert_eq!(seen("url"), (3 * SECOND, 13 * SECOND, 14 * SECOND));
    let upstream = |name: &str| &route(&config, name).upstream;
    assert!(Arc::ptr_eq(upstream("named"), upstream("same")));
    assert!(!Arc::ptr_eq(upstream("named"), upstream("other")));
    assert!(Arc::ptr_eq(upstream("orders"), upstream("url")));
}

#[test]
fn upstreams_and_matches_are_taken_apart() {
    let config = routes(
        "listeners: { a: { address: '[::1]:0', underscore_headers: keep, trusted_proxies: [10.1.2.3/8, 192.0.2.1] }, b: { address: 'localhost:0' } }
upstreams:
  graph: { url: 'https://Graph.example/base/', http2: always, tls: { ca: /ca.pem, server_name: g, client_certificate: { file: /c, key: /k } } }",
        "
  all:
    match: { host: [A.example, '*.B.example'], path: /x/, exact: true, methods: [PUT, X-Y], headers: { X-Channel: web } }
    listeners: [a]
    upstream: graph
    token: remove
",
    );
    let all = route(&config, "all");
    assert_eq!(
        (all.upstream.authority.as_str(), all.upstream.base_path.as_str()),
        ("graph.example", "/base")
    );
    assert_eq!((all.upstream.scheme, all.upstream.http2), (Scheme::Https, Http2::Always));
    assert_eq!(all.rewrite.host, HostRewrite::Upstream);
    assert_eq!(all.upstream.tls.client_certificate, Some(("/c".into(), "/k".into())));
    assert_eq!(
        all.matches.hosts,
        [HostPattern::Exact("a.example".into()), HostPattern::Wildcard(".b.example".into())]
    );
    assert_eq!((all.matches.path.as_str(), all.matches.path_kind), ("/x/", PathKind::Exact));
    assert_eq!(all.matches.headers[0].0, "x-channel");
    assert_eq!(all.listeners.as_ref().unwrap()[0].as_str(), "a");
    let a = &config.listeners[0];
    assert_eq!((a.address.to_string().as_str(), a.underscore_headers), ("[::1]:0", UnderscoreHeaders::Keep));
    let trusts = |text: &str| a.trusted_proxies.trust(text.parse::<IpAddr>().ok()) == Trust::Trusted;
    assert!(trusts("10.255.0.1") && trusts("192.0.2.1") && !trusts("192.0.2.2"));
}

#[test]
fn routes_tie_only_if_some_request_could_go_to_both() {
    let ties = |one: &str, other: &str| {
        let text = format!(
            "routes:\n  a: {{ auth: anonymous, upstream: 'http://127.0.0.1', {one} }}\n  b: {{ auth: anonymous, upstream: 'http://127.0.0.1', {other} }}\nlisteners: {{ x: {{ address: 'a:1' }}, y: {{ address: 'a:2' }} }}\n"
        );
        match load_text("config.yaml", &text, &[]) {
            Ok(_) => false,
            Err(report) => {
                let told = report.to_string();
                assert!(
                    told.contains("the routes `a` and `b` tie") && told.contains("config.yaml:2"),
                    "{told}"
                );
                true
            }
        }
    };
    for (one, other) in [
        ("match: /", "match: /"),
        ("match: { path: /a, exact: true }", "match: { path: /a, exact: true }"),
        ("match: { methods: [GET, PUT] }", "match: { methods: [PUT, POST] }"),
        ("match: { host: [a.example, b.example] }", "match: { host: B.example }"),
        ("match: { host: '*.example' }", "match: { host: ['*.example', a.example] }"),
        ("match: { headers: { x-a: a } }", "match: { headers: { x-b: b } }"),
        ("match: /, listeners: [x, y]", "match: /, listeners: y"),
        ("match: /, listeners: x", "match: /"),
    ] {
        assert!(ties(one, other), "{one} | {other}");
    }
    for (one, other) in [
        ("match: /a", "match: /b"),
        ("match: /a", "match: /a/b"),
        ("match: /a", "match: { path: /a, exact: true }"),
        ("match: { methods: [GET] }", "match: { methods: [PUT] }"),
        ("match: { methods: [GET] }", "match: /"),
        ("match: { host: a.example }", "match: { host: '*.example' }"),
        ("match: { host: '*.a.example' }", "match: { host: '*.example' }"),
        ("match: { host: a.example }", "match: /"),
        ("match: { headers: { x-a: a } }", "match: { headers: { x-a: b } }"),
        ("match: { headers: { x-a: a } }", "match: { headers: { x-a: a, x-b: b } }"),
        ("match: /, listeners: x", "match: /, listeners: y"),
    ] {
        assert!(!ties(one, other), "{one} | {other}");
    }
}

#[test]
fn two_providers_of_one_issuer_cannot_share_a_route() {
    let load = |entra: &str, route: &str| {
        let text = format!(
            "identity_providers:
  one: {{ entra: {{ tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }}, client_id: a, credential: {{ secret: {{ file: /s }} }} }}
  two: {{ entra: {{ {entra} }}, client_id: b, credential: {{ secret: {{ file: /s }} }} }}
routes: {{ r: {{ match: /, upstream: 'http://127.0.0.1', token: remove, {route} }} }}
"
        );
        load_text("config.yaml", &text, &[]).map_err(|report| report.to_string())
    };
    let both = "identity_provider: [one, two]";
    for same in [
        "tenant: 8EAEF023-2b34-4da1-9baa-8bc8c9d6a490",
        "tenant: common, allowed_tenants: [8eaef023-2b34-4da1-9baa-8bc8c9d6a490]",
    ] {
        let told = load(same, both).unwrap_err();
        assert!(told.contains("`two` and `one` accept tokens of the same issuer"), "{told}");
    }
    for other in [
        "tenant: 72f988bf-86f1-41af-91ab-2d7cd011db47",
        "tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490, cloud: china",
    ] {
        let config = load(other, both).unwrap().config;
        assert!(
            matches!(&route(&config, "r").access, Access::Validated { policy, .. } if policy.identity_providers.len() == 2)
        );
    }
    let told = load("tenant: contoso.com", "").unwrap_err();
    assert!(
        told.contains("`identity_provider` is missing") && told.contains("one or more of one, two"),
        "{told}"
    );
}

#[test]
fn only_an_anonymous_prefix_over_a_protected_route_is_warned_of() {
    let warnings = |open: &str, protected: &str| {
        let text = FINE.replace("match: /", protected);
        let text = format!("{text}  open: {{ {open}, upstream: 'http://127.0.0.1', auth: anonymous }}\n");
        load_text("config.yaml", &text, &[]).unwrap().warnings.len()
    };
    assert_eq!(warnings("match: /", "match: /orders"), 1);
    assert_eq!(
        warnings(
            "match: { path: /orders, methods: [GET] }",
            "match: { path: /orders/x, methods: [GET, PUT] }"
        ),
        1
    );
    assert_eq!(
        warnings("match: { path: /orders, methods: [GET] }", "match: { path: /orders, methods: [PUT] }"),
        0
    );
    assert_eq!(warnings("match: /order", "match: /orders"), 0);
    assert_eq!(warnings("match: { path: /orders, exact: true }", "match: /orders"), 0);
    assert_eq!(warnings("match: { host: a.example }", "match: { path: /orders, host: b.example }"), 0);
    assert_eq!(warnings("match: { host: '*.example' }", "match: { path: /orders, host: b.example }"), 1);
}

#[test]
fn scopes_of_one_resource_are_not_warned_of() {
    for scopes in [
        "[api://x/read, api://x/write, openid, profile, offline_access, email]",
        "[User.Read, Mail.Read]",
        "[User.Read, openid, api://x/read]",
        "['https://graph.microsoft.com/User.Read', 'https://graph.microsoft.com/Mail.Read']",
        "api://x/.default",
    ] {
        let text = FINE.replace("[api://orders-backend/.default]", scopes);
        assert_eq!(load_text("config.yaml", &text, &[]).unwrap().warnings, [], "{scopes}");
    }
}

#[test]
fn a_socket_is_an_upstream_on_this_machine() {
    let config = routes(
        "upstreams: { app: { url: 'unix:///run/app.sock', http2: always } }",
        "
  named: { match: /named, upstream: app, token: passthrough }
  direct: { match: /direct, upstream: 'unix:/run/app.sock', exchange: { scopes: [a] }, rewrite: { host: upstream } }
",
    );
    let (named, direct) = (route(&config, "named"), route(&config, "direct"));
    for route in [named, direct] {
        assert_eq!(route.upstream.socket.as_deref(), Some(Path::new("/run/app.sock")));
        assert_eq!((route.upstream.scheme, route.upstream.base_path.as_str()), (Scheme::Http, ""));
        assert_eq!((route.upstream.address(), route.upstream.authority.as_str()), ("unix", "localhost"));
    }
    assert_eq!((named.upstream.http2, named.rewrite.host), (Http2::Always, HostRewrite::Preserve));
    assert_eq!((direct.upstream.http2, direct.rewrite.host), (Http2::Auto, HostRewrite::Upstream));
    let orders = &route(&config, "orders").upstream;
    assert_eq!((orders.socket.as_ref(), orders.address()), (None, "127.0.0.1:8000"));
    // nobody on the way could read the exchanged token: there is nothing to warn of
    let text = format!("upstreams: {{ app: {{ url: 'unix:/x', tls: {{ ca: system }} }} }}\n{FINE}");
    let direct = "  direct: { match: /direct, upstream: app, exchange: { scopes: [a] } }\n";
    assert_eq!(
        lines(&[&text, direct].concat()),
        ["1:37 warning: `tls` has no effect on a unix: upstream [write https://, or leave it out]"]
    );
}
