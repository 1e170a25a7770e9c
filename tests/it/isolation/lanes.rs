//! The routes, and what a request must carry that came through one of them. Neighbours differ in as little as possible.

use std::time::Duration;

use crate::isolation::wallet::Holder;
use crate::isolation::wallet::Issuer;
use crate::isolation::wallet::Token;

/// The application that the proxy is at Entra, and another one that it is too.
pub const CONTOSO: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";
const FABRIKAM: &str = "7842ef87-25b7-4abf-98cd-7fcb7a25402f";

pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub const CLIENT_CREDENTIALS: &str = "client_credentials";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// What the configuration is at a time. Some routes want other tokens in each, and the upstream is told which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    pub number: usize,
    /// `cache.key`.
    pub key: &'static str,
}

/// Those there are.
pub const GENERATIONS: [Generation; 3] = [
    Generation { number: 0, key: "user" },
    Generation { number: 1, key: "user" },
    Generation { number: 2, key: "assertion" },
];

/// The shortest time between two fetches of keys that unknown ones cause.
pub const COOLDOWN: Duration = Duration::from_millis(100);

/// A route.
#[derive(Debug)]
pub struct Lane {
    pub name: &'static str,
    /// Its settings beyond match and upstream. `{g}` is the generation's number, here and below.
    settings: &'static str,
    /// Whose tokens it takes.
    pub callers: Callers,
    pub wants: Wants,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    Entra,
    Partner,
    /// Those whose tokens are no JWTs.
    Opaque,
    EntraOrPartner,
    /// Applications of Entra's.
    Robots,
}

/// What the service behind a route must see in `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    /// Nothing; whoever may come.
    Nobody,
    /// Nothing, and the token must be good.
    Nothing,
    TokenA,
    /// A token that was asked for with these fields beyond what the provider always gets.
    TokenB(Provider, &'static [(&'static str, &'static str)]),
}

/// Who exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    Contoso,
    /// The same application, which says that it can do more.
    Careful,
    /// Another application, which takes the same tokens.
    Fabrikam,
    Partner,
    /// The same issuer and client by another grant.
    Bearer,
    Opaque,
}

use Callers::Entra;
use Callers::EntraOrPartner;
use Callers::Opaque;
use Callers::Partner;
use Callers::Robots;
use Wants::Nobody;
use Wants::Nothing;
use Wants::TokenA;
use Wants::TokenB;

/// All of them. Two that want the same share tokens, as they may.
pub const LANES: &[Lane] = &[
    lane("orders", "contoso, exchange: { scopes: [api://orders/read] }", Entra, ORDERS),
    lane(
        "named",
        r#"contoso, exchange: { scopes: [api://orders/read] }, headers: { set: { x-user-id: "{claims.oid}", x-session: "{claims.sid}" } }"#,
        Entra,
        ORDERS,
    ),
    lane(
        "both",
        "contoso, exchange: { scopes: [api://orders/read, api://orders/write] }",
        Entra,
        TokenB(Provider::Contoso, &[("scope", "api://orders/read api://orders/write")]),
    ),
    lane(
        "turns",
        "contoso, exchange: { scopes: [api://orders/turn{g}] }",
        Entra,
        TokenB(Provider::Contoso, &[("scope", "api://orders/turn{g}")]),
    ),
    lane(
        "stock",
        "contoso, exchange: { scopes: [api://stock/read] }",
        Entra,
        TokenB(Provider::Contoso, &[("scope", "api://stock/read")]),
    ),
    lane(
        "old",
        "contoso, exchange: { resource: https://stock.example }",
        Entra,
        TokenB(Provider::Contoso, &[("resource", "https://stock.example"), ("scope", "openid")]),
    ),
    lane(
        "kind",
        "contoso, exchange: { scopes: [api://orders/read], requested_token_type: access_token }",
        Entra,
        TokenB(Provider::Contoso, &[("scope", "api://orders/read"), ("requested_token_type", ACCESS_TOKEN)]),
    ),
    lane(
        "careful",
        "careful, exchange: { scopes: [api://orders/read] }",
        Entra,
        TokenB(Provider::Careful, &[("scope", "api://orders/read")]),
    ),
    lane(
        "fabrikam",
        "fabrikam, exchange: { scopes: [api://orders/read] }",
        Entra,
        TokenB(Provider::Fabrikam, &[("scope", "api://orders/read")]),
    ),
    lane(
        "robots",
        "contoso, require: { roles: [Robot] }, exchange: { scopes: [api://orders/read], app_tokens: client_credentials }",
        Robots,
        ORDERS,
    ),
    lane("raw", "contoso, token: passthrough", Entra, TokenA),
    lane("gone", "contoso, token: remove", Entra, Nothing),
    lane("open", "contoso, auth: anonymous", Entra, Nobody),
    lane(
        "inventory",
        "partner, exchange: { audience: inventory }",
        Partner,
        TokenB(Provider::Partner, &[("audience", "inventory")]),
    ),
    lane(
        "pricing",
        "partner, exchange: { audience: pricing }",
        Partner,
        TokenB(Provider::Partner, &[("audience", "pricing")]),
    ),
    lane(
        "place",
        "partner, exchange: { resource: urn:inventory }",
        Partner,
        TokenB(Provider::Partner, &[("resource", "urn:inventory")]),
    ),
    lane(
        "scoped",
        "partner, exchange: { audience: inventory, scopes: [read] }",
        Partner,
        TokenB(Provider::Partner, &[("audience", "inventory"), ("scope", "read")]),
    ),
    lane(
        "acting",
        "partner, exchange: { audience: inventory, actor: self }",
        Partner,
        TokenB(Provider::Partner, &[("audience", "inventory"), ("actor_token_type", ACCESS_TOKEN)]),
    ),
    lane(
        "bearer",
        "bearer, exchange: { scopes: [read] }",
        Partner,
        TokenB(Provider::Bearer, &[("scope", "read")]),
    ),
    lane(
        "either",
        "[contoso, partner], exchange: { scopes: [read] }",
        EntraOrPartner,
        TokenB(Provider::Contoso, &[("scope", "read")]),
    ),
    lane(
        "opaque",
        "opaque, exchange: { audience: inventory }",
        Opaque,
        TokenB(Provider::Opaque, &[("audience", "inventory")]),
    ),
];

const ORDERS: Wants = TokenB(Provider::Contoso, &[("scope", "api://orders/read")]);

const fn lane(name: &'static str, settings: &'static str, callers: Callers, wants: Wants) -> Lane {
    Lane { name, settings, callers, wants }
}

/// Where a request for a token goes, and with which fields beyond tokens, secrets and claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    pub secret: &'static str,
    /// Sorted.
    pub form: Vec<(String, String)>,
}

impl Lane {
    /// How the token is asked for that this route wants for the holder of that token A; `None` if it wants none.
    pub fn request(&self, generation: Generation, token: &Token) -> Option<Request> {
        let TokenB(provider, fields) = self.wants else { return None };
        let provider = match (self.callers, &token.holder.issuer) {
            (EntraOrPartner, Issuer::Partner) => Provider::Partner,
            _ => provider,
        };
        let (client, secret) = provider.client();
        let mut form = vec![("client_id", client)];
        form.extend(match (self.callers, provider) {
            (Robots, _) => vec![("grant_type", CLIENT_CREDENTIALS)],
            (_, Provider::Partner | Provider::Opaque) => {
                vec![("grant_type", TOKEN_EXCHANGE), ("subject_token_type", ACCESS_TOKEN)]
            }
            (_, Provider::Bearer) => vec![("grant_type", JWT_BEARER)],
            _ => vec![("grant_type", JWT_BEARER), ("requested_token_use", "on_behalf_of")],
        });
        form.extend(fields);
        let path = match (&token.holder, form.iter().any(|(name, _)| *name == "resource")) {
            (Holder { issuer: Issuer::Entra(tenant), .. }, true) => format!("/{tenant}/oauth2/token"),
            (Holder { issuer: Issuer::Entra(tenant), .. }, false) => format!("/{tenant}/oauth2/v2.0/token"),
            _ => "/token".to_owned(),
        };
        let number = generation.number.to_string();
        let filled = |(name, value): (&str, &str)| (name.to_owned(), value.replace("{g}", &number));
        let mut form: Vec<_> = form.into_iter().map(filled).collect();
        form.sort();
        Some(Request { path, secret, form })
    }

    /// Whether its token B comes with one that says that it is we who act.
    pub fn has_actor(&self) -> bool {
        self.name == "acting"
    }
}

impl Provider {
    /// Our client id there, and what proves it.
    fn client(self) -> (&'static str, &'static str) {
        match self {
            Self::Contoso | Self::Careful => (CONTOSO, "s3cret+/="),
            Self::Fabrikam => (FABRIKAM, "an0ther"),
            Self::Partner | Self::Bearer | Self::Opaque => ("orders-proxy", "s3cret+/="),
        }
    }
}

/// What the environment must say.
pub const ENVIRONMENT: [(&str, &str); 2] = [("SECRET", "s3cret+/="), ("ANOTHER", "an0ther")];

/// The routes as a configuration has them; every other one leads to the upstream that speaks HTTP/2.
pub fn routes(generation: Generation) -> String {
    let lines = LANES.iter().enumerate().map(|(at, lane)| {
        let settings = lane.settings.replace("{g}", &generation.number.to_string());
        let upstream = if at % 2 == 0 { "one" } else { "two" };
        format!(
            "\n  {}: {{ match: /{}, upstream: {upstream}, identity_provider: {settings} }}",
            lane.name, lane.name
        )
    });
    lines.collect()
}

/// The providers as a configuration has them: Entra's authority, and the issuers of the partner's and of opaque tokens.
pub fn providers(entra: &str, partner: &str, opaque: &str, tenants: &[&str]) -> String {
    let tenants = tenants.join(", ");
    let of_entra = |name: &str, client: &str, secret: &str, more: &str| {
        format!(
            r#"
  {name}:
    entra: {{ tenant: organizations, allowed_tenants: [{tenants}], authority: "{entra}" }}
    client_id: {client}
    audiences: [{CONTOSO}]
    credential: {{ secret: {{ env: {secret} }} }}
    jwks: {{ cooldown: {COOLDOWN:?} }}
    timeout: 60s
    {more}"#
        )
    };
    let of_another = |name: &str, issuer: &str, more: &str| {
        format!(
            r#"
  {name}:
    oidc: {{ issuer: "{issuer}" }}
    client_id: orders-proxy
    audiences: [orders]
    credential: {{ secret: {{ env: SECRET }} }}
    jwks: {{ cooldown: {COOLDOWN:?} }}
    timeout: 60s
    {more}"#
        )
    };
    [
        of_entra("contoso", CONTOSO, "SECRET", ""),
        of_entra("careful", CONTOSO, "SECRET", "client_capabilities: [cp1]"),
        of_entra("fabrikam", FABRIKAM, "ANOTHER", ""),
        of_another("partner", partner, ""),
        of_another("bearer", partner, "grant: jwt_bearer"),
        of_another("opaque", opaque, "introspection: true"),
    ]
    .concat()
}
