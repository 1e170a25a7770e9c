//! `proxy` of an identity provider: the ways that can be written, and what the environment makes of them.

use crate::config::Egress;
use crate::config::Exception;
use crate::config::load_text;
use crate::config::tests::FINE;
use crate::config::tests::env;
use crate::config::tests::lines;
use crate::config::tests::told;

/// The fine configuration with a `proxy` in line 4.
fn by(proxy: &str) -> String {
    FINE.replacen("    client_id", &format!("    proxy: {proxy}\n    client_id"), 1)
}

fn egress(proxy: &str, environment: &[(&str, &str)]) -> Egress {
    let loaded = load_text("config.yaml", &by(proxy), &env(environment));
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(loaded.warnings, [], "{proxy}");
    loaded.config.identity_providers[0].egress.clone()
}

/// The proxy that leads to Entra, and as whom it is asked.
fn proxy(egress: &Egress) -> Option<(String, Option<&str>)> {
    let proxy = egress.proxy_to("login.microsoftonline.com", 443)?;
    Some((proxy.to_string(), proxy.login.as_ref().map(|login| login.expose())))
}

#[test]
fn without_a_word_no_proxy_is_used_whatever_the_environment_says() {
    let environment = [("HTTPS_PROXY", "http://proxy.corp:3128"), ("ALL_PROXY", "http://proxy.corp:3128")];
    assert_eq!(egress("none", &environment), Egress::Direct);
    assert_eq!(egress("null", &environment), Egress::Direct);
}

#[test]
fn a_proxy_that_is_named_is_used_always() {
    for (written, shown) in [
        ("http://proxy.corp:3128", "http://proxy.corp:3128"),
        ("HTTP://proxy.corp:80/", "http://proxy.corp:80"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("'http://[fd00::1]:3128'", "http://[fd00::1]:3128"),
    ] {
        let egress = egress(written, &[("NO_PROXY", "*")]);
        assert_eq!(proxy(&egress), Some((shown.into(), None)), "{written}");
        assert!(egress.proxy_to("localhost", 443).is_some(), "{written}");
    }
}

#[test]
fn the_environment_is_read_as_curl_reads_it() {
    let corp = |name: &'static str| (name, "http://proxy.corp:3128");
    let other = |name: &'static str| (name, "http://other.corp:1");
    for (environment, expected) in [
        (&[][..], None),
        (&[corp("HTTPS_PROXY")], Some("http://proxy.corp:3128")),
        (&[corp("https_proxy"), other("HTTPS_PROXY")], Some("http://proxy.corp:3128")),
        (&[("https_proxy", ""), other("HTTPS_PROXY")], Some("http://other.corp:1")),
        (&[corp("ALL_PROXY")], Some("http://proxy.corp:3128")),
        (&[corp("HTTPS_PROXY"), other("all_proxy")], Some("http://proxy.corp:3128")),
        (&[("HTTPS_PROXY", "proxy.corp:3128")], Some("http://proxy.corp:3128")),
        // these are about http, which is for this machine
        (&[corp("http_proxy"), corp("HTTP_PROXY")], None),
        (&[corp("HTTPS_PROXY"), ("NO_PROXY", "*")], None),
        (&[corp("HTTPS_PROXY"), ("NO_PROXY", "a.example, .microsoftonline.com")], None),
        (
            &[corp("HTTPS_PROXY"), ("no_proxy", "a.example"), ("NO_PROXY", "*")],
            Some("http://proxy.corp:3128"),
        ),
    ] {
        let found = egress("environment", environment);
        assert_eq!(proxy(&found), expected.map(|shown| (shown.into(), None)), "{environment:?}");
    }
    let Egress::Proxied { except, .. } = egress("environment", &[corp("HTTPS_PROXY")]) else { panic!() };
    assert_eq!(except, [Exception::Loopback]);
}

#[test]
fn a_login_is_decoded_and_never_shown() {
    for (written, login) in [
        ("http://us:p%40ss%3Aw%25rd@proxy.corp:3128", "us:p@ss:w%rd"),
        ("http://us@proxy.corp:3128", "us:"),
        ("http://us:%C3%A9@proxy.corp:3128", "us:é"),
    ] {
        let egress = egress("environment", &[("HTTPS_PROXY", written)]);
        assert_eq!(proxy(&egress), Some(("http://proxy.corp:3128".into(), Some(login))));
        assert!(!format!("{egress:?}").contains("us:"), "{egress:?}");
    }
    let over_it = [("OBO__IDENTITY_PROVIDERS__CONTOSO__PROXY", "http://us:hunter2@proxy.corp:3128")];
    assert_eq!(proxy(&egress("none", &over_it)).unwrap().1, Some("us:hunter2"));
}

#[test]
fn a_password_in_the_file_is_warned_of_and_masked() {
    let told = told(&by("http://us:hunter2@proxy.corp:3128"), &[]);
    assert!(told.starts_with("warning: a password stands in the configuration itself"), "{told}");
    assert!(told.contains("config.yaml:4:12") && told.contains("HTTPS_PROXY"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn what_is_no_proxy_is_refused_where_it_stands() {
    let form = "[write none, environment, or http://host:port]";
    for (written, expected) in [
        ("proxy.corp:3128", format!("`proxy.corp:3128` is not a proxy {form}")),
        ("enviroment", format!("`enviroment` is not a proxy {form}")),
        (
            "https://proxy.corp:3128",
            "`https://proxy.corp:3128` cannot be used: a proxy is not spoken to over TLS [write http://"
                .into(),
        ),
        (
            "socks5://proxy.corp:1080",
            format!("`socks5://proxy.corp:1080` cannot be used: the scheme must be http {form}"),
        ),
        ("http://proxy.corp", "`http://proxy.corp` cannot be used: the port is missing [write it out".into()),
        ("http://proxy.corp:0", "`http://proxy.corp:0` cannot be used: this is not a port".into()),
        ("http://proxy.corp:65536", "cannot be used: this is not a port".into()),
        ("http://proxy.corp:+1", "cannot be used: this is not a port".into()),
        ("http://:3128", "cannot be used: this is not a host".into()),
        ("'http://[::x]:3128'", "cannot be used: this is not a host".into()),
        ("http://a b:3128", "cannot be used: this is not a host".into()),
        ("http://proxy.corp:3128/way", "cannot be used: a path does not belong here".into()),
        (
            "http://u:%zz@proxy.corp:3128",
            "`***` cannot be used: its user name or password is not percent-encoded".into(),
        ),
        (
            "http://u:%0D%0A@proxy.corp:3128",
            "`***` cannot be used: its user name or password cannot be sent".into(),
        ),
        (
            "http://u%3Av:w@proxy.corp:3128",
            "`***` cannot be used: its user name or password cannot be sent".into(),
        ),
    ] {
        let told = lines(&by(written));
        assert!(told.len() == 1 && told[0].starts_with("4:12 error: "), "{written}\n{told:#?}");
        assert!(told[0].contains(&expected), "{written}\n{told:#?}");
    }
}

#[test]
fn a_variable_that_names_no_proxy_is_refused_unseen() {
    let told = told(&by("environment"), &[("HTTPS_PROXY", "https://us:hunter2@proxy.corp:3128")]);
    let expected =
        "error: the environment variable `HTTPS_PROXY` cannot be used: a proxy is not spoken to over TLS";
    assert!(told.starts_with(expected) && told.contains("config.yaml:4:12"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn an_exception_that_is_none_is_ignored_with_a_warning() {
    let proxy = ("HTTPS_PROXY", "http://proxy.corp:3128");
    let told = told(&by("environment"), &[proxy, ("NO_PROXY", "id.example,10.0.0.0/99")]);
    assert!(told.starts_with("warning: `10.0.0.0/99` in `NO_PROXY` is ignored"), "{told}");
    assert!(told.contains("config.yaml:4:12"), "{told}");
}

#[test]
fn nothing_goes_through_a_named_proxy_in_the_clear() {
    let entra = by("http://proxy.corp:3128").replace(
        "8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }",
        "8eaef023-2b34-4da1-9baa-8bc8c9d6a490, authority: 'http://127.0.0.1:1' }",
    );
    let oidc = "\
identity_providers:
  kc:
    oidc: { issuer: https://id.example, token_endpoint: 'http://localhost:1/token' }
    proxy: http://proxy.corp:3128
    client_id: us
    credential: { secret: { file: /run/secrets/client_secret } }
routes:
  orders: { match: /, upstream: http://127.0.0.1:8000, exchange: { audience: inventory } }
";
    for text in [entra.as_str(), oidc] {
        let told = lines(text);
        let expected = "4:12 error: an identity provider without TLS is not reached through a proxy";
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:#?}");
    }
    // through that of the environment it does not go either: this machine is reached directly
    let text = entra.replace("proxy: http://proxy.corp:3128", "proxy: environment");
    let loaded = load_text("config.yaml", &text, &env(&[("HTTPS_PROXY", "http://proxy.corp:3128")])).unwrap();
    assert_eq!(loaded.config.identity_providers[0].egress.proxy_to("127.0.0.1", 1), None);
}
