//! What goes on of a request's fields, and of an answer's; who asked, and whose scripts may read. Words in the first line say how: `trusted`, `keep`, `remove`,
//! `https`, `public`; then fields; after an empty line the caller's claims.

use std::net::SocketAddr;
use std::sync::LazyLock;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::header;
use obo_proxy::config::Cors;
use obo_proxy::config::HOP_BY_HOP;
use obo_proxy::config::HostRewrite;
use obo_proxy::config::Scheme;
use obo_proxy::config::TrustedProxies;
use obo_proxy::config::is_spelling_of;
use obo_proxy::domain::caller::Claims;
use obo_proxy::domain::caller::Principal;
use obo_proxy::domain::caller::UserKey;
use obo_proxy::domain::clock::UnixTime;
use obo_proxy::domain::derived::Derived;
use obo_proxy::domain::digest::Digest;
use obo_proxy::domain::peer::Peer;
use obo_proxy::domain::peer::Trust;
use obo_proxy::domain::scope::Scopes;
use obo_proxy::pipeline::accept::client;
use obo_proxy::pipeline::authenticate::json;
use obo_proxy::pipeline::forward::Authorization;
use obo_proxy::pipeline::forward::Onward;
use obo_proxy::pipeline::forward::headers;
use obo_proxy::pipeline::respond::cors;
use serde_json::Map;
use serde_json::Value;

use super::material;
use super::material::CONFIG;

const OURS: HeaderValue = HeaderValue::from_static("Bearer ours");
const REQUEST_ID: HeaderValue = HeaderValue::from_static("0d9f3c7a");
/// What we say of where a request came from.
const WRITTEN: [&str; 5] =
    ["forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"];

static PEERS: LazyLock<[Peer; 2]> = LazyLock::new(|| {
    let address = "192.0.2.7:1234".parse().ok();
    [Trust::Untrusted, Trust::Trusted].map(|trust| Peer::new(address, trust))
});

/// One `Authorization`, ours; nothing that concerned the connection; nothing that the caller could say in our name.
pub fn check(bytes: &[u8]) {
    let (top, rest) = material::halves(bytes);
    let mut lines = top.split(|byte| *byte == b'\n');
    let words: Vec<&[u8]> = lines.next().unwrap_or_default().split(|byte| *byte == b' ').collect();
    let says = |word: &str| words.contains(&word.as_bytes());
    let before = material::fields(lines);
    let caller = json::object(rest, 8).map(claims);
    let route = material::route(if says("public") { "public" } else { "all" });
    let theirs = before.get(header::AUTHORIZATION).cloned();
    let authorization = match &theirs {
        _ if says("remove") => Authorization::Remove,
        Some(theirs) if says("keep") => Authorization::Keep(theirs),
        _ => Authorization::Replace(&OURS),
    };
    let onward = Onward {
        route,
        path: "/",
        authorization,
        caller: caller.as_ref(),
        peer: &PEERS[usize::from(says("trusted"))],
        scheme: if says("https") { Scheme::Https } else { Scheme::Http },
        request_id: &REQUEST_ID,
        trace: None,
        websocket: None,
    };
    let mut after = before.clone();
    headers::rewrite_request(&mut after, &onward);
    check_request(&before, &after, &onward);
    check_answer(&before);
    check_client(&before);
    check_sharing(&before);
}

fn check_request(before: &HeaderMap, after: &HeaderMap, onward: &Onward<'_>) {
    let named = named_by_connection(before);
    let own: Vec<&HeaderValue> = after.get_all(header::AUTHORIZATION).iter().collect();
    match onward.authorization {
        Authorization::Replace(ours) => assert_eq!(own, [ours]),
        Authorization::Keep(theirs) if named.contains(&header::AUTHORIZATION) => {
            assert!(own.is_empty(), "{theirs:?}")
        }
        Authorization::Keep(theirs) => assert_eq!(own, [theirs]),
        Authorization::Remove => assert!(own.is_empty()),
    }
    assert!(own.iter().all(|value| value.is_sensitive()));
    assert_eq!(after.get_all("x-request-id").iter().collect::<Vec<_>>(), [REQUEST_ID]);
    for name in HOP_BY_HOP {
        let values: Vec<&HeaderValue> = after.get_all(name).iter().collect();
        assert!(values.is_empty() || (name == "te" && values == ["trailers"]), "{name}");
    }
    assert!(!after.contains_key("dpop"));
    let host = before.get(header::HOST);
    let expected = host.filter(|_| onward.route.rewrite.host == HostRewrite::Preserve);
    assert_eq!(after.get(header::HOST), expected);
    let peer = onward.peer.forwarded_for.as_ref().unwrap();
    // what only a trusted proxy may say, it may say more than once
    let once = if onward.peer.trust == Trust::Untrusted { &WRITTEN[..] } else { &WRITTEN[..2] };
    for name in once {
        assert!(after.get_all(*name).iter().count() <= 1, "{name}");
    }
    if onward.peer.trust == Trust::Untrusted {
        assert_eq!(after["x-forwarded-for"], peer);
        assert!(after["forwarded"].as_bytes().starts_with(b"for=192.0.2.7;"));
        assert_eq!(after["x-forwarded-proto"], if onward.scheme == Scheme::Https { "https" } else { "http" });
        assert_eq!(after.get("x-forwarded-host"), host);
        let is_claim = |name: &str| {
            let name = name.replace('_', "-");
            name.starts_with("x-forwarded") || name.starts_with("x-original-") || name == "x-real-ip"
        };
        assert!(after.keys().all(|name| !is_claim(name.as_str()) || WRITTEN.contains(&name.as_str())));
    } else {
        assert!(after["x-forwarded-for"].as_bytes().ends_with(peer.as_bytes()));
    }
    let rules = onward.route.treatment.headers.as_deref();
    for name in after.keys().filter(|name| rules.is_some_and(|rules| rules.owns(name.as_str()))) {
        assert!(["x-user", "x-groups"].contains(&name.as_str()), "{name}");
    }
    if rules.is_some() {
        check_rendered(after, "x-user", "", onward.caller.and_then(|caller| caller.find("oid")));
        check_rendered(after, "x-groups", "groups=", onward.caller.and_then(|caller| caller.find("groups")));
    }
    // whose trace it is cannot be said twice
    const TRACE: [&str; 2] = ["traceparent", "tracestate"];
    let is_traced_twice = before.get_all(TRACE[0]).iter().count() > 1;
    assert!(!is_traced_twice || TRACE.iter().all(|name| !after.contains_key(*name)));
    // whatever else was sent goes on as it was
    let is_kept = |name: &HeaderName| {
        let text = name.as_str();
        let of_ours =
            ["authorization", "host", "x-request-id", "dpop"].contains(&text) || WRITTEN.contains(&text);
        let dashed = text.replace('_', "-");
        let of_proxies = ["x-", "forwarded", "true-client-ip", "cf-connecting-ip", "fastly-client-ip"];
        let is_marked = of_proxies.iter().any(|prefix| dashed.starts_with(prefix));
        let is_owned = ["x-user", "x-groups", "x-debug"].iter().any(|own| is_spelling_of(text, own));
        let is_dropped = is_traced_twice && TRACE.contains(&text);
        !of_ours
            && !is_dropped
            && !HOP_BY_HOP.contains(&text)
            && !named.contains(name)
            && !is_marked
            && !is_owned
    };
    for name in before.keys().filter(|name| is_kept(name)) {
        assert_eq!(values(after, name), values(before, name), "{name}");
    }
}

/// What stands in a field for a claim can be read back, and stays within it.
fn check_rendered(after: &HeaderMap, name: &str, prefix: &str, claim: Option<&Value>) {
    let Some(value) = after.get(name) else { return };
    assert_eq!(after.get_all(name).iter().count(), 1);
    let text = value.to_str().unwrap().strip_prefix(prefix).unwrap();
    assert!(material::is_plain(text) && value.is_sensitive());
    let decoded = |text: &str| {
        let form = format!("x={}", text.replace('+', "%2B").replace('&', "%26"));
        url::form_urlencoded::parse(form.as_bytes()).next().unwrap().1.into_owned()
    };
    match claim.unwrap() {
        Value::String(claim) => assert_eq!(decoded(text), *claim),
        Value::Array(items) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), String::from))
                .collect();
            assert_eq!(text.split(',').map(decoded).collect::<Vec<_>>(), items);
        }
        scalar => assert_eq!(text, scalar.to_string()),
    }
}

/// The same fields as those of an answer, and as trailers.
fn check_answer(before: &HeaderMap) {
    let mut after = before.clone();
    headers::rewrite_response(&mut after);
    let named = named_by_connection(before);
    for (name, value) in &after {
        assert!(!HOP_BY_HOP.contains(&name.as_str()) && !named.contains(name), "{name}");
        assert!(name == header::CONTENT_LENGTH || before.get_all(name).iter().any(|own| own == value));
    }
    let lengths: Vec<&HeaderValue> = after.get_all(header::CONTENT_LENGTH).iter().collect();
    assert!(lengths.len() <= 1 && lengths.iter().all(|length| !length.as_bytes().contains(&b',')));
    let mut again = after.clone();
    headers::rewrite_response(&mut again);
    assert_eq!(again, after);
    let mut trailers = before.clone();
    headers::rewrite_trailers(&mut trailers);
    for name in ["authorization", "content-length", "host", "cookie", "x-request-id", "forwarded"] {
        assert!(!trailers.contains_key(name), "{name}");
    }
    for name in HOP_BY_HOP {
        assert!(!trailers.contains_key(name), "{name}");
    }
}

/// Who asked is whom the last trusted proxy names: nothing that was written before it changes that.
fn check_client(headers: &HeaderMap) {
    let trusted = TrustedProxies { networks: vec!["10.0.0.0/8".parse().unwrap()], unix: Trust::Untrusted };
    let found = |headers: &HeaderMap, peer: &str| {
        let address: SocketAddr = peer.parse().unwrap();
        let peer = Peer::new(Some(address), trusted.trust(Some(address.ip())));
        client::address(headers, &peer, &trusted).unwrap()
    };
    assert_eq!(found(headers, "192.0.2.7:1").to_string(), "192.0.2.7");
    let named = found(headers, "10.0.0.1:1");
    if trusted.trust(Some(named)) == Trust::Trusted {
        return;
    }
    for (name, lie) in [("x-forwarded-for", "203.0.113.9, 10.0.0.9"), ("forwarded", "for=203.0.113.9")] {
        let mut lying = headers.clone();
        if lying.insert(name, HeaderValue::from_static(lie)).is_some() {
            for value in headers.get_all(name) {
                lying.append(name, value.clone());
            }
            assert_eq!(found(&lying, "10.0.0.1:1"), named, "{name}");
        }
    }
}

/// Whose scripts may read an answer is for us to say, whatever its upstream says.
fn check_sharing(headers: &HeaderMap) {
    let [ours, other] = ["https://app.example", "https://other.example"].map(HeaderValue::from_static);
    for (cors, origin, allowed) in [
        (Cors::Any, Some(&other), Some("*")),
        (Cors::Any, None, None),
        (Cors::Origins(vec![ours.clone()]), Some(&ours), Some("https://app.example")),
        (Cors::Origins(vec![ours.clone()]), Some(&other), None),
        (Cors::Origins(vec![ours.clone()]), None, None),
    ] {
        let mut after = headers.clone();
        cors::share(&mut after, &cors, origin);
        let told = after.iter().filter(|(name, _)| name.as_str().starts_with("access-control-"));
        let told: Vec<_> = told.filter(|(name, _)| *name != header::ACCESS_CONTROL_EXPOSE_HEADERS).collect();
        match allowed {
            Some(allowed) => assert!(
                matches!(told[..], [(name, value)] if name == header::ACCESS_CONTROL_ALLOW_ORIGIN && value == allowed),
                "{told:?}"
            ),
            None => assert!(told.is_empty(), "{told:?}"),
        }
        assert!(cors == Cors::Any || after.contains_key(header::VARY));
    }
}

fn values<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h HeaderValue> {
    headers.get_all(name).iter().collect()
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let lists = headers.get_all(header::CONNECTION).iter();
    let names = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

fn claims(all: Map<String, Value>) -> Claims {
    let end = UnixTime::from_seconds(2_000_000_000);
    Claims {
        identity_provider: CONFIG.identity_providers[0].name.clone(),
        issuer: String::new(),
        tenant: None,
        user: UserKey::entra("o"),
        user_digest: Digest::of(b"u"),
        client: None,
        scopes: Scopes::parse(""),
        roles: Vec::new(),
        principal: Principal::User,
        expires_on: end,
        not_before: None,
        token_digest: Digest::of(b"t"),
        claims_digest: Digest::of(b"c"),
        all,
        derived: Derived::default(),
    }
}
