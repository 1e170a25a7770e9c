//! What an upstream demands: a `WWW-Authenticate` field a line. The first line is merged, as claims, into the others.

use http::HeaderMap;
use http::HeaderValue;
use http::header::WWW_AUTHENTICATE;
use obo_proxy::pipeline::exchange::demand::Demand;
use obo_proxy::pipeline::exchange::grant::claims::merged;
use serde_json::Map;
use serde_json::Value;

use super::material::is_plain;

/// Claims are a JSON object of bounded length, a sign-in is plain words, and other challenges make no difference.
pub fn check(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let mut headers = HeaderMap::new();
    for line in &lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    let demand = Demand::of(&headers);
    if let Some(claims) = &demand.claims {
        assert!(claims.text().len() <= 8192 && object(claims.text()).is_some());
    }
    if let Some(step_up) = &demand.step_up
        && let Some(classes) = &step_up.acr_values
    {
        assert!(is_plain(classes) && classes.len() <= 256 && !classes.contains(['"', '\\']), "{classes}");
        assert!(!classes.trim().is_empty());
    }
    headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="x", DPoP algs="ES256""#));
    assert_eq!(Demand::of(&headers), demand);
    let texts: Vec<&str> = lines.iter().filter_map(|line| std::str::from_utf8(line).ok()).collect();
    if let [below, above, ..] = texts[..] {
        check_merged(below, above);
    }
}

/// What is demanded is demanded after merging, and merging again changes nothing.
fn check_merged(below: &str, above: &str) {
    let once = merged(below, above);
    let (Some(mine), Some(theirs)) = (object(below), object(above)) else {
        assert!(once == below || once == above);
        return;
    };
    let all = object(&once).unwrap();
    assert!(mine.keys().chain(theirs.keys()).all(|name| all.contains_key(name)));
    assert!(all.keys().all(|name| mine.contains_key(name) || theirs.contains_key(name)));
    let scalar = |value: &Value| !value.is_null() && !value.is_object() && !value.is_array();
    assert!(theirs.iter().all(|(name, value)| !scalar(value) || all[name] == *value));
    assert_eq!(object(&merged(&once, above)), Some(all));
}

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}
