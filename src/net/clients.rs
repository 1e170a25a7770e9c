//! The clients for identity providers: one for each way to them.

use std::sync::Arc;

use rustls::ClientConfig;

use crate::config::Egress;
use crate::config::IdentityProvider;
use crate::net::client::Client;
use crate::net::tls;

/// Clients that trust the same roots. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clients {
    tls: ClientConfig,
    direct: Client,
    /// Where there is a proxy on the way.
    proxied: Vec<(Egress, Client)>,
}

impl Clients {
    /// Clients with these TLS settings, for providers that are reached directly.
    pub fn new(tls: ClientConfig) -> Self {
        Self { direct: Client::with_tls(tls.clone()), tls, proxied: Vec::new() }
    }

    /// Clients that trust the system's roots.
    ///
    /// # Errors
    /// If the system has no roots.
    pub fn system() -> Result<Self, tls::Error> {
        Ok(Self::new(tls::client_config(None, None)?))
    }

    /// Clients for servers without TLS: they trust nobody.
    ///
    /// # Errors
    /// If TLS cannot be set up at all.
    pub fn plain() -> Result<Self, tls::Error> {
        Ok(Self::new(tls::client_config_without_roots()?))
    }

    /// The same for these providers: those on a way that is gone on keep their connections, others are let go.
    pub fn toward(&self, providers: &[Arc<IdentityProvider>]) -> Self {
        let mut proxied: Vec<(Egress, Client)> = Vec::new();
        for provider in providers.iter().filter(|provider| provider.egress != Egress::Direct) {
            if !proxied.iter().any(|(egress, _)| *egress == provider.egress) {
                proxied.push((provider.egress.clone(), self.of(provider)));
            }
        }
        Self { tls: self.tls.clone(), direct: self.direct.clone(), proxied }
    }

    /// The one that goes the way to `provider`.
    pub fn of(&self, provider: &IdentityProvider) -> Client {
        let known = self.proxied.iter().find(|(egress, _)| *egress == provider.egress);
        match (&provider.egress, known) {
            (Egress::Direct, _) => self.direct.clone(),
            (_, Some((_, client))) => client.clone(),
            (egress, None) => Client::through(self.tls.clone(), egress.clone()),
        }
    }

    /// The one that takes no proxy, whatever is configured: for what is near this machine.
    pub fn direct(&self) -> &Client {
        &self.direct
    }
}
