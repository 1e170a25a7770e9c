//! What a browser asks on behalf of a script before it sends the script's request (the Fetch standard's CORS-preflight
//! request). Pure.

use std::collections::HashSet;

use http::HeaderMap;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::header;
use http::request::Parts;

/// Most fields that a script's request may be announced with.
const MOST_NAMES: usize = 64;

/// A request that is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// Whose script sends it.
    pub origin: HeaderValue,
    /// Its method.
    pub method: Method,
    /// The fields it has beyond those that every script may send; `None` = they are too many, or their names are none.
    pub fields: Option<Vec<HeaderName>>,
}

impl Announced {
    /// What `head` announces, if it is a preflight.
    pub fn by(head: &Parts) -> Option<Self> {
        if head.method != Method::OPTIONS {
            return None;
        }
        let method = sole(&head.headers, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return None;
        }
        let origin = sole(&head.headers, &header::ORIGIN)?.clone();
        Some(Self { origin, method, fields: fields(&head.headers) })
    }
}

/// The origin whose script sent a request, if any did.
pub fn origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    sole(headers, &header::ORIGIN)
}

fn fields(headers: &HeaderMap) -> Option<Vec<HeaderName>> {
    let lists = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    let mut seen = HashSet::new();
    let mut fields = Vec::new();
    for name in names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()) {
        let name = HeaderName::from_bytes(name).ok()?;
        if seen.insert(name.clone()) {
            fields.push(name);
        }
        if fields.len() > MOST_NAMES {
            return None;
        }
    }
    Some(fields)
}

fn sole<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    fn announced(method: &str, fields: &[(&str, &str)]) -> Option<Announced> {
        let mut request = Request::builder().method(method).uri("/orders");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        Announced::by(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_preflight_names_its_origin_and_method_once() {
        let (origin, get) = (("origin", "https://a.example"), ("access-control-request-method", "GET"));
        let other = ("access-control-request-method", "PUT");
        for (method, fields, is_one) in [
            ("OPTIONS", &[origin, get][..], true),
            ("OPTIONS", &[origin, ("access-control-request-method", "PROPFIND")], true),
            ("GET", &[origin, get], false),
            ("OPTIONS", &[origin], false),
            ("OPTIONS", &[get], false),
            ("OPTIONS", &[origin, get, other], false),
            ("OPTIONS", &[origin, origin, get], false),
            ("OPTIONS", &[origin, ("access-control-request-method", "G T")], false),
            ("OPTIONS", &[origin, ("access-control-request-method", "")], false),
            ("OPTIONS", &[origin, ("access-control-request-method", "TRACE")], false),
            ("OPTIONS", &[origin, ("access-control-request-method", "CONNECT")], false),
        ] {
            assert_eq!(announced(method, fields).is_some(), is_one, "{method} {fields:?}");
        }
    }

    #[test]
    fn its_fields_are_names_and_not_too_many() {
        let many = |count: usize| (0..count).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(",");
        let seen = |lists: &[&str]| {
            let mut all = vec![("origin", "https://a.example"), ("access-control-request-method", "GET")];
            all.extend(lists.iter().map(|list| ("access-control-request-headers", *list)));
            let fields = announced("OPTIONS", &all).unwrap().fields?;
            Some(fields.iter().map(HeaderName::as_str).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(seen(&[]).as_deref(), Some(""));
        assert_eq!(
            seen(&["Authorization,content-type , ,x-a"]).as_deref(),
            Some("authorization content-type x-a")
        );
        assert_eq!(seen(&["x-a", "x-b,X-A"]).as_deref(), Some("x-a x-b"));
        assert_eq!(seen(&["x-a, b c"]), None);
        assert_eq!(seen(&["x-a, x(b)"]), None);
        assert!(seen(&[&many(MOST_NAMES)]).is_some());
        assert_eq!(seen(&[&many(MOST_NAMES + 1)]), None);
    }

    proptest! {
        #[test]
        fn any_list_of_fields_is_answered(list in "[ -~]{0,60}") {
            let fields =
                [("origin", "x"), ("access-control-request-method", "GET"), ("access-control-request-headers", &list)];
            for name in announced("OPTIONS", &fields).unwrap().fields.into_iter().flatten() {
                prop_assert!(list.to_ascii_lowercase().contains(name.as_str()));
            }
        }
    }
}
