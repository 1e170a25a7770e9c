//! The stages that deal with tokens, as commands use them: with the identity providers that matter, and without a proxy.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http::HeaderMap;
use http::header;
use tokio::runtime::Runtime;

use crate::app::cli::Failure;
use crate::app::cli::paint;
use crate::app::cli::run;
use crate::app::machine::Outbound;
use crate::config::AccessLog;
use crate::config::Cache;
use crate::config::Config;
use crate::config::IdentityProvider;
use crate::config::LogFormat;
use crate::config::Logs;
use crate::config::Policy;
use crate::domain::caller::Caller;
use crate::domain::clock::Clock;
use crate::domain::peer::ClientCertificate;
use crate::domain::token::UserToken;
use crate::pipeline::Tokens;
use crate::pipeline::authenticate;
use crate::telemetry::dial::Dial;
use crate::telemetry::dial::Setting;
use crate::telemetry::logs;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::outlet::Outlet;

/// How long the keys may take beyond one call to the identity provider.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often to see whether they came.
const GLANCE: Duration = Duration::from_millis(10);

/// Judges tokens, and exchanges them.
pub struct Judge<'p> {
    runtime: Runtime,
    tokens: Tokens,
    policy: &'p Policy,
    providers: Vec<Arc<IdentityProvider>>,
    _outlet: Outlet,
}

impl<'p> Judge<'p> {
    /// One for tokens that `policy` is about. What goes wrong on the way to the identity provider is logged to stderr.
    pub fn of(config: &Config, policy: &'p Policy, clock: &Clock) -> Result<Self, Failure> {
        let outlet = log_warnings(clock)?;
        let runtime = run::runtime()?;
        let named = |provider: &&Arc<IdentityProvider>| policy.identity_providers.contains(&provider.name);
        let providers: Vec<_> = config.identity_providers.iter().filter(named).cloned().collect();
        let outbound = Outbound::for_providers(config, None).context("TLS cannot be set up")?;
        // what other proxies know is of no interest here
        let cache = Cache { redis: None, ..config.cache.clone() };
        let tokens = {
            let _entered = runtime.enter();
            Tokens::new(&providers, &cache, outbound.clients(), clock, &Arc::new(Metrics::new()))
        };
        Ok(Self { runtime, tokens, policy, providers, _outlet: outlet })
    }

    /// The caller whose token that is, if it is good, as a request that brings it is judged.
    pub fn caller(
        &self,
        token: &UserToken,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Result<Caller, authenticate::Error>, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, token.authorization().clone());
        let certificate = certificate.map(|certificate| &certificate.digest);
        let longest = self.providers.iter().map(|provider| provider.timeout).max().unwrap_or_default();
        Ok(self.runtime.block_on(async {
            self.tokens.authenticator.start();
            let tried = async {
                while !self.tokens.authenticator.was_tried() {
                    tokio::time::sleep(GLANCE).await;
                }
            };
            // whoever has not answered by then is judged as silent; metadata and keys are two calls
            let _ = tokio::time::timeout(2 * longest + PATIENCE, tried).await;
            self.tokens.authenticator.caller(&headers, self.policy, certificate).await
        }))
    }

    /// Does something with the exchanger.
    pub fn exchanging<T>(&self, work: impl AsyncFnOnce(&Tokens) -> T) -> T {
        self.runtime.block_on(work(&self.tokens))
    }
}

fn log_warnings(clock: &Clock) -> anyhow::Result<Outlet> {
    let logs = Logs { format: LogFormat::Human, level: "warn".into(), access: AccessLog::Off };
    let setting = Setting::of(&logs).context("there is no log level `warn`")?;
    Ok(logs::begin(Dial::at(setting), clock.clone(), paint::of_stderr())?)
}
