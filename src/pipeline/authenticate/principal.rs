//! Who stands behind a token, and whether it is an access token at all: no standard says how to tell, so each kind of
//! issuer has its own signs. Pure.

use crate::config::IdentityProvider;
use crate::domain::caller::Principal;
use crate::pipeline::authenticate::claims::Stated;
use crate::pipeline::authenticate::error::Error;
use crate::pipeline::authenticate::error::Kind;
use crate::pipeline::authenticate::jws;

/// The claims by which issuers name the client a token was issued to: RFC 9068, OpenID Connect, Okta, AD FS.
const CLIENTS: [&str; 4] = ["client_id", "azp", "cid", "appid"];

/// Claims that only id_tokens, logout tokens and security events carry (OpenID Connect Core 1.0 sections 2 and 3.3.2.11,
/// RFC 8417 section 2.2).
const NOT_OF_ACCESS_TOKENS: [&str; 5] = ["at_hash", "c_hash", "s_hash", "nonce", "events"];

/// Claims that Keycloak puts into the tokens of clients that act for themselves, which need not have a user name
/// (<https://www.keycloak.org/docs/latest/server_admin/#_service_accounts>).
const OF_SERVICE_ACCOUNTS: [&str; 2] = ["clientHost", "clientAddress"];

/// What Entra says in `idtyp` of applications.
const IDTYP: &str = "idtyp is app";

/// In which form a token came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form<'t> {
    /// As a JWT with that `typ`.
    Jwt(Option<&'t str>),
    /// As a text of which its issuer was asked (RFC 7662).
    Opaque,
}

/// Who stands behind a token, and the sign by which that was told: names, no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Who.
    pub principal: Principal,
    /// By what.
    pub sign: &'static str,
}

impl Judged {
    fn user(sign: &'static str) -> Self {
        Self { principal: Principal::User, sign }
    }

    fn application(sign: &'static str) -> Self {
        Self { principal: Principal::Application, sign }
    }
}

/// Who stands behind a token of Entra's. Only delegated permissions make it a user's: an id_token has none, and an
/// application has roles on its own behalf, with itself as subject and object. They stand in `scp`, whatever the
/// configuration reads as scopes: an id_token has roles and groups too.
///
/// # Errors
/// [`Kind::NotAnAccessToken`].
pub fn at_entra(stated: &Stated, has_roles: bool) -> Result<Judged, Error> {
    if stated.text("idtyp") == Some("app") {
        return Ok(Judged::application(IDTYP));
    }
    if has_words(stated, "scp") {
        return Ok(Judged::user("there is an scp"));
    }
    match (has_roles, is_own_subject(stated)) {
        (true, true) => Ok(Judged::application("no scp, but roles, and oid and sub are one")),
        (true, false) => Err(no_access_token("no scp, and roles of somebody whose oid and sub differ")),
        (false, _) => Err(no_access_token("no scp, no idtyp that is app, and no roles")),
    }
}

/// Who stands behind a token of any other issuer's. Scopes prove nothing here, as applications are granted them too.
/// A token that may be an application's is taken for one (RFC 9700 section 4.15).
///
/// # Errors
/// [`Kind::NotAnAccessToken`]; [`Kind::UnsupportedCnf`] for an access token that says it is not to be borne.
pub fn elsewhere(stated: &Stated, form: Form<'_>, provider: &IdentityProvider) -> Result<Judged, Error> {
    // bound to a key of the caller's, wherever that is named (RFC 9449 section 5)
    if stated.text("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("DPoP")) {
        return Err(Error::because(Kind::UnsupportedCnf, "token_type is DPoP"));
    }
    match (says_access_token(stated), form) {
        (Some(verdict), _) => verdict?,
        (None, Form::Opaque) => {}
        (None, Form::Jwt(Some(typ))) if jws::media_type_is(typ, "at+jwt") => {}
        (None, Form::Jwt(_)) => looks_like_access_token(stated, provider)?,
    }
    Ok(behind(stated, provider))
}

fn no_access_token(rule: &'static str) -> Error {
    Error::because(Kind::NotAnAccessToken, rule)
}

/// The client that a token of any issuer but Entra was issued to.
pub fn client(stated: &Stated) -> Option<&str> {
    CLIENTS.into_iter().find_map(|name| stated.text(name))
}

/// What the issuer itself calls the token, if it does: Keycloak in `typ`, Cognito and Hydra in `token_use`, an
/// introspection answer in `token_type`.
fn says_access_token(stated: &Stated) -> Option<Result<(), Error>> {
    let verdict = |claim: &str, good: &[&str], rule| {
        let said = stated.find(claim)?;
        let is_good =
            said.as_str().is_some_and(|said| good.iter().any(|word| said.eq_ignore_ascii_case(word)));
        Some(if is_good { Ok(()) } else { Err(no_access_token(rule)) })
    };
    let verdicts = [
        verdict("typ", &["Bearer", "at+jwt", "application/at+jwt"], "the claim typ names another kind"),
        verdict("token_use", &["access", "access_token"], "token_use names another kind"),
        verdict("token_type", &["Bearer", "access_token"], "token_type names another kind"),
    ];
    verdicts.into_iter().flatten().reduce(Result::and)
}

/// For a JWT that nobody calls anything: it has no claim of other kinds of token, and is not for our own client alone,
/// as the id_tokens of our own sign-ins would be. What the configuration reads as scopes proves nothing: it may be a claim
/// about the user.
fn looks_like_access_token(stated: &Stated, provider: &IdentityProvider) -> Result<(), Error> {
    if let Some(claim) = NOT_OF_ACCESS_TOKENS.into_iter().find(|claim| stated.find(claim).is_some()) {
        return Err(Error::because(Kind::NotAnAccessToken, format!("there is {claim}, as in ID tokens")));
    }
    match has_scopes(stated) || !stated.is_for_only(&provider.client_id) {
        true => Ok(()),
        false => Err(no_access_token("no scope and no scp, and aud is our client_id alone")),
    }
}

/// Whether scopes were granted, by the names that standard and Entra, Okta and AD FS have for them.
fn has_scopes(stated: &Stated) -> bool {
    ["scope", "scp"].into_iter().any(|claim| has_words(stated, claim))
}

fn has_words(stated: &Stated, claim: &str) -> bool {
    stated.words(claim).ok().flatten().is_some_and(|words| !words.is_empty())
}

/// Whether subject and object are one, as in Entra's tokens of applications.
fn is_own_subject(stated: &Stated) -> bool {
    stated.text("oid").is_some_and(|oid| stated.text("sub") == Some(oid))
}

fn behind(stated: &Stated, provider: &IdentityProvider) -> Judged {
    let grants = stated.words("gty").ok().flatten().unwrap_or_default(); // Auth0
    let says = |grant: &String| ["client-credentials", "client_credentials"].contains(&grant.as_str());
    let is_service = |name: &str| name.starts_with("service-account-");
    let signs = [
        (stated.text("idtyp") == Some("app"), IDTYP),
        (grants.iter().any(says), "gty is client-credentials"),
        // Entra, by discovery
        (is_own_subject(stated) && !has_scopes(stated), "no scope and no scp, and oid and sub are one"),
        (
            stated.text("preferred_username").is_some_and(is_service),
            "preferred_username begins with service-account-",
        ),
        (
            OF_SERVICE_ACCOUNTS.iter().any(|claim| stated.find(claim).is_some()),
            "there is clientHost or clientAddress",
        ),
    ];
    if let Some((_, sign)) = signs.into_iter().find(|(is_there, _)| *is_there) {
        return Judged::application(sign);
    }
    let mut clients = CLIENTS.into_iter().filter_map(|name| stated.text(name)).peekable();
    let has_client = clients.peek().is_some();
    // RFC 9068 section 2.2: without a user, the subject is the client; Auth0 adds an `@clients`
    let is =
        |subject: &str, client: &str| subject == client || subject.strip_suffix("@clients") == Some(client);
    // it cannot be told from the subject alone, but by a claim that the operator says only users have
    let has_user = || {
        let claim = provider.claim_names.user.as_deref();
        claim.is_some_and(|claim| claim != "sub" && stated.text(claim).is_some())
    };
    match stated.text("sub") {
        Some(subject) if clients.any(|client| is(subject, client)) => {
            Judged::application("sub is the client")
        }
        Some(_) if has_client => Judged::user("sub is not the client"),
        _ if has_user() => Judged::user("there is the claim that `claim_names.user` names"),
        Some(_) => Judged::application(
            "no client_id, azp, cid or appid to compare sub with, and no claim that `claim_names.user` names",
        ),
        None => Judged::application("no sub, and no claim that `claim_names.user` names"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::*;
    use crate::config::ClaimNames;
    use crate::pipeline::authenticate::testing::changed;
    use crate::pipeline::authenticate::testing::partner;

    const AT: Form<'_> = Form::Jwt(Some("at+jwt"));
    const JWT: Form<'_> = Form::Jwt(Some("JWT"));

    fn judged(changes: Value, form: Form<'_>, provider: &IdentityProvider) -> Result<Principal, Kind> {
        told(changes, form, provider).map(|judged| judged.principal).map_err(|error| error.kind)
    }

    fn told(changes: Value, form: Form<'_>, provider: &IdentityProvider) -> Result<Judged, Error> {
        let claims = changed(json!({"exp": 1, "aud": "orders", "sub": "alice", "client_id": "spa"}), changes);
        let stated = Stated::parse(claims.to_string().as_bytes()).ok().unwrap();
        elsewhere(&stated, form, provider)
    }

    #[test]
    fn a_token_that_may_be_an_application_s_is_taken_for_one() {
        use Principal::Application;
        use Principal::User;
        for (changes, principal) in [
            (json!({}), User),
            (json!({"scope": "orders.read"}), User),
            (json!({"client_id": null, "azp": "spa"}), User),
            (json!({"client_id": null, "cid": "spa"}), User),
            (json!({"client_id": null, "appid": "spa"}), User),
            (json!({"gty": "password"}), User),
            (json!({"sub": "spa"}), Application),
            (json!({"sub": "spa", "client_id": null, "azp": "spa"}), Application),
            (json!({"sub": "spa", "client_id": "other", "cid": "spa"}), Application),
            (json!({"sub": "spa@clients"}), Application),
            (json!({"sub": "spa", "scope": "orders.read"}), Application),
            (json!({"sub": null}), Application),
            (json!({"gty": "client-credentials"}), Application),
            (json!({"gty": ["refresh_token", "client_credentials"]}), Application),
            (json!({"idtyp": "app"}), Application),
            (json!({"preferred_username": "service-account-batch"}), Application),
            (json!({"sub": "5b1c", "clientHost": "10.0.0.1"}), Application),
            (json!({"sub": "5b1c", "clientAddress": "10.0.0.1"}), Application),
            (json!({"sub": "5b1c", "oid": "5b1c", "azp": "spa", "roles": ["Clerk"]}), Application),
            (json!({"sub": "5b1c", "oid": "5b1c", "azp": "spa", "scp": "orders.read"}), User),
            (json!({"sub": "5b1c", "oid": "5b1c", "azp": "spa", "scope": "orders.read"}), User),
            (json!({"sub": "5b1c", "oid": "6a2d", "azp": "spa"}), User),
            // nothing says that `alice` is no client
            (json!({"client_id": null}), Application),
        ] {
            assert_eq!(judged(changes.clone(), AT, &partner()), Ok(principal), "{changes}");
        }
        let claim_names = |user: &str| ClaimNames { user: Some(user.into()), ..partner().claim_names };
        let by = |user: &str| IdentityProvider { claim_names: claim_names(user), ..partner() };
        let unnamed = json!({"client_id": null, "email": "a@b.example"});
        assert_eq!(judged(unnamed.clone(), AT, &by("email")), Ok(User));
        assert_eq!(judged(unnamed.clone(), AT, &by("sub")), Ok(Application));
        assert_eq!(judged(unnamed, AT, &by("upn")), Ok(Application));
        assert_eq!(judged(json!({"sub": "spa", "email": "a"}), AT, &by("email")), Ok(Application));
    }

    #[test]
    fn what_is_no_access_token_is_refused_whoever_it_is_of() {
        let of = |changes: &Value, form| judged(changes.clone(), form, &partner()).is_ok();
        for (changes, as_jwt, as_at_jwt) in [
            (json!({}), true, true),
            (json!({"typ": "Bearer", "nonce": "n"}), true, true),
            (json!({"token_use": "access"}), true, true),
            (json!({"nonce": "n"}), false, true),
            (json!({"at_hash": "h"}), false, true),
            (json!({"c_hash": "h"}), false, true),
            (json!({"events": {}}), false, true),
            (json!({"typ": "ID"}), false, false),
            (json!({"typ": "Refresh"}), false, false),
            (json!({"typ": "Bearer", "token_use": "id"}), false, false),
            (json!({"typ": 1}), false, false),
            (json!({"token_use": "refresh_token"}), false, false),
            (json!({"aud": "orders-proxy"}), false, true),
            (json!({"aud": ["orders-proxy"]}), false, true),
            (json!({"aud": ["orders-proxy", "orders"]}), true, true),
            (json!({"aud": "orders-proxy", "scope": "orders.read"}), true, true),
        ] {
            assert_eq!(of(&changes, JWT), as_jwt, "{changes}");
            assert_eq!(of(&changes, Form::Jwt(None)), as_jwt, "{changes}");
            assert_eq!(of(&changes, AT), as_at_jwt, "{changes}");
        }
        assert!(of(&json!({"token_type": "bearer", "aud": "orders-proxy"}), Form::Opaque));
        assert!(!of(&json!({"token_type": "refresh_token"}), Form::Opaque));
        assert!(!of(&json!({"token_use": "refresh_token"}), Form::Opaque));
        assert!(!of(&json!({"typ": "Offline", "token_type": "Bearer"}), Form::Opaque));
    }

    #[test]
    fn the_rule_that_decided_is_told_by_names_alone() {
        let canary = "canary-7f3a";
        for (changes, sign) in [
            (json!({"sub": "spa"}), "sub is the client"),
            (json!({"sub": canary, "client_id": canary, "azp": "x"}), "sub is the client"),
            (json!({"sub": null}), "no sub, and no claim that `claim_names.user` names"),
            (
                json!({"client_id": null}),
                "no client_id, azp, cid or appid to compare sub with, and no claim that `claim_names.user` names",
            ),
            (json!({"gty": "client-credentials"}), "gty is client-credentials"),
            (json!({"idtyp": "app"}), "idtyp is app"),
            (json!({"oid": canary, "sub": canary}), "no scope and no scp, and oid and sub are one"),
            (
                json!({"preferred_username": "service-account-canary-7f3a"}),
                "preferred_username begins with service-account-",
            ),
            (json!({"clientHost": canary}), "there is clientHost or clientAddress"),
            (json!({}), "sub is not the client"),
        ] {
            assert_eq!(told(changes.clone(), AT, &partner()).unwrap().sign, sign, "{changes}");
        }
        for (changes, rule) in [
            (json!({"typ": canary}), "the claim typ names another kind"),
            (json!({"token_use": canary}), "token_use names another kind"),
            (json!({"typ": "Bearer", "token_type": canary}), "token_type names another kind"),
            (json!({"nonce": canary}), "there is nonce, as in ID tokens"),
            (json!({"aud": "orders-proxy"}), "no scope and no scp, and aud is our client_id alone"),
        ] {
            let error = told(changes.clone(), JWT, &partner()).unwrap_err();
            assert_eq!(error.to_string(), format!("the token is no access token: {rule}"), "{changes}");
        }
        for (changes, has_roles, told) in [
            (json!({"idtyp": "app"}), false, "idtyp is app"),
            (json!({"scp": "a"}), false, "there is an scp"),
            (json!({"oid": "a", "sub": "a"}), true, "no scp, but roles, and oid and sub are one"),
            (json!({"oid": "a", "sub": "b"}), true, "no scp, and roles of somebody whose oid and sub differ"),
            (json!({"oid": "a", "sub": "a"}), false, "no scp, no idtyp that is app, and no roles"),
        ] {
            let claims = changed(json!({"exp": 1}), changes);
            let judged = at_entra(&Stated::parse(claims.to_string().as_bytes()).unwrap(), has_roles);
            let sign =
                judged.map_or_else(|error| error.because.unwrap().into_owned(), |judged| judged.sign.into());
            assert_eq!(sign, told, "{claims}");
        }
    }

    #[test]
    fn a_token_bound_to_a_key_by_its_type_is_no_bearer_token() {
        for kind in ["DPoP", "dpop"] {
            let refused = judged(json!({"token_type": kind}), Form::Opaque, &partner());
            assert_eq!(refused, Err(Kind::UnsupportedCnf), "{kind}");
        }
    }
}
