//! What must hold at the end, and the screen that tells of it.

use std::fmt;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use crate::calls::MIX;
use crate::faults::Fault;
use crate::ledger::Book;
use crate::operator::Deed;
use crate::proxy::Sample;
use crate::run::Plan;
use crate::run::REQUESTS;
use crate::run::sum;
use crate::world::MOST_TOKENS;
use crate::world::World;

/// What part of the rate must be reached, at least: a debug build manages a sixth on a machine that is very busy.
const LEAST: f64 = 20.0;

/// What the process was like at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Sampled {
    pub at: Duration,
    pub process: Sample,
    pub connections: u64,
    pub tokens: u64,
}

/// What is known when all is over.
pub struct End {
    pub at_first: Sample,
    /// After everybody has left.
    pub left: Sample,
    /// Then, too.
    pub metrics: String,
    pub exit: Option<i32>,
    pub took: Duration,
    pub skipped: u64,
    pub samples: Vec<Sampled>,
}

/// The checks and the figures.
pub struct Report {
    head: String,
    checks: Vec<Check>,
    figures: Vec<String>,
}

struct Check {
    name: String,
    is_good: bool,
    /// What it is by, or what is wrong.
    says: Vec<String>,
}

impl Report {
    pub fn new(plan: &Plan, world: &World, end: End) -> Self {
        let book = world.ledger.book();
        let memory = Memory::of(&end.samples, plan.lasting);
        let mut checks = vec![
            answers(&book, world),
            rate(plan, &book, &end),
            availability(&book),
            agreement(&book, &end.metrics),
            everything(world, &book),
            deeds(world),
            errors(world),
            memory.check(plan.lasting),
            bounds(&end),
            leftovers(&end),
            drain(&book, world, &end),
        ];
        checks.extend(plan.is_counted.then(|| heap(&end.samples, plan.lasting)));
        Self { head: head(plan), figures: figures(world, &book, &end, &memory), checks }
    }

    pub fn is_good(&self) -> bool {
        self.checks.iter().all(|check| check.is_good)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            let mark = if check.is_good { "ok" } else { "FAILED" };
            writeln!(f, "{} [{mark}]", check.name)?;
            for line in &check.says {
                writeln!(f, "    {line}")?;
            }
        }
        for figure in &self.figures {
            writeln!(f, "{figure}")?;
        }
        writeln!(f, "{}", self.head)?;
        let passed = self.checks.iter().filter(|check| check.is_good).count();
        writeln!(f, "soak: {passed} passed, {} failed", self.checks.len() - passed)
    }
}

fn head(plan: &Plan) -> String {
    let Plan { lasting, rate, seed, binary, .. } = plan;
    let binary: PathBuf = binary.components().rev().take(3).collect::<Vec<_>>().into_iter().rev().collect();
    format!("{} s at {rate} requests a second, seed {seed}, {}", lasting.as_secs(), binary.display())
}

fn check(name: impl Into<String>, is_good: bool, says: impl IntoIterator<Item = String>) -> Check {
    Check { name: name.into(), is_good, says: says.into_iter().collect() }
}

fn answers(book: &Book, world: &World) -> Check {
    let (wrong, seen) = (book.verdicts(2), world.api.requests());
    check(
        format!("{wrong} wrong answers, or wrong among {seen} requests as the API saw them"),
        wrong == 0,
        book.wrong.iter().cloned(),
    )
}

/// Who is hardly called shows nothing.
fn rate(plan: &Plan, book: &Book, end: &End) -> Check {
    let (reached, least) = (reached(book, end), f64::from(plan.rate) / LEAST);
    let name =
        format!("{reached:.0} answers a second, of {} asked for; at least {least:.0} must be", plan.rate);
    check(name, reached >= least, [])
}

fn reached(book: &Book, end: &End) -> f64 {
    book.answered() as f64 / end.took.as_secs_f64()
}

/// Who has a token kept, over an upstream that is well, gets through, whatever else goes on.
fn availability(book: &Book) -> Check {
    let failed = book.kept_failed.len() as u64;
    let is_good = failed * 10_000 <= book.kept && book.kept > 0;
    let ratio = 100.0 * (1.0 - failed as f64 / book.kept.max(1) as f64);
    let name = format!("{ratio:.3} % of {} requests got through whose token was kept", book.kept);
    check(name, is_good, book.kept_failed.iter().take(5).cloned())
}

/// Callers, log and metrics count the same.
fn agreement(book: &Book, metrics: &str) -> Check {
    let mut wrong = book.all_differences();
    let statuses = book.lines.keys().chain(book.answers.keys());
    for status in statuses.collect::<std::collections::BTreeSet<_>>() {
        let of =
            |counts: &std::collections::BTreeMap<u16, u64>| counts.get(status).copied().unwrap_or_default();
        let counted = sum(metrics, REQUESTS, &format!("http_response_status_code=\"{status}\""));
        let (logged, answered) = (of(&book.lines), of(&book.answers));
        let late = if *status == 200 { book.under_way() } else { 0 };
        if counted + late != logged {
            wrong.push(format!("{status} is counted {counted} times and logged {logged} times"));
        }
        if answered > logged {
            wrong.push(format!("{status} was seen {answered} times and logged {logged} times"));
        }
    }
    let name = format!(
        "{} answers, {} lines of the access log, {} counted, {} given up",
        book.answered(),
        book.lines(),
        sum(metrics, REQUESTS, "") + book.under_way(),
        book.given_up()
    );
    let is_good = wrong.is_empty() && book.lines() <= book.answered() + book.given_up();
    wrong.truncate(8);
    check(name, is_good, wrong)
}

/// A soak in which nothing happens shows nothing.
fn everything(world: &World, book: &Book) -> Check {
    let kinds = MIX.map(|(_, kind)| kind.name());
    let is_missing = |kind: &&str| book.calls.get(kind).is_none_or(|counts| counts[0] == 0);
    let calls = kinds.iter().filter(|kind| is_missing(kind)).map(|kind| format!("no {kind} went well"));
    let faults = Fault::ALL.into_iter().filter(|fault| world.faults.count(*fault) == 0);
    let faults = faults.map(|fault| format!("no {fault:?}"));
    let deeds = world.operator.deeds.lock().unwrap().clone();
    let deeds = Deed::ALL.into_iter().filter(move |deed| !deeds.done.contains_key(deed));
    let deeds = deeds.map(|deed| format!("no {deed:?}"));
    let missing: Vec<String> = calls.chain(faults).chain(deeds).collect();
    let faults: usize = Fault::ALL.map(|fault| world.faults.count(fault)).iter().sum();
    check(format!("everything happened that was to happen: {faults} faults"), missing.is_empty(), missing)
}

fn deeds(world: &World) -> Check {
    let deeds = world.operator.deeds.lock().unwrap().clone();
    let done: Vec<String> = deeds.done.iter().map(|(deed, count)| format!("{count} {deed:?}")).collect();
    check(format!("the operator had done: {}", done.join(", ")), deeds.failed.is_empty(), deeds.failed)
}

/// Lines of level error are of configurations and credentials that were wrong on purpose; a panic is never.
fn errors(world: &World) -> Check {
    let is_explained = |line: &str| {
        if line.contains("panic") {
            &[][..]
        } else if line.contains("proxy_misconfigured") || line.contains("credential") {
            &[Fault::WrongCredential, Fault::WithdrawnKey][..]
        } else {
            &[Fault::BadConfiguration][..]
        }
    };
    let errors = world.proxy.log.errors();
    let unexplained = errors.iter().filter(|(at, line)| !world.faults.at(*at, is_explained(line)));
    let unexplained: Vec<String> = unexplained.map(|(_, line)| line.clone()).collect();
    let name = format!("{} errors in the log that nothing explains, of {}", unexplained.len(), errors.len());
    check(name, unexplained.is_empty(), unexplained.into_iter().take(8))
}

/// What was resident, in KiB.
struct Memory {
    /// After the warm-up, and at the end: medians of a fifth of the time.
    before: u64,
    after: u64,
    most: u64,
    /// In KiB a minute, after the warm-up.
    slope: f64,
    /// The median of each tenth of the time, in MiB.
    tenths: String,
}

impl Memory {
    fn of(samples: &[Sampled], lasting: Duration) -> Self {
        let between = |from: f64, to: f64| {
            let within = |sample: &&Sampled| (from..=to).contains(&sample.at.div_duration_f64(lasting));
            samples.iter().filter(within).collect::<Vec<_>>()
        };
        let median = |of: Vec<&Sampled>| {
            let mut sorted: Vec<u64> = of.iter().map(|sample| sample.process.memory).collect();
            sorted.sort_unstable();
            sorted.get(sorted.len() / 2).copied().unwrap_or_default()
        };
        let most = samples.iter().map(|sample| sample.process.memory).max().unwrap_or_default();
        let slope = slope(&between(0.4, 2.0));
        let tenths: Vec<String> = (0..10)
            .map(|tenth| f64::from(tenth) / 10.0)
            .map(|from| format!("{}", median(between(from, from + 0.1)) / 1024))
            .collect();
        let tenths = tenths.join(" ");
        Self { before: median(between(0.4, 0.6)), after: median(between(0.8, 2.0)), most, slope, tenths }
    }

    fn check(&self, lasting: Duration) -> Check {
        let bound = bound(lasting);
        let grown = self.after as f64 - self.before as f64;
        // what the line through all samples says of the whole time
        let drift = self.slope * lasting.as_secs_f64() * 0.6 / 60.0;
        let name = format!(
            "memory grew by {:.1} MiB after the warm-up, and by {:.1} along its slope; at most {:.1} may be",
            grown / 1024.0,
            drift / 1024.0,
            bound / 1024.0
        );
        check(name, grown <= bound && drift <= bound && self.before > 0, [])
    }
}

/// By how many KiB memory may grow. In a short time caches and buffers are still being filled; in half an hour, one block of 32
/// bytes that each request leaves makes more than this.
fn bound(lasting: Duration) -> f64 {
    if lasting >= Duration::from_secs(1800) { 6.0 * 1024.0 } else { 16.0 * 1024.0 }
}

/// By how many KiB what is allocated in a quiet moment may grow.
const LEAKED: u64 = 512;

/// What is allocated when there is least to do, in the middle and at the end: requests come and go, and what they leave stays.
fn heap(samples: &[Sampled], lasting: Duration) -> Check {
    let least = |from: f64, to: f64| {
        let within =
            samples.iter().filter(|sample| (from..to).contains(&sample.at.div_duration_f64(lasting)));
        within.map(|sample| sample.process.heap).min().unwrap_or_default()
    };
    let (before, after) = (least(0.4, 0.7), least(0.7, 2.0));
    let tenths: Vec<String> = (0..10)
        .map(|tenth| least(f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0).to_string())
        .collect();
    let name = format!(
        "allocated in quiet moments: {before} KiB after the warm-up, {after} at the end, {LEAKED} more may be; by tenths {}",
        tenths.join(" ")
    );
    check(name, before > 0 && (1..=before + LEAKED).contains(&after), [])
}

/// Of the line through the samples (least squares), a minute.
fn slope(samples: &[&Sampled]) -> f64 {
    let points: Vec<(f64, f64)> =
        samples.iter().map(|sample| (sample.at.as_secs_f64() / 60.0, sample.process.memory as f64)).collect();
    let count = points.len().max(1) as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x).powi(2))
    });
    if below > 0.0 { above / below } else { 0.0 }
}

/// What has a bound keeps it.
fn bounds(end: &End) -> Check {
    let most = |of: fn(&Sampled) -> u64| end.samples.iter().map(of).max().unwrap_or_default();
    let tokens = most(|sample| sample.tokens);
    // evictions happen by and by
    let limit = MOST_TOKENS + MOST_TOKENS / 5;
    let name = format!(
        "{tokens} tokens at most were kept, of {MOST_TOKENS} that may be, over {} samples",
        end.samples.len()
    );
    check(name, (1..=limit).contains(&tokens), [])
}

/// What there was of when nobody had called yet, there is as much of when everybody has left.
fn leftovers(end: &End) -> Check {
    let (first, last) = (end.at_first, end.left);
    let open = sum(&end.metrics, "obo_connections{", "");
    let is_told = end.samples.iter().all(|sample| sample.process.descriptors > 0);
    let name = format!(
        "descriptors {} at first and {} at last, threads {} and {}, connections of callers {open} at last",
        first.descriptors, last.descriptors, first.threads, last.threads
    );
    let is_good = is_told
        && first.descriptors > 0
        && last.descriptors <= first.descriptors + 5
        && last.descriptors + 5 >= first.descriptors
        && last.threads <= first.threads + 5
        && open == 0;
    check(name, is_good, [])
}

fn drain(book: &Book, world: &World, end: &End) -> Check {
    let cut = world.proxy.log.count("requests were still in flight");
    let name = format!(
        "told to stop with {} answers under way: all came, exit code {}",
        book.under_way(),
        end.exit.map_or_else(|| "none".into(), |code| code.to_string())
    );
    check(name, end.exit == Some(0) && cut == 0 && world.proxy.log.count("stopped") == 1, [])
}

fn figures(world: &World, book: &Book, end: &End, memory: &Memory) -> Vec<String> {
    let most = |of: fn(&Sampled) -> u64| end.samples.iter().map(of).max().unwrap_or_default();
    let counts = |counts: &std::collections::BTreeMap<String, u64>| {
        counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join("; ")
    };
    let statuses: Vec<String> =
        book.answers.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let count = |name: &str, label: &str| sum(&end.metrics, name, label);
    vec![
        format!(
            "{:.0} requests a second over {} connections, {} turns skipped; answers: {}",
            reached(book, end),
            world.opened(),
            end.skipped,
            statuses.join(", ")
        ),
        format!("{} explained: {}", book.verdicts(1), counts(&book.explanations)),
        format!(
            "cache: {} hits, {} misses, {} stale; Redis: {} hits, {} misses, {} errors; {} exchanges, {} of them ok",
            count("obo_cache_requests_total{", "tier=\"memory\",result=\"hit\""),
            count("obo_cache_requests_total{", "tier=\"memory\",result=\"miss\""),
            count("obo_cache_requests_total{", "tier=\"memory\",result=\"stale\""),
            count("obo_cache_requests_total{", "tier=\"redis\",result=\"hit\""),
            count("obo_cache_requests_total{", "tier=\"redis\",result=\"miss\""),
            count("obo_cache_requests_total{", "tier=\"redis\",result=\"error\""),
            count("obo_exchanges_total{", ""),
            count("obo_exchanges_total{", "outcome=\"ok\""),
        ),
        format!(
            "memory {:.1} MiB at first, {:.1} after the warm-up, {:.1} at the end, {:.1} at most; {:+.0} KiB a minute; by tenths {}",
            end.at_first.memory as f64 / 1024.0,
            memory.before as f64 / 1024.0,
            memory.after as f64 / 1024.0,
            memory.most as f64 / 1024.0,
            memory.slope,
            memory.tenths
        ),
        format!(
            "at most {} descriptors, {} threads, {} connections; log: {}",
            most(|sample| sample.process.descriptors),
            most(|sample| sample.process.threads),
            most(|sample| sample.connections),
            counts(&world.proxy.log.levels())
        ),
    ]
}
