//! The audit log: one line per exchange, whoever waited for it.

use std::time::Duration;

use crate::telemetry::logs;

/// The `tracing` target of audit lines.
pub const TARGET: &str = "audit";

/// What is known of one exchange. Absent facts are absent from the line.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line<'a> {
    /// The request that led to it.
    pub request_id: Option<&'a str>,
    /// The trace of that request, if it is recorded.
    pub trace_id: Option<&'a str>,
    /// Why a token was wanted.
    pub trigger: &'static str,
    /// Who was asked.
    pub identity_provider: &'a str,
    /// The tenant that was asked.
    pub tenant: Option<&'a str>,
    /// The user it was for, hashed with a key.
    pub user: Option<&'a str>,
    /// The application that called.
    pub client: Option<&'a str>,
    /// How it was asked.
    pub grant: &'static str,
    /// What was asked for: scopes, as configured.
    pub scopes: &'a [String],
    /// What was asked for: resources, as configured.
    pub resources: &'a [String],
    /// What was asked for: audiences, as configured.
    pub audiences: &'a [String],
    /// `ok`, or the reason of the refusal.
    pub outcome: &'static str,
    /// The identity provider's `error`.
    pub error: Option<&'a str>,
    /// Its `suberror`.
    pub suberror: Option<&'a str>,
    /// Its numbers.
    pub error_codes: &'a [u64],
    /// The request's id in its logs.
    pub correlation_id: Option<&'a str>,
    /// How long the token lives, if that is known.
    pub lifetime: Option<Duration>,
    /// How long it took.
    pub took: Duration,
}

/// Whether a line would be written at all.
pub fn is_on() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

impl Line<'_> {
    /// Writes it.
    pub fn write(&self) {
        tracing::info!(
            target: TARGET,
            request_id = self.request_id,
            trace_id = self.trace_id,
            trigger = self.trigger,
            identity_provider = self.identity_provider,
            tenant = self.tenant,
            user = self.user,
            client = self.client,
            grant = self.grant,
            scopes = joined(self.scopes),
            resource = joined(self.resources),
            audience = joined(self.audiences),
            outcome = self.outcome,
            error = self.error,
            suberror = self.suberror,
            error_codes = logs::numbers(self.error_codes),
            correlation_id = self.correlation_id,
            lifetime_s = self.lifetime.map(|lifetime| lifetime.as_secs()),
            duration_ms = logs::milliseconds(self.took),
            "exchange"
        );
    }
}

fn joined(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(" "))
}
