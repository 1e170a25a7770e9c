//! What a good configuration becomes: defaults, short forms, layers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Access;
use crate::config::AccessLog;
use crate::config::AuthMethod;
use crate::config::AuthorizationServer;
use crate::config::CacheKeyMode;
use crate::config::Credential;
use crate::config::Demand;
use crate::config::EncodedSlashes;
use crate::config::EntraVersion;
use crate::config::Environment;
use crate::config::HostRewrite;
use crate::config::Http2;
use crate::config::LogFormat;
use crate::config::Look;
use crate::config::PathKind;
use crate::config::Principals;
use crate::config::ProxyProtocol;
use crate::config::Scheme;
use crate::config::SecretSource;
use crate::config::Tenancy;
use crate::config::UnderscoreHeaders;
use crate::config::ValidatedToken;
use crate::config::load;
use crate::config::load_text;
use crate::config::problem::Cause;
use crate::config::tests::FINE;
use crate::config::tests::config;
use crate::config::tests::env;
use crate::config::tests::route;
use crate::config::tests::told;
use crate::domain::peer::Trust;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_admin_interface_is_on_loopback_or_has_a_token() {
    let admin = |written: &str| config(&format!("{FINE}admin: {written}\n")).admin.unwrap();
    for (written, address, is_loopback) in [
        ("{}", "127.0.0.1:9901", true),
        ("{ address: '[::1]:1' }", "[::1]:1", true),
        ("{ address: localhost:1 }", "localhost:1", true),
        ("{ address: '0.0.0.0:1', token: { file: /t } }", "0.0.0.0:1", false),
        ("{ address: 'obo.example:1', token: { file: /t } }", "obo.example:1", false),
    ] {
        let admin = admin(written);
        assert_eq!((admin.address.to_string().as_str(), admin.is_loopback()), (address, is_loopback));
        assert_eq!(admin.token, (!is_loopback).then(|| SecretSource::File("/t".into())));
    }
}

#[test]
fn what_is_not_written_has_its_default() {
    let config = config(FINE);
    assert_eq!(config.workers, None);
    let [listener] = config.listeners.as_slice() else { panic!("one listener") };
    assert_eq!((listener.name.as_str(), listener.address.to_string().as_str()), ("default", "0.0.0.0:8080"));
    assert_eq!(listener.underscore_headers, UnderscoreHeaders::Drop);
    assert_eq!(
        (listener.trusted_proxies.networks.as_slice(), listener.trusted_proxies.unix),
        (&[][..], Trust::Untrusted)
    );
    assert_eq!((&listener.tls, listener.proxy_protocol), (&None, ProxyProtocol::Off));
    assert_eq!(config.telemetry.address.to_string(), "0.0.0.0:9902");
    assert_eq!(
        (config.telemetry.logs.format, config.telemetry.logs.access),
        (LogFormat::Auto, AccessLog::On)
    );
    assert_eq!(config.telemetry.logs.level, "info");
    assert_eq!(config.admin, None);
    assert_eq!((config.cache.max_entries, config.cache.max_bytes), (10_000, 64 << 20));
    assert_eq!(config.cache.key, CacheKeyMode::User);
    assert_eq!((config.cache.expiry_margin, config.cache.negative_ttl), (300 * SECOND, 30 * SECOND));
    assert_eq!((config.limits.connections, config.limits.header_bytes), (10_000, 64 << 10));
    assert_eq!((config.limits.header_timeout, config.limits.idle_timeout), (10 * SECOND, 90 * SECOND));
    assert_eq!((config.shutdown.delay, config.shutdown.drain), (5 * SECOND, 25 * SECOND));

    let provider = &config.identity_providers[0];
    assert_eq!(
        provider.audiences,
        ["6731de76-14a6-49ae-97bc-6eba6914391e", "api://6731de76-14a6-49ae-97bc-6eba6914391e"]
    );
    assert_eq!((provider.clock_skew, provider.timeout), (60 * SECOND, 5 * SECOND));
    assert_eq!((provider.jwks.refresh, provider.jwks.cooldown), (3600 * SECOND, 30 * SECOND));
    assert_eq!(provider.algorithms, [crate::config::Algorithm::RS256]);
    assert_eq!(provider.token_types, ["JWT", "at+jwt"]);
    assert_eq!(provider.auth_method, AuthMethod::ClientSecretPost);
    assert_eq!(provider.claim_names.user, None);
    assert_eq!((provider.claim_names.scopes.as_str(), provider.claim_names.roles.as_str()), ("scp", "roles"));
    assert!(
        matches!(&provider.credentials[..], [Credential::SecretFile(path)] if path == &PathBuf::from("/run/secrets/client_secret"))
    );
    let tenant = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";
    assert_eq!(
        provider.entra().unwrap().issuer(EntraVersion::V1, tenant),
        format!("https://sts.windows.net/{tenant}/")
    );
    assert_eq!(
        provider.entra().unwrap().issuer(EntraVersion::V2, tenant),
        format!("https://login.microsoftonline.com/{tenant}/v2.0")
    );

    let route = route(&config, "orders");
    assert_eq!(route.listeners, None);
    assert_eq!((route.matches.path.as_str(), route.matches.path_kind), ("/", PathKind::Prefix));
    assert_eq!(route.encoded_slashes, EncodedSlashes::Reject);
    assert_eq!((route.rewrite.host, route.rewrite.strip_prefix.as_deref()), (HostRewrite::Preserve, None));
    assert_eq!((route.timeouts.response, route.timeouts.idle), (30 * SECOND, 90 * SECOND));
    assert_eq!(route.upstream.connect_timeout, 2 * SECOND);
    assert_eq!((route.upstream.authority.as_str(), route.upstream.scheme), ("127.0.0.1:8000", Scheme::Http));
    assert_eq!((route.upstream.base_path.as_str(), route.upstream.http2), ("", Http2::Auto));
    let Access::Validated { policy, token: ValidatedToken::Exchange(exchange) } = &route.access else {
        panic!("an exchange route")
    };
    assert_eq!(policy.principals, Principals::Users);
    assert_eq!(policy.identity_providers[0].as_str(), "contoso");
    assert_eq!(policy.scopes, Demand::All(Vec::new()));
    assert_eq!(exchange.scopes, ["api://orders-backend/.default"]);
}

#[test]
fn each_cloud_has_its_authority_and_issuers() {
    for (text, origin, v1) in [
        ("cloud: public", "https://login.microsoftonline.com", "https://sts.windows.net/"),
        ("cloud: us_government", "https://login.microsoftonline.us", "https://sts.windows.net/"),
        ("cloud: china", "https://login.partner.microsoftonline.cn", "https://sts.chinacloudapi.cn/"),
        ("authority: https://login.example", "https://login.example", "https://sts.windows.net/"),
        ("authority: http://127.0.0.1:8090", "http://127.0.0.1:8090", "https://sts.windows.net/"),
        ("authority: 'http://[::1]:8090'", "http://[::1]:8090", "https://sts.windows.net/"),
        ("authority: http://localhost:8090/", "http://localhost:8090", "https://sts.windows.net/"),
    ] {
        let config = config(&FINE.replace("entra: {", &format!("entra: {{ {text}, ")));
        let entra = config.identity_providers[0].entra().unwrap();
        assert_eq!((entra.origin(), entra.v1_issuer_prefix.as_str()), (origin, v1), "{text}");
    }
}

#[test]
fn a_tenant_is_an_id_a_domain_or_a_list_of_ids() {
    let tenancy = |text: &str| {
        let text = FINE.replace("tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490", text);
        load_text("config.yaml", &text, &[]).map(|mut loaded| {
            let provider = loaded.config.identity_providers.remove(0);
            match Arc::into_inner(provider).unwrap().server {
                AuthorizationServer::Entra(entra) => entra.tenancy,
                AuthorizationServer::Oidc(_) => panic!("this is no Entra"),
            }
        })
    };
    assert!(
        matches!(tenancy("tenant: Contoso.OnMicrosoft.com"), Ok(Tenancy::Domain(domain)) if domain == "contoso.onmicrosoft.com")
    );
    let shared = tenancy("tenant: common, allowed_tenants: [8EAEF023-2b34-4da1-9baa-8bc8c9d6a490]");
    assert!(
        matches!(shared, Ok(Tenancy::Shared { endpoint, allowed }) if endpoint == "common" && allowed.len() == 1)
    );
    for bad in [
        "consumers",
        "contoso",
        "a/b.com",
        "a.com/x",
        "-a.com",
        "a..com",
        "1.2.3.4",
        "a.com?x",
        "'*.com'",
        "''",
    ] {
        assert!(tenancy(&format!("tenant: {bad}")).is_err(), "{bad}");
    }
}

#[test]
fn the_environment_fills_in_tenant_client_and_secret() {
    let text = FINE
        .replace("tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490", "")
        .replace("    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e\n", "")
        .replace("file: /run/secrets/client_secret", "env: MY_SECRET");
    let variables = env(&[
        ("AZURE_TENANT_ID", "72f988bf-86f1-41af-91ab-2d7cd011db47"),
        ("AZURE_CLIENT_ID", "625391af-c675-43e5-8e44-edd3e30ceb15"),
        ("MY_SECRET", "hunter2"),
    ]);
    let loaded = load_text("config.yaml", &text, &variables).unwrap();
    let provider = &loaded.config.identity_providers[0];
    assert_eq!(provider.client_id, "625391af-c675-43e5-8e44-edd3e30ceb15");
    assert_eq!(provider.entra().unwrap().tenancy.segment(), "72f988bf-86f1-41af-91ab-2d7cd011db47");
    assert!(
        matches!(&provider.credentials[..], [Credential::Secret(secret)] if secret.expose() == "hunter2")
    );
    assert_eq!(loaded.warnings, []);
}

#[test]
fn one_trailing_line_break_is_no_part_of_a_secret() {
    let secret = |text: &str, variables: &[(&str, &str)]| {
        let text = FINE.replace("file: /run/secrets/client_secret", text);
        match load_text("config.yaml", &text, &env(variables)).unwrap().config.identity_providers[0]
            .credentials
            .as_slice()
        {
            [Credential::Secret(secret)] => secret.expose().to_owned(),
            _ => panic!("one secret"),
        }
    };
    for (written, expected) in [("hunter2", "hunter2"), ("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2")]
    {
        assert_eq!(secret("env: S", &[("S", written)]), expected, "{written:?}");
        let quoted = format!("value: {written:?}");
        assert_eq!(secret(&quoted, &[]), expected, "{written:?}");
    }
    let block = "    credential:\n      secret:\n        value: |\n          hunter2\n";
    let text = FINE.replace("    credential: { secret: { file: /run/secrets/client_secret } }\n", block);
    let config = config(&text);
    assert!(
        matches!(&config.identity_providers[0].credentials[..], [Credential::Secret(secret)] if secret.expose() == "hunter2")
    );
    for empty in ["", "\n", "\r\n"] {
        let text = FINE.replace("file: /run/secrets/client_secret", "env: S");
        assert!(told(&text, &[("S", empty)]).contains("the environment variable `S` is empty"), "{empty:?}");
        let text = FINE.replace("file: /run/secrets/client_secret", &format!("value: {empty:?}"));
        assert!(told(&text, &[]).contains("error: this secret is empty"), "{empty:?}");
    }
    // a file with two of them, say, or one that ends with what a dialogue left behind
    for (odd, problem) in [
        ("hunter2\nhunter3\n", "has a second line: a secret is one line"),
        ("hunter2\n\n", "has a second line: a secret is one line"),
        ("hunter2\u{1b}[A", "holds a control character, such as a tab: a secret is one line of text"),
    ] {
        let text = FINE.replace("file: /run/secrets/client_secret", "env: S");
        let told = told(&text, &[("S", odd)]);
        assert!(told.contains(&format!("error: the environment variable `S` {problem}")), "{told}");
        assert!(!told.contains("hunter"), "{told}");
    }
    let text = FINE.replace("file: /run/secrets/client_secret", r#"value: "hunter2\nhunter3""#);
    let told = told(&text, &[]);
    assert!(told.contains("error: this secret has a second line") && !told.contains("hunter"), "{told}");
}

#[test]
fn variables_override_single_settings_and_files_merge_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first.yaml");
    let second = folder.path().join("second.yaml");
    std::fs::write(&first, FINE.replace("match: /", "match: { path: /a, methods: [GET, PUT] }")).unwrap();
    std::fs::write(
        &second,
        "limits: { connections: 7 }\nroutes: { orders: { match: { methods: [POST] } } }\n",
    )
    .unwrap();
    let variables = env(&[
        ("OBO__LIMITS__HEADER_BYTES", "16KiB"),
        ("OBO_PORT", "tcp://10.0.0.1:80"),
        ("OBO__ROUTES__ORDERS__MATCH__PATH", "/b"),
    ]);
    let config = load(&[first.clone(), second.clone()], &variables.into(), Look::At).unwrap().config;
    assert_eq!((config.limits.connections, config.limits.header_bytes), (7, 16 << 10));
    let matches = &route(&config, "orders").matches;
    assert_eq!((matches.path.as_str(), matches.methods.as_slice()), ("/b", [http::Method::POST].as_slice()));

    // an empty file changes nothing, and problems are told in the file they are in
    std::fs::write(&second, "\n").unwrap();
    assert!(load(&[first.clone(), second.clone()], &Environment::default(), Look::At).is_ok());
    std::fs::write(&second, "routes:\n  orders:\n    upstream: nowhere\n").unwrap();
    let told =
        load(&[first.clone(), second.clone()], &Environment::default(), Look::At).unwrap_err().to_string();
    assert!(told.contains(&format!("--> {}:3:15", second.display())), "{told}");
    std::fs::write(&second, "a: [").unwrap();
    std::fs::write(&first, "b: [").unwrap();
    let told = load(&[first, second], &Environment::default(), Look::At).unwrap_err();
    assert_eq!(told.problems().len(), 2, "{told}");
}

#[test]
fn a_list_from_the_environment_is_written_with_commas() {
    let variables = env(&[
        ("OBO__ROUTES__ORDERS__EXCHANGE__SCOPES", "api://orders/read, api://orders/write"),
        ("OBO__IDENTITY_PROVIDERS__CONTOSO__AUDIENCES", "api://a,api://b"),
        ("OBO__IDENTITY_PROVIDERS__CONTOSO__ALGORITHMS", "RS256"),
        ("OBO__ROUTES__ORDERS__REQUIRE__SCOPES", "a,b"),
        ("OBO__ROUTES__ORDERS__REQUIRE__ROLES__ANY_OF", "A,B"),
    ]);
    let config = load_text("config.yaml", FINE, &variables).unwrap().config;
    let provider = &config.identity_providers[0];
    assert_eq!(provider.audiences, ["api://a", "api://b"]);
    assert_eq!(provider.algorithms, [crate::config::Algorithm::RS256]);
    let Access::Validated { policy, token: ValidatedToken::Exchange(exchange) } =
        &route(&config, "orders").access
    else {
        panic!("an exchange route")
    };
    assert_eq!(exchange.scopes, ["api://orders/read", "api://orders/write"]);
    assert_eq!(policy.scopes, Demand::All(vec!["a".into(), "b".into()]));
    assert_eq!(policy.roles, Demand::Any(vec!["A".into(), "B".into()]));

    // in a file a comma is a character like any other
    let text = FINE.replace("exchange:", "require: { roles: 'A,B' }\n    exchange:");
    let config = self::config(&text);
    let Access::Validated { policy, .. } = &route(&config, "orders").access else { panic!("validated") };
    assert_eq!(policy.roles, Demand::All(vec!["A,B".into()]));
}

#[test]
fn a_wrong_list_from_the_environment_is_told_with_its_own_form() {
    let scopes = "OBO__ROUTES__ORDERS__EXCHANGE__SCOPES";
    for (variable, value, expected) in [
        (scopes, "a,,b", "error: `a,,b` is not a list: write its items with commas between, as in a,b"),
        (scopes, "a,", "error: `a,` is not a list: write its items with commas between, as in a,b"),
        (scopes, "", "error: `` is not a list: write its items with commas between, as in a,b"),
        (
            "OBO__ROUTES__ORDERS__REQUIRE__SCOPES",
            " , ",
            "error: ` , ` is not a list: write its items with commas between, as in a,b",
        ),
        (scopes, "a b", "error: `a b` is not a scope"),
        (scopes, "a b", "help: write several with commas between: a,b"),
        (scopes, "a,b c", "error: `b c` is not a scope"),
    ] {
        let told = told(FINE, &[(variable, value)]);
        assert!(told.contains(expected) && told.contains(variable), "{value}\n{told}");
        assert_eq!(told.matches("error: ").count(), 1, "{value}\n{told}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_another_kind_of_failure_than_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let absent = load(&[folder.path().join("absent.yaml")], &Environment::default(), Look::At).unwrap_err();
    assert_eq!(absent.cause(), Cause::Unreadable);
    assert!(absent.to_string().contains("absent.yaml"), "{absent}");
    assert_eq!(
        load(&[folder.path().into()], &Environment::default(), Look::At).unwrap_err().cause(),
        Cause::Unreadable
    );
    let binary = folder.path().join("binary.yaml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(load(&[binary], &Environment::default(), Look::At).unwrap_err().cause(), Cause::Invalid);
    let long = folder.path().join("long.yaml");
    std::fs::write(&long, "é".repeat(1 << 20)).unwrap();
    let told = load(&[long], &Environment::default(), Look::At).unwrap_err();
    assert!(told.to_string().contains("longer than 1 MiB"), "{told}");
    assert_eq!(load_text("config.yaml", "version: 2", &[]).unwrap_err().cause(), Cause::Invalid);
}

#[test]
fn scalars_are_taken_as_written() {
    let config = config(&FINE.replace(
        "exchange:",
        "require: { claims: { a: 1.10, b: no, c: 0123456, d: 1e5, e: '~', f: \"x\\ty\" } }\n    exchange:",
    ));
    let Access::Validated { policy, .. } = &route(&config, "orders").access else { panic!("validated") };
    let values: Vec<&str> = policy.claims.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["1.10", "no", "0123456", "1e5", "~", "x\ty"]);
}

#[test]
fn a_variable_with_one_underscore_where_two_are_meant_is_told_and_others_are_left_alone() {
    let of = |variable: &str| told(FINE, &[(variable, "x")]);
    for (variable, meant) in [
        ("OBO_ROUTES_ORDERS_UPSTREAM", "OBO__ROUTES__ORDERS__UPSTREAM"),
        ("OBO_ROUTES_MY_OWN_TIMEOUTS_RESPONSE", "OBO__ROUTES__MY_OWN__TIMEOUTS__RESPONSE"),
        ("OBO_IDENTITY_PROVIDERS_CONTOSO_CLIENT_ID", "OBO__IDENTITY_PROVIDERS__CONTOSO__CLIENT_ID"),
        (
            "OBO_IDENTITY_PROVIDERS_CONTOSO_CREDENTIAL_SECRET_FILE",
            "OBO__IDENTITY_PROVIDERS__CONTOSO__CREDENTIAL__SECRET__FILE",
        ),
        ("OBO_ROUTES__ORDERS__UPSTREAM", "OBO__ROUTES__ORDERS__UPSTREAM"),
        ("OBO_TELEMETRY_LOGS_LEVEL", "OBO__TELEMETRY__LOGS__LEVEL"),
        ("OBO_CACHE_REDIS_ENCRYPTION_KEYS", "OBO__CACHE__REDIS__ENCRYPTION_KEYS"),
        ("OBO_WORKERS", "OBO__WORKERS"),
        ("OBO_LOG_LEVEL", ""),
    ] {
        let told = of(variable);
        assert!(told.starts_with("warning: this variable sets nothing"), "{told}");
        assert!(told.contains(&format!("environment variable {variable}")), "{told}");
        let help = match meant {
            "" => "is called OBO__SECTION__KEY, with two underscores".to_owned(),
            meant => format!("did you mean `{meant}`?"),
        };
        assert!(told.contains(&help), "{told}");
    }
    for variable in ["OBO_CONFIG", "OBO", "OBOE_X", "OBO_PROXY_SERVICE_HOST", "OBO_PROXY_PORT_8080_TCP_ADDR"]
    {
        assert_eq!(of(variable), "", "{variable}");
    }
    // one that the configuration itself names is read
    let own = FINE.replace("{ file: /run/secrets/client_secret }", "{ env: OBO_CLIENT_SECRET }");
    assert_eq!(told(&own, &[("OBO_CLIENT_SECRET", "x")]), "");
}
