use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::TokenType;
use crate::domain::caller::Caller;
use crate::pipeline::exchange::tests::sample;

fn key(mode: CacheKeyMode, provider: &IdentityProvider, exchange: &Exchange, caller: &Caller) -> CacheKey {
    CacheKey::new(mode, provider, exchange, &caller.claims, caller.claims.tenant.as_ref().unwrap())
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
    let v1 = CacheKey::of(&Fields {
        profile: "entra-v1",
        token_endpoint: "https://login.microsoftonline.com/26039cce-489d-4002-8293-5b0c5134eacb/oauth2/token",
        tenant: sample::TENANT,
        subject: b"oid:1cd4bcac-b808-423a-9e2f-827fbb1bb739",
        binding: caller.claims.token_digest,
        client_id: "625391af-c675-43e5-8e44-edd3e30ceb15",
        target: "https://graph.windows.net",
        requested_token_type: "",
        holder: "",
        scopes: &canonical_scopes(&["openid".into()]),
        capabilities: "",
    });
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
    let other = IdentityProvider { parameters: vec![("claims".into(), "{}".into())], ..provider() };
    keys.push(key(CacheKeyMode::User, &other, &exchange(), &caller));
    keys.push(key(CacheKeyMode::User, &sample::provider("https://login.example:444"), &exchange(), &caller));
    for scopes in [&["api://b/.default"][..], &["api://a/.default", "api://a/b"], &[]] {
        keys.push(key(CacheKeyMode::User, &provider(), &sample::exchange(scopes), &caller));
    }
    for kind in [TokenType::Saml1, TokenType::Saml2, TokenType::Jwt, TokenType::AccessToken] {
        let other = Exchange { requested_token_type: Some(kind), ..Exchange::clone(&exchange()) };
        keys.push(key(CacheKeyMode::User, &provider(), &other, &caller));
    }
    keys.push(key(CacheKeyMode::Assertion, &provider(), &exchange(), &caller));
    let other_token = sample::caller_of("a.b.d", &claims);
    keys.push(key(CacheKeyMode::Assertion, &provider(), &exchange(), &other_token));
    let different: BTreeSet<String> = keys.iter().copied().map(hex).collect();
    assert_eq!(different.len(), keys.len());
    // in mode `user` another token of the same session changes nothing
    assert_eq!(keys[0], key(CacheKeyMode::User, &provider(), &exchange(), &other_token));
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
        capabilities: "",
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
