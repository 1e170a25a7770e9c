//! The life of a stream, its identifier and its errors (sections 5.1, 5.3 and 5.4).

use super::Case;
use super::Expected;
use super::GET;
use super::POST;
use super::Step;
use super::case;
use super::run;
use crate::support::http2::CONTINUATION;
use crate::support::http2::DATA;
use crate::support::http2::END_HEADERS;
use crate::support::http2::END_STREAM;
use crate::support::http2::HEADERS;
use crate::support::http2::PING;
use crate::support::http2::PRIORITY;
use crate::support::http2::PROTOCOL_ERROR;
use crate::support::http2::REFUSED_STREAM;
use crate::support::http2::RST_STREAM;
use crate::support::http2::STREAM_CLOSED;
use crate::support::http2::WINDOW_UPDATE;
use crate::support::http2::WITH_PRIORITY;
use crate::support::http2::field;

const RESET: [u8; 4] = [0, 0, 0, 8];
const MORE: [u8; 4] = [0, 0, 0, 1];
/// Depends on nothing, weighs 16.
const PLAIN: [u8; 5] = [0, 0, 0, 0, 15];

/// A request on stream 1 that is whole and never answered.
fn half_closed(what: &'static str) -> Case {
    let get = [&GET[..2], b"\x04\x0a/demo/hang\x01\x01a"].concat();
    case("5.1 half-closed", what).sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, get)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_idle_takes_headers_and_priority_only() {
    let idle = |what| case("5.1 idle", what);
    run(vec![
        idle("HEADERS").get(1).gets_an_answer(1),
        idle("PRIORITY").sends_frame(PRIORITY, 0, 1, PLAIN).get(1).gets_an_answer(1),
        idle("DATA").sends_frame(DATA, END_STREAM, 1, b"x").ends_with(PROTOCOL_ERROR),
        idle("RST_STREAM").sends_frame(RST_STREAM, 0, 1, RESET).ends_with(PROTOCOL_ERROR),
        idle("WINDOW_UPDATE").sends_frame(WINDOW_UPDATE, 0, 1, MORE).ends_with(PROTOCOL_ERROR),
        idle("CONTINUATION").sends_frame(CONTINUATION, END_HEADERS, 1, GET).ends_with(PROTOCOL_ERROR),
        idle("DATA above all others")
            .after_an_answer()
            .sends_frame(DATA, END_STREAM, 3, b"x")
            .ends_with(PROTOCOL_ERROR),
        idle("RST_STREAM above all others")
            .after_an_answer()
            .sends_frame(RST_STREAM, 0, 3, RESET)
            .ends_with(PROTOCOL_ERROR),
        idle("RST_STREAM on one of the server's")
            .sends_frame(RST_STREAM, 0, 2, RESET)
            .ends_with(PROTOCOL_ERROR),
        idle("WINDOW_UPDATE on one of the server's")
            .sends_frame(WINDOW_UPDATE, 0, 2, MORE)
            .ends_with(PROTOCOL_ERROR),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_request_is_whole_takes_no_more_of_it() {
    run(vec![
        half_closed("DATA").sends_frame(DATA, END_STREAM, 1, b"x").resets_or_ends(1, STREAM_CLOSED),
        half_closed("HEADERS")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, GET)
            .resets_or_ends(1, STREAM_CLOSED),
        half_closed("CONTINUATION").sends_frame(CONTINUATION, END_HEADERS, 1, GET).ends_with(PROTOCOL_ERROR),
        half_closed("WINDOW_UPDATE").sends_frame(WINDOW_UPDATE, 0, 1, MORE),
        half_closed("PRIORITY").sends_frame(PRIORITY, 0, 1, PLAIN),
        half_closed("RST_STREAM").sends_frame(RST_STREAM, 0, 1, RESET),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_closed_takes_nothing() {
    let closed = |what| case("5.1 closed", what).after_an_answer();
    let reset = |what| case("5.1 closed", what).after_a_head(1).sends_frame(RST_STREAM, 0, 1, RESET);
    let refused = |what| {
        let twice = [GET, b"\x82"].concat();
        case("5.1 closed", what).sends_frame(HEADERS, END_HEADERS, 1, twice).then(Step::WasReset(1))
    };
    run(vec![
        closed("DATA").sends_frame(DATA, END_STREAM, 1, b"x").resets_or_ends(1, STREAM_CLOSED),
        closed("HEADERS")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, GET)
            .resets_or_ends(1, STREAM_CLOSED),
        closed("CONTINUATION").sends_frame(CONTINUATION, END_HEADERS, 1, GET).ends_with(PROTOCOL_ERROR),
        closed("WINDOW_UPDATE, which may have been on its way").sends_frame(WINDOW_UPDATE, 0, 1, MORE),
        closed("RST_STREAM, which may have been on its way").sends_frame(RST_STREAM, 0, 1, RESET),
        closed("PRIORITY").sends_frame(PRIORITY, 0, 1, PLAIN),
        reset("DATA after the peer's own RST_STREAM")
            .sends_frame(DATA, END_STREAM, 1, b"x")
            .resets(1, STREAM_CLOSED),
        reset("HEADERS after the peer's own RST_STREAM")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, POST)
            .resets_or_ends(1, STREAM_CLOSED),
        reset("CONTINUATION after the peer's own RST_STREAM")
            .sends_frame(CONTINUATION, END_HEADERS, 1, POST)
            .ends_with(PROTOCOL_ERROR),
        reset("RST_STREAM is not answered with another (5.4.2)").sends_frame(RST_STREAM, 0, 1, RESET),
        refused("DATA that was on its way when the server reset it").sends_frame(DATA, 0, 1, b"x"),
        refused("WINDOW_UPDATE that was on its way when the server reset it").sends_frame(
            WINDOW_UPDATE,
            0,
            1,
            MORE,
        ),
        refused("trailers that were on their way when the server reset it").sends_frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            field("x", "y"),
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn identifiers_are_odd_and_grow() {
    let mut crowd = case("5.1.2", "one stream more than may be open");
    for number in 0..=128 {
        crowd = crowd.after_a_head(2 * number + 1);
    }
    run(vec![
        case("5.1.1", "a request on stream 0").get(0).ends_with(PROTOCOL_ERROR),
        case("5.1.1", "an even identifier").get(2).ends_with(PROTOCOL_ERROR),
        case("5.1.1", "one lower than the last")
            .get(5)
            .then(Step::Answered(5))
            .get(3)
            .ends_with(PROTOCOL_ERROR),
        case("5.1.1", "content on one that was passed over")
            .after_a_head(5)
            .sends_frame(DATA, END_STREAM, 3, b"x")
            .resets(3, STREAM_CLOSED),
        case("5.1.1", "identifiers may be passed over")
            .get(1)
            .then(Step::Answered(1))
            .get(0x7fff_ffff)
            .then(Step::Answered(0x7fff_ffff)),
        crowd.resets(257, REFUSED_STREAM),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priorities_may_be_said_and_do_not_matter() {
    run(vec![
        case("5.3", "weight 1").sends_frame(PRIORITY, 0, 1, [0, 0, 0, 0, 0]).get(1).gets_an_answer(1),
        case("5.3", "weight 256").sends_frame(PRIORITY, 0, 1, [0, 0, 0, 0, 255]).get(1).gets_an_answer(1),
        case("5.3", "a stream to depend on")
            .sends_frame(PRIORITY, 0, 3, [0, 0, 0, 1, 15])
            .get(1)
            .gets_an_answer(1),
        case("5.3", "exclusively").sends_frame(PRIORITY, 0, 3, [0x80, 0, 0, 1, 15]).get(1).gets_an_answer(1),
        case("5.3", "of a stream above the next request")
            .sends_frame(PRIORITY, 0, 5, PLAIN)
            .get(3)
            .gets_an_answer(3),
        case("5.3", "in a request")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, [&PLAIN, GET].concat())
            .gets_an_answer(1),
        case("5.3", "a request that depends on itself")
            .sends_frame(
                HEADERS,
                END_HEADERS | END_STREAM | WITH_PRIORITY,
                1,
                [&[0, 0, 0, 1, 15], GET].concat(),
            )
            .resets(1, PROTOCOL_ERROR),
        case("5.3", "a stream that depends on itself")
            .sends_frame(PRIORITY, 0, 1, [0, 0, 0, 1, 15])
            .expects(Expected::StreamError(1, PROTOCOL_ERROR)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_one_stream_leaves_the_others_alone() {
    run(vec![
        case("5.4.1", "nothing after an error of the connection counts")
            .sends_frame(PING, 0, 1, [0; 8])
            .get(1)
            .ends_with(PROTOCOL_ERROR),
        case("5.4.2", "a request before and one after a malformed one")
            .after_a_head(1)
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x82")
            .then(Step::WasReset(3))
            .sends_frame(DATA, END_STREAM, 1, b"x")
            .then(Step::Answered(1))
            .get(5)
            .then(Step::Answered(5)),
    ])
    .await;
}
