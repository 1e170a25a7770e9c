//! What token A is wanted: the query of `/demo/token`.

use std::time::Duration;

use url::form_urlencoded;

use crate::app::demo::entra::users::USERS;
use crate::config::EntraVersion;
use crate::domain::caller::Principal;

/// What a token A shall say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenWish {
    /// Its scopes, separated by spaces. Without any it has no `scp`.
    pub scope: String,
    /// From now to its `exp`.
    pub lifetime: Duration,
    /// How the user signed in.
    pub sign_in: SignIn,
    /// The user, or their client application on its own behalf.
    pub principal: Principal,
    /// Its version.
    pub version: EntraVersion,
}

/// How a user signed in: the `amr` claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignIn {
    /// With a password.
    Password,
    /// With a second factor too.
    MultiFactor,
}

impl Default for TokenWish {
    fn default() -> Self {
        Self {
            scope: "orders.read".into(),
            lifetime: Duration::from_secs(3600),
            sign_in: SignIn::Password,
            principal: Principal::User,
            version: EntraVersion::V2,
        }
    }
}

/// A wish that cannot be understood. The text is for the one who wished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No user was named.
    #[error("say whose token: ?user=, one of {}", names())]
    NoUser,
    /// There is no such user.
    #[error("no such user; there are {}", names())]
    UnknownUser,
    /// There is no such parameter.
    #[error("unknown parameter; there are user, scope, lifetime, mfa, app_only and version")]
    UnknownParameter,
    /// A parameter occurs twice.
    #[error("{0} is given twice")]
    Repeated(&'static str),
    /// A value is not one of those it may be.
    #[error("{0} must be {1}")]
    BadValue(&'static str, &'static str),
}

fn names() -> String {
    USERS.map(|user| user.name).join(", ")
}

const PARAMETERS: [&str; 6] = ["user", "scope", "lifetime", "mfa", "app_only", "version"];
const LONGEST: u64 = 86_400;

impl TokenWish {
    /// The user's name and the wish a query expresses.
    ///
    /// # Errors
    /// If it names no user, or says anything that is not understood.
    pub fn parse(query: &str) -> Result<(String, Self), Error> {
        let mut user = None;
        let mut wish = Self::default();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let name =
                PARAMETERS.into_iter().find(|parameter| *parameter == name).ok_or(Error::UnknownParameter)?;
            if seen.contains(&name) {
                return Err(Error::Repeated(name));
            }
            seen.push(name);
            match name {
                "user" => user = Some(value.into_owned()),
                "scope" => wish.scope = value.into_owned(),
                "lifetime" => wish.lifetime = lifetime(&value)?,
                "mfa" if flag("mfa", &value)? => wish.sign_in = SignIn::MultiFactor,
                "app_only" if flag("app_only", &value)? => wish.principal = Principal::Application,
                "version" => wish.version = version(&value)?,
                _ => {}
            }
        }
        Ok((user.ok_or(Error::NoUser)?, wish))
    }
}

fn lifetime(value: &str) -> Result<Duration, Error> {
    let seconds = value.parse().ok().filter(|seconds| *seconds <= LONGEST);
    seconds.map(Duration::from_secs).ok_or(Error::BadValue("lifetime", "0 to 86400 seconds"))
}

fn version(value: &str) -> Result<EntraVersion, Error> {
    match value {
        "1" => Ok(EntraVersion::V1),
        "2" => Ok(EntraVersion::V2),
        _ => Err(Error::BadValue("version", "1 or 2")),
    }
}

fn flag(name: &'static str, value: &str) -> Result<bool, Error> {
    value.parse().map_err(|_| Error::BadValue(name, "true or false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_without_wishes_gives_the_default() {
        assert_eq!(TokenWish::parse("user=alice"), Ok(("alice".into(), TokenWish::default())));
    }

    #[test]
    fn every_parameter_is_understood() {
        let query = "user=bob&scope=orders.read+orders.write&lifetime=60&mfa=true&app_only=true&version=1";
        let wish = TokenWish {
            scope: "orders.read orders.write".into(),
            lifetime: Duration::from_secs(60),
            sign_in: SignIn::MultiFactor,
            principal: Principal::Application,
            version: EntraVersion::V1,
        };
        assert_eq!(TokenWish::parse(query), Ok(("bob".into(), wish)));
        let (_, plain) = TokenWish::parse("user=bob&mfa=false&app_only=false&version=2&scope=").unwrap();
        assert_eq!(plain, TokenWish { scope: String::new(), ..TokenWish::default() });
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (query, error) in [
            ("", Error::NoUser),
            ("scope=a", Error::NoUser),
            ("user=a&usr=b", Error::UnknownParameter),
            ("user=a&user=b", Error::Repeated("user")),
            ("user=a&mfa=yes", Error::BadValue("mfa", "true or false")),
            ("user=a&version=3", Error::BadValue("version", "1 or 2")),
            ("user=a&lifetime=86401", Error::BadValue("lifetime", "0 to 86400 seconds")),
            ("user=a&lifetime=-1", Error::BadValue("lifetime", "0 to 86400 seconds")),
        ] {
            assert_eq!(TokenWish::parse(query), Err(error), "{query}");
        }
    }
}
