//! Which of a provider's issuers a token names: matched exactly against configuration before any key is looked up, so
//! that keys live under their issuer. Pure.

use crate::config::AuthorizationServer;
use crate::config::Entra;
use crate::config::EntraVersion;
use crate::config::Tenancy;
use crate::domain::tenant::TenantId;
use crate::pipeline::authenticate::claims::Stated;
use crate::pipeline::authenticate::jwks::Key;

/// What stands for the tenant in the issuers of shared endpoints.
pub const TENANT: &str = "{tenantid}";

/// An issuer of a provider's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// Entra's, for one tenant's tokens of one version.
    Entra {
        /// Of which tokens.
        version: EntraVersion,
        /// Of which tenant.
        tenant: TenantId,
    },
    /// The only one that any other server has.
    Sole,
}

/// How a provider stands to the issuer a token names. The later, the better.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// One of its issuers, but of a tenant that may not enter.
    Barred(Issuer),
    /// One of its issuers if the tenant is the one its domain stands for, which is not known yet.
    Undecided,
    /// One of its issuers.
    Accepted(Issuer),
}

impl Standing {
    fn rank(&self) -> u8 {
        match self {
            Self::Barred(_) => 0,
            Self::Undecided => 1,
            Self::Accepted(_) => 2,
        }
    }
}

/// The provider that is meant. Two may share an issuer (one tenant by its id, several through a shared endpoint): the one
/// that lets the tenant in is meant, and of equals the first.
pub fn meant<P>(candidates: impl Iterator<Item = (P, Standing)>) -> Option<(P, Standing)> {
    candidates.reduce(|best, next| if next.1.rank() > best.1.rank() { next } else { best })
}

/// How a provider stands to the issuer that `claims` name; `None` = not its issuer. `domain` is the tenant that a
/// configured domain was found to stand for.
pub fn standing(
    server: &AuthorizationServer,
    domain: Option<&TenantId>,
    claims: &Stated,
) -> Option<Standing> {
    let named = claims.text("iss")?;
    match server {
        AuthorizationServer::Entra(entra) => standing_at_entra(entra, domain, named, claims),
        AuthorizationServer::Oidc(oidc) => (oidc.issuer == named).then_some(Standing::Accepted(Issuer::Sole)),
    }
}

fn standing_at_entra(
    entra: &Entra,
    domain: Option<&TenantId>,
    named: &str,
    claims: &Stated,
) -> Option<Standing> {
    let (version, tenant) =
        VERSIONS.into_iter().find_map(|version| Some((version, tenant_in(entra, version, named)?)))?;
    let stated = match version {
        EntraVersion::V1 => "1.0",
        EntraVersion::V2 => "2.0",
    };
    if claims.find("ver").is_some_and(|own| own != stated) {
        return None;
    }
    let is = |id: &TenantId| tenant == *id;
    let accepts = match (&entra.tenancy, domain) {
        (Tenancy::Id(id), _) | (Tenancy::Domain(_), Some(id)) => is(id).then_some(true)?,
        (Tenancy::Domain(_), None) => return Some(Standing::Undecided),
        (Tenancy::Shared { allowed, .. }, _) => allowed.iter().any(is),
    };
    let issuer = Issuer::Entra { version, tenant };
    Some(if accepts { Standing::Accepted(issuer) } else { Standing::Barred(issuer) })
}

/// The tenant in `issuer`, if it is exactly the issuer of some tenant's tokens of that version.
pub fn tenant_in(entra: &Entra, version: EntraVersion, issuer: &str) -> Option<TenantId> {
    let template = entra.issuer(version, TENANT);
    let (before, after) = template.split_once(TENANT)?;
    let text = issuer.strip_prefix(before)?.strip_suffix(after)?;
    TenantId::parse(text).filter(|tenant| tenant.as_str() == text)
}

impl Issuer {
    /// Which of Entra's versions its tokens are of.
    pub fn version(&self) -> Option<EntraVersion> {
        match self {
            Self::Entra { version, .. } => Some(*version),
            Self::Sole => None,
        }
    }

    /// Whose tokens it issues, if it is Entra's.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Entra { tenant, .. } => Some(tenant),
            Self::Sole => None,
        }
    }

    /// Whether `key`, which `server` publishes, signs this issuer's tokens. One of Entra's names no issuer, or that of
    /// version 1 or 2 of this tenant: both versions are published with the same keys, whose member names only one of
    /// them (<https://learn.microsoft.com/entra/identity-platform/access-tokens#validate-the-issuer>).
    pub fn owns(&self, key: &Key, server: &AuthorizationServer) -> bool {
        match (self, server) {
            (Self::Entra { tenant, .. }, AuthorizationServer::Entra(entra)) => {
                key.issuer().is_none_or(|template| {
                    let named = template.replace(TENANT, tenant.as_str());
                    VERSIONS.iter().any(|version| entra.issuer(*version, tenant.as_str()) == named)
                })
            }
            // the member is Entra's own: it says nothing of anybody else's keys, unless it names somebody else
            (Self::Sole, AuthorizationServer::Oidc(oidc)) => {
                key.issuer().is_none_or(|template| fits(template, &oidc.issuer))
            }
            _ => false,
        }
    }
}

const VERSIONS: [EntraVersion; 2] = [EntraVersion::V2, EntraVersion::V1];

/// Whether `issuer` is what `template` says, some tenant put in.
fn fits(template: &str, issuer: &str) -> bool {
    match template.split_once(TENANT) {
        None => template == issuer,
        Some((before, after)) => {
            let tenant = issuer.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            tenant.and_then(TenantId::parse).is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Algorithm;
    use crate::pipeline::authenticate::jwks::KeySet;
    use crate::pipeline::authenticate::jws::KeyName;
    use crate::pipeline::authenticate::testing::OTHER_TENANT;
    use crate::pipeline::authenticate::testing::Signer;
    use crate::pipeline::authenticate::testing::TENANT as OURS;
    use crate::pipeline::authenticate::testing::entra;
    use crate::pipeline::authenticate::testing::oidc;
    use crate::pipeline::authenticate::testing::tenant;

    fn server(tenancy: Tenancy) -> AuthorizationServer {
        AuthorizationServer::Entra(entra(tenancy))
    }

    fn claims(issuer: &str, version: Option<&str>) -> Stated {
        let mut claims = json!({"iss": issuer, "exp": 1});
        if let Some(version) = version {
            claims["ver"] = version.into();
        }
        Stated::parse(claims.to_string().as_bytes()).ok().unwrap()
    }

    fn v1(tenant: &str) -> String {
        format!("https://sts.windows.net/{tenant}/")
    }

    fn v2(tenant: &str) -> String {
        format!("https://login.microsoftonline.com/{tenant}/v2.0")
    }

    fn accepted(version: EntraVersion, id: &str) -> Option<Standing> {
        Some(Standing::Accepted(Issuer::Entra { version, tenant: tenant(id) }))
    }

    #[test]
    fn one_tenant_has_two_issuers_to_the_byte() {
        let entra = server(Tenancy::Id(tenant(OURS)));
        let of = |issuer: &str, version: Option<&str>| standing(&entra, None, &claims(issuer, version));
        assert_eq!(of(&v1(OURS), Some("1.0")), accepted(EntraVersion::V1, OURS));
        assert_eq!(of(&v2(OURS), Some("2.0")), accepted(EntraVersion::V2, OURS));
        assert_eq!(of(&v2(OURS), None), accepted(EntraVersion::V2, OURS));
        for wrong in [
            v1(OTHER_TENANT),
            v2(OTHER_TENANT),
            v2(OURS).to_uppercase(),
            v2(&OURS.to_uppercase()),
            format!("{}/", v2(OURS)),
            v1(OURS).trim_end_matches('/').to_owned(),
            v1(OURS).replace("https", "http"),
            v1(&format!("{OURS}/{OURS}")),
            v2("common"),
            v2("{tenantid}"),
            v2(""),
            format!("https://login.microsoftonline.com.evil.example/{OURS}/v2.0"),
            format!(" {}", v2(OURS)),
        ] {
            assert_eq!(of(&wrong, None), None, "{wrong}");
        }
        for (issuer, version) in [(v1(OURS), "2.0"), (v2(OURS), "1.0"), (v2(OURS), "3"), (v2(OURS), "")] {
            assert_eq!(of(&issuer, Some(version)), None, "{issuer} {version}");
        }
    }

    #[test]
    fn a_shared_endpoint_accepts_the_listed_tenants() {
        let entra = server(Tenancy::Shared { endpoint: "common".into(), allowed: vec![tenant(OURS)] });
        assert_eq!(standing(&entra, None, &claims(&v2(OURS), None)), accepted(EntraVersion::V2, OURS));
        let other = Issuer::Entra { version: EntraVersion::V1, tenant: tenant(OTHER_TENANT) };
        let barred = standing(&entra, None, &claims(&v1(OTHER_TENANT), None));
        assert_eq!(barred, Some(Standing::Barred(other)));
        assert_eq!(standing(&entra, None, &claims(&v2("{tenantid}"), None)), None);
        assert_eq!(standing(&entra, None, &claims(&v2("common"), None)), None);
    }

    #[test]
    fn a_domain_accepts_the_tenant_it_was_found_to_stand_for() {
        let entra = server(Tenancy::Domain("contoso.example".into()));
        let ours = tenant(OURS);
        assert_eq!(standing(&entra, None, &claims(&v2(OURS), None)), Some(Standing::Undecided));
        assert_eq!(standing(&entra, Some(&ours), &claims(&v2(OURS), None)), accepted(EntraVersion::V2, OURS));
        assert_eq!(standing(&entra, Some(&ours), &claims(&v2(OTHER_TENANT), None)), None);
        assert_eq!(standing(&entra, None, &claims("https://id.example", None)), None);
    }

    #[test]
    fn a_key_signs_for_the_issuer_it_names() {
        let entra = server(Tenancy::Id(tenant(OURS)));
        let issuer = Issuer::Entra { version: EntraVersion::V1, tenant: tenant(OURS) };
        let owns = |named: Option<String>| {
            let mut key = Signer::rsa().jwk("k");
            if let Some(named) = named {
                key["issuer"] = named.into();
            }
            let set = json!({ "keys": [key] }).to_string();
            let set = KeySet::parse(set.as_bytes(), &Algorithm::ALL).unwrap();
            issuer.owns(set.find(KeyName::Id("k"), Algorithm::RS256).unwrap(), &entra)
        };
        for good in [None, Some(v1(OURS)), Some(v2(OURS)), Some(v1(TENANT)), Some(v2(TENANT))] {
            assert!(owns(good.clone()), "{good:?}");
        }
        for bad in [v2(OTHER_TENANT), v2("9188040d-6c67-4c5b-b112-36a304b66dad"), v2("common"), String::new()]
        {
            assert!(!owns(Some(bad.clone())), "{bad}");
        }
    }

    #[test]
    fn any_other_server_has_one_issuer_to_the_byte() {
        let server = |issuer: &str| AuthorizationServer::Oidc(oidc(issuer));
        let id = server("https://id.example/realms/b2b");
        let of =
            |server: &AuthorizationServer, issuer: &str| standing(server, None, &claims(issuer, Some("1.0")));
        assert_eq!(of(&id, "https://id.example/realms/b2b"), Some(Standing::Accepted(Issuer::Sole)));
        for wrong in [
            "https://id.example/realms/b2b/",
            "https://id.example/realms/B2B",
            "https://ID.example/realms/b2b",
            "https://id.example:443/realms/b2b",
            "https://id.example/realms/%62%32%62",
            "http://id.example/realms/b2b",
            "https://id.example/realms",
        ] {
            assert_eq!(of(&id, wrong), None, "{wrong}");
        }
        let federation = server("http://fs.example/adfs/services/trust");
        assert!(of(&federation, "http://fs.example/adfs/services/trust").is_some());
        assert_eq!(of(&federation, "https://fs.example/adfs/services/trust"), None);
    }

    #[test]
    fn a_key_that_names_another_issuer_signs_nobody_s_tokens_here() {
        let issuer = format!("https://login.microsoftonline.com/{OURS}/v2.0");
        let server = AuthorizationServer::Oidc(oidc(&issuer));
        let owns = |named: Option<&str>| {
            let mut key = Signer::rsa().jwk("k");
            if let Some(named) = named {
                key["issuer"] = named.into();
            }
            let set = json!({ "keys": [key] }).to_string();
            let set = KeySet::parse(set.as_bytes(), &Algorithm::ALL).unwrap();
            Issuer::Sole.owns(set.find(KeyName::Id("k"), Algorithm::RS256).unwrap(), &server)
        };
        assert!(owns(None) && owns(Some(&v2(OURS))) && owns(Some(&v2(TENANT))));
        assert!(!owns(Some(&v2(OTHER_TENANT))) && !owns(Some("https://id.example")) && !owns(Some("")));
        assert!(!owns(Some("{tenantid}")) && !owns(Some("https://id.example/{tenantid}/v2.0")));
    }
}
