//! What is shown, as values: the API writes them as JSON, the page as HTML. Neither shows what the other does not have.
//!
//! **In:** the [`Desk`]. **Out:** how things stand at one moment. **Never:** a token, a secret, a claim.

use std::time::Duration;
use std::time::Instant;

use serde::Serialize;
use serde::Serializer;

use crate::app::admin::Desk;
use crate::config::Config;
use crate::domain::clock::Timestamp;
use crate::pipeline::survey::Survey;
use crate::telemetry::figures::Figures;
use crate::telemetry::rates::Rates;
use crate::telemetry::rates::Totals;

pub mod cache;
pub mod events;
pub mod providers;
pub mod routes;
pub mod status;

use cache::Cache;
use events::Events;
use providers::Providers;
use routes::Routes;
use status::Status;

/// A moment in the calendar: RFC 3339 in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The moment so long after 1970-01-01 UTC.
    pub fn new(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// How long after 1970-01-01 UTC.
    pub fn since_epoch(self) -> Duration {
        self.0
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", Timestamp::new(self.0))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Everything at one moment.
#[derive(Debug, Serialize)]
pub struct Whole {
    /// The process.
    pub status: Status,
    /// What is served.
    pub routes: Routes,
    /// Where tokens come from.
    pub identity_providers: Providers,
    /// What is kept.
    pub cache: Cache,
    /// What was refused lately.
    pub events: Events,
}

/// What all views are made of, at one moment.
pub(in crate::app::admin) struct Sources<'a> {
    pub desk: &'a Desk,
    pub config: &'a Config,
    pub figures: Figures,
    pub totals: Totals,
    pub rates: Rates,
    pub survey: Survey,
    pub now: Duration,
    pub monotonic: Instant,
}

impl<'a> Sources<'a> {
    /// How things stand now under `config`.
    pub fn new(desk: &'a Desk, config: &'a Config) -> Self {
        let figures = desk.figures();
        let totals = Totals::of(&figures);
        let (rates, survey) = (desk.rates_so_far(), desk.pipeline().survey());
        Self { desk, config, figures, totals, rates, survey, now: desk.now(), monotonic: desk.monotonic() }
    }

    /// All views.
    pub fn whole(&self) -> Whole {
        Whole {
            status: Status::of(self),
            routes: Routes::of(self),
            identity_providers: Providers::of(self),
            cache: Cache::of(self),
            events: Events::of(self),
        }
    }

    /// The moment so long ago.
    fn ago(&self, age: Duration) -> Moment {
        Moment::new(self.now.saturating_sub(age))
    }
}
