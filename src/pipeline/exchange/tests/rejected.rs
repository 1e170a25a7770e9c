//! What is done about upstreams that refuse token B.

use super::*;
use crate::config::GrantType;
use crate::pipeline::exchange::demand::Claims;
use crate::pipeline::exchange::demand::Demand;
use crate::pipeline::exchange::demand::StepUp;
use crate::pipeline::exchange::tests::idp::refused;
use crate::pipeline::exchange::tests::idp::token_b;

pub const CLAIMS: &str = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;

/// A token that names the claims it was asked for too, and how many were issued before it.
pub fn numbered() -> impl Fn(&idp::Received) -> Answer + Send + Sync {
    let issued = AtomicUsize::new(0);
    move |received| {
        let number = issued.fetch_add(1, Ordering::SeqCst);
        let wants = if received.form.contains_key("claims") { "claims" } else { "any" };
        let token = format!("{}:{wants}:{number}", token_b(received));
        idp::json(
            200,
            &serde_json::json!({"token_type": "Bearer", "expires_in": 3600, "access_token": token}),
        )
    }
}

pub fn demanding(claims: &str) -> Demand {
    Demand { claims: Claims::parse(claims), step_up: None }
}

impl World {
    pub async fn rejected(
        &self,
        caller: &Caller,
        had: &Exchanged,
        demand: &Demand,
        chance: Chance,
    ) -> Result<Option<Exchanged>, Error> {
        let exchange = &sample::exchange(&["a"]);
        let Exchanged { token, asked_at, .. } = had;
        let rejected = Rejected { caller, exchange, token, asked_at: *asked_at, demand, chance, asker: None };
        self.exchanger.rejected(rejected).await
    }
}

#[tokio::test]
async fn a_thousand_who_are_challenged_at_once_make_one_exchange() {
    let idp = Idp::closed(numbered()).await;
    let world = World::of(&idp);
    idp.open_gate_once();
    let had = world.get(&caller("alice", 0)).await.unwrap();
    let callers: Vec<_> = (0..1000)
        .map(|uti| {
            let (world, had) = (world.clone(), had.clone());
            tokio::spawn(async move {
                world.rejected(&caller("alice", uti), &had, &demanding(CLAIMS), Chance::Once).await
            })
        })
        .collect();
    world.until("obo_exchanges_coalesced_total 999").await;
    // until there is another one, those who come get the old one
    assert_eq!(text(&world.get(&caller("alice", 1)).await.unwrap()), text(&had));
    idp.open_gate();
    for waiting in callers {
        let another = waiting.await.unwrap().unwrap().unwrap();
        assert!(text(&another).ends_with(":claims:1"), "{another:?}");
    }
    // whoever is late gets it too, and so does everyone else
    let late = world.rejected(&caller("alice", 2), &had, &demanding(CLAIMS), Chance::Once).await;
    assert!(text(&late.unwrap().unwrap()).ends_with(":claims:1"));
    assert!(text(&world.get(&caller("alice", 3)).await.unwrap()).ends_with(":claims:1"));
    assert_eq!(idp.requests(), 2);
    assert_eq!(idp.received()[1].form["claims"], CLAIMS);
    // other claims are another exchange
    let other = demanding(&CLAIMS.replace("c1", "c2"));
    let another = world.rejected(&caller("alice", 2), &had, &other, Chance::Once).await;
    assert!(text(&another.unwrap().unwrap()).ends_with(":claims:2"));
}

#[tokio::test]
async fn an_exchange_with_claims_joins_none_without() {
    let idp = Idp::closed(numbered()).await;
    let world = World::of(&idp);
    idp.open_gate_once();
    let alice = caller("alice", 0);
    let had = world.get(&alice).await.unwrap();
    // its renewal is under way
    world.pass(3590);
    world.get(&alice).await.unwrap();
    idp.arrived(2).await;
    let waiting = {
        let (world, alice, had) = (world.clone(), alice.clone(), had.clone());
        tokio::spawn(async move { world.rejected(&alice, &had, &demanding(CLAIMS), Chance::Once).await })
    };
    idp.arrived(3).await;
    idp.open_gate();
    assert!(text(&waiting.await.unwrap().unwrap().unwrap()).contains(":claims:"));
}

#[tokio::test]
async fn claims_that_cannot_be_had_do_not_keep_the_caller_from_what_needs_none() {
    let idp = Idp::open(|received| match received.form.contains_key("claims") {
        true => refused("interaction_required"),
        false => granted(received),
    })
    .await;
    let world = World::of(&idp);
    let alice = caller("alice", 0);
    let had = world.get(&alice).await.unwrap();
    let error = world.rejected(&alice, &had, &demanding(CLAIMS), Chance::Once).await.unwrap_err();
    assert_eq!(error.kind, Kind::InteractionRequired);
    assert_eq!(error.answer.unwrap().claims.as_deref(), Some(CLAIMS));
    assert_eq!(idp.requests(), 2);
    // the token is gone, but not the way to another
    assert_eq!(world.fetch(&alice).await.1, CacheResult::Miss);
    // and the same claims are not asked for again with the same token A
    world.rejected(&alice, &had, &demanding(CLAIMS), Chance::Once).await.unwrap_err();
    assert_eq!(idp.requests(), 3);
}

#[tokio::test]
async fn an_idp_that_asks_to_wait_is_not_asked_for_claims_either() {
    let throttled = |_: &idp::Received| Answer {
        headers: vec![("retry-after", "60".into())],
        ..idp::json(429, &serde_json::json!({}))
    };
    let idp = Idp::open(in_turn(vec![granted, throttled])).await;
    let world = World::of(&idp);
    let alice = caller("alice", 0);
    let had = world.get(&alice).await.unwrap();
    for claims in [CLAIMS, CLAIMS, r#"{"other":1}"#] {
        let error = world.rejected(&alice, &had, &demanding(claims), Chance::Once).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Throttled { .. }), "{error:?}");
    }
    // the throttling of one exchange holds for the whole key
    assert_eq!(idp.requests(), 2);
}

#[tokio::test]
async fn a_challenge_is_counted_when_the_caller_gets_it() {
    let idp = Idp::open(numbered()).await;
    let world = World::of(&idp);
    let alice = caller("alice", 0);
    for (kind, requests) in
        [(Kind::UpstreamChallenge, 1), (Kind::UpstreamChallenge, 2), (Kind::InteractionLoop, 2)]
    {
        let had = world.get(&alice).await.unwrap();
        let error = world.rejected(&alice, &had, &demanding(CLAIMS), Chance::Never).await.unwrap_err();
        assert_eq!((error.kind, idp.requests()), (kind, requests));
        assert_eq!(error.answer.unwrap().claims.as_deref(), Some(CLAIMS));
    }
    // somebody else's challenges are somebody else's
    let bob = caller("bob", 0);
    let had = world.get(&bob).await.unwrap();
    let error = world.rejected(&bob, &had, &demanding(CLAIMS), Chance::Never).await.unwrap_err();
    assert_eq!(error.kind, Kind::UpstreamChallenge);
}

#[tokio::test]
async fn a_plain_refusal_of_an_old_token_is_answered_by_one_exchange_for_all() {
    let idp = Idp::open(numbered()).await;
    let world = World::of(&idp);
    let alice = caller("alice", 0);
    let none = Demand::default();
    let had = world.get(&alice).await.unwrap();
    assert!(world.rejected(&alice, &had, &none, Chance::Once).await.unwrap().is_none());
    world.pass(31);
    for _ in 0..3 {
        let another = world.rejected(&alice, &had, &none, Chance::Once).await.unwrap().unwrap();
        assert!(text(&another).ends_with(":any:1"));
        assert!(world.rejected(&alice, &another, &none, Chance::Once).await.unwrap().is_none());
        assert!(world.rejected(&alice, &another, &none, Chance::Used).await.unwrap().is_none());
    }
    assert_eq!(idp.requests(), 2);
}

#[tokio::test]
async fn off_entra_another_sign_in_is_demanded_in_the_words_of_rfc_9470() {
    let idp = Idp::open(|_| {
        idp::json(200, &serde_json::json!({"token_type": "Bearer", "expires_in": 3600, "access_token": "b"}))
    })
    .await;
    let endpoint = format!("{}/token", idp.authority());
    let provider = sample::oidc("https://id.example", Some(&endpoint), GrantType::JwtBearer);
    let step_up = StepUp { acr_values: Some("gold".into()), max_age: Some(300) };
    let demand = Demand { claims: None, step_up: Some(step_up) };
    let alice = caller("alice", 0);
    let world = World::new(provider, &sample::cache());
    for requests in [1, 2, 2] {
        let had = world.get(&alice).await.unwrap();
        let error = world.rejected(&alice, &had, &demand, Chance::Once).await.unwrap_err();
        let answer = error.answer.unwrap();
        assert_eq!(
            (error.kind, answer.error.as_str()),
            (Kind::UpstreamChallenge, "insufficient_user_authentication")
        );
        assert_eq!((answer.acr_values.as_deref(), answer.max_age), (Some("gold"), Some(300)));
        // the next sign-in gets a token of its own, but nobody has the IdP asked for one each time
        assert_eq!(idp.requests(), requests);
    }
    // Entra knows no such thing
    let idp = Idp::open(granted).await;
    let world = World::of(&idp);
    let had = world.get(&alice).await.unwrap();
    assert!(world.rejected(&alice, &had, &demand, Chance::Once).await.unwrap().is_none());
}
