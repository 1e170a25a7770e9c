//! A forward proxy on the way to the identity provider: the binary does its whole job through one, tells what is wrong with
//! it, and goes nowhere else by it.

use std::fs;
use std::net::SocketAddr;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;

use obo_proxy::app::server::Transport;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::task::JoinSet;

use crate::support::certificates::Authority;
use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::idp::Received;
use crate::support::listen;
use crate::support::redis::free_port;
use crate::support::sidecar::Sidecar;
use crate::support::until;

const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const ALICE: &str = "a11ce000-5b1e-4c55-8d0a-0a4c3f1e7b01";

/// A name that nobody knows but the proxy.
const FAR: &str = "id.far.example";

const ROUTES: &str = "
  orders: { match: /, exchange: { audience: inventory, scopes: [inventory] } }
";

/// What a relay does when it is asked for something.
#[derive(Clone, Copy)]
enum Mood {
    /// It leads there, whatever was asked for.
    Lead(SocketAddr),
    Say(&'static str),
    Hang,
    HangUp,
}

/// A proxy that notes what it is asked for.
struct Relay {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
}

struct State {
    mood: Mood,
    heads: Vec<String>,
    tunnels: JoinSet<()>,
}

impl Relay {
    async fn start(mood: Mood) -> Self {
        let listener = listen().await;
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { mood, heads: vec![], tunnels: JoinSet::new() }));
        let shared = state.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let serving = serve(stream, shared.clone());
                shared.lock().unwrap().tunnels.spawn(serving);
            }
        });
        Self { address, state, accepting: accepting.abort_handle() }
    }

    /// Does otherwise from now on; what it led to is cut.
    fn turn(&self, mood: Mood) {
        let mut state = self.state.lock().unwrap();
        state.mood = mood;
        state.tunnels.abort_all();
    }

    /// What it was asked: the request line, and all.
    fn heads(&self) -> Vec<String> {
        self.state.lock().unwrap().heads.clone()
    }

    /// The targets and the methods it was asked for, each once.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.heads().iter().map(|head| head.lines().next().unwrap().to_owned()).collect();
        lines.sort();
        lines.dedup();
        lines
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let mood = {
        let mut state = state.lock().unwrap();
        state.heads.push(String::from_utf8(head).unwrap());
        state.mood
    };
    match mood {
        Mood::Lead(to) => {
            let mut there = TcpStream::connect(to).await.unwrap();
            // as old as some proxies are
            stream.write_all(b"HTTP/1.0 200 Connection established\r\nvia: 1.0 relay\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut there).await;
        }
        Mood::Say(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Mood::Hang => {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
        Mood::HangUp => {}
    }
}

/// An identity provider over TLS that is known by `name`, and a file with the roots that its certificate hangs from.
async fn idp(name: &str, directory: &TempDir, script: fn(&Received) -> Answer) -> (Idp, String) {
    let authority = Authority::new();
    let roots = directory.path().join("roots.pem");
    fs::write(&roots, authority.pem()).unwrap();
    let tls = Transport::Tls(authority.server_called(name).into());
    (Idp::start_as(name, json!({}), tls, script).await, roots.display().to_string())
}

/// Where it is, whatever its name.
fn place(idp: &Idp) -> SocketAddr {
    let port = idp.authority().rsplit_once(':').unwrap().1.parse().unwrap();
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn connect(idp: &Idp) -> String {
    format!("CONNECT {} HTTP/1.1", idp.authority().strip_prefix("https://").unwrap())
}

fn partner(idp: &Idp, more: &str) -> String {
    format!(
        r#"
  partner:
    oidc: {{ issuer: "{}" }}
    client_id: orders-proxy
    audiences: [orders]
    credential: {{ secret: {{ env: SECRET }} }}
    timeout: 1s
    {more}"#,
        idp.authority()
    )
}

fn script(asked: &Received) -> Answer {
    match asked.path.as_str() {
        "/introspect" => Answer::json(
            200,
            &json!({
                "active": true, "sub": "bob", "aud": "orders", "client_id": "spa", "scope": "orders.read",
                "exp": 4_000_000_000_i64,
            }),
        ),
        _ => Answer::exchanged("b"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_for_the_identity_provider_goes_through_the_proxy_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (idp, roots) = idp(FAR, &directory, script).await;
    let relay = Relay::start(Mood::Lead(place(&idp))).await;
    let more = format!("introspection: true\n    proxy: http://{}", relay.address);
    let sidecar = Sidecar::start(&partner(&idp, &more), ROUTES, &[("SSL_CERT_FILE", &roots)]).await;
    let token = idp.token("alice", json!({}));
    assert_eq!(sidecar.token_b("/", &token).await, "b");
    assert_eq!(sidecar.token_b("/", "an-opaque-token").await, "b");
    let paths: Vec<String> = idp.received().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths, ["/token", "/introspect", "/token"]);
    assert_eq!(relay.lines(), [connect(&idp)], "no other host, and nothing but tunnels");
    let seen = relay.heads().concat();
    assert!(!seen.to_lowercase().contains("authorization"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_the_proxy_its_login_and_its_exceptions() {
    let directory = tempfile::tempdir().unwrap();
    let (idp, roots) = idp(FAR, &directory, |_| Answer::granted("b")).await;
    let relay = Relay::start(Mood::Lead(place(&idp))).await;
    let provider = format!(
        r#"
  contoso:
    entra: {{ tenant: {TENANT}, authority: "{}" }}
    client_id: {CLIENT}
    credential: {{ secret: {{ env: SECRET }} }}
    proxy: environment"#,
        idp.authority()
    );
    let proxy = format!("http://us:p%40ss@{}", relay.address);
    let environment = [
        ("SSL_CERT_FILE", roots.as_str()),
        ("HTTPS_PROXY", &proxy),
        ("NO_PROXY", "other.example,10.0.0.0/8"),
    ];
    let sidecar =
        Sidecar::start(&provider, ROUTES.replace("audience: inventory, ", "").as_str(), &environment).await;
    assert_eq!(sidecar.token_b("/", &idp.entra_token(TENANT, ALICE, json!({}))).await, "b");
    assert_eq!(relay.lines(), [connect(&idp)]);
    for head in relay.heads() {
        // `us:p@ss`
        assert!(head.contains("proxy-authorization: Basic dXM6cEBzcw==\r\n"), "{head}");
    }
    assert!(!sidecar.proxy.log().contains("p%40ss"), "{}", sidecar.proxy.log());

    // an exception, and a proxy that nobody asked to use
    for (more, environment) in [
        ("proxy: environment", &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "")][..]),
        ("proxy: none", &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("ALL_PROXY", "http://127.0.0.1:1")]),
    ] {
        let (near, roots) = self::idp("127.0.0.1", &directory, script).await;
        let environment = [&[("SSL_CERT_FILE", roots.as_str())], environment].concat();
        let sidecar = Sidecar::start(&partner(&near, more), ROUTES, &environment).await;
        assert_eq!(sidecar.token_b("/", &near.token("alice", json!({}))).await, "b", "{more}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_ours_is_shown_through_the_proxy_too() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.issue("orders-proxy").write(directory.path(), "ours");
    let roots = directory.path().join("roots.pem");
    fs::write(&roots, authority.pem()).unwrap();
    let tls = Transport::Tls(authority.server_for_certified_callers().into());
    let guarded = Idp::start_with(json!({}), tls, |_| Answer::exchanged("b")).await;
    let open = Transport::Tls(authority.server().into());
    let alias =
        json!({"mtls_endpoint_aliases": {"token_endpoint": format!("{}/token", guarded.authority())}});
    let idp = Idp::start_with(alias, open, |_| Answer::json(500, &json!({}))).await;
    let tinyproxy = Tinyproxy::start("").await;
    let file = |extension: &str| directory.path().join(format!("ours.{extension}")).display().to_string();
    let provider = format!(
        r#"
  partner:
    oidc: {{ issuer: "{}" }}
    client_id: orders-proxy
    audiences: [orders]
    auth_method: tls_client_auth
    credential: {{ certificate: {{ file: "{}", key: "{}" }} }}
    proxy: "http://127.0.0.1:{}""#,
        idp.authority(),
        file("crt"),
        file("key"),
        tinyproxy.port
    );
    let roots = roots.display().to_string();
    let sidecar = Sidecar::start(&provider, ROUTES, &[("SSL_CERT_FILE", &roots)]).await;
    assert_eq!(sidecar.token_b("/", &idp.token("alice", json!({}))).await, "b");
    let expected = [connect(&idp), connect(&guarded)];
    until("tinyproxy has noted both", async || expected.iter().all(|line| tinyproxy.log().contains(line)))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_leads_nowhere_is_an_identity_provider_that_is_down_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (idp, roots) = idp(FAR, &directory, script).await;
    // one whose certificate says the same name, but nobody vouches for it
    let other = tempfile::tempdir().unwrap();
    let (impostor, _) = self::idp(FAR, &other, |_| Answer::exchanged("stolen")).await;
    let token = idp.token("alice", json!({}));
    let authority = idp.authority().strip_prefix("https://").unwrap();
    let refusal = |status: &str| format!(" does not connect to {authority}: it answers {status}");
    let login = "HTTP/1.1 407 Who are you\r\nproxy-authenticate: Basic\r\n\r\n";
    let asks = " asks for a user name and password (407)";
    for (mood, expected) in [
        (Mood::Say(login), asks.to_owned()),
        (Mood::Say("HTTP/1.1 403 No\r\n\r\n{\"error\":\"invalid_grant\"}"), refusal("403")),
        (Mood::Say("HTTP/1.1 502 No\r\n\r\n"), refusal("502")),
        (Mood::Say("220 mail.example ESMTP\r\n\r\n"), " does not answer as a proxy".into()),
        (Mood::HangUp, " does not answer as a proxy".into()),
        (Mood::Hang, String::new()),
        (Mood::Lead(place(&impostor)), "invalid peer certificate".into()),
    ] {
        let relay = Relay::start(Mood::Lead(place(&idp))).await;
        let expected = match mood {
            Mood::Lead(_) => expected,
            Mood::Hang => format!("did not answer within 1s through the proxy http://{}", relay.address),
            _ => format!("the proxy http://{}{expected}", relay.address),
        };
        let more = format!("proxy: http://us:hunter2@{}", relay.address);
        let sidecar = Sidecar::start(&partner(&idp, &more), ROUTES, &[("SSL_CERT_FILE", &roots)]).await;
        sidecar.ready().await;
        relay.turn(mood);
        let answer = sidecar.ask("/", Some(&token)).await;
        assert_eq!((answer.status.as_u16(), answer.reason()), (503, "idp_unavailable".into()), "{expected}");
        assert!(!answer.headers.contains_key("proxy-authenticate"), "{answer:?}");
        until(&expected, async || sidecar.proxy.log().contains(&expected)).await;
        let counted = "obo_exchanges_total{identity_provider=\"partner\",outcome=\"idp_unavailable\"}";
        assert!(sidecar.count(counted).await >= 1, "{expected}");

        relay.turn(Mood::Lead(place(&idp)));
        let healed = sidecar.until("/", &token, |answer| answer.status == 200).await;
        assert_eq!(healed.json()["headers"]["authorization"], "Bearer b", "{expected}");
        let log = sidecar.proxy.log();
        assert!(!log.contains("hunter2") && !log.contains("aHVudGVy"), "{log}");
    }
    assert_eq!(impostor.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_come_through_the_proxy_are_waited_for_and_the_proxy_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (idp, roots) = idp(FAR, &directory, script).await;
    let token = idp.token("alice", json!({}));
    for (mood, expected) in [
        (Mood::Say("HTTP/1.1 403 No\r\n\r\n"), "it answers 403"),
        (Mood::Hang, " through the proxy http://127.0.0.1:"),
    ] {
        let relay = Relay::start(mood).await;
        let more = format!("proxy: http://{}", relay.address);
        let sidecar = Sidecar::start(&partner(&idp, &more), ROUTES, &[("SSL_CERT_FILE", &roots)]).await;
        let answer = sidecar.ask("/", Some(&token)).await;
        assert_eq!((answer.status.as_u16(), answer.reason()), (503, "keys_unavailable".into()), "{expected}");
        until(expected, async || sidecar.proxy.log().contains(expected)).await;
        relay.turn(Mood::Lead(place(&idp)));
        assert_eq!(sidecar.token_b("/", &token).await, "b", "{expected}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_of_others_is_understood_with_and_without_its_password() {
    let directory = tempfile::tempdir().unwrap();
    let (idp, roots) = idp("127.0.0.1", &directory, script).await;
    let tinyproxy = Tinyproxy::start("BasicAuth us hunter2").await;
    for (login, is_let_in) in [("us:hunter2", true), ("us:hunter3", false)] {
        let more = format!("proxy: http://{login}@127.0.0.1:{}", tinyproxy.port);
        let sidecar = Sidecar::start(&partner(&idp, &more), ROUTES, &[("SSL_CERT_FILE", &roots)]).await;
        let token = idp.token("alice", json!({}));
        if is_let_in {
            assert_eq!(sidecar.token_b("/", &token).await, "b");
            until("it is noted", async || tinyproxy.log().contains(&connect(&idp))).await;
        } else {
            let answer = sidecar.ask("/", Some(&token)).await;
            assert_eq!((answer.status.as_u16(), answer.reason()), (503, "keys_unavailable".into()));
            // as it has it
            let target = idp.authority().strip_prefix("https://").unwrap();
            let refusal = format!("does not connect to {target}: it answers 401 Unauthorized");
            let expected = format!("the proxy http://127.0.0.1:{} {refusal}", tinyproxy.port);
            until(&expected, async || sidecar.proxy.log().contains(&expected)).await;
        }
        assert!(!sidecar.proxy.log().contains("hunter"), "{}", sidecar.proxy.log());
    }
}

/// A running `tinyproxy`. Killed when dropped.
struct Tinyproxy {
    child: Child,
    port: u16,
    directory: TempDir,
}

impl Tinyproxy {
    /// One with these further lines in its configuration.
    async fn start(more: &str) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let at = |name: &str| directory.path().join(name);
        let (file, log) = (at("tinyproxy.conf"), at("log"));
        let config = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nLogLevel Connect\nLogFile \"{}\"\n{more}\n",
            log.display()
        );
        fs::write(&file, config).unwrap();
        let mut command = Command::new("tinyproxy");
        command
            .arg("-d")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("tinyproxy is not installed; tests/run.sh does that");
        let tinyproxy = Self { child, port, directory };
        until("tinyproxy listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        tinyproxy
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
