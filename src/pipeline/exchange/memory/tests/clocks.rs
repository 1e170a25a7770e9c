//! The wall clock is set while tokens are cached: `expires_on` is a moment on the wall, ages are not.

use super::*;

/// Seconds that a token here lives.
const LIFE: u64 = 1000;

fn age(world: &World) -> Option<Age> {
    match world.memory.find(filed("alice", 1).key, Digest::of(b"a")) {
        Found::Live(_, age) => Some(age),
        Found::Refused(_) | Found::Nothing => None,
    }
}

/// What passes, and what the wall says then.
enum Step {
    Pass(u64),
    Wall(u64),
}

#[test]
fn a_token_is_served_while_both_clocks_allow_it() {
    use Age::Due;
    use Age::Fresh;
    use Step::Pass;
    use Step::Wall;
    for (name, steps) in [
        (
            "nothing is set",
            vec![(Pass(899), Some(Fresh)), (Pass(1), Some(Due)), (Pass(99), Some(Due)), (Pass(1), None)],
        ),
        ("back after the end", vec![(Pass(1000), None), (Wall(0), None), (Wall(999), None)]),
        (
            "back before the end",
            vec![
                (Pass(500), Some(Fresh)),
                (Wall(0), Some(Fresh)),
                (Pass(399), Some(Fresh)),
                (Pass(1), Some(Due)),
                (Pass(99), Some(Due)),
                (Pass(1), None),
            ],
        ),
        (
            "far back",
            vec![(Wall(0), Some(Fresh)), (Pass(999), Some(Due)), (Wall(0), Some(Due)), (Pass(1), None)],
        ),
        (
            "forwards, but not past the end",
            vec![(Wall(899), Some(Fresh)), (Wall(900), Some(Due)), (Wall(999), Some(Due))],
        ),
        // the hard stop wins; but nothing is dropped, and what was a mistake can be mended
        ("forwards past the end", vec![(Wall(1000), None), (Wall(1_000_000), None)]),
        (
            "forwards past the end, and back to the truth",
            vec![
                (Wall(5000), None),
                (Pass(10), None),
                (Wall(10), Some(Fresh)),
                (Pass(889), Some(Fresh)),
                (Pass(1), Some(Due)),
                (Pass(100), None),
            ],
        ),
    ] {
        let world = World::new();
        assert!(world.keep(filed("alice", 1), "t", LIFE));
        for (at, (step, expected)) in steps.into_iter().enumerate() {
            match step {
                Pass(seconds) => world.pass(seconds),
                Wall(seconds) => world.clock.set_wall(START.after(Duration::from_secs(seconds))),
            }
            assert_eq!(age(&world), expected, "{name}, step {at}");
        }
    }
}

#[test]
fn a_jump_of_the_wall_clock_empties_nothing() {
    let world = World::new();
    for purpose in 0..50 {
        world.keep(filed("alice", purpose), "t", LIFE);
    }
    world.clock.set_wall(START.after(Duration::from_secs(1_000_000)));
    assert!((0..50).all(|purpose| world.served(filed("alice", purpose)).is_none()));
    assert_eq!(world.memory.tokens(), 50);
    world.clock.set_wall(START);
    assert!((0..50).all(|purpose| world.served(filed("alice", purpose)).is_some()));
}

#[test]
fn what_is_over_by_either_clock_is_not_kept() {
    let world = World::new();
    let asked_at = world.now();
    world.pass(100);
    assert!(!world.keep_of(filed("alice", 1), "t", 100, asked_at)); // the answer took as long as the token lives
    assert!(world.keep_of(filed("alice", 1), "t", 101, asked_at));
    // the clock was set back while the IdP was asked
    world.clock.set_wall(START.before(Duration::from_secs(500)));
    assert!(!world.keep_of(filed("alice", 2), "t", 100, asked_at));
    assert!(world.keep_of(filed("alice", 2), "t", 101, asked_at));
    // or forwards
    world.clock.set_wall(START.after(Duration::from_secs(500)));
    assert!(!world.keep_of(filed("alice", 3), "t", 500, asked_at));
    assert!(world.keep_of(filed("alice", 3), "t", 501, asked_at));
}

#[test]
fn refusals_hold_by_the_monotonic_clock_alone() {
    let world = World::new();
    world.refuse(filed("alice", 1), Row::Denied);
    for wall in [0, 1_000_000] {
        world.clock.set_wall(UnixTime::from_seconds(wall));
        assert!(world.is_refused(filed("alice", 1)));
    }
    world.pass(29);
    assert!(world.is_refused(filed("alice", 1)));
    world.pass(1);
    world.clock.set_wall(START);
    assert!(!world.is_refused(filed("alice", 1)));
}
