//! `identity_providers.*.entra`, and which providers accept the same issuer.

use url::Url;

use crate::config::Entra;
use crate::config::EntraVersion;
use crate::config::Tenancy;
use crate::config::check::At;
use crate::config::check::endpoint;
use crate::config::check::items;
use crate::config::is_loopback;
use crate::config::wire;
use crate::config::wire::identity_provider::Cloud;
use crate::domain::tenant::TenantId;

const TENANT_HELP: &str = "write the tenant's id or one of its verified domains, as in 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 or \
     contoso.onmicrosoft.com";

const PUBLIC: &str = "https://login.microsoftonline.com";
const US_GOVERNMENT: &str = "https://login.microsoftonline.us";
const CHINA: &str = "https://login.partner.microsoftonline.cn";

/// What an `entra` map says. `authority_host` is the authority that the surroundings name, if they count.
pub fn check(
    wire: &wire::identity_provider::Entra,
    authority_host: Option<&str>,
    at: &At<'_>,
) -> Option<Entra> {
    let authority = authority(wire, authority_host, at);
    let tenancy = tenancy(wire, at);
    let authority = authority?;
    let v1_issuer_prefix = match cloud(&authority) {
        Cloud::China => "https://sts.chinacloudapi.cn/",
        Cloud::Public | Cloud::UsGovernment => "https://sts.windows.net/",
    };
    Some(Entra { authority, v1_issuer_prefix: v1_issuer_prefix.into(), tenancy: tenancy? })
}

/// Whom tokens that stand for us are addressed to in the cloud of `entra`
/// (<https://learn.microsoft.com/entra/workload-id/workload-identity-federation>).
pub fn token_exchange_audience(entra: &Entra) -> &'static str {
    match cloud(&entra.authority) {
        Cloud::Public => "api://AzureADTokenExchange",
        Cloud::UsGovernment => "api://AzureADTokenExchangeUSGov",
        Cloud::China => "api://AzureADTokenExchangeChina",
    }
}

/// Whether some issuer is accepted by both.
pub fn share_issuer(one: &Entra, other: &Entra) -> bool {
    let place = one.origin() == other.origin() || one.v1_issuer_prefix == other.v1_issuer_prefix;
    let tenants = match (&one.tenancy, &other.tenancy) {
        (Tenancy::Domain(one), Tenancy::Domain(other)) => one == other,
        (one, other) => ids(one).iter().any(|id| ids(other).contains(id)),
    };
    place && tenants
}

/// Whether tokens of `issuer` are accepted.
pub fn accepts(entra: &Entra, issuer: &str) -> bool {
    let versions = [EntraVersion::V1, EntraVersion::V2];
    ids(&entra.tenancy)
        .iter()
        .any(|id| versions.iter().any(|version| entra.issuer(*version, id.as_str()) == issuer))
}

fn ids(tenancy: &Tenancy) -> &[TenantId] {
    match tenancy {
        Tenancy::Id(id) => std::slice::from_ref(id),
        Tenancy::Domain(_) => &[],
        Tenancy::Shared { allowed, .. } => allowed,
    }
}

/// The cloud of an authority; one that nobody knows counts as public.
fn cloud(authority: &Url) -> Cloud {
    match authority.host_str() {
        Some("login.microsoftonline.us" | "login.usgovcloudapi.net") => Cloud::UsGovernment,
        Some("login.partner.microsoftonline.cn" | "login.chinacloudapi.cn") => Cloud::China,
        _ => Cloud::Public,
    }
}

fn authority(
    wire: &wire::identity_provider::Entra,
    authority_host: Option<&str>,
    at: &At<'_>,
) -> Option<Url> {
    let text = match (&wire.authority, wire.cloud, authority_host) {
        (Some(_), Some(_), _) => {
            at.key("authority")
                .error_with("`authority` and `cloud` exclude each other", "leave one of them out");
            return None;
        }
        (Some(text), None, _) => return custom(text, &at.key("authority")),
        (None, None, Some(text)) => return surrounding(text, at),
        (None, Some(Cloud::Public), _) | (None, None, None) => PUBLIC,
        (None, Some(Cloud::UsGovernment), _) => US_GOVERNMENT,
        (None, Some(Cloud::China), _) => CHINA,
    };
    Url::parse(text).ok()
}

fn custom(text: &str, at: &At<'_>) -> Option<Url> {
    let url = endpoint::parse(text, at)?;
    if url.path() != "/" || !endpoint::base_path(text, at)?.is_empty() {
        let message = format!("`{}` has a path", at.shown(text));
        at.error_with(message, "write the scheme and host alone: the tenant has a key of its own");
        return None;
    }
    endpoint::is_private(&url, text, at).then_some(url)
}

/// The authority that AZURE_AUTHORITY_HOST names, with or without a slash at its end.
fn surrounding(text: &str, at: &At<'_>) -> Option<Url> {
    let is_host_alone = |url: &Url| {
        url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    let is_safe = |url: &Url| url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url));
    let url = Url::parse(text).ok().filter(|url| is_host_alone(url) && is_safe(url));
    if url.is_none() {
        at.error_with(
            "the environment variable `AZURE_AUTHORITY_HOST` is not an https:// URL of a host alone",
            "set it as https://login.microsoftonline.com/, or write `cloud` or `authority` here",
        );
    }
    url
}

fn tenancy(wire: &wire::identity_provider::Entra, at: &At<'_>) -> Option<Tenancy> {
    let Some(tenant) = wire.tenant.as_deref().or_else(|| at.environment("AZURE_TENANT_ID")) else {
        at.missing("tenant", "write the tenant's id, or set AZURE_TENANT_ID");
        return None;
    };
    let allowed_at = at.key("allowed_tenants");
    let at = at.key("tenant");
    let allowed = items(wire.allowed_tenants.as_ref(), &allowed_at);
    let is_shared = is_shared(tenant);
    let is_meant = is_shared || allowed.is_none();
    if !is_meant {
        let help = "leave it out, or write tenant: organizations";
        allowed_at.error_with("`allowed_tenants` has a meaning only with `common` and `organizations`", help);
    }
    let tenancy = named(tenant, allowed.filter(|_| is_shared), &at, &allowed_at);
    tenancy.filter(|_| is_meant)
}

/// Whose users `tenant` means, of those `allowed`.
fn named(
    tenant: &str,
    allowed: Option<Vec<(&str, At<'_>)>>,
    at: &At<'_>,
    allowed_at: &At<'_>,
) -> Option<Tenancy> {
    if let Some(id) = TenantId::parse(tenant) {
        return Some(Tenancy::Id(id));
    }
    if is_shared(tenant) {
        let Some(allowed) = allowed else {
            if !allowed_at.is_poisoned() {
                let help = "list the ids of the tenants whose users may enter";
                at.error_with(format!("`{tenant}` needs `allowed_tenants`"), help);
            }
            return None;
        };
        let allowed = allowed.into_iter().filter_map(|(text, at)| tenant_id(text, &at)).collect();
        return Some(Tenancy::Shared { endpoint: tenant.into(), allowed });
    }
    if tenant == "consumers" {
        at.error_with("`consumers` cannot be a tenant: personal accounts have no On-Behalf-Of", TENANT_HELP);
        return None;
    }
    let domain = tenant.to_ascii_lowercase();
    if !is_domain(&domain) {
        at.error_with(format!("`{}` is not a tenant", at.shown(tenant)), TENANT_HELP);
        return None;
    }
    Some(Tenancy::Domain(domain))
}

/// Whether that is no tenant, but many.
fn is_shared(tenant: &str) -> bool {
    matches!(tenant, "common" | "organizations")
}

fn tenant_id(text: &str, at: &At<'_>) -> Option<TenantId> {
    let id = TenantId::parse(text);
    if id.is_none() {
        let help = "write the id of the tenant, a GUID: tokens name their tenant by it";
        at.error_with(format!("`{}` is not a tenant id", at.shown(text)), help);
    }
    id
}

/// A lower-case domain name of two labels at least: nothing that would change the meaning of a URL it is put into.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(label)
        && top.bytes().any(|byte| byte.is_ascii_alphabetic())
}
