//! Which fields of a request go on, and which nobody can slip in or take away.

use super::Case;
use super::Stage;
use super::case;

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

fn seen(name: &str, fields: &str) -> Case {
    case(name, get("/x", fields)).seen("GET /x", "")
}

#[tokio::test]
async fn fields_of_one_connection_end_with_it() {
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let cases = vec![
        seen("keep-alive", "Keep-Alive: timeout=5\r\n").without(&["keep-alive"]),
        seen("proxy-connection", "Proxy-Connection: keep-alive\r\n").without(&["proxy-connection"]),
        seen("proxy-authorization", "Proxy-Authorization: Basic YTpi\r\n").without(&["proxy-authorization"]),
        seen("te", "TE: gzip\r\n").without(&["te"]),
        seen("te that takes trailers", "TE: gzip;q=1, trailers\r\nConnection: TE\r\n").with("te", "trailers"),
        seen("upgrade to h2c", h2c).without(&["upgrade", "http2-settings", "connection"]),
        seen("upgrade to h2c without its settings", "Connection: upgrade\r\nUpgrade: h2c\r\n")
            .without(&["upgrade"]),
        seen("upgrade to TLS", "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n").without(&["upgrade"]),
        seen("upgrade that Connection does not name", "Upgrade: websocket\r\n").without(&["upgrade"]),
        seen("what Connection names", "Connection: x-a, X-B\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n")
            .without(&["x-a", "x-b"])
            .with("x-c", "3"),
        seen("what two Connections name", "Connection: x-a\r\nConnection: ,x-b,,\r\nX-A: 1\r\nX-B: 2\r\n")
            .without(&["x-a", "x-b"]),
        seen("a field named in quotes is another", "Connection: \"x-a\"\r\nX-A: 1\r\n").with("x-a", "1"),
        seen(
            "our own, named away",
            "Connection: x-forwarded-for, x-forwarded-proto, forwarded, x-request-id, host\r\n",
        )
        .with("x-forwarded-for", "127.0.0.1")
        .with("x-forwarded-proto", "http"),
        case("close", get("/x", "Connection: close\r\n")).seen("GET /x", "").last(),
        case("close among others", get("/x", "Connection: x-a, CLOSE\r\nX-A: 1\r\n"))
            .seen("GET /x", "")
            .without(&["x-a"])
            .last(),
        case("close, and keep-alive after it", get("/x", "Connection: close\r\nConnection: keep-alive\r\n"))
            .seen("GET /x", "")
            .last(),
    ];
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn nobody_lies_about_where_a_request_came_from() {
    let mut cases = Vec::new();
    for name in [
        "X-Forwarded-For",
        "x-FORWARDED-for",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Uri",
        "X-Forwarded-User",
        "X_Forwarded_User",
        "X-Forwarded-Email",
        "X-Forwarded-Client-Cert",
        "X-Original-URL",
        "X-Original-Host",
        "X-Rewrite-URL",
        "X-Real-IP",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Envoy-Original-Path",
        "Forwarded",
    ] {
        let lie = "6.6.6.6";
        cases.push(
            case(name, get("/x", &format!("{name}: {lie}\r\n")))
                .seen("GET /x", "")
                .with("x-forwarded-for", "127.0.0.1"),
        );
    }
    let cases: Vec<Case> = cases
        .into_iter()
        .map(|case| {
            case.with("x-forwarded-host", "a")
                .with("forwarded", "for=127.0.0.1;host=a;proto=http")
                .without(&[
                    "x-forwarded-uri",
                    "x-forwarded-user",
                    "x-forwarded-email",
                    "x-forwarded-client-cert",
                    "x-original-host",
                ])
                .without(&["x-client-ip", "true-client-ip", "cf-connecting-ip", "x-envoy-original-path"])
        })
        .collect();
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn there_is_one_token_and_it_is_ours() {
    let stage = Stage::new().await;
    let token = stage.world.token("alice");
    let ours = |name: &str, fields: &str| case(name, get("/ours", &fields.replace("TOKEN", &token)));
    // the token that goes on is the same each time, as it is cached
    let warm = super::exchanged(
        stage.world.proxy,
        get("/ours", &format!("Authorization: Bearer {token}\r\nConnection: close\r\n")).as_bytes(),
    )
    .await;
    assert_eq!(super::statuses(&warm), [200]);
    let seen = stage.backend.take().unwrap();
    let token_b: &'static str = seen[0].values("authorization")[0].to_owned().leak();
    assert!(token_b.starts_with("Bearer ") && !token_b.contains(&token));
    let passed =
        |name: &str, fields: &str| ours(name, fields).seen("GET /ours", "").with("authorization", token_b);
    let cases = vec![
        ours("none", "").answered(401),
        ours("two", "Authorization: Bearer TOKEN\r\nAuthorization: Bearer TOKEN\r\n").answered(400),
        ours("two, one empty", "Authorization: Bearer TOKEN\r\nAuthorization:\r\n").answered(400),
        ours("two in one", "Authorization: Bearer TOKEN, Bearer TOKEN\r\n").answered(400),
        ours("two of two kinds", "Authorization: Basic YTpi\r\nAuthorization: Bearer TOKEN\r\n")
            .answered(400),
        ours("another kind", "Authorization: Basic YTpi\r\n").answered(401),
        ours("a tab for the space", "Authorization: Bearer\tTOKEN\r\n").answered(400),
        ours("something after it", "Authorization: Bearer TOKEN x\r\n").answered(400),
        ours("a comma after it", "Authorization: Bearer TOKEN,\r\n").answered(400),
        ours("quotes", "Authorization: Bearer \"TOKEN\"\r\n").answered(400),
        ours("with an underscore only", "Authorization_: Bearer TOKEN\r\n").answered(401),
        ours("as Proxy-Authorization", "Proxy-Authorization: Bearer TOKEN\r\n").answered(401),
        ours("as a cookie", "Cookie: access_token=TOKEN\r\n").answered(401),
        case("in the query", get(&format!("/ours?access_token={token}"), "")).refused(400),
        passed("one", "Authorization: Bearer TOKEN\r\n"),
        passed("in small letters", "authorization: bearer TOKEN\r\n"),
        passed("named by Connection", "Authorization: Bearer TOKEN\r\nConnection: authorization\r\n"),
        passed("an underscore beside it", "Authorization: Bearer TOKEN\r\nAuthorization_: x\r\n"),
        case("where nobody asks for one", get("/x", &format!("Authorization: Bearer {token}\r\n")))
            .seen("GET /x", "")
            .without(&["authorization"]),
        case(
            "two where nobody asks for one",
            get("/x", "Authorization: Bearer x\r\nAuthorization: Bearer y\r\n"),
        )
        .seen("GET /x", "")
        .without(&["authorization"]),
    ];
    stage.play(cases).await;
}

#[tokio::test]
async fn a_body_that_nobody_wanted_is_never_read_as_a_request() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    let chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let post = |target: &str, fields: &str, body: &str| {
        format!("POST {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}")
    };
    let length = format!("Content-Length: {}\r\n", hidden.len());
    let large = hidden.repeat(50_000);
    let cases = vec![
        case("401 with a length", post("/ours", &length, hidden)).answered(401),
        case("401 with chunks", post("/ours", "Transfer-Encoding: chunked\r\n", &chunk)).answered(401),
        case(
            "401 with more than is read for nothing",
            post("/ours", &format!("Content-Length: {}\r\n", large.len()), &large),
        )
        .refused(401),
        case(
            "401 with malformed chunks",
            post("/ours", "Transfer-Encoding: chunked\r\n", &format!("+5\r\n{hidden}")),
        )
        .refused(401),
        case("400 for a path", post("/x/../y", &length, hidden)).answered(400),
        case("405 for a method", post("/x", &length, hidden).replace("POST", "TRACE")).answered(405),
        case("417", post("/x", &format!("Expect: x\r\n{length}"), hidden)).refused(417),
        // who waits to be asked may send it or not: which of both, nobody can tell
        case("401 where 100 is awaited", post("/ours", &format!("Expect: 100-continue\r\n{length}"), hidden))
            .refused(401),
        case("upgrade that is not granted", get("/x", "Connection: upgrade\r\nUpgrade: h2c\r\n"))
            .seen("GET /x", ""),
    ];
    Stage::new().await.play(cases).await;
}
