//! The token endpoint: a request is granted only if every parameter is as documented.
//!
//! **In:** a form, the registrations, the keys, the time. **Out:** Entra's answer. **Never:** overlooks anything: what
//! the real one might forgive is refused here.

use std::time::Duration;

use aws_lc_rs::constant_time;
use http::HeaderMap;
use http::Method;
use http::Response;
use serde_json::Map;
use serde_json::Value;

use crate::app::demo::entra::answers::Refusal;
use crate::app::demo::entra::answers::Success;
use crate::app::demo::entra::answers::Trace;
use crate::app::demo::entra::assertion;
use crate::app::demo::entra::client_assertion;
use crate::app::demo::entra::form;
use crate::app::demo::entra::form::Form;
use crate::app::demo::entra::keys::KeyRing;
use crate::app::demo::entra::random;
use crate::app::demo::entra::scopes;
use crate::app::demo::entra::scopes::Granted;
use crate::app::demo::entra::scopes::Refresh;
use crate::app::demo::entra::settings::Realm;
use crate::app::demo::entra::settings::Segment;
use crate::app::demo::entra::token;
use crate::app::demo::entra::users::Fate;
use crate::app::demo::entra::users::User;
use crate::domain::clock::UnixTime;

mod own;

/// The grant of On-Behalf-Of (RFC 7523 section 2.1).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The grant by which an application gets a token for itself (RFC 6749 section 4.4).
const CLIENT_CREDENTIALS: &str = "client_credentials";
/// The kind of assertion a client may prove itself with (RFC 7523 section 2.2).
const CLIENT_JWT: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The kind of token that is issued (RFC 8693 section 3).
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// How long the slow user's exchange takes.
const SLOW: Duration = Duration::from_secs(30);

const NEEDS_MFA: &str =
    r#"{"access_token":{"capolids":{"essential":true,"values":["cd4b2f0a-7f5e-4c0e-9d63-b8a1e0c9f1d2"]}}}"#;

/// A token request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The tenant segment of its URL.
    pub segment: Segment<'a>,
    /// Its method.
    pub method: &'a Method,
    /// Its header.
    pub headers: &'a HeaderMap,
    /// Its body.
    pub body: &'a [u8],
}

/// What the token endpoint answers, and how long it takes over it.
#[derive(Debug)]
pub struct Answer {
    /// The answer.
    pub response: Response<String>,
    /// To be waited for first.
    pub pause: Duration,
}

/// Answers `request` at the time `now`.
///
/// # Errors
/// If the cryptography library fails; a request that is refused is an answer.
pub fn answer(request: Request<'_>, realm: &Realm, keys: &KeyRing, now: UnixTime) -> anyhow::Result<Answer> {
    let trace = Trace::new(request.headers, now)?;
    let at_once = |response| Ok(Answer { response, pause: Duration::ZERO });
    let refuse = |refusal| at_once(trace.refused(&realm.authority, &refusal)?);
    let Exchange { assertion, granted, claims } = match check(request, realm, keys, now) {
        Ok(Wanted::OnBehalfOf(exchange)) => *exchange,
        Ok(Wanted::Own(resource)) => return at_once(own_token(&trace, realm, keys, &resource, now)?),
        Err(refusal) => return refuse(refusal),
    };
    let oid = assertion.get("oid").and_then(Value::as_str).unwrap_or_default();
    let fate = User::by_oid(oid).map_or(Fate::Works, |user| user.fate);
    let pause = match fate {
        Fate::Works => Duration::ZERO,
        Fate::NeedsMfa if signed_in_twice(&assertion) => Duration::ZERO,
        Fate::Slow => SLOW,
        Fate::NeedsEnrolment => return at_once(trace.enrolment()),
        Fate::Throttled => return at_once(trace.throttled()),
        Fate::NeedsMfa => return refuse(needs_mfa(&granted.resource)),
        Fate::NotConsented => return refuse(not_consented(realm)),
        Fate::Blocked => return refuse(blocked()),
        Fate::Down => return refuse(down()),
    };
    let access_token =
        token::for_api(realm, keys.current(), &assertion, &granted.resource, &granted.scopes, &claims, now)?;
    let lifetime = realm.settings.downstream_lifetime.as_secs();
    let refresh_token = match granted.refresh {
        Refresh::Wanted => Some(random::text()?),
        Refresh::Unwanted => None,
    };
    let response = trace.granted(&Success {
        token_type: "Bearer",
        scope: granted.answered,
        expires_in: lifetime,
        ext_expires_in: lifetime,
        access_token,
        refresh_token,
    })?;
    Ok(Answer { response, pause })
}

fn own_token(
    trace: &Trace,
    realm: &Realm,
    keys: &KeyRing,
    resource: &str,
    now: UnixTime,
) -> anyhow::Result<Response<String>> {
    let lifetime = realm.settings.downstream_lifetime.as_secs();
    trace.granted(&Success {
        token_type: "Bearer",
        scope: String::new(),
        expires_in: lifetime,
        ext_expires_in: lifetime,
        access_token: token::for_application(realm, keys.current(), resource, now)?,
        refresh_token: None,
    })
}

/// What a request that is as it must be asks for.
enum Wanted {
    /// A token on behalf of a user.
    OnBehalfOf(Box<Exchange>),
    /// A token of the application's own, for this API.
    Own(String),
}

/// A user's token, and what it is to be exchanged for.
struct Exchange {
    assertion: Map<String, Value>,
    granted: Granted,
    /// What the token says as it was asked to.
    claims: Map<String, Value>,
}

fn check(request: Request<'_>, realm: &Realm, keys: &KeyRing, now: UnixTime) -> Result<Wanted, Refusal> {
    if request.method != Method::POST {
        let text = format!("The endpoint only accepts POST requests. Received a {} request.", request.method);
        return Err(Refusal::new("invalid_request", 900_561, text));
    }
    let Segment::Tenant(tenant) = request.segment else {
        let text = "The application is not supported over the /common or /organizations endpoints.";
        return Err(Refusal::new("invalid_request", 90_130, text));
    };
    let form = Form::parse(request.headers, request.body)?;
    let grant = form.required("grant_type")?;
    if grant != JWT_BEARER && grant != CLIENT_CREDENTIALS {
        let text = "The app requested an unsupported grant type.";
        return Err(Refusal::new("unsupported_grant_type", 70_003, text));
    }
    check_client(request.headers, &form, realm, tenant, now)?;
    if grant == CLIENT_CREDENTIALS {
        return own::resource(&form, realm).map(|resource| Wanted::Own(resource.to_owned()));
    }
    if form.required("requested_token_use")? != "on_behalf_of" {
        return Err(Refusal::malformed("The 'requested_token_use' must be 'on_behalf_of'."));
    }
    check_optional(&form)?;
    let granted = scopes::grant(form.required("scope")?, &realm.settings.downstream)?;
    let assertion = assertion::verify(form.required("assertion")?, keys, realm, tenant, now)?;
    let claims = form.optional("claims").map_or_else(Map::new, token::requested);
    Ok(Wanted::OnBehalfOf(Box::new(Exchange { assertion, granted, claims })))
}

/// The client must show its secret or a signed assertion; a client that is not registered is told so first.
fn check_client(
    headers: &HeaderMap,
    form: &Form,
    realm: &Realm,
    tenant: &str,
    now: UnixTime,
) -> Result<(), Refusal> {
    let claimed = form::client(headers, form)?;
    if !claimed.client_id.eq_ignore_ascii_case(&realm.settings.client_id) {
        let text = "Application with the identifier sent was not found in the directory.";
        return Err(Refusal::new("unauthorized_client", 700_016, text));
    }
    if form.optional("client_assertion").or_else(|| form.optional("client_assertion_type")).is_some() {
        if claimed.secret.is_some() {
            return Err(Refusal::malformed("The client is authenticated in two ways."));
        }
        client_assertion::verify(form.required("client_assertion")?, realm, tenant, now)?;
        return match form.required("client_assertion_type")? {
            CLIENT_JWT => Ok(()),
            _ => Err(Refusal::malformed("The 'client_assertion_type' is not supported.")),
        };
    }
    let secret = claimed.secret.ok_or_else(|| {
        let text =
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        Refusal::new("invalid_client", 7_000_218, text)
    })?;
    let expected = realm.settings.client_secret.expose();
    constant_time::verify_slices_are_equal(secret.as_bytes(), expected.as_bytes()).map_err(|_| {
        let text = "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                    value, not the client secret ID.";
        Refusal::new("invalid_client", 7_000_215, text)
    })
}

/// Parameters that need not be there. Those nobody knows are ignored, as OAuth demands.
fn check_optional(form: &Form) -> Result<(), Refusal> {
    if form.optional("resource").is_some() {
        let text = "The 'resource' request parameter isn't supported.";
        return Err(Refusal::new("invalid_request", 901_002, text));
    }
    if form.optional("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
        return Err(Refusal::malformed("Only access tokens are issued here."));
    }
    let is_object = |text| serde_json::from_str::<Map<String, Value>>(text).is_ok();
    if form.optional("claims").is_some_and(|claims| !is_object(claims)) {
        return Err(Refusal::malformed("The 'claims' parameter is no JSON object."));
    }
    Ok(())
}

fn signed_in_twice(assertion: &Map<String, Value>) -> bool {
    let methods = assertion.get("amr").and_then(Value::as_array);
    methods.is_some_and(|methods| methods.iter().any(|method| method == "mfa"))
}

fn needs_mfa(resource: &str) -> Refusal {
    let text = format!(
        "Due to a configuration change made by your administrator, or because you moved to a new location, you must \
         use multi-factor authentication to access '{resource}'."
    );
    Refusal::new("invalid_grant", 50_076, text).suberror("basic_action").claims(NEEDS_MFA)
}

fn not_consented(realm: &Realm) -> Refusal {
    let text = format!(
        "The user or administrator has not consented to use the application with ID '{}' named 'obo-proxy'. Send an \
         interactive authorization request for this user and resource.",
        realm.settings.client_id
    );
    Refusal::new("invalid_grant", 65_001, text).suberror("consent_required")
}

fn blocked() -> Refusal {
    let text = "The application isn't an approved application for Conditional Access.";
    Refusal::new("invalid_grant", 53_002, text)
}

fn down() -> Refusal {
    Refusal::new("temporarily_unavailable", 90_033, "A transient error has occurred. Please try again.")
}

#[cfg(test)]
mod tests;
