//! The file, comments and all.

use crate::app::init::Credential;
use crate::app::init::Plan;
use crate::app::init::Server;
use crate::app::init::scalar;

/// The file that says what `plan` does.
pub fn fill(plan: &Plan) -> String {
    let Plan { server, client_id, credential, audiences, upstream, scopes } = plan;
    let (server, name, defaults) = match server {
        Server::Entra { tenant } => (
            format!(
                "    # Issuers, keys and endpoints follow from the tenant.\n    entra: {{ tenant: {} }}\n",
                scalar(tenant)
            ),
            "entra",
            "the client id, and api:// with the client id",
        ),
        Server::Oidc { issuer } => (
            format!(
                "    # The `iss` of its tokens, exactly as they say it; keys and endpoints are discovered.\n    oidc: {{ issuer: {} }}\n",
                scalar(issuer)
            ),
            "idp",
            "the client id",
        ),
    };
    let audiences = match audiences.as_slice() {
        [] => format!(
            "    # Whose tokens are accepted, by their `aud`. Default: {defaults}.\n    # audiences: [api://CLIENT_ID]\n"
        ),
        own => format!("    # Whose tokens are accepted, by their `aud`.\n    audiences: {}\n", list(own)),
    };
    let credential = credential_lines(credential);
    let (client_id, upstream, scopes) = (scalar(client_id), scalar(upstream), list(scopes));
    format!(
        "\
# obo-proxy. Every setting: config/reference.yaml; check this file with: obo-proxy check --config FILE

# Whose tokens are accepted, and where they are exchanged.
identity_providers:
  {name}:
{server}    # The registration of this service: the one that callers get their tokens for.
    client_id: {client_id}
{audiences}{credential}
# What is served: the most specific route takes a request. Callers connect to port 8080 unless `listeners` says otherwise.
routes:
  default:
    # This path, and all below it.
    match: /
    # Where requests go.
    upstream: {upstream}
    # What a caller's token must hold; anything missing is answered with 403.
    # require: {{ scopes: [access_as_user] }}
    # The token that the upstream gets in place of the caller's.
    exchange: {{ scopes: {scopes} }}
"
    )
}

fn credential_lines(credential: &Credential) -> String {
    match credential {
        Credential::SecretFile(path) => format!(
            "    # The secret is read anew for each exchange: a new one needs no restart.\n    credential: {{ secret: {{ file: {} }} }}\n",
            scalar(path)
        ),
        Credential::Certificate { file, key } => format!(
            "    # PEM files; new ones are used without restart.\n    credential: {{ certificate: {{ file: {}, key: {} }} }}\n",
            scalar(file),
            scalar(key)
        ),
        Credential::WorkloadIdentity => {
            "    # What the webhook of AKS sets: AZURE_FEDERATED_TOKEN_FILE and its kin.\n    credential: workload_identity\n".into()
        }
        Credential::ManagedIdentity => {
            "    # The machine's managed identity. If it has several: credential: { managed_identity: { client_id: ID } }\n    credential: managed_identity\n".into()
        }
    }
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| scalar(item)).collect();
    format!("[{}]", items.join(", "))
}
