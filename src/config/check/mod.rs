//! From what a file says to a [`Config`] that cannot be wrong.
//!
//! **In:** the wire types, and the tree they were read from for positions. **Out:** a checked [`Config`], and every
//! problem on the way. **Never:** stops at the first problem, or shows a value without asking `mask`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path as FilePath;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::Config;
use crate::config::Environment;
use crate::config::Variable;
use crate::config::Written;
use crate::config::mask;
use crate::config::node::Kind;
use crate::config::node::Node;
use crate::config::node::Path;
use crate::config::node::Place;
use crate::config::node::Segment;
use crate::config::problem::Problem;
use crate::config::problem::Severity;
use crate::config::tree::Tree;
use crate::config::tree::closest;
use crate::config::wire::File;
use crate::config::wire::scalar::DurationText;
use crate::config::wire::scalar::OneOrMany;
use crate::config::wire::scalar::Workers;
use crate::domain::clock::UnixTime;
use crate::domain::name::Name;

mod access;
mod address;
mod admin;
mod algorithm;
mod client_certificate;
mod cors;
mod credential;
mod egress;
mod endpoint;
mod entra;
mod exchange;
mod fields;
mod file;
mod identity_provider;
mod layered;
mod listener;
mod managed_identity;
mod matches;
mod oidc;
mod overlap;
mod pem;
mod redis;
mod retry;
mod route;
mod secret;
mod server;
mod tls;
mod traces;
mod treatment;
mod upstream;
mod variables;
mod words;

pub use crate::config::check::file::Look;
pub use crate::config::check::server::is_log_filter;

/// The most names that advice lists.
const MOST_NAMES: usize = 5;

/// What the checks need beside the wire types.
pub struct Check<'a> {
    /// Positions.
    pub tree: &'a Tree,
    /// The process environment, handed in.
    pub environment: &'a Environment,
    /// How closely the files are looked at that it names.
    pub look: Look,
    /// The variables that something was read from.
    read: RefCell<BTreeSet<String>>,
    problems: RefCell<Vec<Problem>>,
}

/// Checks `file`, and looks at the files it names. The configuration is to be used only if none of the problems is an
/// error.
pub fn check(
    file: &File,
    tree: &Tree,
    environment: &Environment,
    look: Look,
) -> (Option<Config>, Vec<Problem>) {
    let (read, problems) = (RefCell::default(), RefCell::default());
    let check = Check { tree, environment, look, read, problems };
    let root = At { check: &check, path: Path::default() };
    let config = whole(file, root);
    variables::warn(&check);
    (config, check.problems.into_inner())
}

fn whole(file: &File, root: At<'_>) -> Option<Config> {
    if file.version.is_some_and(|version| version != 1) {
        root.key("version").error("the only version of this format is 1");
    }
    let listeners = listener::all(file.listeners.as_ref(), &root.key("listeners"));
    let telemetry = server::telemetry(file.telemetry.as_ref(), &root.key("telemetry"));
    let admin = admin::check(file.admin.as_ref(), &root.key("admin"));
    address::no_clash(&listeners, telemetry.as_ref(), admin.as_ref(), &root);
    let providers = identity_provider::all(file.identity_providers.as_ref(), &root.key("identity_providers"));
    let routes = route::all(file, &providers, &root);
    overlap::check(&routes);
    client_certificate::can_be_shown(&routes, &listeners);
    Some(Config {
        workers: file.workers.and_then(|workers| match workers {
            Workers::Auto => None,
            Workers::Count(count) => Some(count),
        }),
        listeners,
        identity_providers: providers.into_values().flatten().collect(),
        routes: routes.into_iter().map(|(route, _)| route).collect(),
        cache: server::cache(file.cache.as_ref(), &root.key("cache")),
        telemetry: telemetry?,
        limits: server::limits(file.limits.as_ref(), &root.key("limits")),
        shutdown: server::shutdown(file.shutdown.as_ref()),
        admin,
        written: Written::of(&root.check.tree.root, &root.check.tree.sources),
    })
}

/// A place in the configuration, to complain about.
#[derive(Clone)]
pub struct At<'a> {
    check: &'a Check<'a>,
    path: Path,
}

impl<'a> At<'a> {
    /// The place of a key below.
    pub fn key(&self, key: &str) -> Self {
        Self { check: self.check, path: self.path.key(key) }
    }

    /// The place of an item; of a list that is written as one text or map, that.
    pub fn item(&self, item: usize) -> Self {
        match self.node().map(|node| &node.kind) {
            Some(Kind::List(_)) => Self { check: self.check, path: self.path.and(Segment::Item(item)) },
            _ => self.clone(),
        }
    }

    /// What is wrong here.
    pub fn error(&self, message: impl Into<String>) {
        self.report(Severity::Error, self.place(), message.into(), None);
    }

    /// What is wrong here, and what to do.
    pub fn error_with(&self, message: impl Into<String>, help: impl Into<String>) {
        self.report(Severity::Error, self.place(), message.into(), Some(help.into()));
    }

    /// What is wrong with the key itself.
    pub fn key_error(&self, message: impl Into<String>, help: impl Into<String>) {
        self.report(Severity::Error, self.key_place(), message.into(), Some(help.into()));
    }

    /// What is probably not meant, and what to do.
    pub fn warning(&self, message: impl Into<String>, help: impl Into<String>) {
        self.report(Severity::Warning, self.place(), message.into(), Some(help.into()));
    }

    /// What was found here, and what to do.
    pub fn found(&self, severity: Severity, message: impl Into<String>, help: impl Into<String>) {
        self.report(severity, self.place(), message.into(), Some(help.into()));
    }

    /// Warns if the file at `path`, which is named here, cannot be read now; `help` says what follows from that. What is
    /// in it, if files are looked into.
    pub fn look_at(&self, path: &FilePath, help: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.check.look.at(path).unwrap_or_else(|complaint| {
            self.warning(complaint, help);
            None
        })
    }

    /// What is in the file at `path`, if files are looked into and it can be read.
    pub fn look_into(&self, path: &FilePath) -> Option<Zeroizing<Vec<u8>>> {
        self.check.look.at(path).ok().flatten()
    }

    /// What time it is, if files are looked into.
    pub fn time(&self) -> Option<UnixTime> {
        match self.check.look {
            Look::Into(now) => Some(now),
            Look::Away | Look::At => None,
        }
    }

    /// `key` is missing here, unless something was said about it already.
    pub fn missing(&self, key: &str, help: impl Into<String>) {
        if self.check.tree.poisoned.touches(&self.path.key(key)) {
            return;
        }
        let message = match self.path.0.is_empty() {
            true => format!("`{key}` is missing"),
            false => format!("`{key}` is missing in `{}`", mask::shown_path(&self.path)),
        };
        self.report(Severity::Error, self.place(), message, Some(help.into()));
    }

    /// Whether a problem here, above or below was reported already.
    pub fn is_poisoned(&self) -> bool {
        self.check.tree.poisoned.touches(&self.path)
    }

    /// `value` as a message may show it.
    pub fn shown(&self, value: &str) -> String {
        mask::shown(&self.path, value)
    }

    /// `name`, a key that stands here, as a message may show it.
    pub fn shown_name(&self, name: &str) -> String {
        mask::shown_key(&self.path.key(name))
    }

    /// How several values are written here.
    pub fn list_form(&self) -> &'static str {
        match self.place() {
            Place::Environment(_) => "write several with commas between: a,b",
            Place::File { .. } => "write several as a list: [a, b]",
        }
    }

    /// Whether something is written here.
    pub fn is_written(&self) -> bool {
        self.node().is_some_and(|node| !matches!(node.kind, Kind::Nil))
    }

    /// Whether what is here stands in a file, not in the environment.
    pub fn is_in_file(&self) -> bool {
        matches!(self.place(), Place::File { .. })
    }

    /// `file:line` of this place, to name it in a problem of another.
    pub fn line(&self) -> String {
        match self.key_place() {
            Place::Environment(variable) => format!("environment variable {variable}"),
            Place::File { file, span } => {
                let name = self.check.tree.sources.get(file).map_or("", |source| source.name.as_str());
                span.map_or_else(|| name.into(), |span| format!("{name}:{}", span.line))
            }
        }
    }

    /// Sorts places as a reader meets them.
    pub fn order(&self) -> Place {
        self.key_place()
    }

    /// A variable of the process environment. One that is no text is taken for absent, and that is told once.
    pub fn environment(&self, name: &str) -> Option<&'a str> {
        let is_told = self.check.read.borrow().contains(name);
        match self.variable(name)? {
            Variable::Text(text) => Some(text),
            Variable::NotText => {
                if !is_told {
                    let message = format!("the environment variable `{name}` is not UTF-8 and is ignored");
                    self.warning(message, "set it to a text in UTF-8, or unset it");
                }
                None
            }
        }
    }

    /// A variable of the process environment as it is, for one that has to be there.
    pub fn variable(&self, name: &str) -> Option<Variable<'a>> {
        self.check.read.borrow_mut().insert(name.to_owned());
        self.check.environment.variable(name)
    }

    fn node(&self) -> Option<&'a Node> {
        self.check.tree.root.find(&self.path)
    }

    fn place(&self) -> Place {
        self.nearest().place().clone()
    }

    fn key_place(&self) -> Place {
        let origin = &self.nearest().origin;
        origin.key.as_ref().unwrap_or(&origin.value).clone()
    }

    /// The node here, or the closest one above.
    fn nearest(&self) -> &'a Node {
        let mut path = self.path.clone();
        loop {
            if let Some(node) = self.check.tree.root.find(&path) {
                return node;
            }
            if path.0.pop().is_none() {
                return &self.check.tree.root;
            }
        }
    }

    fn report(&self, severity: Severity, place: Place, message: String, help: Option<String>) {
        let problem = self.check.tree.problem(severity, &place, message, help);
        self.check.problems.borrow_mut().push(problem);
    }
}

/// The name a map entry has, if it may have it.
fn name(text: &str, at: &At<'_>) -> Option<Name> {
    let name = Name::parse(text);
    if name.is_none() {
        let help = "names begin with a-z and go on with a-z, 0-9 and _: they are metric labels";
        at.key_error(format!("`{}` cannot be a name", mask::shown_key(&at.path)), help);
    }
    name
}

/// The items of a list with their places; `None` if there is no list, an error if it is empty.
fn items<'w, 'a>(list: Option<&'w OneOrMany>, at: &At<'a>) -> Option<Vec<(&'w str, At<'a>)>> {
    let list = list?;
    if list.0.is_empty() && !at.is_poisoned() {
        at.error_with("this list is empty", "leave it out for the default");
    }
    Some(list.0.iter().enumerate().map(|(item, text)| (text.as_str(), at.item(item))).collect())
}

/// The entry of `map` called `wanted`; an error with a suggestion if there is none.
fn lookup<'m, T>(
    map: &'m BTreeMap<Name, T>,
    wanted: &str,
    what: &str,
    at: &At<'_>,
) -> Option<(&'m Name, &'m T)> {
    let found = map.get_key_value(wanted);
    if found.is_none() {
        let message = format!("there is no {what} called `{}`", at.shown(wanted));
        let names = map.keys().map(Name::as_str);
        match closest(wanted, names.clone()) {
            Some(meant) => at.error_with(message, format!("did you mean `{meant}`?")),
            None if map.is_empty() => at.error(message),
            None => {
                let more = (map.len() > MOST_NAMES).then_some("...");
                let names: Vec<&str> = names.take(MOST_NAMES).chain(more).collect();
                at.error_with(message, format!("there is: {}", names.join(", ")));
            }
        }
    }
    found
}

/// A text that is neither empty nor holds white space or anything but ASCII.
fn visible(text: &str, what: &str, at: &At<'_>) -> Option<String> {
    if !words::is_visible(text) {
        at.error(format!("`{}` is not {what}", at.shown(text)));
        return None;
    }
    Some(text.into())
}

/// A duration that must not be zero, or its default.
fn positive(text: Option<DurationText>, default: std::time::Duration, at: &At<'_>) -> std::time::Duration {
    let duration = text.map_or(default, |text| text.0);
    if duration.is_zero() {
        at.error("this must be longer than nothing");
    }
    duration
}

/// `value` shared with an equal one in `pool`.
fn shared<T: PartialEq>(pool: &mut Vec<Arc<T>>, value: T) -> Arc<T> {
    if let Some(same) = pool.iter().find(|other| ***other == value) {
        return Arc::clone(same);
    }
    let new = Arc::new(value);
    pool.push(Arc::clone(&new));
    new
}
