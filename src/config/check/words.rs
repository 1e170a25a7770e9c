//! Lists of words: scopes, roles, clients, audiences.

use crate::config::check::At;

/// `items`, if each is valid; an error for each that is not `what`.
pub fn words(items: Vec<(&str, At<'_>)>, what: &str, is_valid: fn(&str) -> bool) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut complete = true;
    for (text, at) in items {
        if is_valid(text) {
            words.push(text.to_owned());
        } else {
            let message = format!("`{}` is not {what}", at.shown(text));
            match text.contains(' ') {
                true => at.error_with(message, at.list_form()),
                false => at.error(message),
            }
            complete = false;
        }
    }
    complete.then_some(words)
}

/// `scope-token` of RFC 6749 section 3.3.
pub fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// A text that says something, without control characters.
pub fn is_word(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

/// A text of visible ASCII characters.
pub fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
