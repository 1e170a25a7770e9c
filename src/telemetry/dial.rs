//! What is logged, turned up or down while the process runs. Asking costs a log line no lock: requests ask all the time.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use arc_swap::ArcSwap;
use tracing::Metadata;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::subscriber::Interest;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::Context;
use tracing_subscriber::layer::Filter;

use crate::config::AccessLog;
use crate::config::LogFormat;
use crate::config::Logs;
use crate::telemetry::access_log;
use crate::telemetry::audit;
use crate::telemetry::interventions;

/// Says what is logged from now on. Clones turn the same.
#[derive(Clone, Debug)]
pub struct Dial {
    setting: Arc<ArcSwap<Setting>>,
    hand: Arc<Mutex<Hand>>,
}

/// What is to be logged, and in what form.
#[derive(Debug)]
pub struct Setting {
    filter: EnvFilter,
    /// Of exchanges: as configured, whatever is turned by hand.
    audit: EnvFilter,
    form: Form,
    /// What it was made of.
    logs: Logs,
}

/// Who turned it last: a level by hand holds until it is taken back, whatever the configuration says meanwhile.
#[derive(Debug)]
struct Hand {
    /// What the configuration in use says.
    configured: Logs,
    /// The level by hand, and which of all of them it is.
    level: Option<(String, Turn)>,
    turns: u64,
}

/// One turn by hand, for whoever takes it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn(u64);

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The level in force.
    pub level: String,
    /// What the configuration in use says.
    pub configured: String,
    /// By which turn it stands where it does; `None` = the configuration's.
    pub turn: Option<Turn>,
}

/// What decides whether a line is written.
enum Judge<'a> {
    /// It is decided.
    Settled(bool),
    /// This one does.
    Filter(&'a EnvFilter),
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object.
    Json,
    /// For a person.
    Human,
}

impl Setting {
    /// What `logs` says.
    ///
    /// # Errors
    /// If the level is no filter that `tracing` understands.
    pub fn of(logs: &Logs) -> Result<Self, ParseError> {
        Self::at_level(logs, &logs.level)
    }

    /// What `logs` says, but for the level.
    fn at_level(logs: &Logs, level: &str) -> Result<Self, ParseError> {
        let (filter, audit) = (level.parse()?, logs.level.parse()?);
        let form = match logs.format {
            LogFormat::Json => Form::Json,
            LogFormat::Human => Form::Human,
            LogFormat::Auto if std::io::stderr().is_terminal() => Form::Human,
            LogFormat::Auto => Form::Json,
        };
        Ok(Self { filter, audit, form, logs: logs.clone() })
    }

    /// Who decides about lines like that. What a record is made of is nobody's to turn: a directive may name its target, and
    /// one that names its fields as well would win over any that we could add.
    fn judge(&self, metadata: &Metadata<'_>) -> Judge<'_> {
        match metadata.target() {
            access_log::TARGET => Judge::Settled(self.logs.access == AccessLog::On),
            interventions::TARGET => Judge::Settled(*metadata.level() <= LevelFilter::INFO),
            audit::TARGET => Judge::Filter(&self.audit),
            _ => Judge::Filter(&self.filter),
        }
    }
}

impl Dial {
    /// One that stands at `setting`.
    pub fn at(setting: Setting) -> Self {
        let hand = Hand { configured: setting.logs.clone(), level: None, turns: 0 };
        Self { setting: Arc::new(ArcSwap::from_pointee(setting)), hand: Arc::new(Mutex::new(hand)) }
    }

    /// Turns it to `setting`, as the configuration says. A level by hand goes on to hold.
    pub fn turn(&self, setting: Setting) {
        let mut hand = self.hand();
        hand.configured = setting.logs.clone();
        let by_hand = hand.level.as_ref().map(|(level, _)| Setting::at_level(&hand.configured, level));
        // one by hand was a filter before
        self.set(by_hand.and_then(Result::ok).unwrap_or(setting));
    }

    /// Turns it to `level` by hand, in place of what the configuration says.
    ///
    /// # Errors
    /// If that is no filter that `tracing` understands.
    pub fn turn_by_hand(&self, level: &str) -> Result<Turn, ParseError> {
        let mut hand = self.hand();
        let setting = Setting::at_level(&hand.configured, level)?;
        hand.turns = hand.turns.wrapping_add(1);
        let turn = Turn(hand.turns);
        hand.level = Some((level.to_owned(), turn));
        self.set(setting);
        Ok(turn)
    }

    /// Takes a turn by hand back, unless there was another one since; any, if it is `None`.
    pub fn take_back(&self, turn: Option<Turn>) {
        let mut hand = self.hand();
        if turn.is_some() && hand.level.as_ref().map(|(_, turn)| *turn) != turn {
            return;
        }
        hand.level = None;
        if let Ok(setting) = Setting::of(&hand.configured) {
            self.set(setting);
        }
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let hand = self.hand();
        let configured = hand.configured.level.clone();
        let (level, turn) = hand.level.clone().unzip();
        Standing { level: level.unwrap_or_else(|| configured.clone()), configured, turn }
    }

    fn set(&self, setting: Setting) {
        self.setting.store(Arc::new(setting));
        // places in the code that log remember whether they are wanted
        tracing::callsite::rebuild_interest_cache();
    }

    /// Each change under this lock is whole.
    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The form of lines now.
    pub fn form(&self) -> Form {
        self.setting.load().form
    }

    fn ask<T>(&self, question: impl FnOnce(&EnvFilter) -> T) -> T {
        question(&self.setting.load().filter)
    }
}

/// Whatever stands on the dial decides.
impl<S: Subscriber> Filter<S> for Dial {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        match self.setting.load().judge(metadata) {
            Judge::Settled(is_on) => is_on,
            Judge::Filter(filter) => Filter::<S>::enabled(filter, metadata, context),
        }
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        match self.setting.load().judge(metadata) {
            Judge::Settled(true) => Interest::always(),
            Judge::Settled(false) => Interest::never(),
            Judge::Filter(filter) => Filter::<S>::callsite_enabled(filter, metadata),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // what is not the filter's to say is at info at most
        self.ask(Filter::<S>::max_level_hint).map(|most| most.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        self.ask(|filter| Filter::<S>::on_new_span(filter, attributes, id, context));
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        self.ask(|filter| Filter::<S>::on_record(filter, id, values, context));
    }

    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        self.ask(|filter| Filter::<S>::on_enter(filter, id, context));
    }

    fn on_exit(&self, id: &span::Id, context: Context<'_, S>) {
        self.ask(|filter| Filter::<S>::on_exit(filter, id, context));
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        self.ask(|filter| Filter::<S>::on_close(filter, id, context));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing::Event;
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// Counts what it is given.
    #[derive(Clone, Default)]
    struct Count(Arc<Mutex<usize>>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            *self.0.lock().unwrap() += 1;
        }
    }

    fn setting(level: &str, access: AccessLog) -> Setting {
        Setting::of(&Logs { format: LogFormat::Json, level: level.into(), access }).unwrap()
    }

    #[test]
    fn what_is_logged_follows_the_dial() {
        let (dial, count) = (Dial::at(setting("info", AccessLog::On)), Count::default());
        let subscriber = tracing_subscriber::registry().with(count.clone().with_filter(dial.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let logged = || {
                let before = *count.0.lock().unwrap();
                tracing::debug!("detail");
                tracing::info!("news");
                tracing::info!(target: access_log::TARGET, "request");
                *count.0.lock().unwrap() - before
            };
            assert_eq!(logged(), 2);
            for (level, access, expected) in [
                ("debug", AccessLog::On, 3),
                ("debug", AccessLog::Off, 2),
                ("error", AccessLog::Off, 0),
                ("error", AccessLog::On, 1),
                ("off,obo_proxy::telemetry=debug", AccessLog::Off, 2),
                ("info", AccessLog::On, 2),
            ] {
                dial.turn(setting(level, access));
                assert_eq!(logged(), expected, "{level} {access:?}");
            }
        });
    }

    #[test]
    fn no_level_hides_what_is_recorded_and_none_by_hand_what_is_recorded_of_exchanges() {
        let logged = |dial: &Dial| {
            let count = Count::default();
            let subscriber = tracing_subscriber::registry().with(count.clone().with_filter(dial.clone()));
            tracing::subscriber::with_default(subscriber, || {
                [
                    || tracing::info!(target: access_log::TARGET, request_id = "a", "request"),
                    || tracing::info!(target: interventions::TARGET, action = "a", "intervention"),
                    || tracing::info!(target: audit::TARGET, outcome = "ok", "exchange"),
                ]
                .map(|log| {
                    let before = *count.0.lock().unwrap();
                    log();
                    *count.0.lock().unwrap() - before
                })
            })
        };
        for level in [
            "off",
            "info,admin[{action}]=off,access[{request_id}]=off,audit[{outcome}]=off",
            "info,admin=off,access=off,audit=off",
            "info,[{action}]=off,[{request_id}]=off,[{outcome}]=off",
            "off,admin[{action=a}]=off",
        ] {
            let dial = Dial::at(setting("info", AccessLog::On));
            dial.turn_by_hand(level).unwrap();
            assert_eq!(logged(&dial), [1, 1, 1], "{level} by hand");
            // configured, it says what it says of exchanges: docs/operations.md has that
            let [access, interventions, _] = logged(&Dial::at(setting(level, AccessLog::On)));
            assert_eq!((access, interventions), (1, 1), "{level}");
        }
        for (level, expected) in
            [("info", 1), ("warn", 0), ("info,audit=off", 0), ("warn,audit=info", 1), ("off", 0)]
        {
            let dial = Dial::at(setting(level, AccessLog::Off));
            assert_eq!(logged(&dial), [0, 1, expected], "{level}");
            dial.turn_by_hand("trace").unwrap();
            assert_eq!(logged(&dial), [0, 1, expected], "{level}, and trace by hand");
        }
    }

    #[test]
    fn a_level_by_hand_holds_until_it_is_taken_back_whatever_is_configured() {
        let dial = Dial::at(setting("info", AccessLog::On));
        let stands = |level: &str, configured: &str| {
            let standing = dial.standing();
            assert_eq!((standing.level.as_str(), standing.configured.as_str()), (level, configured));
            let max = Filter::<tracing_subscriber::Registry>::max_level_hint(&dial);
            let level: LevelFilter = level.parse().unwrap();
            // request lines go up to info
            assert_eq!(max, Some(level.max(LevelFilter::INFO)));
            assert_eq!(dial.ask(ToString::to_string), level.to_string());
        };
        stands("info", "info");
        let first = dial.turn_by_hand("debug").unwrap();
        stands("debug", "info");
        dial.turn(setting("warn", AccessLog::On));
        stands("debug", "warn");
        let second = dial.turn_by_hand("error").unwrap();
        dial.take_back(Some(first));
        stands("error", "warn");
        assert!(dial.turn_by_hand("a=b=c").is_err());
        stands("error", "warn");
        assert_eq!(dial.standing().turn, Some(second));
        dial.take_back(Some(second));
        stands("warn", "warn");
        dial.turn_by_hand("trace").unwrap();
        dial.take_back(None);
        assert_eq!(dial.standing().turn, None);
        stands("warn", "warn");
    }

    #[test]
    fn a_level_that_is_no_filter_is_refused() {
        let logs = Logs { format: LogFormat::Json, level: "a=b=c".into(), access: AccessLog::On };
        assert!(Setting::of(&logs).is_err());
    }
}
