//! Whether an identity provider takes our credentials, found out without a caller. For an operator who asks.
//!
//! **In:** a provider, one of its credentials, and what it is to be good for. **Out:** a [`Verdict`]. **Never:** keeps a token;
//! asks in another way than callers have it asked.

use std::sync::Arc;

use http::HeaderValue;

use crate::config::Actor;
use crate::config::AppTokens;
use crate::config::AuthorizationServer;
use crate::config::EntraVersion;
use crate::config::Exchange;
use crate::config::IdentityProvider;
use crate::domain::clock::Clock;
use crate::domain::tenant::TenantId;
use crate::domain::token::UserToken;
use crate::net::client_authentication::ClientAuthentication;
use crate::net::clients::Clients;
use crate::net::metadata;
use crate::net::metadata::Endpoint;
use crate::net::metadata::Metadata;
use crate::pipeline::exchange::aadsts;
use crate::pipeline::exchange::aadsts::Topic;
use crate::pipeline::exchange::credential;
use crate::pipeline::exchange::credential::Audience;
use crate::pipeline::exchange::credential::Provers;
use crate::pipeline::exchange::endpoint::Question;
use crate::pipeline::exchange::endpoint::TokenEndpoint;
use crate::pipeline::exchange::error::Error;
use crate::pipeline::exchange::error::OAuthError;
use crate::pipeline::exchange::grant::Purpose;
use crate::pipeline::exchange::grant::Terms;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::row::Row;
use crate::pipeline::exchange::weather::Tries;
use crate::telemetry::metrics::Metrics;

/// No user's token: whoever is asked to exchange it has to say who we are before it can say no.
const NO_TOKEN: HeaderValue = HeaderValue::from_static("Bearer this.is-no.token");

/// Tries the credentials of one provider.
#[derive(Debug)]
pub struct Trial {
    provider: Arc<IdentityProvider>,
    metadata: Option<Metadata>,
    endpoint: TokenEndpoint,
    provers: Arc<Provers>,
}

/// What a credential is to be good for.
#[derive(Clone, Copy, Debug)]
pub enum Aim<'a> {
    /// To say who we are, on a route that wants this.
    Recognition(Option<&'a Exchange>),
    /// To get the token of our own that a route gives applications.
    OwnToken(&'a Exchange),
    /// To get the token that says that it is we who act for users.
    ActorToken,
}

/// What the identity provider makes of it.
#[derive(Debug)]
pub enum Verdict {
    /// It gave a token.
    Granted,
    /// It knows who we are, and said no to the rest, which was nothing.
    Recognised(Arc<OAuthError>),
    /// It does not believe that we are who we say.
    Unbelieved(Arc<OAuthError>),
    /// It has no such application or tenant, or lets the application do nothing of the kind.
    Unregistered(Arc<OAuthError>),
    /// It knows us, and gives us no token though it should.
    Denied(Arc<OAuthError>),
    /// It cannot say: it is down, busy, or not there.
    Unavailable(Error),
    /// What it says makes no sense.
    Senseless(Error),
    /// The credential cannot be sent.
    Unusable(Error),
}

impl Trial {
    /// Of the credentials of `provider`, whose `metadata` is there if it has any. One of `clients` contacts it.
    pub fn new(
        provider: &Arc<IdentityProvider>,
        metadata: Option<Metadata>,
        clients: &Clients,
        clock: &Clock,
    ) -> Self {
        // nobody reads what is counted here
        let metrics = Arc::new(Metrics::new());
        let provers =
            Arc::new(Provers::new(std::slice::from_ref(provider), clients.direct(), clock, &metrics));
        let endpoint = TokenEndpoint::new(clients.clone(), provers.clone(), clock.clone(), metrics);
        Self { provider: provider.clone(), metadata, endpoint, provers }
    }

    /// How many ways there are to say who we are.
    pub fn means(&self) -> usize {
        self.provers.of(&self.provider.name).map_or(0, |prover| prover.means().len())
    }

    /// Makes a proof of the credential at that place, and sends it to nobody.
    ///
    /// # Errors
    /// If the credential cannot be used.
    pub async fn prove(&self, at: usize) -> Result<(), credential::Error> {
        let Some(prover) = self.provers.of(&self.provider.name) else { return Ok(()) };
        let Some(means) = prover.means().get(at) else { return Ok(()) };
        let audience = Audience { endpoint: "https://nobody.invalid", issuer: "https://nobody.invalid" };
        prover.prove(means, audience).await.map(drop)
    }

    /// Its credentials as proofs for other endpoints.
    pub fn authentication(&self) -> Arc<dyn ClientAuthentication> {
        self.provers.clone()
    }

    /// Where tokens are asked for: at Entra those of `tenant`.
    ///
    /// # Errors
    /// If the provider does not say.
    pub async fn url(&self, tenant: Option<&TenantId>, aim: Aim<'_>) -> Result<String, metadata::Error> {
        match (&self.provider.server, tenant, &self.metadata) {
            (AuthorizationServer::Entra(entra), Some(tenant), _) => {
                Ok(entra.token_endpoint(aim.entra_version(), tenant))
            }
            (AuthorizationServer::Oidc(_), _, Some(metadata)) => {
                metadata.endpoint(Endpoint::Token).await.map(String::from)
            }
            _ => Err(metadata::Error::NotDiscoverable),
        }
    }

    /// What the token endpoint `url` makes of the credential at that place.
    pub async fn verdict(&self, at: usize, url: &str, tenant: Option<&TenantId>, aim: Aim<'_>) -> Verdict {
        let provider = &*self.provider;
        let means = self.provers.of(&provider.name).and_then(|prover| prover.means().get(at));
        let Some(means) = means else { return Verdict::Unusable(Error::ours(Kind::Internal)) };
        let issuer = match (&provider.server, tenant) {
            (AuthorizationServer::Entra(entra), Some(tenant)) => {
                entra.issuer(EntraVersion::V2, tenant.as_str())
            }
            (AuthorizationServer::Entra(_), None) => url.to_owned(),
            (AuthorizationServer::Oidc(oidc), _) => oidc.issuer.clone(),
        };
        let exchange = self.exchange(aim);
        let assertion = UserToken::from_authorization(NO_TOKEN, "Bearer ".len());
        let purpose = match (aim, &provider.server, &assertion) {
            (Aim::ActorToken, ..) => Purpose::Actor,
            (Aim::Recognition(_), AuthorizationServer::Oidc(_), Some(assertion)) => {
                Purpose::User { exchange: &exchange, assertion, actor: None }
            }
            _ => Purpose::Ourselves { exchange: &exchange },
        };
        let terms = Terms { provider, purpose, claims: None };
        let question =
            Question { url, issuer: &issuer, terms, tries: Tries::One, witness: None, point: None };
        match self.endpoint.ask_by(means, question).await {
            Ok(_) => Verdict::Granted,
            Err(error) => judged(error, aim),
        }
    }

    /// What is asked for. At Entra a token for ourselves, which every application may have: whether it looks at a user's
    /// token before it looks at who asks is not documented.
    fn exchange(&self, aim: Aim<'_>) -> Exchange {
        let own = format!("{}/.default", self.provider.client_id);
        match (aim, &self.provider.server) {
            (Aim::Recognition(_), AuthorizationServer::Entra(_)) => Exchange { scopes: vec![own], ..NOTHING },
            (Aim::Recognition(Some(exchange)) | Aim::OwnToken(exchange), _) => exchange.clone(),
            (Aim::Recognition(None) | Aim::ActorToken, _) => NOTHING,
        }
    }
}

const NOTHING: Exchange = Exchange {
    scopes: Vec::new(),
    resources: Vec::new(),
    audiences: Vec::new(),
    actor: Actor::Nobody,
    requested_token_type: None,
    app_tokens: AppTokens::Reject,
};

impl Aim<'_> {
    fn entra_version(&self) -> EntraVersion {
        match self {
            Aim::OwnToken(exchange) => exchange.entra_version(),
            Aim::Recognition(_) | Aim::ActorToken => EntraVersion::V2,
        }
    }
}

/// What `error`, the answer to a question with that aim, says of us.
fn judged(error: Error, aim: Aim<'_>) -> Verdict {
    let Some(row) = error.row else { return Verdict::Unusable(error) };
    let answer = match (row, &error.answer) {
        (Row::NoAnswer | Row::Outage | Row::Throttled(_), _) => return Verdict::Unavailable(error),
        (Row::Malformed, _) | (_, None) => return Verdict::Senseless(error),
        (_, Some(answer)) => answer.clone(),
    };
    let topic = aadsts::first_meaning(&answer.error_codes).map(|meaning| meaning.topic);
    let is = |words: [&str; 2]| words.iter().any(|word| answer.error.eq_ignore_ascii_case(word));
    match (topic, aim) {
        (Some(Topic::Credential), _) => Verdict::Unbelieved(answer),
        _ if row == Row::BadClient => Verdict::Unbelieved(answer),
        // the application itself need not be assigned to anything
        (Some(Topic::Registration), Aim::Recognition(_)) if answer.error_codes.contains(&501_051) => {
            Verdict::Recognised(answer)
        }
        (Some(Topic::Registration), _) => Verdict::Unregistered(answer),
        (None, _) if is(["unauthorized_client", "unsupported_grant_type"]) => Verdict::Unregistered(answer),
        (_, Aim::Recognition(_)) => Verdict::Recognised(answer),
        (_, Aim::OwnToken(_) | Aim::ActorToken) => Verdict::Denied(answer),
    }
}

#[cfg(test)]
mod tests {
    use http::Response;
    use serde_json::json;

    use super::*;
    use crate::domain::clock::UnixTime;
    use crate::pipeline::exchange::classify::Expected;
    use crate::pipeline::exchange::classify::classify;

    fn word(status: u16, error: &str, codes: &[u64], aim: Aim<'_>) -> &'static str {
        let body = json!({"error": error, "error_codes": codes}).to_string();
        let answer = Response::builder().status(status).header("content-type", "application/json");
        let answer = answer.body(body).unwrap();
        let refused = classify(&answer, Expected::default(), UnixTime::from_seconds(0)).unwrap_err();
        match judged(refused, aim) {
            Verdict::Granted => "granted",
            Verdict::Recognised(_) => "recognised",
            Verdict::Unbelieved(_) => "unbelieved",
            Verdict::Unregistered(_) => "unregistered",
            Verdict::Denied(_) => "denied",
            Verdict::Unavailable(_) => "unavailable",
            Verdict::Senseless(_) => "senseless",
            Verdict::Unusable(_) => "unusable",
        }
    }

    #[test]
    fn an_answer_says_whether_we_were_believed() {
        let known = Aim::Recognition(None);
        for (status, error, codes, expected) in [
            (401, "invalid_client", &[7_000_215][..], "unbelieved"),
            (401, "invalid_client", &[7_000_222], "unbelieved"),
            (401, "invalid_client", &[700_027], "unbelieved"),
            (401, "invalid_client", &[], "unbelieved"),
            // Entra uses this error for it too
            (400, "invalid_request", &[70_021], "unbelieved"),
            (400, "invalid_request", &[700_213], "unbelieved"),
            (400, "unauthorized_client", &[700_016], "unregistered"),
            (400, "invalid_request", &[90_002], "unregistered"),
            (400, "unauthorized_client", &[], "unregistered"),
            (400, "unsupported_grant_type", &[], "unregistered"),
            (400, "invalid_grant", &[501_051], "recognised"),
            (400, "invalid_grant", &[], "recognised"),
            (400, "invalid_request", &[], "recognised"),
            (400, "invalid_resource", &[500_011], "recognised"),
            (400, "invalid_grant", &[53_003], "recognised"),
            (429, "temporarily_unavailable", &[], "unavailable"),
            (503, "temporarily_unavailable", &[90_033], "unavailable"),
        ] {
            assert_eq!(word(status, error, codes, known), expected, "{error} {codes:?}");
        }
        assert_eq!(word(400, "invalid_resource", &[500_011], Aim::OwnToken(&NOTHING)), "denied");
        assert_eq!(word(400, "invalid_scope", &[], Aim::ActorToken), "denied");
        assert_eq!(word(401, "invalid_client", &[], Aim::ActorToken), "unbelieved");
        assert_eq!(word(400, "", &[], known), "senseless");
    }
}
