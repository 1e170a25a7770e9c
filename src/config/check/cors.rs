//! `cors` of a route.

use http::HeaderValue;
use url::Url;

use crate::config::Cors;
use crate::config::check::At;
use crate::config::check::items;
use crate::config::wire;

/// What is written at `at`.
pub fn check(wire: &wire::treatment::Cors, at: &At<'_>) -> Option<Cors> {
    let Some(listed) = items(wire.origins.as_ref(), &at.key("origins")) else {
        at.missing("origins", "write whose scripts may call the route, as in origins: [https://app.example]");
        return None;
    };
    if listed.is_empty() {
        return None;
    }
    if let [("*", star_at)] = listed.as_slice() {
        let help = "name the origins of your own pages, unless this is for everybody's";
        star_at.warning("scripts of any site may call this route from a browser", help);
        return Some(Cors::Any);
    }
    let mut origins = Vec::new();
    let mut complete = true;
    for (text, at) in listed {
        if text == "*" {
            at.error_with("`*` is every origin", "leave the others out, or it");
            complete = false;
            continue;
        }
        match origin(text) {
            Ok(origin) if origins.contains(&origin) => {}
            Ok(origin) => origins.push(origin),
            Err(help) => {
                at.error_with(format!("`{}` is no origin as browsers send it", at.shown(text)), help);
                complete = false;
            }
        }
    }
    complete.then_some(Cors::Origins(origins))
}

/// An origin as browsers write it (RFC 6454 section 6.2), or what to write instead: no other form is ever sent, so that it
/// could not match.
fn origin(text: &str) -> Result<HeaderValue, String> {
    const FORM: &str = "write a scheme, a host and perhaps a port, without a path, as in https://app.example";
    let form = || FORM.to_owned();
    if text == "null" {
        return Err(
            "pages without an origin of their own all send `null`: serve yours from one that has one".into(),
        );
    }
    if text.contains('*') {
        return Err("origins are compared whole: list them, or write `*` alone for any".into());
    }
    let (scheme, authority) = text.split_once("://").ok_or_else(form)?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte));
    let is_web = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https");
    if is_web {
        let url = Url::parse(text).map_err(|_| form())?;
        let sent = url.origin().ascii_serialization();
        if sent != text {
            return Err(format!("write {sent}"));
        }
    } else {
        // those of extensions and of apps in a web view
        let is_authority =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._:[]".contains(&byte);
        if !is_scheme || authority.is_empty() || !authority.bytes().all(is_authority) {
            return Err(form());
        }
    }
    HeaderValue::from_str(text).map_err(|_| form())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for good in [
            "https://app.example",
            "http://localhost:3000",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "https://xn--bcher-kva.example",
            "chrome-extension://abcdefghijklmnop",
            "capacitor://localhost",
        ] {
            assert!(origin(good).is_ok(), "{good}");
        }
        for (bad, instead) in [
            ("https://app.example/", Some("https://app.example")),
            ("https://app.example/x?y", Some("https://app.example")),
            ("https://App.example", Some("https://app.example")),
            ("HTTPS://app.example", Some("https://app.example")),
            ("https://app.example:443", Some("https://app.example")),
            ("http://app.example:80", Some("http://app.example")),
            ("https://bücher.example", Some("https://xn--bcher-kva.example")),
            ("https://user@app.example", Some("https://app.example")),
            ("app.example", None),
            ("https://", None),
            ("https://*.example", None),
            ("null", None),
            ("", None),
            ("ionic://", None),
            ("ionic://local host", None),
            ("ionic://localhost/", None),
        ] {
            let help = origin(bad).err();
            match instead {
                None => assert!(help.is_some(), "{bad}"),
                Some(instead) => assert_eq!(help, Some(format!("write {instead}")), "{bad}"),
            }
        }
    }
}
