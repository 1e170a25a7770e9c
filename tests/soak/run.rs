//! From the start of the proxy to its end: callers, faults, operator, samples, and what is left.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

use crate::calls::Call;
use crate::calls::Kind;
use crate::calls::MIX;
use crate::checks::End;
use crate::checks::Report;
use crate::checks::Sampled;
use crate::operator;
use crate::proxy::Sample;
use crate::random::Random;
use crate::relay::Mode;
use crate::span::Span;
use crate::support::redis::Redis;
use crate::users::User;
use crate::users::Users;
use crate::weather;
use crate::weather::Pauses;
use crate::world::World;

/// How many call all the time, and how many of those who come and go may come back; a few of them call most.
const REGULARS: u64 = 40;
const PASSING: usize = 200;
const RECENT: usize = 20;

/// Of how many requests one is of somebody who comes for the first time. If it were of many fewer, tokens that are in use had to
/// leave the cache, too.
const COMING: u64 = 140;

/// Most requests at a time of those who call all the time, and of all others; whose turn comes when there are as many does
/// not ask. On a machine that is busy the rate is lower so, and answers do not take for ever.
const MOST: usize = 64;

/// The first seconds, in which the rate rises: nobody's token is there yet.
const RISING: f64 = 6.0;

/// How many answers are under way when the proxy is told to stop.
const UNDER_WAY: u64 = 16;

/// How long anything may take, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// What is to be done.
pub struct Plan {
    pub lasting: Duration,
    pub rate: u32,
    pub seed: u64,
    pub binary: PathBuf,
    /// The binary is this very program, as a proxy that counts what it allocates.
    pub is_counted: bool,
    /// Where what it logs is kept.
    pub log: Option<PathBuf>,
}

pub async fn run(plan: Plan) -> Report {
    let redis = tokio::task::spawn_blocking(Redis::start).await.unwrap();
    let world = Arc::new(World::start(&plan, &redis).await);
    until("the proxy is ready", async || world.ask(Method::GET, "/readyz", "").await.0 == 200).await;
    let at_first = look(&world).await.0;
    // the operator, and three whose faults there are
    let span = Arc::new(Span::new(plan.lasting, 4));
    let (random, pauses) = (|of: &str| Random::new(plan.seed, of), Pauses::within(plan.lasting));
    let mut others = JoinSet::new();
    others.spawn(weather::idp(world.clone(), span.clone(), pauses, random("idp")));
    others.spawn(weather::upstream(world.clone(), span.clone(), pauses.doubled(), random("upstream")));
    let redis = tokio::spawn(weather::redis(world.clone(), span.clone(), pauses, random("redis"), redis));
    let sampling = tokio::spawn(sample(world.clone(), span.clone()));
    let operating = operator::operate(&world, &span, random("operator"));
    let ((skipped, took), ()) = tokio::join!(call(&world, &plan, &span, random("callers")), operating);
    others.join_all().await;
    let (samples, _redis) = (sampling.await.unwrap(), redis.await.unwrap());
    let left = leave(&world, at_first).await;
    let metrics = settled_metrics(&world).await;
    let (world, exit) = stop(world).await;
    let end = End { at_first, left, metrics, exit, took, skipped, samples };
    Report::new(&plan, &world, end)
}

/// Calls at the rate until it is over, and waits for all answers: how many turns were skipped, and how long it took.
async fn call(world: &Arc<World>, plan: &Plan, span: &Span, mut random: Random) -> (u64, Duration) {
    let regulars: Vec<_> = (0..REGULARS).map(Users::number).collect();
    let mut next = REGULARS;
    let mut passing: VecDeque<Arc<User>> = VecDeque::new();
    let (step_up, blocked) = (Users::fated("mfa"), Users::fated("blocked"));
    let (places, mut calls) = ([(); 2].map(|()| Arc::new(Semaphore::new(MOST))), JoinSet::new());
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (begun, mut turns, mut skipped) = (Instant::now(), 0, 0);
    while !span.is_over() {
        ticks.tick().await;
        let seconds = begun.elapsed().as_secs_f64();
        let risen = seconds.min(RISING).powi(2) / (2.0 * RISING) + (seconds - RISING).max(0.0);
        let due = (risen * f64::from(plan.rate)) as u64;
        while turns < due {
            turns += 1;
            let kind = random.weighed(&MIX);
            let places = &places[usize::from(kind == Kind::Regular)];
            let Ok(place) = places.clone().try_acquire_owned() else {
                skipped += 1;
                continue;
            };
            if passing.len() < RECENT || next - REGULARS < (turns - skipped) / COMING {
                passing.push_front(Users::number(next));
                passing.truncate(PASSING);
                next += 1;
            }
            let user = match kind {
                Kind::StepUp => step_up.clone(),
                Kind::Blocked => blocked.clone(),
                Kind::Passing => {
                    let among = random.pick(&[RECENT.min(passing.len()), passing.len()]);
                    passing[random.below(among)].clone()
                }
                _ => regulars[random.below(regulars.len())].clone(),
            };
            let (call, world) = (Call::any(&mut random, kind, user), world.clone());
            calls.spawn(async move {
                call.make(&world).await;
                drop(place);
            });
        }
        while let Some(call) = calls.try_join_next() {
            call.unwrap();
        }
    }
    calls.join_all().await;
    (skipped, begun.elapsed())
}

/// Looks at the process every second, the first time after one.
async fn sample(world: Arc<World>, span: Arc<Span>) -> Vec<Sampled> {
    let (begun, mut samples) = (Instant::now(), Vec::new());
    while !span.is_over() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (process, metrics) = look(&world).await;
        samples.push(Sampled {
            at: begun.elapsed(),
            process,
            connections: sum(&metrics, "obo_connections{", ""),
            tokens: sum(&metrics, "obo_cache_entries{", ""),
        });
    }
    samples
}

/// The process now, and its metrics.
async fn look(world: &World) -> (Sample, String) {
    let (_, metrics) = world.ask(Method::GET, "/metrics", "").await;
    (world.proxy.sample(&metrics), metrics)
}

/// Everybody leaves, and what lies behind lets go: what is left then.
async fn leave(world: &World, at_first: Sample) -> Sample {
    world.callers.leave();
    for relay in [&world.to_idp, &world.to_upstream] {
        relay.turn(Mode::Reset);
        relay.turn(Mode::Pass);
    }
    let begun = Instant::now();
    loop {
        let (left, _) = look(world).await;
        let is_back = left.descriptors <= at_first.descriptors + 5 && left.threads <= at_first.threads + 5;
        if is_back || begun.elapsed() > PATIENCE {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The metrics, once they and the log agree; or if they do not.
async fn settled_metrics(world: &World) -> String {
    let begun = Instant::now();
    loop {
        let (_, metrics) = world.ask(Method::GET, "/metrics", "").await;
        let is_settled = sum(&metrics, REQUESTS, "") == world.ledger.book().lines()
            && sum(&metrics, "obo_connections{", "") == 0;
        if is_settled || begun.elapsed() > PATIENCE {
            return metrics;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Tells it to stop while answers are under way, which must come whole: its exit code.
async fn stop(world: Arc<World>) -> (World, Option<i32>) {
    let (mut calls, mut random) = (JoinSet::new(), Random::new(0, "end"));
    let before = world.api.requests();
    for number in 0..UNDER_WAY {
        let (call, world) = (Call::any(&mut random, Kind::UnderWay, Users::number(number)), world.clone());
        calls.spawn(async move { call.make(&world).await });
    }
    until("answers are under way", async || world.api.requests() >= before + UNDER_WAY).await;
    world.proxy.terminate();
    calls.join_all().await;
    world.callers.leave();
    let mut world = Arc::into_inner(world).unwrap();
    tokio::task::spawn_blocking(move || {
        let exit = world.proxy.wait();
        (world, exit)
    })
    .await
    .unwrap()
}

/// How many requests were counted, up to their labels.
pub const REQUESTS: &str = "http_server_request_duration_seconds_count{";

/// The sum of all metrics that begin so and have that label.
pub fn sum(metrics: &str, name: &str, label: &str) -> u64 {
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// Waits until it is so.
async fn until(what: &str, is_it: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_it().await {
        assert!(begun.elapsed() < PATIENCE, "not yet so: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl World {
    /// How many connections callers made.
    pub fn opened(&self) -> u64 {
        self.callers.opened.load(Ordering::Relaxed)
    }
}
