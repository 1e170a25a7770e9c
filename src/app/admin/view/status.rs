//! How the process stands.

use serde::Serialize;

use crate::app::admin::desk::Outcome;
use crate::app::admin::view::Moment;
use crate::app::admin::view::Sources;
use crate::config::Scheme;
use crate::config::problem::Problem;
use crate::config::problem::Severity;

/// The process.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The version that runs.
    pub version: &'static str,
    /// Whether requests should be sent here.
    pub state: State,
    /// When it started.
    pub started_at: Moment,
    /// How long ago that is.
    pub uptime_seconds: u64,
    /// Threads that serve requests.
    pub workers: usize,
    /// Memory it takes.
    pub resident_bytes: u64,
    /// Connections of callers.
    pub connections: Connections,
    /// Where they connect.
    pub listeners: Vec<Listener>,
    /// How the last reading of the configuration went; absent = there was none since the start.
    pub reload: Option<Reload>,
    /// What is probably not meant in the configuration in use.
    pub warnings: Vec<Told>,
    /// What is logged; absent = that is not ours to say.
    pub log: Option<Log>,
}

/// Whether requests should be sent here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// They should.
    Ready,
    /// No identity provider's keys could be loaded yet.
    NotReady,
    /// It comes to its end.
    Draining,
}

/// Connections of callers.
#[derive(Debug, Serialize)]
pub struct Connections {
    /// How many there are.
    pub open: u64,
    /// How many there may be: as many as are configured, or fewer where few files may be open.
    pub limit: u64,
}

/// An address callers connect to.
#[derive(Debug, Serialize)]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// As it is configured.
    pub address: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// When the first of its certificates ends; absent = it has none.
    pub certificate_ends_at: Option<Moment>,
    /// How many connections it has.
    pub open: u64,
}

/// How the configuration was read last.
#[derive(Debug, Serialize)]
pub struct Reload {
    /// When.
    pub at: Moment,
    /// `in_use` or `refused`.
    pub outcome: &'static str,
    /// Settings that were added.
    pub added: Vec<String>,
    /// Settings that were removed.
    pub removed: Vec<String>,
    /// Settings that changed.
    pub changed: Vec<String>,
    /// What is wrong with what was refused.
    pub problems: Vec<Told>,
}

/// A problem of the configuration, as the log tells it.
#[derive(Debug, Serialize)]
pub struct Told {
    /// `error` or `warning`.
    pub severity: &'static str,
    /// Where.
    pub at: String,
    /// What.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// What is logged.
#[derive(Debug, Serialize)]
pub struct Log {
    /// The level or filter in force.
    pub level: String,
    /// What the configuration says.
    pub configured: String,
    /// Whether it was set by hand.
    pub by_hand: bool,
    /// When what the configuration says is in force again; absent = when somebody says so.
    pub until: Option<Moment>,
}

impl Status {
    /// As it is.
    pub(super) fn of(sources: &Sources<'_>) -> Self {
        let Sources { desk, config, figures, .. } = sources;
        let (started_at, uptime) = desk.started();
        let open = |listener: &str| figures.count("obo_connections", &[("listener", listener)]);
        let end = |listener: &str| {
            let end = "obo_listener_certificate_expiry_timestamp_seconds";
            figures.moment(end, &[("listener", listener)]).map(Moment::new)
        };
        let listeners = config.listeners.iter().map(|listener| Listener {
            name: listener.name.to_string(),
            address: listener.address.to_string(),
            tls: listener.scheme() == Scheme::Https,
            certificate_ends_at: end(listener.name.as_str()),
            open: open(listener.name.as_str()),
        });
        let probes = desk.probes();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            state: match (probes.is_draining(), probes.is_ready()) {
                (true, _) => State::Draining,
                (false, true) => State::Ready,
                (false, false) => State::NotReady,
            },
            started_at: Moment::new(started_at),
            uptime_seconds: uptime.as_secs(),
            workers: desk.workers(),
            resident_bytes: figures.count("process_resident_memory_bytes", &[]),
            connections: Connections {
                open: figures.count("obo_connections", &[]),
                limit: figures.count("obo_connections_limit", &[]),
            },
            listeners: listeners.collect(),
            reload: reload(sources),
            warnings: desk.warnings().iter().map(told).collect(),
            log: log(sources),
        }
    }
}

fn reload(sources: &Sources<'_>) -> Option<Reload> {
    let last = sources.desk.reload()?;
    let refused = |problems| Reload {
        at: Moment::new(last.at),
        outcome: "refused",
        added: Vec::new(),
        removed: Vec::new(),
        changed: Vec::new(),
        problems,
    };
    Some(match last.outcome {
        Outcome::InUse(changes) => Reload {
            outcome: "in_use",
            added: changes.added,
            removed: changes.removed,
            changed: changes.changed,
            ..refused(Vec::new())
        },
        Outcome::Invalid(problems) => refused(problems.iter().map(told).collect()),
        Outcome::Unusable(message) => {
            refused(vec![Told { severity: "error", at: String::new(), message, help: None }])
        }
    })
}

fn told(problem: &Problem) -> Told {
    Told {
        severity: match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        at: problem.location.to_string(),
        message: problem.message.clone(),
        help: problem.help.clone(),
    }
}

fn log(sources: &Sources<'_>) -> Option<Log> {
    let standing = sources.desk.dial()?.standing();
    let until = standing.turn.and_then(|turn| sources.desk.end_of(turn));
    Some(Log {
        level: standing.level,
        configured: standing.configured,
        by_hand: standing.turn.is_some(),
        until: until.map(Moment::new),
    })
}
