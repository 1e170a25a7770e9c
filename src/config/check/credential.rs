//! `credential` and `auth_method`: how we prove who we are, and how that is sent.

use std::path::PathBuf;

use crate::config::Algorithm;
use crate::config::AssertionAudience;
use crate::config::AuthMethod;
use crate::config::Certificate;
use crate::config::Credential;
use crate::config::SecretSource;
use crate::config::SendChain;
use crate::config::Variable;
use crate::config::check::At;
use crate::config::check::algorithm;
use crate::config::check::managed_identity;
use crate::config::check::secret;
use crate::config::check::tls;
use crate::config::check::upstream;
use crate::config::check::visible;
use crate::config::wire;
use crate::config::wire::credential::CredentialParts;
use crate::config::wire::identity_provider::AuthMethod as Written;

const KINDS: &str =
    "write exactly one of secret, certificate, federated_token, workload_identity and managed_identity";

/// What follows from a file that cannot be read now.
const UNREADABLE: &str = "exchanges that need it are answered with 502 until it can be read";

/// Whom credentials are shown to.
#[derive(Clone, Copy)]
pub enum Verifier {
    /// Entra, of the cloud whose token exchange this audience names.
    Entra(&'static str),
    /// Any other identity provider.
    Oidc,
}

/// Credentials and how they are sent. `None` = an error among them.
pub fn check(
    wire: &wire::identity_provider::IdentityProvider,
    verifier: Verifier,
    at: &At<'_>,
) -> Option<(Vec<Credential>, AuthMethod)> {
    let method_at = at.key("auth_method");
    let is_entra = matches!(verifier, Verifier::Entra(_));
    let foreign = wire
        .auth_method
        .filter(|method| is_entra && matches!(method, Written::TlsClientAuth | Written::None));
    if let Some(method) = foreign {
        let help = "leave it out: the method follows from the credential";
        method_at.error_with(format!("Entra takes no `{}`", name(method)), help);
    }
    let sends_none = matches!(wire.auth_method, Some(Written::None)) && foreign.is_none();
    let Some(written) = &wire.credential else {
        if sends_none {
            return Some((Vec::new(), AuthMethod::None));
        }
        let help = match verifier {
            Verifier::Entra(_) => "write credential: { secret: { file: PATH } }",
            Verifier::Oidc => "write credential: { secret: { file: PATH } }, or auth_method: none",
        };
        at.missing("credential", help);
        return None;
    };
    if sends_none {
        let help = "leave the one or the other out";
        method_at.error_with("`none` sends no credential, and there is one", help);
    }
    let credentials = all(&written.0, wire.auth_method, verifier, &at.key("credential"))?;
    if sends_none || foreign.is_some() {
        return None;
    }
    let method = method(wire.auth_method, &credentials, &method_at)?;
    Some((credentials, method))
}

fn all(
    written: &[wire::credential::Credential],
    method: Option<Written>,
    verifier: Verifier,
    at: &At<'_>,
) -> Option<Vec<Credential>> {
    if written.is_empty() && !at.is_poisoned() {
        at.error_with("this list is empty", "write one credential, or two while one replaces the other");
    }
    if written.len() > 2 {
        at.error_with("there are more than two credentials", "two are enough to replace one by the other");
    }
    let one = |(item, credential): (usize, &wire::credential::Credential)| {
        one(&credential.0, method, verifier, &at.item(item))
    };
    let checked: Vec<Option<Credential>> = written.iter().enumerate().map(one).collect();
    checked.into_iter().collect::<Option<Vec<_>>>().filter(|all| (1..=2).contains(&all.len()))
}

fn one(
    written: &CredentialParts,
    method: Option<Written>,
    verifier: Verifier,
    at: &At<'_>,
) -> Option<Credential> {
    let CredentialParts { secret, certificate, federated_token, workload_identity, managed_identity } =
        written;
    let only_entra = |word: &str| match verifier {
        Verifier::Entra(audience) => Some(audience),
        Verifier::Oidc => {
            let help = "its tokens are for Entra: write secret, certificate or federated_token";
            at.key(word).error_with(format!("`{word}` has a meaning only with `entra`"), help);
            None
        }
    };
    match (secret, certificate, federated_token, workload_identity, managed_identity) {
        (Some(secret), None, None, None, None) => {
            secret::check(secret, UNREADABLE, &at.key("secret")).map(|source| match source {
                SecretSource::File(path) => Credential::SecretFile(path),
                SecretSource::Here(secret) => Credential::Secret(secret),
            })
        }
        (None, Some(certificate), None, None, None) => {
            self::certificate(certificate, method, verifier, &at.key("certificate"))
                .map(Credential::Certificate)
        }
        (None, None, Some(token), None, None) => {
            let at = at.key("federated_token");
            let Some(file) = &token.file else {
                at.missing("file", "write the path of the file with the token");
                return None;
            };
            Some(Credential::FederatedToken(file_at(file, &at.key("file"))?))
        }
        (None, None, None, Some(_), None) => {
            only_entra("workload_identity")?;
            workload_identity_token(&at.key("workload_identity")).map(Credential::FederatedToken)
        }
        (None, None, None, None, Some(identity)) => {
            let audience = only_entra("managed_identity")?;
            managed_identity::check(identity, audience, &at.key("managed_identity"))
                .map(Credential::ManagedIdentity)
        }
        (None, None, None, None, None) => {
            if !at.is_poisoned() {
                at.error_with("this names no credential", KINDS);
            }
            None
        }
        _ => {
            at.error_with("this names more than one credential", KINDS);
            None
        }
    }
}

fn certificate(
    written: &wire::credential::Certificate,
    method: Option<Written>,
    verifier: Verifier,
    at: &At<'_>,
) -> Option<Certificate> {
    if matches!(method, Some(Written::TlsClientAuth)) {
        warn_of_assertion(written, at);
    }
    if written.file.is_none() {
        at.missing("file", "write the path of a PEM file with the certificate");
    }
    let (file_at, key_at) = (at.key("file"), at.key("key"));
    let file = written.file.as_ref().and_then(|file| upstream::path(file, &file_at));
    let key = match &written.key {
        Some(key) => upstream::path(key, &key_at),
        None => file.clone(),
    };
    if let (Some(file), Some(key)) = (&file, &key) {
        let key_at = if written.key.is_some() { &key_at } else { &file_at };
        tls::look_at_pair((file, &file_at), (key, key_at), tls::Use::Later(UNREADABLE));
    }
    let algorithm = match &written.algorithm {
        Some(text) => signing_algorithm(text, verifier, &at.key("algorithm")),
        None => Some(Algorithm::PS256),
    };
    let audience = match (written.assertion_audience.as_deref(), verifier) {
        (None, Verifier::Entra(_)) | (Some("token_endpoint"), _) => Some(AssertionAudience::TokenEndpoint),
        (None, Verifier::Oidc) | (Some("issuer"), _) => Some(AssertionAudience::Issuer),
        (Some(text), _) => {
            visible(text, "an audience", &at.key("assertion_audience")).map(AssertionAudience::Other)
        }
    };
    let chain = if written.send_x5c == Some(true) { SendChain::Send } else { SendChain::Omit };
    Some(Certificate { file: file?, key: key?, algorithm: algorithm?, chain, audience: audience? })
}

fn warn_of_assertion(written: &wire::credential::Certificate, at: &At<'_>) {
    for (key, is_written) in [
        ("algorithm", written.algorithm.is_some()),
        ("send_x5c", written.send_x5c.is_some()),
        ("assertion_audience", written.assertion_audience.is_some()),
    ] {
        if is_written {
            let message = format!("`{key}` has no effect with `tls_client_auth`");
            at.key(key).warning(message, "leave it out: no assertion is signed");
        }
    }
}

fn signing_algorithm(text: &str, verifier: Verifier, at: &At<'_>) -> Option<Algorithm> {
    let Some(algorithm) = Algorithm::parse(text) else {
        let message = format!("`{}` is not an algorithm to sign with", at.shown(text));
        at.error_with(message, algorithm::advice(text));
        return None;
    };
    let suits = matches!(algorithm, Algorithm::PS256 | Algorithm::RS256);
    if matches!(verifier, Verifier::Entra(_)) && !suits {
        let help = "write PS256 or RS256, and take a certificate with an RSA key";
        at.error_with(format!("Entra takes no assertion signed with `{text}`"), help);
        return None;
    }
    Some(algorithm)
}

/// The token file that the webhook of AKS names.
fn workload_identity_token(at: &At<'_>) -> Option<PathBuf> {
    let help = "on AKS, the label azure.workload.identity/use: \"true\" on the pod sets it; elsewhere write federated_token: \
         { file: PATH }";
    let path = match at.variable("AZURE_FEDERATED_TOKEN_FILE") {
        Some(Variable::Text(path)) if !path.trim().is_empty() => PathBuf::from(path),
        found => {
            let state = match found {
                Some(Variable::Text(_)) => "empty",
                Some(Variable::NotText) => "not UTF-8",
                None => "not set",
            };
            at.error_with(format!("the environment variable `AZURE_FEDERATED_TOKEN_FILE` is {state}"), help);
            return None;
        }
    };
    at.look_at(
        &path,
        "AZURE_FEDERATED_TOKEN_FILE names it; exchanges are answered with 502 until it can be read",
    );
    Some(path)
}

fn file_at(text: &str, at: &At<'_>) -> Option<PathBuf> {
    let path = upstream::path(text, at)?;
    at.look_at(&path, UNREADABLE);
    Some(path)
}

fn method(written: Option<Written>, credentials: &[Credential], at: &At<'_>) -> Option<AuthMethod> {
    let is_secret = |one: &Credential| matches!(one, Credential::Secret(_) | Credential::SecretFile(_));
    let is_certificate = |one: &Credential| matches!(one, Credential::Certificate(_));
    let (method, suits, wants) = match written {
        None if credentials.first().is_some_and(is_secret) => return Some(AuthMethod::ClientSecretPost),
        None => return Some(AuthMethod::PrivateKeyJwt),
        Some(Written::ClientSecretPost) => {
            (AuthMethod::ClientSecretPost, credentials.iter().any(is_secret), "a secret")
        }
        Some(Written::ClientSecretBasic) => {
            (AuthMethod::ClientSecretBasic, credentials.iter().any(is_secret), "a secret")
        }
        Some(Written::PrivateKeyJwt) => {
            let suits = credentials.iter().any(|one| !is_secret(one));
            (AuthMethod::PrivateKeyJwt, suits, "a certificate or a federated token")
        }
        Some(Written::TlsClientAuth) => {
            (AuthMethod::TlsClientAuth, credentials.iter().any(is_certificate), "a certificate")
        }
        Some(Written::None) => (AuthMethod::None, credentials.is_empty(), "no credential"),
    };
    if !suits {
        let sent = written.map_or("", name);
        at.error_with(
            format!("`{sent}` sends {wants}, and there is none"),
            "leave it out: the method follows from the credential",
        );
        return None;
    }
    Some(method)
}

fn name(method: Written) -> &'static str {
    match method {
        Written::ClientSecretPost => "client_secret_post",
        Written::ClientSecretBasic => "client_secret_basic",
        Written::PrivateKeyJwt => "private_key_jwt",
        Written::TlsClientAuth => "tls_client_auth",
        Written::None => "none",
    }
}
