//! The checks of a token that the route has no say in: signature (RFC 7515), times, audience, tenant, kind
//! (RFC 7519, RFC 9068, <https://learn.microsoft.com/entra/identity-platform/claims-validation>). Pure.

use std::time::Duration;

use aws_lc_rs::signature::ECDSA_P521_SHA512_FIXED;
use aws_lc_rs::signature::ED25519;
use aws_lc_rs::signature::UnparsedPublicKey;
use aws_lc_rs::signature::VerificationAlgorithm;

use crate::config::Algorithm;
use crate::config::AuthorizationServer;
use crate::config::IdentityProvider;
use crate::config::Principals;
use crate::domain::caller::Claims;
use crate::domain::caller::Principal;
use crate::domain::caller::UserKey;
use crate::domain::caller::claims_digest;
use crate::domain::caller::user_digest;
use crate::domain::clock::UnixTime;
use crate::domain::derived::Derived;
use crate::domain::digest::Digest;
use crate::domain::scope::Scopes;
use crate::domain::tenant::TenantId;
use crate::pipeline::authenticate::claims::Stated;
use crate::pipeline::authenticate::confirmation;
use crate::pipeline::authenticate::error::Error;
use crate::pipeline::authenticate::error::Kind;
use crate::pipeline::authenticate::issuer::Issuer;
use crate::pipeline::authenticate::jwks::Key;
use crate::pipeline::authenticate::jwks::KeySet;
use crate::pipeline::authenticate::jwks::Material;
use crate::pipeline::authenticate::jws;
use crate::pipeline::authenticate::jws::Jws;
use crate::pipeline::authenticate::principal;
use crate::pipeline::authenticate::principal::Form;
use crate::pipeline::authenticate::principal::Judged;

/// Checks the signature of `jws`: by the one key of `keys` it names, if that `may_sign` it, with the one algorithm
/// that key is for. With [`Jws::parse`] before and [`Jws::payload`] after, this is all there is to a JWS.
///
/// # Errors
/// [`Kind::AlgorithmNotAllowed`], [`Kind::Malformed`] without a signature, [`Kind::UnknownKey`],
/// [`Kind::BadSignature`].
pub fn signature(
    jws: &Jws<'_>,
    keys: &KeySet,
    algorithms: &[Algorithm],
    may_sign: impl FnOnce(&Key) -> bool,
) -> Result<(), Kind> {
    let algorithm = jws.algorithm(algorithms.iter().copied())?;
    let key = keys.find(jws.key(), algorithm).ok_or(Kind::UnknownKey)?;
    if key.algorithm() != algorithm {
        return Err(Kind::AlgorithmNotAllowed);
    }
    if !may_sign(key) {
        return Err(Kind::UnknownKey);
    }
    if verifies(jws, key) { Ok(()) } else { Err(Kind::BadSignature) }
}

fn verifies(jws: &Jws<'_>, key: &Key) -> bool {
    let message = jws.signed().as_bytes();
    match (key.material(), library_algorithm(key.algorithm())) {
        (Material::Common(material), Some(algorithm)) => {
            jsonwebtoken::crypto::verify(jws.signature(), message, material, algorithm).unwrap_or(false)
        }
        (Material::Common(_), None) => false,
        (Material::P521(point), _) => verifies_raw(&ECDSA_P521_SHA512_FIXED, point, message, jws.signature()),
        (Material::Ed25519(point), _) => verifies_raw(&ED25519, point, message, jws.signature()),
    }
}

fn verifies_raw(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    message: &[u8],
    signature: &str,
) -> bool {
    let verifies = |signature: Vec<u8>| UnparsedPublicKey::new(algorithm, key).verify(message, &signature);
    jws::decode(signature).is_some_and(|signature| verifies(signature).is_ok())
}

fn library_algorithm(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    Some(match algorithm {
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::ES512 | Algorithm::EdDSA => return None,
    })
}

/// What the checks of the claims are made against.
pub struct Expected<'e> {
    /// Whose token it is.
    pub provider: &'e IdentityProvider,
    /// The issuer it names, matched.
    pub issuer: &'e Issuer,
    /// Whether its tenant may enter.
    pub tenant: TenantRule,
    /// Who may stand behind it.
    pub principals: Principals,
    /// The SHA-256 of the certificate by which the peer's TLS connection proved who it is.
    pub certificate: Option<&'e Digest>,
    /// The time.
    pub now: UnixTime,
}

/// Whether an issuer's tenant may enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantRule {
    /// It may.
    Allowed,
    /// It may not.
    Barred,
}

/// What a token was found to say.
#[derive(Debug)]
pub struct Verified {
    /// That.
    pub claims: Claims,
    /// The SHA-256 of the certificate whose holder alone may use it (RFC 8705 section 3.1).
    pub holder: Option<Digest>,
    /// By what it was told who stands behind it.
    pub sign: &'static str,
}

/// Checks the claims of a token that its issuer vouches for, by signature or word. `token` is its digest.
///
/// # Errors
/// The first of [`Kind`] that applies, in that type's order.
pub fn claims(
    stated: Stated,
    form: Form<'_>,
    token: Digest,
    expected: &Expected<'_>,
) -> Result<Verified, Error> {
    let provider = expected.provider;
    let said = said(&stated, provider)?;
    times(stated.expires_on(), stated.not_before(), provider.clock_skew, expected.now)?;
    audience(&stated, provider)?;
    tenant(&stated, expected.issuer, expected.tenant)?;
    let judged = principal(&stated, form, &said, provider)?;
    admits(expected.principals, judged)?;
    let holder = holder(&stated)?;
    confirmation::check(holder.as_ref(), expected.certificate)?;
    let (expires_on, not_before) = (stated.expires_on(), stated.not_before());
    let issuer = issuer(&stated, provider).to_owned();
    let tenant = expected.issuer.tenant();
    let all = stated.into_members();
    let Said { user, client, scopes, roles } = said;
    let claims = Claims {
        identity_provider: provider.name.clone(),
        issuer,
        tenant: tenant.cloned(),
        user_digest: user_digest(tenant, &user),
        user,
        client,
        scopes,
        roles,
        principal: judged.principal,
        expires_on,
        not_before,
        token_digest: token,
        claims_digest: claims_digest(&all),
        all,
        derived: Derived::default(),
    };
    Ok(Verified { claims, holder, sign: judged.sign })
}

/// What a token says in the words of its provider's configuration.
#[derive(Debug)]
pub struct Said {
    /// Who it is for.
    pub user: UserKey,
    /// The client it was issued to.
    pub client: Option<String>,
    /// Delegated permissions.
    pub scopes: Scopes,
    /// Application roles.
    pub roles: Vec<String>,
}

/// What `stated` say in the words of `provider`.
///
/// # Errors
/// [`Kind::Malformed`].
pub fn said(stated: &Stated, provider: &IdentityProvider) -> Result<Said, Kind> {
    let user = user(stated, provider)?;
    let scopes = stated.words(&provider.claim_names.scopes)?;
    let roles = stated.words(&provider.claim_names.roles)?;
    let client = match provider.entra() {
        Some(_) => stated.text("azp").or_else(|| stated.text("appid")),
        None => principal::client(stated),
    };
    Ok(Said {
        user,
        client: client.map(String::from),
        scopes: scopes.unwrap_or_default().into_iter().collect(),
        roles: roles.unwrap_or_default(),
    })
}

/// Whether a token is for us.
///
/// # Errors
/// [`Kind::WrongAudience`].
pub fn audience(stated: &Stated, provider: &IdentityProvider) -> Result<(), Error> {
    match stated.is_for(&provider.audiences) {
        true => Ok(()),
        false => {
            let rule = format!("aud is none of {}", provider.audiences.join(", "));
            Err(Error::because(Kind::WrongAudience, rule))
        }
    }
}

/// Whether a token's tenant may enter, and is that of its issuer.
///
/// # Errors
/// [`Kind::TenantNotAllowed`].
pub fn tenant(stated: &Stated, issuer: &Issuer, rule: TenantRule) -> Result<(), Kind> {
    let own = issuer.tenant();
    let is_its_issuer_s = own.is_none() || stated.text("tid").and_then(TenantId::parse).as_ref() == own;
    if is_its_issuer_s && rule == TenantRule::Allowed { Ok(()) } else { Err(Kind::TenantNotAllowed) }
}

/// Who stands behind a token, if it is an access token.
///
/// # Errors
/// [`Kind::NotAnAccessToken`]; [`Kind::UnsupportedCnf`] for one that says that it is not to be borne.
pub fn principal(
    stated: &Stated,
    form: Form<'_>,
    said: &Said,
    provider: &IdentityProvider,
) -> Result<Judged, Error> {
    let is_accepted = |typ| provider.token_types.iter().any(|own| jws::media_type_is(own, typ));
    if matches!(form, Form::Jwt(Some(typ)) if !is_accepted(typ)) {
        let rule = "the typ in its header is none of `token_types`";
        return Err(Error::because(Kind::NotAnAccessToken, rule));
    }
    match provider.entra() {
        Some(_) => principal::at_entra(stated, !said.roles.is_empty()),
        None => principal::elsewhere(stated, form, provider),
    }
}

/// The SHA-256 of the certificate whose holder alone may use a token; `None` = it is anyone's.
///
/// # Errors
/// [`Kind::UnsupportedCnf`].
pub fn holder(stated: &Stated) -> Result<Option<Digest>, Kind> {
    stated.find("cnf").map(confirmation::certificate).transpose()
}

/// RFC 7519 sections 4.1.4 and 4.1.5: not on or after `exp`, not before `nbf`, give or take the tolerance.
///
/// # Errors
/// [`Kind::Expired`], [`Kind::NotYetValid`].
pub fn times(
    expires_on: UnixTime,
    not_before: Option<UnixTime>,
    tolerance: Duration,
    now: UnixTime,
) -> Result<(), Kind> {
    if now >= expires_on.after(tolerance) {
        return Err(Kind::Expired);
    }
    match not_before {
        Some(not_before) if now < not_before.before(tolerance) => Err(Kind::NotYetValid),
        _ => Ok(()),
    }
}

/// Whether such a principal may pass.
///
/// # Errors
/// [`Kind::AppTokenNotAllowed`].
pub fn admits(principals: Principals, judged: Judged) -> Result<(), Error> {
    match (principals, judged.principal) {
        (Principals::Users, Principal::Application) => {
            Err(Error::because(Kind::AppTokenNotAllowed, judged.sign))
        }
        (Principals::Users, Principal::User) | (Principals::UsersAndApplications, _) => Ok(()),
    }
}

/// `iss`. An introspection answer need not name it: it comes from nobody else.
fn issuer<'s>(stated: &'s Stated, provider: &'s IdentityProvider) -> &'s str {
    let own = match &provider.server {
        AuthorizationServer::Entra(_) => "",
        AuthorizationServer::Oidc(oidc) => &oidc.issuer,
    };
    stated.text("iss").unwrap_or(own)
}

fn user(stated: &Stated, provider: &IdentityProvider) -> Result<UserKey, Kind> {
    let issuer = issuer(stated, provider);
    let subject = |claim: &str| {
        let subject = stated.text(claim).filter(|subject| !subject.is_empty());
        subject.map(|subject| UserKey::subject(issuer, subject))
    };
    let found = match (&provider.claim_names.user, &provider.server) {
        (None, AuthorizationServer::Entra(_)) => {
            stated.text("oid").map(UserKey::entra).or_else(|| subject("sub"))
        }
        (Some(claim), AuthorizationServer::Entra(_)) => subject(claim),
        // an application need not have what users have
        (own, AuthorizationServer::Oidc(_)) => subject(own.as_deref().unwrap_or("sub"))
            .or_else(|| principal::client(stated).map(|client| UserKey::application(issuer, client))),
    };
    found.ok_or(Kind::Malformed("it names nobody"))
}
