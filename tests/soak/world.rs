//! Everything around the proxy, in this process: identity provider, APIs, what lies between, files, and the shared cache.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use http::HeaderValue;
use http::Method;
use http::StatusCode;
use http::header;
use obo_proxy::app::demo::entra::Entra;
use obo_proxy::app::demo::entra::settings::Settings;
use obo_proxy::domain::clock::Clock;
use rcgen::CertificateParams;
use rcgen::KeyPair;
use tempfile::TempDir;

use crate::COUNTED;
use crate::api::Api;
use crate::callers::Callers;
use crate::faults::Faults;
use crate::ledger::Ledger;
use crate::operator::Operator;
use crate::proxy::Proxy;
use crate::relay::Relay;
use crate::relay::Way;
use crate::run::Plan;
use crate::support::certificates::Authority;
use crate::support::listen;
use crate::support::redis::Redis;
use crate::users::Users;
use crate::websocket::Server;

/// How many tokens the proxy may keep: fewer than there are users.
pub const MOST_TOKENS: u64 = 160;

/// How long tokens B live: the regulars' are renewed again and again.
const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// Dropping it stops it all.
pub struct World {
    pub proxy: Proxy,
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    pub callers: Callers,
    pub users: Users,
    pub ledger: Arc<Ledger>,
    pub faults: Faults,
    pub operator: Operator,
    pub to_idp: Relay,
    pub to_upstream: Relay,
    pub authority: Authority,
    next: AtomicU64,
    pub api: Api,
    _sockets: Server,
}

/// What the proxy reads, and who knows what of it.
pub struct Files {
    pub directory: TempDir,
    /// What the identity provider knows us by, and one that it does not.
    pub credentials: [Pair; 3],
}

/// A certificate and its key, in PEM.
pub struct Pair(String, String);

impl World {
    /// Starts it, with the shared cache that is there already.
    pub async fn start(plan: &Plan, redis: &Redis) -> Self {
        let files = tokio::task::spawn_blocking(Files::new).await.unwrap();
        let authority = Authority::new();
        fs::write(files.directory.path().join("roots"), authority.pem()).unwrap();
        files.show_certificate(&authority, 0);
        files.credential(0, 0);
        let settings = Settings {
            client_certificates: files.credentials[..2].iter().map(Pair::der).collect(),
            downstream_lifetime: TOKEN_LIFE,
            ..Settings::default()
        };
        let entra = Entra::start_tls(settings, listen().await, authority.server(), Clock::system());
        let entra = Arc::new(entra.await.unwrap());
        let ledger = Arc::new(Ledger::default());
        let api = Api::start(listen().await, ledger.clone());
        let sockets = Server::start().await;
        let (to_idp, to_upstream) =
            (Relay::start(Way::Asked).await, Relay::start(Way::To(api.address())).await);
        let settings = entra.settings();
        let template = format!(
            r#"
workers: 2
listeners:
  default: {{ address: "127.0.0.1:0" }}
  secure: {{ address: "127.0.0.1:0", tls: {{ certificate: "{directory}/tls/tls.crt", key: "{directory}/tls/tls.key" }} }}
EXTRA
identity_providers:
  demo:
    entra: {{ tenant: {tenant}, authority: "{idp}" }}
    client_id: {client}
    proxy: "http://{proxy}"
    credential: {{ certificate: {{ file: "{directory}/credential/own.crt", key: "{directory}/credential/own.key" }} }}
    timeout: 10s
    jwks: {{ refresh: 20s, cooldown: 1s }}
upstreams:
  echo: {{ url: "http://{upstream}", timeouts: {{ connect: CONNECTs, response: 20s, idle: 30s }} }}
defaults: {{ upstream: echo, headers: {{ set: {{ x-configuration: "NUMBER" }} }} }}
routes:
  orders: {{ match: /orders, rewrite: {{ strip_prefix: /orders }}, require: {{ scopes: [orders.read] }}, exchange: {{ scopes: [api://orders-backend/orders.read] }} }}
  reports: {{ match: /reports, rewrite: {{ strip_prefix: /reports }}, require: {{ scopes: [reports.read] }}, exchange: {{ scopes: [api://reports-backend/.default] }} }}
  public: {{ match: /public, auth: anonymous }}
  lasting: {{ match: /lasting, rewrite: {{ strip_prefix: /lasting }}, auth: anonymous }}
  raw: {{ match: /raw, token: passthrough }}
  hasty: {{ match: /hasty, rewrite: {{ strip_prefix: /hasty }}, auth: anonymous, timeouts: {{ response: 500ms }} }}
  socket: {{ match: /socket, upstream: "http://{sockets}", exchange: {{ scopes: [api://orders-backend/orders.read] }} }}
cache:
  max_entries: {MOST_TOKENS}
  negative_ttl: 1s
  redis: {{ url: "{redis}", encryption_keys: [{{ file: "{directory}/key" }}], timeout: 250ms }}
telemetry: {{ address: "127.0.0.1:0", logs: {{ format: json }} }}
admin: {{ address: "127.0.0.1:0" }}
shutdown: {{ delay: 0s, drain: 60s }}
"#,
            directory = files.directory.path().display(),
            tenant = settings.tenant,
            idp = entra.authority(),
            client = settings.client_id,
            proxy = to_idp.address,
            upstream = to_upstream.address,
            sockets = sockets.address,
            redis = redis.url(),
        );
        let operator = Operator::new(files, template);
        let mut command = Command::new(&plan.binary);
        command.arg("run").arg("--config").arg(operator.config()).env_clear();
        command.env("SSL_CERT_FILE", operator.config().with_file_name("roots"));
        if plan.is_counted {
            command.env(COUNTED, "yes");
        }
        let (noting, file) = (ledger.clone(), plan.log.clone());
        let starting = tokio::task::spawn_blocking(move || {
            let listeners = ["default", "secure", "probes and metrics", "admin interface"];
            Proxy::start(command, &listeners, noting, file.as_deref())
        });
        let proxy = starting.await.unwrap();
        let at = |name: &str| proxy.log.address(name).unwrap().parse().unwrap();
        let (plain, tls) = (at("default"), at("secure"));
        Self {
            callers: Callers::new(plain, tls, &authority),
            users: Users::new(entra),
            faults: Faults::default(),
            next: AtomicU64::new(1),
            api,
            _sockets: sockets,
            proxy,
            plain,
            tls,
            ledger,
            operator,
            to_idp,
            to_upstream,
            authority,
        }
    }

    /// The number of another request.
    pub fn request(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// From now on token requests are answered so, until [`Self::answer_well`].
    pub fn answer(&self, status: StatusCode, wait: Option<&'static str>, body: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(wait.map(|wait| (header::RETRY_AFTER, HeaderValue::from_static(wait))));
        self.users.entra.script(|script| script.answer(10_000, status, headers, body));
    }

    pub fn answer_well(&self) {
        self.users.entra.script(|script| *script = Default::default());
    }

    /// Asks the admin interface or, by GET, the telemetry address: status and body.
    pub async fn ask(&self, method: Method, path: &str, body: &str) -> (u16, String) {
        self.operator.ask(&self.proxy, method, path, body).await
    }
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("key"), STANDARD.encode([7; 32])).unwrap();
        Self { directory, credentials: [(); 3].map(|()| Pair::new()) }
    }

    /// Puts another certificate of the listener there, in one step: what it is, in DER.
    pub fn show_certificate(&self, authority: &Authority, number: u64) -> Vec<u8> {
        let pair = authority.issue("localhost");
        self.swap("tls", number, |directory| pair.write(directory, "tls"));
        pair.der.to_vec()
    }

    /// Puts one of our certificates at the identity provider there, in one step.
    pub fn credential(&self, which: usize, number: u64) {
        let Pair(certificate, key) = &self.credentials[which];
        self.swap("credential", number, |directory| {
            fs::write(directory.join("own.crt"), certificate).unwrap();
            fs::write(directory.join("own.key"), key).unwrap();
        });
    }

    /// As where Kubernetes mounts a Secret: a new directory, to which a link then leads, and the one before is gone.
    fn swap(&self, name: &str, number: u64, fill: impl Fn(&Path)) {
        let path = |name: String| self.directory.path().join(name);
        let (new, link) = (path(format!("{name}-{number}")), path(format!("{name}-next")));
        fs::create_dir(&new).unwrap();
        fill(&new);
        symlink(&new, &link).unwrap();
        let before = fs::read_link(path(name.to_owned()));
        fs::rename(link, path(name.to_owned())).unwrap();
        if let Ok(before) = before {
            fs::remove_dir_all(before).unwrap();
        }
    }
}

impl Pair {
    fn new() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let certificate = CertificateParams::default().self_signed(&key).unwrap();
        Self(certificate.pem(), key.serialize_pem())
    }

    /// What assertions call it (RFC 7515 section 4.1.8).
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &self.der()))
    }

    fn der(&self) -> Vec<u8> {
        let body: String = self.0.lines().filter(|line| !line.starts_with("-----")).collect();
        STANDARD.decode(body).unwrap()
    }
}
