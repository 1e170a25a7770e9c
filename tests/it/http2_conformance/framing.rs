//! The preface, frames and field sections (sections 3.4, 4 and 5.5).

use super::Expected;
use super::GET;
use super::POST;
use super::case;
use super::run;
use crate::support::http2::ACK;
use crate::support::http2::COMPRESSION_ERROR;
use crate::support::http2::CONTINUATION;
use crate::support::http2::DATA;
use crate::support::http2::END_HEADERS;
use crate::support::http2::END_STREAM;
use crate::support::http2::FRAME_SIZE_ERROR;
use crate::support::http2::HEADERS;
use crate::support::http2::PING;
use crate::support::http2::PREFACE;
use crate::support::http2::PRIORITY;
use crate::support::http2::PROTOCOL_ERROR;
use crate::support::http2::RST_STREAM;
use crate::support::http2::SETTINGS;
use crate::support::http2::field;
use crate::support::http2::settings;

/// An empty SETTINGS with ACK.
const ACKNOWLEDGED: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_begins_with_the_preface_and_settings() {
    let bare = |what| case("3.4", what).without_greeting();
    run(vec![
        case("3.4", "the preface and SETTINGS are acknowledged").expects(Expected::Bytes(ACKNOWLEDGED)),
        bare("the preface comes in pieces")
            .sends(&PREFACE[..4])
            .sends(&PREFACE[4..11])
            .sends(&PREFACE[11..])
            .sends(settings(&[]))
            .get(1)
            .gets_an_answer(1),
        bare("a request comes at once, before the server's SETTINGS")
            .sends(PREFACE)
            .sends(settings(&[]))
            .get(1)
            .gets_an_answer(1),
        bare("the preface goes on otherwise")
            .sends(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
            .expects(Expected::Closed),
        bare("the preface is of another version")
            .sends(b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n")
            .expects(Expected::Closed),
        bare("the first frame is no SETTINGS")
            .sends(PREFACE)
            .sends_frame(PING, 0, 0, [0; 8])
            .expects(Expected::Closed),
        bare("the first SETTINGS is an acknowledgement")
            .sends(PREFACE)
            .sends_frame(SETTINGS, ACK, 0, [])
            .expects(Expected::Closed),
        bare("the first frame is a request").sends(PREFACE).get(1).expects(Expected::Closed),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_of_a_frame_is_ignored() {
    run(vec![
        case("4.1", "an unknown kind on the connection").sends_frame(0x16, 0xff, 0, [0; 8]),
        case("4.1", "an unknown kind on an idle stream").sends_frame(0xbe, 0, 1, [0; 8]),
        case("4.1", "an unknown kind amid a body")
            .after_a_head(1)
            .sends_frame(0xbe, 0, 1, [0; 8])
            .sends_frame(DATA, END_STREAM, 1, b"x")
            .gets_an_answer(1),
        case("4.1", "the reserved bit of a stream identifier")
            .sends_frame(PING, 0, 1 << 31, b"reserved")
            .expects(Expected::Bytes(b"\0\0\x08\x06\x01\0\0\0\0reserved")),
        case("4.1", "the reserved bit of a request's identifier")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1 << 31 | 1, GET)
            .gets_an_answer(1),
        case("4.1", "flags that PING does not have")
            .sends_frame(PING, 0xfe, 0, b"flagged.")
            .expects(Expected::Bytes(b"\0\0\x08\x06\x01\0\0\0\0flagged.")),
        case("4.1", "flags that HEADERS does not have")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM | 0xd2, 1, GET)
            .gets_an_answer(1),
        case("5.5", "an unknown kind as long as a frame may be").sends_frame(0xbe, 0, 0, vec![0; 16_384]),
        case("5.5", "an unknown kind after an answer").after_an_answer().sends_frame(0xbe, 0, 1, [0; 8]),
        case("5.5", "an unknown kind within a field section")
            .sends_frame(HEADERS, END_STREAM, 1, GET)
            .sends_frame(0xbe, 0, 0, [0; 8])
            .sends_frame(CONTINUATION, END_HEADERS, 1, [])
            .ends_with(PROTOCOL_ERROR),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_no_longer_than_agreed() {
    let much = vec![b'x'; 16_384];
    let more = vec![b'x'; 16_385];
    run(vec![
        case("4.2", "DATA as long as it may be")
            .after_a_head(1)
            .sends_frame(DATA, END_STREAM, 1, &much)
            .gets_an_answer(1),
        case("4.2", "DATA that is longer")
            .after_a_head(1)
            .sends_frame(DATA, END_STREAM, 1, &more)
            .ends_with(FRAME_SIZE_ERROR),
        case("4.2", "HEADERS that are longer")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, [GET, &field("x", &more)].concat())
            .ends_with(FRAME_SIZE_ERROR),
        case("4.2", "CONTINUATION that is longer")
            .sends_frame(HEADERS, END_STREAM, 1, GET)
            .sends_frame(CONTINUATION, END_HEADERS, 1, field("x", &more))
            .ends_with(FRAME_SIZE_ERROR),
        case("4.2", "SETTINGS that are longer")
            .sends_frame(SETTINGS, 0, 0, [0; 16_386])
            .ends_with(FRAME_SIZE_ERROR),
        case("4.2", "an unknown kind that is longer")
            .sends_frame(0xbe, 0, 0, &more)
            .ends_with(FRAME_SIZE_ERROR),
        case("4.2", "the longest length there is, and no more")
            .sends(b"\xff\xff\xff\x00\0\0\0\0\x01")
            .ends_with(FRAME_SIZE_ERROR),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_section_is_whole_and_comes_in_one_go() {
    // without a path, and with x: y for the dynamic table
    let malformed = [&GET[..2], b"\x01\x01a\x40\x01x\x01y"].concat();
    let referring = [GET, b"\xbe"].concat();
    let begun = |what| case("4.3", what).sends_frame(HEADERS, END_STREAM, 1, &GET[..2]);
    run(vec![
        case("4.3", "a section that cannot be decoded")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82\x40")
            .ends_for(COMPRESSION_ERROR),
        case("4.3", "trailers that cannot be decoded")
            .after_a_head(1)
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\x05x")
            .ends_for(COMPRESSION_ERROR),
        begun("PRIORITY within it")
            .sends_frame(PRIORITY, 0, 1, [0, 0, 0, 0, 1])
            .sends_frame(CONTINUATION, END_HEADERS, 1, &GET[2..])
            .ends_with(PROTOCOL_ERROR),
        begun("PING within it")
            .sends_frame(PING, 0, 0, [0; 8])
            .sends_frame(CONTINUATION, END_HEADERS, 1, &GET[2..])
            .ends_with(PROTOCOL_ERROR),
        begun("SETTINGS within it")
            .sends(settings(&[]))
            .sends_frame(CONTINUATION, END_HEADERS, 1, &GET[2..])
            .ends_with(PROTOCOL_ERROR),
        begun("RST_STREAM within it").sends_frame(RST_STREAM, 0, 1, [0, 0, 0, 8]).ends_with(PROTOCOL_ERROR),
        begun("HEADERS of another stream within it").get(3).ends_with(PROTOCOL_ERROR),
        begun("DATA of another stream within it").sends_frame(DATA, 0, 3, b"x").ends_with(PROTOCOL_ERROR),
        case("4.3", "a request that is refused still fills the table")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, malformed)
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 3, referring)
            .gets_an_answer(3),
        case("4.3", "it may be cut anywhere")
            .sends_frame(HEADERS, 0, 1, &POST[..5])
            .sends_frame(CONTINUATION, END_HEADERS, 1, &POST[5..])
            .sends_frame(DATA, END_STREAM, 1, b"x")
            .gets_an_answer(1),
    ])
    .await;
}
