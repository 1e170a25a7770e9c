//! A path, as it stands in a request.

use std::sync::LazyLock;

use http::Request;
use http::Uri;
use obo_proxy::pipeline::forward::target;
use obo_proxy::pipeline::route::RouteTable;
use obo_proxy::pipeline::route::path;

use super::material::CONFIG;

static TABLE: LazyLock<RouteTable> = LazyLock::new(|| RouteTable::new(&CONFIG.routes));

/// There is one canonical form, and nobody behind us reads it as the path of another route.
pub fn check(bytes: &[u8]) {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    if let Ok(canonical) = path::canonical(raw) {
        assert_eq!(path::canonical(&canonical.path).as_ref(), Ok(&canonical));
        assert!(is_canonical(&canonical.path), "{}", canonical.path);
        let decoded = path::decoded(&canonical.path);
        assert!(!decoded.chars().any(|c| c.is_ascii_control() || c == '\\'));
        for reading in path::readings(&canonical).unwrap_or_default() {
            assert!(!reading.contains("//") && !has_dots(&reading), "{reading}");
        }
    }
    let Ok(uri) = raw.parse::<Uri>() else { return };
    let Ok(request) = Request::get(uri).header("host", "api.example").body(()) else { return };
    let head = request.into_parts().0;
    let Ok(routed) = TABLE.find(&CONFIG.listeners[0].name, &head) else { return };
    assert_eq!(path::canonical(head.uri.path()).unwrap().path, routed.path);
    let own = routed.route.matches.path.as_str();
    for reading in hostile_readings(&routed.path) {
        assert_eq!(prefix_of(&reading), own, "{} may be read as {reading}", routed.path);
    }
    let onward =
        target::target(&routed.route.upstream, &routed.route.rewrite, &routed.path, &head.uri).unwrap();
    assert_eq!(onward.query(), head.uri.query());
    let rest = onward.path().strip_prefix(&routed.route.upstream.base_path).unwrap();
    let stripped = routed.route.rewrite.strip_prefix.as_deref().unwrap_or_default();
    assert!(rest.starts_with('/'));
    assert!(
        rest == routed.path
            || format!("{stripped}{rest}").trim_end_matches('/') == routed.path.trim_end_matches('/')
    );
}

/// RFC 3986 section 6.2.2, and ASCII alone.
fn is_canonical(path: &str) -> bool {
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escapes = path.split('%').skip(1).all(|after| {
        let digits = after.get(..2).unwrap_or_default();
        let is_upper = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        is_upper && u8::from_str_radix(digits, 16).is_ok_and(|byte| !is_unreserved(byte))
    });
    path.is_ascii() && path.starts_with('/') && escapes && !path.contains("//") && !has_dots(path)
}

fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| segment == "." || segment == "..")
}

/// What servers have been seen to make of a path: decoded once or twice, backslashes as slashes, parameters cut off before or
/// after that, slashes merged, dots resolved.
fn hostile_readings(path: &str) -> Vec<String> {
    let mut readings = Vec::new();
    for decodings in 0..3 {
        for cut_at in 0..4 {
            let mut text = path.to_owned();
            for step in 0..decodings {
                if cut_at == step {
                    text = without_parameters(&text);
                }
                text = path::decoded(&text);
            }
            if cut_at == 3 {
                text = without_parameters(&text);
            }
            let text = text.replace('\\', "/");
            readings.push(resolved(&text));
        }
    }
    readings
}

fn without_parameters(path: &str) -> String {
    path.split('/').map(|segment| segment.split(';').next().unwrap()).collect::<Vec<_>>().join("/")
}

fn resolved(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            other => segments.push(other),
        }
    }
    format!("/{}", segments.join("/"))
}

/// The path of the route that takes `path`.
fn prefix_of(path: &str) -> &'static str {
    let takes = |prefix: &&&str| {
        path.strip_prefix(**prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    ["/public/admin", "/public", "/admin"].iter().find(takes).unwrap_or(&"/")
}
