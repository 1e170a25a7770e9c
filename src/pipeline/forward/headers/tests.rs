//! What goes on, field by field, and what must hold for any fields at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use crate::config::Access;
use crate::config::EncodedSlashes;
use crate::config::Http2;
use crate::config::Match;
use crate::config::PathKind;
use crate::config::Piece;
use crate::config::Rewrite;
use crate::config::Route;
use crate::config::Template;
use crate::config::Timeouts;
use crate::config::Treatment;
use crate::config::UnvalidatedToken;
use crate::config::Upstream;
use crate::config::UpstreamTls;
use crate::domain::caller::Claims;
use crate::domain::caller::Principal;
use crate::domain::caller::UserKey;
use crate::domain::clock::UnixTime;
use crate::domain::derived::Derived;
use crate::domain::digest::Digest;
use crate::domain::name::Name;
use crate::domain::peer::Peer;
use crate::domain::scope::Scopes;
use crate::telemetry::trace::recording::Outgoing;

use super::*;

fn route(host: HostRewrite) -> Route {
    Route {
        name: Name::parse("orders").unwrap(),
        listeners: None,
        matches: Match {
            hosts: Vec::new(),
            path: "/".into(),
            path_kind: PathKind::Prefix,
            methods: Vec::new(),
            headers: Vec::new(),
        },
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
        rewrite: Rewrite { strip_prefix: None, host },
        encoded_slashes: EncodedSlashes::Reject,
        timeouts: Timeouts { response: Duration::from_secs(30), idle: Duration::from_secs(90) },
        treatment: Treatment::default(),
    }
}

struct Case {
    route: Route,
    peer: Peer,
    ours: HeaderValue,
    request_id: HeaderValue,
}

impl Case {
    fn new(peer: &str, trust: Trust) -> Self {
        Self {
            route: route(HostRewrite::Preserve),
            peer: Peer::new(peer.parse::<SocketAddr>().ok(), trust),
            ours: HeaderValue::from_static("Bearer ours"),
            request_id: HeaderValue::from_static("id-1"),
        }
    }

    fn onward(&self) -> Onward<'_> {
        Onward {
            route: &self.route,
            path: "/",
            authorization: Authorization::Replace(&self.ours),
            caller: None,
            peer: &self.peer,
            scheme: Scheme::Http,
            request_id: &self.request_id,
            trace: None,
            websocket: None,
        }
    }

    fn rewrite(&self, fields: &[(&str, &str)]) -> HeaderMap {
        let mut headers = map(fields);
        rewrite_request(&mut headers, &self.onward());
        headers
    }
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap()))
        .collect()
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_plain_request_gains_our_fields_and_loses_none_of_its_own() {
    let case = Case::new("192.0.2.7:1234", Trust::Untrusted);
    let headers = case.rewrite(&[
        ("host", "orders.example:8080"),
        ("authorization", "Bearer theirs"),
        ("accept", "*/*"),
        ("cookie", "a=b"),
        ("cookie", "c=d"),
        ("accept-encoding", "gzip"),
        ("trailer", "x-sum"),
        ("content-length", "3"),
    ]);
    for (name, values) in [
        ("host", &["orders.example:8080"][..]),
        ("authorization", &["Bearer ours"]),
        ("accept", &["*/*"]),
        ("cookie", &["a=b", "c=d"]),
        ("accept-encoding", &["gzip"]),
        ("trailer", &["x-sum"]),
        ("content-length", &["3"]),
        ("x-request-id", &["id-1"]),
        ("x-forwarded-for", &["192.0.2.7"]),
        ("x-forwarded-proto", &["http"]),
        ("x-forwarded-host", &["orders.example:8080"]),
        ("x-forwarded-port", &["8080"]),
        ("forwarded", &["for=192.0.2.7;host=\"orders.example:8080\";proto=http"]),
    ] {
        assert_eq!(all(&headers, name), values, "{name}");
    }
    assert_eq!(headers.keys_len(), 13);
    assert!(headers.get("authorization").unwrap().is_sensitive());
}

#[test]
fn a_caller_cannot_name_our_fields_away() {
    let case = Case::new("192.0.2.7:1234", Trust::Trusted);
    let headers = case.rewrite(&[
        ("host", "a"),
        ("connection", "close, Authorization,X-Forwarded-For ,\tcookie"),
        ("connection", "x-request-id;, x-request-id, forwarded, host, , x-forwarded-proto"),
        ("authorization", "Bearer theirs"),
        ("x-forwarded-for", "10.9.9.9"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=10.9.9.9"),
        ("cookie", "a=b"),
        ("x-request-id", "theirs"),
    ]);
    assert_eq!(all(&headers, "authorization"), ["Bearer ours"]);
    assert_eq!(all(&headers, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(all(&headers, "x-forwarded-proto"), ["http"]);
    assert_eq!(all(&headers, "forwarded"), ["for=192.0.2.7;host=a;proto=http"]);
    assert_eq!(all(&headers, "x-request-id"), ["id-1"]);
    assert_eq!(all(&headers, "host"), ["a"]);
    assert!(!headers.contains_key("cookie") && !headers.contains_key("connection"));
}

#[test]
fn what_concerns_one_connection_stays_on_it() {
    let case = Case::new("192.0.2.7:1234", Trust::Untrusted);
    let headers = case.rewrite(&[
        ("host", "a"),
        ("connection", "upgrade, http2-settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic x"),
        ("proxy-authenticate", "Basic"),
        ("te", "gzip;q=1.0"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("dpop", "proof"),
    ]);
    assert_eq!(
        names(&headers),
        [
            "authorization",
            "forwarded",
            "host",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-request-id"
        ]
    );
}

#[test]
fn a_caller_who_takes_trailers_gets_them() {
    let case = Case::new("192.0.2.7:1234", Trust::Untrusted);
    for (te, expected) in
        [("trailers", true), ("gzip, Trailers;q=0.5", true), ("gzip", false), ("trailersx", false)]
    {
        let headers = case.rewrite(&[("connection", "te"), ("te", te)]);
        assert_eq!(all(&headers, "te"), if expected { vec!["trailers"] } else { Vec::new() }, "{te}");
    }
}

#[test]
fn only_a_trusted_peer_says_where_a_request_came_from() {
    let lies = [
        ("host", "a"),
        ("x-forwarded-for", "10.0.0.1, 10.0.0.2"),
        ("x-forwarded-for", "10.0.0.3"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-user", "admin"),
        ("x_forwarded_email", "admin@x"),
        ("x-forwarded-prefix", "/admin"),
        ("forwarded", "for=10.0.0.1;proto=https"),
        ("x-real-ip", "10.0.0.1"),
        ("x-original-url", "/admin"),
        ("x-original-host", "admin.example"),
        ("x-rewrite-url", "/admin"),
        ("x-client-ip", "10.0.0.1"),
        ("true-client-ip", "10.0.0.1"),
        ("cf-connecting-ip", "10.0.0.1"),
        ("x-envoy-external-address", "10.0.0.1"),
        ("x-envoy-original-path", "/admin"),
    ];
    let untrusted = Case::new("[2001:db8::7]:1234", Trust::Untrusted).rewrite(&lies);
    assert_eq!(
        names(&untrusted),
        [
            "authorization",
            "forwarded",
            "host",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-proto",
            "x-request-id"
        ]
    );
    assert_eq!(all(&untrusted, "x-forwarded-for"), ["2001:db8::7"]);
    assert_eq!(all(&untrusted, "forwarded"), ["for=\"[2001:db8::7]\";host=a;proto=http"]);
    assert_eq!(all(&untrusted, "x-forwarded-port"), ["80"]);

    // an IPv4 peer on an IPv6 socket is an IPv4 peer
    let trusted = Case::new("[::ffff:192.0.2.7]:1234", Trust::Trusted).rewrite(&lies);
    assert_eq!(all(&trusted, "x-forwarded-for"), ["10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7"]);
    assert_eq!(all(&trusted, "forwarded"), ["for=10.0.0.1;proto=https, for=192.0.2.7;host=a;proto=http"]);
    assert_eq!(all(&trusted, "x-forwarded-proto"), ["https"]);
    assert_eq!(all(&trusted, "x-forwarded-host"), ["shop.example"]);
    assert_eq!(all(&trusted, "x-forwarded-port"), ["443"]);
    assert_eq!(all(&trusted, "x-real-ip"), ["10.0.0.1"]);
}

#[test]
fn a_peer_at_a_unix_socket_has_no_address_and_none_is_made_up() {
    let fields = [("host", "a"), ("x-forwarded-for", "192.0.2.9"), ("forwarded", "for=192.0.2.9")];
    let untrusted = Case::new("", Trust::Untrusted).rewrite(&fields);
    assert_eq!(all(&untrusted, "x-forwarded-for"), [""; 0]);
    assert_eq!(all(&untrusted, "forwarded"), ["for=unknown;host=a;proto=http"]);
    let trusted = Case::new("", Trust::Trusted).rewrite(&fields);
    assert_eq!(all(&trusted, "x-forwarded-for"), ["192.0.2.9"]);
    assert_eq!(all(&trusted, "forwarded"), ["for=192.0.2.9, for=unknown;host=a;proto=http"]);
}

#[test]
fn our_port_does_not_contradict_what_a_trusted_peer_says() {
    let case = Case::new("192.0.2.7:1234", Trust::Trusted);
    for (said, expected) in [
        (&[("host", "a:8080")][..], &["8080"][..]),
        (&[("host", "a"), ("x-forwarded-proto", "https")], &[]),
        (&[("host", "a:8080"), ("x-forwarded-host", "shop.example")], &[]),
        (&[("host", "a"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "8443")], &["8443"]),
    ] {
        assert_eq!(all(&case.rewrite(said), "x-forwarded-port"), expected, "{said:?}");
    }
}

#[test]
fn the_host_is_the_callers_or_left_to_the_client() {
    let mut case = Case::new("192.0.2.7:1234", Trust::Untrusted);
    assert_eq!(all(&case.rewrite(&[("host", "orders.example")]), "host"), ["orders.example"]);
    assert!(!case.rewrite(&[]).contains_key("host"));
    assert!(!case.rewrite(&[]).contains_key("x-forwarded-host"));
    case.route = route(HostRewrite::Upstream);
    let headers = case.rewrite(&[("host", "orders.example")]);
    assert!(!headers.contains_key("host"));
    assert_eq!(all(&headers, "x-forwarded-host"), ["orders.example"]);
}

#[test]
fn the_authorization_is_ours_theirs_or_none() {
    let case = Case::new("192.0.2.7:1234", Trust::Untrusted);
    let theirs = HeaderValue::from_static("Bearer theirs");
    let rewrite = |authorization, connection| {
        let mut headers = map(&[
            ("connection", connection),
            ("authorization", "Bearer theirs"),
            ("authorization", "second"),
        ]);
        rewrite_request(&mut headers, &Onward { authorization, ..case.onward() });
        all(&headers, "authorization").into_iter().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(rewrite(Authorization::Replace(&case.ours), "close"), ["Bearer ours"]);
    assert_eq!(rewrite(Authorization::Keep(&theirs), "close"), ["Bearer theirs"]);
    assert_eq!(rewrite(Authorization::Remove, "close"), [""; 0]);
    assert_eq!(rewrite(Authorization::Replace(&case.ours), "authorization"), ["Bearer ours"]);
    assert_eq!(rewrite(Authorization::Keep(&theirs), "authorization"), [""; 0]);
    assert_eq!(rewrite(Authorization::Remove, "authorization"), [""; 0]);
}

#[test]
fn an_answer_loses_what_concerns_its_connection_and_nothing_else() {
    let mut headers = map(&[
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("proxy-authenticate", "Basic"),
        ("server", "theirs"),
        ("date", "Tue, 15 Nov 1994 08:12:31 GMT"),
        ("set-cookie", "a=b"),
        ("set-cookie", "c=d"),
        ("www-authenticate", "Bearer"),
        ("trailer", "x-sum"),
        ("content-encoding", "gzip"),
    ]);
    rewrite_response(&mut headers);
    assert_eq!(
        names(&headers),
        ["content-encoding", "date", "server", "set-cookie", "trailer", "www-authenticate"]
    );
    assert_eq!(all(&headers, "set-cookie"), ["a=b", "c=d"]);
}

#[test]
fn trailers_may_not_be_what_must_come_first() {
    let mut trailers = map(&[
        ("grpc-status", "0"),
        ("x-sum", "1"),
        ("etag", "\"x\""),
        ("authorization", "Bearer x"),
        ("content-length", "3"),
        ("host", "evil"),
        ("transfer-encoding", "chunked"),
        ("content-type", "text/html"),
        ("cookie", "a=b"),
        ("set-cookie", "a=b"),
        ("connection", "close"),
        ("x-forwarded-for", "10.0.0.1"),
        ("trailer", "x"),
        ("te", "gzip"),
    ]);
    rewrite_trailers(&mut trailers);
    assert_eq!(names(&trailers), ["etag", "grpc-status", "x-sum"]);
}

#[test]
fn only_chunked_survives_the_loss_of_its_name() {
    for (codings, expected) in [
        (&[][..], true),
        (&["chunked"], true),
        (&["Chunked"], true),
        (&["gzip, chunked"], false),
        (&["gzip", "chunked"], false),
        (&["chunked", "chunked"], false),
        (&["gzip"], false),
    ] {
        let fields: Vec<_> = codings.iter().map(|coding| ("transfer-encoding", *coding)).collect();
        assert_eq!(is_plainly_framed(&map(&fields)), expected, "{codings:?}");
    }
}

/// A caller with these claims.
fn caller(claims: Value) -> Claims {
    let Value::Object(all) = claims else { panic!("{claims} is no object") };
    Claims {
        identity_provider: Name::parse("contoso").unwrap(),
        issuer: "i".into(),
        tenant: None,
        user: UserKey::entra("o"),
        user_digest: Digest::of(b""),
        client: None,
        scopes: Scopes::default(),
        roles: Vec::new(),
        principal: Principal::User,
        expires_on: UnixTime::from_seconds(0),
        not_before: None,
        token_digest: Digest::of(b""),
        claims_digest: Digest::of(b""),
        all,
        derived: Derived::default(),
    }
}

/// A route that writes `x-user-id` from a claim, `x-key` always, and removes cookies.
fn ruled(trust: Trust) -> Case {
    let claim = Template(vec![Piece::Claim("oid".into())]);
    let mixed = Template(vec![
        Piece::Text("v1 ".into()),
        Piece::Claim("realm.id".into()),
        Piece::Text(";".into()),
        Piece::Claim("oid".into()),
    ]);
    let text = Template(vec![Piece::Text("{k}".into())]);
    let name = HeaderName::from_static;
    let rules = FieldRules {
        set: vec![(name("x-user-id"), claim), (name("x-mixed"), mixed), (name("x-key"), text)],
        remove: vec![name("cookie"), name("x-debug")],
    };
    let mut case = Case::new("192.0.2.7:1234", trust);
    case.route.treatment.headers = Some(Arc::new(rules));
    case
}

/// What goes on of these fields on such a route.
fn written(case: &Case, caller: Option<&Claims>, fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = map(fields);
    rewrite_request(&mut headers, &Onward { caller, ..case.onward() });
    headers
}

#[test]
fn a_request_goes_on_in_the_trace_it_is_recorded_in() {
    let case = Case::new("192.0.2.7:1234", Trust::Untrusted);
    let came = [("traceparent", "00-1-2-00"), ("tracestate", "other=1"), ("connection", "traceparent")];
    let ours = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let outgoing = |is_root| Outgoing { traceparent: ours.clone(), is_root };
    let (root, child) = (outgoing(true), outgoing(false));
    for (trace, came, traceparent, tracestate) in [
        (None, &came[..2], Some("00-1-2-00"), true),
        // what the caller names in `Connection` is not for the upstream
        (None, &came, None, true),
        (Some(&root), &came, ours.to_str().ok(), false),
        (Some(&child), &came, ours.to_str().ok(), true),
    ] {
        let mut headers = map(came);
        rewrite_request(&mut headers, &Onward { trace, ..case.onward() });
        let sent = headers.get("traceparent").map(|value| value.to_str().unwrap());
        assert_eq!((sent, headers.contains_key("tracestate")), (traceparent, tracestate), "{trace:?}");
    }
}

#[test]
fn a_traceparent_that_comes_twice_goes_nowhere() {
    let case = Case::new("192.0.2.7:1234", Trust::Untrusted);
    let headers = written(&case, None, &[("traceparent", "a"), ("traceparent", "b"), ("tracestate", "c=d")]);
    assert!(!headers.contains_key("traceparent") && !headers.contains_key("tracestate"), "{headers:?}");
}

#[test]
fn fields_that_are_set_say_what_the_claims_say_or_are_not_there() {
    let case = ruled(Trust::Untrusted);
    for (claims, user, mixed) in [
        (json!({"oid": "7f3a", "realm": {"id": 5}}), Some("7f3a"), Some("v1 5;7f3a")),
        (json!({"oid": "7f3a"}), Some("7f3a"), None),
        (
            json!({"oid": "a\r\nx-admin: 1", "realm.id": "r"}),
            Some("a%0D%0Ax-admin: 1"),
            Some("v1 r;a%0D%0Ax-admin: 1"),
        ),
        (json!({"oid": ["a", "b,c"], "realm": {"id": [1, 2]}}), Some("a,b%2Cc"), Some("v1 1,2;a,b%2Cc")),
        (json!({"oid": {"a": 1}}), None, None),
        (json!({"oid": null, "realm": {"id": "r"}}), None, None),
        (json!({}), None, None),
    ] {
        let caller = caller(claims.clone());
        let headers =
            written(&case, Some(&caller), &[("host", "a"), ("x-user-id", "eve"), ("cookie", "a=b")]);
        assert_eq!(all(&headers, "x-user-id"), Vec::from_iter(user), "{claims}");
        assert_eq!(all(&headers, "x-mixed"), Vec::from_iter(mixed), "{claims}");
        assert_eq!(all(&headers, "x-key"), ["{k}"]);
        assert!(!headers.contains_key("cookie") && !headers.contains_key("x-admin"));
        assert!(headers["x-key"].is_sensitive());
    }
    // nobody is asked who they are
    let headers = written(&case, None, &[("x-user-id", "eve"), ("x_mixed", "eve")]);
    assert!(!headers.contains_key("x-user-id") && !headers.contains_key("x_mixed"));
    assert_eq!(all(&headers, "x-key"), ["{k}"]);
}

#[test]
fn trailers_cannot_say_what_is_for_the_route_to_say() {
    let case = ruled(Trust::Untrusted);
    let mut trailers = map(&[
        ("x-user-id", "eve"),
        ("x_user_id", "eve"),
        ("x-debug", "1"),
        ("cookie", "a"),
        ("x-sum", "1"),
        ("host", "b"),
    ]);
    rewrite_request_trailers(&mut trailers, case.route.treatment.headers.as_deref());
    assert_eq!(names(&trailers), ["x-sum"]);
}

/// A name as some other back end might take for it.
fn spelling(name: &'static str) -> impl Strategy<Value = String> {
    let signs = prop::collection::vec(
        (prop::sample::select(vec!['-', '_', '.', '~', '!', '+']), any::<bool>()),
        name.len(),
    );
    signs.prop_map(|signs| {
        let spelt = |(own, (sign, is_upper)): (char, (char, bool))| match (own, is_upper) {
            ('-', _) => sign,
            (own, true) => own.to_ascii_uppercase(),
            (own, false) => own,
        };
        name.chars().zip(signs).map(spelt).collect()
    })
}

fn some_name() -> impl Strategy<Value = String> {
    let known: Vec<&str> = HOP_BY_HOP
        .iter()
        .chain(&FORWARDING)
        .chain(&[
            "authorization",
            "host",
            "cookie",
            "x-forwarded-for",
            "x_forwarded_for",
            "x-request-id",
            "x-a",
        ])
        .copied()
        .collect();
    prop_oneof![3 => prop::sample::select(known).prop_map(String::from), 1 => "[a-z_-]{1,8}"]
}

proptest! {
    #[test]
    fn whatever_comes_in_what_goes_out_holds_together(
        fields in prop::collection::vec((some_name(), "[ -~]{0,12}"), 0..12),
        named in prop::collection::vec(some_name(), 0..4),
        is_trusted in any::<bool>(),
        kind in 0..3,
    ) {
        let trust = if is_trusted { Trust::Trusted } else { Trust::Untrusted };
        let case = Case::new("192.0.2.7:1234", trust);
        let theirs = HeaderValue::from_static("Bearer theirs");
        let authorization = match kind {
            0 => Authorization::Replace(&case.ours),
            1 => Authorization::Keep(&theirs),
            _ => Authorization::Remove,
        };
        let connection = named.join(", ");
        let mut all_fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all_fields.push(("connection", &connection));
        let mut headers = map(&all_fields);
        let is_asked_for_trailers = lists(&headers, &header::TE, "trailers");
        rewrite_request(&mut headers, &Onward { authorization, ..case.onward() });

        let authorizations: Vec<_> = headers.get_all("authorization").iter().collect();
        match kind {
            0 => prop_assert_eq!(authorizations, [&case.ours]),
            1 => prop_assert!(authorizations.is_empty() || authorizations == [&theirs]),
            _ => prop_assert!(authorizations.is_empty()),
        }
        prop_assert!(headers.get_all("host").iter().count() <= 1);
        for name in HOP_BY_HOP.into_iter().filter(|name| *name != "te") {
            prop_assert!(!headers.contains_key(name), "{}", name);
        }
        prop_assert_eq!(
            all(&headers, "te"),
            if is_asked_for_trailers { vec!["trailers"] } else { Vec::new() }
        );
        // of what Connection named only ours is there
        for name in &named {
            let is_ours = headers.get_all(name).iter().all(|value| {
                value == case.ours
                    || value == case.request_id
                    || name == "host"
                    || (name == "te" && value == "trailers")
                    || (is_forwarding(name) && value.to_str().unwrap().contains("192.0.2.7"))
            });
            prop_assert!(is_ours, "{}", name);
        }
        if !is_trusted {
            for (name, value) in &headers {
                let value = value.to_str().unwrap_or_default();
                prop_assert!(
                    !is_forwarding(name.as_str())
                        || ["x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"].contains(&name.as_str())
                        || value == "192.0.2.7"
                        || value.starts_with("for=192.0.2.7"),
                    "{}: {}", name, value
                );
            }
        }
    }

    #[test]
    fn no_spelling_of_a_name_that_is_ours_survives(
        fields in prop::collection::vec(
            (prop_oneof![spelling("x-user-id"), spelling("x-mixed"), spelling("x-key"), spelling("cookie"), spelling("x-debug")], "[!-~]{1,8}"),
            0..8,
        ),
        named in prop::collection::vec(prop_oneof![spelling("x-user-id"), spelling("x-key")], 0..3),
        is_trusted in any::<bool>(),
        is_known in any::<bool>(),
    ) {
        let case = ruled(if is_trusted { Trust::Trusted } else { Trust::Untrusted });
        let caller = caller(json!({"oid": "our word"}));
        let connection = named.join(",");
        let mut all_fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        all_fields.extend([("connection", connection.as_str()), ("x-other", "stays")]);
        let headers = written(&case, is_known.then_some(&caller), &all_fields);
        let folded = |name: &HeaderName| name.as_str().replace(|sign: char| !sign.is_ascii_alphanumeric(), "-");
        for (name, value) in &headers {
            match folded(name).as_str() {
                "x-user-id" => prop_assert_eq!((name.as_str(), value.as_bytes()), ("x-user-id", &b"our word"[..])),
                "x-key" => prop_assert_eq!((name.as_str(), value.as_bytes()), ("x-key", &b"{k}"[..])),
                "x-mixed" | "cookie" | "x-debug" => prop_assert!(false, "{:?} is there", name),
                _ => {}
            }
        }
        prop_assert_eq!(all(&headers, "x-user-id").len(), usize::from(is_known));
        prop_assert_eq!((all(&headers, "x-key").len(), all(&headers, "x-other")), (1, vec!["stays"]));
    }

    #[test]
    fn an_element_of_forwarded_cannot_be_broken_out_of(host in "[ -~]{0,12}") {
        let element = forwarded(Some("192.0.2.7"), Some(&host), "http");
        let element = element.to_str().unwrap();
        let mut is_quoted = false;
        let mut is_escaped = false;
        let mut separators = 0;
        for byte in element.bytes() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b';' | b',' if !is_quoted => separators += 1,
                _ => {}
            }
        }
        prop_assert_eq!((separators, is_quoted), (2, false), "{}", element);
    }
}
