//! What is left in memory when the IdP is to be asked in another way.

use super::*;

#[test]
fn tokens_stay_and_of_refusals_only_those_that_say_when_to_come_back() {
    let world = World::new();
    let [token, denied, misled, busy] = [1, 2, 3, 4].map(|purpose| filed("alice", purpose));
    world.keep(token, "b", 3600);
    world.refuse(denied, Row::Denied);
    world.refuse(misled, Row::BadClient);
    world.refuse(busy, Row::Throttled(Duration::from_secs(600)));
    let newer = World { memory: world.memory.forgiving(), ..world };
    assert_eq!(newer.served(token).as_deref(), Some("b"));
    assert_eq!([denied, misled, busy].map(|filed| newer.is_refused(filed)), [false, false, true]);
    newer.pass(601);
    assert!(!newer.is_refused(busy));
}

#[test]
fn what_is_refused_to_those_who_still_ask_in_the_old_way_is_no_word_on_the_new_one() {
    let older = World::new();
    let newer = World {
        memory: older.memory.forgiving(),
        clock: older.clock.clone(),
        metrics: older.metrics.clone(),
    };
    let [one, two] = [1, 2].map(|purpose| filed("alice", purpose));
    older.refuse(one, Row::BadClient);
    assert_eq!((older.is_refused(one), newer.is_refused(one)), (true, false));
    // a token is a token
    older.keep(two, "b", 3600);
    assert_eq!(newer.served(two).as_deref(), Some("b"));
    newer.memory.purge(|_| true);
    assert_eq!(older.served(two), None);
}
