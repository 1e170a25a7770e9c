//! How log lines look: one JSON object a line, or a line for a person. Both go to stderr.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use serde_json::Value;
use tracing::Event;
use tracing::Subscriber;
use tracing::dispatcher::SetGlobalDefaultError;
use tracing::field::DebugValue;
use tracing::field::Field;
use tracing::field::Visit;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::FormatEvent;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

use crate::domain::clock::Clock;
use crate::domain::clock::Timestamp;
use crate::domain::paint::Paint;
use crate::domain::printable;
use crate::telemetry::access_log;
use crate::telemetry::dial::Dial;
use crate::telemetry::dial::Form;
use crate::telemetry::flood::Floodgate;
use crate::telemetry::flood::Passage;
use crate::telemetry::outlet::Outlet;

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system has nothing for it.
    #[error("the log cannot be written")]
    System(#[from] io::Error),
    /// It is done already.
    #[error("logging is set up already")]
    Repeated(#[from] SetGlobalDefaultError),
}

/// Has what stands on `dial` written to stderr from now on; lines for a person with that `paint`. What is returned is kept until
/// there is nothing more to log.
///
/// # Errors
/// If the system has no descriptor or no thread for it, or it is done already.
pub fn begin(dial: Dial, clock: Clock, paint: Paint) -> Result<Outlet, Error> {
    let stderr = io::stderr().as_fd().try_clone_to_owned()?;
    let notice = notice(dial.clone(), clock.clone(), paint);
    let outlet = Outlet::new(stderr.into(), notice)?;
    let lines = Lines::new(dial.clone(), clock, paint);
    let layer = tracing_subscriber::fmt::layer().with_writer(outlet.spout()).event_format(lines);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer.with_filter(dial)))?;
    Ok(outlet)
}

/// The line that tells of lines that were lost.
fn notice(dial: Dial, clock: Clock, paint: Paint) -> impl Fn(u64) -> String + Send {
    move |lost| {
        let message = "lines of the log are lost: nobody read them, or there was no room for them".to_owned();
        let fields = Fields { message, members: Members(vec![("lost", Value::from(lost))]) };
        let (mut line, at) = (String::new(), Timestamp::new(clock.since_epoch()));
        // writing to a String does not fail
        let _ = write(
            &mut Writer::new(&mut line),
            dial.form(),
            at,
            tracing::Level::WARN,
            module_path!(),
            fields,
            paint,
        );
        line
    }
}

struct Lines {
    dial: Dial,
    clock: Clock,
    paint: Paint,
    gate: Floodgate,
}

impl Lines {
    fn new(dial: Dial, clock: Clock, paint: Paint) -> Self {
        Self { dial, clock, paint, gate: Floodgate::default() }
    }

    /// Holds what is told of a reason back while another line like it is fresh. The reason of every request, and its cause, are
    /// in the access log all the same.
    fn passage(&self, event: &tracing::Metadata<'_>, fields: &Fields) -> Passage {
        let is_access = event.target() == access_log::TARGET;
        match *event.level() <= tracing::Level::WARN && !is_access && fields.has("reason") {
            true => self.gate.passage(fields.kind(), self.clock.monotonic()),
            false => Passage::Open { suppressed: 0 },
        }
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level();
        match self.passage(event.metadata(), &fields) {
            Passage::Shut => return Ok(()),
            Passage::Open { suppressed: 0 } => {}
            Passage::Open { suppressed } => fields.members.0.push(("suppressed", Value::from(suppressed))),
        }
        let at = Timestamp::new(self.clock.since_epoch());
        write(&mut writer, self.dial.form(), at, *level, event.metadata().target(), fields, self.paint)
    }
}

fn write(
    writer: &mut Writer<'_>,
    form: Form,
    at: Timestamp,
    level: tracing::Level,
    target: &str,
    fields: Fields,
    paint: Paint,
) -> fmt::Result {
    match form {
        Form::Json => write_json(writer, at, level, target, fields),
        Form::Human => write_human(writer, at, level, target, fields, paint),
    }
}

fn write_json(
    writer: &mut Writer<'_>,
    at: Timestamp,
    level: tracing::Level,
    target: &str,
    fields: Fields,
) -> fmt::Result {
    let mut line = format!("{{\"ts\":\"{at}\",\"level\":\"{}\"", level.as_str().to_ascii_lowercase());
    let mut member = |name: &str, value: &Value| {
        line.push_str(&format!(",{}:{value}", Value::from(name)));
    };
    member("msg", &Value::from(fields.message));
    if target != access_log::TARGET {
        member("target", &Value::from(target));
    }
    for (name, value) in &fields.members {
        member(name, value);
    }
    line.push('}');
    writeln!(writer, "{}", printable::json(line))
}

fn write_human(
    writer: &mut Writer<'_>,
    at: Timestamp,
    level: tracing::Level,
    target: &str,
    mut fields: Fields,
    paint: Paint,
) -> fmt::Result {
    let (hour, minute, second) = at.time_of_day();
    let time = paint.dim(&format!("{hour:02}:{minute:02}:{second:02}"));
    write!(writer, "{time} {} ", painted(level, &format!("{level:<5}"), paint))?;
    if target == access_log::TARGET {
        let mut take = |name: &str| fields.members.shift_take(name);
        let [method, path, status, took] =
            ["http.request.method", "url.path", "http.response.status_code", "duration_ms"].map(&mut take);
        let status = painted(level, &plain(&status), paint);
        write!(writer, "{} {} {status} {}ms", plain(&method), plain(&path), plain(&took))?;
    } else {
        write!(writer, "{}", printable::escaped(&fields.message))?;
    }
    for (name, value) in &fields.members {
        write!(writer, " {}{}", paint.dim(&format!("{name}=")), plain(value))?;
    }
    writeln!(writer)
}

/// `text` as loud as its line is.
fn painted(level: tracing::Level, text: &str, paint: Paint) -> String {
    match level {
        tracing::Level::ERROR => paint.bad(text),
        tracing::Level::WARN => paint.doubtful(text),
        tracing::Level::INFO => paint.good(text),
        _ => paint.dim(text),
    }
}

/// A value for a person: text without quotes, and nothing that could move the cursor or forge a line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => printable::escaped(text).into_owned(),
        Value::Null => "-".into(),
        other => other.to_string(),
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    members: Members,
}

/// Fields in the order they were written.
#[derive(Default)]
struct Members(Vec<(&'static str, Value)>);

impl Members {
    fn shift_take(&mut self, name: &str) -> Value {
        match self.0.iter().position(|(own, _)| *own == name) {
            Some(at) => self.0.remove(at).1,
            None => Value::Null,
        }
    }
}

impl<'a> IntoIterator for &'a Members {
    type Item = &'a (&'static str, Value);
    type IntoIter = std::slice::Iter<'a, (&'static str, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// Lines of one message that agree in these are of one kind.
const KIND: [&str; 4] = ["reason", "route", "listener", "identity_provider"];

impl Fields {
    fn has(&self, name: &str) -> bool {
        self.members.0.iter().any(|(own, _)| *own == name)
    }

    /// What lines of a kind have in common: words of ours and names from the configuration.
    fn kind(&self) -> (&str, Vec<(&str, &str)>) {
        let members = self.members.0.iter().filter(|(name, _)| KIND.contains(name));
        (&self.message, members.filter_map(|(name, value)| Some((*name, value.as_str()?))).collect())
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.members.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, Value::from(report(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        // what is a list of numbers stays one
        let numbers = text.starts_with('[').then(|| serde_json::from_str::<Vec<u64>>(&text).ok()).flatten();
        self.add(field, numbers.map_or_else(|| Value::from(text), Value::from));
    }
}

/// Numbers as a field: a list in JSON; absent if there are none.
pub fn numbers(numbers: &[u64]) -> Option<DebugValue<&[u64]>> {
    (!numbers.is_empty()).then(|| tracing::field::debug(numbers))
}

/// A duration as a field, to three decimals.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// An error and all its sources in one line: each `Display` prints its own level only.
pub fn report(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::Mutex;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::config::AccessLog;
    use crate::config::LogFormat;
    use crate::config::Logs;
    use crate::domain::clock::UnixTime;
    use crate::telemetry::dial::Setting;

    fn line(
        form: impl Fn(&mut Writer<'_>, Timestamp, tracing::Level, &str, Fields) -> fmt::Result,
        target: &str,
    ) -> String {
        let members = Members(vec![
            ("http.request.method", "GET".into()),
            ("url.path", "/a\n{\"level\":\"forged\"}".into()),
            ("http.response.status_code", 200.into()),
            ("duration_ms", 1.5.into()),
            ("route", "orders".into()),
        ]);
        let mut out = String::new();
        let at = Timestamp::new(Duration::from_millis(1_493_678_600_250));
        form(
            &mut Writer::new(&mut out),
            at,
            tracing::Level::INFO,
            target,
            Fields { message: "request".into(), members },
        )
        .unwrap();
        out
    }

    #[test]
    fn a_json_line_is_one_object_whatever_it_holds() {
        let text = line(write_json, "obo_proxy::app");
        assert_eq!(text.lines().count(), 1);
        let members: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
        assert_eq!(members["ts"], "2017-05-01T22:43:20.250Z");
        assert_eq!(members["level"], "info");
        assert_eq!(members["msg"], "request");
        assert_eq!(members["url.path"], "/a\n{\"level\":\"forged\"}");
        assert_eq!(members["http.response.status_code"], 200);
    }

    #[test]
    fn no_line_holds_what_a_terminal_obeys() {
        let obeyed = "/\u{9b}2J\u{9d}0;x\u{9c}\u{202e}\u{2028}";
        let (at, level, target) = (Timestamp::new(Duration::ZERO), tracing::Level::INFO, "obo_proxy::app");
        let fields =
            || Fields { message: obeyed.into(), members: Members(vec![("url.path", obeyed.into())]) };
        let (mut json, mut human) = (String::new(), String::new());
        write_json(&mut Writer::new(&mut json), at, level, target, fields()).unwrap();
        write_human(&mut Writer::new(&mut human), at, level, target, fields(), Paint::Plain).unwrap();
        for out in [json, human] {
            assert!(out.trim_end_matches('\n').chars().all(printable::is_printable), "{out:?}");
        }
    }

    #[test]
    fn a_human_line_is_one_line_whatever_it_holds() {
        let human = |paint, target| {
            line(|out, at, level, target, fields| write_human(out, at, level, target, fields, paint), target)
        };
        let plain = human(Paint::Plain, access_log::TARGET);
        assert_eq!(plain, "22:43:20 INFO  GET /a\\n{\"level\":\"forged\"} 200 1.5ms route=orders\n");
        let coloured = human(Paint::Colours, access_log::TARGET);
        assert!(coloured.contains("\u{1b}[32m200\u{1b}[0m"), "{coloured:?}");
        let bare = ["\u{1b}[32m", "\u{1b}[2m", "\u{1b}[0m"]
            .iter()
            .fold(coloured, |text, escape| text.replace(escape, ""));
        assert_eq!(bare, plain);
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Sink {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_flood_of_warnings_is_one_line_a_second_for_each_kind_and_hides_no_other_line() {
        let (clock, sink) = (Clock::manual(UnixTime::from_seconds(1_493_678_600)), Sink::default());
        let logs = Logs { format: LogFormat::Json, level: "info".into(), access: AccessLog::On };
        let dial = Dial::at(Setting::of(&logs).unwrap());
        let layer = tracing_subscriber::fmt::layer().with_writer(sink.clone()).event_format(Lines::new(
            dial,
            clock.clone(),
            Paint::Plain,
        ));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            for _ in 0..2 {
                for request_id in 0..100 {
                    tracing::warn!(request_id, reason = "idp_unavailable", route = "orders", "refused");
                    tracing::warn!(request_id, reason = "idp_unavailable", route = "reports", "refused");
                    tracing::warn!(request_id, reason = "keys_unavailable", "refused");
                    tracing::error!(request_id, reason = "internal_error", "refused");
                    tracing::warn!(target: access_log::TARGET, request_id, reason = "idp_unavailable", "request");
                }
                clock.advance(Duration::from_secs(1));
            }
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let count = |level: &str, message: &str| {
            lines.iter().filter(|line| line["level"] == level && line["msg"] == message).count()
        };
        // the access log has a line for every request
        assert_eq!(
            (count("warn", "refused"), count("error", "refused"), count("warn", "request")),
            (6, 2, 200)
        );
        let (first, second): (Vec<&Value>, Vec<&Value>) = lines
            .iter()
            .filter(|line| line["level"] == "warn" && line["msg"] == "refused")
            .partition(|line| line["suppressed"].is_null());
        assert_eq!((first.len(), second.len()), (3, 3));
        assert!(second.iter().all(|line| line["suppressed"] == 99 && line["request_id"] == 0), "{second:?}");
    }
}
