//! How much there was lately: the counters of the last minutes, looked at every few seconds.
//!
//! **In:** what was counted, and when. **Out:** how much of it was in the last minute, or the last five. **Never:** more
//! moments than that takes.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::telemetry::figures::Figures;
use crate::telemetry::figures::whole;

/// How often the counters are looked at.
pub const PERIOD: Duration = Duration::from_secs(10);
/// The longest span that is looked back on.
pub const LONGEST: Duration = Duration::from_secs(300);
/// The most moments that are kept: those of that span, both ends, and one to spare.
const MOST: usize = 32;

const REQUESTS: &str = "http_server_request_duration_seconds_count";
const BUCKETS: &str = "http_server_request_duration_seconds_bucket";
const REFUSALS: &str = "obo_refusals_total";

/// What was counted at the last moments.
#[derive(Clone, Debug, Default)]
pub struct Rates(VecDeque<(Instant, Totals)>);

/// What was counted until one moment, by route; the name of none is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals(BTreeMap<String, Total>);

/// What was counted of one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    /// Requests that were answered.
    pub requests: u64,
    /// Those of them that the proxy answered itself, as it refused them.
    pub refusals: u64,
    /// How many took no longer than so many seconds; the last for ever.
    pub durations: Vec<(f64, u64)>,
}

/// What was counted between two moments.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// How long that is.
    pub length: Duration,
    /// What was counted.
    pub total: Total,
}

impl Totals {
    /// What `figures` say.
    pub fn of(figures: &Figures) -> Self {
        let mut totals: BTreeMap<String, Total> = BTreeMap::new();
        for sample in figures.of(REQUESTS, &[]) {
            totals.entry(sample.label("http_route").into()).or_default().requests += whole(sample.value);
        }
        for sample in figures.of(REFUSALS, &[]) {
            totals.entry(sample.label("route").into()).or_default().refusals += whole(sample.value);
        }
        for sample in figures.of(BUCKETS, &[]) {
            let longest = sample.label("le").parse().unwrap_or(f64::INFINITY);
            let durations = &mut totals.entry(sample.label("http_route").into()).or_default().durations;
            match durations.iter_mut().find(|(bound, _)| *bound == longest) {
                Some((_, count)) => *count += whole(sample.value),
                None => durations.push((longest, whole(sample.value))),
            }
        }
        for total in totals.values_mut() {
            total.durations.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        }
        Self(totals)
    }

    /// Of the route of that name.
    pub fn route(&self, name: &str) -> Total {
        self.0.get(name).cloned().unwrap_or_default()
    }
}

impl Total {
    fn since(&self, earlier: &Self) -> Self {
        let count = |bound: f64| {
            let known = earlier.durations.iter().find(|(other, _)| *other == bound);
            known.map_or(0, |(_, count)| *count)
        };
        let durations = self.durations.iter();
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            refusals: self.refusals.saturating_sub(earlier.refusals),
            durations: durations.map(|(bound, now)| (*bound, now.saturating_sub(count(*bound)))).collect(),
        }
    }

    /// The duration that the part `share` of the requests did not exceed, as far as the bounds tell; `None` without
    /// requests. Beyond the last bound it is that bound.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let (_, all) = self.durations.last().filter(|(_, all)| *all > 0)?;
        let rank = share * *all as f64;
        let (mut lower, mut below) = (0.0, 0_u64);
        for (bound, count) in &self.durations {
            if *count as f64 >= rank {
                let inside = count.saturating_sub(below).max(1) as f64;
                let seconds = match bound.is_finite() {
                    true => lower + (bound - lower) * ((rank - below as f64) / inside),
                    false => lower,
                };
                return Duration::try_from_secs_f64(seconds).ok();
            }
            (lower, below) = (*bound, *count);
        }
        None
    }
}

impl Rates {
    /// Takes note of what was counted until now.
    pub fn note(&mut self, now: Instant, totals: Totals) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((now, totals));
    }

    /// What was counted of a route in about the last `span` before `now`, when it was `totals`: from the moment on that is
    /// the youngest of those before; from the first, if all came later.
    pub fn lately(&self, route: &str, span: Duration, now: Instant, totals: &Totals) -> Option<Span> {
        let is_before = |at: &Instant| now.saturating_duration_since(*at) >= span;
        let older = self.0.iter().rev().find(|(at, _)| is_before(at)).or_else(|| self.0.front());
        let (at, before) = older?;
        let length = now.saturating_duration_since(*at);
        let total = totals.route(route).since(&before.route(route));
        (!length.is_zero()).then_some(Span { length, total })
    }
}

impl Span {
    /// So many in that time, as a number a second.
    pub fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.length.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Clock;
    use crate::domain::clock::UnixTime;
    use crate::domain::name::Name;
    use crate::telemetry::metrics::Metrics;

    fn after(requests: &[u64]) -> Totals {
        let metrics = Metrics::new();
        let name = Name::parse("orders").unwrap();
        let route = metrics.requests(Some(&name), None);
        for milliseconds in requests {
            route.answered(Some(&http::Method::GET), 200, Duration::from_millis(*milliseconds));
        }
        Totals::of(&Figures::read(&metrics.encode()))
    }

    #[test]
    fn rates_are_those_of_the_span_that_is_asked_for() {
        let start = Clock::manual(UnixTime::from_seconds(0)).monotonic();
        let at = |second| start + Duration::from_secs(second);
        let mut rates = Rates::default();
        let minute = Duration::from_secs(60);
        assert_eq!(rates.lately("orders", minute, at(0), &after(&[])), None);
        rates.note(at(0), after(&[1]));
        for moment in 1..=40_u64 {
            rates.note(at(10 * moment), after(&[1; 5]));
        }
        assert_eq!(rates.0.len(), MOST);
        let lately = |span| rates.lately("orders", span, at(405), &after(&[1; 8])).unwrap();
        let last = lately(minute);
        assert_eq!((last.length.as_secs(), last.total.requests), (65, 3));
        assert!((last.per_second(last.total.requests) - 3.0 / 65.0).abs() < 1e-9);
        assert_eq!(lately(LONGEST).length.as_secs(), 305);
        assert_eq!(rates.lately("other", minute, at(405), &after(&[])).unwrap().total.requests, 0);
        // a younger process has less to look back on
        let mut young = Rates::default();
        young.note(at(0), after(&[]));
        let span = young.lately("orders", LONGEST, at(7), &after(&[1, 1])).unwrap();
        assert_eq!((span.length.as_secs(), span.total.requests), (7, 2));
    }

    #[test]
    fn quantiles_are_read_from_the_bounds() {
        let total = |requests: &[u64]| after(requests).route("orders");
        assert_eq!(total(&[]).quantile(0.5), None);
        let evenly = total(&[1, 2, 3, 4, 6, 7, 8, 9]);
        assert_eq!(evenly.quantile(0.5), Some(Duration::from_millis(5)));
        let p95 = evenly.quantile(0.95).unwrap();
        assert!(p95 > Duration::from_millis(8) && p95 < Duration::from_millis(10), "{p95:?}");
        assert_eq!(total(&[60_000]).quantile(0.5), Some(Duration::from_secs(10)), "the last bound");
    }
}
