//! Reload: whenever the configuration's files change, or someone asks for it, they are read anew and, if they are good, used.
//!
//! **In:** the files, a bell. **Out:** the machine under the newest good configuration, and a log that says what changed.
//! **Never:** a restart; a bad configuration in use; a value in the log; a file read on a thread that serves requests.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

use crate::app::admin::desk::Outcome;
use crate::app::machine::Machine;
use crate::app::reload::prints::Prints;
use crate::app::supervisor::State;
use crate::app::supervisor::Supervisor;
use crate::config;
use crate::config::Config;
use crate::config::Loaded;
use crate::config::Look;
use crate::config::Outline;
use crate::config::problem::Report;
use crate::domain::clock::Clock;
use crate::telemetry::logs;

mod prints;
pub mod report;

/// How often to look at the files. Kubernetes swaps symbolic links, which is seen by reading through them; to be told of
/// changes would take inotify, whose instances all processes of a user share.
const PERIOD: Duration = Duration::from_secs(5);
/// A file that has changed is read when it has stopped changing: this long.
const SETTLED: Duration = Duration::from_millis(250);
/// A file system that takes longer is said to be slow.
const SLOW: Duration = Duration::from_secs(30);

/// What a configuration is read from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The files, later ones over earlier ones.
    pub files: Vec<PathBuf>,
    /// The process environment.
    pub environment: Vec<(String, String)>,
}

/// Watches over the files of a configuration in use.
pub struct Watch {
    source: Arc<Source>,
    bell: Arc<Notify>,
    clock: Clock,
    /// What the configuration in use was made of.
    outline: Outline,
    /// The configuration's files when they were last read.
    read: Prints,
    /// The other files that matter when they were last looked at.
    named: Prints,
    /// The other files when the machine was last made from them.
    built: Prints,
    standing: Standing,
}

/// How the configuration that was read last fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    InUse,
    Refused,
}

/// Why the files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// It is time.
    Period,
    /// Someone asked.
    Bell,
}

/// What the files hold now.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    read: Prints,
    named: Prints,
}

impl Source {
    /// Reads it and checks everything, looking that closely at the files it names.
    ///
    /// # Errors
    /// If it cannot be used.
    pub fn load(&self, look: Look) -> Result<Loaded, Report> {
        config::load(&self.files, &self.environment, look)
    }
}

impl Watch {
    /// Reads the configuration, to watch over it from now on. The files are read anew at once when `bell` rings.
    ///
    /// # Errors
    /// If the configuration cannot be used.
    pub fn begin(source: Source, bell: Arc<Notify>, clock: Clock) -> Result<(Self, Loaded), Report> {
        // before: what changes from here on is a change
        let read = Prints::of(source.files.iter().cloned());
        let loaded = source.load(Look::Into(clock.now()))?;
        let named = Prints::of(files(&loaded.config));
        let (source, outline, standing) = (Arc::new(source), loaded.outline.clone(), Standing::InUse);
        let watch = Self { source, bell, clock, outline, read, named: named.clone(), built: named, standing };
        Ok((watch, loaded))
    }

    /// Keeps `machine` running under the newest good configuration, for as long as it is polled, and tells `supervisor` of it.
    pub async fn over(mut self, machine: &mut Machine, supervisor: &Supervisor) {
        let mut period = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let bell = self.bell.clone();
            let occasion = tokio::select! {
                biased;
                () = bell.notified() => Occasion::Bell,
                _ = period.tick() => Occasion::Period,
            };
            // one look at a time: what hangs is waited for, and nothing else waits for it
            let seen = self.look(machine, occasion).await;
            // who has rung waits to hear that it is done, whatever came of it
            if seen.is_none() && occasion == Occasion::Period {
                continue;
            }
            supervisor.tell(State::Reloading);
            if let Some(seen) = seen {
                self.act(machine, occasion, seen).await;
            }
            if occasion == Occasion::Bell {
                machine.refresh_certificates().await;
            }
            supervisor.tell_of(machine.desk());
        }
    }

    /// What the files hold, if that is not what they held before, or someone asked.
    async fn look(&self, machine: &Machine, occasion: Occasion) -> Option<Seen> {
        let mut seen = self.glance(machine).await?;
        if occasion == Occasion::Bell {
            return Some(seen);
        }
        while seen.read != self.read || seen.named != self.named {
            // a file may be half written, unless someone says that it is not
            tokio::select! {
                () = self.bell.notified() => return self.glance(machine).await,
                () = tokio::time::sleep(SETTLED) => {}
            }
            let again = self.glance(machine).await?;
            if again == seen {
                return Some(seen);
            }
            seen = again;
        }
        None
    }

    async fn glance(&self, machine: &Machine) -> Option<Seen> {
        let source = self.source.clone();
        let named: BTreeSet<PathBuf> = self.named.files().cloned().chain(files(machine.config())).collect();
        aside(move || Seen { read: Prints::of(source.files.iter().cloned()), named: Prints::of(named) }).await
    }

    async fn act(&mut self, machine: &mut Machine, occasion: Occasion, seen: Seen) {
        let is_other = seen.read != self.read;
        let may_fare_better = self.standing == Standing::Refused && seen.named != self.named;
        (self.read, self.named) = (seen.read, seen.named);
        let is_in_use = match occasion == Occasion::Bell || is_other || may_fare_better {
            true => self.reload(machine).await,
            false => false,
        };
        if !is_in_use {
            self.renew(machine).await;
        }
    }

    /// Reads the configuration anew and uses it if it is good. Whether it is.
    async fn reload(&mut self, machine: &mut Machine) -> bool {
        self.standing = Standing::Refused;
        let source = self.source.clone();
        let loaded = aside(move || {
            // what is in the files is for those to judge who read them: some may be half replaced, and not be needed
            let loaded = source.load(Look::At)?;
            // before anything is made of them: what changes from here on is a change
            let named = Prints::of(files(&loaded.config));
            Ok::<_, Report>((loaded, named))
        });
        let (loaded, named) = match loaded.await {
            Some(Ok(loaded)) => loaded,
            Some(Err(problems)) => {
                machine.metrics().config_refused();
                machine.desk().reloaded(Outcome::Invalid(problems.problems().to_vec()));
                report::invalid(&problems);
                return false;
            }
            None => return false,
        };
        let renewed = self.built.differing(&named);
        self.named = self.named.clone().and(&named);
        let config = Arc::new(loaded.config.sharing(machine.config()));
        if let Err(error) = machine.adopt(config, renewed).await {
            machine.metrics().config_refused();
            machine.desk().reloaded(Outcome::Unusable(logs::report(error.as_ref())));
            report::unusable(&error);
            return false;
        }
        machine.metrics().config_loaded(self.clock.now());
        let changes = self.outline.changes(&loaded.outline);
        report::in_use(&changes, &loaded.warnings);
        machine.desk().warned(&loaded.warnings);
        machine.desk().reloaded(Outcome::InUse(changes));
        (self.outline, self.standing) = (loaded.outline, Standing::InUse);
        (self.named, self.built) = (named.clone(), named);
        true
    }

    /// Has the configuration in use made anew of those of its files that changed.
    async fn renew(&mut self, machine: &mut Machine) {
        let own: BTreeSet<PathBuf> = files(machine.config()).collect();
        let now = self.named.only(&own);
        let renewed = self.built.differing(&now);
        if renewed.is_empty() {
            return;
        }
        let config = machine.config().clone();
        match machine.adopt(config, renewed.clone()).await {
            Ok(()) => {
                report::renewed(&renewed);
                self.built = now;
            }
            Err(error) => report::not_renewed(&renewed, &error),
        }
    }
}

/// The files that are read once, when something is made of `config`.
fn files(config: &Config) -> impl Iterator<Item = PathBuf> + use<'_> {
    config.files_read_once().into_iter().map(PathBuf::from)
}

/// Does `work` on a thread that nobody else waits for: a file system can hang.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let mut working = tokio::task::spawn_blocking(work);
    let done = match tokio::time::timeout(SLOW, &mut working).await {
        Ok(done) => done,
        Err(_) => {
            tracing::warn!("the configuration's files cannot be read at the moment; what is in use goes on");
            working.await
        }
    };
    done.ok()
}
