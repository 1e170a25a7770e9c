//! `headers` of a route: which fields of a request the proxy writes or removes.

use http::HeaderName;

use crate::config::FieldRules;
use crate::config::HOP_BY_HOP;
use crate::config::Piece;
use crate::config::Template;
use crate::config::check::At;
use crate::config::check::items;
use crate::config::is_spelling_of;
use crate::config::wire::treatment::Headers;

/// Fields that a route has no say in, and what to do instead.
const OURS: [(&[&str], &str); 6] = [
    (&["authorization"], "`exchange`, `token` and `auth` say what goes upstream in it"),
    (&["host"], "`rewrite.host` says which one goes upstream"),
    (&HOP_BY_HOP, OF_ONE_CONNECTION),
    (&["trailer", "content-length"], OF_ONE_CONNECTION),
    (
        &["x-request-id", "traceparent", "tracestate"],
        "it ties the logs of a request together, and goes on as it is: leave it out",
    ),
    (&["forwarded"], FORWARDING),
];

const OF_ONE_CONNECTION: &str =
    "it concerns one connection only, and each side of the proxy has its own: leave it out";

/// The same, of all that begin like this.
const FORWARDED: &str = "x-forwarded-";

const FORWARDING: &str =
    "the proxy says there where a request came from; a listener's `trusted_proxies` says whose word counts";

/// What is written on one level.
#[derive(Clone, Default)]
pub struct Said {
    set: Vec<(HeaderName, Template)>,
    remove: Option<Vec<HeaderName>>,
    /// Whether something else is written than can be used.
    pub is_wrong: bool,
}

/// What is written at `at`: as much of it as can be used.
pub fn said(wire: &Headers, at: &At<'_>) -> Said {
    let mut set: Vec<(HeaderName, Template)> = Vec::new();
    let mut complete = true;
    let set_at = at.key("set");
    if wire.set.as_ref().is_some_and(|set| set.is_empty()) && !set_at.is_poisoned() {
        set_at.error_with("this map is empty", "leave it out for the default");
    }
    for (name, value) in wire.set.iter().flatten() {
        let at = set_at.key(name);
        let known = |name: &HeaderName| is_among(set.iter().map(|(name, _)| name), name);
        match (field(name, &at), template(value)) {
            (Some(name), _) if known(&name) => {
                let help = "case makes no difference, nor do - and _: leave one of them out";
                at.key_error(format!("the field `{name}` is there twice"), help);
                complete = false;
            }
            (Some(name), Ok(template)) => set.push((name, template)),
            (_, Err(complaint)) => {
                at.error_with(complaint.0, complaint.1);
                complete = false;
            }
            (None, Ok(_)) => complete = false,
        }
    }
    let mut remove: Vec<HeaderName> = Vec::new();
    for (text, at) in items(wire.remove.as_ref(), &at.key("remove")).unwrap_or_default() {
        let Some(name) = field(text, &at) else {
            complete = false;
            continue;
        };
        if is_among(set.iter().map(|(name, _)| name), &name) {
            let help = "what a caller sends under a name that is set is removed anyway: leave it out here";
            at.error_with(format!("the field `{name}` is both set and removed"), help);
            complete = false;
        } else if !remove.contains(&name) {
            remove.push(name);
        }
    }
    Said { set, remove: wire.remove.is_some().then_some(remove), is_wrong: !complete }
}

impl Said {
    /// The rules of a level above `base`: field by field its own count, but a list of fields to remove replaces that of
    /// the base.
    pub fn over(self, base: &Self) -> Option<FieldRules> {
        let sets = |name: &HeaderName| is_among(self.set.iter().map(|(name, _)| name), name);
        let removes = |name: &HeaderName| is_among(self.remove.iter().flatten(), name);
        let inherited = base.set.iter().filter(|(name, _)| !sets(name) && !removes(name)).cloned();
        let inherited: Vec<_> = inherited.collect();
        let remove = self.remove.as_ref().or(base.remove.as_ref());
        let remove = remove.into_iter().flatten().filter(|name| !sets(name)).cloned().collect();
        let rules = FieldRules { set: self.set.into_iter().chain(inherited).collect(), remove };
        (!rules.set.is_empty() || !rules.remove.is_empty()).then_some(rules)
    }

    /// Complains about values that take a caller, at a route that asks nobody who they are.
    pub fn complain_of_claims(&self, wire: Option<&Headers>, at: &At<'_>) {
        for name in wire.and_then(|wire| wire.set.as_ref()).into_iter().flat_map(|set| set.keys()) {
            let mut own = self.set.iter().filter(|(own, _)| is_spelling_of(name, own.as_str()));
            if own.any(|(_, template)| template.wants_claims()) {
                let help = "without a validated token there are no claims: leave the field out, or `auth: anonymous`";
                at.key("set")
                    .key(name)
                    .error_with("this wants a claim of a token that nobody looks at", help);
            }
        }
    }
}

fn is_among<'n>(mut names: impl Iterator<Item = &'n HeaderName>, name: &HeaderName) -> bool {
    names.any(|other| is_spelling_of(name.as_str(), other.as_str()))
}

/// A field that a route may have its way with.
fn field(name: &str, at: &At<'_>) -> Option<HeaderName> {
    let Ok(field) = HeaderName::from_bytes(name.as_bytes()) else {
        let help = "write it as it is sent, as in x-user-id";
        at.key_error(format!("`{}` is not a header name", at.shown_name(name)), help);
        return None;
    };
    let dashed = field.as_str().replace('_', "-");
    let ours = OURS.iter().find(|(names, _)| names.contains(&dashed.as_str())).map(|(_, help)| *help);
    match ours.or_else(|| dashed.starts_with(FORWARDED).then_some(FORWARDING)) {
        Some(help) => {
            at.key_error(format!("the field `{field}` can be neither set nor removed"), help);
            None
        }
        None => Some(field),
    }
}

/// What is wrong with a value, and what to do.
struct Complaint(&'static str, &'static str);

/// A text with claims in braces. Nothing of it is shown: it may be a key to the upstream.
fn template(text: &str) -> Result<Template, Complaint> {
    const BRACES: Complaint = Complaint(
        "a brace in this value belongs to no claim",
        "write {claims.NAME} for a claim, and {{ or }} for a brace",
    );
    if text.is_empty() || text.trim() != text {
        let help = "write what the field is to say; to send none, name it under `remove`";
        return Err(Complaint("this value is empty, or begins or ends with a space", help));
    }
    if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        let help =
            "header values are ASCII: write it percent-encoded, or in another way that the upstream reads";
        return Err(Complaint("this value has a character that no header may have", help));
    }
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        plain.push_str(before);
        rest = match (brace.strip_prefix("{{"), brace.strip_prefix("}}")) {
            (Some(rest), _) => {
                plain.push('{');
                rest
            }
            (None, Some(rest)) => {
                plain.push('}');
                rest
            }
            (None, None) => {
                let (name, rest) = brace.strip_prefix('{').and_then(|it| it.split_once('}')).ok_or(BRACES)?;
                let claim = name.strip_prefix("claims.").filter(|claim| !claim.is_empty()).ok_or(BRACES)?;
                if claim.contains('{') {
                    return Err(BRACES);
                }
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Claim(claim.to_owned()));
                rest
            }
        };
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(Template(pieces))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The pieces, claims in angle brackets.
    fn pieces(text: &str) -> Option<String> {
        let shown = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Claim(name) => format!("<{name}>"),
        };
        template(text).ok().map(|Template(pieces)| pieces.iter().map(shown).collect::<Vec<_>>().join("|"))
    }

    #[test]
    fn a_value_is_a_text_with_claims_in_braces() {
        for (text, expected) in [
            ("plain", Some("plain")),
            ("{claims.oid}", Some("<oid>")),
            ("a {claims.oid}; b={claims.realm_access.roles}", Some("a |<oid>|; b=|<realm_access.roles>")),
            ("{claims.a}{claims.b}", Some("<a>|<b>")),
            ("{claims.https://x.example/y}", Some("<https://x.example/y>")),
            ("{claims.first name}", Some("<first name>")),
            ("{{claims.oid}}", Some("{claims.oid}")),
            ("{{{claims.oid}}}", Some("{|<oid>|}")),
            ("100 % {{}}", Some("100 % {}")),
            ("", None),
            (" a", None),
            ("a ", None),
            ("a\tb", None),
            ("a\r\nx: y", None),
            ("grün", None),
            ("{", None),
            ("}", None),
            ("{}", None),
            ("{claims}", None),
            ("{claims.}", None),
            ("{claim.oid}", None),
            ("{CLAIMS.oid}", None),
            ("{oid}", None),
            ("{claims.oid", None),
            ("claims.oid}", None),
            ("{claims.{oid}}", None),
        ] {
            assert_eq!(pieces(text).as_deref(), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_written_with_its_braces_doubled(text in "[!-~]([ -~]{0,20}[!-~])?") {
            let written = text.replace('{', "{{").replace('}', "}}");
            let read = template(&written).ok().map(|Template(pieces)| pieces);
            prop_assert_eq!(read, Some(vec![Piece::Text(text)]));
        }

        #[test]
        fn any_value_is_answered(text in ".{0,30}") {
            let _ = template(&text);
        }
    }
}
