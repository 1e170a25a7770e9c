//! `routes` and `defaults`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use schemars::Schema;
use schemars::SchemaGenerator;
use schemars::json_schema;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde::de::value::MapAccessDeserializer;

use crate::config::wire::scalar::OneOrMany;
use crate::config::wire::scalar::all_items;
use crate::config::wire::treatment::Cors;
use crate::config::wire::treatment::Headers;
use crate::config::wire::treatment::Retry;
use crate::config::wire::treatment::RouteLimits;
use crate::config::wire::upstream::Timeouts;

/// Declares a map with all settings of a route, after those that are its own.
macro_rules! with_route_settings {
    ($(#[$meta:meta])* $name:ident { $($own:tt)* }) => {
        #[derive(Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        $(#[$meta])*
        pub struct $name {
            $($own)*
            /// Where requests go: the name of an upstream, an `http://` or `https://` URL, or `unix:` and the path of a
            /// socket.
            /// No default.
            pub upstream: Option<String>,
            /// `anonymous`: no token is asked for, and none is looked at.
            /// Default: every request needs a valid token. With `anonymous`, everybody who can connect may pass.
            pub auth: Option<Auth>,
            /// On which listeners it is served, by name.
            /// Default: on all.
            pub listeners: Option<OneOrMany>,
            /// Whose tokens are accepted, by name. Several are told apart by the issuer of the token.
            /// Default: the only identity provider there is.
            pub identity_provider: Option<OneOrMany>,
            /// What a token must carry; anything missing is answered with 403.
            /// Default: nothing beyond being valid and meant for us.
            pub require: Option<Require>,
            /// How the request changes on the way.
            pub rewrite: Option<Rewrite>,
            /// What happens to `%2F` in a path: `reject` or `keep`.
            /// Default: `reject`, with 400. With `keep` it passes undecoded: a back end that decodes it may see another
            /// path than the one that was checked here.
            pub encoded_slashes: Option<EncodedSlashes>,
            /// The token that the upstream wants, for which the caller's is exchanged.
            /// No default: every route has `exchange`, `token` or `auth: anonymous`.
            pub exchange: Option<Exchange>,
            /// What happens to the caller's token where it is not exchanged: `passthrough` or `remove`. It is validated
            /// first, unless the route is anonymous.
            /// Default: `remove` on an anonymous route, else none. With `passthrough` the upstream can use the token
            /// wherever it is accepted.
            pub token: Option<Token>,
            /// How long to wait for the upstream. What is not set here is taken from the upstream.
            pub timeouts: Option<Timeouts>,
            /// Which header fields of the request the proxy writes or removes.
            pub headers: Option<Headers>,
            /// Scripts of which origins may call it from a browser (CORS). The proxy answers preflights itself.
            /// Default: it is left to the upstream.
            pub cors: Option<Cors>,
            /// What its requests may take.
            pub limits: Option<RouteLimits>,
            /// When a request is sent to the upstream once more.
            /// Default: never, but where a connection turns out to be closed and nothing can have come of it.
            pub retry: Option<Retry>,
        }

        impl $name {
            /// The settings that routes and defaults have in common.
            pub fn settings(&self) -> Settings<'_> {
                Settings {
                    upstream: self.upstream.as_deref(),
                    auth: self.auth,
                    listeners: self.listeners.as_ref(),
                    identity_provider: self.identity_provider.as_ref(),
                    require: self.require.as_ref(),
                    rewrite: self.rewrite.as_ref(),
                    encoded_slashes: self.encoded_slashes,
                    exchange: self.exchange.as_ref(),
                    token: self.token,
                    timeouts: self.timeouts.unwrap_or_default(),
                    headers: self.headers.as_ref(),
                    cors: self.cors.as_ref(),
                    limits: self.limits.as_ref(),
                    retry: self.retry.as_ref(),
                }
            }
        }
    };
}

with_route_settings! {
    /// One route.
    #[schemars(extend("required" = ["match"]))]
    Route {
        /// Which requests it takes: a path prefix, or a map. All given parts must agree.
        /// No default.
        pub r#match: Option<Match>,
    }
}

with_route_settings! {
    /// Settings of all routes. Of `auth`, `exchange` and `token`, a route that has one of them takes none from here.
    Defaults {}
}

/// What routes and defaults have in common.
#[derive(Clone, Copy, Default)]
#[allow(missing_docs)] // they are documented above
pub struct Settings<'a> {
    pub upstream: Option<&'a str>,
    pub auth: Option<Auth>,
    pub listeners: Option<&'a OneOrMany>,
    pub identity_provider: Option<&'a OneOrMany>,
    pub require: Option<&'a Require>,
    pub rewrite: Option<&'a Rewrite>,
    pub encoded_slashes: Option<EncodedSlashes>,
    pub exchange: Option<&'a Exchange>,
    pub token: Option<Token>,
    pub timeouts: Timeouts,
    pub headers: Option<&'a Headers>,
    pub cors: Option<&'a Cors>,
    pub limits: Option<&'a RouteLimits>,
    pub retry: Option<&'a Retry>,
}

/// Which requests a route takes.
pub struct Match(pub MatchParts);

/// The parts of a match.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchParts {
    /// Any of these hosts; `*.example.com` is any host below example.com.
    /// Default: every host.
    pub host: Option<OneOrMany>,
    /// The path, or how it begins: `/api` takes `/api` and `/api/x`, not `/apix`.
    /// Default: `/`, every path.
    pub path: Option<String>,
    /// Whether the whole path must be equal.
    /// Default: false.
    pub exact: Option<bool>,
    /// Any of these methods.
    /// Default: every method.
    pub methods: Option<OneOrMany>,
    /// All of these headers, with exactly these values.
    /// Default: none.
    pub headers: Option<BTreeMap<String, String>>,
}

/// Whether a token is asked for.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// No.
    Anonymous,
}

/// What happens to the caller's token.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// It goes upstream as it came.
    Passthrough,
    /// It is removed.
    Remove,
}

/// What happens to `%2F`.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodedSlashes {
    /// 400.
    Reject,
    /// It passes undecoded.
    Keep,
}

/// What a token must carry.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// Permissions that the user granted to the client: all of a list, or `any_of` or `all_of` some.
    pub scopes: Option<Demand>,
    /// Roles of the user or the application: all of a list, or `any_of` or `all_of` some.
    pub roles: Option<Demand>,
    /// Any of these client ids (`azp`, `appid`).
    pub clients: Option<OneOrMany>,
    /// Claims with exactly these values; of a list in the token, one item must be equal.
    pub claims: Option<BTreeMap<String, String>>,
    /// Which client certificates may be shown, on listeners with `tls.client_ca`. The only thing that an anonymous route
    /// can require.
    /// Default: every one that the listener lets in.
    pub client_certificate: Option<RequiredCertificate>,
}

/// Which client certificates may be shown. Where both lists are given, both must agree.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequiredCertificate {
    /// Any of these subjects, in the text form of RFC 4514, as in `CN=gateway,O=Example`: the last part comes first, and
    /// there are no spaces between parts.
    pub subjects: Option<OneOrMany>,
    /// Any of these subject alternative names: host names, URIs such as SPIFFE ids, or mail addresses.
    pub sans: Option<OneOrMany>,
}

/// Words a token must carry.
pub enum Demand {
    /// All of these, written as a list.
    List(OneOrMany),
    /// Written as a map.
    Map(DemandParts),
}

/// Words a token must carry, with how they combine: exactly one of the two.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct DemandParts {
    /// One of these at least.
    pub any_of: Option<OneOrMany>,
    /// All of these.
    pub all_of: Option<OneOrMany>,
}

/// How the request changes on the way.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Removed from the front of the path; a prefix of the path the route takes.
    /// Default: nothing is removed.
    pub strip_prefix: Option<String>,
    /// Which `Host` goes upstream: `preserve` the caller's, or the `upstream`'s own.
    /// Default: `preserve` towards loopback and sockets, else `upstream`. Back ends that serve several hosts answer the wrong
    /// one's content, or 404, if it is wrong.
    pub host: Option<HostRewrite>,
}

/// Which `Host` goes upstream.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostRewrite {
    /// The caller's.
    Preserve,
    /// The upstream's own.
    Upstream,
}

/// The token that the upstream wants. Of `scopes`, `resource` and `audience`, a route that has one of them takes none from
/// the defaults.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The scopes of the token, sent as written, such as `api://orders-backend/.default`.
    /// No default. Entra wants either scopes or a resource, others what they document.
    pub scopes: Option<OneOrMany>,
    /// The resource that the token is for. Entra: one App ID URI, and the token is one of version 1. Others: the URIs of
    /// RFC 8693, or what AD FS calls so.
    /// No default.
    pub resource: Option<OneOrMany>,
    /// Whom the token is for, by the name the identity provider knows it under (RFC 8693).
    /// No default. Only with `grant: token_exchange`.
    pub audience: Option<OneOrMany>,
    /// `self`: the identity provider is told that we act for the user, by an actor token that our own credential gets
    /// (RFC 8693).
    /// Default: nobody is named. Only with `grant: token_exchange`.
    pub actor: Option<Actor>,
    /// The kind of token, if it is not an access token: `saml1`, `saml2`, `jwt` or `access_token`. A SAML assertion is sent
    /// upstream as received.
    /// Default: left to the identity provider.
    pub requested_token_type: Option<TokenType>,
    /// What happens to a token behind which there is no user: `reject`, or `client_credentials`, the token that our own
    /// credential is worth.
    /// Default: `reject`, with 403. With `client_credentials` the upstream sees us and not the application, so the route
    /// must require roles or clients.
    pub app_tokens: Option<AppTokens>,
}

/// A kind of token (RFC 8693 section 3).
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenType {
    /// SAML 1.1.
    Saml1,
    /// SAML 2.0.
    Saml2,
    /// Any JWT.
    Jwt,
    /// An access token.
    AccessToken,
}

/// What happens to a token behind which there is no user.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppTokens {
    /// 403.
    Reject,
    /// The token of our own client credentials.
    ClientCredentials,
}

/// Who acts for the user.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// We do.
    #[serde(rename = "self")]
    Ourselves,
}

impl<'de> Deserialize<'de> for Match {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MatchVisitor)
    }
}

struct MatchVisitor;

impl<'de> Visitor<'de> for MatchVisitor {
    type Value = Match;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a match: write a path, or a map of host, path, exact, methods and headers")
    }

    fn visit_str<E: Error>(self, path: &str) -> Result<Match, E> {
        Ok(Match(MatchParts { path: Some(path.into()), ..MatchParts::default() }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Match, A::Error> {
        MatchParts::deserialize(MapAccessDeserializer::new(map)).map(Match)
    }
}

impl JsonSchema for Match {
    fn schema_name() -> Cow<'static, str> {
        "Match".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let parts = generator.subschema_for::<MatchParts>();
        json_schema!({ "oneOf": [{ "type": "string" }, parts] })
    }
}

impl<'de> Deserialize<'de> for Demand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(DemandVisitor)
    }
}

struct DemandVisitor;

impl<'de> Visitor<'de> for DemandVisitor {
    type Value = Demand;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of words: write [a, b] for all of them, or { any_of: [a, b] }")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Demand, E> {
        Ok(Demand::List(OneOrMany(vec![word.into()])))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Demand, A::Error> {
        Ok(Demand::List(OneOrMany(all_items(items)?)))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Demand, A::Error> {
        DemandParts::deserialize(MapAccessDeserializer::new(map)).map(Demand::Map)
    }
}

impl JsonSchema for Demand {
    fn schema_name() -> Cow<'static, str> {
        "Demand".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let list = generator.subschema_for::<OneOrMany>();
        let parts = generator.subschema_for::<DemandParts>();
        json_schema!({ "oneOf": [list, parts] })
    }
}
