//! The body of a token request, read strictly, and who the client says it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header;
use url::form_urlencoded;

use crate::app::demo::entra::answers::Refusal;

/// The parameters of a token request. No name occurs twice.
#[derive(Debug)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// The form that came as `body`.
    ///
    /// # Errors
    /// If it is no form, or says anything twice.
    pub fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        if !media_type.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::malformed("The Content-Type must be 'application/x-www-form-urlencoded'."));
        }
        if !is_form(body) {
            return Err(Refusal::malformed("The request body is not form-encoded."));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if parameters.iter().any(|(seen, _)| *seen == name) {
                return Err(Refusal::malformed(&format!("The parameter '{name}' is duplicated.")));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter that may be absent. An empty one is absent (RFC 6749 section 3.2).
    pub fn optional(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(own, _)| own == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// The value of a parameter that must be there.
    ///
    /// # Errors
    /// If it is absent.
    pub fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.optional(name).ok_or_else(|| {
            let text = format!("The request body must contain the following parameter: '{name}'.");
            Refusal::new("invalid_request", 900_144, text)
        })
    }
}

/// Who the client says it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its id.
    pub client_id: String,
    /// The secret it shows, if it shows one.
    pub secret: Option<String>,
}

/// The client's id and secret, from the form or from the `Authorization` header, never from both
/// (RFC 6749 section 2.3.1).
///
/// # Errors
/// If there is no id, the header is garbled, or both places speak.
pub fn client(headers: &HeaderMap, form: &Form) -> Result<Claimed, Refusal> {
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let field = match (fields.next(), fields.next()) {
        (None, _) => {
            let secret = form.optional("client_secret").map(String::from);
            return Ok(Claimed { client_id: form.required("client_id")?.to_owned(), secret });
        }
        (Some(field), None) => field,
        (Some(_), Some(_)) => return Err(Refusal::malformed("There are several Authorization headers.")),
    };
    if form.optional("client_secret").is_some() {
        return Err(Refusal::malformed("The client secret is sent in two ways."));
    }
    let (id, secret) = field
        .to_str()
        .ok()
        .and_then(basic)
        .ok_or_else(|| Refusal::malformed("The Authorization header is no valid 'Basic' one."))?;
    if form.optional("client_id").is_some_and(|in_form| in_form != id) {
        return Err(Refusal::malformed("The client ids in the Authorization header and in the body differ."));
    }
    Ok(Claimed { client_id: id, secret: (!secret.is_empty()).then_some(secret) })
}

/// Id and secret are form-encoded before they are joined and base64-encoded.
fn basic(field: &str) -> Option<(String, String)> {
    let (scheme, credentials) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then_some(())?;
    let credentials = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (id, secret) = credentials.split_once(':')?;
    Some((decoded(id)?, decoded(secret)?))
}

fn decoded(text: &str) -> Option<String> {
    let is_one_value = is_form(text.as_bytes()) && !text.contains(['&', '=']);
    is_one_value.then_some(())?;
    let pair = form_urlencoded::parse(text.as_bytes()).next();
    Some(pair.map(|(value, _)| value.into_owned()).unwrap_or_default())
}

/// Whether `bytes` are ASCII without spaces and every `%` begins an escape; the decoder takes anything.
fn is_form(bytes: &[u8]) -> bool {
    let escapes = |at: usize| {
        let digits = bytes.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => escapes(at),
        byte => byte.is_ascii_graphic(),
    })
}
