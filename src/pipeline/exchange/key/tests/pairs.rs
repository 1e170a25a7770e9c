//! Pairs that differ in exactly one thing: `PROPTEST_CASES` says in how many.

use proptest::prelude::*;
use serde_json::Map;

use super::*;

/// Everything that a key is made of.
#[derive(Clone, Debug)]
struct Whole {
    mode: CacheKeyMode,
    claims: Map<String, Value>,
    token: String,
    is_application: bool,
    /// The origin of Entra's, or another issuer.
    server: String,
    endpoint: Option<String>,
    is_entra: bool,
    grant: GrantType,
    client_id: String,
    capabilities: Vec<String>,
    parameters: Vec<(String, String)>,
    scopes: Vec<String>,
    resources: Vec<String>,
    audiences: Vec<String>,
    actor: Actor,
    kind: Option<TokenType>,
}

/// What decides about a token B.
#[derive(Clone, Copy, Debug)]
enum Decisive {
    /// A claim, by whichever name.
    Claim(&'static str),
    ClaimGone,
    Token,
    Principal,
    Mode,
    Server,
    Endpoint,
    Grant,
    Client,
    Capability,
    Parameter,
    ParameterValue,
    Scope,
    ScopeGone,
    Resource,
    Audience,
    Actor,
    Kind,
}

/// What does not.
#[derive(Clone, Copy, Debug)]
enum Idle {
    /// A claim that tells two tokens of a session apart.
    Time(&'static str),
    TimeGone(&'static str),
    Token,
    ScopeOrder,
    ScopeTwice,
    ParameterOrder,
    TargetOrder,
}

const CLAIMS: [&str; 12] =
    ["oid", "tid", "azp", "scp", "sid", "amr", "acr", "roles", "iss", "sub", "groups", "anything else"];

const TIMES: [&str; 14] = [
    "iat", "nbf", "exp", "uti", "jti", "aio", "rh", "nonce", "at_hash", "c_hash", "s_hash", "e_exp",
    "pwd_exp", "xms_ftd",
];

/// No generated word holds this.
const NEW: &str = "zz";

fn wholes() -> impl Strategy<Value = Whole> {
    let word = || "[ab/:.=& ]{1,6}";
    let words = || prop::collection::vec("[ab/:.]{1,4}", 0..3);
    let value = prop_oneof![
        word().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        prop::collection::vec(word(), 0..3).prop_map(Value::from),
        prop::collection::btree_map("[ab]", word(), 0..2).prop_map(|members| json!(members)),
    ];
    let name = prop::sample::select([&CLAIMS[2..], &TIMES].concat());
    let claims = prop::collection::btree_map(name, value, 0..6);
    let tenant = prop::sample::select(vec![sample::TENANT, "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"]);
    let who = (claims, tenant, "[ab]{1,3}", "[ab.]{1,8}", any::<bool>(), prop::bool::weighted(0.1));
    let endpoint = prop::option::of("https://[ab]{1,3}\\.example/[ab]{0,2}");
    let grant = prop::sample::select(vec![GrantType::JwtBearer, GrantType::TokenExchange]);
    let server = (any::<bool>(), "https://[ab]{1,3}\\.example", endpoint, grant, "[ab-]{1,4}", words());
    let parameters = prop::collection::btree_map("[abx]{1,3}", word(), 0..3);
    let kind = prop::sample::select(vec![
        TokenType::Saml1,
        TokenType::Saml2,
        TokenType::Jwt,
        TokenType::AccessToken,
    ]);
    let what = (parameters, words(), words(), words(), any::<bool>(), prop::option::of(kind));
    (who, server, what).prop_map(|(who, server, what)| {
        let (claims, tenant, oid, token, by_user, is_application) = who;
        let (is_entra, server, endpoint, grant, client_id, capabilities) = server;
        let (parameters, scopes, resources, audiences, acts, kind) = what;
        let mut claims: Map<_, _> =
            claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        claims.extend([("tid".to_owned(), json!(tenant)), ("oid".to_owned(), json!(oid))]);
        Whole {
            mode: if by_user { CacheKeyMode::User } else { CacheKeyMode::Assertion },
            claims,
            token,
            is_application,
            server,
            endpoint: endpoint.filter(|_| !is_entra),
            is_entra,
            grant: if is_entra { GrantType::JwtBearer } else { grant },
            client_id,
            capabilities,
            parameters: parameters.into_iter().collect(),
            scopes,
            resources,
            audiences,
            actor: if acts { Actor::Ourselves } else { Actor::Nobody },
            kind,
        }
    })
}

fn decisive() -> impl Strategy<Value = Decisive> {
    let claim = prop::sample::select(CLAIMS.to_vec()).prop_map(Decisive::Claim);
    let other = prop::sample::select(vec![
        Decisive::ClaimGone,
        Decisive::Token,
        Decisive::Principal,
        Decisive::Mode,
        Decisive::Server,
        Decisive::Endpoint,
        Decisive::Grant,
        Decisive::Client,
        Decisive::Capability,
        Decisive::Parameter,
        Decisive::ParameterValue,
        Decisive::Scope,
        Decisive::ScopeGone,
        Decisive::Resource,
        Decisive::Audience,
        Decisive::Actor,
        Decisive::Kind,
    ]);
    prop_oneof![1 => claim, 3 => other]
}

fn idle() -> impl Strategy<Value = Idle> {
    let time = || prop::sample::select(TIMES.to_vec());
    let other = prop::sample::select(vec![
        Idle::Token,
        Idle::ScopeOrder,
        Idle::ScopeTwice,
        Idle::ParameterOrder,
        Idle::TargetOrder,
    ]);
    prop_oneof![time().prop_map(Idle::Time), time().prop_map(Idle::TimeGone), other]
}

impl Whole {
    fn key(&self) -> CacheKey {
        let server = match self.is_entra {
            true => sample::provider(&self.server),
            false => sample::oidc(&self.server, self.endpoint.as_deref(), self.grant),
        };
        let provider = IdentityProvider {
            client_id: self.client_id.clone(),
            client_capabilities: self.capabilities.clone(),
            parameters: self.parameters.clone(),
            ..server
        };
        let exchange = Exchange {
            scopes: self.scopes.clone(),
            resources: self.resources.clone(),
            audiences: self.audiences.clone(),
            actor: self.actor,
            requested_token_type: self.kind,
            app_tokens: AppTokens::Reject,
        };
        let caller = match self.is_application {
            true => sample::application("robot"),
            false => sample::caller_of(&self.token, &self.claims.clone().into()),
        };
        key(self.mode, &provider, &exchange, &caller)
    }

    /// Another whole in which just this is different; `None` if there is no such thing in it.
    fn with(&self, what: Decisive) -> Option<Self> {
        let mut other = self.clone();
        let by_claims = !self.is_application && self.mode == CacheKeyMode::User;
        let is_there = match what {
            Decisive::Claim("tid") => {
                let changed = "33333333-489d-4002-8293-5b0c5134eacb";
                other.claims.insert("tid".into(), changed.into());
                by_claims
            }
            Decisive::Claim(name) => {
                other.claims.insert(name.into(), NEW.into());
                by_claims
            }
            Decisive::ClaimGone => {
                let lasting = |name: &String| !TIMES.contains(&name.as_str()) && name != "tid";
                let found = self.claims.keys().find(|name| lasting(name));
                found.is_some_and(|name| other.claims.remove(name).is_some()) && by_claims
            }
            Decisive::Token => {
                other.token.push_str(NEW);
                !self.is_application && self.mode == CacheKeyMode::Assertion
            }
            Decisive::Principal => {
                other.is_application = !self.is_application;
                true
            }
            Decisive::Mode => {
                other.mode = match self.mode {
                    CacheKeyMode::User => CacheKeyMode::Assertion,
                    CacheKeyMode::Assertion => CacheKeyMode::User,
                };
                !self.is_application
            }
            Decisive::Server => {
                other.server = self.server.replace(".example", "zz.example");
                self.endpoint.is_none()
            }
            Decisive::Endpoint => {
                other.endpoint = self.endpoint.as_ref().map(|endpoint| format!("{endpoint}{NEW}"));
                self.endpoint.is_some()
            }
            Decisive::Grant => {
                other.grant = match self.grant {
                    GrantType::JwtBearer => GrantType::TokenExchange,
                    GrantType::TokenExchange => GrantType::JwtBearer,
                };
                !self.is_entra && !self.is_application
            }
            Decisive::Client => {
                other.client_id.push_str(NEW);
                true
            }
            Decisive::Capability => {
                other.capabilities.push(NEW.into());
                true
            }
            Decisive::Parameter => {
                other.parameters.push((NEW.into(), String::new()));
                true
            }
            Decisive::ParameterValue => {
                other.parameters.iter_mut().for_each(|(_, value)| value.push_str(NEW));
                !self.parameters.is_empty()
            }
            Decisive::Scope => {
                other.scopes.push(NEW.into());
                true
            }
            Decisive::ScopeGone => {
                other.scopes.clear();
                !self.scopes.is_empty()
            }
            Decisive::Resource => {
                other.resources.push(NEW.into());
                true
            }
            Decisive::Audience => {
                other.audiences.push(NEW.into());
                true
            }
            Decisive::Actor => {
                other.actor = match self.actor {
                    Actor::Nobody => Actor::Ourselves,
                    Actor::Ourselves => Actor::Nobody,
                };
                true
            }
            Decisive::Kind => {
                other.kind = match self.kind {
                    Some(TokenType::Saml1) => Some(TokenType::Saml2),
                    _ => Some(TokenType::Saml1),
                };
                true
            }
        };
        is_there.then_some(other)
    }

    /// Another whole in which this is different; `None` if that decides here.
    fn without_regard_to(&self, what: Idle) -> Option<Self> {
        let mut other = self.clone();
        let in_session = self.is_application || self.mode == CacheKeyMode::User;
        let holds = match what {
            Idle::Time(name) => {
                other.claims.insert(name.into(), NEW.into());
                true
            }
            Idle::TimeGone(name) => {
                other.claims.remove(name);
                true
            }
            Idle::Token => {
                other.token.push_str(NEW);
                in_session
            }
            Idle::ScopeOrder => {
                other.scopes.reverse();
                true
            }
            Idle::ScopeTwice => {
                other.scopes.extend(self.scopes.first().cloned());
                true
            }
            Idle::ParameterOrder => {
                other.parameters.reverse();
                true
            }
            Idle::TargetOrder => {
                other.resources.reverse();
                other.audiences.reverse();
                true
            }
        };
        holds.then_some(other)
    }
}

/// The fields of a key that may be of any length, in order.
type Texts = [String; 10];

fn of_texts(texts: &Texts) -> CacheKey {
    let [profile, token_endpoint, tenant, subject, client_id, target, kind, holder, scopes, capabilities] =
        texts;
    CacheKey::of(&Fields {
        profile,
        token_endpoint,
        tenant,
        subject: subject.as_bytes(),
        binding: Digest::of(b""),
        client_id,
        target,
        requested_token_type: kind,
        holder,
        scopes,
        capabilities: capabilities.as_bytes(),
    })
}

proptest! {
    #[test]
    fn what_differs_in_one_thing_that_decides_has_another_key(whole in wholes(), what in decisive()) {
        if let Some(other) = whole.with(what) {
            prop_assert_ne!(whole.key(), other.key());
        }
    }

    #[test]
    fn what_differs_in_times_and_order_alone_has_the_same_key(whole in wholes(), what in idle()) {
        if let Some(other) = whole.without_regard_to(what) {
            prop_assert_eq!(whole.key(), other.key());
        }
    }

    #[test]
    fn a_field_cannot_run_into_its_neighbour(
        // bytes that look like a length in front of a field, too
        texts in prop::array::uniform10("[\u{0}-\u{4}ab]{0,6}"),
        from in 0..10_usize,
        to_the_next in any::<bool>(),
        most in 1..7_usize,
    ) {
        let to = if to_the_next { from + 1 } else { from.wrapping_sub(1) };
        let most = most.min(texts[from].len());
        if to < texts.len() && most > 0 {
            let mut other = texts.clone();
            if to_the_next {
                let moved = other[from].split_off(texts[from].len() - most);
                other[to].insert_str(0, &moved);
            } else {
                let moved: String = other[from].drain(..most).collect();
                other[to].push_str(&moved);
            }
            prop_assert_eq!(texts.concat(), other.concat());
            prop_assert_ne!(of_texts(&texts), of_texts(&other));
        }
    }
}
