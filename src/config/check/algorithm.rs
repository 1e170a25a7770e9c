//! Signature algorithms, by their names.

use crate::config::Algorithm;
use crate::config::check::At;
use crate::config::tree::closest;

/// The algorithm that tokens may be signed with.
pub fn accepted(text: &str, at: &At<'_>) -> Option<Algorithm> {
    let algorithm = Algorithm::parse(text);
    if algorithm.is_none() {
        let forgeable = text.eq_ignore_ascii_case("none") || text.to_uppercase().starts_with("HS");
        let help = match forgeable {
            true => "it is never accepted: anybody could forge such tokens".into(),
            false => advice(text),
        };
        at.error_with(format!("`{}` is not an algorithm that can be accepted", at.shown(text)), help);
    }
    algorithm
}

/// Which algorithm may have been meant.
pub fn advice(text: &str) -> String {
    let names = || Algorithm::ALL.into_iter().map(Algorithm::name);
    let exactly = names().find(|name| name.eq_ignore_ascii_case(text));
    match exactly.or_else(|| closest(&text.to_uppercase(), names())) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("possible are {}", names().collect::<Vec<_>>().join(", ")),
    }
}
