//! Where traces go, and of which requests.

use std::time::Duration;

use http::HeaderName;

use crate::domain::secret::Secret;

/// Where traces go, and of which requests there are any.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The URL that takes them: OTLP over HTTP.
    pub endpoint: String,
    /// Fields sent along. Collectors that others run are told by one who we are.
    pub headers: Vec<(HeaderName, Secret)>,
    /// One export, connect included.
    pub timeout: Duration,
    /// What they say of this process: its `service.name` among it.
    pub resource: Vec<(String, String)>,
    /// Of which requests there are any.
    pub sampler: Sampler,
}

/// Which requests are recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// What counts where a caller says whether it records.
    pub on_parent: OnParent,
    /// Which part of the others is recorded: from 0 to 1.
    pub ratio: f64,
}

/// What counts where a caller says whether it records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnParent {
    /// What it says.
    Follow,
    /// Chance, as for all others.
    Ignore,
}
