//! Faults that come and go: of the identity provider, the upstream, the shared cache.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use obo_proxy::app::demo::entra::script::KeysEndpoint;

use crate::faults::Fault;
use crate::faults::IDP;
use crate::faults::UPSTREAM;
use crate::random::Random;
use crate::relay::Mode;
use crate::span::Span;
use crate::support::redis::Redis;
use crate::world::World;

/// Longer than the proxy waits for the identity provider.
const FOR_TOO_LONG: Duration = Duration::from_secs(11);

/// The pauses between faults of one party.
#[derive(Clone, Copy)]
pub struct Pauses {
    pub shortest: Duration,
    pub longest: Duration,
}

impl Pauses {
    /// In a minute there must be each fault; in an hour there is time to see that all is well again.
    pub fn within(whole: Duration) -> Self {
        let (shortest, longest) =
            if whole < Duration::from_secs(300) { (4000, 5500) } else { (9000, 15_000) };
        Self { shortest: Duration::from_millis(shortest), longest: Duration::from_millis(longest) }
    }

    /// Twice as long.
    pub fn doubled(self) -> Self {
        Self { shortest: self.shortest * 2, longest: self.longest * 2 }
    }

    async fn pass(self, random: &mut Random) {
        let spread = (self.longest - self.shortest).as_millis() as u64;
        tokio::time::sleep(self.shortest + Duration::from_millis(random.number() % spread)).await;
    }
}

fn some_time(random: &mut Random) -> Duration {
    Duration::from_millis(800 + random.number() % 1000)
}

pub async fn idp(world: Arc<World>, span: Arc<Span>, pauses: Pauses, mut random: Random) {
    let all: Vec<Fault> =
        IDP.into_iter().filter(|fault| *fault != Fault::WrongCredential).chain([Fault::IdpSlow]).collect();
    for rounds in 0.. {
        for fault in random.shuffled(&all) {
            pauses.pass(&mut random).await;
            if span.is_enough(rounds) {
                return;
            }
            let going_on = world.faults.begin(fault);
            let entra = &world.users.entra;
            let mut lasting = some_time(&mut random);
            match fault {
                Fault::IdpSlow => entra.script(|script| script.delay(Duration::from_millis(700))),
                Fault::IdpUnavailable => world.answer(StatusCode::SERVICE_UNAVAILABLE, None, ""),
                Fault::IdpThrottles => world.answer(
                    StatusCode::TOO_MANY_REQUESTS,
                    Some("1"),
                    r#"{"error":"temporarily_unavailable"}"#,
                ),
                Fault::IdpResets => world.to_idp.turn(Mode::Reset),
                Fault::IdpStandsStill => {
                    lasting = FOR_TOO_LONG;
                    world.to_idp.turn(Mode::Stand);
                }
                _ => entra.script(|script| script.keys(KeysEndpoint::Failing)),
            }
            tokio::time::sleep(lasting).await;
            world.answer_well();
            world.to_idp.turn(Mode::Pass);
            drop(going_on);
        }
        span.did(rounds + 1);
    }
}

pub async fn upstream(world: Arc<World>, span: Arc<Span>, pauses: Pauses, mut random: Random) {
    for rounds in 0.. {
        for fault in random.shuffled(&UPSTREAM) {
            pauses.pass(&mut random).await;
            if span.is_enough(rounds) {
                return;
            }
            let going_on = world.faults.begin(fault);
            let mode = match fault {
                Fault::UpstreamResets => Mode::Reset,
                _ => Mode::Late(Duration::from_millis(50)),
            };
            world.to_upstream.turn(mode);
            tokio::time::sleep(some_time(&mut random) / 2).await;
            world.to_upstream.turn(Mode::Pass);
            drop(going_on);
        }
        span.did(rounds + 1);
    }
}

/// Gives the server back as it was.
pub async fn redis(
    world: Arc<World>,
    span: Arc<Span>,
    pauses: Pauses,
    mut random: Random,
    mut redis: Redis,
) -> Redis {
    let mut rounds = 0;
    loop {
        for fault in random.shuffled(&[Fault::RedisRestarts, Fault::RedisStandsStill]) {
            pauses.pass(&mut random).await;
            if span.is_enough(rounds) {
                return redis;
            }
            let going_on = world.faults.begin(fault);
            let lasting = some_time(&mut random);
            let disturbing = tokio::task::spawn_blocking(move || {
                if fault == Fault::RedisRestarts {
                    redis.kill();
                    std::thread::sleep(lasting);
                    redis.start_again();
                } else {
                    redis.pause();
                    std::thread::sleep(lasting);
                    redis.resume();
                }
                redis
            });
            redis = disturbing.await.unwrap();
            drop(going_on);
        }
        rounds += 1;
        span.did(rounds);
    }
}
