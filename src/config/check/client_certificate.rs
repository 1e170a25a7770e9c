//! `require.client_certificate`: which certificates a route admits, and whether they can be shown at all.

use std::sync::Arc;

use crate::config::Listener;
use crate::config::RequiredCertificate;
use crate::config::Route;
use crate::config::check::At;
use crate::config::check::items;
use crate::config::check::layered::Layered;
use crate::config::check::matches;
use crate::domain::peer::ATTRIBUTES;
use crate::domain::peer::AlternativeName;

/// What a route demands of certificates; `Some(None)` = nothing.
pub fn check(layered: &Layered<'_, '_>) -> Option<Option<RequiredCertificate>> {
    let picked = layered
        .pick(&["require", "client_certificate"], |settings| settings.require?.client_certificate.as_ref());
    let Some((written, at)) = picked else { return Some(None) };
    if written.subjects.is_none() && written.sans.is_none() {
        if !at.is_poisoned() {
            let help = "add subjects or sans; that one is shown at all, the listener's tls.client_ca sees to";
            at.error_with("this demands nothing", help);
        }
        return None;
    }
    let subjects = items(written.subjects.as_ref(), &at.key("subjects")).unwrap_or_default();
    let subjects: Vec<Option<String>> = subjects.iter().map(|(text, at)| subject(text, at)).collect();
    let names = items(written.sans.as_ref(), &at.key("sans")).unwrap_or_default();
    let names: Vec<Option<AlternativeName>> = names.iter().map(|(text, at)| name(text, at)).collect();
    let subjects: Option<Vec<_>> = subjects.into_iter().collect();
    let names: Option<Vec<_>> = names.into_iter().collect();
    let required = RequiredCertificate { subjects: subjects?, names: names? };
    // an empty list is an error of its own, and must not become a demand that everybody meets
    let is_empty = required.subjects.is_empty() && required.names.is_empty();
    (!is_empty).then_some(Some(required))
}

/// Complains about routes that demand a certificate on a listener that asks for none.
pub fn can_be_shown(routes: &[(Arc<Route>, At<'_>)], listeners: &[Listener]) {
    for (route, at) in routes.iter().filter(|(route, _)| route.client_certificate.is_some()) {
        let serves = |listener: &&Listener| match &route.listeners {
            Some(names) => names.contains(&listener.name),
            None => true,
        };
        let asks = |listener: &Listener| listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        for listener in listeners.iter().filter(serves).filter(|listener| !asks(listener)) {
            let message = format!(
                "the listener `{}` serves this route, and asks its callers for no certificate",
                listener.name
            );
            let help = "add tls.client_ca there, or name the listeners of the route that have it";
            at.key("require").key("client_certificate").error_with(message, help);
        }
    }
}

/// A subject as it is compared. Texts that no certificate can have are told: they would shut everybody out.
fn subject(text: &str, at: &At<'_>) -> Option<String> {
    match misspelt(text) {
        None => Some(text.to_owned()),
        Some(help) => {
            at.error_with(format!("`{}` is not the text of a subject (RFC 4514)", at.shown(text)), help);
            None
        }
    }
}

/// What is wrong with the text of a subject.
fn misspelt(text: &str) -> Option<String> {
    let types = ATTRIBUTES.map(|(name, _)| name).join(", ");
    for part in parts(text) {
        let Some((kind, value)) = part.split_once('=') else {
            return Some("write it as in CN=gateway,O=Example".into());
        };
        if kind.trim() != kind || value.trim_start() != value {
            return Some("leave out the spaces after commas and around =".into());
        }
        let is_oid = kind.contains('.') && kind.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if is_oid && !value.starts_with('#') {
            return Some(
                "the value of a type in numbers is # and the hexadecimal digits of its DER form".into(),
            );
        }
        if !is_oid && !ATTRIBUTES.iter().any(|(name, _)| *name == kind) {
            return Some(format!("the types are {types}; others are written in numbers"));
        }
    }
    None
}

/// The attributes of a subject's text: what stands between commas and plus signs that are not escaped.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' | '+' => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

/// An alternative name. What it looks like tells its kind: a host name has neither `:` nor `@`.
fn name(text: &str, at: &At<'_>) -> Option<AlternativeName> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_plain && text.contains(':') {
        return Some(AlternativeName::Uri(text.to_owned()));
    }
    if is_plain && text.contains('@') {
        return Some(AlternativeName::Email(text.to_owned()));
    }
    if text.contains('*') {
        let help = "write the name as it stands in the certificate, or name a certificate by its URI";
        at.error_with(format!("`{}` is no single name", at.shown(text)), help);
        return None;
    }
    matches::host(text, at).map(|_| AlternativeName::Dns(text.to_ascii_lowercase()))
}
