//! `identity_providers.*.entra`, and which providers accept the same issuer.

use url::Url;

use crate::config::Entra;
use crate::config::Tenancy;
use crate::config::check::At;
use crate::config::check::endpoint;
use crate::config::check::items;
use crate::config::wire;
use crate::config::wire::identity_provider::Cloud;
use crate::domain::tenant::TenantId;

const TENANT_HELP: &str = "write the tenant's id or one of its verified domains, as in 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 or \
     contoso.onmicrosoft.com";

/// What an `entra` map says.
pub fn check(wire: &wire::identity_provider::Entra, at: &At<'_>) -> Option<Entra> {
    let authority = authority(wire, at);
    let tenancy = tenancy(wire, at);
    let (authority, v1_issuer_prefix) = authority?;
    Some(Entra { authority, v1_issuer_prefix: v1_issuer_prefix.into(), tenancy: tenancy? })
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

fn ids(tenancy: &Tenancy) -> &[TenantId] {
    match tenancy {
        Tenancy::Id(id) => std::slice::from_ref(id),
        Tenancy::Domain(_) => &[],
        Tenancy::Shared { allowed, .. } => allowed,
    }
}

/// The authority, and the issuer prefix of its version 1 tokens.
fn authority(wire: &wire::identity_provider::Entra, at: &At<'_>) -> Option<(Url, &'static str)> {
    let public = "https://sts.windows.net/";
    let (text, v1) = match (&wire.authority, wire.cloud) {
        (Some(_), Some(_)) => {
            at.key("authority")
                .error_with("`authority` and `cloud` exclude each other", "leave one of them out");
            return None;
        }
        (Some(text), None) => return custom(text, &at.key("authority")).map(|url| (url, public)),
        (None, None | Some(Cloud::Public)) => ("https://login.microsoftonline.com", public),
        (None, Some(Cloud::UsGovernment)) => ("https://login.microsoftonline.us", public),
        (None, Some(Cloud::China)) => {
            ("https://login.partner.microsoftonline.cn", "https://sts.chinacloudapi.cn/")
        }
    };
    Url::parse(text).ok().map(|url| (url, v1))
}

fn custom(text: &str, at: &At<'_>) -> Option<Url> {
    let url = endpoint::parse(text, at)?;
    if url.path() != "/" || !endpoint::base_path(text, at)?.is_empty() {
        let message = format!("`{}` has a path", at.shown(text));
        at.error_with(message, "write the scheme and host alone: the tenant has a key of its own");
        return None;
    }
    if url.scheme() == "http" && !endpoint::is_loopback(&url) {
        let message = format!("`{}` is not https", at.shown(text));
        at.error_with(
            message,
            "secrets and tokens are sent there: plain http is only for 127.0.0.0/8, ::1 and localhost",
        );
        return None;
    }
    Some(url)
}

fn tenancy(wire: &wire::identity_provider::Entra, at: &At<'_>) -> Option<Tenancy> {
    let Some(tenant) = wire.tenant.as_deref().or_else(|| at.environment("AZURE_TENANT_ID")) else {
        at.missing("tenant", "write the tenant's id, or set AZURE_TENANT_ID");
        return None;
    };
    let allowed_at = at.key("allowed_tenants");
    let at = at.key("tenant");
    let allowed = items(wire.allowed_tenants.as_ref(), &allowed_at);
    let is_shared = matches!(tenant, "common" | "organizations");
    if allowed.is_some() && !is_shared {
        let help = "leave it out, or write tenant: organizations";
        allowed_at.error_with("`allowed_tenants` has a meaning only with `common` and `organizations`", help);
        return None;
    }
    if let Some(id) = TenantId::parse(tenant) {
        return Some(Tenancy::Id(id));
    }
    if is_shared {
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
