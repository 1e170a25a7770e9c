//! An identity provider: reached, discovered, its keys read, its clock compared, our credentials shown to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::Response;
use http::StatusCode;
use http::header::ACCEPT;
use http_body_util::Full;
use serde_json::Value;
use url::Url;

use crate::app::doctor::check::Check;
use crate::app::doctor::check::Round;
use crate::app::doctor::check::Verdict;
use crate::app::doctor::clock;
use crate::app::doctor::credential;
use crate::app::doctor::introspection;
use crate::app::doctor::reach::Server;
use crate::app::doctor::reach::Tls;
use crate::app::doctor::reach::reach_all;
use crate::app::doctor::remedies;
use crate::app::doctor::remedies::Whose;
use crate::config::AuthorizationServer;
use crate::config::Config;
use crate::config::Entra;
use crate::config::EntraVersion;
use crate::config::Http2;
use crate::config::IdentityProvider;
use crate::config::Introspection;
use crate::config::Oidc;
use crate::config::Tenancy;
use crate::domain::clock::UnixTime;
use crate::domain::tenant::TenantId;
use crate::net::client::Bounds;
use crate::net::client::Client;
use crate::net::clients::Clients;
use crate::net::metadata;
use crate::net::metadata::Endpoint;
use crate::net::metadata::Metadata;
use crate::pipeline::authenticate::discovery;
use crate::pipeline::authenticate::jwks::KeySet;
use crate::pipeline::authenticate::keys::fetch;
use crate::pipeline::authenticate::keys::fetch::Fetched;
use crate::pipeline::authenticate::keys::fetch::Fetcher;
use crate::pipeline::authenticate::keys::fetch::Origin;
use crate::pipeline::exchange::classify::Expected;
use crate::pipeline::exchange::classify::classify;
use crate::telemetry::logs;

/// What it is called.
pub const KIND: &str = "identity_provider";

/// How long one question may take; the provider's own `timeout` is mostly shorter.
pub const LIMIT: Duration = Duration::from_secs(6);

/// The longest document that is read.
const LONGEST: usize = 256 * 1024;
/// Most keys that are named.
const MOST_KEYS: usize = 6;
/// The longest text of a server's that is shown.
const LONGEST_WORD: usize = 200;

/// Whom to ask, and how.
struct Asking<'a> {
    round: &'a Round,
    provider: &'a Arc<IdentityProvider>,
    clients: &'a Clients,
    client: &'a Client,
    metadata: Option<Metadata>,
    checks: Vec<Check>,
}

/// Looks at `provider`, which one of `clients` contacts.
pub async fn look(
    round: &Round,
    config: &Config,
    provider: &Arc<IdentityProvider>,
    clients: &Clients,
) -> Vec<Check> {
    let client = &clients.of(provider);
    let metadata = Metadata::of(provider, client.clone(), round.clock.clone());
    let mut asking =
        Asking { round, provider, clients, client, metadata: metadata.clone(), checks: Vec::new() };
    let known = known(provider);
    let (is_there, mut papers) =
        tokio::join!(asking.reach(&known), credential::read(round, provider, clients));
    let tenants = match is_there {
        true => asking.publications().await,
        false => None,
    };
    let mut checks = asking.checks;
    checks.append(&mut papers.checks);
    if let Some(tenants) = tenants {
        checks.extend(credential::show(round, config, provider, papers, metadata, clients, &tenants).await);
    }
    checks
}

/// The servers that are known before any of them is asked.
fn known(provider: &IdentityProvider) -> Vec<Url> {
    match &provider.server {
        AuthorizationServer::Entra(entra) => vec![entra.authority.clone()],
        AuthorizationServer::Oidc(oidc) => {
            let needed = [&oidc.jwks_uri, &oidc.token_endpoint, &oidc.introspection_endpoint];
            oidc.discovery().into_iter().chain(needed.into_iter().flatten().cloned()).collect()
        }
    }
}

impl Asking<'_> {
    /// Reaches every server among `urls` that was not tried yet; whether all are there.
    async fn reach(&mut self, urls: &[Url]) -> bool {
        let mut servers: Vec<Server> = Vec::new();
        for url in urls {
            let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else { continue };
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let tls = match url.scheme() {
                "https" => match Tls::with(None, None, Http2::Never) {
                    Ok(tls) => Some(tls),
                    Err(error) => {
                        self.checks.push(Check::at_once("tls", remedies::client(&error)));
                        return false;
                    }
                },
                _ => None,
            };
            // behind a proxy it is the proxy that looks up the name and connects
            let (host, port, tls) = match self.provider.egress.proxy_to(&host, port) {
                Some(proxy) => (proxy.host.clone(), proxy.port, None),
                None => (host, port, tls),
            };
            if !servers.iter().any(|known| known.host == host && known.port == port) {
                servers.push(Server { host, port, tls, whose: Whose::IdentityProvider });
            }
        }
        let (checks, are_there) = reach_all(self.round, servers).await;
        self.checks.extend(checks);
        are_there
    }

    /// What it publishes. The tenants whose token endpoint is asked, if it can be: none but those of Entra has any.
    async fn publications(&mut self) -> Option<Vec<Option<TenantId>>> {
        match &self.provider.clone().server {
            AuthorizationServer::Entra(entra) => self.entra(entra).await,
            AuthorizationServer::Oidc(oidc) => self.oidc(oidc).await.then(|| vec![None]),
        }
    }

    async fn entra(&mut self, entra: &Entra) -> Option<Vec<Option<TenantId>>> {
        let mut found = None;
        for (version, word) in [(EntraVersion::V2, "v2.0"), (EntraVersion::V1, "v1.0")] {
            let url = entra.metadata(version);
            let asked = self.round.check_for(format!("discovery {word}"), LIMIT, async {
                let (answer, at) = self.get(&url).await?;
                let verdict = entra_metadata(&answer, entra, version);
                Ok((verdict, (answer, at)))
            });
            let (check, answer) = asked.await;
            let is_well = check.remedy.is_none();
            self.checks.push(check);
            if version == EntraVersion::V2 {
                self.compare_clocks(answer.as_ref());
            }
            if is_well {
                let keys = self.keys(format!("keys {word}"), Origin::Entra(version)).await;
                found = found.or(keys);
            }
        }
        // where the keys are missing, the token endpoint may have more to say
        Some(match &entra.tenancy {
            Tenancy::Id(id) => vec![Some(id.clone())],
            Tenancy::Domain(_) => vec![Some(found?.tenant?)],
            Tenancy::Shared { allowed, .. } => allowed.iter().cloned().map(Some).collect(),
        })
    }

    /// Whether its token endpoint can be asked.
    async fn oidc(&mut self, oidc: &Oidc) -> bool {
        let Some(metadata) = self.metadata.clone() else { return false };
        let discovery = oidc.discovery();
        let document = discovery.as_ref().map(metadata::addresses).map(|[first, _]| first);
        let introspects = self.provider.introspection == Introspection::On;
        let to_find = [
            (Endpoint::Keys, oidc.jwks_uri.is_none()),
            (Endpoint::Token, oidc.token_endpoint.is_none()),
            (Endpoint::Introspection, introspects && oidc.introspection_endpoint.is_none()),
        ];
        let to_find = to_find.into_iter().find_map(|(endpoint, is_open)| is_open.then_some(endpoint));
        if let Some((url, endpoint)) = document.zip(to_find) {
            let asked = self.round.check_for("discovery", LIMIT, async {
                let (answer, at) = self.get(url.as_str()).await?;
                let verdict = match metadata.endpoint(endpoint).await {
                    Ok(_) => Verdict::well(format!("the issuer is {}, as configured", oidc.issuer)),
                    Err(error) => undiscovered(&error, &answer, &oidc.issuer),
                };
                Ok((verdict, (answer, at)))
            });
            let (check, answer) = asked.await;
            let is_well = check.remedy.is_none();
            self.checks.push(check);
            self.compare_clocks(answer.as_ref());
            if !is_well {
                return false;
            }
            let asked = [Endpoint::Keys, Endpoint::Token]
                .into_iter()
                .chain(introspects.then_some(Endpoint::Introspection));
            let named = asked.filter_map(|endpoint| metadata.known(endpoint));
            let known = known(self.provider);
            let origin = |url: &Url| url.origin();
            let further: Vec<Url> =
                named.filter(|url| !known.iter().any(|known| origin(known) == origin(url))).collect();
            if !self.reach(&further).await {
                return false;
            }
        } else if let Some(url) = &oidc.jwks_uri {
            let answer = self.get(url.as_str()).await.ok();
            self.compare_clocks(answer.as_ref());
        }
        if metadata.known(Endpoint::Keys).is_some() {
            self.keys("keys".to_owned(), Origin::Server(metadata.clone())).await;
        }
        if introspects {
            let (round, provider) = (self.round, self.provider);
            self.checks.push(introspection::look(round, provider, &metadata, self.clients).await);
        }
        metadata.known(Endpoint::Token).is_some()
    }

    async fn keys(&mut self, name: String, origin: Origin) -> Option<Fetched> {
        let fetcher = Fetcher::new(self.client.clone(), self.provider.clone(), origin);
        let fetching = self.round.check_for(name, LIMIT, async {
            let fetched = fetcher.fetch().await.map_err(|error| unfetched(&error))?;
            Ok((Verdict::well(listed(&fetched.keys)), fetched))
        });
        let (check, fetched) = fetching.await;
        self.checks.push(check);
        fetched
    }

    fn compare_clocks(&mut self, answer: Option<&(Response<Bytes>, UnixTime)>) {
        let skew = self.provider.clock_skew;
        let verdict = answer.and_then(|(answer, at)| clock::judged(answer.headers(), *at, skew));
        self.checks.extend(verdict.map(|verdict| Check::at_once("clock", verdict)));
    }

    /// What is at `url`, and when that came.
    async fn get(&self, url: &str) -> Result<(Response<Bytes>, UnixTime), Verdict> {
        let request = Request::get(url).header(ACCEPT, "application/json").body(Full::default());
        let request = request
            .map_err(|error| Verdict::wrong(error.to_string(), "compare the URL with the configuration"))?;
        let bounds = Bounds { timeout: self.provider.timeout, body: LONGEST };
        let answer = self.client.send(request, bounds).await.map_err(|error| remedies::no_answer(&error))?;
        Ok((answer, self.round.clock.now()))
    }
}

fn entra_metadata(answer: &Response<Bytes>, entra: &Entra, version: EntraVersion) -> Verdict {
    if answer.status() != StatusCode::OK {
        return status(answer, "compare `tenant` and `cloud` with the tenant's overview in the portal");
    }
    match discovery::parse(answer.body(), entra, version) {
        Ok(_) => Verdict::well(format!("the issuer is {}, as configured", issuer(answer))),
        Err(discovery::Error::WrongIssuer(_)) => Verdict::wrong(
            format!("it speaks for the issuer {}", issuer(answer)),
            "compare `tenant`, `cloud` and `authority` with the issuer: that tenant's tokens would be refused",
        ),
        Err(error) => Verdict::wrong(error.to_string(), NOT_THERE),
    }
}

const NOT_THERE: &str =
    "something else answers in the identity provider's place: compare the URL, look for a proxy between";

/// What it means that `expected` was not discovered; the document that came first is `answer`.
fn undiscovered(error: &metadata::Error, answer: &Response<Bytes>, expected: &str) -> Verdict {
    match error {
        metadata::Error::NoAnswer(error) => remedies::no_answer(error),
        metadata::Error::Status(_) => {
            status(answer, "compare `issuer` with the address of the server's own metadata, letter by letter")
        }
        metadata::Error::Document(_) if answer.status() == StatusCode::OK && issuer(answer) != expected => {
            Verdict::wrong(
                format!("it speaks for the issuer {}, not for {expected}", issuer(answer)),
                "write `issuer` as the server writes it, letter by letter: a slash at the end counts",
            )
        }
        metadata::Error::Unnamed(endpoint) => {
            Verdict::wrong(error.to_string(), format!("set `oidc.{endpoint}` by hand"))
        }
        _ => Verdict::wrong(logs::report(error), NOT_THERE),
    }
}

fn unfetched(error: &fetch::Error) -> Verdict {
    match error {
        fetch::Error::NoAnswer(error) => remedies::no_answer(error),
        fetch::Error::Timeout => {
            Verdict::unreachable(error.to_string(), "ask whoever runs it, or raise `timeout`")
        }
        fetch::Error::Status(code) if code.is_server_error() => Verdict::unreachable(error.to_string(), DOWN),
        fetch::Error::KeySet(_) => Verdict::wrong(
            error.to_string(),
            "compare `algorithms` with the keys the server publishes; a server that has none issues no tokens that could be validated",
        ),
        _ => Verdict::wrong(logs::report(error), NOT_THERE),
    }
}

const DOWN: &str = "the identity provider is in trouble: look at its status page, or ask whoever runs it";

/// What an answer says that is not the document which was asked for.
fn status(answer: &Response<Bytes>, otherwise: &str) -> Verdict {
    let status = answer.status();
    let refused = classify(answer, Expected::default(), UnixTime::from_seconds(0)).err();
    match refused.and_then(|error| error.answer) {
        Some(said) => {
            Verdict::wrong(format!("{status}: {}", remedies::said(&said)), remedies::cure(&said, otherwise))
        }
        None if status.is_server_error() => Verdict::unreachable(format!("the status is {status}"), DOWN),
        None => Verdict::wrong(format!("the status is {status}"), otherwise),
    }
}

/// The issuer that a document names.
fn issuer(answer: &Response<Bytes>) -> String {
    let document: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    document.get("issuer").and_then(Value::as_str).map_or_else(|| "of nobody".to_owned(), visible)
}

fn listed(keys: &KeySet) -> String {
    let count = keys.count();
    let mut ids: Vec<String> = keys.ids().take(MOST_KEYS).map(visible).collect();
    if count > ids.len() && !ids.is_empty() {
        ids.push(format!("{} more", count - ids.len()));
    }
    let word = if count == 1 { "key" } else { "keys" };
    match ids.is_empty() {
        true => format!("{count} usable {word}"),
        false => format!("{count} usable {word}: {}", ids.join(", ")),
    }
}

/// A server's own text, as far as it may stand on a terminal.
pub fn visible(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).take(LONGEST_WORD).collect()
}
