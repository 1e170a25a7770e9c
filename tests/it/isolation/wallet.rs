//! Users of three issuers, all called the same, their sessions, and the tokens A they have of them.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use obo_proxy::domain::clock::Clock;
use serde_json::Value;
use serde_json::json;

use crate::isolation::chance::Chance;
use crate::isolation::lanes::Callers;
use crate::support::idp::Idp;
use crate::support::idp::OTHER_TENANT;
use crate::support::idp::parts;

pub const TENANT: &str = "8eaef023-2b34-4da1-9baa-8bc8c9d6a490";

const USERS: usize = 8;

/// Claims that may differ between two tokens of one session.
const VOLATILE: [&str; 14] = [
    "iat", "nbf", "exp", "uti", "jti", "aio", "rh", "nonce", "at_hash", "c_hash", "s_hash", "e_exp",
    "pwd_exp", "xms_ftd",
];

/// What a token that the identity provider refuses says in `rh`.
pub const MFA: &str = "mfa";

/// Whose a token is. Two tokens may share a token B only if all of this is equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    pub issuer: Issuer,
    user: usize,
    session: usize,
    has_mfa: bool,
    is_robot: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Issuer {
    /// Entra, for that tenant.
    Entra(&'static str),
    Partner,
    Opaque,
}

/// A token A.
#[derive(Debug)]
pub struct Token {
    pub holder: Holder,
    pub text: String,
    pub claims: Value,
}

impl Token {
    /// What only this token says.
    pub fn id(&self) -> &str {
        self.claims["jti"].as_str().unwrap()
    }

    /// Its parts that are nobody else's.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.text.split('.').rev().take(2)
    }
}

/// What all tokens of one session say.
pub fn stable(claims: &Value) -> BTreeMap<&str, &Value> {
    let claims = claims.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value));
    claims.filter(|(name, _)| !VOLATILE.contains(name)).collect()
}

/// The issuers, and the tokens that they gave.
pub struct Wallet {
    pub entra: Idp,
    pub partner: Idp,
    pub opaque: Idp,
    /// A few of each holder's, good ones and refused ones.
    tokens: Mutex<HashMap<(Holder, bool, usize), Arc<Token>>>,
    issued: Mutex<u64>,
}

impl Wallet {
    pub fn new(entra: Idp, partner: Idp, opaque: Idp) -> Self {
        Self { entra, partner, opaque, tokens: Mutex::default(), issued: Mutex::default() }
    }

    /// A token of somebody who may call; one that the identity provider refuses to exchange if `is_refused`.
    pub fn token(&self, callers: Callers, is_refused: bool, chance: &mut Chance) -> Arc<Token> {
        let holder = holder(callers, chance);
        let which = (holder.clone(), is_refused, chance.below(2));
        if let Some(token) = self.tokens.lock().unwrap().get(&which) {
            return token.clone();
        }
        let token = Arc::new(self.issue(holder, is_refused));
        self.tokens.lock().unwrap().entry(which).or_insert(token).clone()
    }

    /// Forgets half of the tokens: the next ones are signed with the newest keys.
    pub fn forget(&self, chance: &mut Chance) {
        self.tokens.lock().unwrap().retain(|_, _| chance.once_in(2));
    }

    /// The issuers that change their keys, one after the other.
    pub fn rotating(&self, which: usize) -> &Idp {
        [&self.entra, &self.partner][which % 2]
    }

    /// How often a token B was asked for, and what an opaque token is worth.
    pub fn exchanges(&self) -> usize {
        [&self.entra, &self.partner, &self.opaque].iter().map(|idp| idp.requests()).sum()
    }

    /// What a purge calls somebody.
    pub fn somebody(&self, chance: &mut Chance) -> Value {
        let user = user(chance.below(USERS));
        match chance.below(4) {
            0 => json!({"issuer": self.partner.authority(), "subject": user}),
            1 => json!({"issuer": self.opaque.authority(), "subject": user}),
            2 => json!({"tenant": TENANT, "oid": user}),
            _ => json!({"tenant": OTHER_TENANT, "oid": user}),
        }
    }

    /// A text in the place of a token that nobody may take.
    pub fn bad(&self, callers: Callers, chance: &mut Chance) -> String {
        let good = self.token(callers, false, chance);
        let other = self.token(callers, false, chance);
        let now = Clock::system().now().as_seconds();
        let changed = |changes: Value| {
            let mut claims = good.claims.clone();
            claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            claims
        };
        if good.holder.issuer == Issuer::Opaque {
            let claims = [changed(json!({"exp": now - 3600})), changed(json!({"aud": "another"}))];
            return opaque(&claims[chance.below(2)]);
        }
        let signer = self.signer(&good.holder.issuer);
        match chance.below(4) {
            0 => signer.sign(changed(json!({"exp": now - 3600})), json!({})),
            1 => signer.sign(changed(json!({"aud": "another"})), json!({})),
            // another issuer's signature
            2 => self.opaque.sign(good.claims.clone(), json!({})),
            // what the other says with the signature of the one; the same token twice would be a good one
            _ => {
                let end = if other.text == good.text { "AAAA" } else { "" };
                let (mine, theirs) =
                    (good.text.rsplit_once('.').unwrap(), other.text.rsplit_once('.').unwrap());
                format!("{}.{}{end}", theirs.0, mine.1)
            }
        }
    }

    fn signer(&self, issuer: &Issuer) -> &Idp {
        match issuer {
            Issuer::Entra(_) => &self.entra,
            Issuer::Partner => &self.partner,
            Issuer::Opaque => &self.opaque,
        }
    }

    fn issue(&self, holder: Holder, is_refused: bool) -> Token {
        let number = {
            let mut issued = self.issued.lock().unwrap();
            *issued += 1;
            *issued
        };
        let mut claims = json!({
            "jti": format!("token-a-{number}"), "sid": format!("s{}", holder.session),
            "amr": if holder.has_mfa { json!(["pwd", "mfa"]) } else { json!(["pwd"]) },
            "rh": if is_refused { json!(MFA) } else { Value::Null },
        });
        let user = user(holder.user);
        let text = match holder.issuer {
            Issuer::Entra(tenant) => {
                if holder.is_robot {
                    let own = json!({"idtyp": "app", "scp": null, "sid": null, "amr": null, "sub": user, "roles": ["Robot"]});
                    claims.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
                }
                self.entra.entra_token(tenant, &user, claims)
            }
            Issuer::Partner => self.partner.token(&user, claims),
            Issuer::Opaque => {
                let now = Clock::system().now().as_seconds();
                let own = json!({
                    "iss": self.opaque.authority(), "aud": "orders", "sub": user, "client_id": "spa", "scope": "orders.read",
                    "iat": now, "exp": now + 3600,
                });
                claims.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
                opaque(&claims)
            }
        };
        let claims = said(&text);
        Token { holder, text, claims }
    }
}

fn user(number: usize) -> String {
    format!("a11ce000-5b1e-4c55-8d0a-{number:012}")
}

/// Somebody; the first users are the most likely ones.
fn holder(callers: Callers, chance: &mut Chance) -> Holder {
    let tenant = chance.pick(&[TENANT, OTHER_TENANT]);
    let issuer = match callers {
        Callers::Entra | Callers::Robots => Issuer::Entra(tenant),
        Callers::Partner => Issuer::Partner,
        Callers::Opaque => Issuer::Opaque,
        Callers::EntraOrPartner if chance.once_in(2) => Issuer::Entra(tenant),
        Callers::EntraOrPartner => Issuer::Partner,
    };
    Holder {
        issuer,
        user: chance.below(USERS).min(chance.below(USERS)).min(chance.below(USERS)),
        session: chance.below(2),
        has_mfa: chance.once_in(3),
        is_robot: callers == Callers::Robots,
    }
}

const OPAQUE: &str = "opaque-";

fn opaque(claims: &Value) -> String {
    format!("{OPAQUE}{}", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// What a token A says, whatever its kind.
pub fn said(token: &str) -> Value {
    match token.strip_prefix(OPAQUE) {
        Some(text) => serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap(),
        None => {
            let [_, claims] = parts(token);
            claims
        }
    }
}
