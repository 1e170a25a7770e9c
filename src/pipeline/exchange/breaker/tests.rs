use proptest::prelude::*;

use super::Change::Closed;
use super::Change::Opened;
use super::Health::Ill;
use super::Health::Well;
use super::*;
use crate::domain::clock::Clock;
use crate::domain::clock::UnixTime;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Any moment: only distances matter.
fn origin() -> Instant {
    Clock::manual(UnixTime::from_seconds(0)).monotonic()
}

fn open_at(moment: Instant) -> Breaker {
    let mut breaker = Breaker::default();
    let changes: Vec<_> = (0..5).map(|_| breaker.note(Ill, moment)).collect();
    assert_eq!(changes, [None, None, None, None, Some(Opened)]);
    breaker
}

#[test]
fn five_failures_among_the_last_ten_answers_within_ten_seconds_open_it() {
    let (ill, well) = ((Ill, 100), (Well, 100));
    for (answers, opens) in [
        (vec![ill; 4], false),
        (vec![ill; 5], true),
        (vec![well, ill, well, ill, well, ill, well, ill, well, ill], true),
        (vec![ill, well, well, ill, well, well, ill, well, ill, well, ill], false), // the first is the eleventh
        (vec![(Ill, 2500); 5], true),                                               // ten seconds in all
        (vec![(Ill, 2501); 5], false),
        (vec![(Ill, 3000); 50], false), // ill for ever, but asked too seldom to need sparing
        (vec![well; 50], false),
    ] {
        let mut breaker = Breaker::default();
        let mut now = origin();
        let mut changes = Vec::new();
        for (health, after) in &answers {
            now += ms(*after);
            changes.extend(breaker.note(*health, now));
        }
        assert_eq!(changes, if opens { vec![Opened] } else { vec![] }, "{answers:?}");
        assert_eq!(breaker.is_open(), opens, "{answers:?}");
    }
}

#[test]
fn a_yes_of_which_no_use_was_made_is_given_to_another_and_only_by_who_had_it() {
    let start = origin();
    let (first, second) = (start + ms(1000), start + ms(2100));
    let mut breaker = open_at(start);
    assert!(breaker.admits(first));
    breaker.unused(first);
    assert!(breaker.admits(first) && !breaker.admits(first));
    assert!(breaker.admits(second));
    breaker.unused(first); // late: another probe is under way
    assert!(!breaker.admits(second));
    breaker.note(Well, second);
    breaker.unused(second);
    assert!(!breaker.is_open());
}

#[test]
fn an_open_one_lets_one_question_through_a_second() {
    let start = origin();
    let mut breaker = open_at(start);
    let admitted: Vec<u64> =
        (0..=3500).step_by(100).filter(|after| breaker.admits(start + ms(*after))).collect();
    assert_eq!(admitted, [1000, 2000, 3000]);
    // the second begins when the question is asked, not when it could have been
    assert!(breaker.admits(start + ms(9_900)));
    assert!(!breaker.admits(start + ms(10_800)));
}

#[test]
fn one_good_answer_closes_it_and_the_past_is_forgotten() {
    let start = origin();
    let mut breaker = open_at(start);
    assert_eq!(breaker.note(Ill, start), None);
    assert_eq!(breaker.note(Well, start), Some(Closed));
    assert!((0..100).all(|_| breaker.admits(start)));
    assert_eq!((0..4).find_map(|_| breaker.note(Ill, start)), None);
    assert_eq!(breaker.note(Ill, start), Some(Opened));
}

/// The rule read out word by word, with the whole history at hand.
#[derive(Default)]
struct Reference {
    /// Answers since it was last closed.
    history: Vec<(Health, Instant)>,
    opened: Option<Instant>,
    probes: Vec<Instant>,
}

impl Reference {
    fn admits(&mut self, now: Instant) -> bool {
        let Some(opened) = self.opened else { return true };
        let last = self.probes.last().copied().unwrap_or(opened);
        let due = now.checked_duration_since(last).is_some_and(|since| since >= Duration::from_secs(1));
        if due {
            self.probes.push(now);
        }
        due
    }

    fn note(&mut self, health: Health, now: Instant) -> Option<Change> {
        if self.opened.is_some() {
            let closes = health == Well;
            if closes {
                *self = Self::default();
            }
            return closes.then_some(Closed);
        }
        self.history.push((health, now));
        let last_ten = self.history.iter().rev().take(10);
        let failures = last_ten.filter(|(health, at)| *health == Ill && now - *at <= Duration::from_secs(10));
        let opens = failures.count() >= 5;
        if opens {
            self.opened = Some(now);
        }
        opens.then_some(Opened)
    }
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Asked,
    Answered(Health),
}

fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
    let event = prop_oneof![
        4 => Just(Event::Asked),
        4 => Just(Event::Answered(Ill)),
        1 => Just(Event::Answered(Well)),
    ];
    let pause = prop_oneof![5 => 0_u64..300, 3 => 300_u64..3000, 1 => Just(1000_u64), 1 => 9_000_u64..30_000];
    proptest::collection::vec((pause, event), 0..200)
}

proptest! {
    #[test]
    fn it_does_what_the_rule_says_whatever_happens(events in events()) {
        let (mut breaker, mut reference) = (Breaker::default(), Reference::default());
        let mut now = origin();
        for (pause, event) in events {
            now += ms(pause);
            match event {
                Event::Asked => prop_assert_eq!(breaker.admits(now), reference.admits(now)),
                Event::Answered(health) => prop_assert_eq!(breaker.note(health, now), reference.note(health, now)),
            }
            prop_assert_eq!(breaker.is_open(), reference.opened.is_some());
        }
    }

    #[test]
    fn an_endpoint_that_stays_ill_is_asked_a_handful_of_times_and_then_once_a_second(
        pauses in proptest::collection::vec(0_u64..200, 1..1000),
    ) {
        let mut breaker = Breaker::default();
        let start = origin();
        let mut now = start;
        let mut asked = 0;
        for pause in pauses {
            now += ms(pause);
            if breaker.admits(now) {
                asked += 1;
                breaker.note(Ill, now);
            }
        }
        prop_assert!(asked <= MOST_FAILURES as u64 + (now - start).as_secs(), "{asked}");
    }
}
