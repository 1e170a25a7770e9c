//! Memory beside the plainest thing that does the same: lists, searched from end to end.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::pipeline::exchange::row::Kind;

/// The most entries of a kind that a user of either has.
const MOST: usize = 3;
/// Users; the last of them stands for ourselves.
const USERS: usize = 4;
/// Purposes for which each has a token.
const PURPOSES: u64 = 5;
/// Tokens that each may have been given for a purpose.
const VERSIONS: u8 = 3;
/// Tokens A that each may come with.
const ASSERTIONS: u8 = 2;
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
    /// The one user it is about; `None` = all.
    fn user(&self) -> Option<usize> {
        match self {
            Self::Keep { place: (user, _), .. }
            | Self::Refuse { place: (user, _), .. }
            | Self::Evict { place: (user, _), .. }
            | Self::Purge(user) => Some(*user),
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
    let keep = (place(), 0..VERSIONS, prop::option::of(0_u8..2), 0_u64..30, life).prop_map(
        |(place, version, claims, asked_ago, (renew_in, lives))| Step::Keep {
            place,
            version,
            claims,
            asked_ago,
            renew_in,
            lives,
        },
    );
    let refuse = (place(), any::<bool>(), 0..ASSERTIONS, rows())
        .prop_map(|(place, demanding, assertion, row)| Step::Refuse { place, demanding, assertion, row });
    let pass = prop_oneof![0_u64..10, 0_u64..100, 0_u64..4000];
    let wall = prop_oneof![-100_i64..100, -5000_i64..5000];
    prop_oneof![
        8 => keep,
        3 => refuse,
        2 => (place(), 0..VERSIONS).prop_map(|(place, version)| Step::Evict { place, version }),
        1 => (0..USERS).prop_map(Step::Purge),
        3 => pass.prop_map(Step::Pass),
        1 => wall.prop_map(Step::Wall),
    ]
}

/// What a look-up says.
#[derive(Debug, PartialEq)]
enum Said {
    /// `None` = a token that is none of that place's.
    Live {
        version: Option<u8>,
        age: Age,
        claims: Option<Digest>,
    },
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
    version: u8,
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
                return Said::Live { version: Some(token.version), age, claims: token.claims };
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
        let last = self.disowned.iter().find(|(of, _)| *of == place);
        last.is_some_and(|(_, at)| asked_at < *at && self.now - at < 3600)
            || self.is_purged(place.0, asked_at)
    }

    fn was_evicted_lately(&self, place: Place) -> bool {
        self.evicted.iter().any(|(of, at)| *of == place && self.now - at < 30)
    }

    fn evict(&mut self, place: Place, version: u8) -> bool {
        note(&mut self.evicted, place, self.now);
        note(&mut self.disowned, place, self.now);
        self.drop_tokens(0, |token| token.place == place && token.version == version) > 0
    }

    fn refuse(&mut self, place: Place, demanding: bool, assertion: u8, row: Row) {
        if row.evicts() && !demanding {
            note(&mut self.disowned, place, self.now);
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

/// Of each place the last moment is known, of each user so many places.
fn note(moments: &mut Vec<(Place, u64)>, place: Place, now: u64) {
    moments.retain(|(of, _)| *of != place);
    moments.push((place, now));
    let user = place.0;
    if is_user(user) && moments.iter().filter(|(of, _)| of.0 == user).count() > MOST {
        let oldest = moments.iter().position(|(of, _)| of.0 == user).unwrap();
        moments.remove(oldest);
    }
}

fn is_user(user: usize) -> bool {
    user < USERS - 1
}

/// What a place is to memory. Made once: what takes long is to make these again and again.
struct Names {
    filed: Filed,
    /// Of exchanges without and with claims.
    flights: [CacheKey; 2],
    tokens: [DownstreamToken; VERSIONS as usize],
}

impl Names {
    fn of(place: Place) -> &'static Self {
        static ALL: LazyLock<Vec<Names>> = LazyLock::new(|| places().map(Names::new).collect());
        let (user, purpose) = place;
        &ALL[user * PURPOSES as usize + purpose as usize]
    }

    fn new((user, purpose): Place) -> Self {
        let filed = match is_user(user) {
            true => filed(&format!("user{user}"), purpose),
            false => ours(purpose),
        };
        let flights = [filed.key, filed.key.demanding(claims(0))];
        let tokens = std::array::from_fn(|version| token(&format!("{user}.{purpose}.{version}")));
        Self { filed, flights, tokens }
    }

    fn token(&self, version: u8) -> &DownstreamToken {
        &self.tokens[usize::from(version)]
    }

    fn flight(&self, demanding: bool) -> CacheKey {
        self.flights[usize::from(demanding)]
    }
}

/// All places, user by user.
fn places() -> impl Iterator<Item = Place> {
    (0..USERS).flat_map(|user| (0..PURPOSES).map(move |purpose| (user, purpose)))
}

fn claims(number: u8) -> Digest {
    Digest::of(&[number])
}

/// What a token A is known by.
fn assertion(number: u8) -> Digest {
    static ALL: LazyLock<Vec<Digest>> =
        LazyLock::new(|| (0..ASSERTIONS).map(|number| Digest::of(&[number])).collect());
    ALL[usize::from(number)]
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
                let (names, claims) = (Names::of(place), number.map(claims));
                let (asked_at, asked_at_wall) = (model.now - asked_ago, model.wall - asked_ago as i64);
                let kept = Token { place, version, claims, asked_at, asked_at_wall, renew_in, lives };
                let wall = UnixTime::from_seconds(asked_at_wall);
                let expires_on = wall.after(Duration::from_secs(lives));
                let renew_at = wall.after(Duration::from_secs(renew_in));
                let lifetime = Lifetime { expires_on, renew_at, margin: expires_on.since(renew_at) };
                let asked_at = Moment { wall, monotonic: self.start + Duration::from_secs(asked_at) };
                let token = names.token(version).clone();
                let is_kept = memory.keep(names.filed, token, claims, lifetime, asked_at);
                assert_eq!(is_kept, model.keep(kept));
            }
            Step::Refuse { place, demanding, assertion: number, row } => {
                let (names, error) = (Names::of(place), Error::of(row, None));
                memory.refuse(names.filed, names.flight(demanding), assertion(number), &error);
                model.refuse(place, demanding, number, row);
            }
            Step::Evict { place, version } => {
                let names = Names::of(place);
                let is_evicted = memory.evict(names.filed, names.token(version));
                assert_eq!(is_evicted, model.evict(place, version));
            }
            Step::Purge(user) => {
                let meant = Names::of((user, 0)).filed.holder;
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

    /// Both say the same of everything that is of one of these users.
    fn compare(&self, is_meant: impl Fn(usize) -> bool) {
        for place in places().filter(|(user, _)| is_meant(*user)) {
            self.compare_at(place);
        }
    }

    fn compare_at(&self, place: Place) {
        let Self { world: World { memory, .. }, model, .. } = self;
        let names = Names::of(place);
        let key = names.filed.key;
        for number in 0..ASSERTIONS {
            let said = match memory.find(key, assertion(number)) {
                Found::Live(entry, age) => {
                    let version = (0..VERSIONS).find(|version| entry.token.equals(names.token(*version)));
                    Said::Live { version, age, claims: entry.claims }
                }
                Found::Refused(error) => Said::Refused(error.kind),
                Found::Nothing => Said::Nothing,
            };
            assert_eq!(said, model.find(place, number), "{place:?}");
            for demanding in [false, true] {
                let refusal = memory.refusal(key, names.flight(demanding), assertion(number));
                let refusal = refusal.map_or(Said::Nothing, |error| Said::Refused(error.kind));
                assert_eq!(refusal, model.refusal(place, demanding, number), "{place:?}");
            }
        }
        for version in 0..VERSIONS {
            let is_held = model.tokens.iter().any(|token| (token.place, token.version) == (place, version));
            assert_eq!(memory.holds(key, names.token(version)), is_held, "{place:?}, {version}");
        }
        assert_eq!(memory.was_evicted_lately(key), model.was_evicted_lately(place), "{place:?}");
        for ago in [0, 1, 100, 3000, 5000] {
            let then = model.now - ago;
            let disowns = memory.disowns(names.filed, self.instant(then));
            assert_eq!(disowns, model.disowns(place, then), "{place:?}, {ago} s ago");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn memory_does_what_the_plainest_memory_does(steps in prop::collection::vec(step(), 1..100)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
            // whatever it does to others is seen as time passes
            pair.compare(|user| step.user().is_none_or(|meant| user == meant));
        }
        pair.compare(|_| true);
        let counts = ["explicit", "user", "purged"].map(|reason| pair.world.evicted(reason));
        prop_assert_eq!(counts, pair.model.counts);
        prop_assert_eq!(pair.world.memory.tokens(), pair.model.tokens.len() as u64);
    }
}
