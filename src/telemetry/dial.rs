//! What is logged, turned up or down while the process runs. Asking costs a log line no lock: requests ask all the time.

use std::io::IsTerminal;
use std::sync::Arc;

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

/// Says what is logged from now on. Clones turn the same.
#[derive(Clone, Debug)]
pub struct Dial(Arc<ArcSwap<Setting>>);

/// What is to be logged, and in what form.
#[derive(Debug)]
pub struct Setting {
    filter: EnvFilter,
    form: Form,
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
        let access = match logs.access {
            AccessLog::On => "trace",
            AccessLog::Off => "off",
        };
        let filter = format!("{},{}={access}", logs.level, access_log::TARGET).parse()?;
        let form = match logs.format {
            LogFormat::Json => Form::Json,
            LogFormat::Human => Form::Human,
            LogFormat::Auto if std::io::stderr().is_terminal() => Form::Human,
            LogFormat::Auto => Form::Json,
        };
        Ok(Self { filter, form })
    }
}

impl Dial {
    /// One that stands at `setting`.
    pub fn at(setting: Setting) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(setting)))
    }

    /// Turns it to `setting`.
    pub fn turn(&self, setting: Setting) {
        self.0.store(Arc::new(setting));
        // places in the code that log remember whether they are wanted
        tracing::callsite::rebuild_interest_cache();
    }

    /// The form of lines now.
    pub fn form(&self) -> Form {
        self.0.load().form
    }

    fn ask<T>(&self, question: impl FnOnce(&EnvFilter) -> T) -> T {
        question(&self.0.load().filter)
    }
}

/// Whatever stands on the dial decides.
impl<S: Subscriber> Filter<S> for Dial {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.ask(|filter| Filter::<S>::enabled(filter, metadata, context))
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.ask(|filter| Filter::<S>::callsite_enabled(filter, metadata))
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.ask(Filter::<S>::max_level_hint)
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
    fn a_level_that_is_no_filter_is_refused() {
        let logs = Logs { format: LogFormat::Json, level: "a=b=c".into(), access: AccessLog::On };
        assert!(Setting::of(&logs).is_err());
    }
}
