//! Request lines, fields as such, and how a head says where its body ends.

use super::Case;
use super::Stage;
use super::case;

/// A POST with these lines of fields and that body.
fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes()
}

#[tokio::test]
async fn request_lines_are_read_one_way_or_not_at_all() {
    let line = |name: &str, line: &str| case(name, format!("{line}\r\nHost: a\r\n\r\n"));
    let mut cases = vec![
        line("one word", "GARBAGE").refused(400),
        line("two words, as HTTP/0.9 has", "GET /x").refused(400),
        line("no target", "GET  HTTP/1.1").refused(400),
        line("no method", " /x HTTP/1.1").refused(400),
        line("a space in the target", "GET /x y HTTP/1.1").refused(400),
        line("two spaces before the target", "GET  /x HTTP/1.1").refused(400),
        line("two spaces after the target", "GET /x  HTTP/1.1").refused(400),
        line("a tab before the target", "GET\t/x HTTP/1.1").refused(400),
        line("a tab after the target", "GET /x\tHTTP/1.1").refused(400),
        line("a space before the method", " GET /x HTTP/1.1").refused(400),
        line("a space after the version", "GET /x HTTP/1.1 ").refused(400),
        line("a tab after the version", "GET /x HTTP/1.1\t").refused(400),
        line("something after the version", "GET /x HTTP/1.1 y").refused(400),
        line("a carriage return after the version", "GET /x HTTP/1.1\r").refused(400),
        line("a carriage return before the target", "GET \r/x HTTP/1.1").refused(400),
        line("a method in parentheses", "G(T /x HTTP/1.1").refused(400),
        line("a method with a colon", "G:T /x HTTP/1.1").refused(400),
        line("a method with a NUL", "G\0T /x HTTP/1.1").refused(400),
        line("a method past ASCII", "GÉT /x HTTP/1.1").refused(400),
        line("another protocol", "GET /x HTTPS/1.1").refused(400),
        line("a protocol in small letters", "GET /x http/1.1").refused(400),
        line("no slash in the version", "GET /x HTTP1.1").refused(400),
        line("no minor version", "GET /x HTTP/1").refused(400),
        line("two digits", "GET /x HTTP/1.10").refused(400),
        line("leading zeros", "GET /x HTTP/01.1").refused(400),
        line("a comma", "GET /x HTTP/1,1").refused(400),
    ];
    for version in ["0.9", "1.2", "1.9", "2.0", "3.0", "9.9"] {
        cases.push(line(&format!("version {version}"), &format!("GET /x HTTP/{version}")).refused(400));
    }
    for byte in [0, 1, 8, 0x0b, 0x1f, 0x7f] {
        let sent = [b"GET /x", &[byte][..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        cases.push(case(format!("byte {byte} in the target"), sent).refused(400));
    }
    cases.extend([
        line("a method nobody knows", "BREW /x HTTP/1.1").seen("BREW /x", ""),
        line("a method in small letters is another", "get /x HTTP/1.1").seen("get /x", ""),
        case("an empty line before it", "\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n").seen("GET /x", ""),
        case("HTTP/1.0", "GET /x HTTP/1.0\r\nHost: a\r\n\r\n").seen("GET /x", "").last(),
        case("HTTP/1.0 without a Host", "GET /x HTTP/1.0\r\n\r\n").seen("GET /x", "").last(),
        case("HTTP/1.0 that goes on", "GET /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .seen("GET /x", ""),
    ]);
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn fields_are_read_one_way_or_not_at_all() {
    let fields = |name: &str, fields: &str| case(name, format!("GET /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let mut cases = vec![
        fields("no colon", "X\r\n").refused(400),
        fields("no name", ": y\r\n").refused(400),
        fields("a space before the colon", "X : y\r\n").refused(400),
        fields("a tab before the colon", "X\t: y\r\n").refused(400),
        fields("a space in the name", "X Y: z\r\n").refused(400),
        fields("a slash in the name", "X/Y: z\r\n").refused(400),
        fields("parentheses in the name", "X(Y): z\r\n").refused(400),
        fields("a NUL in the name", "X\0: z\r\n").refused(400),
        fields("a name past ASCII", "É: z\r\n").refused(400),
        fields("a line that goes on after a space", "X: y\r\n z\r\n").refused(400),
        fields("a line that goes on after a tab", "X: y\r\n\tz\r\n").refused(400),
        fields("a value on the next line", "X:\r\n y\r\n").refused(400),
        fields("a line of blanks", "X: y\r\n \r\n").refused(400),
        fields("a carriage return in a value", "X: y\rZ: w\r\n").refused(400),
        fields("two carriage returns", "X: y\r\r\n").refused(400),
        fields("a line feed after a name", "X\n: y\r\n").refused(400),
        fields("a line feed and a fold", "X: y\n z\r\n").refused(400),
        case("the first line begins with a space", "GET /x HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n")
            .refused(400),
        case("the first line begins with a tab", "GET /x HTTP/1.1\r\n\tHost: a\r\n\r\n").refused(400),
    ];
    for byte in [0, 1, 8, 0x0b, 0x0c, 0x1b, 0x1f, 0x7f] {
        let sent = [b"GET /x HTTP/1.1\r\nHost: a\r\nX: y", &[byte][..], b"z\r\n\r\n"].concat();
        cases.push(case(format!("byte {byte} in a value"), sent).refused(400));
    }
    let many = "X: y\r\n".repeat(200);
    let long = format!("X: {}\r\n", "y".repeat(100_000));
    let name = format!("{}: y\r\n", "X".repeat(100_000));
    cases.extend([
        fields("200 fields", &many).refused(431),
        fields("a value of 100 kB", &long).refused(431),
        fields("a name of 100 kB", &name).refused(431),
        case("a target of 100 kB", format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(100_000)))
            .refused(431),
        fields("blanks around a value", "X: \t y \t\r\n").seen("GET /x", "").with("x", "y"),
        fields("no blank before it", "X:y\r\n").seen("GET /x", "").with("x", "y"),
        fields("no value", "X:\r\n").seen("GET /x", "").with("x", ""),
        fields("a tab in a value", "X: y\tz\r\n").seen("GET /x", "").with("x", "y\tz"),
        fields("a value past ASCII", "X: é\r\n").seen("GET /x", "").with("x", "é"),
        fields("every sign of a name", "!#$%&'*+-.^`|~: y\r\n")
            .seen("GET /x", "")
            .with("!#$%&'*+-.^`|~", "y"),
        // what we send on ends its lines as it should
        case("lines that end with a line feed alone", "GET /x HTTP/1.1\nHost: a\nX: y\n\n")
            .seen("GET /x", "")
            .with("x", "y"),
    ]);
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn a_length_is_digits_and_said_once() {
    let mut cases = Vec::new();
    for value in [
        "",
        " ",
        "+5",
        "-5",
        "- 5",
        "5 5",
        "5, 5",
        "5,6",
        ",5",
        "5,",
        "5;5",
        "0x5",
        "5a",
        "a",
        "5.0",
        "1e1",
        "5_0",
        "\"5\"",
        "٥",
        "5\u{b}",
        "18446744073709551616",
        "99999999999999999999999999",
        "-18446744073709551611",
    ] {
        cases.push(
            case(format!("length {value:?}"), post(&format!("Content-Length: {value}\r\n"), "hello"))
                .refused(400),
        );
    }
    let lengths = |name: &str, fields: &str| case(name, post(fields, "hello"));
    cases.extend([
        // more than hyper counts to
        lengths("2^64 - 1", "Content-Length: 18446744073709551615\r\n").refused(431),
        lengths("two that differ", "Content-Length: 5\r\nContent-Length: 6\r\n").refused(400),
        lengths("two that differ, apart", "Content-Length: 5\r\nX: y\r\ncontent-length: 4\r\n").refused(400),
        lengths("one good, one empty", "Content-Length: 5\r\nContent-Length:\r\n").refused(400),
        lengths("one good, one signed", "Content-Length: 5\r\nContent-Length: +5\r\n").refused(400),
        lengths("a space before the colon", "Content-Length : 5\r\n").refused(400),
        lengths("on the next line", "Content-Length:\r\n 5\r\n").refused(400),
        lengths("with a carriage return", "Content-Length: 5\rX: y\r\n").refused(400),
        lengths("with a NUL", "Content-Length: 5\0\r\n").refused(400),
        lengths("said twice, the same", "Content-Length: 5\r\nContent-Length: 5\r\n")
            .seen("POST /x", "hello")
            .with("content-length", "5"),
        lengths("leading zeros", "Content-Length: 0005\r\n").seen("POST /x", "hello"),
        lengths("blanks around it", "Content-Length: \t5 \r\n").seen("POST /x", "hello"),
        // as an underscore makes another name of it, there is no body, and what follows is no request
        case("with an underscore", post("Content_Length: 5\r\n", "\r\n"))
            .seen("POST /x", "")
            .without(&["content_length"]),
        case("none", post("", "")).seen("POST /x", ""),
        case("zero", post("Content-Length: 0\r\n", "")).seen("POST /x", ""),
        case("of a GET", "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .seen("GET /x", "hello"),
        case("of a DELETE", "DELETE /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .seen("DELETE /x", "hello"),
        case(
            "a body that reads like a request",
            post("Content-Length: 32\r\n", "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"),
        )
        .seen("POST /x", "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n"),
        case("more than that follows", post("Content-Length: 3\r\n", "heyGARBAGE\r\n\r\n"))
            .refused_after("POST /x", "hey"),
        case("a body without a length", post("", "hello\r\n\r\n")).refused_after("POST /x", ""),
        case("a body of a GET without a length", "GET /x HTTP/1.1\r\nHost: a\r\n\r\nhello\r\n\r\n")
            .refused_after("GET /x", ""),
    ]);
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn the_only_transfer_coding_is_chunked_and_said_once() {
    const BODY: &str = "5\r\nhello\r\n0\r\n\r\n";
    let coding = |name: &str, fields: &str| case(name, post(fields, BODY));
    let mut cases = Vec::new();
    for (value, status) in [
        ("identity", 400),
        ("gzip", 400),
        ("xchunked", 400),
        ("chunkedx", 400),
        ("chunked;q=1", 400),
        ("\"chunked\"", 400),
        ("'chunked'", 400),
        ("chunked, identity", 400),
        ("chunked, gzip", 400),
        ("chunked chunked", 400),
        ("chu nked", 400),
        ("chunked\u{b}", 400),
        ("chunked\0", 400),
        ("", 400),
        ("chunk", 400),
        ("gzip, chunked", 501),
        ("identity, chunked", 501),
        ("chunked, chunked", 501),
        ("x, y, chunked", 501),
        (", chunked", 501),
    ] {
        cases.push(
            coding(&format!("coding {value:?}"), &format!("Transfer-Encoding: {value}\r\n")).refused(status),
        );
    }
    let two =
        |first: &str, second: &str| format!("Transfer-Encoding: {first}\r\nTransfer-Encoding: {second}\r\n");
    let chunked = "Transfer-Encoding: chunked\r\n";
    cases.extend([
        coding("chunked twice", &two("chunked", "chunked")).refused(501),
        coding("identity, then chunked", &two("identity", "chunked")).refused(501),
        coding("gzip, then chunked", &two("gzip", "chunked")).refused(501),
        coding("chunked, then identity", &two("chunked", "identity")).refused(400),
        coding("chunked, then nothing", &two("chunked", "")).refused(400),
        coding("a space before the colon", "Transfer-Encoding : chunked\r\n").refused(400),
        coding("a tab before the colon", "Transfer-Encoding\t: chunked\r\n").refused(400),
        coding("a line that goes on", "X: y\r\n Transfer-Encoding: chunked\r\n").refused(400),
        coding("a value on the next line", "Transfer-Encoding:\r\n chunked\r\n").refused(400),
        coding("a value after a line feed", "Transfer-Encoding:\n chunked\r\n").refused(400),
        coding("a name before a line feed", "Transfer-Encoding\n: chunked\r\n").refused(400),
        coding("after a carriage return", "X: y\rTransfer-Encoding: chunked\r\n").refused(400),
        coding("after a NUL", "\0Transfer-Encoding: chunked\r\n").refused(400),
        coding("behind a colon", ":Transfer-Encoding: chunked\r\n").refused(400),
        case(
            "of HTTP/1.0",
            format!("POST /x HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{BODY}"),
        )
        .refused(400),
        case(
            "of HTTP/1.0 that is to go on",
            format!("POST /x HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n{chunked}Content-Length: 4\r\n\r\n{BODY}"),
        )
        .refused(400),
        coding("in capitals", "TRANSFER-ENCODING: CHUNKED\r\n").seen("POST /x", "hello"),
        coding("without a blank", "Transfer-Encoding:chunked\r\n").seen("POST /x", "hello"),
        coding("with blanks", "Transfer-Encoding: \t chunked\t \r\n").seen("POST /x", "hello"),
        case("of a GET", format!("GET /x HTTP/1.1\r\nHost: a\r\n{chunked}\r\n{BODY}")).seen("GET /x", "hello"),
        case("of a HEAD", format!("HEAD /x HTTP/1.1\r\nHost: a\r\n{chunked}\r\n{BODY}")).seen("HEAD /x", "hello"),
        case("with an underscore, beside a length", post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "hello"))
            .seen("POST /x", "hello")
            .without(&["transfer_encoding", "transfer-encoding"]),
        case("under another name, beside a length", post("X-Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "hello"))
            .seen("POST /x", "hello"),
        case("named by Connection, beside a length", post("Connection: transfer-encoding\r\nContent-Length: 5\r\n", "hello"))
            .seen("POST /x", "hello"),
        coding("named by Connection", "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n").seen("POST /x", "hello"),
        coding("the length is named by Connection", "Connection: content-length\r\nTransfer-Encoding: chunked\r\n")
            .seen("POST /x", "hello"),
    ]);
    Stage::new().await.play(cases).await;
}

/// RFC 9112 section 6.3: the coding counts, the length goes, and the connection is closed.
#[tokio::test]
async fn a_length_beside_a_coding_never_goes_on() {
    const CODING: &str = "Transfer-Encoding: chunked\r\n";
    let both = |name: &str, fields: &str, body: &str| case(name, post(fields, body));
    let cleaned = |case: super::Draft, body: &'static str| -> Case {
        case.seen("POST /x", body).without(&["content-length"]).last()
    };
    let cases = vec![
        cleaned(
            both("length first", &format!("Content-Length: 15\r\n{CODING}"), "5\r\nhello\r\n0\r\n\r\n"),
            "hello",
        ),
        cleaned(
            both("coding first", &format!("{CODING}Content-Length: 15\r\n"), "5\r\nhello\r\n0\r\n\r\n"),
            "hello",
        ),
        cleaned(both("CL.TE", &format!("Content-Length: 6\r\n{CODING}"), "0\r\n\r\nG"), ""),
        cleaned(
            both(
                "TE.CL",
                &format!("{CODING}Content-Length: 4\r\n"),
                "1c\r\nGET /admin HTTP/1.1\r\nHost: a\r\n0\r\n\r\n",
            ),
            "GET /admin HTTP/1.1\r\nHost: a",
        ),
        both("a bad length first", &format!("Content-Length: x\r\n{CODING}"), "0\r\n\r\n").refused(400),
        both(
            "TE.TE",
            &format!("{CODING}Transfer-Encoding: x\r\nContent-Length: 4\r\n"),
            "5\r\nhello\r\n0\r\n\r\n",
        )
        .refused(400),
        both(
            "TE.TE the other way",
            &format!("Transfer-Encoding: x\r\n{CODING}Content-Length: 4\r\n"),
            "5\r\nhello\r\n0\r\n\r\n",
        )
        .refused(501),
    ];
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn nothing_is_expected_but_100_continue() {
    let expecting = |name: &str, value: &str| {
        case(name, post(&format!("Expect: {value}\r\nContent-Length: 5\r\n"), "hello"))
    };
    let cases = vec![
        expecting("something else", "200-ok").refused(417),
        expecting("nothing", "").refused(417),
        expecting("it and something else", "100-continue, x").refused(417),
        expecting("with a parameter", "100-continue;q=1").refused(417),
        expecting("with a letter before it", "y 100-continue").refused(417),
        case("twice", post("Expect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n", "hello"))
            .refused(417),
        case("of a GET", "GET /x HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n").refused(417),
        expecting("it", "100-continue").seen("POST /x", "hello").without(&["expect"]),
        expecting("it in capitals", "100-CONTINUE").seen("POST /x", "hello").without(&["expect"]),
        case("it of a GET", "GET /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n").seen("GET /x", ""),
    ];
    Stage::new().await.play(cases).await;
}
