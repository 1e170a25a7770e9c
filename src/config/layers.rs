//! Files and environment, laid over each other by the `config` crate, and brought together with where each value was
//! written.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use config::Config as Merged;
use config::ConfigError;
use config::Environment;
use config::File;
use config::Map;
use config::Source as _;
use config::Value;
use config::ValueKind;

use crate::config::node::Kind;
use crate::config::node::Node;
use crate::config::node::Origin;
use crate::config::node::Path;
use crate::config::node::Place;
use crate::config::node::Segment;
use crate::config::yaml::Document;
use crate::config::yaml::Yaml;

/// What environment variables that override settings begin with. Not `OBO_`: Kubernetes injects `OBO_PORT` and the like
/// for a Service called `obo`.
const PREFIX: &str = "OBO__";

/// The most sections a variable's name may have.
const DEEPEST: usize = 16;

/// A file that was read: its name and text.
pub struct Input {
    /// The name it was given by.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// All layers in one.
pub struct Layers {
    /// The merged values.
    pub root: Node,
    /// What was found in each file.
    pub documents: Vec<Document>,
    /// Environment variables that override nothing, because of their names.
    pub misnamed: Vec<String>,
}

impl Layers {
    /// Lays `files` over each other, later ones on top, and the `OBO__*` variables of `environment` over them all.
    ///
    /// # Errors
    /// If the `config` crate fails, which it has no reason to.
    pub fn merge(files: &[Input], environment: &[(String, String)]) -> Result<Self, ConfigError> {
        let formats: Vec<Yaml> = files.iter().map(|file| Yaml::new(&file.name)).collect();
        let mut builder = Merged::builder();
        for (file, format) in files.iter().zip(&formats) {
            builder = builder.add_source(File::from_str(&file.text, format.clone()));
        }
        let (overrides, misnamed) = overrides(environment);
        for Override { variable, value, .. } in &overrides {
            // one source a variable: of two that contradict each other, the later in the alphabet always wins
            let one = Map::from([(variable.to_string(), (*value).to_owned())]);
            let source =
                Environment::with_prefix("OBO").prefix_separator("__").separator("__").source(Some(one));
            builder = builder.add_source(source);
        }
        let values = builder.build()?.collect()?;
        let documents: Vec<Document> = formats.iter().map(Yaml::take).collect();

        let mut origins = Origins::default();
        for (file, document) in documents.iter().enumerate() {
            origins.lay_file(file, document);
        }
        for Override { variable, path, .. } in &overrides {
            origins.lay_variable(path, variable);
        }
        let whole = Origin { key: None, value: Place::File { file: 0, span: None } };
        let root = origins.node(&Path::default(), Value::new(None, ValueKind::Table(values)), &whole);
        Ok(Self { root, documents, misnamed })
    }
}

/// A variable that overrides a setting.
struct Override<'a> {
    variable: Arc<str>,
    path: Path,
    value: &'a str,
}

/// The variables that override settings, with the paths they set, in the order of their names; and those whose names
/// are of the right form but can be no path.
fn overrides(environment: &[(String, String)]) -> (Vec<Override<'_>>, Vec<String>) {
    let mut found = Vec::new();
    let mut misnamed = Vec::new();
    let mut taken = BTreeSet::new();
    for (variable, value) in environment {
        let Some(name) = variable.strip_prefix(PREFIX) else { continue };
        let path = path_of(name).filter(|path| taken.insert(path.clone()));
        match path {
            Some(path) => found.push(Override { variable: variable.as_str().into(), path, value }),
            None => misnamed.push(variable.clone()),
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    (found, misnamed)
}

/// The setting that `SECTION__KEY` names, as the `config` crate understands it.
fn path_of(name: &str) -> Option<Path> {
    let name = name.to_lowercase();
    if name.split("__").nth(DEEPEST).is_some() {
        return None;
    }
    let plain = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    };
    name.split("__")
        .map(|part| plain(part).then(|| Segment::Key(part.into())))
        .collect::<Option<_>>()
        .map(Path)
}

/// Where every path of the merged values was written.
#[derive(Default)]
struct Origins(BTreeMap<Path, (Origin, bool)>);

impl Origins {
    fn lay_file(&mut self, file: usize, document: &Document) {
        let place = |span| Place::File { file, span: Some(span) };
        for (path, spot) in document.spots.iter().filter(|(path, _)| !path.0.is_empty()) {
            let origin = Origin { key: spot.key.map(place), value: place(spot.value) };
            self.lay(path, origin, spot.is_map);
        }
    }

    fn lay_variable(&mut self, path: &Path, variable: &Arc<str>) {
        let place = Place::Environment(Arc::clone(variable));
        for depth in 1..=path.0.len() {
            let above = Path(path.0.iter().take(depth).cloned().collect());
            let is_map = depth < path.0.len();
            self.lay(&above, Origin { key: Some(place.clone()), value: place.clone() }, is_map);
        }
    }

    /// Maps merge and keep their first place; everything else replaces what was there.
    fn lay(&mut self, path: &Path, origin: Origin, is_map: bool) {
        if is_map && self.0.get(path).is_some_and(|(_, was_map)| *was_map) {
            return;
        }
        let below: Vec<Path> = self
            .0
            .range(path..)
            .map(|(below, _)| below)
            .take_while(|below| path.leads_to(below))
            .cloned()
            .collect();
        for stale in below {
            self.0.remove(&stale);
        }
        self.0.insert(path.clone(), (origin, is_map));
    }

    /// `value` as a node. Recurses no deeper than a file may nest.
    fn node(&self, path: &Path, value: Value, parent: &Origin) -> Node {
        let origin = self.0.get(path).map_or(parent, |(origin, _)| origin).clone();
        let kind = match value.kind {
            ValueKind::Nil => Kind::Nil,
            ValueKind::Table(table) => {
                let children = table.into_iter().map(|(key, value)| {
                    let child = self.node(&path.key(&key), value, &origin);
                    (Arc::from(key), child)
                });
                Kind::Map(children.collect())
            }
            ValueKind::Array(items) => {
                let children = items
                    .into_iter()
                    .enumerate()
                    .map(|(item, value)| self.node(&path.and(Segment::Item(item)), value, &origin));
                Kind::List(children.collect())
            }
            scalar => Kind::Scalar(scalar.to_string()),
        };
        Node { origin, kind }
    }
}
