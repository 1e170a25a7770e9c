//! What a connection's first reads hold: the first byte says how they are cut.

use http::Method;
use http::Uri;
use obo_proxy::pipeline::accept::fragment::Found;
use obo_proxy::pipeline::accept::fragment::Search;

use super::material::pieces;

/// A request line whose target has a fragment is found however it comes, and no other request is taken for it.
pub fn check(bytes: &[u8]) {
    let Some((seed, bytes)) = bytes.split_first() else { return };
    let (whole, parts) = (found(&[bytes]), found(&pieces(bytes, *seed)));
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((method, target)) = request(line) else { continue };
        let has_mark = target.contains(&b'#');
        let Ok(uri) = Uri::try_from(target) else { continue };
        let is_found = [&whole, &parts].map(|found| found.has(&method, &uri));
        assert_eq!(is_found[0], is_found[1], "{method} {uri}");
        if has_mark && (target.starts_with(b"/") || uri.scheme().is_some()) {
            assert!(is_found[0], "{method} {uri}");
        }
    }
    let never = Uri::from_static("/no/such/target/in/any/seed?at=all");
    assert!(!whole.has(&Method::from_bytes(b"NOSUCHMETHOD").unwrap(), &never));
}

fn found(pieces: &[&[u8]]) -> Found {
    let (mut search, mut all) = (Search::new(), Found::default());
    for piece in pieces {
        search.read(piece, |found| all.extend(&found));
    }
    all
}

/// Method and target of a request line, up to the version.
fn request(line: &[u8]) -> Option<(Method, &[u8])> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let method = Method::from_bytes(&line[..space]).ok()?;
    let target = line[space + 1..].strip_suffix(b" HTTP/1.1\r")?;
    let is_target = target.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    (is_target && method.as_str().len() <= 64).then_some((method, target))
}
