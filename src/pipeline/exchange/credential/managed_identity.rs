//! The tokens of an Azure managed identity, each kept until shortly before its end.
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity>

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use bytes::Bytes;
use http::HeaderValue;
use http::Request;
use http::StatusCode;
use http::header;
use http_body_util::Full;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroize;

use crate::config::ManagedIdentity;
use crate::config::ManagedIdentityId;
use crate::config::ManagedIdentitySource;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;
use crate::domain::digest::Digest;
use crate::domain::secret::Secret;
use crate::net::client;
use crate::net::client::Bounds;
use crate::net::client::Client;
use crate::telemetry::logs;

/// A new token is fetched this long before the old one ends.
const MARGIN: Duration = Duration::from_secs(300);
/// The shortest time between two fetches: the metadata service answers about five requests a second.
const COOLDOWN: Duration = Duration::from_secs(5);
/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such endpoint here, most likely.
    #[error("its endpoint does not answer: does this run where Azure provides one?")]
    NoAnswer(#[source] client::Error),
    /// The endpoint has no token for us.
    #[error("its endpoint answered {0}: is the identity assigned to this machine or app, and named rightly?")]
    Refused(StatusCode),
    /// The endpoint's answer holds no token.
    #[error("its endpoint's answer holds no token")]
    Garbage,
    /// The endpoint or its header cannot be written in a request.
    #[error("its endpoint cannot be asked")]
    Unsendable(#[source] http::Error),
    /// It takes longer than anybody waits.
    #[error("its endpoint took longer than {0:?}")]
    TooSlow(Duration),
    /// A crash of our own.
    #[error("asking its endpoint failed inside the proxy")]
    Crash,
}

/// Fetches the tokens of one managed identity, and keeps the last.
#[derive(Debug)]
pub struct Tokens {
    settings: ManagedIdentity,
    client: Client,
    clock: Clock,
    /// Bound on one try.
    timeout: Duration,
    /// Before the second try.
    pause: Duration,
    last: Mutex<Last>,
    /// Whose turn it is to fetch.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// How the last fetch went.
#[derive(Debug, Default)]
struct Last {
    tried_at: Option<Instant>,
    token: Option<Token>,
    error: Option<Arc<Error>>,
}

#[derive(Debug)]
struct Token {
    value: Secret,
    renew_from: UnixTime,
    expires_on: UnixTime,
}

/// Each member may be a number or a decimal string.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_on: Option<Seconds>,
    expires_in: Option<Seconds>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(i64),
    Text(String),
}

impl Tokens {
    /// Of the identity that `settings` name, asked for through `client`; one try takes `timeout` at most.
    pub fn new(settings: ManagedIdentity, client: Client, clock: Clock, timeout: Duration) -> Self {
        let pause = Duration::from_secs(1);
        Self { settings, client, clock, timeout, pause, last: Mutex::default(), turn: Arc::default() }
    }

    /// The same, with the second try after this long.
    #[cfg(test)]
    pub(super) fn trying_again_after(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// A live token, waited for no longer than `limit`. A fetch goes on when nobody waits for it any more.
    ///
    /// # Errors
    /// If there is none to be had.
    pub async fn token(self: &Arc<Self>, limit: Duration) -> Result<Secret, Arc<Error>> {
        let getting = async {
            if let Some(settled) = self.settled() {
                return settled;
            }
            // whoever has a live token need not wait for the next one
            let turn = match (self.turn.clone().try_lock_owned(), self.live()) {
                (Ok(turn), _) => turn,
                (Err(_), Some(token)) => return Ok(token),
                (Err(_), None) => self.turn.clone().lock_owned().await,
            };
            // another may have had its turn in between
            if let Some(settled) = self.settled() {
                return settled;
            }
            let tokens = self.clone();
            let fetching = tokio::spawn(async move {
                tokens.renew().await;
                drop(turn);
                tokens.answer()
            });
            fetching.await.unwrap_or_else(|_crash| Err(Error::Crash.into()))
        };
        let got = tokio::time::timeout(limit, getting).await;
        got.unwrap_or_else(|_| self.live().ok_or_else(|| Error::TooSlow(limit).into()))
    }

    /// The IdP refuses the token with that digest: the next one is fetched, but not in too quick a succession.
    pub fn refuse(&self, digest: Digest) {
        if let Some(token) = &mut self.last().token
            && Digest::of(token.value.expose().as_bytes()) == digest
        {
            token.renew_from = UnixTime::from_seconds(0);
        }
    }

    /// What is known, if there is no reason to ask.
    fn settled(&self) -> Option<Result<Secret, Arc<Error>>> {
        let now = self.clock.now();
        let last = self.last();
        let is_fresh = last.token.as_ref().is_some_and(|token| now < token.renew_from);
        let is_recent = last
            .tried_at
            .is_some_and(|tried| self.clock.monotonic().saturating_duration_since(tried) < COOLDOWN);
        drop(last);
        (is_fresh || is_recent).then(|| self.answer())
    }

    /// The token, as long as it lives, whatever happened when a new one was asked for.
    fn answer(&self) -> Result<Secret, Arc<Error>> {
        self.live().ok_or_else(|| self.last().error.clone().unwrap_or_else(|| Error::Garbage.into()))
    }

    fn live(&self) -> Option<Secret> {
        let now = self.clock.now();
        self.last().token.as_ref().filter(|token| now < token.expires_on).map(|token| token.value.clone())
    }

    async fn renew(&self) {
        let fetched = self.fetch().await;
        let mut last = self.last();
        last.tried_at = Some(self.clock.monotonic());
        match fetched {
            Ok(token) => (last.token, last.error) = (Some(token), None),
            Err(error) => {
                if last.token.is_some() {
                    let cause = logs::report(&error);
                    tracing::warn!(cause, "the managed identity's token was not renewed");
                }
                last.error = Some(error.into());
            }
        }
    }

    /// Nothing that can fail happens under this lock, so a poisoned one is whole.
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<Token, Error> {
        let mut tries = 1;
        loop {
            let result = self.ask().await;
            let status = match &result {
                Err(Error::Refused(status)) => Some(*status),
                Err(Error::NoAnswer(_)) => None,
                _ => return result,
            };
            match patience(status, tries, self.pause) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return result,
            }
            tries += 1;
        }
    }

    async fn ask(&self) -> Result<Token, Error> {
        let bounds = Bounds { timeout: self.timeout, body: LONGEST_ANSWER };
        let request = request(&self.settings).map_err(Error::Unsendable)?;
        let response = self.client.send(request, bounds).await.map_err(Error::NoAnswer)?;
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(Error::Refused(head.status));
        }
        let token = parse(&body, self.clock.now()).ok_or(Error::Garbage);
        if let Ok(mut body) = body.try_into_mut() {
            body.zeroize();
        }
        token
    }
}

/// The request for a token of the identity that `settings` name.
fn request(settings: &ManagedIdentity) -> Result<Request<Full<Bytes>>, http::Error> {
    let (url, secret, version) = match &settings.source {
        ManagedIdentitySource::Imds(base) => (token_url(base), None, "2018-02-01"),
        ManagedIdentitySource::AppService { endpoint, header } => {
            (endpoint.clone(), Some(header), "2019-08-01")
        }
    };
    let mut url = url;
    url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", &settings.audience);
    if let Some((name, value)) = settings.identity.as_ref().map(|id| named(id, &settings.source)) {
        url.query_pairs_mut().append_pair(name, value);
    }
    let request = Request::get(url.as_str()).header(header::ACCEPT, "application/json");
    let request = match secret {
        None => request.header("metadata", HeaderValue::from_static("true")),
        Some(secret) => {
            let mut value = HeaderValue::from_str(secret.expose())?;
            value.set_sensitive(true);
            request.header("x-identity-header", value)
        }
    };
    request.body(Full::default())
}

fn token_url(base: &Url) -> Url {
    let mut url = base.clone();
    let path = format!("{}/metadata/identity/oauth2/token", base.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

/// The two endpoints name two of the three kinds of id differently.
fn named<'a>(id: &'a ManagedIdentityId, source: &ManagedIdentitySource) -> (&'static str, &'a str) {
    let is_imds = matches!(source, ManagedIdentitySource::Imds(_));
    match id {
        ManagedIdentityId::ClientId(id) => ("client_id", id),
        ManagedIdentityId::ObjectId(id) => (if is_imds { "object_id" } else { "principal_id" }, id),
        ManagedIdentityId::ResourceId(id) => (if is_imds { "msi_res_id" } else { "mi_res_id" }, id),
    }
}

/// How long to wait before the next try after an answer of that status, or after none; `None` if there is no point in
/// one. 410 says that the service is being updated, which takes more than a minute.
pub(super) fn patience(status: Option<StatusCode>, tries: u32, pause: Duration) -> Option<Duration> {
    let (most, wait) = match status {
        Some(StatusCode::GONE) => (7, pause * 10),
        Some(StatusCode::NOT_FOUND | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS) | None => {
            (3, pause * tries)
        }
        Some(status) if status.is_server_error() => (3, pause * tries),
        Some(_) => return None,
    };
    (tries < most).then_some(wait)
}

/// The token in `body`, received at `now`. One that does not say when it ends is used once.
fn parse(body: &[u8], now: UnixTime) -> Option<Token> {
    let Answer { access_token, expires_on, expires_in } = serde_json::from_slice(body).ok()?;
    let value = Secret::new(access_token);
    if value.expose().is_empty() {
        return None;
    }
    let stated = expires_on.and_then(Seconds::count).map(UnixTime::from_seconds);
    let lifetime = expires_in.and_then(Seconds::count).and_then(|seconds| u64::try_from(seconds).ok());
    let expires_on = stated.or_else(|| lifetime.map(|lifetime| now.after(Duration::from_secs(lifetime))));
    let expires_on = expires_on.unwrap_or_else(|| now.after(COOLDOWN));
    Some(Token { value, renew_from: expires_on.before(MARGIN), expires_on })
}

impl Seconds {
    fn count(self) -> Option<i64> {
        match self {
            Self::Number(count) => Some(count),
            Self::Text(text) => text.parse().ok(),
        }
    }
}
