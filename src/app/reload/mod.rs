//! Reload: whenever the configuration's files change, or someone asks for it, they are read anew and, if they are good, used.
//!
//! **In:** the files, a bell. **Out:** the machine under the newest good configuration, and a log that says what changed.
//! **Never:** a restart; a bad configuration in use; a value in the log; a file read on a thread that serves requests.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

use crate::app::admin::desk::Outcome;
use crate::app::machine::Machine;
use crate::app::reload::prints::Prints;
use crate::app::supervisor::State;
use crate::app::supervisor::Supervisor;
use crate::config;
use crate::config::Changes;
use crate::config::Config;
use crate::config::Environment;
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
/// A file system that takes longer hangs.
const SLOW: Duration = Duration::from_secs(30);
/// So many threads may wait for one that hangs, each for ever.
const MOST_HANGING: usize = 4;

/// What a configuration is read from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The files, later ones over earlier ones.
    pub files: Vec<PathBuf>,
    /// The process environment.
    pub environment: Environment,
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
    readers: Readers,
}

/// How the configuration that was read last fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    InUse,
    /// It is in use, and some of its files have changed and are not.
    NotRenewed,
    Refused,
    /// Nobody knows what it says.
    Unread,
}

/// Why the files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// It is time.
    Period,
    /// Someone asked.
    Bell,
}

/// Threads that read files, of which a few may hang.
struct Readers(Arc<Semaphore>);

/// What was asked of a file system has not been done in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hangs;

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
        let (source, outline, built) = (Arc::new(source), loaded.outline.clone(), named.clone());
        let (standing, readers) = (Standing::InUse, Readers::new());
        let watch = Self { source, bell, clock, outline, read, named, built, standing, readers };
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
            let seen = self.look(machine, occasion).await;
            let is_news = match &seen {
                Ok(seen) => seen.is_some(),
                Err(Hangs) => self.standing != Standing::Unread,
            };
            // who has rung waits to hear that it is done, whatever came of it
            if !is_news && occasion == Occasion::Period {
                continue;
            }
            supervisor.tell(State::Reloading);
            match seen {
                Ok(Some(seen)) => self.act(machine, occasion, seen).await,
                Ok(None) => {}
                // what hangs may be a file that is not needed any more
                Err(Hangs) if occasion == Occasion::Bell => _ = self.reload(machine).await,
                Err(Hangs) => self.unread(machine),
            }
            if occasion == Occasion::Bell {
                // what hangs there is found out again by who needs it
                let _ = tokio::time::timeout(SLOW, machine.refresh_certificates()).await;
            }
            supervisor.tell_of(machine.desk());
        }
    }

    /// What the files hold, if that is not what they held before, or someone asked.
    async fn look(&self, machine: &Machine, occasion: Occasion) -> Result<Option<Seen>, Hangs> {
        let mut seen = self.glance(machine).await?;
        if occasion == Occasion::Bell || self.standing == Standing::Unread {
            return Ok(Some(seen));
        }
        while seen.read != self.read || seen.named != self.named {
            // a file may be half written, unless someone says that it is not
            tokio::select! {
                () = self.bell.notified() => return self.glance(machine).await.map(Some),
                () = tokio::time::sleep(SETTLED) => {}
            }
            let again = self.glance(machine).await?;
            if again == seen {
                return Ok(Some(seen));
            }
            seen = again;
        }
        Ok(None)
    }

    async fn glance(&self, machine: &Machine) -> Result<Seen, Hangs> {
        let source = self.source.clone();
        let named: BTreeSet<PathBuf> = self.named.files().cloned().chain(files(machine.config())).collect();
        let look = move || Seen { read: Prints::of(source.files.iter().cloned()), named: Prints::of(named) };
        self.readers.read(look).await
    }

    async fn act(&mut self, machine: &mut Machine, occasion: Occasion, seen: Seen) {
        let is_other = seen.read != self.read || self.standing == Standing::Unread;
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
        let loaded = self.readers.read(move || {
            // what is in the files is for those to judge who read them: some may be half replaced, and not be needed
            let loaded = source.load(Look::At)?;
            // before anything is made of them: what changes from here on is a change
            let named = Prints::of(files(&loaded.config));
            Ok::<_, Report>((loaded, named))
        });
        let (loaded, named) = match loaded.await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(problems)) => {
                machine.metrics().config_refused();
                machine.desk().reloaded(Outcome::Invalid(problems.problems().to_vec()));
                report::invalid(&problems);
                return false;
            }
            Err(Hangs) => {
                self.unread(machine);
                return false;
            }
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
            // also where what was there before is there again
            self.mended(machine);
            return;
        }
        let config = machine.config().clone();
        match machine.adopt(config, renewed.clone()).await {
            Ok(()) => {
                report::renewed(&renewed);
                self.built = now;
                self.mended(machine);
            }
            Err(error) => {
                report::not_renewed(&renewed, &error);
                if matches!(self.standing, Standing::InUse | Standing::NotRenewed) {
                    self.standing = Standing::NotRenewed;
                    machine.metrics().config_refused();
                    machine.desk().reloaded(Outcome::Unusable(logs::report(error.as_ref())));
                }
            }
        }
    }

    /// Its files are those that the configuration in use is made of.
    fn mended(&mut self, machine: &Machine) {
        if self.standing == Standing::NotRenewed {
            self.standing = Standing::InUse;
            machine.metrics().config_loaded(self.clock.now());
            machine.desk().reloaded(Outcome::InUse(Changes::default()));
        }
    }

    /// Nobody knows what the files hold.
    fn unread(&mut self, machine: &Machine) {
        self.standing = Standing::Unread;
        machine.metrics().config_refused();
        machine.desk().reloaded(Outcome::Unusable(report::UNREAD.to_owned()));
        report::unread();
    }
}

/// The files that are read once, when something is made of `config`.
fn files(config: &Config) -> impl Iterator<Item = PathBuf> + use<'_> {
    config.files_read_once().into_iter().map(PathBuf::from)
}

impl Readers {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST_HANGING)))
    }

    /// What comes of `work`, on a thread that is left alone with it if it hangs.
    async fn read<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Hangs> {
        let permit = self.0.clone().try_acquire_owned().map_err(|_| Hangs)?;
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            // not before: whoever waited may be gone, the thread is not
            drop(permit);
            done
        });
        tokio::time::timeout(SLOW, working).await.ok().and_then(Result::ok).ok_or(Hangs)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_is_left_alone_and_only_so_many_times() {
        let readers = Arc::new(Readers::new());
        let (mut hanging, mut waiting) = (Vec::new(), Vec::new());
        for _ in 0..MOST_HANGING {
            let (release, released) = mpsc::channel::<()>();
            hanging.push(release);
            assert_eq!(readers.read(|| 1).await, Ok(1));
            let reading = readers.clone();
            waiting.push(tokio::spawn(async move { reading.read(move || released.recv()).await.err() }));
            tokio::task::yield_now().await;
            tokio::time::advance(SLOW).await;
        }
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Some(Hangs));
        }
        assert_eq!(readers.read(|| 1).await, Err(Hangs), "there is a thread more for what hangs");
        drop(hanging);
        // a thread that is let go is gone soon
        while readers.read(|| 1).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
