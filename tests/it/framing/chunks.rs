//! Bodies in chunks (RFC 9112 section 7.1): what is malformed is refused, and of it nothing whole goes on.

use super::Case;
use super::Stage;
use super::case;

fn chunked(name: &str, body: impl AsRef<[u8]>) -> super::Draft {
    let head = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    case(name, [head, body.as_ref()].concat())
}

fn refused(bad: &[(&str, &str)]) -> Vec<Case> {
    bad.iter().map(|(name, body)| chunked(name, body).refused(400)).collect()
}

#[tokio::test]
async fn sizes_are_hexadecimal_digits_and_end_with_their_line() {
    let mut cases = refused(&[
        ("a line feed alone", "5\nhello\r\n0\r\n\r\n"),
        ("a carriage return alone", "5\rhello\r\n0\r\n\r\n"),
        ("two carriage returns", "5\r\r\nhello\r\n0\r\n\r\n"),
        ("a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a minus", "-5\r\nhello\r\n0\r\n\r\n"),
        ("0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("0X", "0X5\r\nhello\r\n0\r\n\r\n"),
        ("x", "x5\r\nhello\r\n0\r\n\r\n"),
        ("h", "5h\r\nhello\r\n0\r\n\r\n"),
        ("g", "g\r\nhello\r\n0\r\n\r\n"),
        ("a space before it", " 5\r\nhello\r\n0\r\n\r\n"),
        ("a tab before it", "\t5\r\nhello\r\n0\r\n\r\n"),
        ("a space in it", "0 5\r\nhello\r\n0\r\n\r\n"),
        ("a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("a point", "5.0\r\nhello\r\n0\r\n\r\n"),
        ("an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("quotes", "\"5\"\r\nhello\r\n0\r\n\r\n"),
        ("a NUL after it", "5\0\r\nhello\r\n0\r\n\r\n"),
        ("a vertical tab after it", "5\u{b}\r\nhello\r\n0\r\n\r\n"),
        ("a form feed after it", "5\u{c}\r\nhello\r\n0\r\n\r\n"),
        ("another digit five", "٥\r\nhello\r\n0\r\n\r\n"),
        ("none", "\r\nhello\r\n0\r\n\r\n"),
        ("none but an extension", ";a=b\r\nhello\r\n0\r\n\r\n"),
        ("one bit too many", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("one digit too many", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"),
        ("many digits too many", "1000000000000000000000000000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("an empty line before the first", "\r\n5\r\nhello\r\n0\r\n\r\n"),
        ("no chunk at all", "hello\r\n\r\n"),
    ]);
    cases.extend([
        chunked("small letters", "a\r\n0123456789\r\n0\r\n\r\n").seen("POST /x", "0123456789"),
        chunked("capitals", "A\r\n0123456789\r\n0\r\n\r\n").seen("POST /x", "0123456789"),
        chunked("leading zeros", "0005\r\nhello\r\n0\r\n\r\n").seen("POST /x", "hello"),
        chunked("zeros at the end", "5\r\nhello\r\n000\r\n\r\n").seen("POST /x", "hello"),
        chunked("two chunks", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n").seen("POST /x", "hello"),
        chunked("none but the last", "0\r\n\r\n").seen("POST /x", ""),
        // blanks mean nothing there, and are not sent on
        chunked("a space after it", "5 \r\nhello\r\n0\r\n\r\n").seen("POST /x", "hello"),
        chunked("a body that reads like the end", "7\r\n0\r\n\r\nhe\r\n0\r\n\r\n")
            .seen("POST /x", "0\r\n\r\nhe"),
    ]);
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn chunks_are_as_long_as_they_say() {
    let cases = refused(&[
        ("longer", "5\r\nhello world\r\n0\r\n\r\n"),
        ("longer by one", "5\r\nhello!\r\n0\r\n\r\n"),
        ("shorter", "8\r\nhello\r\n0\r\n\r\n"),
        ("no line end after it", "5\r\nhello0\r\n\r\n"),
        ("a line feed alone after it", "5\r\nhello\n0\r\n\r\n"),
        ("a carriage return alone after it", "5\r\nhello\r0\r\n\r\n"),
        ("two letters after it", "5\r\nhelloxx0\r\n\r\n"),
        ("a line feed and a carriage return after it", "5\r\nhello\n\r0\r\n\r\n"),
        ("the second is longer", "2\r\nhe\r\n3\r\nllooo\r\n0\r\n\r\n"),
        ("the last has content", "5\r\nhello\r\n0\r\nhello\r\n\r\n"),
        ("a request in place of a size", "5\r\nhello\r\nGET /admin HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]);
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn extensions_are_read_one_way_and_never_go_on() {
    let mut cases = refused(&[
        ("a line feed alone ends it", "5;a=b\nhello\r\n0\r\n\r\n"),
        ("a line feed in it", "5;a\nb\r\nhello\r\n0\r\n\r\n"),
        ("a carriage return in it", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("two carriage returns end it", "5;a\r\r\nhello\r\n0\r\n\r\n"),
        ("a line feed in the last one's", "5\r\nhello\r\n0;a\n\r\n\r\n"),
        ("a line feed in quotes", "5;a=\"\n\"\r\nhello\r\n0\r\n\r\n"),
        ("a size after it", "5;\n5\r\nhello\r\n0\r\n\r\n"),
    ]);
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(20_000));
    let many = format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "a".repeat(1_000)).repeat(20));
    cases.extend([
        chunked("20 kB", long).refused(400),
        chunked("1 kB in each of 20 chunks", many).refused(400),
        chunked("a name", "5;a\r\nhello\r\n0\r\n\r\n").seen("POST /x", "hello"),
        chunked("a value", "5;a=b;c=d\r\nhello\r\n0;e=f\r\n\r\n").seen("POST /x", "hello"),
        chunked("a value in quotes", "5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n").seen("POST /x", "hello"),
        chunked("blanks before it", "5 \t;a=b\r\nhello\r\n0\r\n\r\n").seen("POST /x", "hello"),
    ]);
    Stage::new().await.play(cases).await;
}

#[tokio::test]
async fn trailers_are_fields_and_only_such_as_may_come_last_go_on() {
    let mut cases = refused(&[
        ("no colon", "5\r\nhello\r\n0\r\nX\r\n\r\n"),
        ("no name", "5\r\nhello\r\n0\r\n: y\r\n\r\n"),
        ("a space before the colon", "5\r\nhello\r\n0\r\nX : y\r\n\r\n"),
        ("a line that goes on", "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
        ("a NUL in the name", "5\r\nhello\r\n0\r\nX\0: y\r\n\r\n"),
        ("a NUL in the value", "5\r\nhello\r\n0\r\nX: y\0\r\n\r\n"),
        ("a carriage return in the value", "5\r\nhello\r\n0\r\nX: y\rz\r\n\r\n"),
        ("a carriage return for an end", "5\r\nhello\r\n0\r\nX: y\r\n\rGET"),
        ("a line feed alone after the last chunk", "5\r\nhello\r\n0\n\r\n"),
        ("a line feed alone for an end", "5\r\nhello\r\n0\r\n\n"),
    ]);
    let long = format!("5\r\nhello\r\n0\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    let many = format!("5\r\nhello\r\n0\r\n{}\r\n", "X: y\r\n".repeat(200));
    cases.extend([
        chunked("100 kB", long).refused(400),
        chunked("200 of them", many).refused(400),
        chunked("empty lines", "5\r\nhello\r\n0\r\n\n\n").refused(400),
        // one is read, and what follows is neither read as a request nor sent on
        chunked("line feeds alone", "5\r\nhello\r\n0\r\nX: y\n\n").seen("POST /x", "hello").last(),
        chunked("one", "5\r\nhello\r\n0\r\nX: y\r\n\r\n").seen("POST /x", "hello").last(),
        announced("one that was announced", "5\r\nhello\r\n0\r\nX: y\r\n\r\n")
            .seen("POST /x", "hello")
            .trailer("x", "y")
            .last(),
        announced(
            "those that mean something before the body",
            "5\r\nhello\r\n0\r\nAuthorization: Bearer x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nHost: b\r\n\
             Cookie: c\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\nTE: trailers\r\nX: y\r\n\r\n",
        )
        .seen("POST /x", "hello")
        .trailer("x", "y")
        .last(),
    ]);
    Stage::new().await.play(cases).await;
}

/// The same, with trailers that its head tells of.
fn announced(name: &str, body: &str) -> super::Draft {
    let trailer = "Trailer: x, authorization, content-length, transfer-encoding, host, cookie, x-forwarded-for, connection, te\r\n";
    let head = format!("POST /x HTTP/1.1\r\nHost: a\r\n{trailer}Transfer-Encoding: chunked\r\n\r\n");
    case(name, [head.as_bytes(), body.as_bytes()].concat())
}
