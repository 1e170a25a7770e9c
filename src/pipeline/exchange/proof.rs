//! Our credentials as proofs for endpoints other than the token endpoint.

use crate::config::AuthorizationServer;
use crate::config::IdentityProvider;
use crate::net::client_authentication::ClientAuthentication;
use crate::net::client_authentication::Proof;
use crate::net::client_authentication::Proving;
use crate::pipeline::exchange::credential::Audience;
use crate::pipeline::exchange::credential::Provers;

impl ClientAuthentication for Provers {
    fn proof<'a>(&'a self, provider: &'a IdentityProvider, endpoint: &'a str, refused: usize) -> Proving<'a> {
        let issuer = match &provider.server {
            AuthorizationServer::Entra(_) => endpoint,
            AuthorizationServer::Oidc(oidc) => &oidc.issuer,
        };
        Box::pin(async move {
            let prover = self.of(&provider.name)?;
            let means = prover.means().get(refused)?;
            let proof = prover.prove(means, Audience { endpoint, issuer }).await;
            let sent = proof.map(|proof| Proof {
                parameters: proof.parameters,
                authorization: proof.authorization,
                client: proof.client,
            });
            Some(sent.map_err(Into::into))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::AuthMethod;
    use crate::config::Credential;
    use crate::domain::clock::Clock;
    use crate::domain::secret::Secret;
    use crate::net::client::Client;
    use crate::pipeline::exchange::tests::sample::provider;
    use crate::telemetry::metrics::Metrics;

    fn shown(proof: &Proof) -> (Vec<(&str, &str)>, Option<&str>) {
        let parameters = proof.parameters.iter().map(|(name, value)| (*name, value.expose()));
        (parameters.collect(), proof.authorization.as_ref().map(|value| value.to_str().unwrap()))
    }

    fn provers(auth_method: AuthMethod) -> (Arc<IdentityProvider>, Provers) {
        let secret = |text: &str| Credential::Secret(Secret::new(text.into()));
        let credentials = vec![secret("s:1"), Credential::SecretFile("/nonexistent".into())];
        let server = AuthorizationServer::Oidc(crate::config::Oidc {
            issuer: "https://id.example".into(),
            jwks_uri: None,
            token_endpoint: None,
            introspection_endpoint: None,
            authorization_endpoint: None,
        });
        let provider = Arc::new(IdentityProvider {
            server,
            credentials,
            client_id: "a b".into(),
            auth_method,
            ..provider("https://login.example")
        });
        let (client, metrics) = (Client::plain().unwrap(), Arc::new(Metrics::new()));
        let provers = Provers::new(std::slice::from_ref(&provider), &client, &Clock::system(), &metrics);
        (provider, provers)
    }

    #[tokio::test]
    async fn each_credential_is_a_proof_in_its_turn() {
        const ENDPOINT: &str = "https://id.example/introspect";
        let (post, proofs) = provers(AuthMethod::ClientSecretPost);
        let first = proofs.proof(&post, ENDPOINT, 0).await.unwrap().unwrap();
        let (mut parameters, authorization) = shown(&first);
        parameters.sort_unstable();
        assert_eq!((parameters, authorization), (vec![("client_id", "a b"), ("client_secret", "s:1")], None));
        assert!(proofs.proof(&post, ENDPOINT, 1).await.unwrap().is_err());
        assert!(proofs.proof(&post, ENDPOINT, 2).await.is_none());
        let (basic, proofs) = provers(AuthMethod::ClientSecretBasic);
        let first = proofs.proof(&basic, ENDPOINT, 0).await.unwrap().unwrap();
        // RFC 6749 section 2.3.1: both are form-encoded first
        assert_eq!(shown(&first), (vec![], Some("Basic YStiOnMlM0Ex")));
    }
}
