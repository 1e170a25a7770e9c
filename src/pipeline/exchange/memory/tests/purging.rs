//! Tokens that are of no use any more: here, on their way here, and elsewhere.

use super::*;

fn only(name: &'static str) -> impl Fn(Digest) -> bool + Send + Sync + 'static {
    move |holder| holder == user(name)
}

#[test]
fn a_purge_drops_all_of_the_users_who_are_meant_and_nothing_else() {
    let world = World::new();
    for name in ["alice", "bob", "carol"] {
        for purpose in [1, 2] {
            world.keep(filed(name, purpose), name, 1000);
        }
    }
    world.keep(ours(1), "ours", 1000);
    for name in ["alice", "bob", "dave"] {
        world.refuse(filed(name, 3), Row::Denied);
        world.refuse(filed(name, 4), Row::Throttled(Duration::from_secs(60)));
    }
    world.pass(1);
    let mut users = vec![user("alice"), user("dave")];
    users.sort();
    let purged = world.memory.purge(|holder| holder == user("alice") || holder == user("dave"));
    assert_eq!(purged, Purged { users, tokens: 2 });
    for (place, expected) in [
        (filed("alice", 1), None),
        (filed("alice", 2), None),
        (filed("bob", 1), Some("bob")),
        (filed("carol", 2), Some("carol")),
        (ours(1), Some("ours")),
    ] {
        assert_eq!(world.served(place).as_deref(), expected);
    }
    for (name, expected) in [("alice", false), ("bob", true), ("dave", false)] {
        assert_eq!(
            (3..=4).map(|purpose| world.is_refused(filed(name, purpose))).collect::<Vec<_>>(),
            [expected; 2]
        );
    }
    assert_eq!((world.evicted("purged"), world.evicted("explicit")), (2, 0));
    // there is nothing left to be found
    assert_eq!(world.memory.purge(only("alice")), Purged::default());
    assert_eq!(world.evicted("purged"), 2);
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_kept_after_it() {
    let world = World::new();
    let asked_at = world.now();
    world.pass(1);
    // nothing of hers is here yet: her first token is on its way
    assert_eq!(world.memory.purge(only("alice")), Purged::default());
    assert!(!world.keep_of(filed("alice", 1), "old", 1000, asked_at));
    assert_eq!((world.served(filed("alice", 1)), world.memory.tokens()), (None, 0));
    assert!(world.keep_of(filed("bob", 1), "bob's", 1000, asked_at));
    assert!(world.keep_of(ours(1), "ours", 1000, asked_at));
    // what is asked for from then on is hers again
    assert!(world.keep(filed("alice", 1), "new", 1000));
    assert_eq!(world.served(filed("alice", 1)).as_deref(), Some("new"));
}

#[test]
fn tokens_of_other_tiers_are_disowned_after_a_purge_as_long_as_any_lives() {
    let world = World::new();
    let before = world.clock.monotonic();
    world.pass(10);
    world.memory.purge(only("alice"));
    let after = world.clock.monotonic();
    for (passed, expected) in [(0, true), (LONGEST.as_secs() - 1, true), (1, false)] {
        world.pass(passed);
        for purpose in [1, 2] {
            assert_eq!(world.memory.disowns(filed("alice", purpose), before), expected);
        }
        assert!(!world.memory.disowns(filed("alice", 1), after));
        assert!(!world.memory.disowns(filed("bob", 1), before));
        assert!(!world.memory.disowns(ours(1), before));
    }
}

#[test]
fn tokens_of_other_tiers_are_disowned_for_an_hour_after_an_eviction() {
    for refused_by_the_idp in [false, true] {
        let world = World::new();
        let place = filed("alice", 1);
        world.keep(place, "old", 1000);
        let before = world.clock.monotonic();
        world.pass(10);
        if refused_by_the_idp {
            world.refuse(place, Row::InvalidGrant);
        } else {
            assert!(world.memory.evict(place, &token("old")));
        }
        let after = world.clock.monotonic();
        assert_eq!((world.memory.tokens(), world.evicted("explicit")), (0, 1));
        assert_eq!(world.memory.was_evicted_lately(place.key), !refused_by_the_idp);
        for (passed, expected) in [(0, true), (30, true), (3569, true), (1, false)] {
            world.pass(passed);
            assert_eq!(world.memory.disowns(place, before), expected);
            assert!(!world.memory.disowns(place, after));
            assert!(!world.memory.disowns(filed("alice", 2), before));
        }
        assert!(!world.memory.was_evicted_lately(place.key));
    }
}

#[test]
fn only_the_token_that_is_meant_is_evicted() {
    let world = World::new();
    let place = filed("alice", 1);
    assert!(!world.memory.evict(place, &token("old")));
    world.keep(place, "new", 1000);
    assert!(!world.memory.evict(place, &token("old")));
    assert_eq!((world.served(place).as_deref(), world.evicted("explicit")), (Some("new"), 0));
    assert!(world.memory.evict(place, &token("new")));
    assert!(!world.memory.evict(place, &token("new")));
    assert_eq!((world.served(place), world.evicted("explicit")), (None, 1));
}

#[test]
fn a_refusal_that_says_nothing_of_the_token_disowns_nothing() {
    let world = World::new();
    let place = filed("alice", 1);
    let before = world.clock.monotonic();
    world.pass(10);
    world.keep(place, "t", 1000);
    for row in [Row::Denied, Row::Outage, Row::BadClient, Row::Throttled(Duration::from_secs(5))] {
        world.refuse(place, row);
    }
    // nor one for claims that the token was never asked to satisfy
    let flight = place.key.demanding(Digest::of(b"claims"));
    world.memory.refuse(place, flight, Digest::of(b"a"), &Error::of(Row::Challenge, None));
    assert_eq!(world.served(place).as_deref(), Some("t"));
    assert!(!world.memory.disowns(place, before));
}

#[test]
fn a_memory_of_another_size_knows_what_must_not_be_taken_up_again() {
    let world = World::new();
    let (purged, refused) = (filed("alice", 1), filed("bob", 1));
    world.keep(refused, "b", 1000);
    let asked_at = world.now();
    world.pass(1);
    world.memory.purge(only("alice"));
    assert!(world.memory.evict(refused, &token("b")));
    let smaller = config::Cache { max_entries: 10, ..sample::cache() };
    let newer = World { memory: world.memory.resized(&smaller), ..world };
    assert!(!newer.keep_of(purged, "old", 1000, asked_at));
    assert!(newer.memory.disowns(purged, asked_at.monotonic));
    assert!(newer.memory.disowns(refused, asked_at.monotonic));
    assert!(newer.memory.was_evicted_lately(refused.key));
    newer.pass(1);
    assert!(newer.keep(purged, "new", 1000));
}
