//! Each kind of frame (section 6), and error codes (section 7).

use super::Expected;
use super::GET;
use super::Step;
use super::case;
use super::run;
use crate::support::http2::ACK;
use crate::support::http2::CONTINUATION;
use crate::support::http2::DATA;
use crate::support::http2::END_HEADERS;
use crate::support::http2::END_STREAM;
use crate::support::http2::FLOW_CONTROL_ERROR;
use crate::support::http2::FRAME_SIZE_ERROR;
use crate::support::http2::GOAWAY;
use crate::support::http2::HEADERS;
use crate::support::http2::PADDED;
use crate::support::http2::PING;
use crate::support::http2::PRIORITY;
use crate::support::http2::PROTOCOL_ERROR;
use crate::support::http2::PUSH_PROMISE;
use crate::support::http2::RST_STREAM;
use crate::support::http2::SETTINGS;
use crate::support::http2::WINDOW_UPDATE;
use crate::support::http2::WITH_PRIORITY;
use crate::support::http2::settings;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

const RESET: [u8; 4] = [0, 0, 0, 8];
const MOST: [u8; 4] = [0x7f, 0xff, 0xff, 0xff];

#[tokio::test(flavor = "multi_thread")]
async fn data_headers_and_continuation() {
    let begun = |what| case("6.10", what).sends_frame(HEADERS, END_STREAM, 1, &GET[..2]);
    run(vec![
        case("6.1", "DATA").after_a_head(1).sends_frame(DATA, END_STREAM, 1, b"x").gets_an_answer(1),
        case("6.1", "DATA several times")
            .after_a_head(1)
            .sends_frame(DATA, 0, 1, b"x")
            .sends_frame(DATA, 0, 1, b"y")
            .sends_frame(DATA, END_STREAM, 1, b"")
            .gets_an_answer(1),
        case("6.1", "DATA with padding")
            .after_a_head(1)
            .sends_frame(DATA, END_STREAM | PADDED, 1, b"\x03x\0\0\0")
            .gets_an_answer(1),
        case("6.1", "DATA that is padding only")
            .after_a_head(1)
            .sends_frame(DATA, END_STREAM | PADDED, 1, b"\x03\0\0\0")
            .gets_an_answer(1),
        case("6.1", "DATA on stream 0").sends_frame(DATA, END_STREAM, 0, b"x").ends_with(PROTOCOL_ERROR),
        case("6.1", "DATA with more padding than there is")
            .after_a_head(1)
            .sends_frame(DATA, END_STREAM | PADDED, 1, b"\x05x\0\0\0")
            .ends_with(PROTOCOL_ERROR),
        case("6.1", "DATA with as much padding as there is in all")
            .after_a_head(1)
            .sends_frame(DATA, END_STREAM | PADDED, 1, b"\x04\0\0\0")
            .ends_with(PROTOCOL_ERROR),
        case("6.1", "DATA with padding of unknown length")
            .after_a_head(1)
            .sends_frame(DATA, END_STREAM | PADDED, 1, b"")
            .expects(Expected::Closed),
        case("6.2", "HEADERS with padding")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, [b"\x02", GET, b"\0\0"].concat())
            .gets_an_answer(1),
        case("6.2", "HEADERS with padding and priority")
            .sends_frame(
                HEADERS,
                END_HEADERS | END_STREAM | PADDED | WITH_PRIORITY,
                1,
                [b"\x02\0\0\0\0\x0f", GET, b"\0\0"].concat(),
            )
            .gets_an_answer(1),
        case("6.2", "HEADERS on stream 0").get(0).ends_with(PROTOCOL_ERROR),
        case("6.2", "HEADERS with more padding than there is")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM | PADDED, 1, [b"\x07", GET].concat())
            .ends_with(PROTOCOL_ERROR),
        case("6.2", "HEADERS too short for their priority")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM | WITH_PRIORITY, 1, b"\0\0")
            .expects(Expected::Closed),
        begun("CONTINUATION").sends_frame(CONTINUATION, END_HEADERS, 1, &GET[2..]).gets_an_answer(1),
        begun("CONTINUATION several times")
            .sends_frame(CONTINUATION, 0, 1, &GET[2..4])
            .sends_frame(CONTINUATION, 0, 1, b"")
            .sends_frame(CONTINUATION, END_HEADERS, 1, &GET[4..])
            .gets_an_answer(1),
        begun("CONTINUATION on another stream")
            .sends_frame(CONTINUATION, END_HEADERS, 3, &GET[2..])
            .ends_with(PROTOCOL_ERROR),
        begun("CONTINUATION on stream 0")
            .sends_frame(CONTINUATION, END_HEADERS, 0, &GET[2..])
            .ends_with(PROTOCOL_ERROR),
        begun("HEADERS in place of CONTINUATION")
            .sends_frame(HEADERS, END_HEADERS, 1, &GET[2..])
            .ends_with(PROTOCOL_ERROR),
        begun("DATA in place of CONTINUATION")
            .sends_frame(DATA, END_STREAM, 1, b"x")
            .ends_with(PROTOCOL_ERROR),
        case("6.10", "CONTINUATION after a section that is whole")
            .after_a_head(1)
            .sends_frame(CONTINUATION, END_HEADERS, 1, b"")
            .ends_with(PROTOCOL_ERROR),
        begun("CONTINUATION after one that ended the section")
            .sends_frame(CONTINUATION, END_HEADERS, 1, &GET[2..])
            .sends_frame(CONTINUATION, END_HEADERS, 1, b"")
            .ends_with(PROTOCOL_ERROR),
        case("6.10", "CONTINUATION after DATA")
            .after_a_head(1)
            .sends_frame(DATA, 0, 1, b"x")
            .sends_frame(CONTINUATION, END_HEADERS, 1, GET)
            .ends_with(PROTOCOL_ERROR),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn priority_reset_push_ping_and_goaway() {
    run(vec![
        case("6.3", "PRIORITY on stream 0")
            .sends_frame(PRIORITY, 0, 0, [0, 0, 0, 1, 15])
            .ends_with(PROTOCOL_ERROR),
        case("6.3", "PRIORITY that is too short")
            .after_a_head(1)
            .sends_frame(PRIORITY, 0, 1, [0, 0, 0, 0])
            .resets_or_ends(1, FRAME_SIZE_ERROR),
        case("6.3", "PRIORITY that is too long")
            .after_a_head(1)
            .sends_frame(PRIORITY, 0, 1, [0; 6])
            .resets_or_ends(1, FRAME_SIZE_ERROR),
        case("6.4", "RST_STREAM").after_a_head(1).sends_frame(RST_STREAM, 0, 1, RESET),
        case("6.4", "RST_STREAM on stream 0").sends_frame(RST_STREAM, 0, 0, RESET).ends_with(PROTOCOL_ERROR),
        case("6.4", "RST_STREAM that is too short")
            .after_a_head(1)
            .sends_frame(RST_STREAM, 0, 1, [0, 0, 8])
            .ends_for(FRAME_SIZE_ERROR),
        case("6.4", "RST_STREAM that is too long")
            .after_a_head(1)
            .sends_frame(RST_STREAM, 0, 1, [0; 5])
            .ends_for(FRAME_SIZE_ERROR),
        case("6.6", "PUSH_PROMISE")
            .after_a_head(1)
            .sends_frame(PUSH_PROMISE, END_HEADERS, 1, [&[0, 0, 0, 2], GET].concat())
            .ends_with(PROTOCOL_ERROR),
        case("6.6", "PUSH_PROMISE on an idle stream")
            .sends_frame(PUSH_PROMISE, END_HEADERS, 1, [&[0, 0, 0, 2], GET].concat())
            .ends_with(PROTOCOL_ERROR),
        case("6.7", "PING comes back with the same bytes")
            .sends_frame(PING, 0, 0, b"12345678")
            .expects(Expected::Bytes(b"\0\0\x08\x06\x01\0\0\0\x0012345678")),
        case("6.7", "PING with ACK is not answered").sends_frame(PING, ACK, 0, b"12345678"),
        case("6.7", "PING on a stream").sends_frame(PING, 0, 1, [0; 8]).ends_with(PROTOCOL_ERROR),
        case("6.7", "PING that is too short").sends_frame(PING, 0, 0, [0; 7]).ends_for(FRAME_SIZE_ERROR),
        case("6.7", "PING that is too long").sends_frame(PING, 0, 0, [0; 9]).ends_for(FRAME_SIZE_ERROR),
        case("6.8", "GOAWAY on a stream").sends_frame(GOAWAY, 0, 1, [0; 8]).ends_with(PROTOCOL_ERROR),
        case("6.8", "GOAWAY that is too short").sends_frame(GOAWAY, 0, 0, [0; 7]).expects(Expected::Closed),
        case("6.8", "what is open at GOAWAY is still answered")
            .after_a_head(1)
            .sends_frame(GOAWAY, 0, 0, [0; 8])
            .sends_frame(DATA, END_STREAM, 1, b"x")
            .then(Step::Answered(1))
            .expects(Expected::Closed),
        case("7", "RST_STREAM with an unknown code").after_a_head(1).sends_frame(RST_STREAM, 0, 1, [0xff; 4]),
        case("7", "GOAWAY with an unknown code")
            .after_a_head(1)
            .sends_frame(GOAWAY, 0, 0, [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])
            .sends_frame(DATA, END_STREAM, 1, b"x")
            .then(Step::Answered(1))
            .expects(Expected::Closed),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_checked_and_acknowledged() {
    let set = |what, id, value| case("6.5.2", what).sends(settings(&[(id, value)]));
    run(vec![
        case("6.5", "each SETTINGS is acknowledged")
            .sends(settings(&[(MAX_FRAME_SIZE, 20_000)]))
            .get(1)
            .gets_an_answer(1),
        case("6.5", "SETTINGS with ACK and content")
            .sends_frame(SETTINGS, ACK, 0, [0; 6])
            .ends_for(FRAME_SIZE_ERROR),
        case("6.5", "SETTINGS on a stream").sends_frame(SETTINGS, 0, 1, [0; 6]).ends_with(PROTOCOL_ERROR),
        case("6.5", "SETTINGS that are no multiple of six bytes")
            .sends_frame(SETTINGS, 0, 0, [0; 5])
            .ends_for(FRAME_SIZE_ERROR),
        set("ENABLE_PUSH of 2", ENABLE_PUSH, 2).ends_with(PROTOCOL_ERROR),
        set("ENABLE_PUSH of 1", ENABLE_PUSH, 1).get(1).gets_an_answer(1),
        set("INITIAL_WINDOW_SIZE above 2^31-1", INITIAL_WINDOW_SIZE, 1 << 31).ends_for(FLOW_CONTROL_ERROR),
        set("INITIAL_WINDOW_SIZE of 2^31-1", INITIAL_WINDOW_SIZE, (1 << 31) - 1).get(1).gets_an_answer(1),
        set("MAX_FRAME_SIZE below 2^14", MAX_FRAME_SIZE, (1 << 14) - 1).ends_with(PROTOCOL_ERROR),
        set("MAX_FRAME_SIZE above 2^24-1", MAX_FRAME_SIZE, 1 << 24).ends_with(PROTOCOL_ERROR),
        set("MAX_FRAME_SIZE of 2^24-1", MAX_FRAME_SIZE, (1 << 24) - 1).get(1).gets_an_answer(1),
        set("HEADER_TABLE_SIZE of 0", HEADER_TABLE_SIZE, 0).get(1).gets_an_answer(1),
        set("HEADER_TABLE_SIZE of 2^32-1", HEADER_TABLE_SIZE, u32::MAX).get(1).gets_an_answer(1),
        set("MAX_CONCURRENT_STREAMS of 0", MAX_CONCURRENT_STREAMS, 0).get(1).gets_an_answer(1),
        set("MAX_HEADER_LIST_SIZE of 2^32-1", MAX_HEADER_LIST_SIZE, u32::MAX).get(1).gets_an_answer(1),
        set("ENABLE_CONNECT_PROTOCOL of 1", ENABLE_CONNECT_PROTOCOL, 1).get(1).gets_an_answer(1),
        set("an unknown setting", 0xff, 1).get(1).gets_an_answer(1),
        case("6.5.3", "the last of several values counts")
            .with_settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)])
            .get(1)
            .then(Step::Content(1)),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_sent_than_the_windows_allow() {
    let small = |what, window| case("6.9", what).with_settings(&[(INITIAL_WINDOW_SIZE, window)]);
    run(vec![
        case("6.9", "WINDOW_UPDATE by nothing on the connection")
            .sends_frame(WINDOW_UPDATE, 0, 0, [0; 4])
            .ends_with(PROTOCOL_ERROR),
        case("6.9", "WINDOW_UPDATE by nothing on a stream")
            .after_a_head(1)
            .sends_frame(WINDOW_UPDATE, 0, 1, [0; 4])
            .resets_or_ends(1, PROTOCOL_ERROR),
        case("6.9", "WINDOW_UPDATE that is too short")
            .sends_frame(WINDOW_UPDATE, 0, 0, [0, 0, 1])
            .ends_for(FRAME_SIZE_ERROR),
        case("6.9", "WINDOW_UPDATE that is too long")
            .sends_frame(WINDOW_UPDATE, 0, 0, [0, 0, 0, 0, 1])
            .ends_for(FRAME_SIZE_ERROR),
        case("6.9", "the reserved bit of WINDOW_UPDATE")
            .sends_frame(WINDOW_UPDATE, 0, 0, [0x80, 0, 0, 1])
            .get(1)
            .gets_an_answer(1),
        case("6.9.1", "a connection's window above 2^31-1")
            .sends_frame(WINDOW_UPDATE, 0, 0, MOST)
            .sends_frame(WINDOW_UPDATE, 0, 0, MOST)
            .ends_with(FLOW_CONTROL_ERROR),
        case("6.9.1", "a stream's window above 2^31-1")
            .after_a_head(1)
            .sends_frame(WINDOW_UPDATE, 0, 1, MOST)
            .sends_frame(WINDOW_UPDATE, 0, 1, MOST)
            .resets(1, FLOW_CONTROL_ERROR),
        small("an answer of which one byte may be sent", 1).get(1).then(Step::Content(1)),
        small("an answer of which nothing may be sent", 0).get(1).then(Step::Content(0)),
        small("a window that grows", 1)
            .get(1)
            .then(Step::Content(1))
            .sends_frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 2])
            .then(Step::Content(3)),
        small("new SETTINGS change the windows there are", 0)
            .get(1)
            .sends(settings(&[(INITIAL_WINDOW_SIZE, 1)]))
            .then(Step::Content(1)),
        small("a window that has become negative", 3)
            .get(1)
            .then(Step::Content(3))
            .sends(settings(&[(INITIAL_WINDOW_SIZE, 1)]))
            .sends_frame(WINDOW_UPDATE, 0, 1, [0, 0, 0, 3])
            .then(Step::Content(4)),
        case("6.9.2", "SETTINGS that take a window above 2^31-1")
            .after_a_head(1)
            .sends_frame(WINDOW_UPDATE, 0, 1, [0x7f, 0xff, 0, 0])
            .sends(settings(&[(INITIAL_WINDOW_SIZE, (1 << 31) - 1)]))
            .ends_with(FLOW_CONTROL_ERROR),
    ])
    .await;
}
