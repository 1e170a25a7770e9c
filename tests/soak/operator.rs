//! What an operator does meanwhile: other configurations, good and bad, certificates, credentials, purges, log levels; and
//! the keys that somebody else signs with.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::Request;
use http::Response;
use http_body_util::Full;
use obo_proxy::app::demo::entra::keys::OldKey;
use obo_proxy::net::client::Bounds;
use obo_proxy::net::client::Client;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use serde_json::Value;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::api::Credential;
use crate::calls::id;
use crate::faults::Fault;
use crate::ledger::Verdict;
use crate::proxy::IN_USE;
use crate::proxy::Proxy;
use crate::proxy::REFUSED;
use crate::random::Random;
use crate::span::Span;
use crate::support::idp::parts;
use crate::users::Api;
use crate::users::User;
use crate::users::Users;
use crate::world::Files;
use crate::world::World;

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

const BOUNDS: Bounds = Bounds { timeout: PATIENCE, body: 1024 * 1024 };

/// Users from here on are purged.
const PURGED: u64 = 900_000_000;

/// How many configurations follow each other: an odd number, so that the listener that comes and goes does so.
const RELOADS: usize = 11;

/// What is done, again and again, in another order each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    Reload,
    BadReload,
    Certificate,
    Credential,
    WrongCredential,
    NewKey,
    WithdrawnKey,
    LogLevel,
    Purge,
}

impl Deed {
    pub const ALL: [Self; 9] = [
        Self::Reload,
        Self::BadReload,
        Self::Certificate,
        Self::Credential,
        Self::WrongCredential,
        Self::NewKey,
        Self::WithdrawnKey,
        Self::LogLevel,
        Self::Purge,
    ];
}

/// How often each was done, and what did not come of it as it should.
#[derive(Clone, Default)]
pub struct Deeds {
    pub done: BTreeMap<Deed, u64>,
    pub failed: Vec<String>,
}

/// Whoever runs the proxy.
pub struct Operator {
    files: Files,
    template: String,
    /// The number of the configuration that was written last, and of the one that is known to be in use.
    written: AtomicU64,
    confirmed: AtomicU64,
    /// How often each file was replaced.
    replaced: AtomicU64,
    client: Client,
    pub deeds: Mutex<Deeds>,
}

impl Operator {
    pub fn new(files: Files, template: String) -> Self {
        let operator = Self {
            files,
            template,
            written: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            client: Client::plain().unwrap(),
            deeds: Mutex::default(),
        };
        operator.write(&operator.text(0));
        operator
    }

    pub fn config(&self) -> PathBuf {
        self.files.directory.path().join("config.yaml")
    }

    pub fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    pub fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::SeqCst)
    }

    /// Asks the admin interface by POST, the telemetry address by GET: status and body.
    pub async fn ask(&self, proxy: &Proxy, method: Method, path: &str, body: &str) -> (u16, String) {
        let at = if method == Method::POST { "admin interface" } else { "probes and metrics" };
        let url = format!("http://{}{path}", proxy.log.address(at).unwrap());
        let request = Request::builder().method(method).uri(url).header("x-obo-admin", "1");
        let request = request.header("content-type", "application/json");
        match self.client.send(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap(), BOUNDS).await {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                (head.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
            }
            Err(error) => (0, error.to_string()),
        }
    }

    fn text(&self, number: u64) -> String {
        let extra = if number.is_multiple_of(2) { "" } else { "  extra: { address: \"127.0.0.1:0\" }" };
        let text = self.template.replace("NUMBER", &number.to_string()).replace("EXTRA", extra);
        // connections to the upstream are others only now and then
        text.replace("CONNECT", &(20 + number / 3 % 20).to_string())
    }

    fn write(&self, text: &str) {
        let new = self.files.directory.path().join("config.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.config()).unwrap();
    }
}

/// Does all there is to do, round after round.
pub async fn operate(world: &Arc<World>, span: &Span, mut random: Random) {
    let mut rounds = 0;
    while !span.is_enough(rounds) {
        for deed in random.shuffled(&Deed::ALL) {
            tokio::time::sleep(Duration::from_millis(200 + random.number() % 800)).await;
            if span.is_enough(rounds) {
                break;
            }
            let result = world.does(deed, &mut random).await;
            let mut deeds = world.operator.deeds.lock().unwrap();
            *deeds.done.entry(deed).or_default() += 1;
            deeds.failed.extend(result.err().map(|what| format!("{deed:?}: {what}")));
        }
        rounds += 1;
        span.did(rounds);
    }
    // the listener that comes and goes is gone as it was at the beginning
    if world.operator.written() % 2 == 1 {
        let result = world.reload().await;
        world.operator.deeds.lock().unwrap().failed.extend(result.err());
    }
}

impl World {
    async fn does(self: &Arc<Self>, deed: Deed, random: &mut Random) -> Result<(), String> {
        match deed {
            Deed::Reload => {
                for _ in 0..RELOADS {
                    self.reload().await?;
                }
                if self.operator.written() % 2 == 1 { self.call_extra().await } else { Ok(()) }
            }
            Deed::BadReload => self.reload_badly(random).await,
            Deed::Certificate => self.show_another_certificate().await,
            Deed::Credential => self.use_credential(random.below(2)).await,
            Deed::WrongCredential => {
                let wrong = self.faults.begin(Fault::WrongCredential);
                self.operator.files.credential(2, self.operator.replaced());
                tokio::time::sleep(Duration::from_secs(2)).await;
                let result = self.use_credential(random.below(2)).await;
                drop(wrong);
                result
            }
            Deed::NewKey => self.rotate(OldKey::Kept).await,
            Deed::WithdrawnKey => self.withdraw_key(random).await,
            Deed::LogLevel => self.log_more().await,
            Deed::Purge => self.purge(random).await,
        }
    }

    /// Another configuration, which is used.
    async fn reload(&self) -> Result<(), String> {
        let (operator, log) = (&self.operator, &self.proxy.log);
        let (number, before) = (operator.written() + 1, log.count(IN_USE));
        operator.written.store(number, Ordering::SeqCst);
        operator.write(&operator.text(number));
        self.proxy.hang_up();
        until("a good configuration is used", async || log.count(IN_USE) > before).await?;
        operator.confirmed.store(number, Ordering::SeqCst);
        Ok(())
    }

    /// One that is refused, and then a good one.
    async fn reload_badly(&self, random: &mut Random) -> Result<(), String> {
        let (operator, log) = (&self.operator, &self.proxy.log);
        let bad = self.faults.begin(Fault::BadConfiguration);
        let (good, before) = (operator.text(operator.written()), log.count(REFUSED));
        let taken = log.address("probes and metrics").unwrap();
        operator.write(&match random.below(3) {
            0 => good.replace("routes:", "routes: ["),
            1 => good.replace("max_entries", "most_entries"),
            _ => good.replace("listeners:", &format!("listeners:\n  taken: {{ address: \"{taken}\" }}")),
        });
        self.proxy.hang_up();
        until("a bad configuration is refused", async || log.count(REFUSED) > before).await?;
        let result = self.reload().await;
        drop(bad);
        result
    }

    /// The listener that came by a reload serves.
    async fn call_extra(&self) -> Result<(), String> {
        let answered = async || {
            let Some(address) = self.proxy.log.address("extra") else { return false };
            let number = self.request();
            self.api.expect(number, Some(Credential::Nothing));
            let url = format!("http://{address}/public/x/{number}");
            let request = Request::get(url).header("x-request-id", id(number)).header("connection", "close");
            let answer = self.operator.client.send(request.body(Full::default()).unwrap(), BOUNDS).await;
            match answer {
                Ok(answer) => {
                    self.ledger.answered(number, answer.status().as_u16());
                    answer.status() == 200
                }
                Err(_) => {
                    self.ledger.gave_up(number);
                    false
                }
            }
        };
        until("a listener that is new serves", answered).await
    }

    async fn show_another_certificate(&self) -> Result<(), String> {
        let new = self.operator.files.show_certificate(&self.authority, self.operator.replaced());
        let mut client = self.authority.client();
        client.resumption = Resumption::disabled();
        let connector = TlsConnector::from(Arc::new(client));
        let shown = async || {
            let name = ServerName::try_from("localhost").unwrap();
            let Ok(socket) = TcpStream::connect(self.tls).await else { return false };
            let Ok(stream) = connector.connect(name, socket).await else { return false };
            stream.get_ref().1.peer_certificates().is_some_and(|shown| shown[0].to_vec() == new)
        };
        until("a new certificate is shown", shown).await
    }

    /// Another of the certificates that the identity provider knows, which is used soon.
    async fn use_credential(&self, which: usize) -> Result<(), String> {
        let files = &self.operator.files;
        files.credential(which, self.operator.replaced());
        let wanted = files.credentials[which].thumbprint();
        until("a new credential is used", async || {
            // nobody else may need a token just now
            let _told_by_the_identity_provider =
                self.try_token_b(&Users::number(self.request() + PURGED)).await;
            thumbprint(&self.users).is_some_and(|used| used == wanted)
        })
        .await
    }

    /// Keys are made by much computing, and while they are, nobody signs.
    async fn rotate(self: &Arc<Self>, old: OldKey) -> Result<(), String> {
        let world = self.clone();
        tokio::task::spawn_blocking(move || world.users.rotate(old)).await.map_err(|error| error.to_string())
    }

    /// What was signed with a key that is withdrawn is refused soon, whoever kept what of it.
    async fn withdraw_key(self: &Arc<Self>, random: &mut Random) -> Result<(), String> {
        let user = Users::number(PURGED + random.number() % 1_000_000);
        self.token_b(&user).await?;
        let withdrawn = self.faults.begin(Fault::WithdrawnKey);
        self.rotate(OldKey::Dropped).await?;
        let result = until("a withdrawn key is unknown", async || {
            self.ask_as(&user).await.is_some_and(|answer| {
                let (status, body) = (answer.status(), answer.into_body());
                let told: Value = serde_json::from_slice(&body).unwrap_or_default();
                (status.as_u16(), told["reason"].as_str()) == (401, Some("unknown_key"))
            })
        });
        let result = result.await;
        drop(withdrawn);
        result
    }

    async fn log_more(&self) -> Result<(), String> {
        for body in [json!({"level": "debug", "for": "10m"}), json!({"level": null})] {
            let (status, answer) = self.ask(Method::POST, "/api/v1/log_level", &body.to_string()).await;
            if status != 200 {
                return Err(format!("{status} {answer}"));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(())
    }

    /// What was kept of a user before is not used after.
    async fn purge(&self, random: &mut Random) -> Result<(), String> {
        let user = Users::number(PURGED + random.number() % 1_000_000);
        let mut before = Vec::new();
        for _ in 0..2 {
            before.push(self.token_b(&user).await?);
        }
        let who = json!({"tenant": self.users.entra.settings().tenant, "oid": user.oid});
        let (status, answer) = self.ask(Method::POST, "/api/v1/cache/purge", &who.to_string()).await;
        if status != 200 {
            return Err(format!("{status} {answer}"));
        }
        for _ in 0..2 {
            let after = self.token_b(&user).await?;
            if before.contains(&after) {
                return Err(format!("{after} is used after the purge, which said {answer}"));
            }
        }
        Ok(())
    }

    /// The `uti` of the token that the API sees of that user's, by a request that is made until it succeeds.
    async fn token_b(&self, user: &Arc<User>) -> Result<String, String> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(uti) = self.try_token_b(user).await {
                return Ok(uti);
            }
            user.drop_token();
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err("no token B for a minute".into())
    }

    async fn try_token_b(&self, user: &Arc<User>) -> Option<String> {
        let seen: Value = serde_json::from_slice(self.ask_as(user).await?.body()).unwrap_or_default();
        seen["token"]["uti"].as_str().map(str::to_owned)
    }

    /// What is answered to that user.
    async fn ask_as(&self, user: &Arc<User>) -> Option<Response<Bytes>> {
        let (token, number) = (self.users.token(user), self.request());
        let request = Request::get(format!("http://{}/orders/x/{number}", self.plain));
        let request = request.header("x-request-id", id(number)).header("connection", "close");
        let request = request.header("authorization", format!("Bearer {}", token.text));
        self.api.expect(number, Some(Credential::TokenB(user.clone(), Api::Orders)));
        match self.operator.client.send(request.body(Full::default()).unwrap(), BOUNDS).await {
            Ok(answer) => {
                self.ledger.answered(number, answer.status().as_u16());
                Some(answer)
            }
            Err(_) if self.faults.at(Instant::now(), &[Fault::UpstreamResets]) => {
                self.ledger.gave_up(number);
                None
            }
            Err(error) => {
                self.ledger.judged("operator", Verdict::Wrong(error.to_string()));
                None
            }
        }
    }
}

impl Operator {
    /// A number for the next directory.
    fn replaced(&self) -> u64 {
        self.replaced.fetch_add(1, Ordering::SeqCst) + 1
    }
}

/// The thumbprint of the certificate that was shown last (RFC 7515 section 4.1.8).
fn thumbprint(users: &Users) -> Option<String> {
    let form = users.entra.last_form()?;
    let (_, assertion) = form.iter().find(|(name, _)| name == "client_assertion")?;
    let [header, _] = parts(assertion);
    header["x5t#S256"].as_str().map(str::to_owned)
}

/// Waits until it is so.
async fn until(what: &str, is_it: impl AsyncFn() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !is_it().await {
        if begun.elapsed() > PATIENCE {
            return Err(format!("not yet so: {what}"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
