//! Field compression (RFC 7541).

use super::Case;
use super::GET;
use super::case;
use super::run;
use crate::support::http2::COMPRESSION_ERROR;
use crate::support::http2::END_HEADERS;
use crate::support::http2::END_STREAM;
use crate::support::http2::HEADERS;
use crate::support::http2::string;

/// A request whose field section is that of `GET` and these bytes.
fn with(section: &'static str, what: &'static str, more: &[u8]) -> Case {
    case(section, what).sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, [GET, more].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_a_field_is_understood() {
    run(vec![
        with("HPACK 6.1", "by index", b"\x90").gets_an_answer(1),
        with("HPACK 6.2.1", "into the table, its name by index", b"\x50\x01x").gets_an_answer(1),
        with("HPACK 6.2.1", "into the table, its name by index, Huffman-coded", b"\x50\x81\x1f")
            .gets_an_answer(1),
        with("HPACK 6.2.1", "into the table, with a new name", b"\x40\x01x\x01y").gets_an_answer(1),
        with("HPACK 6.2.1", "into the table, with a new name, Huffman-coded", b"\x40\x81\x1f\x81\x1f")
            .gets_an_answer(1),
        with("HPACK 6.2.1", "into the table and out of it", b"\x40\x01x\x01y\xbe").gets_an_answer(1),
        with("HPACK 6.2.2", "not into the table, its name by index", b"\x0f\x01\x01x").gets_an_answer(1),
        with("HPACK 6.2.2", "not into the table, its name by index, Huffman-coded", b"\x0f\x01\x81\x1f")
            .gets_an_answer(1),
        with("HPACK 6.2.2", "not into the table, with a new name", b"\x00\x01x\x01y").gets_an_answer(1),
        with("HPACK 6.2.2", "not into the table, with a new name, Huffman-coded", b"\x00\x81\x1f\x81\x1f")
            .gets_an_answer(1),
        with("HPACK 6.2.3", "never into a table, its name by index", b"\x1f\x01\x01x").gets_an_answer(1),
        with("HPACK 6.2.3", "never into a table, its name by index, Huffman-coded", b"\x1f\x01\x81\x1f")
            .gets_an_answer(1),
        with("HPACK 6.2.3", "never into a table, with a new name", b"\x10\x01x\x01y").gets_an_answer(1),
        with("HPACK 6.2.3", "never into a table, with a new name, Huffman-coded", b"\x10\x81\x1f\x81\x1f")
            .gets_an_answer(1),
        with("HPACK 5.2", "an empty value", b"\x10\x01x\x00").gets_an_answer(1),
        with("HPACK 5.1", "a length with zeros after its end", b"\x10\x01x\x7f\x80\x80\x00")
            .ends_for(COMPRESSION_ERROR),
        case("HPACK 6.3", "a new size of the table")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, [b"\x20", GET].concat())
            .gets_an_answer(1),
        case("HPACK 6.3", "two new sizes of the table")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, [b"\x20\x3f\xe1\x1f", GET].concat())
            .gets_an_answer(1),
        case("HPACK 2.3.2", "what one request put into the table, the next takes out")
            .sends_frame(HEADERS, END_HEADERS, 1, [GET, b"\x40\x01x\x01y"].concat())
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 3, [GET, b"\xbe"].concat())
            .gets_an_answer(3),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_ends_the_connection() {
    let wrong = |section, what, more: &[u8]| with(section, what, more).ends_for(COMPRESSION_ERROR);
    run(vec![
        wrong("HPACK 2.3.3", "an index above all fields there are", b"\xbe"),
        wrong("HPACK 2.3.3", "a name's index above all fields there are", b"\x7e\x01x"),
        wrong("HPACK 2.3.3", "an index far above", b"\xff\xff\xff\x0f"),
        wrong("HPACK 4.2", "a new size of the table after a field", b"\x20"),
        wrong("HPACK 4.3", "a field that a new size evicted", b"\x40\x01x\x01y\x20\xbe"),
        wrong(
            "HPACK 4.4",
            "a field too large for the table, and the one before it",
            &[&b"\x40\x01x\x01y\x40\x01z"[..], &string(&[b'y'; 4096]), b"\xbe"].concat(),
        ),
        wrong("HPACK 5.1", "an integer without end", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        wrong("HPACK 5.2", "a string longer than the section", b"\x10\x01x\x05y"),
        wrong(
            "HPACK 5.2",
            "a Huffman-coded string with more than 7 bits of padding",
            b"\x10\x01x\x82\x1f\xff",
        ),
        wrong("HPACK 5.2", "a Huffman-coded string padded with zeros", b"\x10\x01x\x81\x18"),
        wrong(
            "HPACK 5.2",
            "a Huffman-coded string with the end of strings in it",
            b"\x10\x01x\x86\x1f\xff\xff\xff\xff\x1f",
        ),
        wrong("HPACK 6.1", "index 0", b"\x80"),
        wrong("HPACK 6.2", "a field without a value", b"\x10\x01x"),
        wrong("HPACK 6.2", "a field without a name", b"\x40"),
        case("HPACK 6.3", "a table larger than the server offers")
            .sends_frame(HEADERS, END_HEADERS | END_STREAM, 1, [b"\x3f\xe2\x1f", GET].concat())
            .ends_for(COMPRESSION_ERROR),
    ])
    .await;
}
