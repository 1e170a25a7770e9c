//! What a token claims (RFC 7519 section 4), typed but not yet believed. Pure.

use serde_json::Map;
use serde_json::Value;

use crate::domain::caller::claim;
use crate::domain::clock::UnixTime;
use crate::pipeline::authenticate::error::Kind;
use crate::pipeline::authenticate::json;

/// How deep claims may be nested.
pub const DEPTH: usize = 16;

/// Claims whose types are right. A claim of the wrong type is a malformed token, never an absent claim.
#[derive(Clone)]
pub struct Stated {
    members: Map<String, Value>,
    expires_on: UnixTime,
    not_before: Option<UnixTime>,
}

const WRONG_TYPE: Kind = Kind::Malformed("a claim has the wrong type");

impl Stated {
    /// The claims in `payload`.
    ///
    /// # Errors
    /// [`Kind::Malformed`].
    pub fn parse(payload: &[u8]) -> Result<Self, Kind> {
        let members = json::object(payload, DEPTH)
            .ok_or(Kind::Malformed("its claims are not one unambiguous JSON object"))?;
        Self::read(members)
    }

    /// The claims that are `members`.
    ///
    /// # Errors
    /// [`Kind::Malformed`].
    pub fn read(members: Map<String, Value>) -> Result<Self, Kind> {
        texts_only(&members, &["iss", "sub", "azp", "appid", "client_id", "cid"])?;
        if members.get("aud").is_some_and(|value| !is_text_or_texts(value)) {
            return Err(WRONG_TYPE);
        }
        time(&members, "iat")?;
        let not_before = time(&members, "nbf")?;
        let expires_on = time(&members, "exp")?.ok_or(Kind::Malformed("it never expires"))?;
        Ok(Self { members, expires_on, not_before })
    }

    /// Checks the types of claims that mean something at Entra, and elsewhere may be anything.
    ///
    /// # Errors
    /// [`Kind::Malformed`].
    pub fn check_as_entra_s(&self) -> Result<(), Kind> {
        texts_only(&self.members, &["oid", "tid"])?;
        let are_words = |name: &str| self.members.get(name).is_none_or(is_text_or_texts);
        if are_words("scp") && are_words("roles") { Ok(()) } else { Err(WRONG_TYPE) }
    }

    /// `exp`.
    pub fn expires_on(&self) -> UnixTime {
        self.expires_on
    }

    /// `nbf`.
    pub fn not_before(&self) -> Option<UnixTime> {
        self.not_before
    }

    /// The claim `name`, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.find(name).and_then(Value::as_str)
    }

    /// The claim of that name, or, if there is none, the one its dotted path leads to.
    pub fn find(&self, path: &str) -> Option<&Value> {
        claim(&self.members, path)
    }

    /// The words of a claim: those of a space-separated text, or of a list. `None` if it is absent.
    ///
    /// # Errors
    /// [`Kind::Malformed`] if it is anything else.
    pub fn words(&self, path: &str) -> Result<Option<Vec<String>>, Kind> {
        let Some(value) = self.find(path) else { return Ok(None) };
        if !is_text_or_texts(value) {
            return Err(WRONG_TYPE);
        }
        Ok(Some(match value {
            Value::String(text) => {
                text.split(' ').filter(|word| !word.is_empty()).map(String::from).collect()
            }
            list => texts(list).map(String::from).collect(),
        }))
    }

    /// Whether `aud` is or holds exactly one of `audiences`.
    pub fn is_for(&self, audiences: &[String]) -> bool {
        let ours = |aud: &str| audiences.iter().any(|audience| audience == aud);
        match self.members.get("aud") {
            Some(Value::String(aud)) => ours(aud),
            Some(list) => texts(list).any(ours),
            None => false,
        }
    }

    /// Whether `aud` is `audience` and nothing else.
    pub fn is_for_only(&self, audience: &str) -> bool {
        match self.members.get("aud") {
            Some(Value::String(aud)) => aud == audience,
            Some(Value::Array(list)) => !list.is_empty() && list.iter().all(|aud| aud == audience),
            _ => false,
        }
    }

    /// All claims.
    pub fn into_members(self) -> Map<String, Value> {
        self.members
    }
}

fn texts_only(members: &Map<String, Value>, names: &[&str]) -> Result<(), Kind> {
    let is_text =
        |name: &&str| members.get(*name).is_none_or(|it| it.as_str().is_some_and(|it| !it.is_empty()));
    if names.iter().all(is_text) { Ok(()) } else { Err(WRONG_TYPE) }
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn is_text_or_texts(value: &Value) -> bool {
    match value {
        Value::String(_) => true,
        Value::Array(items) => items.iter().all(Value::is_string),
        _ => false,
    }
}

/// A NumericDate (RFC 7519 section 2), in whole seconds: it may have a fraction, which is dropped.
fn time(members: &Map<String, Value>, name: &str) -> Result<Option<UnixTime>, Kind> {
    let Some(value) = members.get(name) else { return Ok(None) };
    let number = value.as_number().ok_or(WRONG_TYPE)?;
    let seconds = number.as_i64().or_else(|| number.as_f64().and_then(whole_seconds));
    let seconds = seconds.ok_or(Kind::Malformed("a time is out of range"))?;
    Ok(Some(UnixTime::from_seconds(seconds)))
}

/// `None` beyond 2^53, where a float no longer counts seconds.
fn whole_seconds(number: f64) -> Option<i64> {
    (number.abs() <= 9_007_199_254_740_992.0).then(|| number.floor() as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(claims: Value) -> Result<Stated, Kind> {
        Stated::parse(claims.to_string().as_bytes())
    }

    #[test]
    fn a_claim_of_the_wrong_type_is_not_an_absent_claim() {
        for (name, values) in [
            (
                "exp",
                vec![
                    json!("1"),
                    json!(null),
                    json!(true),
                    json!([1]),
                    json!({}),
                    json!(1e19),
                    json!(u64::MAX),
                ],
            ),
            ("nbf", vec![json!("1"), json!(null), json!([]), json!(-1e300)]),
            ("iat", vec![json!("1"), json!(null), json!(false)]),
            ("aud", vec![json!(1), json!(null), json!({}), json!(["a", 1]), json!([["a"]])]),
            ("iss", vec![json!(1), json!(null), json!(["i"]), json!({}), json!("")]),
            ("tid", vec![json!(1), json!(null), json!(["t"]), json!("")]),
            ("oid", vec![json!(1), json!(null), json!([]), json!("")]),
            ("sub", vec![json!(1), json!(null), json!({}), json!("")]),
            ("scp", vec![json!(1), json!(null), json!([1]), json!({"a": 1})]),
            ("azp", vec![json!(1), json!(null), json!(["c"])]),
            ("appid", vec![json!(1), json!(null), json!(["c"])]),
            ("client_id", vec![json!(1), json!(null), json!(["c"]), json!("")]),
            ("cid", vec![json!(1), json!({})]),
            ("roles", vec![json!(1), json!(null), json!([null]), json!({"a": 1})]),
        ] {
            for value in values {
                let mut claims = json!({"exp": 1});
                claims[name] = value.clone();
                let checked = parse(claims).and_then(|stated| stated.check_as_entra_s());
                assert!(matches!(checked, Err(Kind::Malformed(_))), "{name}: {value}");
            }
        }
    }

    #[test]
    fn what_only_entra_means_something_by_may_be_anything_elsewhere() {
        for claims in [
            json!({"exp": 1, "tid": 7, "oid": [], "roles": {"admin": {"1": "a"}}, "scp": null}),
            json!({"exp": 1, "auth_time": "2026-03-01T08:00:00.000Z", "ver": 1}),
        ] {
            assert!(parse(claims.clone()).is_ok(), "{claims}");
        }
    }

    #[test]
    fn an_audience_may_be_the_only_one() {
        for (aud, is_only) in [
            (json!("orders"), true),
            (json!(["orders"]), true),
            (json!(["orders", "orders"]), true),
            (json!(["orders", "x"]), false),
            (json!([]), false),
            (json!("x"), false),
        ] {
            assert_eq!(
                parse(json!({"exp": 1, "aud": aud})).ok().unwrap().is_for_only("orders"),
                is_only,
                "{aud}"
            );
        }
        assert!(!parse(json!({"exp": 1})).ok().unwrap().is_for_only("orders"));
    }

    #[test]
    fn times_are_numbers_and_a_fraction_is_dropped() {
        for (text, seconds) in
            [("1493924816", 1_493_924_816), ("1.9", 1), ("1e3", 1_000), ("-0.5", -1), ("0", 0)]
        {
            let claims = Stated::parse(format!(r#"{{"exp":{text},"nbf":{text}}}"#).as_bytes()).ok().unwrap();
            assert_eq!(claims.expires_on().as_seconds(), seconds, "{text}");
            assert_eq!(claims.not_before().map(UnixTime::as_seconds), Some(seconds), "{text}");
        }
        for text in ["1e1000000", "9223372036854775808", "1e18", "-1e400", "Infinity", ""] {
            assert!(Stated::parse(format!(r#"{{"exp":{text}}}"#).as_bytes()).is_err(), "{text}");
        }
        assert!(matches!(parse(json!({"nbf": 1})), Err(Kind::Malformed(_))));
    }

    #[test]
    fn what_is_no_object_makes_no_claims() {
        for payload in
            ["", "null", "[]", "foo", r#"{"exp":1}{"#, r#"{"exp":1,"exp":2}"#, r#"{"exp":1,"EXP":2}"#]
        {
            assert!(Stated::parse(payload.as_bytes()).is_err(), "{payload}");
        }
    }

    #[test]
    fn an_audience_is_ours_by_every_byte_or_not_at_all() {
        let ours = ["api://orders".to_owned(), "6731de76".to_owned()];
        for (aud, is_ours) in [
            (json!("api://orders"), true),
            (json!(["x", "6731de76"]), true),
            (json!("api://orders/"), false),
            (json!("API://orders"), false),
            (json!("api://order"), false),
            (json!(["api://orders 6731de76"]), false),
            (json!(""), false),
            (json!([]), false),
        ] {
            assert_eq!(parse(json!({"exp": 1, "aud": aud})).ok().unwrap().is_for(&ours), is_ours, "{aud}");
        }
        assert!(!parse(json!({"exp": 1})).ok().unwrap().is_for(&ours));
    }

    #[test]
    fn a_dotted_path_reaches_into_objects_and_a_plain_name_comes_first() {
        let claims = parse(json!({
            "exp": 1,
            "scp": "a  b",
            "realm_access": {"roles": ["r one", "s"]},
            "https://x.example/y": "url",
            "deep": {"er": 7},
        }))
        .ok()
        .unwrap();
        assert_eq!(claims.words("scp"), Ok(Some(vec!["a".into(), "b".into()])));
        assert_eq!(claims.words("realm_access.roles"), Ok(Some(vec!["r one".into(), "s".into()])));
        assert_eq!(claims.words("realm_access.groups"), Ok(None));
        assert_eq!(claims.words("scp.roles"), Ok(None));
        assert_eq!(claims.text("https://x.example/y"), Some("url"));
        assert!(claims.words("deep.er").is_err());
    }
}
