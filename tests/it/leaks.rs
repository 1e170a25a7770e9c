//! Every flow at level trace, with a word in each secret that may be nowhere else: not in the log, the metrics, the probes, the
//! spans or the answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use obo_proxy::domain::clock::Clock;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::certificates::Authority;
use crate::support::collector::Collector;
use crate::support::fleet::encryption_key;
use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::idp::Received;
use crate::support::idp::exchanged;
use crate::support::listen;
use crate::support::raw;
use crate::support::redis::Redis;
use crate::support::sidecar::Sidecar;
use crate::support::until;

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
/// Is in every secret.
const CANARY: &str = "can4ry";

/// The word as it is, and in base64 wherever it may begin.
fn needles() -> Vec<String> {
    let within = |before: usize| {
        let text = format!("{}{CANARY}", "x".repeat(before));
        let encoded = STANDARD.encode(text.as_bytes());
        let encoded = encoded.trim_end_matches('=');
        // the first and the last characters hold bits of what is around it
        let (start, end) = ((before * 8).div_ceil(6), text.len() * 8 / 6);
        encoded[start..end].to_owned()
    };
    let hex: String = CANARY.bytes().map(|byte| format!("{byte:02x}")).collect();
    [CANARY.to_owned(), hex].into_iter().chain((0..3).map(within)).collect()
}

fn assert_clean(what: &str, text: &str) {
    for needle in needles().iter().map(String::as_str).chain(["eyJ"]) {
        let line = text.lines().find(|line| line.to_lowercase().contains(&needle.to_lowercase()));
        assert!(line.is_none(), "{needle} is in {what}: {line:?}");
    }
}

#[test]
fn a_leak_would_be_found() {
    for text in ["x-can4ry", "%2Fcan4ry%3D", "CAN4RY"]
        .map(String::from)
        .into_iter()
        .chain((0..6).map(|before| STANDARD.encode(format!("{}{CANARY}-and more", "y".repeat(before)))))
    {
        assert!(std::panic::catch_unwind(|| assert_clean("a text", &text)).is_err(), "{text}");
    }
    assert_clean("a text", "a canary and nothing else");
}

/// An API that demands more where it is asked for that, and agrees to WebSockets.
async fn upstream() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = listen().await;
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    match socket.read_u8().await {
                        Ok(byte) => head.push(byte.into()),
                        Err(_) => return,
                    }
                }
                let claims =
                    STANDARD.encode(json!({"access_token": {"can4ry": {"essential": true}}}).to_string());
                if head.starts_with("GET /obo/socket") {
                    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
                    let _ = socket.write_all(agreement(key).as_bytes()).await;
                    let (mut read, mut write) = socket.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                    return;
                }
                let answer = if head.starts_with("GET /obo/challenge") {
                    format!(
                        "HTTP/1.1 401 x\r\nwww-authenticate: Bearer error=\"insufficient_claims\", claims=\"{claims}\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    )
                } else if head.starts_with("GET /obo/garbled") {
                    "can4ry\r\n\r\n".to_owned()
                } else {
                    "HTTP/1.1 200 OK\r\nx-more: can4ry\r\nset-cookie: can4ry=1\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}".to_owned()
                };
                kept.lock().unwrap().push(head);
                let _ = socket.write_all(answer.as_bytes()).await;
                let _ = socket.shutdown().await;
            });
        }
    });
    (address, heads)
}

/// What the identity provider says, as the user's name has it.
fn script(asked: &Received) -> Answer {
    if asked.path.ends_with("introspect") {
        let now = Clock::system().now().as_seconds();
        return Answer::json(
            200,
            &json!({
                "active": true, "sub": "can4ry-sub", "aud": "orders", "scope": "orders.read", "client_id": "can4ry-client",
                "username": "can4ry", "exp": now + 3600, "iat": now,
            }),
        );
    }
    if asked.get("grant_type") == "client_credentials" {
        return Answer::granted("can4ry-token-of-ours");
    }
    if asked.get("grant_type").ends_with("token-exchange") {
        return Answer::json(200, &exchanged("can4ry-token-b"));
    }
    let assertion = asked.get("assertion");
    let [_, claims] = crate::support::idp::parts(assertion);
    let said = |error: &str, more: Value| {
        let mut body = json!({
            "error": error, "error_description": "AADSTS1: can4ry-description Trace ID: x", "error_codes": [1],
            "error_uri": "https://login.example/error?code=can4ry",
        });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Answer::json(400, &body)
    };
    match claims["oid"].as_str().unwrap_or_default() {
        "mfa" => said(
            "interaction_required",
            json!({"claims": "{\"access_token\":{\"can4ry\":{\"essential\":true}}}"}),
        ),
        "blocked" => said("access_denied", json!({"suberror": "made_up"})),
        "unfit" => said("invalid_client", json!({})),
        "odd" => said("made_up", json!({})),
        "garbled" => Answer::text(200, "text/html", "<html>can4ry</html>"),
        "empty" => Answer::json(200, &json!({"token_type": "can4ry", "access_token": "can4ry-b"})),
        "down" => Answer::text(500, "text/plain", "can4ry"),
        "echo" => Answer::granted(assertion),
        _ => Answer::granted("can4ry-token-b"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_anywhere_but_where_it_belongs() {
    let more = json!({});
    let idp = Idp::start_with(more, obo_proxy::app::server::Transport::Plain, script).await;
    let (upstream, heads) = upstream().await;
    let collector = Collector::answering(Some((200, ""))).await;
    let redis = Redis::guarded("can4ry-redis");
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    Authority::new().issue("proxy").write(directory.path(), "ours");
    std::fs::write(directory.path().join("redis-password"), "can4ry-redis").unwrap();
    std::fs::write(directory.path().join("encryption-key"), encryption_key(7)).unwrap();
    let authority = idp.authority();
    let providers = format!(
        r#"
  contoso:
    entra: {{ tenant: {TENANT}, authority: "{authority}" }}
    client_id: {CLIENT}
    client_capabilities: [cp1]
    credential: {{ secret: {{ env: SECRET }} }}
  certified:
    oidc: {{ issuer: "{authority}" }}
    client_id: can4ry-client-id
    audiences: [orders]
    grant: jwt_bearer
    credential: {{ certificate: {{ file: "{}", key: "{}", algorithm: ES256 }} }}
  partner:
    oidc: {{ issuer: "{authority}", introspection_endpoint: "{authority}/introspect" }}
    client_id: can4ry-client-id
    audiences: [orders]
    introspection: true
    grant: token_exchange
    credential: {{ secret: {{ env: SECRET }} }}"#,
        file("ours.crt"),
        file("ours.key"),
    );
    let routes = format!(
        r#"
  obo: {{ match: /obo, upstream: "http://{upstream}", identity_provider: contoso, headers: {{ set: {{ x-name: "{{claims.name}}" }} }}, exchange: {{ scopes: [api://b/.default], app_tokens: client_credentials }}, require: {{ scopes: [orders.read] }} }}
  certified: {{ match: /certified, upstream: "http://{upstream}", identity_provider: certified, exchange: {{ scopes: [api://b/.default] }} }}
  partner: {{ match: /partner, upstream: "http://{upstream}", identity_provider: partner, exchange: {{ audience: b, actor: self }} }}
  raw: {{ match: /raw, upstream: "http://{upstream}", identity_provider: contoso, token: passthrough }}
  open: {{ match: /open, upstream: "http://{upstream}", auth: anonymous, token: passthrough }}
  dead: {{ match: /dead, upstream: "http://127.0.0.1:1", identity_provider: contoso, exchange: {{ scopes: [api://b/.default] }} }}"#,
    )
    .replace(", app_tokens: client_credentials", "");
    let sections = format!(
        "cache: {{ redis: {{ url: \"{}\", password: {{ file: \"{}\" }}, encryption_keys: [{{ file: \"{}\" }}], timeout: 2s }} }}",
        redis.url(),
        file("redis-password"),
        file("encryption-key"),
    );
    let endpoint = collector.url();
    let sidecar = Sidecar::start_with(
        &providers,
        &routes,
        &sections,
        &[
            ("SECRET", "can4ry-secret+/="),
            ("OBO__TELEMETRY__LOGS__LEVEL", "trace"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=can4ry"),
            ("OTEL_TRACES_SAMPLER", "always_on"),
        ],
    )
    .await;
    sidecar.ready().await;

    let token = |user: &str| {
        let personal =
            json!({"name": "can4ry", "upn": "can4ry@contoso.com", "email": "x@can4ry", "azp": "can4ry-app"});
        idp.entra_token(TENANT, user, personal)
    };
    let mut bodies = String::new();
    let mut call = async |path: &str, token: &str, expected: &[u16]| {
        let answer = sidecar.get(&format!("{path}?code=can4ry&state=can4ry"), token).await;
        let log = || sidecar.proxy.lines(|message| message == "refused");
        assert!(expected.contains(&answer.status.as_u16()), "{path}: {answer:?}\n{:#?}", log().last());
        if answer.header("content-type") == "application/problem+json" {
            let mut body = answer.json();
            // claims are for the caller
            let _ = body.as_object_mut().unwrap().remove("claims");
            bodies += &format!("{body}\n");
        }
    };
    let alice = token("alice");
    call("/obo", &alice, &[200]).await;
    call("/obo", &alice, &[200]).await;
    call("/obo/challenge", &alice, &[401]).await;
    call("/obo/garbled", &alice, &[502]).await;
    call("/certified", &idp.token("alice", json!({"name": "can4ry"})), &[200]).await;
    call("/partner", "can4ry-opaque-token-a", &[200]).await;
    call("/raw", &alice, &[200]).await;
    call("/open", "can4ry", &[200]).await;
    call("/dead", &alice, &[502]).await;
    for (user, status) in [
        ("mfa", 401),
        ("blocked", 403),
        ("odd", 502),
        ("garbled", 502),
        ("empty", 502),
        ("echo", 502),
        ("down", 503),
        ("unfit", 502),
    ] {
        call("/obo", &token(user), &[status]).await;
    }
    // refused before anybody is asked
    let refused = [
        idp.entra_token(TENANT, "alice", json!({"aud": "can4ry"})),
        idp.entra_token(TENANT, "alice", json!({"iss": "https://can4ry.example"})),
        idp.entra_token(TENANT, "alice", json!({"exp": 1, "name": "can4ry"})),
        idp.entra_token(TENANT, "alice", json!({"scp": "can4ry"})),
        format!("{alice}can4ry"),
        "can4ry.can4ry.can4ry".to_owned(),
        "can4ry".to_owned(),
    ];
    for token in &refused {
        call("/obo", token, &[401, 403]).await;
    }
    let address: SocketAddr = sidecar.proxy.address.parse().unwrap();
    for head in [
        format!("GET /obo?access_token={alice} HTTP/1.1\r\nhost: x\r\n"),
        format!(
            "GET /obo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {alice}\r\nauthorization: Bearer can4ry\r\n"
        ),
        "GET /obo HTTP/1.1\r\nhost: x\r\nauthorization: Basic Y2FuNHJ5OmNhbjRyeQ==\r\n".to_owned(),
        format!(
            "POST /obo HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {alice}\r\ncookie: can4ry\r\ntransfer-encoding: can4ry\r\n"
        ),
        format!("GET /obo HTTP/1.1\r\nhost: can4ry can4ry\r\nauthorization: Bearer {alice}\r\n"),
    ] {
        let answer = raw(address, &format!("{head}connection: close\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.1 501"), "{answer}");
        bodies += answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        bodies.push('\n');
    }
    websocket(address, &alice).await;
    // a bad configuration has secrets too
    let good = std::fs::read_to_string(sidecar.proxy.directory().join("config.yaml")).unwrap();
    let bad = good.replace("{ env: SECRET }", "{ value: can4ry, vaule: can4ry }");
    assert_ne!(good, bad);
    let said = sidecar.proxy.reload(&bad);
    assert!(said["msg"].as_str().unwrap().starts_with("the configuration is refused"), "{said}");

    let probes = ["/metrics", "/livez", "/readyz", "/startupz", "/can4ry"];
    let mut told = String::new();
    for path in probes {
        told += &String::from_utf8_lossy(&sidecar.probe(path).await.body);
    }
    let entries = async || redis.entries();
    until("tokens are shared", async || !entries().await.is_empty()).await;
    let seen = heads.lock().unwrap().concat();
    assert!(seen.contains("can4ry-token-b") && seen.contains("x-name: can4ry"), "{seen}");
    let questions = idp.received();
    let used = |name: &str| questions.iter().any(|asked| !asked.get(name).is_empty());
    assert!(used("client_assertion") && used("actor_token") && used("claims") && used("client_secret"));
    let stopping = sidecar.proxy;
    let (code, log) = tokio::task::spawn_blocking(move || stopping.stop()).await.unwrap();
    assert_eq!(code, Some(0), "{log}");
    let spans: String =
        collector.exports().iter().map(|export| String::from_utf8_lossy(&export.body).into_owned()).collect();
    for (what, text, witness) in [
        ("the log", &log, "\"level\":\"trace\""),
        ("the log, of exchanges", &log, "\"target\":\"audit\""),
        ("the answers", &bodies, "proxy_misconfigured"),
        ("probes and metrics", &told, "obo_refusals_total"),
        ("the spans", &spans, "POST token"),
    ] {
        assert!(text.contains(witness), "there is nothing to look at in {what}: {text}");
        assert_clean(what, text);
    }
}

/// The answer that agrees to a WebSocket (RFC 6455 section 4.2.2).
fn agreement(key: &str) -> String {
    let key = [key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    let accept = STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes()));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// Opens a WebSocket, and sends a message that comes back as it went.
async fn websocket(address: SocketAddr, token: &str) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /obo/socket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\ncookie: can4ry\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        answer.push(socket.read_u8().await.unwrap().into());
    }
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    // masked with nothing
    let message = b"\x81\x86\0\0\0\0can4ry";
    socket.write_all(message).await.unwrap();
    let mut echo = [0; 12];
    socket.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, message);
}
