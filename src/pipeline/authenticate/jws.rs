//! A JWS in compact form (RFC 7515 section 7.1), taken apart but not believed. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Map;
use serde_json::Value;

use crate::config::Algorithm;
use crate::pipeline::authenticate::error::Kind;
use crate::pipeline::authenticate::json;

/// How deep a header may be nested.
pub const HEADER_DEPTH: usize = 8;

/// The longest key id that is looked up, in bytes.
const MAX_KID: usize = 256;

/// A JWS whose parts are well formed. Whether its signature verifies is for `verify` to say.
pub struct Jws<'t> {
    signed: &'t str,
    signature: &'t str,
    header: Header,
    payload: Vec<u8>,
}

/// What is read of a protected header. `jku`, `jwk`, `x5u` and `x5c` are not: a token does not say by which key it
/// is to be believed (RFC 8725 section 3.10). Neither is `nonce`, by which Entra marks tokens for Microsoft's own
/// resources: what it signed there is another text than the token, so the signature is wrong like any other.
/// The thumbprints `x5t#S256` and `x5t` only name a key the issuer publishes, and are read where `kid` is missing.
struct Header {
    algorithm: Option<Algorithm>,
    key: Named,
    typ: Option<String>,
}

/// A [`KeyName`] that stands by itself.
enum Named {
    Id(String),
    Sha256(String),
    Sha1(String),
    Not,
}

/// By which name a token calls the key that signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyName<'t> {
    /// By its `kid`.
    Id(&'t str),
    /// By its certificate's SHA-256 thumbprint, `x5t#S256`.
    Sha256(&'t str),
    /// By its certificate's SHA-1 thumbprint, `x5t`, as AD FS does. It is looked up, never relied on.
    Sha1(&'t str),
    /// By none.
    Not,
}

impl<'t> Jws<'t> {
    /// Takes `token` apart. The signature may be empty here, so that `alg: none` is refused for what it is.
    ///
    /// # Errors
    /// [`Kind::Malformed`].
    pub fn parse(token: &'t str) -> Result<Self, Kind> {
        let malformed = || Kind::Malformed("it is not three parts of base64url");
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        let header = decode(header).ok_or_else(malformed)?;
        let payload = decode(payload).ok_or_else(malformed)?;
        decode(signature).ok_or_else(malformed)?;
        let header = json::object(&header, HEADER_DEPTH)
            .ok_or(Kind::Malformed("its header is not one unambiguous JSON object"))?;
        Ok(Self { signed, signature, header: Header::read(&header)?, payload })
    }

    /// The algorithm the header names, if it is among `allowed`.
    ///
    /// # Errors
    /// [`Kind::AlgorithmNotAllowed`], or [`Kind::Malformed`] if it is allowed but there is no signature.
    pub fn algorithm(&self, allowed: impl IntoIterator<Item = Algorithm>) -> Result<Algorithm, Kind> {
        let named = self.header.algorithm.ok_or(Kind::AlgorithmNotAllowed)?;
        if !allowed.into_iter().any(|algorithm| algorithm == named) {
            return Err(Kind::AlgorithmNotAllowed);
        }
        if self.signature.is_empty() {
            return Err(Kind::Malformed("its signature is empty"));
        }
        Ok(named)
    }

    /// Which key signed it, as it says: `kid`, else `x5t#S256`, else `x5t`.
    pub fn key(&self) -> KeyName<'_> {
        match &self.header.key {
            Named::Id(kid) => KeyName::Id(kid),
            Named::Sha256(thumbprint) => KeyName::Sha256(thumbprint),
            Named::Sha1(thumbprint) => KeyName::Sha1(thumbprint),
            Named::Not => KeyName::Not,
        }
    }

    /// `typ`.
    pub fn typ(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    /// The text under the signature.
    pub fn signed(&self) -> &'t str {
        self.signed
    }

    /// The signature, in base64url.
    pub fn signature(&self) -> &'t str {
        self.signature
    }

    /// The payload, decoded.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl Header {
    fn read(members: &Map<String, Value>) -> Result<Self, Kind> {
        // `crit` names extensions that must be understood, and we understand none (RFC 7515 section 4.1.11)
        for refused in ["crit", "b64", "zip", "enc"] {
            if members.contains_key(refused) {
                return Err(Kind::Malformed("its header asks for an extension that is not supported"));
            }
        }
        let algorithm = text(members, "alg")?.ok_or(Kind::Malformed("its header names no algorithm"))?;
        if text(members, "cty")?.is_some_and(|cty| media_type_is(cty, "JWT")) {
            return Err(Kind::Malformed("it is nested"));
        }
        Ok(Self {
            algorithm: Algorithm::parse(algorithm),
            key: Named::read(members)?,
            typ: text(members, "typ")?.map(String::from),
        })
    }
}

impl Named {
    fn read(members: &Map<String, Value>) -> Result<Self, Kind> {
        let named = |member: &str| match text(members, member)? {
            Some(name) if name.len() > MAX_KID => Err(Kind::Malformed("its key id is longer than 256 bytes")),
            name => Ok(name.map(String::from)),
        };
        if let Some(kid) = named("kid")? {
            return Ok(Self::Id(kid));
        }
        if let Some(thumbprint) = named("x5t#S256")? {
            return Ok(Self::Sha256(thumbprint));
        }
        Ok(named("x5t")?.map_or(Self::Not, Self::Sha1))
    }
}

fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<Option<&'m str>, Kind> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Kind::Malformed("a member of its header has the wrong type")),
    }
}

/// Whether `token` is meant to be a JWT, good or bad: three parts, the first a JSON object. What is not is opaque.
pub fn is_meant(token: &str) -> bool {
    let mut parts = token.split('.');
    let header = parts.next().and_then(decode);
    let has_shape = parts.by_ref().take(3).count() == 2;
    let is_object = |bytes: Vec<u8>| serde_json::from_slice::<Map<String, Value>>(&bytes).is_ok();
    has_shape && header.is_some_and(is_object)
}

/// Whether two media types are one; both may leave out `application/` (RFC 7515 sections 4.1.9 and 4.1.10).
pub fn media_type_is(one: &str, other: &str) -> bool {
    fn short(name: &str) -> &str {
        const PREFIX: &str = "application/";
        match name.get(..PREFIX.len()) {
            Some(start) if start.eq_ignore_ascii_case(PREFIX) => name.get(PREFIX.len()..).unwrap_or(name),
            _ => name,
        }
    }
    short(one).eq_ignore_ascii_case(short(other))
}

/// base64url as RFC 7515 section 2 wants it: no padding, no stray bits in the last character.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str) -> String {
        format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(header))
    }

    #[test]
    fn three_parts_of_canonical_base64url_are_a_jws() {
        let text = token(r#"{"alg":"RS256","kid":"k","typ":"JWT","nonce":"n","x5c":[1],"jwk":7}"#);
        let jws = Jws::parse(&text).unwrap();
        assert_eq!((jws.key(), jws.typ(), jws.payload()), (KeyName::Id("k"), Some("JWT"), &b"{}"[..]));
        assert_eq!(jws.algorithm([Algorithm::RS256]), Ok(Algorithm::RS256));
        assert_eq!(format!("{}.{}", jws.signed(), jws.signature()), text);
    }

    #[test]
    fn any_other_shape_is_malformed() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#);
        for text in [
            String::new(),
            "opaque".into(),
            "..".into(),
            format!("{header}.e30"),
            format!("{header}.e30.c2ln.c2ln"),
            format!("{header}.e30.c2ln."),
            format!("{header}.e30=.c2ln"),
            format!("{header}.e30.c2lnYQ=="),
            format!("{header}.e31.c2ln"), // the last character holds bits that say nothing
            format!("{header}.e30.c2lnYR"), // likewise
            format!("{header}.e+A.c2ln"), // base64, but not base64url
            format!("{header}.e30.c2ln\u{e4}"),
            format!("{header}.e30.c2 n"),
            format!("{}.e30.c2ln", header.to_lowercase()),
        ] {
            assert!(matches!(Jws::parse(&text), Err(Kind::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn a_header_that_asks_for_more_than_a_signature_is_malformed() {
        for header in [
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"alg":"RS256","crit":[]}"#,
            r#"{"alg":"RS256","crit":null}"#,
            r#"{"alg":"RS256","crit":"b64"}"#,
            r#"{"alg":"RS256","b64":true}"#,
            r#"{"alg":"RS256","zip":"DEF"}"#,
            r#"{"alg":"RS256","enc":"A128GCM"}"#,
            r#"{"alg":"RS256","cty":"JWT"}"#,
            r#"{"alg":"RS256","cty":"application/jwt"}"#,
            r#"{"alg":"RS256","cty":1}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":"RS256","kid":null}"#,
            r#"{"alg":"RS256","typ":["JWT"]}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","alg":"RS256"}"#,
            r#"{"alg":"RS256","ALG":"none"}"#,
            r#"{"kid":"k"}"#,
            r#"["RS256"]"#,
        ] {
            assert!(matches!(Jws::parse(&token(header)), Err(Kind::Malformed(_))), "{header}");
        }
        let long = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(MAX_KID + 1));
        assert!(matches!(Jws::parse(&token(&long)), Err(Kind::Malformed(_))));
    }

    #[test]
    fn a_thumbprint_names_the_key_where_kid_does_not() {
        for (members, key) in [
            (r#""kid":"k","x5t":"t","x5t#S256":"s""#, KeyName::Id("k")),
            (r#""x5t":"t","x5t#S256":"s""#, KeyName::Sha256("s")),
            (r#""x5t":"t""#, KeyName::Sha1("t")),
            (r#""x5u":"u""#, KeyName::Not),
            // where there is a kid, nothing else is looked at
            (r#""kid":"k","x5t":7"#, KeyName::Id("k")),
        ] {
            let text = token(&format!(r#"{{"alg":"RS256",{members}}}"#));
            assert_eq!(Jws::parse(&text).unwrap().key(), key, "{members}");
        }
        let long = token(&format!(r#"{{"alg":"RS256","x5t":"{}"}}"#, "t".repeat(MAX_KID + 1)));
        assert!(matches!(Jws::parse(&long), Err(Kind::Malformed(_))));
        let number = token(r#"{"alg":"RS256","x5t":7}"#);
        assert!(matches!(Jws::parse(&number), Err(Kind::Malformed(_))));
    }

    #[test]
    fn what_is_meant_to_be_a_jwt_is_told_from_an_opaque_token() {
        let meant = token(r#"{"alg":"none"}"#);
        for jwt in [meant.clone(), token("{}"), format!("{}.", meant.rsplit_once('.').unwrap().0)] {
            assert!(is_meant(&jwt), "{jwt}");
        }
        for opaque in
            ["2YotnFZFEjr1zCsicMWpAA", "a.b.c", "", "..", "e30", "e30.e30", "e30.e30.e30.e30", "W10.e30.e30"]
        {
            assert!(!is_meant(opaque), "{opaque}");
        }
        let encrypted = format!("{}.a.b.c.d", token("{}").split_once('.').unwrap().0);
        assert!(!is_meant(&encrypted));
    }

    #[test]
    fn an_algorithm_is_allowed_by_its_exact_name_only() {
        for name in ["none", "None", "HS256", "rs256", "RS256 ", "RS1", "ES256K", "EdDSA", "", "RS384"] {
            let text = token(&format!(r#"{{"alg":"{name}"}}"#));
            let refused = Jws::parse(&text).unwrap().algorithm([Algorithm::RS256, Algorithm::ES256]);
            assert_eq!(refused, Err(Kind::AlgorithmNotAllowed), "{name}");
        }
    }

    #[test]
    fn without_a_signature_the_algorithm_is_what_counts() {
        let unsigned =
            |alg: &str| format!("{}.e30.", URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}"}}"#)));
        let refused = |alg: &str| Jws::parse(&unsigned(alg)).unwrap().algorithm([Algorithm::RS256]).err();
        assert_eq!(refused("none"), Some(Kind::AlgorithmNotAllowed));
        assert!(matches!(refused("RS256"), Some(Kind::Malformed(_))));
    }

    #[test]
    fn media_types_are_compared_without_case_and_prefix() {
        assert!(media_type_is("at+jwt", "AT+JWT") && media_type_is("application/at+jwt", "at+jwt"));
        assert!(media_type_is("APPLICATION/JWT", "jwt") && media_type_is("jwt", "application/jwt"));
        assert!(!media_type_is("dpop+jwt", "jwt") && !media_type_is("text/jwt", "jwt"));
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[A-Za-z0-9_.=+-]{0,80}") {
            let _ = Jws::parse(&text);
        }
    }
}
