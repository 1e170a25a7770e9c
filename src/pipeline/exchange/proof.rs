//! Our credentials as proofs for endpoints other than the token endpoint.

use crate::config::AuthMethod;
use crate::config::IdentityProvider;
use crate::domain::secret::Secret;
use crate::net::client_authentication::ClientAuthentication;
use crate::net::client_authentication::Proof;
use crate::net::client_authentication::Proving;
use crate::pipeline::exchange::credential;
use crate::pipeline::exchange::grant::basic;

/// Proves by client secrets who we are, read anew each time.
#[derive(Debug, Default)]
pub struct Proofs(credential::Reader);

impl ClientAuthentication for Proofs {
    fn proof<'a>(
        &'a self,
        provider: &'a IdentityProvider,
        _endpoint: &'a str,
        refused: usize,
    ) -> Proving<'a> {
        Box::pin(async move {
            let credential = provider.credentials.get(refused)?;
            let secret = self.0.secret(credential, provider.timeout).await;
            Some(secret.map(|secret| by_secret(provider, secret)).map_err(Into::into))
        })
    }
}

fn by_secret(provider: &IdentityProvider, secret: Secret) -> Proof {
    match provider.auth_method {
        AuthMethod::ClientSecretBasic => {
            Proof { authorization: basic(&provider.client_id, &secret), ..Proof::default() }
        }
        _ => {
            let client_id = Secret::new(provider.client_id.clone());
            Proof {
                parameters: vec![("client_id", client_id), ("client_secret", secret)],
                ..Proof::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Credential;
    use crate::pipeline::exchange::tests::sample::provider;

    fn shown(proof: &Proof) -> (Vec<(&str, &str)>, Option<&str>) {
        let parameters = proof.parameters.iter().map(|(name, value)| (*name, value.expose()));
        (parameters.collect(), proof.authorization.as_ref().map(|value| value.to_str().unwrap()))
    }

    #[tokio::test]
    async fn each_credential_is_a_proof_in_its_turn() {
        let secret = |text: &str| Credential::Secret(Secret::new(text.into()));
        let credentials = vec![secret("s:1"), Credential::SecretFile("/nonexistent".into())];
        let client_id = "a b".to_owned();
        let post = IdentityProvider { credentials, client_id, ..provider("https://login.example") };
        let proofs = Proofs::default();
        let first = proofs.proof(&post, "https://id.example/introspect", 0).await.unwrap().unwrap();
        assert_eq!(shown(&first), (vec![("client_id", "a b"), ("client_secret", "s:1")], None));
        assert!(proofs.proof(&post, "https://id.example/introspect", 1).await.unwrap().is_err());
        assert!(proofs.proof(&post, "https://id.example/introspect", 2).await.is_none());
        let basic = IdentityProvider { auth_method: AuthMethod::ClientSecretBasic, ..post };
        let first = proofs.proof(&basic, "https://id.example/introspect", 0).await.unwrap().unwrap();
        // RFC 6749 section 2.3.1: both are form-encoded first
        assert_eq!(shown(&first), (vec![], Some("Basic YStiOnMlM0Ex")));
    }
}
