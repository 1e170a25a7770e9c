//! What several targets are made of: a configuration, and messages written as text, so that seeds can be read.

use std::sync::Arc;
use std::sync::LazyLock;

use bytes::Bytes;
use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::request::Parts;
use obo_proxy::config;
use obo_proxy::config::Config;
use obo_proxy::config::Route;

/// A configuration with something of everything that targets want.
pub static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = include_str!("material.yaml");
    match config::load_text("material.yaml", text, &[]) {
        Ok(loaded) => loaded.config,
        Err(report) => panic!("{report}"),
    }
});

/// The route of that name.
pub fn route(name: &str) -> &'static Arc<Route> {
    CONFIG.routes.iter().find(|route| route.name.as_str() == name).unwrap()
}

/// What comes before the first empty line, and what comes after it.
pub fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, &[]),
    }
}

/// The fields that are written in `lines`, `name: value` each; what is none is passed over.
pub fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// The request head that `text` is: `METHOD TARGET VERSION`, then fields.
pub fn head(text: &[u8]) -> Option<Parts> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.splitn(3, |byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let version = match version {
        b"HTTP/1.0" => http::Version::HTTP_10,
        b"HTTP/1.1" => http::Version::HTTP_11,
        b"HTTP/2" => http::Version::HTTP_2,
        _ => return None,
    };
    let request = Request::builder().method(method).uri(target).version(version).body(()).ok()?;
    let mut parts = request.into_parts().0;
    parts.headers = fields(lines);
    Some(parts)
}

/// The answer that `bytes` are: a status, fields, an empty line, a body.
pub fn answer(bytes: &[u8]) -> Option<Response<Bytes>> {
    let (head, body) = halves(bytes);
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = std::str::from_utf8(lines.next()?).ok()?;
    let mut response = Response::builder().status(status).body(Bytes::copy_from_slice(body)).ok()?;
    *response.headers_mut() = fields(lines);
    Some(response)
}

/// `bytes` in pieces, cut where a sequence says that begins with `seed`.
pub fn pieces(bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut rest, mut state) = (bytes, u32::from(seed) + 1);
    while !rest.is_empty() {
        // a linear congruential generator, with the numbers of Numerical Recipes
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = 1 + (state >> 24) as usize % if state & 1 == 0 { 3 } else { 40 };
        let (piece, others) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = others;
    }
    pieces
}

/// Whether every byte is visible ASCII or a space.
pub fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
