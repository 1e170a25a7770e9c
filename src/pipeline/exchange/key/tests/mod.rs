use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::config::AppTokens;
use crate::config::TokenType;
use crate::domain::caller::Caller;
use crate::domain::token::DownstreamToken;
use crate::pipeline::exchange::credential::Proof;
use crate::pipeline::exchange::grant::Grant;
use crate::pipeline::exchange::grant::Purpose;
use crate::pipeline::exchange::grant::Terms;
use crate::pipeline::exchange::tests::sample;

mod pairs;

fn key(mode: CacheKeyMode, provider: &IdentityProvider, exchange: &Exchange, caller: &Caller) -> CacheKey {
    CacheKey::new(mode, provider, exchange, &caller.claims).unwrap()
}

fn hex(key: CacheKey) -> String {
    format!("{:x}", key.digest())
}

#[test]
fn keys_are_the_published_ones() {
    let caller = sample::caller_of_compact(&sample::seed_token("TV-J2"));
    let provider = sample::provider("https://LOGIN.microsoftonline.com");
    let exchange = sample::exchange(&["https://graph.microsoft.com/User.Read", "openid"]);
    assert_eq!(
        hex(key(CacheKeyMode::Assertion, &provider, &exchange, &caller)),
        "e1601535a533f32e4a632ef7a9a08fdcfb107a5db055e9acaf140eea487d19a7"
    );
    assert_eq!(
        format!("{:x}", caller.claims.claims_digest),
        "3ed5c6525c798240ef63214ddb236cbea1dc99a5053b892bc571f541df35a325"
    );
    assert_eq!(
        hex(key(CacheKeyMode::User, &provider, &exchange, &caller)),
        "74555e264e165bfc17fc83fa97955051bb55e0c07b8a3ddf14f40ec770571a3a"
    );
    let resource = Exchange {
        scopes: vec![],
        resources: vec!["https://graph.windows.net".into()],
        ..Exchange::clone(&exchange)
    };
    let v1 = key(CacheKeyMode::Assertion, &provider, &resource, &caller);
    assert_eq!(hex(v1), "dcc060044dac1d25f646c778b87ec6286cd7ec26c0cf75fc73a87b3b6f403eda");
}

#[test]
fn whatever_changes_token_b_changes_the_key() {
    let provider = || sample::provider("https://login.example");
    let exchange = || sample::exchange(&["api://a/.default"]);
    let claims = json!({"tid": sample::TENANT, "oid": "alice", "scp": "a", "azp": "x", "amr": ["pwd"]});
    let with = |name: &str, value: &str| {
        let mut claims = claims.clone();
        claims[name] = value.into();
        sample::caller_of("a.b.c", &claims)
    };
    let caller = sample::caller_of("a.b.c", &claims);
    let mut keys = vec![key(CacheKeyMode::User, &provider(), &exchange(), &caller)];
    for (name, value) in [
        ("oid", "bob"),
        ("tid", "8eaef023-2b34-4da1-9baa-8bc8c9d6a490"),
        ("scp", "a b"),
        ("azp", "y"),
        ("amr", "mfa"),
    ] {
        keys.push(key(CacheKeyMode::User, &provider(), &exchange(), &with(name, value)));
    }
    for client_id in ["another", "a\u{0}nother"] {
        let other = IdentityProvider { client_id: client_id.into(), ..provider() };
        keys.push(key(CacheKeyMode::User, &other, &exchange(), &caller));
    }
    let other = IdentityProvider { parameters: vec![("tenant".into(), "{}".into())], ..provider() };
    keys.push(key(CacheKeyMode::User, &other, &exchange(), &caller));
    keys.push(key(CacheKeyMode::User, &sample::provider("https://login.example:444"), &exchange(), &caller));
    for scopes in [&["api://b/.default"][..], &["api://a/.default", "api://a/b"], &[]] {
        keys.push(key(CacheKeyMode::User, &provider(), &sample::exchange(scopes), &caller));
    }
    for kind in [TokenType::Saml1, TokenType::Saml2, TokenType::Jwt, TokenType::AccessToken] {
        let other = Exchange { requested_token_type: Some(kind), ..Exchange::clone(&exchange()) };
        keys.push(key(CacheKeyMode::User, &provider(), &other, &caller));
    }
    for (scopes, resources, audiences) in [
        (&[][..], &["api://a"][..], &[][..]),
        (&[], &["api://b"], &[]),
        (&[], &[], &["api://a"]),
        (&[], &[], &["a", "b"]),
        (&["a"], &[], &["a", "b"]),
    ] {
        let list = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let other = Exchange {
            scopes: list(scopes),
            resources: list(resources),
            audiences: list(audiences),
            ..Exchange::clone(&exchange())
        };
        keys.push(key(CacheKeyMode::User, &provider(), &other, &caller));
        let more = IdentityProvider { parameters: vec![("x".into(), "y".into())], ..provider() };
        keys.push(key(CacheKeyMode::User, &more, &other, &caller));
    }
    for capabilities in [&["cp1"][..], &["cp2"], &["cp1", "cp2"]] {
        let client_capabilities = capabilities.iter().map(|word| (*word).to_owned()).collect();
        let other = IdentityProvider { client_capabilities, ..provider() };
        keys.push(key(CacheKeyMode::User, &other, &exchange(), &caller));
    }
    for (issuer, endpoint, grant) in [
        ("https://id.example", None, GrantType::TokenExchange),
        ("https://id.example", None, GrantType::JwtBearer),
        ("https://id.example", Some("https://id.example/token"), GrantType::TokenExchange),
        ("https://other.example", None, GrantType::TokenExchange),
    ] {
        let other = sample::oidc(issuer, endpoint, grant);
        keys.push(key(CacheKeyMode::User, &other, &exchange(), &caller));
        let acting = Exchange { actor: Actor::Ourselves, ..Exchange::clone(&exchange()) };
        keys.push(key(CacheKeyMode::User, &other, &acting, &caller));
        if grant == GrantType::TokenExchange {
            keys.push(CacheKey::of_actor(&other)); // only there somebody acts
        }
    }
    let application = sample::application("robot");
    keys.push(key(CacheKeyMode::User, &provider(), &exchange(), &application));
    keys.push(key(CacheKeyMode::Assertion, &provider(), &exchange(), &caller));
    let other_token = sample::caller_of("a.b.d", &claims);
    keys.push(key(CacheKeyMode::Assertion, &provider(), &exchange(), &other_token));
    let different: BTreeSet<String> = keys.iter().copied().map(hex).collect();
    assert_eq!(different.len(), keys.len());
    // in mode `user` another token of the same session changes nothing
    assert_eq!(keys[0], key(CacheKeyMode::User, &provider(), &exchange(), &other_token));
}

#[test]
fn a_token_of_our_own_is_the_same_for_every_application() {
    let provider = sample::provider("https://login.example");
    let exchange = sample::exchange(&["api://a/.default"]);
    for mode in [CacheKeyMode::User, CacheKeyMode::Assertion] {
        let [one, other] =
            ["robot", "crawler"].map(|name| key(mode, &provider, &exchange, &sample::application(name)));
        assert_eq!(one, other);
    }
}

#[test]
fn off_entra_scopes_have_case_and_tenants_do_not_count() {
    let provider = sample::oidc("https://id.example", None, GrantType::TokenExchange);
    let of = |scopes: &[&str], caller: &Caller| {
        key(CacheKeyMode::User, &provider, &sample::exchange(scopes), caller)
    };
    let alice = sample::subject("https://id.example", "alice", 1);
    assert_eq!(of(&["a", "b"], &alice), of(&["b a", "a"], &alice));
    assert_ne!(of(&["a"], &alice), of(&["A"], &alice));
    assert_ne!(of(&["a", "openid"], &alice), of(&["a"], &alice));
    assert_eq!(of(&["a"], &alice), of(&["a"], &sample::subject("https://id.example", "alice", 2)));
    assert_ne!(of(&["a"], &alice), of(&["a"], &sample::subject("https://id.example", "bob", 1)));
    let entra = sample::provider("https://login.example");
    assert!(CacheKey::new(CacheKeyMode::User, &entra, &sample::exchange(&["a"]), &alice.claims).is_none());
    let shouting = IdentityProvider {
        client_id: "ORDERS".into(),
        ..sample::oidc("https://id.example", None, GrantType::TokenExchange)
    };
    assert_ne!(key(CacheKeyMode::User, &shouting, &sample::exchange(&["a"]), &alice), of(&["a"], &alice));
}

/// What a provider and an exchange are made of.
#[derive(Clone, Debug)]
struct Parts {
    server: usize,
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

/// Parts drawn from few words, so that what one says by this, another says by that.
fn parts() -> impl Strategy<Value = Parts> {
    let words = || proptest::collection::btree_set("[ab=&]{1,2}", 0..3).prop_map(Vec::from_iter);
    let grant = proptest::sample::select(vec![GrantType::JwtBearer, GrantType::TokenExchange]);
    let actor = proptest::sample::select(vec![Actor::Nobody, Actor::Ourselves]);
    let kind = proptest::option::of(proptest::sample::select(vec![TokenType::Saml1, TokenType::Jwt]));
    let parameters =
        proptest::collection::btree_map("audience|resource|x", "[ab=&]{0,2}", 0..2).prop_map(Vec::from_iter);
    let provider = (0..3_usize, grant, "[ab]", words(), parameters);
    let exchange = (words(), words(), words(), actor, kind);
    (provider, exchange).prop_map(|(provider, exchange)| {
        let (server, grant, client_id, capabilities, parameters) = provider;
        let (scopes, resources, audiences, actor, kind) = exchange;
        Parts {
            server,
            grant,
            client_id,
            capabilities,
            parameters,
            scopes,
            resources,
            audiences,
            actor,
            kind,
        }
    })
}

impl Parts {
    fn provider(&self) -> IdentityProvider {
        let provider = match self.server {
            0 => sample::provider("https://login.example"),
            1 => sample::oidc("https://a", None, self.grant),
            _ => sample::oidc("https://a", Some("https://a"), self.grant),
        };
        IdentityProvider {
            client_id: self.client_id.clone(),
            client_capabilities: self.capabilities.clone(),
            parameters: self.parameters.clone(),
            ..provider
        }
    }

    fn exchange(&self) -> Exchange {
        Exchange {
            scopes: self.scopes.clone(),
            resources: self.resources.clone(),
            audiences: self.audiences.clone(),
            actor: self.actor,
            requested_token_type: self.kind,
            app_tokens: AppTokens::Reject,
        }
    }

    /// The same, but for the parts of `other` that are picked.
    fn mixed(&self, other: &Self, picked: [bool; 10]) -> Self {
        let pick = |at: usize| if picked[at] { other } else { self };
        Self {
            server: pick(0).server,
            grant: pick(1).grant,
            client_id: pick(2).client_id.clone(),
            capabilities: pick(3).capabilities.clone(),
            parameters: pick(4).parameters.clone(),
            scopes: pick(5).scopes.clone(),
            resources: pick(6).resources.clone(),
            audiences: pick(7).audiences.clone(),
            actor: pick(8).actor,
            kind: pick(9).kind,
        }
    }
}

/// What is sent, and where: the form, sorted, and what the key calls the endpoint.
fn said(
    provider: &IdentityProvider,
    exchange: &Exchange,
    caller: &Caller,
) -> (String, Vec<(String, String)>) {
    let actor = DownstreamToken::bearer(zeroize::Zeroizing::new("actor".into())).unwrap();
    let actor = (exchange.actor == Actor::Ourselves).then_some(&actor);
    let purpose = Purpose::User { exchange, assertion: &caller.token, actor };
    let proof = Proof::none(&provider.client_id);
    let form = Grant::new(&Terms { provider, purpose, claims: None }, &proof).parameters;
    let mut form: Vec<_> = form.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    form.sort();
    (token_endpoint(provider, exchange, caller.claims.tenant.as_ref()), form)
}

/// Two lists of fields, and which of them differ.
fn fields() -> impl Strategy<Value = [[String; 10]; 2]> {
    let list = || proptest::array::uniform10("[ab|]{0,3}");
    [list(), list()]
}

fn of(list: &[String; 10]) -> CacheKey {
    let [profile, token_endpoint, tenant, subject, binding, client_id, target, kind, holder, scopes] = list;
    CacheKey::of(&Fields {
        profile,
        token_endpoint,
        tenant,
        subject: subject.as_bytes(),
        binding: Digest::of(binding.as_bytes()),
        client_id,
        target,
        requested_token_type: kind,
        holder,
        scopes,
        capabilities: b"",
    })
}

proptest! {
    #[test]
    fn keys_are_equal_only_if_every_field_is([one, two] in fields(), at in 0_usize..10) {
        prop_assert_eq!(one == two, of(&one) == of(&two));
        let mut changed = one.clone();
        changed[at].push('x');
        prop_assert_ne!(of(&one), of(&changed));
    }

    #[test]
    fn two_requests_that_differ_share_no_key(
        one in parts(),
        other in parts(),
        picked in proptest::array::uniform10(proptest::bool::weighted(0.2)),
    ) {
        let caller = sample::caller("alice", 1);
        let other = one.mixed(&other, picked);
        let [(one_key, one_said), (other_key, other_said)] = [&one, &other].map(|parts| {
            let (provider, exchange) = (parts.provider(), parts.exchange());
            (key(CacheKeyMode::User, &provider, &exchange, &caller), said(&provider, &exchange, &caller))
        });
        prop_assert!(one_key != other_key || one_said == other_said, "{:?} {:?}", one, other);
    }

    #[test]
    fn order_repetition_and_case_of_scopes_do_not_matter(
        mut scopes in proptest::collection::vec("[a-cA-C]{1,2}|openid|offline_access| ", 0..6),
        repeated in any::<prop::sample::Index>(),
    ) {
        let canonical = canonical_scopes(&scopes);
        if !scopes.is_empty() {
            scopes.push(repeated.get(&scopes).to_ascii_uppercase());
        }
        scopes.reverse();
        prop_assert_eq!(&canonical_scopes(&scopes), &canonical);
        prop_assert_eq!(&canonical_scopes(std::slice::from_ref(&canonical)), &canonical);
        scopes.push("another".into());
        prop_assert_ne!(&canonical_scopes(&scopes), &canonical);
    }

    #[test]
    fn volatile_claims_do_not_change_the_key(
        name in "iat|nbf|exp|uti|jti|aio|rh|nonce|at_hash|c_hash|s_hash|e_exp|pwd_exp|xms_ftd",
        value in any::<u32>(),
    ) {
        let provider = sample::provider("https://login.example");
        let exchange = sample::exchange(&["a"]);
        let mut claims = json!({"tid": sample::TENANT, "oid": "alice"});
        let plain = key(CacheKeyMode::User, &provider, &exchange, &sample::caller_of("a.b.c", &claims));
        claims[name] = value.into();
        let other = key(CacheKeyMode::User, &provider, &exchange, &sample::caller_of("a.b.d", &claims));
        prop_assert_eq!(plain, other);
    }
}
