//! Where the real binary goes, and where it does not.

use serde_json::json;
use tokio::time::Instant;

use crate::support::idp::Answer;
use crate::support::idp::Idp;
use crate::support::process::Proxy;
use crate::support::process::config;
use crate::support::process::obo_proxy;
use crate::support::process::text;
use crate::support::sidecar::Sidecar;

/// What no test of ours may come to: a listener that nobody should connect to.
struct Trap(std::net::TcpListener);

impl Trap {
    fn set() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// A connection is there as soon as the kernel has made it: nobody needs to accept it.
    fn is_untouched(&self) -> bool {
        self.0.accept().is_err()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_of_the_identity_provider_is_not_followed() {
    let trap = Trap::set();
    let elsewhere = format!("http://{}/token", trap.address());
    for status in [301, 302, 303, 307, 308] {
        let location = elsewhere.clone();
        let idp =
            Idp::start(move |_| Answer::json(status, &json!({})).with("location", location.clone())).await;
        let provider = format!(
            "\n  partner: {{ oidc: {{ issuer: \"{}\" }}, client_id: c, audiences: [orders], credential: {{ secret: {{ env: SECRET }} }} }}",
            idp.authority()
        );
        let sidecar =
            Sidecar::start(&provider, "\n  all: { match: /, exchange: { scopes: [s] } }", &[]).await;
        let answer = sidecar.get("/", &idp.token("alice", json!({}))).await;
        assert_eq!((answer.status.as_u16(), answer.reason().as_str()), (502, "idp_bad_response"), "{status}");
        assert_eq!(idp.requests(), 1, "{status}");
    }
    assert!(trap.is_untouched());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variables_that_name_proxies_are_not_read_unless_the_configuration_says_so() {
    let trap = Trap::set();
    let proxy = format!("http://{}", trap.address());
    let variables = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"];
    let environment: Vec<_> = variables.iter().map(|name| (*name, proxy.as_str())).collect();
    let idp = Idp::start(|_| Answer::granted("b")).await;
    let provider = format!(
        "\n  partner: {{ oidc: {{ issuer: \"{}\" }}, client_id: c, audiences: [orders], grant: jwt_bearer, credential: {{ secret: {{ env: SECRET }} }} }}",
        idp.authority()
    );
    let sidecar =
        Sidecar::start(&provider, "\n  all: { match: /, exchange: { scopes: [s] } }", &environment).await;
    let answer = sidecar.get("/", &idp.token("alice", json!({}))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(trap.is_untouched());
}

/// A name that every resolver takes for 169.254.169.254, and that is no address in a configuration.
const METADATA: &str = "0xa9fea9fe";

fn with_redis() -> String {
    let key = "{ env: KEY }";
    let cache =
        format!("cache: {{ redis: {{ url: \"redis://{METADATA}:6379\", encryption_keys: [{key}] }} }}\n");
    config("http://127.0.0.1:1", "127.0.0.1:1", "info") + &cache
}

const ENVIRONMENT: [(&str, &str); 2] =
    [("SECRET", "s"), ("KEY", "a secret of more than thirty-two characters")];

#[test]
fn doctor_says_of_a_name_that_leads_to_metadata_what_it_is_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    std::fs::write(&file, with_redis()).unwrap();
    let mut doctor = obo_proxy(&["doctor", "--only", "redis", "--config", file.to_str().unwrap()]);
    let ended = doctor.envs(ENVIRONMENT).output().unwrap();
    let said = text(&ended.stdout);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("dns {METADATA}")), "{said}");
    assert!(said.contains("the name leads to 169.254.169.254"), "{said}");
}

#[test]
fn a_server_whose_name_leads_to_metadata_is_not_connected_to() {
    let proxy = Proxy::start(&with_redis(), &ENVIRONMENT);
    let begun = Instant::now();
    while !proxy.log().contains("the name leads to 169.254.169.254") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{}", proxy.log());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
