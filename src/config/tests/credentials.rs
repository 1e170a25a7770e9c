//! What good credentials become, and what the environment adds to them.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Algorithm;
use crate::config::AssertionAudience;
use crate::config::AuthMethod;
use crate::config::Credential;
use crate::config::IdentityProvider;
use crate::config::Look;
use crate::config::ManagedIdentityId;
use crate::config::ManagedIdentitySource;
use crate::config::SendChain;
use crate::config::load;
use crate::config::load_text;
use crate::config::tests::FINE;
use crate::config::tests::env;
use crate::config::tests::told;

const SECRET: &str = "credential: { secret: { file: /run/secrets/client_secret } }";
const TOKEN: (&str, &str) = ("AZURE_FEDERATED_TOKEN_FILE", "/token");

/// The only provider of `text`.
fn provider(text: &str, environment: &[(&str, &str)]) -> Arc<IdentityProvider> {
    match load_text("config.yaml", text, &env(environment)) {
        Ok(mut loaded) => loaded.config.identity_providers.remove(0),
        Err(report) => panic!("{report}"),
    }
}

/// Contoso with that `credential`.
fn with(credential: &str, environment: &[(&str, &str)]) -> Arc<IdentityProvider> {
    provider(&FINE.replace(SECRET, &format!("credential: {credential}")), environment)
}

/// What is wrong with that `credential`.
fn complaint(credential: &str, environment: &[(&str, &str)]) -> String {
    told(&FINE.replace(SECRET, &format!("credential: {credential}")), environment)
}

/// Another identity provider with that `credential`.
fn other(credential: &str) -> Arc<IdentityProvider> {
    let entra = "entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }";
    let text = FINE.replace(entra, "oidc: { issuer: https://id.example }");
    provider(&text.replace(SECRET, &format!("credential: {credential}")), &[])
}

#[test]
fn a_certificate_has_defaults_that_suit_its_provider() {
    let plain = with("{ certificate: { file: /c.pem } }", &[]);
    assert_eq!(plain.auth_method, AuthMethod::PrivateKeyJwt);
    let [Credential::Certificate(certificate)] = &plain.credentials[..] else { panic!("a certificate") };
    assert_eq!((&certificate.file, &certificate.key), (&PathBuf::from("/c.pem"), &PathBuf::from("/c.pem")));
    assert_eq!((certificate.algorithm, certificate.chain), (Algorithm::PS256, SendChain::Omit));
    assert_eq!(certificate.audience, AssertionAudience::TokenEndpoint);

    let written = with(
        "{ certificate: { file: /c, key: /k, algorithm: RS256, send_x5c: true, assertion_audience: issuer } }",
        &[],
    );
    let [Credential::Certificate(certificate)] = &written.credentials[..] else { panic!("a certificate") };
    assert_eq!(certificate.key, PathBuf::from("/k"));
    assert_eq!((certificate.algorithm, certificate.chain), (Algorithm::RS256, SendChain::Send));
    assert_eq!(certificate.audience, AssertionAudience::Issuer);

    for (audience, expected) in [
        ("", AssertionAudience::Issuer),
        (", assertion_audience: token_endpoint", AssertionAudience::TokenEndpoint),
        (", assertion_audience: urn:x", AssertionAudience::Other("urn:x".into())),
    ] {
        let other = other(&format!("{{ certificate: {{ file: /c, algorithm: ES256{audience} }} }}"));
        let [Credential::Certificate(certificate)] = &other.credentials[..] else { panic!("a certificate") };
        assert_eq!((certificate.algorithm, &certificate.audience), (Algorithm::ES256, &expected));
    }
}

#[test]
fn while_one_kind_of_credential_replaces_another_each_is_sent_in_its_way() {
    let methods = |credential: &str| {
        let provider = other(credential);
        provider.credentials.iter().map(|one| provider.method_of(one)).collect::<Vec<_>>()
    };
    let (secret, certificate) = ("{ secret: { file: /s } }", "{ certificate: { file: /c } }");
    let token = "{ federated_token: { file: /t } }";
    for (method, expected) in [
        ("", [AuthMethod::ClientSecretPost, AuthMethod::PrivateKeyJwt]),
        ("client_secret_basic", [AuthMethod::ClientSecretBasic, AuthMethod::PrivateKeyJwt]),
        ("private_key_jwt", [AuthMethod::ClientSecretPost, AuthMethod::PrivateKeyJwt]),
        ("tls_client_auth", [AuthMethod::ClientSecretPost, AuthMethod::TlsClientAuth]),
    ] {
        let method = if method.is_empty() { String::new() } else { format!("\n    auth_method: {method}") };
        assert_eq!(methods(&format!("[{secret}, {certificate}]{method}")), expected, "{method}");
    }
    let method = "\n    auth_method: tls_client_auth";
    assert_eq!(
        methods(&format!("[{token}, {certificate}]{method}")),
        [AuthMethod::PrivateKeyJwt, AuthMethod::TlsClientAuth]
    );
    assert_eq!(other(&format!("[{certificate}, {secret}]")).auth_method, AuthMethod::PrivateKeyJwt);
}

#[test]
fn on_aks_the_environment_is_the_whole_provider() {
    let text = "
identity_providers: { contoso: { entra: {}, credential: workload_identity } }
routes: { orders: { match: /, upstream: 'http://127.0.0.1', exchange: { scopes: [api://x/.default] } } }
";
    let environment = [
        ("AZURE_CLIENT_ID", "6731de76-14a6-49ae-97bc-6eba6914391e"),
        ("AZURE_TENANT_ID", "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"),
        ("AZURE_AUTHORITY_HOST", "https://login.partner.microsoftonline.cn/"),
        TOKEN,
    ];
    let aks = provider(text, &environment);
    assert_eq!(aks.client_id, "6731de76-14a6-49ae-97bc-6eba6914391e");
    assert_eq!(
        aks.audiences,
        ["6731de76-14a6-49ae-97bc-6eba6914391e", "api://6731de76-14a6-49ae-97bc-6eba6914391e"]
    );
    let entra = aks.entra().unwrap();
    assert_eq!(entra.tenancy.segment(), "8eaef023-2b34-4da1-9baa-8bc8c9d6a490");
    assert_eq!(entra.origin(), "https://login.partner.microsoftonline.cn");
    assert_eq!(entra.v1_issuer_prefix, "https://sts.chinacloudapi.cn/");
    assert!(
        matches!(&aks.credentials[..], [Credential::FederatedToken(path)] if path == Path::new("/token"))
    );
    assert_eq!(aks.auth_method, AuthMethod::PrivateKeyJwt);

    let without = |name: &str| {
        let rest: Vec<(&str, &str)> =
            environment.into_iter().filter(|(variable, _)| *variable != name).collect();
        told(text, &rest)
    };
    assert_eq!(without("AZURE_AUTHORITY_HOST"), "");
    for missing in ["AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"] {
        let told = without(missing);
        assert!(told.contains(missing) && told.matches("error: ").count() == 1, "{told}");
    }
}

#[test]
fn the_authority_of_the_environment_counts_with_workload_identity_alone() {
    let host = |url| [TOKEN, ("AZURE_AUTHORITY_HOST", url)];
    for (url, origin) in [
        ("https://login.microsoftonline.us", "https://login.microsoftonline.us"),
        ("https://login.microsoftonline.us/", "https://login.microsoftonline.us"),
        ("http://127.0.0.1:8090/", "http://127.0.0.1:8090"),
    ] {
        for form in ["workload_identity", "{ workload_identity: {} }", "{ workload_identity: }"] {
            assert_eq!(with(form, &host(url)).entra().unwrap().origin(), origin, "{form}");
        }
        let secret = with("{ secret: { file: /s } }", &host(url));
        assert_eq!(secret.entra().unwrap().origin(), "https://login.microsoftonline.com");
    }
    let text =
        FINE.replace(SECRET, "credential: workload_identity").replace("entra: {", "entra: { cloud: china,");
    let written = provider(&text, &host("https://login.microsoftonline.com/"));
    assert_eq!(written.entra().unwrap().origin(), "https://login.partner.microsoftonline.cn");
    for bad in
        ["", "login.microsoftonline.com", "http://login.example/", "https://a/b", "https://u:p@a/", "x"]
    {
        let told = complaint("workload_identity", &host(bad));
        assert!(
            told.contains("error: the environment variable `AZURE_AUTHORITY_HOST` is not an https:// URL"),
            "{bad}\n{told}"
        );
    }
    let told = complaint("workload_identity", &[("AZURE_FEDERATED_TOKEN_FILE", " ")]);
    assert!(told.contains("the environment variable `AZURE_FEDERATED_TOKEN_FILE` is empty"), "{told}");
}

#[test]
fn the_cloud_decides_whom_a_managed_identitys_token_is_for() {
    for (text, audience) in [
        ("", "api://AzureADTokenExchange"),
        ("cloud: public,", "api://AzureADTokenExchange"),
        ("cloud: us_government,", "api://AzureADTokenExchangeUSGov"),
        ("cloud: china,", "api://AzureADTokenExchangeChina"),
        ("authority: https://login.microsoftonline.us,", "api://AzureADTokenExchangeUSGov"),
        ("authority: http://127.0.0.1:8090,", "api://AzureADTokenExchange"),
    ] {
        let text = FINE
            .replace(SECRET, "credential: managed_identity")
            .replace("entra: {", &format!("entra: {{ {text}"));
        let provider = provider(&text, &[]);
        let [Credential::ManagedIdentity(identity)] = &provider.credentials[..] else { panic!("one") };
        assert_eq!((identity.audience.as_str(), &identity.identity), (audience, &None), "{text}");
        assert_eq!(provider.auth_method, AuthMethod::PrivateKeyJwt);
    }
}

#[test]
fn a_managed_identity_is_named_in_one_of_three_ways() {
    let resource = "/subscriptions/0/resourceGroups/r g/providers/Microsoft.ManagedIdentity/x";
    for (text, expected) in [
        ("client_id: a", ManagedIdentityId::ClientId("a".into())),
        ("object_id: b", ManagedIdentityId::ObjectId("b".into())),
        (&format!("resource_id: {resource}"), ManagedIdentityId::ResourceId(resource.into())),
    ] {
        let provider = with(&format!("{{ managed_identity: {{ {text} }} }}"), &[]);
        let [Credential::ManagedIdentity(identity)] = &provider.credentials[..] else { panic!("one") };
        assert_eq!(identity.identity, Some(expected));
    }
}

#[test]
fn a_managed_identitys_tokens_come_from_where_the_platform_says() {
    let source = |environment: &[(&str, &str)]| {
        let provider = with("managed_identity", environment);
        match &provider.credentials[..] {
            [Credential::ManagedIdentity(identity)] => identity.source.clone(),
            _ => panic!("one"),
        }
    };
    let imds = |environment: &[(&str, &str)]| match source(environment) {
        ManagedIdentitySource::Imds(url) => url.to_string(),
        ManagedIdentitySource::AppService { endpoint, .. } => panic!("{endpoint}"),
    };
    assert_eq!(imds(&[]), "http://169.254.169.254/");
    assert_eq!(imds(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1/")]), "http://127.0.0.1:1/");
    assert_eq!(imds(&[("IDENTITY_ENDPOINT", ""), ("IDENTITY_HEADER", "x")]), "http://169.254.169.254/");
    let endpoint = ("IDENTITY_ENDPOINT", "http://169.254.129.2:8081/msi/token");
    let ManagedIdentitySource::AppService { endpoint: url, header } =
        source(&[endpoint, ("IDENTITY_HEADER", "hunter2")])
    else {
        panic!("App Service")
    };
    assert_eq!((url.as_str(), header.expose()), ("http://169.254.129.2:8081/msi/token", "hunter2"));

    for (environment, expected) in [
        (
            &[endpoint][..],
            "the environment variable `IDENTITY_ENDPOINT` is set, and `IDENTITY_HEADER` is not",
        ),
        (
            &[("IDENTITY_ENDPOINT", "localhost"), ("IDENTITY_HEADER", "hunter2")],
            "the environment variable `IDENTITY_ENDPOINT` is not a URL",
        ),
        (
            &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "file:///x")],
            "the environment variable `AZURE_POD_IDENTITY_AUTHORITY_HOST` is not a URL",
        ),
        (
            &[endpoint, ("IMDS_ENDPOINT", "http://127.0.0.1")],
            "Service Fabric and Azure Arc are not supported",
        ),
    ] {
        let told = complaint("managed_identity", environment);
        assert!(told.contains(expected) && !told.contains("hunter2"), "{told}");
        assert_eq!(told.matches("error: ").count(), 1, "{told}");
    }
}

#[test]
fn a_word_from_the_environment_is_a_credential_too() {
    let variable = ("OBO__IDENTITY_PROVIDERS__CONTOSO__CREDENTIAL", "workload_identity");
    let provider = provider(&FINE.replace(SECRET, "timeout: 5s"), &[variable, TOKEN]);
    assert!(matches!(&provider.credentials[..], [Credential::FederatedToken(_)]));
}

#[test]
fn every_file_of_a_credential_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    let warned = |credential: &str| {
        std::fs::write(&file, FINE.replace(SECRET, &format!("credential: {credential}"))).unwrap();
        let loaded = load(
            std::slice::from_ref(&file),
            &env(&[("AZURE_FEDERATED_TOKEN_FILE", "/nonexistent/t")]).into(),
            Look::At,
        );
        let warnings = loaded.unwrap().warnings;
        assert!(warnings.iter().all(|warning| warning.message.starts_with("the file cannot be read: ")));
        warnings.iter().map(|warning| warning.help.clone().unwrap()).collect::<Vec<_>>()
    };
    let later = "exchanges that need it are answered with 502 until it can be read";
    assert_eq!(warned("{ certificate: { file: /nonexistent/c, key: /nonexistent/k } }"), [later; 2]);
    assert_eq!(warned("{ certificate: { file: /nonexistent/c } }"), [later]);
    assert_eq!(warned("{ federated_token: { file: /nonexistent/t } }"), [later]);
    assert_eq!(
        warned("workload_identity"),
        ["AZURE_FEDERATED_TOKEN_FILE names it; exchanges are answered with 502 until it can be read"]
    );
}
