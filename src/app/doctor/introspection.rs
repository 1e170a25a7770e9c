//! The endpoint that is asked about opaque tokens (RFC 7662): whether it takes our credential, and knows a token from a word.

use std::sync::Arc;

use http::HeaderValue;

use crate::app::doctor::check::Check;
use crate::app::doctor::check::Round;
use crate::app::doctor::check::Verdict;
use crate::app::doctor::provider::LIMIT;
use crate::config::IdentityProvider;
use crate::domain::digest::Digest;
use crate::domain::token::UserToken;
use crate::net::clients::Clients;
use crate::net::metadata;
use crate::net::metadata::Endpoint;
use crate::net::metadata::Metadata;
use crate::pipeline::authenticate::introspection::Fault;
use crate::pipeline::authenticate::introspection::Introspector;
use crate::pipeline::authenticate::introspection::Word;
use crate::pipeline::exchange::trial::Trial;

/// Nobody's token: who is asked about it has to believe who we are before it can say so (RFC 7662 section 2.2).
const NO_TOKEN: HeaderValue = HeaderValue::from_static("Bearer no-token-that-anybody-has");

/// Asks the endpoint that `metadata` knows about a token that nobody has, with each credential until one is taken.
pub async fn look(
    round: &Round,
    provider: &Arc<IdentityProvider>,
    metadata: &Metadata,
    clients: &Clients,
) -> Check {
    let trial = Trial::new(provider, Some(metadata.clone()), clients, &round.clock);
    let (client, clock) = (clients.of(provider), round.clock.clone());
    let introspector =
        Introspector::new(provider.clone(), metadata.clone(), client, trial.authentication(), clock);
    let asking = async {
        let Some(token) = UserToken::from_authorization(NO_TOKEN, "Bearer ".len()) else {
            return judged(&Err(Fault::Unaskable));
        };
        let digest = Digest::of(token.expose().as_bytes());
        if let Err(error @ metadata::Error::Unnamed(_)) = metadata.endpoint(Endpoint::Introspection).await {
            return Verdict::wrong(error.to_string(), "set `oidc.introspection_endpoint` by hand");
        }
        judged(&introspector.word(&token, digest).await.map(|heard| heard.word))
    };
    round.check("introspection endpoint", LIMIT, asking).await
}

fn judged(word: &Result<Arc<Word>, Fault>) -> Verdict {
    let fault = match word.as_deref() {
        Ok(Word::Inactive) => return Verdict::well("it knows us, and that a token of nobody's is none"),
        Ok(Word::Active(_) | Word::Endless) => {
            return Verdict::wrong(
                "it says that a token is good which nobody has issued",
                "let no requests in by it: compare `oidc.introspection_endpoint` with the server's pages (RFC 7662)",
            );
        }
        Err(fault) => fault,
    };
    let seen = fault.to_string();
    match fault {
        Fault::Refused => Verdict::wrong(
            seen,
            "it takes another credential than ours: compare `client_id`, `credential` and `auth_method` with the client's registration, and see whether the client may introspect",
        ),
        Fault::Declined => Verdict::wrong(
            seen,
            "compare `oidc.introspection_endpoint` with the server's pages, and see whether the client may introspect",
        ),
        Fault::BadResponse => Verdict::wrong(
            seen,
            "something else answers in its place: compare `oidc.introspection_endpoint`, look for a proxy between",
        ),
        Fault::Unaskable => Verdict::wrong(
            seen,
            "mend the credential, of which more stands above, or set `oidc.introspection_endpoint` by hand",
        ),
        Fault::Throttled { .. } => {
            Verdict::unreachable(seen, "wait: it answers somebody with these credentials too often already")
        }
        Fault::Unavailable { .. } | Fault::Failed => Verdict::unreachable(
            seen,
            "look at the identity provider's status page, or ask whoever runs it; `timeout` bounds the answer",
        ),
    }
}
