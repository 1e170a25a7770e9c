//! What the emulated Entra has registered: tenants, one application, the APIs it may call.

use std::time::Duration;

use crate::app::demo::entra::client_assertion::Seen;
use crate::config::EntraVersion;
use crate::domain::secret::Secret;

/// The registrations. The default is what the `demo` command uses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The tenant's id, lower-case.
    pub tenant: String,
    /// A verified domain of that tenant, which may stand for its id in a URL.
    pub domain: String,
    /// Ids of further tenants it serves, each with the same users.
    pub other_tenants: Vec<String>,
    /// The application the proxy is.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// Its certificates, in DER: the key of any of them may sign its assertions.
    pub client_certificates: Vec<Vec<u8>>,
    /// The APIs it may call on behalf of a user.
    pub downstream: Vec<Downstream>,
    /// How long a token B lives.
    pub downstream_lifetime: Duration,
}

/// An API tokens are issued for.
#[derive(Clone, Debug)]
pub struct Downstream {
    /// Its App ID URI.
    pub resource: String,
    /// The scopes that are consented, without the resource; `.default` if that may be asked for.
    pub scopes: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let downstream = |resource: &str, scope: &str| Downstream {
            resource: resource.into(),
            scopes: vec![scope.into(), ".default".into()],
        };
        Self {
            tenant: "8eaef023-2b34-4da1-9baa-8bc8c9d6a490".into(),
            domain: "contoso.example".into(),
            other_tenants: Vec::new(),
            client_id: "6731de76-14a6-49ae-97bc-6eba6914391e".into(),
            // as awkward as Entra's own: each of these characters is lost by some encoder
            client_secret: Secret::new("dEm0~8Q+not/a.secret_Wk3z+Yb7==".into()),
            client_certificates: Vec::new(),
            downstream: vec![
                downstream("api://orders-backend", "orders.read"),
                downstream("api://reports-backend", "reports.read"),
            ],
            downstream_lifetime: Duration::from_secs(3600),
        }
    }
}

/// Settings together with the address they are served at: all that names depend on.
#[derive(Debug)]
pub struct Realm {
    /// What is registered.
    pub settings: Settings,
    /// `http://host:port`.
    pub authority: String,
    /// The client's assertions that were used.
    pub seen: Seen,
}

/// What stands for a tenant in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A tenant's id.
    Tenant(&'a str),
    /// `common` or `organizations`: any tenant.
    Shared,
}

impl Realm {
    /// What `segment` of a URL stands for; `None` if no such tenant is served.
    pub fn segment(&self, segment: &str) -> Option<Segment<'_>> {
        if segment == "common" || segment == "organizations" {
            return Some(Segment::Shared);
        }
        if segment.eq_ignore_ascii_case(&self.settings.domain) {
            return Some(Segment::Tenant(&self.settings.tenant));
        }
        self.tenants().find(|tenant| segment.eq_ignore_ascii_case(tenant)).map(Segment::Tenant)
    }

    fn tenants(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.settings.tenant).chain(&self.settings.other_tenants).map(String::as_str)
    }

    /// The issuer of a tenant's tokens. The version 1 issuer does not depend on where Entra is reached.
    pub fn issuer(&self, version: EntraVersion, tenant: &str) -> String {
        match version {
            EntraVersion::V1 => format!("https://sts.windows.net/{tenant}/"),
            EntraVersion::V2 => format!("{}/{tenant}/v2.0", self.authority),
        }
    }

    /// The App ID URI of the application the proxy is: the audience of version 1 tokens.
    pub fn app_id_uri(&self) -> String {
        format!("api://{}", self.settings.client_id)
    }
}
