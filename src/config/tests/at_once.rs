//! Faults that have nothing to do with each other are told at once: whoever mends one is not told of the next.

use crate::config::tests::FINE;
use crate::config::tests::lines;

/// Each of `expected` is in a problem of its own of `text`.
fn all_told(text: &str, expected: &[&str]) {
    let mut told = lines(text);
    for part in expected {
        let Some(at) = told.iter().position(|line| line.contains(part)) else {
            panic!("{part} is not told (again) of {text}: {told:#?}");
        };
        told.remove(at);
    }
    assert!(told.is_empty(), "{told:#?}");
}

/// The fine configuration with these settings of the route.
fn of_route(settings: &str) -> String {
    format!("{FINE}    {settings}\n")
}

/// The fine configuration with a route that is this, and another provider.
fn another_route(settings: &str) -> String {
    format!(
        "{}  other: {{ match: /other, upstream: http://127.0.0.1, {settings} }}\n",
        FINE.replace(
            "routes:",
            "  partner: { oidc: { issuer: https://id.example }, client_id: x, audiences: [x], credential: { secret: { file: s } } }\nroutes:"
        )
        .replace("match: /\n", "match: /\n    identity_provider: contoso\n")
    )
}

#[test]
fn of_cors_every_origin_that_is_wrong() {
    all_told(
        &of_route("cors: { origins: [app.example, '*', 'null', https://ok.example, 'https://b.example/'] }"),
        &[
            "`app.example` is no origin",
            "`*` is every origin",
            "`null` is no origin",
            "[write https://b.example]",
        ],
    );
    // and what else the route does to its requests
    all_told(
        &another_route(
            "auth: anonymous, cors: { origins: [x] }, headers: { set: { x-user: '{claims.oid}', host: a } }, limits: { concurrency: 0 }",
        ),
        &[
            "`x` is no origin",
            "`host` can be neither set nor removed",
            "this must be a number of requests",
            "this wants a claim of a token that nobody looks at",
        ],
    );
    all_told(
        &another_route(
            "identity_provider: contoso, token: remove, cors: { origins: [x] }, retry: { on: ['503'], methods: [POST] }",
        ),
        &["`x` is no origin", "an upstream that has acted on a POST request already"],
    );
}

#[test]
fn of_a_route_that_contradicts_itself_the_rest_as_well() {
    all_told(
        &another_route(
            "identity_provider: [nobody, contoso, noone], token: remove, exchange: { scopes: ['a b'], audience: 'c d' }, require: { scopes: [é], roles: { any_of: [''], all_of: [r] }, clients: ['a b'] }",
        ),
        &[
            "`token` and `exchange` exclude each other",
            "no identity provider called `nobody`",
            "no identity provider called `noone`",
            "`a b` is not a scope",
            "`c d` is not an audience",
            "`é` is not a scope",
            "`` is not a role",
            "exactly one of any_of and all_of",
            "`a b` is not a client id",
        ],
    );
    all_told(
        &another_route(
            "identity_provider: contoso, exchange: { scopes: ['a b'], audience: api }, require: { scopes: [é] }",
        ),
        &["`a b` is not a scope", "`é` is not a scope", "knows no `audience`"],
    );
    all_told(
        &another_route("auth: anonymous, exchange: { scopes: ['a b'] }, identity_provider: nobody"),
        &["`exchange` and `auth: anonymous` exclude", "`a b` is not a scope", "called `nobody`"],
    );
    all_told(
        &another_route("auth: anonymous, require: { scopes: [a] }, identity_provider: contoso"),
        &["`require` and `auth: anonymous` exclude", "`identity_provider` has no effect"],
    );
    all_told(
        &another_route("identity_provider: contoso, token: remove, listeners: [one, two]"),
        &["no listener called `one`", "no listener called `two`"],
    );
}

#[test]
fn of_an_identity_provider_without_a_kind_or_a_name_what_does_not_depend_on_it() {
    let provider = |text: &str| {
        format!(
            "identity_providers:\n  {text}\nroutes: {{ a: {{ match: /, auth: anonymous, upstream: http://127.0.0.1 }} }}\n"
        )
    };
    all_told(
        &provider("x: { timeout: 0s, clock_skew: 1h, jwks: { refresh: 0s }, token_types: ['a b'] }"),
        &[
            "`entra` is missing",
            "longer than nothing",
            "300s at most",
            "longer than nothing",
            "`a b` is not a token type",
        ],
    );
    all_told(
        &provider(
            "X: { oidc: { issuer: 'a b' }, client_id: 'c d', audiences: [a], credential: { secret: { file: '' } } }",
        ),
        &["`X` cannot be a name", "`a b` is not an issuer", "`c d` is not a client id", "the path of a file"],
    );
    all_told(
        &provider(
            "x: { entra: { tenant: consumers, allowed_tenants: [y] }, client_id: 6731de76-14a6-49ae-97bc-6eba6914391e, auth_method: none, credential: { certificate: { algorithm: HS256, key: '' } } }",
        ),
        &[
            "`allowed_tenants` has a meaning only with",
            "`consumers` cannot be a tenant",
            "Entra takes no `none`",
            "`file` is missing",
            "`HS256` is not an algorithm",
            "the path of a file",
        ],
    );
}

#[test]
fn of_a_listener_its_name_its_address_and_every_file() {
    all_told(
        &format!(
            "listeners:\n  X: {{ address: nowhere, tls: {{ client_ca: '', certificate: a, key: b, certificates: [{{ certificate: c }}] }}, trusted_proxies: [x] }}\n{FINE}"
        ),
        &[
            "`X` cannot be a name",
            "`nowhere` is not an address",
            "the path of a file",
            "`certificate` and `certificates` exclude",
            "`key` and `certificates` exclude",
            "`key` is missing",
            "`x` is not a network",
        ],
    );
    all_told(
        &format!(
            "upstreams: {{ a: {{ url: https://a, tls: {{ client_certificate: {{ file: '', key: '' }} }} }} }}\n{FINE}"
        ),
        &["the path of a file", "the path of a file"],
    );
}
