//! A configuration to begin with, for the common cases.
//!
//! **In:** who issues the tokens, who we are, what is behind. **Out:** a file with comments, which `check` accepts.
//! **Never:** a secret in it; a file written over another one unasked.

use serde_json::Value;

mod template;

/// What a first configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Who issues the tokens, and exchanges them.
    pub server: Server,
    /// Our own client id there.
    pub client_id: String,
    /// How we prove who we are.
    pub credential: Credential,
    /// Accepted audiences; none = those that follow from the client id.
    pub audiences: Vec<String>,
    /// Where requests go.
    pub upstream: String,
    /// What their token is exchanged for.
    pub scopes: Vec<String>,
}

/// Who issues tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// Microsoft Entra.
    Entra {
        /// The tenant: its id or a domain of its.
        tenant: String,
    },
    /// Any other.
    Oidc {
        /// Its `iss`.
        issuer: String,
    },
}

/// How we prove who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A secret in a file.
    SecretFile(String),
    /// A certificate and its key.
    Certificate {
        /// A PEM file.
        file: String,
        /// A PEM file.
        key: String,
    },
    /// What the webhook of AKS sets.
    WorkloadIdentity,
    /// An Azure managed identity.
    ManagedIdentity,
}

impl Plan {
    /// The file.
    pub fn to_yaml(&self) -> String {
        template::fill(self)
    }

    /// What is left to do before it works.
    pub fn next_steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        match &self.credential {
            Credential::SecretFile(path) => {
                steps.push(format!("put the client secret into {path}, and nothing else"))
            }
            Credential::Certificate { file, key } => {
                steps.push(format!("put the certificate into {file} and its key into {key}"));
                steps.push(format!("upload {file} to the app registration"));
            }
            Credential::WorkloadIdentity => {
                steps.push("label the pod azure.workload.identity/use: \"true\", and add a federated credential to the app registration".into());
            }
            Credential::ManagedIdentity => {
                steps.push("assign the managed identity, and add it as a federated credential to the app registration".into());
            }
        }
        if matches!(self.server, Server::Entra { .. }) {
            let scopes = self.scopes.join(" ");
            steps.push(format!(
                "grant the app registration the delegated permission for {scopes}, with consent"
            ));
        }
        steps
    }
}

/// `text` as a YAML scalar that can be taken for nothing else.
fn scalar(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    let starts_plain = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    let is_plain = text.split(':').all(|part| !part.is_empty() && part.bytes().all(is_plain))
        || text.split_once("://").is_some_and(|(scheme, rest)| {
            scheme.bytes().all(is_plain)
                && rest.split(':').all(|part| !part.is_empty() && part.bytes().all(is_plain))
        });
    match starts_plain && is_plain {
        true => text.to_owned(),
        false => Value::from(text).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn plan(server: Server, credential: Credential) -> Plan {
        Plan {
            server,
            client_id: "6731de76-14a6-49ae-97bc-6eba6914391e".into(),
            credential,
            audiences: vec!["api://orders-proxy".into()],
            upstream: "http://127.0.0.1:8000".into(),
            scopes: vec!["api://orders-backend/.default".into()],
        }
    }

    #[test]
    fn every_case_is_a_configuration_without_a_warning() {
        let entra = || Server::Entra { tenant: "8eaef023-2b34-4da1-9baa-8bc8c9d6a490".into() };
        let oidc = || Server::Oidc { issuer: "https://id.example/realms/b2b".into() };
        let secret = || Credential::SecretFile("/run/secrets/client_secret".into());
        let certificate = || Credential::Certificate { file: "/tls.crt".into(), key: "/tls.key".into() };
        let environment = [("AZURE_FEDERATED_TOKEN_FILE".to_owned(), "/token".to_owned())];
        for (server, credential) in [
            (entra(), secret()),
            (entra(), certificate()),
            (entra(), Credential::WorkloadIdentity),
            (entra(), Credential::ManagedIdentity),
            (oidc(), secret()),
            (oidc(), certificate()),
        ] {
            let mut plan = plan(server, credential);
            for audiences in [vec!["api://orders-proxy".to_owned()], Vec::new()] {
                plan.audiences = audiences;
                let text = plan.to_yaml();
                let loaded = config::load_text("init.yaml", &text, &environment);
                let loaded = loaded.unwrap_or_else(|report| panic!("{report}\n{text}"));
                assert!(loaded.warnings.is_empty(), "{:?}\n{text}", loaded.warnings);
                assert!(!plan.next_steps().is_empty());
            }
        }
    }

    #[test]
    fn no_answer_gets_out_of_its_place() {
        let plan = Plan {
            upstream: "http://a\nroutes: {}".into(),
            scopes: vec!["a, b]".into(), "#".into(), "\"".into()],
            ..plan(
                Server::Entra { tenant: "x }\nworkers: 7".into() },
                Credential::SecretFile("{ env: X }".into()),
            )
        };
        let text = plan.to_yaml();
        assert!(!text.lines().any(|line| line == "routes: {}" || line.starts_with("workers:")), "{text}");
        let report = config::load_text("init.yaml", &text, &[]).unwrap_err().to_string();
        assert!(report.contains("tenant"), "{report}");
    }
}
