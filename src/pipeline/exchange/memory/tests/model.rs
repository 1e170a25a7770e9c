//! Memory beside the plainest thing that does the same: lists, searched from end to end.

use proptest::prelude::*;

use super::*;
use crate::pipeline::exchange::row::Kind;

/// The most entries of a kind that a user of either has.
const MOST: usize = 3;
/// Users; the last of them stands for ourselves.
const USERS: usize = 4;
/// Purposes for which each has a token.
const PURPOSES: u64 = 5;
/// Seconds for which a refusal is remembered.
const NEGATIVE: u64 = 30;

/// Whose and for what.
type Place = (usize, u64);

#[derive(Clone, Debug)]
enum Step {
    Keep { place: Place, version: u8, claims: Option<u8>, asked_ago: u64, renew_in: u64, lives: u64 },
    Refuse { place: Place, demanding: bool, assertion: u8, row: Row },
    Evict { place: Place, version: u8 },
    Purge(usize),
    Pass(u64),
    Wall(i64),
}

impl Step {
    /// Whom it is about, if it is about one.
    fn user(&self) -> Option<usize> {
        match self {
            Self::Keep { place, .. } | Self::Refuse { place, .. } | Self::Evict { place, .. } => {
                Some(place.0)
            }
            Self::Purge(user) => Some(*user),
            Self::Pass(_) | Self::Wall(_) => None,
        }
    }
}

fn place() -> impl Strategy<Value = Place> {
    (0..USERS, 0..PURPOSES)
}

fn rows() -> impl Strategy<Value = Row> {
    prop::sample::select(vec![
        Row::NoAnswer,
        Row::Throttled(Duration::from_secs(40)),
        Row::Outage,
        Row::BadClient,
        Row::UnfitClient,
        Row::Challenge,
        Row::Interaction,
        Row::Consent,
        Row::StaleAssertion,
        Row::WrongAssertion,
        Row::UnacceptableAssertion,
        Row::Denied,
        Row::InvalidGrant,
        Row::Refused,
        Row::Malformed,
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let life = prop_oneof![Just((50, 60)), Just((300, 400)), Just((3000, 3600)), Just((60, 20_000))];
    let keep = (place(), 0_u8..3, prop::option::of(0_u8..2), 0_u64..30, life).prop_map(
        |(place, version, claims, asked_ago, (renew_in, lives))| Step::Keep {
            place,
            version,
            claims,
            asked_ago,
            renew_in,
            lives,
        },
    );
    let refuse = (place(), any::<bool>(), 0_u8..2, rows())
        .prop_map(|(place, demanding, assertion, row)| Step::Refuse { place, demanding, assertion, row });
    let pass = prop_oneof![0_u64..10, 0_u64..100, 0_u64..4000];
    let wall = prop_oneof![-100_i64..100, -5000_i64..5000];
    prop_oneof![
        8 => keep,
        3 => refuse,
        2 => (place(), 0_u8..3).prop_map(|(place, version)| Step::Evict { place, version }),
        1 => (0..USERS).prop_map(Step::Purge),
        3 => pass.prop_map(Step::Pass),
        1 => wall.prop_map(Step::Wall),
    ]
}

/// What a look-up says.
#[derive(Debug, PartialEq)]
enum Said {
    Live { text: String, age: Age, claims: Option<Digest> },
    Refused(Kind),
    Nothing,
}

/// The plainest memory. Times are seconds: `now` never goes backwards, `wall` is set at will.
#[derive(Default)]
struct Model {
    now: u64,
    wall: i64,
    tokens: Vec<Token>,
    refusals: Vec<Refused>,
    evicted: Vec<(Place, u64)>,
    disowned: Vec<(Place, u64)>,
    purged: Vec<(usize, u64)>,
    counts: [u64; 3],
}

struct Token {
    place: Place,
    text: String,
    claims: Option<Digest>,
    asked_at: u64,
    asked_at_wall: i64,
    renew_in: u64,
    lives: u64,
}

struct Refused {
    place: Place,
    demanding: bool,
    /// `None` = it holds for all.
    assertion: Option<u8>,
    row: Row,
    until: u64,
}

impl Model {
    fn find(&self, place: Place, assertion: u8) -> Said {
        for token in &self.tokens {
            let is_live = self.now < token.asked_at + token.lives
                && self.wall < token.asked_at_wall + token.lives as i64;
            let is_fresh = self.now < token.asked_at + token.renew_in
                && self.wall < token.asked_at_wall + token.renew_in as i64;
            if token.place == place && is_live {
                let age = if is_fresh { Age::Fresh } else { Age::Due };
                return Said::Live { text: token.text.clone(), age, claims: token.claims };
            }
        }
        self.refusal(place, false, assertion)
    }

    fn refusal(&self, place: Place, demanding: bool, assertion: u8) -> Said {
        let holds = |refused: &&Refused| refused.place == place && self.now < refused.until;
        let of_all = self.refusals.iter().filter(holds).find(|refused| refused.assertion.is_none());
        let of_one = self
            .refusals
            .iter()
            .filter(holds)
            .find(|refused| refused.assertion == Some(assertion) && refused.demanding == demanding);
        match of_all.or(of_one) {
            Some(Refused { row: Row::Throttled(_), until, .. }) => {
                Said::Refused(Kind::Throttled { retry_after: Duration::from_secs(until - self.now) })
            }
            Some(refused) => Said::Refused(refused.row.kind()),
            None => Said::Nothing,
        }
    }

    fn keep(&mut self, token: Token) -> bool {
        let (user, asked_at) = (token.place.0, token.asked_at);
        let is_over =
            self.now >= token.asked_at + token.lives || self.wall >= token.asked_at_wall + token.lives as i64;
        if is_over || self.is_purged(user, asked_at) {
            return false;
        }
        self.tokens.retain(|other| other.place != token.place);
        self.tokens.push(token);
        if is_user(user) && self.tokens.iter().filter(|token| token.place.0 == user).count() > MOST {
            let oldest = self.tokens.iter().position(|token| token.place.0 == user).unwrap();
            self.tokens.remove(oldest);
            self.counts[1] += 1;
        }
        true
    }

    fn is_purged(&self, user: usize, asked_at: u64) -> bool {
        is_user(user) && self.purged.iter().any(|(of, at)| *of == user && asked_at < *at)
    }

    fn disowns(&self, place: Place, asked_at: u64) -> bool {
        // only the last one counts
        let last = self.disowned.iter().rfind(|(of, _)| *of == place);
        last.is_some_and(|(_, at)| asked_at < *at && self.now - at < 3600)
            || self.is_purged(place.0, asked_at)
    }

    fn was_evicted_lately(&self, place: Place) -> bool {
        self.evicted.iter().any(|(of, at)| *of == place && self.now - at < 30)
    }

    fn evict(&mut self, place: Place, text: &str) -> bool {
        self.evicted.push((place, self.now));
        self.disowned.push((place, self.now));
        self.drop_tokens(0, |token| token.place == place && token.text == text) > 0
    }

    fn refuse(&mut self, place: Place, demanding: bool, assertion: u8, row: Row) {
        if row.evicts() && !demanding {
            self.disowned.push((place, self.now));
            self.drop_tokens(0, |token| token.place == place);
        }
        let (assertion, demanding, span) = match row.remembered(Duration::from_secs(NEGATIVE)) {
            Remembered::No => return,
            Remembered::ForKey(span) => (None, false, span),
            Remembered::ForAssertion(span) => (Some(assertion), demanding, span),
        };
        let is_same = |other: &Refused| {
            (other.place, other.assertion, other.demanding) == (place, assertion, demanding)
        };
        self.refusals.retain(|other| !is_same(other));
        let until = self.now + span.as_secs();
        self.refusals.push(Refused { place, demanding, assertion, row, until });
        let user = place.0;
        if is_user(user) && self.refusals.iter().filter(|refused| refused.place.0 == user).count() > MOST {
            let oldest = self.refusals.iter().position(|refused| refused.place.0 == user).unwrap();
            self.refusals.remove(oldest);
        }
    }

    fn purge(&mut self, user: usize) -> usize {
        self.purged.push((user, self.now));
        if !is_user(user) {
            return 0;
        }
        self.refusals.retain(|refused| refused.place.0 != user);
        self.drop_tokens(2, |token| token.place.0 == user)
    }

    fn drop_tokens(&mut self, counted: usize, is_meant: impl Fn(&Token) -> bool) -> usize {
        let before = self.tokens.len();
        self.tokens.retain(|token| !is_meant(token));
        let dropped = before - self.tokens.len();
        self.counts[counted] += dropped as u64;
        dropped
    }
}

fn is_user(user: usize) -> bool {
    user < USERS - 1
}

fn filed_at((user, purpose): Place) -> Filed {
    match is_user(user) {
        true => filed(&format!("user{user}"), purpose),
        false => ours(purpose),
    }
}

fn text((user, purpose): Place, version: u8) -> String {
    format!("{user}.{purpose}.{version}")
}

fn claims(number: u8) -> Digest {
    Digest::of(&[number])
}

fn flight(place: Place, demanding: bool) -> CacheKey {
    let key = filed_at(place).key;
    if demanding { key.demanding(claims(0)) } else { key }
}

/// Both, side by side.
struct Pair {
    world: World,
    model: Model,
    start: Instant,
}

impl Pair {
    fn new() -> Self {
        let world = World::of(10_000, MOST);
        let start = world.clock.monotonic();
        let model = Model { wall: START.as_seconds(), ..Model::default() };
        let mut pair = Self { world, model, start };
        // so that there is a past
        pair.step(&Step::Pass(10_000));
        pair
    }

    fn instant(&self, second: u64) -> Instant {
        self.start + Duration::from_secs(second)
    }

    /// Makes the step with both, which say the same of it.
    fn step(&mut self, step: &Step) {
        let Self { world: World { memory, clock, .. }, model, .. } = self;
        match step.clone() {
            Step::Keep { place, version, claims: number, asked_ago, renew_in, lives } => {
                let (text, claims) = (text(place, version), number.map(claims));
                let (asked_at, asked_at_wall) = (model.now - asked_ago, model.wall - asked_ago as i64);
                let kept =
                    Token { place, text: text.clone(), claims, asked_at, asked_at_wall, renew_in, lives };
                let wall = UnixTime::from_seconds(asked_at_wall);
                let expires_on = wall.after(Duration::from_secs(lives));
                let renew_at = wall.after(Duration::from_secs(renew_in));
                let lifetime = Lifetime { expires_on, renew_at, margin: expires_on.since(renew_at) };
                let asked_at = Moment { wall, monotonic: self.start + Duration::from_secs(asked_at) };
                let is_kept = memory.keep(filed_at(place), token(&text), claims, lifetime, asked_at);
                assert_eq!(is_kept, model.keep(kept));
            }
            Step::Refuse { place, demanding, assertion, row } => {
                let error = Error::of(row, None);
                let digest = Digest::of(&[assertion]);
                memory.refuse(filed_at(place), flight(place, demanding), digest, &error);
                model.refuse(place, demanding, assertion, row);
            }
            Step::Evict { place, version } => {
                let text = text(place, version);
                let is_evicted = memory.evict(filed_at(place), &token(&text));
                assert_eq!(is_evicted, model.evict(place, &text));
            }
            Step::Purge(user) => {
                let meant = filed_at((user, 0)).holder;
                let purged = memory.purge(move |holder| Some(holder) == meant);
                assert_eq!(purged.tokens, model.purge(user));
            }
            Step::Pass(seconds) => {
                clock.advance(Duration::from_secs(seconds));
                model.now += seconds;
                model.wall += seconds as i64;
            }
            Step::Wall(by) => {
                model.wall += by;
                clock.set_wall(UnixTime::from_seconds(model.wall));
            }
        }
    }

    /// Both say the same of everything of that user.
    fn compare(&self, user: usize) {
        let Self { world, model, .. } = self;
        for place in (0..PURPOSES).map(|purpose| (user, purpose)) {
            let filed = filed_at(place);
            for assertion in 0..2 {
                let digest = Digest::of(&[assertion]);
                let said = match world.memory.find(filed.key, digest) {
                    Found::Live(entry, age) => {
                        Said::Live { text: entry.token.expose().to_owned(), age, claims: entry.claims }
                    }
                    Found::Refused(error) => Said::Refused(error.kind),
                    Found::Nothing => Said::Nothing,
                };
                assert_eq!(said, model.find(place, assertion), "{place:?}");
                for demanding in [false, true] {
                    let refusal = world.memory.refusal(filed.key, flight(place, demanding), digest);
                    let refusal = refusal.map_or(Said::Nothing, |error| Said::Refused(error.kind));
                    assert_eq!(refusal, model.refusal(place, demanding, assertion), "{place:?}");
                }
            }
            for version in 0..3 {
                let text = text(place, version);
                let is_held = model.tokens.iter().any(|token| token.place == place && token.text == text);
                assert_eq!(world.memory.holds(filed.key, &token(&text)), is_held, "{text}");
            }
            assert_eq!(
                world.memory.was_evicted_lately(filed.key),
                model.was_evicted_lately(place),
                "{place:?}"
            );
            for ago in [0, 1, 100, 3000, 5000] {
                let then = model.now - ago;
                let disowns = world.memory.disowns(filed, self.instant(then));
                assert_eq!(disowns, model.disowns(place, then), "{place:?}, {ago} s ago");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn memory_does_what_the_plainest_memory_does(steps in prop::collection::vec(step(), 1..100)) {
        let mut pair = Pair::new();
        for (at, step) in steps.iter().enumerate() {
            pair.step(step);
            pair.compare(step.user().unwrap_or(at % USERS));
        }
        (0..USERS).for_each(|user| pair.compare(user));
        let counts = ["explicit", "user", "purged"].map(|reason| pair.world.evicted(reason));
        prop_assert_eq!(counts, pair.model.counts);
        prop_assert_eq!(pair.world.memory.tokens(), pair.model.tokens.len() as u64);
    }
}
