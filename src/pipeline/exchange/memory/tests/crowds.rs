//! Many users, one user many times, and many threads at once.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use super::*;

#[test]
fn a_hundred_thousand_tokens_leave_no_more_than_there_is_room_for() {
    let world = World::of(1000, holdings::MOST);
    for number in 0..100_000 {
        // ten tokens each
        world.keep(filed(&format!("user{}", number / 10), number), "t", 3600);
    }
    assert_eq!(world.memory.tokens(), 1000);
    let there = |number: u64| world.served(filed(&format!("user{}", number / 10), number)).is_some();
    assert!((99_000..100_000).all(there));
    assert!(!(0..99_000).any(there));
    assert_eq!((world.evicted("size"), world.evicted("user")), (99_000, 0));
}

#[test]
fn a_flood_by_one_user_evicts_only_that_user() {
    let world = World::of(1000, holdings::MOST);
    for number in 0..935 {
        world.keep(filed(&format!("user{number}"), 1), "t", 3600);
    }
    world.keep(ours(1), "ours", 3600);
    for number in 0..50_000 {
        world.keep(filed("mallory", number), "m", 3600);
        world.refuse(filed("mallory", number), Row::Denied);
    }
    assert!((0..935).all(|number| world.served(filed(&format!("user{number}"), 1)).is_some()));
    assert!(world.served(ours(1)).is_some());
    assert_eq!(world.memory.tokens(), 1000);
    let newest = 50_000 - 64;
    assert!((newest..50_000).all(|number| world.served(filed("mallory", number)).is_some()));
    assert_eq!((world.evicted("size"), world.evicted("user")), (0, newest));
}

#[test]
fn one_user_s_refusals_displace_no_other_s() {
    let world = World::of(200, 64);
    for number in 0..136 {
        world.refuse(filed(&format!("user{number}"), 1), Row::Denied);
    }
    for number in 0..1000 {
        world.refuse(filed("mallory", number), Row::Denied);
    }
    assert!((0..136).all(|number| world.is_refused(filed(&format!("user{number}"), 1))));
    assert_eq!((0..1000).filter(|number| world.is_refused(filed("mallory", *number))).count(), 64);
    // they are no tokens, and not counted as such
    assert_eq!(["size", "user", "explicit"].map(|reason| world.evicted(reason)), [0; 3]);
}

#[test]
fn what_upstreams_refuse_one_user_makes_no_other_s_refusal_forgotten() {
    let world = World::of(200, 64);
    let asked_at = world.now().monotonic;
    world.pass(1);
    for number in 0..136 {
        world.memory.evict(filed(&format!("user{number}"), 1), &token("t"));
    }
    for number in 0..10_000 {
        world.memory.evict(filed("mallory", number), &token("t"));
    }
    for number in 0..136 {
        let filed = filed(&format!("user{number}"), 1);
        assert!(world.memory.was_evicted_lately(filed.key), "{number}");
        assert!(world.memory.disowns(filed, asked_at), "{number}");
    }
}

#[test]
fn a_token_that_is_renewed_makes_no_other_yield() {
    let world = World::of(1000, 3);
    for round in 0..10 {
        for purpose in 0..3 {
            world.keep(filed("alice", purpose), &format!("t{round}"), 3600);
        }
    }
    assert!((0..3).all(|purpose| world.served(filed("alice", purpose)).as_deref() == Some("t9")));
    assert_eq!(world.evicted("user"), 0);
}

#[test]
fn tokens_of_our_own_are_bounded_by_the_whole_only() {
    let world = World::of(1000, 3);
    for purpose in 0..100 {
        world.keep(ours(purpose), "ours", 3600);
    }
    assert_eq!(world.memory.tokens(), 100);
}

#[test]
fn threads_at_once_never_find_another_user_s_token() {
    const MOST: usize = 4;
    let world = World::of(60, MOST);
    let names: Vec<String> = (0..20).map(|number| format!("user{number}")).collect();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (world, names) = (&world, &names);
            scope.spawn(move || {
                for round in 0..10_000_u64 {
                    let turn = round * 7 + thread * 3;
                    let name = &names[(turn % 20) as usize];
                    let place = filed(name, turn / 20 % 6);
                    let text = format!("{name}.{}", turn / 20 % 6);
                    match turn / 120 % 16 {
                        0..9 => drop(world.keep(place, &text, 3600)),
                        9 => drop(world.memory.evict(place, &token(&text))),
                        10 => world.refuse(place, Row::InvalidGrant),
                        11 if round % 50 == 0 => {
                            let meant = user(name);
                            world.memory.purge(move |holder| holder == meant);
                        }
                        _ => {
                            let found = world.served(place);
                            assert!(
                                found.as_ref().is_none_or(|found| *found == text),
                                "{found:?} for {text}"
                            );
                        }
                    }
                }
            });
        }
    });
    assert!(world.memory.tokens() <= 60);
    for name in &names {
        assert!((0..6).filter(|purpose| world.served(filed(name, *purpose)).is_some()).count() <= MOST);
    }
}

#[test]
fn no_token_that_was_asked_for_before_a_purge_is_there_when_all_is_done() {
    for round in 0..200 {
        let world = World::new();
        let asked_at = world.now();
        world.pass(1);
        let is_purged = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (world, is_purged) = (&world, &is_purged);
                scope.spawn(move || {
                    for purpose in 0..40 {
                        let was_purged = is_purged.load(Ordering::SeqCst);
                        let is_kept =
                            world.keep_of(filed("alice", 100 * thread + purpose), "old", 1000, asked_at);
                        assert!(!(was_purged && is_kept), "round {round}");
                    }
                });
            }
            scope.spawn(|| {
                world.memory.purge(|holder| holder == user("alice"));
                is_purged.store(true, Ordering::SeqCst);
            });
        });
        assert_eq!(world.memory.tokens(), 0, "round {round}");
    }
}
