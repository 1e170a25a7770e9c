//! The merged configuration as a tree that remembers where every key and value was written.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// One step from a node to its child.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Segment {
    /// Into a map.
    Key(Arc<str>),
    /// Into a list.
    Item(usize),
}

/// The steps from the root to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Segment>);

impl Path {
    /// This path and one key more.
    pub fn key(&self, key: &str) -> Self {
        self.and(Segment::Key(key.into()))
    }

    /// This path and one step more.
    pub fn and(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }

    /// The path without its last step, and that step.
    pub fn split_last(&self) -> Option<(Self, &Segment)> {
        self.0.split_last().map(|(last, rest)| (Self(rest.to_vec()), last))
    }

    /// The keys on the way, without list positions.
    pub fn keys(&self) -> Vec<&str> {
        self.0
            .iter()
            .filter_map(|segment| match segment {
                Segment::Key(key) => Some(key.as_ref()),
                Segment::Item(_) => None,
            })
            .collect()
    }

    /// Whether `self` is `other` or lies above it.
    pub fn leads_to(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if at > 0 => write!(f, ".{key}")?,
                Segment::Key(key) => f.write_str(key)?,
                Segment::Item(item) => write!(f, "[{item}]")?,
            }
        }
        Ok(())
    }
}

/// A stretch of one line. Line and column count from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The line.
    pub line: usize,
    /// The column it begins at.
    pub column: usize,
    /// How many characters it takes.
    pub width: usize,
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a file, by its position among the files.
    File {
        /// Which file.
        file: usize,
        /// Where in it; `None` = the file as a whole.
        span: Option<Span>,
    },
    /// In an environment variable of this name.
    Environment(Arc<str>),
}

/// Where a key and its value were written. List items and the root have no key.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The key.
    pub key: Option<Place>,
    /// The value.
    pub value: Place,
}

/// A node: what it holds and where it was written.
pub struct Node {
    /// Where.
    pub origin: Origin,
    /// What.
    pub kind: Kind,
}

/// What a node holds. Scalars are texts, as written.
pub enum Kind {
    /// Nothing: an empty value, `~` or `null`.
    Nil,
    /// A text.
    Scalar(String),
    /// Named nodes.
    Map(BTreeMap<Arc<str>, Node>),
    /// Nodes in order.
    List(Vec<Node>),
}

impl Node {
    /// The node `path` leads to.
    pub fn find(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |node, segment| match (&node.kind, segment) {
            (Kind::Map(map), Segment::Key(key)) => map.get(key),
            (Kind::List(items), Segment::Item(item)) => items.get(*item),
            _ => None,
        })
    }

    /// The place to point at when the node as a whole is wrong: a scalar itself, else the key it hangs on.
    pub fn place(&self) -> &Place {
        match (&self.kind, &self.origin.key) {
            (Kind::Scalar(_), _) | (_, None) => &self.origin.value,
            (_, Some(key)) => key,
        }
    }

    /// Takes out what `path` leads to. `false` if there is no such node, or it is the root.
    pub fn remove(&mut self, path: &Path) -> bool {
        let Some((last, way)) = path.0.split_last() else { return false };
        let parent = way.iter().try_fold(self, |node, segment| match (&mut node.kind, segment) {
            (Kind::Map(map), Segment::Key(key)) => map.get_mut(key),
            (Kind::List(items), Segment::Item(item)) => items.get_mut(*item),
            _ => None,
        });
        match (parent.map(|node| &mut node.kind), last) {
            (Some(Kind::Map(map)), Segment::Key(key)) => map.remove(key).is_some(),
            (Some(Kind::List(items)), Segment::Item(item)) if *item < items.len() => {
                items.remove(*item);
                true
            }
            _ => false,
        }
    }
}

/// Paths about which a problem was reported already: nothing is said to be missing there.
#[derive(Default)]
pub struct Poisoned(BTreeSet<Path>);

impl Poisoned {
    /// Marks `path`.
    pub fn insert(&mut self, path: Path) {
        self.0.insert(path);
    }

    /// Whether `path`, something above it or something below it was marked.
    pub fn touches(&self, path: &Path) -> bool {
        self.0.iter().any(|poisoned| poisoned.leads_to(path) || path.leads_to(poisoned))
    }
}
