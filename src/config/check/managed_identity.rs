//! `managed_identity`: which one, and where its tokens come from.

use url::Url;

use crate::config::ManagedIdentity;
use crate::config::ManagedIdentityId;
use crate::config::ManagedIdentitySource;
use crate::config::check::At;
use crate::config::check::visible;
use crate::config::wire;
use crate::domain::secret::Secret;

/// The instance metadata service of Azure's virtual machines.
const IMDS: &str = "http://169.254.169.254";

/// The managed identity, whose tokens are for `audience`.
pub fn check(
    written: &wire::credential::ManagedIdentity,
    audience: &str,
    at: &At<'_>,
) -> Option<ManagedIdentity> {
    let identity =
        match (&written.client_id, &written.object_id, &written.resource_id) {
            (None, None, None) => Some(None),
            (Some(id), None, None) => visible(id, "a client id", &at.key("client_id"))
                .map(|id| Some(ManagedIdentityId::ClientId(id))),
            (None, Some(id), None) => visible(id, "an object id", &at.key("object_id"))
                .map(|id| Some(ManagedIdentityId::ObjectId(id))),
            (None, None, Some(id)) => resource_id(id, &at.key("resource_id")).map(Some),
            _ => {
                let help = "write one of client_id, object_id and resource_id";
                at.error_with("this names the identity more than once", help);
                None
            }
        };
    let source = source(at);
    Some(ManagedIdentity { identity: identity?, source: source?, audience: audience.into() })
}

/// An id in Azure Resource Manager; the names in it may hold spaces.
fn resource_id(id: &str, at: &At<'_>) -> Option<ManagedIdentityId> {
    if !id.starts_with("/subscriptions/") || id.chars().any(char::is_control) {
        let message = format!("`{}` is not a resource id", at.shown(id));
        at.error_with(message, "write it whole, from /subscriptions/ on");
        return None;
    }
    Some(ManagedIdentityId::ResourceId(id.into()))
}

/// What the process was given, as the Azure SDKs read it.
fn source(at: &At<'_>) -> Option<ManagedIdentitySource> {
    let set = |variable: &str| at.environment(variable).filter(|value| !value.is_empty());
    if set("IDENTITY_SERVER_THUMBPRINT").is_some() || set("IMDS_ENDPOINT").is_some() {
        at.error_with(
            "the managed identities of Service Fabric and Azure Arc are not supported",
            "write another credential, or unset IDENTITY_SERVER_THUMBPRINT and IMDS_ENDPOINT",
        );
        return None;
    }
    let Some(endpoint) = set("IDENTITY_ENDPOINT") else {
        let host = set("AZURE_POD_IDENTITY_AUTHORITY_HOST");
        let url = url(host.unwrap_or(IMDS), "AZURE_POD_IDENTITY_AUTHORITY_HOST", at)?;
        return Some(ManagedIdentitySource::Imds(url));
    };
    let Some(header) = set("IDENTITY_HEADER") else {
        at.error_with(
            "the environment variable `IDENTITY_ENDPOINT` is set, and `IDENTITY_HEADER` is not",
            "App Service and Container Apps set both: unset the one, or set the other",
        );
        return None;
    };
    let endpoint = url(endpoint, "IDENTITY_ENDPOINT", at)?;
    Some(ManagedIdentitySource::AppService { endpoint, header: Secret::new(header.into()) })
}

/// Plain http is usual: the platform answers on an address of this machine alone, which need not be a loopback one.
fn url(text: &str, variable: &str, at: &At<'_>) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if url.is_none() {
        let help = "Azure sets it as http://host:port/path";
        at.error_with(format!("the environment variable `{variable}` is not a URL"), help);
    }
    url
}
