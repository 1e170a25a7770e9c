//! Tokens that an application gets for itself (RFC 6749 section 4.4).
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>

use crate::app::demo::entra::answers::Refusal;
use crate::app::demo::entra::form::Form;
use crate::app::demo::entra::settings::Realm;

/// The API that `form` wants a token for: one that is registered, or the application itself.
///
/// # Errors
/// If it asks for anything else, or for a single permission: those are users'.
pub fn resource<'a>(form: &'a Form, realm: &Realm) -> Result<&'a str, Refusal> {
    for of_a_user in ["assertion", "requested_token_use", "resource"] {
        if form.optional(of_a_user).is_some() {
            let text = format!("The parameter '{of_a_user}' does not go with client_credentials.");
            return Err(Refusal::malformed(&text));
        }
    }
    let scope = form.required("scope")?;
    let Some(resource) = scope.strip_suffix("/.default").filter(|resource| !resource.contains(' ')) else {
        let text = "The provided value for scope is not valid. Client credential flows must have a scope value with \
                    /.default suffixed to the resource identifier (application ID URI).";
        return Err(Refusal::new("invalid_scope", 1_002_012, text));
    };
    if resource == realm.app_id_uri() {
        let text = "The application is requesting a token for itself. This scenario is supported only if the resource \
                    is specified using the GUID based App Identifier.";
        return Err(Refusal::new("invalid_request", 90_009, text));
    }
    let is_registered = realm.settings.downstream.iter().any(|api| api.resource == resource);
    if is_registered || resource == realm.settings.client_id {
        return Ok(resource);
    }
    let text = format!("The resource principal named {resource} was not found in the tenant.");
    Err(Refusal::new("invalid_resource", 500_011, text))
}
