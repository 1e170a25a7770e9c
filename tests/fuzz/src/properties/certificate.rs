//! A certificate that somebody shows, in DER.

use obo_proxy::domain::digest::Digest;
use obo_proxy::domain::peer::AlternativeName;
use obo_proxy::pipeline::accept::certificate;

/// Whatever a subject holds, its text is a list of attributes that nothing in a value can add to.
pub fn check(der: &[u8]) {
    let read = certificate::read(der);
    assert_eq!(read.digest, Digest::of(der));
    for attribute in attributes(&read.subject) {
        let (name, value) = attribute.split_once('=').unwrap();
        let is_known = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
        assert!(!name.is_empty() && is_known, "{}", read.subject);
        assert!(!value.contains('\0'));
    }
    for name in &read.names {
        if let AlternativeName::Dns(name) = name {
            assert_eq!(*name, name.to_ascii_lowercase());
        }
    }
}

/// The text of a name, cut at the commas and plus signs that are not escaped (RFC 4514 section 3).
fn attributes(subject: &str) -> Vec<String> {
    let (mut all, mut is_escaped) = (vec![String::new()], false);
    for character in subject.chars() {
        let last = all.last_mut().unwrap();
        match character {
            _ if is_escaped => {
                last.push(character);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            ',' | '+' => all.push(String::new()),
            _ => last.push(character),
        }
    }
    assert!(!is_escaped, "{subject}");
    all.retain(|attribute| !subject.is_empty() || !attribute.is_empty());
    all
}
