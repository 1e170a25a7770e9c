//! The fields that a route writes from claims, and whether a token has them: names, no values.

use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

use crate::config::Piece;
use crate::config::Route;
use crate::config::Template;
use crate::domain::caller;
use crate::pipeline::forward;

/// A field that a route writes for each caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// The claims that it takes.
    pub claims: Vec<Claim>,
    /// Whether the upstream gets it: only if each of them is there.
    pub sent: bool,
}

/// A claim that a field takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Its name, or the dotted path to it.
    pub name: String,
    /// How it is.
    pub state: State,
}

/// How a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is there.
    Present,
    /// It is not.
    Absent,
    /// It is there, and no field could say it.
    Unsayable,
}

/// The fields that `route` writes for a caller whose token says `claims`; nothing if it could not be read.
pub fn of(route: &Route, claims: &Map<String, Value>) -> Vec<Field> {
    let rules = route.treatment.headers.as_deref().filter(|_| !claims.is_empty());
    let set = rules.map(|rules| rules.set.as_slice()).unwrap_or_default();
    let wanting = set.iter().filter(|(_, template)| template.wants_claims());
    let mut fields: Vec<Field> =
        wanting.map(|(name, template)| field(name.as_str(), template, claims)).collect();
    fields.sort_by(|one, other| one.name.cmp(&other.name));
    fields
}

fn field(name: &str, template: &Template, claims: &Map<String, Value>) -> Field {
    let claim = |piece: &Piece| match piece {
        Piece::Text(_) => None,
        Piece::Claim(name) => Some(Claim { name: name.clone(), state: state(caller::claim(claims, name)) }),
    };
    let claims: Vec<Claim> = template.0.iter().filter_map(claim).collect();
    let sent = claims.iter().all(|claim| claim.state == State::Present);
    Field { name: name.to_owned(), claims, sent }
}

fn state(claim: Option<&Value>) -> State {
    match claim {
        None => State::Absent,
        Some(claim) if forward::can_say(claim) => State::Present,
        Some(_) => State::Unsayable,
    }
}
