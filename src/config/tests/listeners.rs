//! Where callers connect: what may be written there, and how mistakes are told.

use std::path::Path;

use crate::config::HostPattern;
use crate::config::ListenerAddress;
use crate::config::ProxyProtocol;
use crate::config::Scheme;
use crate::config::TlsVersion;
use crate::config::tests::FINE;
use crate::config::tests::config;
use crate::config::tests::lines;
use crate::config::tests::route;
use crate::domain::peer::AlternativeName;
use crate::domain::peer::Trust;

const CERTIFICATE: &str = "/etc/obo-proxy/t.crt";
const KEY: &str = "/etc/obo-proxy/t.key";

/// The fine configuration with one listener, `a`, of these settings, and further ones of its route.
fn listener(settings: &str, route: &str) -> String {
    let address = if settings.starts_with("address:") { "" } else { "address: '0.0.0.0:1', " };
    format!("{FINE}{route}listeners: {{ a: {{ {address}{settings} }} }}\n")
}

#[test]
fn one_certificate_may_stand_alone_and_several_in_a_list() {
    let text =
        format!("tls: {{ certificate: {CERTIFICATE}, key: {KEY}, min_version: 1.3, client_ca: {KEY} }}");
    let one = config(&listener(&text, ""));
    let listener_a = &one.listeners[0];
    assert_eq!(listener_a.scheme(), Scheme::Https);
    let tls = listener_a.tls.as_ref().unwrap();
    assert_eq!((tls.min_version, tls.client_ca.as_deref()), (TlsVersion::Tls13, Some(Path::new(KEY))));
    assert_eq!(tls.certificates.len(), 1);
    let text = format!(
        "tls: {{ certificates: [{{ certificate: {CERTIFICATE}, key: {KEY}, server_names: [A.example, '*.b.example'] }}, {{ certificate: {CERTIFICATE}, key: {KEY} }}] }}"
    );
    let several = config(&listener(&text, ""));
    let tls = several.listeners[0].tls.as_ref().unwrap();
    assert_eq!((tls.min_version, tls.certificates.len()), (TlsVersion::Tls12, 2));
    let names = [HostPattern::Exact("a.example".into()), HostPattern::Wildcard(".b.example".into())];
    assert_eq!(tls.certificates[0].server_names, names);
    assert_eq!(tls.certificates[1].server_names, []);
    let text = format!("tls: {{ certificates: {{ certificate: {CERTIFICATE}, key: {KEY} }} }}");
    assert_eq!(config(&listener(&text, "")).listeners[0].tls.as_ref().unwrap().certificates.len(), 1);
    assert_eq!(config(FINE).listeners[0].scheme(), Scheme::Http);
}

#[test]
fn a_listener_may_be_a_unix_socket_and_trust_those_who_connect_there() {
    let config = config(&listener(
        "address: 'unix:/run/x.sock', trusted_proxies: ['unix:', 10.0.0.0/8], proxy_protocol: true",
        "",
    ));
    let listener = &config.listeners[0];
    assert_eq!(listener.address, ListenerAddress::Unix("/run/x.sock".into()));
    assert_eq!(listener.address.to_string(), "unix:/run/x.sock");
    assert_eq!(listener.proxy_protocol, ProxyProtocol::Required);
    let trust = |address: Option<&str>| {
        listener.trusted_proxies.trust(address.map(|address| address.parse().unwrap()))
    };
    assert_eq!(trust(None), Trust::Trusted);
    assert_eq!(trust(Some("10.1.2.3")), Trust::Trusted);
    assert_eq!(trust(Some("::ffff:10.1.2.3")), Trust::Trusted);
    assert_eq!(trust(Some("192.0.2.1")), Trust::Untrusted);
}

#[test]
fn a_route_names_certificates_by_subject_and_by_names_of_three_kinds() {
    let tls = format!("tls: {{ certificate: {CERTIFICATE}, key: {KEY}, client_ca: {KEY} }}");
    let sans = "[API.example, 'spiffe://example/a', ops@example]";
    let subjects = r"['CN=gateway,O=Example Ltd', 'CN=a\, b+UID=7,DC=example', '2.5.4.12=#0c024472']";
    let require =
        format!("    require: {{ client_certificate: {{ subjects: {subjects}, sans: {sans} }} }}\n");
    let config = config(&listener(&tls, &require));
    let required = route(&config, "orders").client_certificate.as_ref().unwrap();
    assert_eq!(
        required.subjects,
        ["CN=gateway,O=Example Ltd", r"CN=a\, b+UID=7,DC=example", "2.5.4.12=#0c024472"]
    );
    let names = [
        AlternativeName::Dns("api.example".into()),
        AlternativeName::Uri("spiffe://example/a".into()),
        AlternativeName::Email("ops@example".into()),
    ];
    assert_eq!(required.names, names);
}

#[test]
fn a_certificate_is_all_that_an_anonymous_route_can_require() {
    let tls = format!("tls: {{ certificate: {CERTIFICATE}, key: {KEY}, client_ca: {KEY} }}");
    let text = |require: &str, defaults: &str| {
        format!(
            "{}  open: {{ match: /open, upstream: 'http://127.0.0.1', auth: anonymous{require} }}\n{defaults}",
            FINE.replace("match: /", "match: /orders")
        ) + &format!("listeners: {{ a: {{ address: '0.0.0.0:1', {tls} }} }}\n")
    };
    let demand = "require: { client_certificate: { subjects: CN=a } }";
    let own = config(&text(&format!(", {demand}"), ""));
    assert!(route(&own, "open").client_certificate.is_some());
    assert!(route(&own, "orders").client_certificate.is_none());
    let everywhere = config(&text("", &format!("defaults: {{ {demand} }}\n")));
    assert!(everywhere.routes.iter().all(|route| route.client_certificate.is_some()));
    let told = lines(&text(", require: { client_certificate: { subjects: CN=a }, scopes: [a] }", ""));
    assert!(
        told.iter().any(|line| line.contains("`require` and `auth: anonymous` exclude each other")),
        "{told:?}"
    );
}

#[test]
fn every_mistake_is_told_with_position_and_advice() {
    let pair = format!("certificate: {CERTIFICATE}, key: {KEY}");
    let tls = |text: &str| listener(&format!("tls: {{ {text} }}"), "");
    let mutual = format!("tls: {{ {pair}, client_ca: {KEY} }}");
    let require = |text: &str| listener(&mutual, &format!("    require: {{ client_certificate: {text} }}\n"));
    let unix = |text: &str| listener(&format!("address: 'unix:/x', {text}"), "");
    let sockets = "11:28 error: `unix:{}` is not the path of a socket [write unix: and an absolute path, as in unix:/run/obo-proxy/http.sock]";
    let types = "CN, L, ST, O, OU, C, STREET, DC, UID, serialNumber, emailAddress";
    let cases: Vec<(String, String)> = vec![
        (tls(&format!("key: {KEY}")), "11:41 error: `certificate` is missing in `listeners.a.tls` [write the path of a PEM file with the certificate]".into()),
        (tls(&format!("certificate: {CERTIFICATE}")), "11:41 error: `key` is missing in `listeners.a.tls` [write the path of a PEM file with the private key]".into()),
        (tls(&format!("{pair}, certificates: [{{ {pair} }}]")), "11:48 error: `certificate` and `certificates` exclude each other [one certificate stands here, several in `certificates`: leave one of the two out]\n11:83 error: `key` and `certificates` exclude each other [one certificate stands here, several in `certificates`: leave one of the two out]".into()),
        (tls("certificates: []"), "11:48 error: this list is empty [write [{ certificate: PATH, key: PATH }]]".into()),
        (tls("certificates: [{ key: /k }]"), "11:63 error: `certificate` is missing in `listeners.a.tls.certificates[0]` [write the path of a PEM file with the certificate]".into()),
        (tls(&format!("{pair}, min_version: 1.1")), "11:123 error: `1.1` is not `1.2` or `1.3` [did you mean `1.2`?]".into()),
        (
            tls(&format!("certificates: [{{ {pair}, server_names: [a.example] }}, {{ {pair}, server_names: [b.example, A.example] }}]")),
            "11:246 error: `A.example` is claimed by the certificate of config.yaml:11 too [each host sees one certificate]".into(),
        ),
        (
            tls(&format!("certificates: [{{ {pair}, server_names: 127.0.0.1 }}]")),
            "11:141 error: `127.0.0.1` is no host name [callers name no addresses: the first certificate is for those]".into(),
        ),
        (unix("proxy_protocol: true"), "11:55 error: `proxy_protocol` needs `trusted_proxies` [add trusted_proxies: [\"unix:\"]: without it, whoever connects is turned away]".into()),
        (
            listener("proxy_protocol: true", ""),
            "11:57 error: `proxy_protocol` needs `trusted_proxies` [add trusted_proxies with the network of the load balancer: without it, whoever connects is turned away]".into(),
        ),
        (
            listener("proxy_protocol: true, trusted_proxies: 'unix:'", ""),
            "11:57 error: `proxy_protocol` needs `trusted_proxies` [add trusted_proxies with the network of the load balancer: without it, whoever connects is turned away]".into(),
        ),
        (
            listener("trusted_proxies: 'unix:'", ""),
            "11:58 warning: `unix:` has no effect here [this listener is no Unix socket: leave it out]".into(),
        ),
        (
            unix("trusted_proxies: 10.0.0.0/8"),
            "11:56 warning: networks have no effect here [who connects through a Unix socket has no address: write unix: to trust them]".into(),
        ),
        (listener("address: 'unix:/'", ""), sockets.replace("{}", "/")),
        (listener("address: 'unix:/a/'", ""), sockets.replace("{}", "/a/")),
        (listener("address: 'unix:/a/..'", ""), sockets.replace("{}", "/a/..")),
        (
            listener(&format!("address: 'unix:/{}'", "x".repeat(107)), ""),
            "11:28 error: the path of a socket has 107 bytes at most".into(),
        ),
        (
            format!("{FINE}listeners: {{ a: {{ address: 'unix:/x' }}, b: {{ address: 'unix:/x' }} }}\n"),
            "11:55 error: listener `b` and listener `a` cannot both bind this socket".into(),
        ),
        (require("{}"), "11:16 error: this demands nothing [add subjects or sans; that one is shown at all, the listener's tls.client_ca sees to]".into()),
        (require("{ subjects: [] }"), "11:38 error: this list is empty [leave it out for the default]".into()),
        (
            require("{ subjects: gateway }"),
            "11:48 error: `gateway` is not the text of a subject (RFC 4514) [write it as in CN=gateway,O=Example]".into(),
        ),
        (
            require("{ subjects: 'CN=gateway, O=Example' }"),
            "11:48 error: `CN=gateway, O=Example` is not the text of a subject (RFC 4514) [leave out the spaces after commas and around =]".into(),
        ),
        (
            require("{ subjects: 'O = Example' }"),
            "11:48 error: `O = Example` is not the text of a subject (RFC 4514) [leave out the spaces after commas and around =]".into(),
        ),
        (
            require("{ subjects: cn=gateway }"),
            format!("11:48 error: `cn=gateway` is not the text of a subject (RFC 4514) [the types are {types}; others are written in numbers]"),
        ),
        (
            require("{ subjects: 2.5.4.12=Dr }"),
            "11:48 error: `2.5.4.12=Dr` is not the text of a subject (RFC 4514) [the value of a type in numbers is # and the hexadecimal digits of its DER form]".into(),
        ),
        (
            require("{ sans: '*.example' }"),
            "11:44 error: `*.example` is no single name [write the name as it stands in the certificate, or name a certificate by its URI]".into(),
        ),
        (
            require("{ sans: 'a b' }"),
            "11:44 error: `a b` is not a host [write a host name without a port, or *. and one for every host below it]".into(),
        ),
        (
            listener(&format!("tls: {{ {pair} }}"), "    require: { client_certificate: { subjects: CN=a } }\n"),
            "11:16 error: the listener `a` serves this route, and asks its callers for no certificate [add tls.client_ca there, or name the listeners of the route that have it]".into(),
        ),
        (
            listener(&format!("{mutual} }}, b: {{ address: '0.0.0.0:2'"), "    require: { client_certificate: { subjects: CN=a } }\n"),
            "11:16 error: the listener `b` serves this route, and asks its callers for no certificate [add tls.client_ca there, or name the listeners of the route that have it]".into(),
        ),
    ];
    let told = cases.iter().map(|(text, _)| lines(text).join("\n")).collect::<Vec<_>>().join("\n");
    let expected = cases.iter().map(|(_, expected)| expected.as_str()).collect::<Vec<_>>().join("\n");
    assert_eq!(told, expected);
}

#[test]
fn a_route_that_names_its_listeners_may_demand_a_certificate_there() {
    let mutual = format!(
        "tls: {{ certificate: {CERTIFICATE}, key: {KEY}, client_ca: {KEY} }} }}, b: {{ address: '0.0.0.0:2'"
    );
    let route = "    listeners: [a]\n    require: { client_certificate: { subjects: CN=a } }\n";
    assert_eq!(lines(&listener(&mutual, route)), [""; 0]);
}
