//! The merged configuration with everything needed to say what is wrong with it.

use serde::de::DeserializeOwned;

use crate::config::de;
use crate::config::de::Fault;
use crate::config::layers::Layers;
use crate::config::mask;
use crate::config::node::Kind;
use crate::config::node::Node;
use crate::config::node::Path;
use crate::config::node::Place;
use crate::config::node::Poisoned;
use crate::config::node::Segment;
use crate::config::problem::Location;
use crate::config::problem::Problem;
use crate::config::problem::Severity;
use crate::config::source::Source;
use crate::domain::printable;

/// How many problems of form are looked for.
const MAX_FAULTS: usize = 100;

/// The merged values, the texts they come from, and what was found wrong already.
pub struct Tree {
    /// The values.
    pub root: Node,
    /// The files.
    pub sources: Vec<Source>,
    /// Where something was reported already.
    pub poisoned: Poisoned,
}

impl Tree {
    /// The tree of `layers`, with the complaints of their files, and whether all files could be read to the end.
    pub fn new(layers: Layers) -> (Self, Vec<Problem>, bool) {
        let (sources, rest): (Vec<_>, Vec<_>) = layers
            .documents
            .into_iter()
            .map(|document| (document.source, (document.complaints, document.complete)))
            .unzip();
        let mut tree = Self { root: layers.root, sources, poisoned: Poisoned::default() };
        let mut problems = Vec::new();
        let mut complete = true;
        for (file, (complaints, read)) in rest.into_iter().enumerate() {
            complete &= read;
            for complaint in complaints {
                let span = tree.sources.get(file).map(|source| source.span(complaint.at));
                let place = Place::File { file, span };
                problems.push(tree.problem(Severity::Error, &place, complaint.message, complaint.help));
                complaint.poisons.into_iter().for_each(|path| tree.poisoned.insert(path));
            }
        }
        for variable in layers.misnamed {
            problems.push(Problem {
                severity: Severity::Error,
                location: Location::Environment(printable::line(&variable)),
                message: "this variable names no setting".into(),
                help: Some("the form is OBO__SECTION__KEY, and each setting can be named once".into()),
                excerpt: None,
            });
        }
        (tree, problems, complete)
    }

    /// A problem at `place`.
    pub fn problem(
        &self,
        severity: Severity,
        place: &Place,
        message: String,
        help: Option<String>,
    ) -> Problem {
        let (location, excerpt) = match place {
            Place::Environment(variable) => (Location::Environment(variable.as_ref().into()), None),
            Place::File { file, span } => {
                let source = self.sources.get(*file);
                let name = source.map(|source| source.name.clone()).unwrap_or_default();
                let position = span.map(|span| (span.line, span.column));
                let excerpt = source.zip(*span).map(|(source, span)| source.excerpt(span));
                (Location::File { order: *file, name, position }, excerpt)
            }
        };
        Problem { severity, location, message, help, excerpt }
    }

    /// Reads the tree as a `T`. What does not fit is taken out and reported, and reading begins again: so all problems
    /// are found, and the rest can still be checked.
    pub fn read<T: DeserializeOwned + Default>(&mut self, problems: &mut Vec<Problem>) -> T {
        for _ in 0..MAX_FAULTS {
            match T::deserialize(&self.root) {
                Ok(wire) => return wire,
                Err(error) => {
                    problems.push(self.fault(&error));
                    if !self.root.remove(&error.path()) {
                        break;
                    }
                }
            }
        }
        self.poisoned.insert(Path::default());
        T::default()
    }

    fn fault(&mut self, error: &de::Error) -> Problem {
        let path = error.path();
        let node = self.root.find(&path);
        let value = match node.map(|node| &node.kind) {
            Some(Kind::Scalar(text)) => Some(text.as_str()),
            _ => None,
        };
        let by_key = matches!(error.fault, Fault::UnknownKey { .. });
        let place = match node {
            Some(Node { origin, .. }) if by_key => origin.key.as_ref().unwrap_or(&origin.value).clone(),
            Some(node) => node.place().clone(),
            None => self.root.origin.value.clone(),
        };
        let (message, help) = match &error.fault {
            Fault::UnknownKey { expected } => {
                let is_position = path.keys().last().is_some_and(|key| mask::is_position(key));
                match is_position {
                    true => {
                        let help = "a list is written as a whole, in a file; from the environment, without the number, as a list of one";
                        (format!("unknown setting `{}`", mask::shown_path(&path)), Some(help.into()))
                    }
                    false => {
                        let key = mask::shown_key(&path);
                        (format!("unknown setting `{key}`"), Some(self.advice(&path, expected)))
                    }
                }
            }
            fault => wrong_value(&path, node, value, fault),
        };
        self.poison(&path);
        self.problem(Severity::Error, &place, message, help)
    }

    /// What to say about an unknown key; the key that was probably meant is no longer missed.
    fn advice(&mut self, path: &Path, expected: &'static [&'static str]) -> String {
        let (Some((parent, _)), Some(key)) = (path.split_last(), path.keys().pop()) else {
            return String::new();
        };
        match closest(key, expected.iter().copied()) {
            Some(meant) => {
                let help = format!("did you mean `{meant}`?");
                self.poisoned.insert(parent.key(meant));
                help
            }
            None => match expected {
                [] => "nothing can be set here".into(),
                keys => format!("what can be set here: {}", keys.join(", ")),
            },
        }
    }

    fn poison(&mut self, path: &Path) {
        if let Some((parent, Segment::Item(_))) = path.split_last() {
            self.poisoned.insert(parent);
        }
        self.poisoned.insert(path.clone());
    }
}

fn wrong_value(
    path: &Path,
    node: Option<&Node>,
    value: Option<&str>,
    fault: &Fault,
) -> (String, Option<String>) {
    let shown = match (value, node.map(|node| &node.kind)) {
        (Some(text), _) => format!("`{}`", mask::shown(path, text)),
        (None, Some(Kind::Map(_))) => "a map".into(),
        (None, Some(Kind::List(_))) => "a list".into(),
        (None, _) => "an empty value".into(),
    };
    match fault {
        Fault::UnknownWord { expected } => {
            let help = value
                .and_then(|text| closest(text, expected.iter().copied()))
                .map(|meant| format!("did you mean `{meant}`?"));
            (format!("{shown} is not {}", one_of(expected)), help)
        }
        Fault::Invalid { expected } => {
            let help = match path.keys().as_slice() {
                [.., "credential", "secret"]
                | ["cache", "redis", "encryption_keys"]
                | ["cache", "redis", .., "password"] => Some("write { file: PATH } or { env: NAME }".into()),
                [.., "credential", "certificate"] => Some("write { file: PATH, key: PATH }".into()),
                [.., "credential", "federated_token"] => Some("write { file: PATH }".into()),
                ["cache", "redis"] => {
                    Some("write { url: rediss://HOST, encryption_keys: [{ file: PATH }] }".into())
                }
                ["cache", "redis", "sentinel"] => {
                    Some("write { urls: [rediss://HOST], master: NAME }".into())
                }
                _ => None,
            };
            (format!("{shown} is not {expected}"), help)
        }
        Fault::UnknownKey { .. } => (String::new(), None),
    }
}

/// `a`, `a or b`, `one of a, b, c`.
fn one_of(words: &[&str]) -> String {
    match words {
        [] => "possible here".into(),
        [only] => format!("`{only}`"),
        [one, other] => format!("`{one}` or `{other}`"),
        many => format!("one of {}", many.join(", ")),
    }
}

/// The candidate that `word` is most likely a mis-spelling of.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase()), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}
