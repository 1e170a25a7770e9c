//! What a configuration was made of, told apart from another by digests: which keys differ can be said, what they hold cannot.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use crate::config::mask;
use crate::config::node::Kind;
use crate::config::node::Node;
use crate::config::node::Path;
use crate::domain::digest::Digest;
use crate::domain::digest::Hasher;

/// The settings of a configuration, each with a digest of its value. A list counts as one setting.
#[derive(Clone, Debug, Default)]
pub struct Outline(BTreeMap<Path, Digest>);

/// By which keys two configurations differ. A section that one of them has not at all is named once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What the newer one has alone.
    pub added: Vec<String>,
    /// What the older one had alone.
    pub removed: Vec<String>,
    /// What both have, with another value.
    pub changed: Vec<String>,
}

impl Outline {
    /// The outline of the merged values.
    pub(super) fn of(root: &Node) -> Self {
        let mut settings = BTreeMap::new();
        outline(&Path::default(), root, &mut settings);
        Self(settings)
    }

    /// What `newer` changes.
    pub fn changes(&self, newer: &Self) -> Changes {
        let changed =
            newer.0.iter().filter(|(path, value)| self.0.get(path).is_some_and(|own| own != *value));
        Changes {
            added: newer.lacking(self),
            removed: self.lacking(newer),
            changed: changed.map(|(path, _)| mask::shown_path(path)).collect(),
        }
    }

    /// What `other` lacks, by the shortest name that says so.
    fn lacking(&self, other: &Self) -> Vec<String> {
        let missing = self.0.keys().filter(|path| !other.0.contains_key(path));
        let shortest: BTreeSet<Path> = missing.map(|path| other.first_unknown(path)).collect();
        shortest.iter().map(mask::shown_path).collect()
    }

    /// The first step on the way to `path` that leads nowhere here; all the way, if each leads somewhere.
    fn first_unknown(&self, path: &Path) -> Path {
        let way = (1..=path.0.len()).map(|steps| Path(path.0.iter().take(steps).cloned().collect()));
        let mut unknown = way.filter(|above| !self.leads_on(above));
        unknown.next().unwrap_or_else(|| path.clone())
    }

    fn leads_on(&self, path: &Path) -> bool {
        // what lies below a path follows it in order
        self.0.range(path..).next().is_some_and(|(next, _)| path.leads_to(next))
    }
}

impl Changes {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

fn outline(path: &Path, node: &Node, settings: &mut BTreeMap<Path, Digest>) {
    match &node.kind {
        Kind::Map(map) if !map.is_empty() => {
            for (key, below) in map {
                outline(&path.key(key), below, settings);
            }
        }
        _ => {
            let mut hasher = Hasher::new();
            digest(node, &mut hasher);
            settings.insert(path.clone(), hasher.finish());
        }
    }
}

/// No two values are hashed alike: each part says what it is and how long.
fn digest(node: &Node, hasher: &mut Hasher) {
    let mut part = |kind: u8, length: usize, text: &str| {
        hasher.update(&[kind]);
        hasher.update(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    match &node.kind {
        Kind::Nil => part(0, 0, ""),
        Kind::Scalar(text) => part(1, text.len(), text),
        Kind::List(items) => {
            part(2, items.len(), "");
            items.iter().for_each(|item| digest(item, hasher));
        }
        Kind::Map(map) => {
            part(3, map.len(), "");
            for (key, below) in map {
                hasher.update(&u64::try_from(key.len()).unwrap_or(u64::MAX).to_be_bytes());
                hasher.update(key.as_bytes());
                digest(below, hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load_text;

    use super::*;

    const ONE: &str = "
identity_providers:
  contoso:
    entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: { secret: { value: hunter2 } }
routes:
  orders: { match: /, upstream: http://127.0.0.1:8000, exchange: { scopes: [a, b] } }
";

    fn outline_of(text: &str, environment: &[(&str, &str)]) -> Outline {
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        match load_text("config.yaml", text, &environment) {
            Ok(loaded) => loaded.outline,
            Err(report) => panic!("{report}"),
        }
    }

    fn changes(newer: &str, environment: &[(&str, &str)]) -> [String; 3] {
        let changes = outline_of(ONE, &[]).changes(&outline_of(newer, environment));
        assert!(!format!("{changes:?}").contains("hunter"));
        [changes.added, changes.removed, changes.changed].map(|names| names.join(" "))
    }

    #[test]
    fn what_differs_is_named_by_the_shortest_key_that_says_so_and_by_no_value() {
        let route = "  reports: { match: /reports, upstream: http://127.0.0.1:8000, token: remove }\n";
        for (newer, added, removed, changed) in [
            (ONE.to_owned(), "", "", ""),
            // comments and order say nothing
            (format!("# a comment\n{}", ONE.replace("[a, b]", "[ a,b ]")), "", "", ""),
            (format!("{ONE}{route}"), "routes.reports", "", ""),
            (format!("{ONE}workers: 2\n"), "workers", "", ""),
            (ONE.replace("hunter2", "hunter3"), "", "", "identity_providers.contoso.credential.secret.value"),
            (ONE.replace("[a, b]", "[b, a]"), "", "", "routes.orders.exchange.scopes"),
            (ONE.replace("orders:", "sales:"), "routes.sales", "routes.orders", ""),
            (
                ONE.replace("exchange: { scopes: [a, b] }", "token: remove"),
                "routes.orders.token",
                "routes.orders.exchange",
                "",
            ),
            (
                ONE.replace("match: /,", "match: { path: / },"),
                "routes.orders.match.path",
                "routes.orders.match",
                "",
            ),
        ] {
            assert_eq!(changes(&newer, &[]), [added, removed, changed].map(str::to_owned), "{newer}");
        }
        assert_eq!(
            changes(ONE, &[("OBO__CACHE__MAX_ENTRIES", "7")]),
            ["cache", "", ""].map(str::to_owned),
            "what the environment says counts as well"
        );
    }
}
