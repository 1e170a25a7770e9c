//! `telemetry.traces`, and what OpenTelemetry's variables say where it does not.

use std::time::Duration;

use http::HeaderName;
use http::HeaderValue;
use url::Url;

use crate::config::HOP_BY_HOP;
use crate::config::OnParent;
use crate::config::Sampler;
use crate::config::Traces;
use crate::config::check::At;
use crate::config::check::endpoint;
use crate::config::check::words;
use crate::config::wire;
use crate::domain::secret::Secret;

/// Where a collector takes traces, below its base.
const PATH: &str = "/v1/traces";

/// The port on which collectors take OTLP over gRPC, which we do not speak.
const GRPC: u16 = 4317;

const RATIO: f64 = 0.1;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where traces go; `None` if there are none. The file comes first, then OpenTelemetry's variables. One of those that
/// cannot be understood is told and taken for absent, as OpenTelemetry wants it.
pub fn traces(written: Option<&wire::server::Traces>, at: &At<'_>) -> Option<Traces> {
    let is = |name: &str, word: &str| variable(at, name).is_some_and(|text| text.eq_ignore_ascii_case(word));
    let endpoint = match written.and_then(|traces| traces.otlp.as_deref()) {
        Some(text) => of_file(text, &at.key("otlp")),
        None => of_environment(at),
    };
    let sampler = sampler(written.and_then(|traces| traces.sample_ratio), at);
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    let is_named = written.is_some_and(|traces| traces.otlp.is_some());
    if endpoint.is_none() && written.is_some() && !is_named && first(at, ENDPOINTS).is_none() {
        at.missing("otlp", "write the URL of a collector, or set OTEL_EXPORTER_OTLP_ENDPOINT");
    }
    Some(Traces {
        endpoint: endpoint?,
        headers: headers(at),
        timeout: timeout(at),
        resource: resource(at),
        sampler,
    })
}

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];

/// Fields that say where a request goes, how long it is and what it holds, beside those of the connection.
const OURS: [&str; 5] = ["host", "content-length", "content-type", "content-encoding", "trailer"];

/// A variable that says something: an empty one is taken for absent.
fn variable<'a>(at: &At<'a>, name: &str) -> Option<&'a str> {
    at.environment(name).map(str::trim).filter(|text| !text.is_empty())
}

/// The first of two variables that says something, and which it is.
fn first<'a>(at: &At<'a>, names: [&'static str; 2]) -> Option<(&'static str, &'a str)> {
    names.into_iter().find_map(|name| Some((name, variable(at, name)?)))
}

fn ignored(at: &At<'_>, name: &str, form: &str) {
    at.warning(format!("the environment variable `{name}` cannot be used and is ignored"), form);
}

fn of_file(text: &str, at: &At<'_>) -> Option<String> {
    let url = endpoint::parse(text, at)?;
    if url.port() == Some(GRPC) {
        let help = "traces are sent over HTTP, which collectors take at port 4318: write that";
        at.warning(format!("{GRPC} is where collectors take traces over gRPC"), help);
    }
    Some(below(&url))
}

fn below(url: &Url) -> String {
    let mut url = url.clone();
    let path = format!("{}{PATH}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url.into()
}

fn of_environment(at: &At<'_>) -> Option<String> {
    let (name, text) = first(at, ENDPOINTS)?;
    let is_usable = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && url.port() != Some(0)
    };
    let Some(url) = Url::parse(text).ok().filter(is_usable) else {
        ignored(at, name, "set it as http://host:4318, without user name or password");
        return None;
    };
    let [of_traces, _] = ENDPOINTS;
    Some(if name == of_traces { url.into() } else { below(&url) })
}

fn sampler(ratio: Option<wire::scalar::Ratio>, at: &At<'_>) -> Sampler {
    if let Some(ratio) = ratio {
        return Sampler { on_parent: OnParent::Follow, ratio: ratio.0 };
    }
    let default = Sampler { on_parent: OnParent::Follow, ratio: RATIO };
    let Some(name) = variable(at, "OTEL_TRACES_SAMPLER") else { return default };
    let argument = || {
        let Some(text) = variable(at, "OTEL_TRACES_SAMPLER_ARG") else { return 1.0 };
        wire::scalar::ratio(text).unwrap_or_else(|| {
            ignored(at, "OTEL_TRACES_SAMPLER_ARG", "set it to a number from 0 to 1");
            1.0
        })
    };
    let (on_parent, base) = match name.strip_prefix("parentbased_") {
        Some(base) => (OnParent::Follow, base),
        None => (OnParent::Ignore, name),
    };
    match base {
        "always_on" => Sampler { on_parent, ratio: 1.0 },
        "always_off" => Sampler { on_parent, ratio: 0.0 },
        "traceidratio" => Sampler { on_parent, ratio: argument() },
        _ => {
            let form =
                "set it to always_on, always_off or traceidratio, or to one of these after parentbased_";
            ignored(at, "OTEL_TRACES_SAMPLER", form);
            default
        }
    }
}

fn headers(at: &At<'_>) -> Vec<(HeaderName, Secret)> {
    let Some((name, text)) = first(at, HEADERS) else { return Vec::new() };
    let header = |(name, value): (String, String)| {
        HeaderValue::from_str(&value).ok()?;
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, Secret::new(value)))
    };
    let is_ours = |name: &HeaderName| OURS.contains(&name.as_str()) || HOP_BY_HOP.contains(&name.as_str());
    let headers = pairs(text).and_then(|pairs| pairs.into_iter().map(header).collect::<Option<Vec<_>>>());
    let Some(headers) = headers else {
        // it may hold a key: nothing of it is shown
        ignored(at, name, "set it as name=value,name=value with values percent-encoded");
        return Vec::new();
    };
    if let Some((own, _)) = headers.iter().find(|(name, _)| is_ours(name)) {
        ignored(at, name, &format!("take `{own}` out of it: the proxy itself says how a request is framed"));
        return Vec::new();
    }
    headers
}

fn timeout(at: &At<'_>) -> Duration {
    let Some((name, text)) = first(at, TIMEOUTS) else { return TIMEOUT };
    match text.parse::<u32>() {
        Ok(milliseconds) if milliseconds > 0 => Duration::from_millis(milliseconds.into()),
        _ => {
            ignored(at, name, "set it to a number of milliseconds");
            TIMEOUT
        }
    }
}

fn resource(at: &At<'_>) -> Vec<(String, String)> {
    const NAME: &str = "service.name";
    let said = variable(at, "OTEL_RESOURCE_ATTRIBUTES").map(|text| {
        let is_word = |(name, value): &(String, String)| words::is_word(name) && words::is_word(value);
        pairs(text).filter(|pairs| pairs.iter().all(is_word)).unwrap_or_else(|| {
            let form = "set it as name=value,name=value with values percent-encoded";
            ignored(at, "OTEL_RESOURCE_ATTRIBUTES", form);
            Vec::new()
        })
    });
    let mut resource = said.unwrap_or_default();
    if let Some(name) = variable(at, "OTEL_SERVICE_NAME") {
        resource.retain(|(key, _)| key != NAME);
        resource.push((NAME.into(), name.into()));
    }
    for (name, value) in [(NAME, env!("CARGO_PKG_NAME")), ("service.version", env!("CARGO_PKG_VERSION"))] {
        if !resource.iter().any(|(key, _)| key == name) {
            resource.push((name.into(), value.into()));
        }
    }
    resource
}

/// A list of `name=value` with commas between, values percent-encoded (W3C Baggage, as OpenTelemetry uses it).
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let name = name.trim();
        (!name.is_empty()).then_some((name.to_owned(), decoded(value.trim())?))
    };
    text.split(',').filter(|item| !item.trim().is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        match (first, behind.split_at_checked(2)) {
            (b'%', Some((digits, behind))) if digits.iter().all(u8::is_ascii_hexdigit) => {
                bytes.push(u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?);
                rest = behind;
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).ok()
}
