//! When what we show others ends: certificates that nobody renews.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::clock::UnixTime;
use crate::domain::name::Name;
use crate::telemetry::catalogue;
use crate::telemetry::labels::ByListener;
use crate::telemetry::labels::ByProvider;

/// The times at which certificates end.
#[derive(Debug, Default)]
pub struct Ends {
    credentials: Family<ByProvider, Gauge>,
    listeners: Family<ByListener, Gauge>,
}

impl Ends {
    /// Has them told with all that is in `registry`.
    pub(super) fn register(&self, registry: &mut Registry) {
        let credentials = "obo_credential_expiry_timestamp_seconds";
        registry.register(credentials, catalogue::help(credentials), self.credentials.clone());
        let listeners = "obo_listener_certificate_expiry_timestamp_seconds";
        registry.register(listeners, catalogue::help(listeners), self.listeners.clone());
    }

    /// The first of the certificates in use towards an identity provider ends then.
    pub fn credential(&self, identity_provider: &Name, end: UnixTime) {
        let label = ByProvider { identity_provider: identity_provider.into() };
        self.credentials.get_or_create(&label).set(end.as_seconds());
    }

    /// The first of the certificates that callers of a listener are shown ends then.
    pub fn listener(&self, listener: &Name, end: UnixTime) {
        self.listeners.get_or_create(&ByListener { listener: listener.into() }).set(end.as_seconds());
    }

    /// An identity provider is shown nothing any more.
    pub fn forget_credential(&self, identity_provider: &Name) {
        self.credentials.remove(&ByProvider { identity_provider: identity_provider.into() });
    }

    /// A listener takes nobody any more: nobody is shown its certificates.
    pub fn forget_listener(&self, listener: &Name) {
        self.listeners.remove(&ByListener { listener: listener.into() });
    }
}
