//! Requests: their framing and their fields (section 8).

use super::Case;
use super::Expected;
use super::GET;
use super::HEAD;
use super::POST;
use super::case;
use super::run;
use crate::support::http2::CONTINUATION;
use crate::support::http2::DATA;
use crate::support::http2::END_HEADERS;
use crate::support::http2::END_STREAM;
use crate::support::http2::HEADERS;
use crate::support::http2::PADDED;
use crate::support::http2::PROTOCOL_ERROR;
use crate::support::http2::PUSH_PROMISE;
use crate::support::http2::block;
use crate::support::http2::field;

/// A request of these fields, pseudo-header fields included.
fn request(section: &'static str, what: &'static str, fields: &[(&str, &str)]) -> Case {
    case(section, what).sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, block(fields))
}

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "a");

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_once() {
    let open = |what| case("8.1", what).after_a_head(1);
    run(vec![
        case("8.1", "GET").get(1).gets_an_answer(1),
        case("8.1", "HEAD is answered without content")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, HEAD)
            .expects(Expected::AnswerOf(1, 200, 0)),
        open("POST").sends_frame(DATA, END_STREAM, 1, b"x").gets_an_answer(1),
        open("trailers")
            .sends_frame(DATA, 0, 1, b"x")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, field("x", "y"))
            .gets_an_answer(1),
        open("trailers without content")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, field("x", "y"))
            .gets_an_answer(1),
        open("trailers in two frames")
            .sends_frame(HEADERS, END_STREAM, 1, field("x", "y"))
            .sends_frame(CONTINUATION, END_HEADERS, 1, field("z", "y"))
            .gets_an_answer(1),
        open("trailers that do not end the request")
            .sends_frame(DATA, 0, 1, b"x")
            .sends_frame(HEADERS, END_HEADERS, 1, field("x", "y"))
            .resets(1, PROTOCOL_ERROR),
        open("upper case in trailers")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, field("X", "y"))
            .resets_or_ends(1, PROTOCOL_ERROR),
        open("a field of the connection in trailers")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, field("transfer-encoding", "chunked"))
            .resets(1, PROTOCOL_ERROR),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_length_that_is_stated_is_that_of_the_content() {
    let of = |what, length: &str| {
        case("8.1.1", what).sends_frame(
            HEADERS,
            END_HEADERS,
            1,
            [POST, &field("content-length", length)].concat(),
        )
    };
    let twice = [POST, &field("content-length", "1"), &field("content-length", "2")].concat();
    run(vec![
        of("as long as stated", "2")
            .sends_frame(DATA, 0, 1, b"x")
            .sends_frame(DATA, END_STREAM, 1, b"y")
            .gets_an_answer(1),
        of("as long as stated, and the end apart", "2")
            .sends_frame(DATA, 0, 1, b"xy")
            .sends_frame(DATA, END_STREAM, 1, b"")
            .gets_an_answer(1),
        of("as long as stated, and trailers", "2")
            .sends_frame(DATA, 0, 1, b"xy")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, field("x", "y"))
            .gets_an_answer(1),
        of("padding does not count", "1")
            .sends_frame(DATA, END_STREAM | PADDED, 1, b"\x03x\0\0\0")
            .gets_an_answer(1),
        of("longer", "1").sends_frame(DATA, END_STREAM, 1, b"xy").resets(1, PROTOCOL_ERROR),
        of("longer, in two frames", "1")
            .sends_frame(DATA, 0, 1, b"x")
            .sends_frame(DATA, END_STREAM, 1, b"y")
            .resets(1, PROTOCOL_ERROR),
        of("shorter", "2").sends_frame(DATA, END_STREAM, 1, b"x").resets(1, PROTOCOL_ERROR),
        of("shorter, and trailers", "2")
            .sends_frame(DATA, 0, 1, b"x")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, field("x", "y"))
            .resets(1, PROTOCOL_ERROR),
        of("nothing where nothing was stated", "0")
            .sends_frame(DATA, END_STREAM, 1, b"x")
            .resets(1, PROTOCOL_ERROR),
        of("no number", "x").sends_frame(DATA, END_STREAM, 1, b"x").resets(1, PROTOCOL_ERROR),
        of("a signed number", "+1").sends_frame(DATA, END_STREAM, 1, b"x").resets(1, PROTOCOL_ERROR),
        of("a number too large to be one", "99999999999999999999")
            .sends_frame(DATA, END_STREAM, 1, b"x")
            .resets(1, PROTOCOL_ERROR),
        case("8.1.1", "two lengths that differ")
            .sends_frame(HEADERS, END_HEADERS, 1, twice)
            .sends_frame(DATA, END_STREAM, 1, b"x")
            .resets(1, PROTOCOL_ERROR),
        request(
            "8.1.1",
            "no content where some was stated",
            &[METHOD, SCHEME, PATH, AUTHORITY, ("content-length", "1")],
        )
        .resets(1, PROTOCOL_ERROR),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_has_a_name_and_a_value_that_one_may_have() {
    let mut cases = vec![
        request("8.2.1", "bytes above 0x7f in a value", &[METHOD, SCHEME, PATH, AUTHORITY, ("x", "\u{e9}")])
            .gets_an_answer(1),
    ];
    for (name, value) in [
        ("X-upper", "y"),
        ("", "y"),
        ("x y", "y"),
        ("x:y", "y"),
        ("x\0", "y"),
        ("x\r", "y"),
        ("x\n", "y"),
        ("x\x7f", "y"),
        ("\u{e9}", "y"),
        ("x", "a\0b"),
        ("x", "a\rb"),
        ("x", "a\nb"),
        ("x", "a\r\nb: c"),
    ] {
        let what: &str = format!("{name:?}: {value:?}").leak();
        cases.push(
            request("8.2.1", what, &[METHOD, SCHEME, PATH, AUTHORITY, (name, value)])
                .resets_or_ends(1, PROTOCOL_ERROR),
        );
    }
    for (name, value) in [
        ("connection", "x-y"),
        ("connection", "close"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, deflate;q=0.5"),
    ] {
        let what: &str = format!("{name}: {value}").leak();
        cases.push(
            request("8.2.2", what, &[METHOD, SCHEME, PATH, AUTHORITY, (name, value)])
                .resets(1, PROTOCOL_ERROR),
        );
    }
    cases.push(
        request("8.2.2", "te: trailers", &[METHOD, SCHEME, PATH, AUTHORITY, ("te", "trailers")])
            .gets_an_answer(1),
    );
    cases.push(
        request(
            "8.2.3",
            "several cookie fields",
            &[METHOD, SCHEME, PATH, AUTHORITY, ("cookie", "a=b"), ("cookie", "c=d")],
        )
        .gets_an_answer(1),
    );
    // a value with blanks at its ends is answered by us, where no other rule of the library refuses it
    for value in [" y", "y ", "\ty", "y\t", " "] {
        let what: &str = format!("blanks: {value:?}").leak();
        cases.push(
            request("8.2.1", what, &[METHOD, SCHEME, PATH, AUTHORITY, ("x", value)])
                .expects(Expected::Answer(1, 400)),
        );
    }
    run(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_says_once_and_first_what_it_wants() {
    let wrong = |what, fields: &[(&str, &str)]| request("8.3", what, fields).resets(1, PROTOCOL_ERROR);
    let refused =
        |what, fields: &[(&str, &str)]| request("8.3", what, fields).resets_or_ends(1, PROTOCOL_ERROR);
    let bad =
        |what, fields: &[(&str, &str)]| request("8.3.1", what, fields).expects(Expected::Answer(1, 400));
    run(vec![
        request("8.3.1", "in another order", &[AUTHORITY, PATH, SCHEME, METHOD]).gets_an_answer(1),
        request("8.3.1", "Host in place of :authority", &[METHOD, SCHEME, PATH, ("host", "a")])
            .gets_an_answer(1),
        request("8.3.1", "Host that is the :authority", &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "a")])
            .gets_an_answer(1),
        wrong("after another field", &[METHOD, SCHEME, AUTHORITY, ("x", "y"), PATH]),
        refused("an unknown one", &[METHOD, SCHEME, PATH, AUTHORITY, (":x", "y")]),
        wrong("one of answers", &[METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")]),
        wrong("no method", &[SCHEME, PATH, AUTHORITY]),
        wrong("no scheme", &[METHOD, PATH, AUTHORITY]),
        wrong("no path", &[METHOD, SCHEME, AUTHORITY]),
        wrong("nothing at all", &[]),
        wrong("two methods", &[METHOD, METHOD, SCHEME, PATH, AUTHORITY]),
        wrong("two schemes", &[METHOD, SCHEME, SCHEME, PATH, AUTHORITY]),
        wrong("two paths", &[METHOD, SCHEME, PATH, PATH, AUTHORITY]),
        wrong("two authorities", &[METHOD, SCHEME, PATH, AUTHORITY, AUTHORITY]),
        wrong("an empty path", &[METHOD, SCHEME, (":path", ""), AUTHORITY]),
        refused("a method that is none", &[(":method", "GET /"), SCHEME, PATH, AUTHORITY]),
        refused("an empty method", &[(":method", ""), SCHEME, PATH, AUTHORITY]),
        wrong("a path with a blank", &[METHOD, SCHEME, (":path", "/ HTTP/1.1"), AUTHORITY]),
        bad("an empty scheme", &[METHOD, (":scheme", ""), PATH, AUTHORITY]),
        refused("upper case in its name", &[(":Method", "GET"), SCHEME, PATH, AUTHORITY]),
        bad("neither :authority nor Host", &[METHOD, SCHEME, PATH]),
        bad("Host that is not the :authority", &[METHOD, SCHEME, PATH, AUTHORITY, ("host", "b")]),
        bad("userinfo in :authority", &[METHOD, SCHEME, PATH, (":authority", "u@a")]),
        wrong(":protocol without CONNECT", &[METHOD, SCHEME, PATH, AUTHORITY, (":protocol", "websocket")]),
        request("8.5", "CONNECT is not served", &[(":method", "CONNECT"), (":authority", "a:443")])
            .expects(Expected::Answer(1, 405)),
        request("8.5", "CONNECT with a path", &[(":method", "CONNECT"), PATH, (":authority", "a:443")])
            .resets(1, PROTOCOL_ERROR),
        request("8.5", "CONNECT with a scheme", &[(":method", "CONNECT"), SCHEME, (":authority", "a:443")])
            .resets(1, PROTOCOL_ERROR),
        case("8.4", "a push by a client")
            .get(1)
            .sends_frame(PUSH_PROMISE, END_HEADERS, 1, [&[0, 0, 0, 2], GET].concat())
            .ends_with(PROTOCOL_ERROR),
    ])
    .await;
}
