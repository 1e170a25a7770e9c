//! Request targets: a path that can be read in two ways is refused, and so is one that is no path.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Case;
use super::NEXT;
use super::Stage;
use super::case;
use super::rest;
use super::statuses;

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

#[tokio::test]
async fn a_path_with_two_readings_goes_nowhere() {
    // each is a way to say /admin, or to leave where it begins, to some server
    let paths = [
        "/x/../admin",
        "/x/..",
        "/..",
        "/../admin",
        "/./admin",
        "/x/./y",
        "/x/.",
        "/.",
        "/%2e",
        "/%2E%2E",
        "/x/%2e%2e/admin",
        "/x/.%2e/admin",
        "/x/%2e./admin",
        "/x/%2E%2e/admin",
        "/x/..;/admin",
        "/x/..;a=b/admin",
        "/x/.;/admin",
        "/x/..%3b/admin",
        "/x/..%3B/admin",
        "/x/%2e%2e;/admin",
        "/x/%2e%2e%3b/admin",
        "/x/;/../admin",
        "/x;/../admin",
        "/x/..%2fadmin",
        "/x/..%2Fadmin",
        "/x%2f..%2fadmin",
        "/x/%2e%2e%2fadmin",
        "/x%2fy",
        "/%2fadmin",
        "/%2Fadmin",
        "/%2f%2fadmin",
        "//admin",
        "///admin",
        "/x//admin",
        "/x//../admin",
        "/x/..//admin",
        "//x/../admin",
        "/x/",
        "/\\admin",
        "/x\\..\\admin",
        "/x/..\\admin",
        "\\admin",
        "/x/%5c..%5cadmin",
        "/x/..%5cadmin",
        "/x/..%5Cadmin",
        "/%5cadmin",
        "/x/%252e%252e/admin",
        "/x/%252E%252E/admin",
        "/x/..%252fadmin",
        "/x%252fadmin",
        "/x/%25252e%25252e/admin",
        "/x/%252e%252e%252fadmin",
        "/x/%255c..%255cadmin",
        "/%2561dmin",
        "/x/%25%32%65/admin",
        "/x/%00",
        "/admin%00",
        "/x/%00/../admin",
        "/x%2500",
        "/x/%0d%0aX:%20y",
        "/x%0a",
        "/x%0d",
        "/x%09",
        "/x%7f",
        "/x/%",
        "/x/%2",
        "/x/%zz",
        "/x/%u002e%u002e/admin",
        "/x/%%32%65",
        "/x/%c0%ae%c0%ae/admin",
        "/x/%c0%af..%c0%afadmin",
        "/x/%e0%80%ae%e0%80%ae/admin",
        "/x/%f0%80%80%ae/admin",
        "/x/%ff",
        "/x/%c3",
        "/admin;x=1",
        "/admin;/y",
        "/admin%3bx",
        "/;/admin",
        "/;x=1/admin",
    ];
    let is_harmless = |path: &str| path == "/x/";
    let refused = paths.into_iter().filter(|path| !is_harmless(path));
    let mut cases: Vec<Case> = refused.map(|path| case(path, get(path)).answered(400)).collect();
    cases.retain(|case| case.name != "\\admin");
    cases.extend([
        // no path at all: hyper's parser says so
        case("\\admin", get("\\admin")).refused(400),
        case("/x/", get("/x/")).seen("GET /x/", ""),
        case("escapes that need none", get("/%78/%2d%7e")).seen("GET /x/-~", ""),
        case("small hexadecimal digits", get("/x/%c3%a9")).seen("GET /x/%C3%A9", ""),
        case("dots in a name", get("/x/..y/z../.w/...")).seen("GET /x/..y/z../.w/...", ""),
        case("dots and slashes in the query", get("/x?y=../..//&z=%2e%2f%00"))
            .seen("GET /x?y=../..//&z=%2e%2f%00", ""),
        case("a question mark in the query", get("/x?y?z")).seen("GET /x?y?z", ""),
        case("a percent sign that was encoded", get("/x/100%25")).seen("GET /x/100%25", ""),
        case("parameters", get("/x;a=b/y")).seen("GET /x;a=b/y", ""),
    ]);
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn a_route_is_not_left_by_other_letters() {
    // another path to us, and none that leads to what is protected
    let cases = vec![
        case("/admin", get("/admin")).answered(401),
        case("/admin/", get("/admin/")).answered(401),
        case("/admin/x", get("/admin/x")).answered(401),
        case("/%61dmin", get("/%61dmin")).answered(401),
        case("/%61%64%6d%69%6e/x", get("/%61%64%6d%69%6e/x")).answered(401),
        case("/admin?x", get("/admin?x")).answered(401),
        case("http://a/admin", get("http://a/admin")).answered(401),
    ];
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn a_fragment_is_part_of_no_target() {
    let text = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 19\r\n\r\n# x\nGET /y#z HTTP/1";
    let cases = vec![
        case("after a path", get("/x#y")).refused(400),
        case("an empty one", get("/x#")).refused(400),
        case("after the first slash", get("/#")).refused(400),
        case("after a query", get("/x?y#z")).refused(400),
        case("after an empty query", get("/x?#z")).refused(400),
        case("with a path in it", get("/x#/../admin")).refused(400),
        case("with a question mark in it", get("/x#?y")).refused(400),
        case("two", get("/x#y#z")).refused(400),
        case("after an authority", get("http://a#x")).refused(400),
        case("after an authority and a path", get("http://a/x#y")).refused(400),
        case("instead of a path", get("#x")).refused(400),
        case("of a POST", "POST /x#y HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").refused(400),
        case("of HTTP/1.0", "GET /x#y HTTP/1.0\r\nHost: a\r\n\r\n").refused(400),
        case("after an empty line", [b"\r\n", &get("/x#y")[..]].concat()).refused(400),
        case("on a line that ends with a line feed alone", "GET /x#y HTTP/1.1\nHost: a\n\n").refused(400),
        case("where only the blank is missing", "GET /x# HTTP/1.1\r\nHost:a\r\n\r\n").refused(400),
        case("of the second request", [get("/x"), get("/y#z")].concat()).refused_after("GET /x", ""),
        case("in a field", "GET /x HTTP/1.1\r\nHost: a\r\nCookie: a=#b; c=/x#y\r\n\r\n")
            .seen("GET /x", "")
            .with("cookie", "a=#b; c=/x#y"),
        case("in the method", "G#T /x HTTP/1.1\r\nHost: a\r\n\r\n").seen("G#T /x", ""),
        case("escaped", get("/x%23y")).seen("GET /x%23y", ""),
        case("in a body", text).seen("POST /x", "# x\nGET /y#z HTTP/1"),
    ];
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn a_fragment_is_found_wherever_the_bytes_are_cut() {
    let stage = Stage::new().await;
    let request = get("/x?y#z");
    for cut in 1..request.len() {
        let (first, second) = request.split_at(cut);
        let mut socket = TcpStream::connect(stage.world.proxy).await.unwrap();
        socket.set_nodelay(true).unwrap();
        socket.write_all(first).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
        socket.write_all(second).await.unwrap();
        socket.write_all(NEXT.as_bytes()).await.unwrap();
        let answer = rest(&mut socket).await;
        assert_eq!(statuses(&answer), [400], "cut at {cut}: {}", answer.escape_ascii());
    }
    assert!(stage.backend.take().unwrap().is_empty());
}

#[tokio::test]
async fn a_target_is_a_path_or_a_url_of_this_host() {
    let cases = vec![
        case("a URL", get("http://a/x?y")).seen("GET /x?y", "").with("host", "a"),
        case("a URL without a path", get("http://a")).seen("GET /", ""),
        case("a URL with a query only", get("http://a?x")).seen("GET /?x", ""),
        case("a URL in capitals", get("HTTP://A/x")).seen("GET /x", ""),
        case("another host", get("http://b/x")).refused(400),
        case("another port", get("http://a:80/x")).refused(400),
        case("another scheme", get("ftp://a/x")).refused(400),
        case("a file", get("file:///etc/passwd")).refused(400),
        case("a user", get("http://u@a/x")).refused(400),
        case("a user and a password", get("http://u:p@a/x")).refused(400),
        case("a host and another behind it", get("http://a@b/x")).refused(400),
        case("no host", get("http:///x")).refused(400),
        case("no slashes", get("http:x")).refused(400),
        case("one slash", get("http:/x")).refused(400),
        case("a bad port", get("http://a:x/x")).refused(400),
        case("a backslash for a slash", get("http:\\\\a\\x")).refused(400),
        case("two slashes in its path", get("http://a//x")).answered(400),
        case("dots in its path", get("http://a/../x")).answered(400),
        case("slashes and a host", get("//a/x")).answered(400),
        case("slashes and another host", get("//b/x")).answered(400),
        case("a host", get("a")).answered(400),
        case("another host alone", get("b")).refused(400),
        case("a host and a port", get("a:80")).refused(400),
        case("a path without a slash", get("x/y")).refused(400),
        case("a query alone", get("?x")).refused(400),
        case("a star", get("*")).answered(400),
        case("a star of OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").answered(400),
        case("a star and a path", get("*/x")).refused(400),
        case("CONNECT to a host", "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n").answered(405),
        case("CONNECT to a path", "CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n").answered(405),
        case("TRACE", "TRACE /x HTTP/1.1\r\nHost: a\r\n\r\n").answered(405),
        case("a token in the query", get("/x?access_token=y")).refused(400),
        case("a token in the query, escaped", get("/x?y=z&acc%65ss_token=y")).refused(400),
    ];
    Stage::new().await.play(cases).await;
}

/// A connection may carry the requests of many callers, one after the other.
#[tokio::test]
async fn what_one_request_holds_decides_nothing_about_the_next() {
    let stage = Stage::new().await;
    let of_length = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 15\r\n\r\n\nGET /next#top\n";
    let in_chunks = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                      f\r\n\nGET /next#top\n\r\n0\r\n\r\n";
    let in_a_field = b"GET /x HTTP/1.1\r\nHost: a\r\nX-Note: see GET /next#top\r\n\r\n";
    for first in [&of_length[..], &in_chunks[..], &in_a_field[..]] {
        let line = if first.starts_with(b"POST") { "POST /x" } else { "GET /x" };
        stage.check_passing(first, &[line, "GET /next"]).await;
    }
    // at the end of a body a fragment goes unnoticed, and nobody sees it
    let glued = [&of_length[..], &get("/y#z")].concat();
    stage.check_passing(&glued, &["POST /x", "GET /y", "GET /next"]).await;
}
