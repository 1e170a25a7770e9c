//! The label sets of the metrics. Values come from the configuration or from a closed set, never from a request.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::EncodeLabelValue;
use prometheus_client::encoding::LabelValueEncoder;

use crate::domain::name::Name;

/// A label value: a configured name, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// A configured name.
    Name(Name),
    /// Not known.
    None,
}

impl From<&Name> for Label {
    fn from(name: &Name) -> Self {
        Self::Name(name.clone())
    }
}

impl From<Option<&Name>> for Label {
    fn from(name: Option<&Name>) -> Self {
        name.map_or(Self::None, Self::from)
    }
}

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Name(name) => name.as_str().encode(encoder),
            Self::None => "".encode(encoder),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByProviderAndResult {
    pub identity_provider: Label,
    pub result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByProviderAndOutcome {
    pub identity_provider: Label,
    pub outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByProvider {
    pub identity_provider: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByTierAndResult {
    pub tier: &'static str,
    pub result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByTier {
    pub tier: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByReason {
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByResult {
    pub result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByRouteAndReason {
    pub route: Label,
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByListener {
    pub listener: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByListenerAndReason {
    pub listener: Label,
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByListenerAndResult {
    pub listener: Label,
    pub result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ServerRequest {
    pub http_route: Label,
    pub http_request_method: &'static str,
    pub http_response_status_code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ByServer {
    pub server_address: String,
}

/// The method as a label: a closed set, `_OTHER` for the rest (OpenTelemetry's rule).
pub fn known_method(method: Option<&http::Method>) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    let known = method.and_then(|method| KNOWN.into_iter().find(|known| *known == method.as_str()));
    known.unwrap_or("_OTHER")
}
