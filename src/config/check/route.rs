//! `routes`, with what `defaults` adds to them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::EncodedSlashes;
use crate::config::HostRewrite;
use crate::config::IdentityProvider;
use crate::config::Match;
use crate::config::Rewrite;
use crate::config::Route;
use crate::config::Scheme;
use crate::config::Timeouts;
use crate::config::Upstream;
use crate::config::check::At;
use crate::config::check::access;
use crate::config::check::client_certificate;
use crate::config::check::items;
use crate::config::check::layered::Layered;
use crate::config::check::lookup;
use crate::config::check::matches;
use crate::config::check::name;
use crate::config::check::positive;
use crate::config::check::shared;
use crate::config::check::treatment;
use crate::config::check::upstream::Target;
use crate::config::wire;
use crate::config::wire::File;
use crate::config::wire::upstream::Timeouts as TimeoutTexts;
use crate::domain::name::Name;

const CONNECT: Duration = Duration::from_secs(2);
const RESPONSE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(90);

/// What routes refer to.
struct Surroundings<'w, 'a> {
    root: &'w At<'a>,
    listeners: BTreeMap<Name, ()>,
    providers: &'w BTreeMap<Name, Option<Arc<IdentityProvider>>>,
    targets: BTreeMap<Name, Option<Target>>,
    /// What becomes of the requests of routes that do not say so.
    treatment: treatment::Said,
}

/// All routes without errors, with their places.
pub fn all<'a>(
    file: &File,
    providers: &BTreeMap<Name, Option<Arc<IdentityProvider>>>,
    root: &At<'a>,
) -> Vec<(Arc<Route>, At<'a>)> {
    let upstreams_at = root.key("upstreams");
    let target = |(text, wire): (&String, &wire::upstream::Upstream)| {
        let at = upstreams_at.key(text);
        let name = name(text, &at)?;
        timeouts_are_positive(wire.timeouts, &at.key("timeouts"));
        Some((name, Target::named(wire, &at)))
    };
    let base = file.defaults.as_ref().map(wire::route::Defaults::settings).unwrap_or_default();
    let base_at = root.key("defaults");
    let surroundings = Surroundings {
        root,
        listeners: listener_names(file),
        providers,
        targets: file.upstreams.iter().flatten().filter_map(target).collect(),
        treatment: treatment::base(&base, &base_at),
    };
    timeouts_are_positive(Some(base.timeouts), &base_at.key("timeouts"));
    let routes_at = root.key("routes");
    if file.routes.as_ref().is_none_or(BTreeMap::is_empty) {
        root.missing("routes", "write one at least, as in the shortest example of the reference");
    }
    let mut pool = Vec::new();
    let mut routes = Vec::new();
    for (text, wire) in file.routes.iter().flatten() {
        let at = routes_at.key(text);
        let layered = Layered { own: wire.settings(), base, at: at.clone(), base_at: base_at.clone() };
        let name = name(text, &at);
        if let Some(route) = surroundings.route(name, wire, &layered, &mut pool) {
            routes.push((Arc::new(route), at));
        }
    }
    routes
}

fn listener_names(file: &File) -> BTreeMap<Name, ()> {
    match &file.listeners {
        Some(listeners) if !listeners.is_empty() => {
            listeners.keys().filter_map(|name| Some((Name::parse(name)?, ()))).collect()
        }
        _ => Name::parse("default").map(|name| (name, ())).into_iter().collect(),
    }
}

impl Surroundings<'_, '_> {
    fn route(
        &self,
        name: Option<Name>,
        wire: &wire::route::Route,
        layered: &Layered<'_, '_>,
        pool: &mut Vec<Arc<Upstream>>,
    ) -> Option<Route> {
        let matches = self.matches(wire, layered);
        let listeners = self.route_listeners(layered);
        let access = access::check(layered, self.providers, self.root);
        let client_certificate = client_certificate::check(layered);
        let own = layered.own.timeouts;
        timeouts_are_positive(Some(own), &layered.at.key("timeouts"));
        let rewritten = self.strip_prefix(matches.as_ref(), layered);
        let treatment = treatment::check(&layered.own, &self.treatment, access.as_ref(), &layered.at);

        let (written, at) = layered.pick(&["upstream"], |settings| settings.upstream).or_else(|| {
            layered
                .at
                .missing("upstream", "write the name of an upstream, or a URL as in http://127.0.0.1:8000");
            None
        })?;
        let by_url;
        let target = if written.contains("://") || written.starts_with("unix:") {
            by_url = Target::at_url(written, &at)?;
            &by_url
        } else {
            let named = self.root.key("upstreams").key(written);
            if named.is_poisoned() && !self.targets.contains_key(written) {
                return None;
            }
            // no name has such signs in it
            if self.targets.is_empty() || written.contains([':', '.', '/']) {
                let message = format!("there is no upstream called `{}`", at.shown(written));
                at.error_with(message, "a URL begins with http:// or https://");
                return None;
            }
            lookup(&self.targets, written, "upstream", &at)?.1.as_ref()?
        };
        let access = access?;
        if access::exchanges(&access) && target.scheme() == Scheme::Http && !target.is_loopback() {
            let help = "use https://, or an upstream on this machine";
            at.warning(
                "exchanged tokens go to this upstream in clear: whoever shares the network reads them",
                help,
            );
        }
        let base = layered.base.timeouts;
        let named = target.timeouts;
        let first = |of: fn(&TimeoutTexts) -> Option<wire::scalar::DurationText>, built_in: Duration| {
            [own, named, base].iter().find_map(of).map_or(built_in, |text| text.0)
        };
        let connect = first(|timeouts| timeouts.connect, CONNECT);
        let host = layered.pick(&["rewrite", "host"], |settings| settings.rewrite?.host);
        Some(Route {
            name: name?,
            listeners: listeners?,
            matches: matches?,
            client_certificate: client_certificate?,
            access,
            rewrite: Rewrite {
                strip_prefix: rewritten?,
                host: match host {
                    Some((wire::route::HostRewrite::Preserve, _)) => HostRewrite::Preserve,
                    Some((wire::route::HostRewrite::Upstream, _)) => HostRewrite::Upstream,
                    None if target.is_loopback() => HostRewrite::Preserve,
                    None => HostRewrite::Upstream,
                },
            },
            upstream: shared(pool, target.with_connect_timeout(connect)),
            encoded_slashes: match layered.own.encoded_slashes.or(layered.base.encoded_slashes) {
                None | Some(wire::route::EncodedSlashes::Reject) => EncodedSlashes::Reject,
                Some(wire::route::EncodedSlashes::Keep) => EncodedSlashes::Keep,
            },
            timeouts: Timeouts {
                response: first(|timeouts| timeouts.response, RESPONSE),
                idle: first(|timeouts| timeouts.idle, IDLE),
            },
            treatment: treatment?,
        })
    }

    fn matches(&self, wire: &wire::route::Route, layered: &Layered<'_, '_>) -> Option<Match> {
        let at = layered.at.key("match");
        match &wire.r#match {
            Some(wire) => {
                // the short form has no `path` to point at
                let path_at = if at.key("path").is_written() { at.key("path") } else { at.clone() };
                matches::check(&wire.0, &at, &path_at)
            }
            None => {
                layered.at.missing("match", "write which requests it takes, as in match: /api");
                None
            }
        }
    }

    /// The listeners a route names; `Some(None)` = all of them.
    fn route_listeners(&self, layered: &Layered<'_, '_>) -> Option<Option<Vec<Name>>> {
        let Some((written, at)) = layered.pick(&["listeners"], |settings| settings.listeners) else {
            return Some(None);
        };
        let mut names = Vec::new();
        let mut complete = true;
        for (text, at) in items(Some(written), &at)? {
            let broken =
                self.root.key("listeners").key(text).is_poisoned() && !self.listeners.contains_key(text);
            if broken {
                continue;
            }
            match lookup(&self.listeners, text, "listener", &at) {
                Some((name, ())) => names.push(name.clone()),
                None => complete = false,
            }
        }
        (complete && !names.is_empty()).then_some(Some(names))
    }

    /// What is removed from the front of paths; `Some(None)` = nothing.
    fn strip_prefix(&self, matches: Option<&Match>, layered: &Layered<'_, '_>) -> Option<Option<String>> {
        let picked =
            layered.pick(&["rewrite", "strip_prefix"], |settings| settings.rewrite?.strip_prefix.as_deref());
        let Some((prefix, at)) = picked else { return Some(None) };
        let shown = at.shown(prefix);
        if let Some(complaint) = matches::not_canonical(prefix) {
            at.error_with(format!("`{shown}` is not a canonical path: {complaint}"), matches::CANONICAL);
            return None;
        }
        if prefix.ends_with('/') {
            at.error_with(
                format!("`{shown}` ends with /"),
                "leave the last / out; to strip nothing, leave the setting out",
            );
            return None;
        }
        let path = matches?.path.as_str();
        if !covers(prefix, path) {
            let message = format!("`{shown}` is not where the path `{path}` of {} begins", layered.at.line());
            at.error_with(message, "strip whole segments from the front of the path that the route takes");
            return None;
        }
        Some(Some(prefix.into()))
    }
}

/// Whether `prefix`, taken on segment boundaries, leads to `path`.
pub fn covers(prefix: &str, path: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
        None => false,
    }
}

fn timeouts_are_positive(texts: Option<TimeoutTexts>, at: &At<'_>) {
    let texts = texts.unwrap_or_default();
    positive(texts.connect, CONNECT, &at.key("connect"));
    positive(texts.response, RESPONSE, &at.key("response"));
    positive(texts.idle, IDLE, &at.key("idle"));
}
