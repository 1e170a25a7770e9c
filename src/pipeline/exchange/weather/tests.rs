use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use super::*;
use crate::domain::clock::UnixTime;
use crate::pipeline::exchange::row::Kind;
use crate::pipeline::exchange::tests::sample;

const URL: &str = "https://login.example/token";

/// Weather over one provider, whose attempts are scripted and counted.
struct World {
    weather: Weather,
    clock: Clock,
    provider: IdentityProvider,
    attempts: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let clock = Clock::manual(UnixTime::from_seconds(1_700_000_000));
        Self {
            weather: Weather::new(clock.clone()),
            clock,
            provider: sample::provider("https://login.example"),
            attempts: Arc::default(),
        }
    }

    /// Asks; attempts end as `results` say, the last of which goes on for ever.
    async fn ask(&self, url: &str, tries: Tries, results: &[Result<(), Error>]) -> Result<(), Error> {
        let turn = AtomicUsize::new(0);
        let attempt = || {
            self.attempts.fetch_add(1, Ordering::SeqCst);
            let turn = turn.fetch_add(1, Ordering::SeqCst).min(results.len() - 1);
            std::future::ready(results[turn].clone())
        };
        self.weather.ask(&self.provider, url, tries, attempt).await
    }

    async fn fail(&self, times: usize) {
        for _ in 0..times {
            assert!(self.ask(URL, Tries::One, &[Err(silence())]).await.is_err());
        }
    }

    fn attempts(&self) -> usize {
        self.attempts.swap(0, Ordering::SeqCst)
    }
}

fn silence() -> Error {
    Error::of(Row::NoAnswer, None)
}

fn answered(row: Row, status: u16) -> Error {
    Error::of(row, None).upon(Reply::Status(StatusCode::from_u16(status).unwrap()))
}

fn asked_to_wait(row: Row, status: u16) -> Error {
    Error::of(row, None).upon(Reply::Wait(StatusCode::from_u16(status).unwrap()))
}

fn throttled() -> Row {
    Row::Throttled(Duration::from_secs(20))
}

#[tokio::test(start_paused = true)]
async fn only_silence_and_a_plain_5xx_are_worth_a_second_try_and_only_for_those_who_wait() {
    for (error, attempts) in [
        (silence(), 2),
        (answered(Row::Outage, 500), 2),
        (answered(Row::Outage, 503), 2),
        (silence().upon(Reply::Fragment), 1),
        (asked_to_wait(Row::Outage, 503), 1), // a time to wait that cannot be read is one all the same
        (asked_to_wait(throttled(), 503), 1),
        (answered(throttled(), 429), 1),
        (answered(Row::Outage, 400), 1), // temporarily_unavailable, as an OAuth error
        (answered(Row::InvalidGrant, 400), 1),
        (answered(Row::BadClient, 401), 1),
        (answered(Row::Malformed, 200), 1),
        (answered(Row::Malformed, 404), 1),
        (Error::ours(Kind::Misconfigured), 1),
        (Error::ours(Kind::Internal), 1),
    ] {
        for (tries, attempts) in [(Tries::Two, attempts), (Tries::One, 1)] {
            let world = World::new();
            let result = world.ask(URL, tries, &[Err(error.clone()), Ok(())]).await;
            assert_eq!(result.is_ok(), attempts == 2, "{error:?}");
            assert_eq!(world.attempts(), attempts, "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_second_try_comes_after_about_a_second_and_there_is_no_third() {
    for _ in 0..100 {
        let world = World::new();
        let started = tokio::time::Instant::now();
        let last = answered(Row::Outage, 502);
        let error = world.ask(URL, Tries::Two, &[Err(silence()), Err(last)]).await.unwrap_err();
        assert_eq!(error.row, Some(Row::Outage));
        assert_eq!(world.attempts(), 2);
        let waited = started.elapsed();
        assert!((500..=1502).contains(&waited.as_millis()), "{waited:?}");
    }
}

#[test]
fn pauses_range_from_half_a_second_to_one_and_a_half() {
    assert_eq!(pause(0), Duration::from_millis(500));
    assert_eq!(pause(u16::MAX), Duration::from_millis(1500));
    assert_eq!(pause(u16::MAX / 2).as_millis(), 999);
    let drawn: std::collections::BTreeSet<u16> = (0..50).map(|_| random()).collect();
    assert!(drawn.len() > 40, "{drawn:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_keeps_failing_is_not_asked_and_the_others_are() {
    let world = World::new();
    world.fail(5).await;
    assert_eq!(world.attempts(), 5);
    for _ in 0..100 {
        let error = world.ask(URL, Tries::Two, &[Ok(())]).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable { retry_after: Duration::from_secs(1) });
        assert!(error.correlation_id.is_none());
    }
    assert_eq!(world.attempts(), 0);
    world.ask("https://login.example/other/token", Tries::Two, &[Ok(())]).await.unwrap();
    assert_eq!(world.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_spared_endpoint_is_probed_once_a_second_until_it_answers() {
    let world = World::new();
    world.fail(5).await;
    world.attempts();
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(1));
        for _ in 0..10 {
            // a probe that fails is not followed by a second try
            assert!(world.ask(URL, Tries::Two, &[Err(silence())]).await.is_err());
        }
        assert_eq!(world.attempts(), 1);
    }
    world.clock.advance(Duration::from_secs(1));
    // a refusal shows that it is back as well as a token does
    let refusal = answered(Row::InvalidGrant, 400);
    assert_eq!(world.ask(URL, Tries::Two, &[Err(refusal)]).await.unwrap_err().row, Some(Row::InvalidGrant));
    world.ask(URL, Tries::Two, &[Ok(())]).await.unwrap();
    assert_eq!(world.attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_second_try_does_not_make_it_if_the_endpoint_is_spared_by_then() {
    let world = Arc::new(World::new());
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { world.ask(URL, Tries::Two, &[Err(answered(Row::Outage, 500)), Ok(())]).await }
    });
    tokio::task::yield_now().await;
    world.fail(4).await;
    assert_eq!(waiting.await.unwrap().unwrap_err().row, Some(Row::Outage));
    assert_eq!(world.attempts(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_counts_against_an_endpoint_is_what_shows_that_it_cannot_answer() {
    for (error, is_ill) in [
        (silence(), true),
        (silence().upon(Reply::Fragment), true),
        (answered(Row::Outage, 500), true),
        (answered(Row::Outage, 400), true),
        (answered(throttled(), 429), true),
        (asked_to_wait(throttled(), 429), true),
        (asked_to_wait(throttled(), 503), true),
        (answered(throttled(), 400), false), // AADSTS50196: one user's loop
        (asked_to_wait(throttled(), 400), false),
        (answered(Row::InvalidGrant, 400), false),
        (answered(Row::BadClient, 401), false),
        (answered(Row::Malformed, 200), false),
        (Error::ours(Kind::Misconfigured), false),
    ] {
        let world = World::new();
        for _ in 0..20 {
            assert!(world.ask(URL, Tries::One, &[Err(error.clone())]).await.is_err());
        }
        assert_eq!(world.attempts(), if is_ill { 5 } else { 20 }, "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_our_own_says_nothing_of_the_endpoint_and_uses_up_no_probe() {
    let world = World::new();
    world.fail(5).await;
    world.clock.advance(Duration::from_secs(1));
    let ours = Error::ours(Kind::Misconfigured);
    assert!(world.ask(URL, Tries::Two, &[Err(ours)]).await.is_err());
    world.attempts();
    // the probe is for who can ask, and only for the first of them
    for asked in [1, 0] {
        assert!(world.ask(URL, Tries::Two, &[Err(answered(Row::Outage, 503))]).await.is_err());
        assert_eq!(world.attempts(), asked);
    }
}
