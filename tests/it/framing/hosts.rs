//! Hosts: exactly one, and a valid one.

use super::Stage;
use super::case;

#[tokio::test]
async fn there_is_one_host_and_it_is_valid() {
    let hosts = |fields: &str| format!("GET /x HTTP/1.1\r\n{fields}\r\n");
    let mut cases = vec![
        case("none", hosts("")).refused(400),
        case("none, but another field", hosts("X-Forwarded-Host: a\r\n")).refused(400),
        case("two", hosts("Host: a\r\nHost: b\r\n")).refused(400),
        case("two that are the same", hosts("Host: a\r\nHost: a\r\n")).refused(400),
        case("two in other letters", hosts("Host: a\r\nX: y\r\nHOST: a\r\n")).refused(400),
        case("two, one empty", hosts("Host: a\r\nHost:\r\n")).refused(400),
        case("two of HTTP/1.0", "GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n").refused(400),
        case("a space before the colon", hosts("Host : a\r\n")).refused(400),
        case("on two lines", hosts("Host: a\r\n b\r\n")).refused(400),
        case("with a carriage return", hosts("Host: a\rb\r\n")).refused(400),
        case("with a NUL", hosts("Host: a\0b\r\n")).refused(400),
        case("two with a URL", "GET http://a/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").refused(400),
        case("none with a URL", "GET http://a/x HTTP/1.1\r\n\r\n").refused(400),
        case("empty with a URL", "GET http://a/x HTTP/1.1\r\nHost:\r\n\r\n").refused(400),
    ];
    for host in [
        "",
        "a b",
        "a\tb",
        "a,b",
        "a;b",
        "a/b",
        "a\\b",
        "a?b",
        "a#b",
        "a@b",
        "@a",
        "a@",
        "u:p@a",
        "http://a",
        "a:",
        "a:b",
        "a:80:80",
        "a:+80",
        "a:-1",
        "a:65536",
        "a:0x50",
        ":80",
        "::1",
        "[::1",
        "::1]",
        "[a]",
        "[::1]x",
        "[::1]:",
        "[fe80::1%25lo]",
        "a..b",
        ".a",
        "%61",
        "a%00",
        "é",
        "<a>",
        "a'b",
        "a\"b",
        "{a}",
        "a|b",
    ] {
        cases.push(case(format!("host {host:?}"), hosts(&format!("Host: {host}\r\n"))).refused(400));
    }
    for host in [
        "a",
        "A",
        "a:80",
        "a.",
        "a.b.example",
        "a-b_c~d",
        "127.0.0.1",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:8080",
        "xn--e1afmkfd",
    ] {
        cases.push(
            case(format!("host {host:?}"), hosts(&format!("Host: {host}\r\n")))
                .seen("GET /x", "")
                .with("host", host),
        );
    }
    cases.push(
        case("an underscore beside it", hosts("Host: a\r\nHo_st: b\r\n"))
            .seen("GET /x", "")
            .with("host", "a"),
    );
    cases.push(case("named by Connection", hosts("Host: a\r\nConnection: host\r\n")).seen("GET /x", ""));
    Stage::new().await.play(cases).await;
}
