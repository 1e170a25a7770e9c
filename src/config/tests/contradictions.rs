//! What cannot be true at the same time about identity providers, credentials and exchanges: a table of bad
//! configurations and their problems.

use crate::config::tests::FINE;
use crate::config::tests::lines;
use crate::config::tests::with;

/// A configuration with an identity provider that is not Entra.
const OTHER: &str = "\
identity_providers:
  kc:
    oidc: { issuer: https://id.example/realms/b2b }
    client_id: orders-proxy
    credential: { secret: { file: /run/secrets/client_secret } }
    grant: token_exchange
routes:
  orders:
    match: /
    upstream: http://127.0.0.1:8000
    exchange: { scopes: [orders.read] }
";

#[track_caller]
fn each_is_told_alone(cases: &[(String, &str)]) {
    let mut wrong = Vec::new();
    for (text, expected) in cases {
        let told = lines(text);
        // one mistake, one problem
        if told.len() != 1 || told[0] != *expected {
            wrong.push(format!("{text}\nexpected {expected}\ntold     {told:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn other(line: usize, text: &str) -> String {
    let mut lines: Vec<&str> = OTHER.lines().collect();
    lines[line - 1] = text;
    lines.join("\n")
}

fn credential(text: &str) -> String {
    with(5, &format!("    credential: {text}"))
}

fn exchange(text: &str) -> String {
    with(10, &format!("    exchange: {{ {text} }}"))
}

fn others_exchange(text: &str) -> String {
    other(11, &format!("    exchange: {{ {text} }}"))
}

fn others_server(text: &str) -> String {
    other(3, &format!("    oidc: {{ {text} }}"))
}

#[test]
fn both_configurations_are_fine() {
    assert_eq!((lines(FINE), lines(OTHER)), (Vec::new(), Vec::new()));
}

#[test]
fn a_provider_is_entra_or_another() {
    each_is_told_alone(&[
        (with(3, "    entra: { tenant: contoso.com }\n    oidc: { issuer: https://id.example }"), "4:5 error: `oidc` and `entra` exclude each other [each identity provider has a name of its own: leave one of them out]"),
        (with(3, ""), "2:3 error: `entra` is missing in `identity_providers.contoso` [write entra: { tenant: ID }, entra: {} to take it from AZURE_TENANT_ID, or oidc: { issuer: URL }]"),
        (with(3, "    entra: {}"), "3:5 error: `tenant` is missing in `identity_providers.contoso.entra` [write the tenant's id, or set AZURE_TENANT_ID]"),
        (with(3, "    oidc: 5"), "3:11 error: `***` is not a map"),
        (with(5, "    credential: { secret: { file: /s } }\n    grant: token_exchange"), "6:12 error: Entra knows no `token_exchange` [leave it out: Entra exchanges by jwt_bearer, On-Behalf-Of]"),
        (with(5, "    credential: { secret: { file: /s } }\n    introspection: true"), "6:20 error: Entra cannot be asked about tokens [leave it out: all its access tokens for us are JWTs]"),
        (with(5, "    credential: { secret: { file: /s } }\n    client_capabilities: [a b]"), "6:27 error: `a b` is not a capability [write several as a list: [a, b]]"),
        (with(5, "    credential: { secret: { file: /s } }\n    parameters: { requested_token_use: x }"), "6:19 error: the parameter `requested_token_use` is set by the exchange itself [leave it out]"),
        (other(6, "    client_capabilities: [cp1]"), "6:5 error: `client_capabilities` has a meaning only with `entra` [leave it out: only Entra asks for claims]"),
        (other(6, "    parameters: { Audience: x }"), "6:19 error: the parameter `Audience` is set by the exchange itself [leave it out]"),
        (other(6, "    parameters: { actor_token: x }"), "6:19 error: the parameter `actor_token` is set by the exchange itself [leave it out]"),
        (other(6, "    algorithms: [EDDSA]"), "6:18 error: `EDDSA` is not an algorithm that can be accepted [did you mean `EdDSA`?]"),
        (other(4, ""), "2:3 error: `client_id` is missing in `identity_providers.kc` [write the id of our client there]"),
        (others_server(""), "3:5 error: `issuer` is missing in `identity_providers.kc.oidc` [write the `iss` of its tokens, as in issuer: https://id.example/realms/b2b]"),
        (others_server("issuer: a b"), "3:21 error: `a b` is not an issuer"),
        (others_server("isuer: https://id.example"), "3:13 error: unknown setting `isuer` [did you mean `issuer`?]"),
        (others_server("issuer: http://fs/adfs/services/trust"), "3:21 error: discovery cannot begin at `http://fs/adfs/services/trust`: it is not a plain https:// URL [if its tokens name an https:// issuer, write that; if not, write jwks_uri, and token_endpoint if a route exchanges]"),
        (others_server("issuer: 'https://id.example/?x=1'"), "3:21 error: discovery cannot begin at `***`: it is not a plain https:// URL [if its tokens name an https:// issuer, write that; if not, write jwks_uri, and token_endpoint if a route exchanges]"),
        (others_server("issuer: accounts.example, token_endpoint: https://id.example/token"), "3:21 error: discovery cannot begin at `accounts.example`: it is not a plain https:// URL [if its tokens name an https:// issuer, write that; if not, write jwks_uri, and token_endpoint if a route exchanges]"),
        (others_server("issuer: accounts.example, jwks_uri: https://id.example/keys"), "11:5 error: the token endpoint of `kc` is not given, and cannot be discovered [write token_endpoint in its `oidc`]"),
        (others_server("issuer: https://id.example, token_endpoint: http://id.example/token"), "3:57 error: `http://id.example/token` is not https [secrets and tokens are sent there: plain http is only for 127.0.0.0/8, ::1 and localhost]"),
        (others_server("issuer: https://id.example, jwks_uri: /keys"), "3:51 error: `/keys` is not a URL [write it as https://host, https://host:port or https://host/path]"),
        (others_server("issuer: https://id.example, jwks_uri: 'https://id.example/#x'"), "3:51 error: `***` cannot be used: a fragment does not belong here [write it as https://host, https://host:port or https://host/path]"),
        (others_server("issuer: https://id.example, introspection_endpoint: https://id.example/i"), "3:65 warning: `introspection_endpoint` has no effect without `introspection: true` [add that beside `oidc`, or leave this out]"),
        (
            others_server("issuer: accounts.example, jwks_uri: https://a.example/k, token_endpoint: https://a.example/t")
                .replace("grant: token_exchange", "introspection: true"),
            "3:21 error: discovery cannot begin at `accounts.example`: it is not a plain https:// URL [if its tokens name an https:// issuer, write that; if not, write introspection_endpoint, and token_endpoint if a route exchanges]",
        ),
        (other(5, "    auth_method: none\n    introspection: true"), "6:20 error: `introspection` and `auth_method: none` exclude each other [nobody is told about tokens without authentication: write a credential]"),
        (other(4, "    auth_method: none").replace("    credential: { secret: { file: /run/secrets/client_secret } }\n", ""), "2:3 error: `audiences` is missing in `identity_providers.kc` [write which `aud` is meant for us: without a client id there is no default]"),
    ]);
}

#[test]
fn a_credential_suits_its_provider_and_its_method() {
    let method = |text: &str| {
        with(5, &format!("    credential: {{ secret: {{ file: /s }} }}\n    auth_method: {text}"))
    };
    let certificate = |text: &str| credential(&format!("{{ certificate: {{ file: /c, {text} }} }}"));
    each_is_told_alone(&[
        (
            method("tls_client_auth"),
            "6:18 error: Entra takes no `tls_client_auth` [leave it out: the method follows from the credential]",
        ),
        (
            method("none"),
            "6:18 error: Entra takes no `none` [leave it out: the method follows from the credential]",
        ),
        (
            method("private_key_jwt"),
            "6:18 error: `private_key_jwt` sends a certificate or a federated token, and there is none [leave it out: the method follows from the credential]",
        ),
        (
            method("basic"),
            "6:18 error: `basic` is not one of client_secret_post, client_secret_basic, private_key_jwt, tls_client_auth, none",
        ),
        (
            certificate("key: /k }").replace("} } }", "} }\n    auth_method: client_secret_basic"),
            "6:18 error: `client_secret_basic` sends a secret, and there is none [leave it out: the method follows from the credential]",
        ),
        (
            certificate("algorithm: ES256"),
            "5:55 error: Entra takes no assertion signed with `ES256` [write PS256 or RS256, and take a certificate with an RSA key]",
        ),
        (
            certificate("algorithm: PS25"),
            "5:55 error: `PS25` is not an algorithm to sign with [did you mean `PS256`?]",
        ),
        (
            certificate("algorithm: ps256"),
            "5:55 error: `ps256` is not an algorithm to sign with [did you mean `PS256`?]",
        ),
        (certificate("assertion_audience: a b"), "5:64 error: `a b` is not an audience"),
        (certificate("send_x5c: yes"), "5:54 error: `yes` is not `true` or `false`"),
        (certificate("key: ''"), "5:49 error: this must be the path of a file"),
        (
            credential("{ certificate: { key: /k } }"),
            "5:19 error: `file` is missing in `identity_providers.contoso.credential.certificate` [write the path of a PEM file with the certificate]",
        ),
        (
            credential("{ certificate: /c }"),
            "5:32 error: `***` is not a map [write { file: PATH, key: PATH }]",
        ),
        (
            credential("{ federated_token: {} }"),
            "5:19 error: `file` is missing in `identity_providers.contoso.credential.federated_token` [write the path of the file with the token]",
        ),
        (credential("{ federated_token: /t }"), "5:36 error: `***` is not a map [write { file: PATH }]"),
        (
            credential("{}"),
            "5:5 error: this names no credential [write exactly one of secret, certificate, federated_token, workload_identity and managed_identity]",
        ),
        (
            credential("[]"),
            "5:5 error: this list is empty [write one credential, or two while one replaces the other]",
        ),
        (
            credential("{ workload_identity: }"),
            "5:19 error: the environment variable `AZURE_FEDERATED_TOKEN_FILE` is not set [on AKS, the label azure.workload.identity/use: \"true\" on the pod sets it; elsewhere write federated_token: { file: PATH }]",
        ),
        (
            credential("{ managed_identity: , secret: { file: /s } }"),
            "5:5 error: this names more than one credential [write exactly one of secret, certificate, federated_token, workload_identity and managed_identity]",
        ),
        (
            credential("{ secret: { file: /s }, certificate: { file: /c } }"),
            "5:5 error: this names more than one credential [write exactly one of secret, certificate, federated_token, workload_identity and managed_identity]",
        ),
        (
            credential("workload_identity"),
            "5:17 error: the environment variable `AZURE_FEDERATED_TOKEN_FILE` is not set [on AKS, the label azure.workload.identity/use: \"true\" on the pod sets it; elsewhere write federated_token: { file: PATH }]",
        ),
        (
            credential("{ workload_identity: {} }"),
            "5:19 error: the environment variable `AZURE_FEDERATED_TOKEN_FILE` is not set [on AKS, the label azure.workload.identity/use: \"true\" on the pod sets it; elsewhere write federated_token: { file: PATH }]",
        ),
        (
            credential("[workload_identity, { secret: { file: /s } }]"),
            "5:18 error: the environment variable `AZURE_FEDERATED_TOKEN_FILE` is not set [on AKS, the label azure.workload.identity/use: \"true\" on the pod sets it; elsewhere write federated_token: { file: PATH }]",
        ),
        (
            credential("workload_identiy"),
            "5:17 error: `***` is not a credential: write { secret: { file: PATH } }, { certificate: { file: PATH, key: PATH } }, { federated_token: { file: PATH } }, workload_identity or managed_identity, or a list of two of them",
        ),
        (
            credential("{ managed_identity: { client_id: a, object_id: b } }"),
            "5:19 error: this names the identity more than once [write one of client_id, object_id and resource_id]",
        ),
        (credential("{ managed_identity: { client_id: a b } }"), "5:50 error: `a b` is not a client id"),
        (
            credential("{ managed_identity: { resource_id: identity-1 } }"),
            "5:52 error: `identity-1` is not a resource id [write it whole, from /subscriptions/ on]",
        ),
        (
            other(5, "    credential: managed_identity"),
            "5:17 error: `managed_identity` has a meaning only with `entra` [its tokens are for Entra: write secret, certificate or federated_token]",
        ),
        (
            other(5, "    credential: [{ workload_identity: {} }, { secret: { file: /s } }]"),
            "5:20 error: `workload_identity` has a meaning only with `entra` [its tokens are for Entra: write secret, certificate or federated_token]",
        ),
        (
            other(5, ""),
            "2:3 error: `credential` is missing in `identity_providers.kc` [write credential: { secret: { file: PATH } }, or auth_method: none]",
        ),
        (
            other(6, "    auth_method: none"),
            "6:18 error: `none` sends no credential, and there is one [leave the one or the other out]",
        ),
        (
            other(6, "    auth_method: tls_client_auth"),
            "6:18 error: `tls_client_auth` sends a certificate, and there is none [leave it out: the method follows from the credential]",
        ),
        (
            other(6, "    auth_method: private_key_jwt"),
            "6:18 error: `private_key_jwt` sends a certificate or a federated token, and there is none [leave it out: the method follows from the credential]",
        ),
        (
            other(
                5,
                "    credential: { certificate: { file: /c, algorithm: RS256 } }\n    auth_method: tls_client_auth",
            ),
            "5:55 warning: `algorithm` has no effect with `tls_client_auth` [leave it out: no assertion is signed]",
        ),
        (
            other(5, "    credential: { federated_token: { file: /t } }\n    auth_method: tls_client_auth"),
            "6:18 error: `tls_client_auth` sends a certificate, and there is none [leave it out: the method follows from the credential]",
        ),
        (
            other(
                5,
                "    credential: { federated_token: { file: /t } }\n    auth_method: client_secret_post",
            ),
            "6:18 error: `client_secret_post` sends a secret, and there is none [leave it out: the method follows from the credential]",
        ),
    ]);
}

#[test]
fn an_exchange_suits_its_providers() {
    let two = |text: &str| {
        let kc = "identity_providers:\n  kc: { oidc: { issuer: https://id.example }, client_id: a, credential: { secret: { file: /s } } }";
        let both = FINE.replace("identity_providers:", kc);
        both.replace(
            "exchange: { scopes: [api://orders-backend/.default] }",
            &format!("identity_provider: [contoso, kc]\n    exchange: {{ {text} }}"),
        )
    };
    let bearer = |text: &str| others_exchange(text).replace("grant: token_exchange", "grant: jwt_bearer");
    let bare = |text: &str| {
        others_exchange(text)
            .replace("credential: { secret: { file: /run/secrets/client_secret } }", "auth_method: none")
    };
    let lost = others_server("issuer: accounts.example, jwks_uri: https://id.example/keys");
    let required = "app_tokens: client_credentials }\n    require: { roles: [Batch]";
    each_is_told_alone(&[
        (
            exchange(""),
            "10:5 error: `scopes` is missing in `routes.orders.exchange` [write what the upstream wants, as in scopes: [api://orders-backend/.default]]",
        ),
        (exchange("scopes: a, actor: us"), "10:35 error: `us` is not `self`"),
        (
            exchange("scopes: [a], resource: https://b"),
            "10:30 error: `contoso` is Entra, which takes `resource` or `scopes`, not both [leave one of them out: with `resource` the token is one of version 1, with `scopes` of version 2]",
        ),
        (
            exchange("resource: [https://a, https://b]"),
            "10:17 error: `contoso` is Entra, whose tokens are for one resource [write one; another needs another route]",
        ),
        (exchange("resource: []"), "10:17 error: this list is empty [leave it out for the default]"),
        (exchange("resource: a b"), "10:27 error: `a b` is not a resource [write several as a list: [a, b]]"),
        (
            exchange("audience: inventory"),
            "10:17 error: `contoso` is Entra, which knows no `audience` [name the API by its scopes or its resource]",
        ),
        (
            exchange("scopes: a, audience: inventory"),
            "10:28 error: `contoso` is Entra, which knows no `audience` [name the API by its scopes or its resource]",
        ),
        (
            exchange("scopes: a, actor: self"),
            "10:28 error: `contoso` is not told of actors by its grant, jwt_bearer [leave it out, or write grant: token_exchange there, if it knows that]",
        ),
        (
            exchange("scopes: a/.default, app_tokens: client_credentials"),
            "10:49 error: `client_credentials` lets every application in that has a token for us [add require: { roles: [...] } or require: { clients: [...] }]",
        ),
        (
            exchange(&format!("scopes: a/read, {required}")),
            "10:25 warning: `a/read` is a permission of users [Entra gives applications tokens for .default alone, else it answers AADSTS1002012]",
        ),
        (
            exchange(&format!("scopes: a/.default, requested_token_type: saml2, {required}")),
            "10:78 error: `client_credentials` gets no SAML assertion [SAML assertions are about users: write app_tokens: reject, or another kind of token]",
        ),
        (
            with(
                10,
                "    exchange: { requested_token_type: saml1 }\ndefaults: { exchange: { audience: x } }\n",
            ),
            "11:25 error: `contoso` is Entra, which knows no `audience` [name the API by its scopes or its resource]",
        ),
        (
            two("scopes: a, resource: https://b"),
            "12:28 error: `contoso` is Entra, which takes `resource` or `scopes`, not both [leave one of them out: with `resource` the token is one of version 1, with `scopes` of version 2]",
        ),
        (
            two("audience: inventory"),
            "12:17 error: `contoso` is Entra, which knows no `audience` [name the API by its scopes or its resource]",
        ),
        (
            two("scopes: a, actor: self"),
            "12:28 error: `contoso` is not told of actors by its grant, jwt_bearer [leave it out, or write grant: token_exchange there, if it knows that]",
        ),
        (
            others_exchange(""),
            "11:5 error: `scopes` is missing in `routes.orders.exchange` [write what the upstream wants: scopes, resource or audience]",
        ),
        (
            others_exchange("resource: inventory"),
            "11:27 warning: `inventory` is no absolute URI without a fragment [RFC 8693 wants one here; names are written as audience]",
        ),
        (
            others_exchange("audience: a b"),
            "11:27 error: `a b` is not an audience [write several as a list: [a, b]]",
        ),
        (
            bearer("scopes: a, audience: inventory"),
            "11:28 error: `kc` takes no `audience` with its grant, jwt_bearer [write scopes or resource, or grant: token_exchange there, if it knows that]",
        ),
        (
            bearer("scopes: a, actor: self"),
            "11:28 error: `kc` is not told of actors by its grant, jwt_bearer [leave it out, or write grant: token_exchange there, if it knows that]",
        ),
        (
            bearer("scopes: a, requested_token_type: saml2"),
            "11:50 error: `kc` gives no SAML assertion by its grant, jwt_bearer [only Entra does: write grant: token_exchange there, if it knows that]",
        ),
        (
            bare("scopes: a, actor: self"),
            "11:28 error: `kc` gives us no token of our own: we have no credential there [write a credential there, or leave this out]",
        ),
        (
            bare(&format!("scopes: a, {required}")),
            "11:40 error: `kc` gives us no token of our own: we have no credential there [write a credential there, or app_tokens: reject]",
        ),
        (
            others_exchange("scopes: a, requested_token_type: jwt")
                .replace("grant: token_exchange", "parameters: { requested_token_type: x }"),
            "11:28 error: `requested_token_type` is among the `parameters` of `kc` [leave one of them out]",
        ),
        (
            lost,
            "11:5 error: the token endpoint of `kc` is not given, and cannot be discovered [write token_endpoint in its `oidc`]",
        ),
    ]);
}

#[test]
fn providers_of_one_issuer_or_with_introspection_do_not_share_a_route() {
    let two = |one: &str, other: &str| {
        let rest = "client_id: 6731de76-14a6-49ae-97bc-6eba6914391e, credential: { secret: { file: /s } }";
        format!(
            "identity_providers:\n  one: {{ {one}, {rest} }}\n  two: {{ {other}, {rest} }}\nroutes: {{ r: {{ match: /, upstream: 'http://127.0.0.1', token: remove, identity_provider: [one, two] }} }}\n"
        )
    };
    let oidc = "oidc: { issuer: https://id.example }";
    let entra = "entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }";
    let same = "oidc: { issuer: https://sts.windows.net/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/ }";
    let asked = "oidc: { issuer: https://id.example }, introspection: true";
    let also = "oidc: { issuer: https://id.example/ }, introspection: true";
    each_is_told_alone(&[
        (
            two(oidc, oidc),
            "4:96 error: `two` and `one` accept tokens of the same issuer [a token's issuer tells which one it belongs to: name only one of them]",
        ),
        (
            two(same, entra),
            "4:96 error: `two` and `one` accept tokens of the same issuer [a token's issuer tells which one it belongs to: name only one of them]",
        ),
        (
            two(entra, same),
            "4:96 error: `two` and `one` accept tokens of the same issuer [a token's issuer tells which one it belongs to: name only one of them]",
        ),
        (
            two(asked, also),
            "4:96 error: `two` and `one` are both asked about tokens [a token that is no JWT does not say whose it is, and is shown to nobody else: name only one of them]",
        ),
    ]);
    let also = also.replace(", introspection: true", "");
    assert_eq!(lines(&two(asked, &also)), [""; 0]);
}
