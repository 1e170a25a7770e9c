//! The service manager that started the process, if it wants to know how things go: the protocol of sd_notify(3).
//!
//! **In:** how the machine stands. **Out:** datagrams to the manager. **Never:** holds anything up or ends anything: a
//! manager that cannot be told is not told.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::time::ClockId;
use rustix::time::clock_gettime;
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::app::admin::Desk;
use crate::app::admin::desk::Outcome;
use crate::app::workers::Pulse;

/// How long the start waits for keys. Without them it is over all the same: another start would not bring them.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a stop may take besides the times that are configured: WebSockets that close, the last traces.
const FAREWELL: Duration = Duration::from_secs(10);

/// Who is told. By default nobody.
#[derive(Debug, Default)]
pub struct Supervisor {
    manager: Option<Manager>,
    /// It ends a process that is not heard of for so long.
    watchdog: Option<Duration>,
}

#[derive(Debug)]
struct Manager {
    socket: UnixDatagram,
    address: SocketAddr,
}

/// Why a manager that wants to be told cannot be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No address, or none that is spoken to.
    #[error("NOTIFY_SOCKET is no address that can be used")]
    Address(#[source] io::Error),
    /// There is no socket to be had.
    #[error("there is no socket to reach NOTIFY_SOCKET with")]
    Socket(#[source] io::Error),
    /// The watchdog's time is none.
    #[error("WATCHDOG_USEC is no number of microseconds")]
    Watchdog,
}

/// What a manager can be told.
#[derive(Clone, Copy, Debug)]
pub enum State<'a> {
    /// It runs, or runs again.
    Ready(&'a str),
    /// It reads its configuration.
    Reloading,
    /// It comes to its end, within that time.
    Stopping(Duration),
    /// It is not hung.
    Alive,
}

impl Supervisor {
    /// The one that the environment of the process `id` names.
    ///
    /// # Errors
    /// If it names one that cannot be told.
    pub fn of(environment: &[(String, String)], id: u32) -> Result<Self, Error> {
        let variable =
            |wanted: &str| environment.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
        let Some(address) = variable("NOTIFY_SOCKET") else { return Ok(Self::default()) };
        let address = match address.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(address),
        };
        let address = address.map_err(Error::Address)?;
        let socket = UnixDatagram::unbound().map_err(Error::Socket)?;
        // a manager that does not read is not waited for
        socket.set_nonblocking(true).map_err(Error::Socket)?;
        let is_ours = variable("WATCHDOG_PID").is_none_or(|process| *process == id.to_string());
        let watchdog = match variable("WATCHDOG_USEC") {
            Some(time) if is_ours => Some(time.parse().map_err(|_| Error::Watchdog)?),
            _ => None,
        };
        let watchdog = watchdog.filter(|time| *time > 0).map(Duration::from_micros);
        Ok(Self { manager: Some(Manager { socket, address }), watchdog })
    }

    /// Tells it.
    pub fn tell(&self, state: State<'_>) {
        let Some(Manager { socket, address }) = &self.manager else { return };
        let text = message(state, monotonic());
        if let Err(error) = socket.send_to_addr(text.as_bytes(), address) {
            tracing::warn!(%error, "the service manager cannot be told how things go");
        }
    }

    /// Tells it that the machine `desk` knows of runs, and how.
    pub fn tell_of(&self, desk: &Desk) {
        if self.manager.is_some() {
            let refusal = desk.reload().and_then(|reload| refusal(&reload.outcome));
            self.tell(State::Ready(&words(desk.probes().is_ready(), refusal.as_deref())));
        }
    }

    /// Tells it when the start is over, and what is still missing then. Never ends.
    pub async fn tell_of_start(&self, desk: &Desk) {
        if self.manager.is_some() {
            let is_ready = App::until_ready(desk.probes(), PATIENCE).await;
            self.tell_of(desk);
            if !is_ready && App::until_ready(desk.probes(), Duration::MAX).await {
                self.tell_of(desk);
            }
        }
        std::future::pending().await
    }

    /// Lets its watchdog know, twice in its time, as long as all that serves turns over. Never ends.
    pub async fn reassure(&self, pulse: &Pulse) {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut period = tokio::time::interval(watchdog / 2);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            period.tick().await;
            match tokio::time::timeout(watchdog, pulse.felt()).await {
                Ok(true) => self.tell(State::Alive),
                _ => tracing::error!(
                    "a worker does not turn over; the service manager's watchdog is not told otherwise"
                ),
            }
        }
    }

    /// Tells it that the end has begun, which takes up to `time`.
    pub fn tell_of_end(&self, time: Duration) {
        self.tell(State::Stopping(time.saturating_add(FAREWELL)));
    }
}

/// The datagram that says so, sent `at` that time of the clock that the manager goes by.
fn message(state: State<'_>, at: Duration) -> String {
    match state {
        State::Ready(status) => format!("READY=1\nSTATUS={status}"),
        State::Reloading => {
            format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reading the configuration", at.as_micros())
        }
        State::Stopping(time) => {
            let text = "STATUS=stopping: requests under way are finished";
            format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}\n{text}", time.as_micros())
        }
        State::Alive => "WATCHDOG=1".to_owned(),
    }
}

/// How things stand.
fn words(is_ready: bool, refusal: Option<&str>) -> String {
    let serving = match is_ready {
        true => "serving",
        false => "no identity provider's keys could be loaded yet: callers with tokens get 503",
    };
    match refusal {
        // what spans lines would say more than a status
        Some(why) => format!("{serving}; another configuration is refused: {}", why.replace('\n', " ")),
        None => serving.to_owned(),
    }
}

/// Why the configuration that was read last is not in use.
fn refusal(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::InUse(_) => None,
        Outcome::Unusable(why) => Some(why.clone()),
        Outcome::Invalid(problems) => {
            let first = problems.iter().min_by_key(|problem| problem.severity);
            Some(first.map(|first| format!("{}: {}", first.location, first.message)).unwrap_or_default())
        }
    }
}

/// The clock of the kernel by which managers tell a reload that was asked for from one before.
fn monotonic() -> Duration {
    clock_gettime(ClockId::Monotonic).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(environment: &[(&str, &str)]) -> Result<Supervisor, Error> {
        let owned: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Supervisor::of(&owned, 7)
    }

    #[test]
    fn the_environment_says_who_is_told_and_how_often() {
        let socket = ("NOTIFY_SOCKET", "/run/systemd/notify");
        let second = ("WATCHDOG_USEC", "1000000");
        for (environment, is_told, watchdog) in [
            (vec![], false, None),
            (vec![second], false, None),
            (vec![socket], true, None),
            (vec![("NOTIFY_SOCKET", "@abstract")], true, None),
            (vec![socket, second], true, Some(Duration::from_secs(1))),
            (vec![socket, second, ("WATCHDOG_PID", "7")], true, Some(Duration::from_secs(1))),
            (vec![socket, second, ("WATCHDOG_PID", "8")], true, None),
            (vec![socket, ("WATCHDOG_USEC", "0")], true, None),
        ] {
            let supervisor = of(&environment).unwrap();
            assert_eq!(
                (supervisor.manager.is_some(), supervisor.watchdog),
                (is_told, watchdog),
                "{environment:?}"
            );
        }
        assert!(matches!(of(&[socket, ("WATCHDOG_USEC", "soon")]), Err(Error::Watchdog)));
        let too_long = "/".repeat(200);
        assert!(matches!(of(&[("NOTIFY_SOCKET", &too_long)]), Err(Error::Address(_))));
    }

    #[test]
    fn a_datagram_says_all_that_the_manager_asks_for() {
        let at = Duration::from_micros(1_234_567);
        for (state, text) in [
            (State::Ready("serving"), "READY=1\nSTATUS=serving"),
            (State::Reloading, "RELOADING=1\nMONOTONIC_USEC=1234567\nSTATUS=reading the configuration"),
            (
                State::Stopping(Duration::from_secs(40)),
                "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000\nSTATUS=stopping: requests under way are finished",
            ),
            (State::Alive, "WATCHDOG=1"),
        ] {
            assert_eq!(message(state, at), text);
        }
    }

    #[test]
    fn a_status_is_one_line() {
        let without_keys = "no identity provider's keys could be loaded yet: callers with tokens get 503";
        for (is_ready, refusal, text) in [
            (true, None, "serving"),
            (false, None, without_keys),
            (true, Some("a\nREADY=1"), "serving; another configuration is refused: a READY=1"),
        ] {
            assert_eq!(words(is_ready, refusal), text);
        }
    }

    #[test]
    fn a_manager_that_is_gone_or_reads_nothing_holds_nothing_up() {
        let gone = of(&[("NOTIFY_SOCKET", "/nowhere/at/all")]).unwrap();
        gone.tell(State::Alive);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let deaf = UnixDatagram::bind(&path).unwrap();
        let supervisor = of(&[("NOTIFY_SOCKET", path.to_str().unwrap())]).unwrap();
        (0..10_000).for_each(|_| supervisor.tell(State::Alive));
        drop(deaf);
    }
}
