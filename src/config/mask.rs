//! What must not be shown: decided by where a value stands and what it looks like, never by what it is used for.
//!
//! A secret is most often shown by a mistake nobody foresaw: a mis-spelt key, a value on the wrong level. So a value is shown
//! only where the schema knows of one; words are compared loosely, and whatever hangs below one of them is hidden, but for the
//! leaves that only name a secret's place.

use crate::config::node::Path;
use crate::config::node::Segment;
use crate::config::places;
use crate::domain::printable;

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// Longer values are cut when they are shown.
const LONGEST_SHOWN: usize = 80;

/// A longer text is not taken for the path of a file.
const LONGEST_PATH: usize = 255;

/// Words that make a secret of what hangs below them. Compared without case, mis-spellings included.
const SECRET_WORDS: [&str; 7] =
    ["secret", "password", "passphrase", "credential", "assertion", "authorization", "passwd"];

/// The same, but too short or too common to guess mis-spellings of.
const EXACT_SECRET_WORDS: [&str; 12] =
    ["key", "keys", "apikey", "pwd", "pass", "psk", "bearer", "pin", "value", "valu", "vale", "val"];

/// Settings below a secret word, by the key above them and their own, whose values are no secrets.
const OPEN_SETTINGS: [(&str, &str); 6] = [
    ("certificate", "algorithm"),
    ("certificate", "send_x5c"),
    ("certificate", "assertion_audience"),
    ("managed_identity", "client_id"),
    ("managed_identity", "object_id"),
    ("managed_identity", "resource_id"),
];

/// Keys below a secret word that are no secrets themselves, and may be shown.
const KNOWN_KEYS: [&str; 16] = [
    "secret",
    "file",
    "env",
    "value",
    "certificate",
    "federated_token",
    "workload_identity",
    "managed_identity",
    "key",
    "algorithm",
    "send_x5c",
    "client_id",
    "object_id",
    "resource_id",
    "password",
    "assertion_audience",
];

/// Whether a scalar at `path` must not be shown, as long as nobody knows what it says.
pub fn is_secret_value(path: &Path) -> bool {
    let keys = path.keys();
    if matches!(keys.as_slice(), ["cache", "key"]) {
        return false;
    }
    if keys.contains(&"") {
        // a key that got lost: nobody knows what it was
        return true;
    }
    // elsewhere it is an open word
    let is_admin_token = matches!(keys.as_slice(), ["admin", own, ..] if resembles(own, "token"));
    let named = matches!(path.0.last(), Some(Segment::Key(leaf)) if matches!(leaf.as_ref(), "file" | "env"));
    let open = matches!(keys.as_slice(), [.., above, leaf] if OPEN_SETTINGS.contains(&(above, leaf)));
    !named && !open && (is_admin_token || holds_secret_word(&keys))
}

/// Whether the key that ends `path` must not be shown: somebody may have written a secret where a key belongs.
pub fn is_secret_key(path: &Path) -> bool {
    let mut keys = path.keys();
    let Some(own) = keys.pop() else { return false };
    if is_position(own) {
        return false;
    }
    looks_secret(own) || (holds_secret_word(&keys) && !KNOWN_KEYS.iter().any(|known| resembles(own, known)))
}

/// Whether the scalar `text` at `path` must not be shown.
pub fn is_secret(path: &Path, text: &str) -> bool {
    (is_secret_value(path) && !names_key_file(path, text)) || looks_secret(text)
}

/// Whether `value` looks like a secret wherever it stands: a JWT, a PEM block, a client secret as Entra makes them, a
/// URL with a password (even without its scheme), a query or a fragment, or a text that has swallowed part of the file.
pub fn looks_secret(value: &str) -> bool {
    let login = value.contains(':') && (value.contains('@') || value.contains("%40"));
    let url = login || value.split_once("://").is_some_and(|(_, rest)| rest.contains(['?', '#']));
    let swallowed = value.contains('\n') || (value.contains(':') && secret_word_end(value).is_some());
    let of_entra = value.find("Q~") == Some(4);
    value.starts_with("eyJ") || of_entra || value.contains("-----BEGIN") || url || swallowed
}

/// Whether the scalar `text` at `path` must not be shown: in the configuration in use, in an excerpt of a file, in a message.
/// What is sent to others and the same for every caller, or has to come from them, may be a secret whatever it is called:
/// only who wrote it can tell. And nobody can tell what a value is that stands where none belongs.
pub fn is_hidden(path: &Path, text: &str) -> bool {
    let is_private = match path.keys().as_slice() {
        ["identity_providers", _, "parameters", ..] | ["routes", _, "match", "headers", ..] => true,
        ["routes", _, "headers", "set", ..] | ["defaults", "headers", "set", ..] => !is_one_claim(text),
        _ => false,
    };
    is_private || is_secret(path, text) || !places::takes_value(path)
}

/// Whether `text` is the path of a file with a private key, where one belongs. A key itself, in PEM or bare base64, does not look
/// like it: DER begins with a SEQUENCE, in base64 with an M, and base64 has no dots.
fn names_key_file(path: &Path, text: &str) -> bool {
    let belongs = matches!(
        path.keys().as_slice(),
        [.., "certificate" | "client_certificate" | "tls" | "certificates", "key"]
    );
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-@".contains(&byte);
    let is_rooted = ["/", "./", "../"].iter().any(|root| text.starts_with(root));
    let has_extension = text.rsplit('/').next().is_some_and(|name| name.contains('.'));
    belongs && text.len() <= LONGEST_PATH && text.bytes().all(is_plain) && (is_rooted || has_extension)
}

/// Whether a template is a claim and nothing else.
fn is_one_claim(text: &str) -> bool {
    let claim = text.strip_prefix("{claims.").and_then(|rest| rest.strip_suffix('}'));
    claim.is_some_and(|name| !name.contains(['{', '}', ' ']))
}

/// Whether `key` is the number of an item, as someone may write it who means a list.
pub fn is_position(key: &str) -> bool {
    matches!(key.len(), 1 | 2) && key.bytes().all(|byte| byte.is_ascii_digit())
}

/// `value` as a message may show it: masked, cut, and without control characters.
pub fn shown(path: &Path, value: &str) -> String {
    if is_hidden(path, value) { MASK.into() } else { cut(value) }
}

/// `value` cut, and without control characters.
fn cut(value: &str) -> String {
    let mut text: String = value.chars().take(LONGEST_SHOWN).map(printable::letter).collect();
    if value.chars().nth(LONGEST_SHOWN).is_some() {
        text.push('…');
    }
    text
}

/// The key that ends `path` as a message may show it.
pub fn shown_key(path: &Path) -> String {
    match path.0.last() {
        Some(Segment::Key(_)) if is_secret_key(path) => MASK.into(),
        Some(Segment::Key(key)) => cut(key),
        Some(Segment::Item(item)) => item.to_string(),
        None => String::new(),
    }
}

/// `path` as a message may show it.
pub fn shown_path(path: &Path) -> String {
    let mut shown = Path::default();
    let mut way = Path::default();
    for segment in &path.0 {
        way = way.and(segment.clone());
        shown = match segment {
            Segment::Key(_) => shown.key(&shown_key(&way)),
            Segment::Item(_) => shown.and(segment.clone()),
        };
    }
    shown.to_string()
}

/// Where the first secret word of a raw line ends, as a byte offset. Used where a file could not be parsed.
pub fn secret_word_end(text: &str) -> Option<usize> {
    let mut start = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        let in_word = character.is_alphanumeric() || character == '_' || character == '-';
        match start {
            None if in_word => start = Some(at),
            Some(from) if !in_word => {
                if text.get(from..at).is_some_and(is_secret_word) {
                    return Some(at);
                }
                start = None;
            }
            _ => {}
        }
    }
    None
}

/// Names that operators give to listeners, upstreams and routes do not count: `routes.secrets` is a route. Names of
/// identity providers do: there, a lost level of indentation puts `secret` in their place.
fn holds_secret_word(keys: &[&str]) -> bool {
    match keys {
        ["listeners" | "upstreams" | "routes", _, rest @ ..] if !rest.is_empty() => {
            rest.iter().any(|key| is_secret_word(key))
        }
        _ => keys.iter().any(|key| is_secret_word(key)),
    }
}

fn is_secret_word(key: &str) -> bool {
    let key = key.to_lowercase();
    let whole: String = key.chars().filter(|character| character.is_alphanumeric()).collect();
    let loose = |part: &str| {
        EXACT_SECRET_WORDS.contains(&part)
            || SECRET_WORDS
                .iter()
                .any(|word| part.contains(word) || (part.len() >= 4 && resembles(part, word)))
    };
    whole == "tokenvalue" || loose(&whole) || key.split(|c: char| !c.is_alphanumeric()).any(loose)
}

/// Whether `word` is `known` with two typing errors at most. Lengths are compared first: this runs for every key of a
/// file.
fn resembles(word: &str, known: &str) -> bool {
    word.len().abs_diff(known.len()) <= 2 && strsim::osa_distance(known, word) <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Path {
        Path(text.split('.').map(|key| Segment::Key(key.into())).collect())
    }

    #[test]
    fn what_hangs_below_a_secret_word_is_hidden_even_mis_spelt() {
        for hidden in [
            "identity_providers.contoso.credential.secret.value",
            "identity_providers.contoso.credential",
            "identity_providers.contoso.secrt",
            "identity_providers.contoso.credental.secert.value",
            "identity_providers.contoso.client_secret",
            "identity_providers.secret.value",
            "identity_providers.contoso.credential.certificate.password",
            "identity_providers.contoso.credential.certificate.key",
            "identity_providers.contoso.credential.secret.algorithm",
            "identity_providers.contoso.credential.client_id",
            "identity_providers.contoso.parameters.client-assertion",
            "cache.redis.password.value",
            "cache.redis.password",
            "cache.redis.encryption_keys",
            "cache.redis.encryption_keys.value",
            "cache.redis.encryption_key.valu",
            "cache.redis.sentinel.password.value",
            "admin.token",
            "admin.tokn",
            "admin.token.value",
            "x.token_value",
            "x.api_key",
            "x.apiKey",
            "x.Password",
        ] {
            assert!(is_secret_value(&path(hidden)), "{hidden}");
        }
        for open in [
            "identity_providers.contoso.credential.secret.file",
            "identity_providers.contoso.credential.secret.env",
            "identity_providers.contoso.credential.certificate.file",
            "identity_providers.contoso.credential.certificate.algorithm",
            "identity_providers.contoso.credential.certificate.assertion_audience",
            "identity_providers.contoso.credential.managed_identity.client_id",
            "identity_providers.contoso.client_id",
            "identity_providers.contoso.entra.tenant",
            "routes.secrets.upstream",
            "routes.orders.exchange.scopes",
            "routes.orders.token",
            "routes.orders.exchange.requested_token_type",
            "cache.key",
            "cache.expiry_margin",
            "admin.token.file",
            "admin.address",
            "cache.redis.url",
            "cache.redis.cluster",
            "cache.redis.username",
            "cache.redis.password.file",
            "cache.redis.encryption_keys.env",
            "cache.redis.tls.client_certificate.file",
            "cache.redis.sentinel.master",
            "cache.redis.timeout",
        ] {
            assert!(!is_secret_value(&path(open)), "{open}");
        }
    }

    #[test]
    fn a_secret_written_as_a_key_is_hidden_and_a_mis_spelt_key_is_not() {
        assert!(is_secret_key(&path("identity_providers.contoso.credential.hunter2")));
        assert!(is_secret_key(&path("identity_providers.contoso.credential.secret.hunter2")));
        assert!(!is_secret_key(&path("identity_providers.contoso.credential.secrt")));
        assert!(!is_secret_key(&path("identity_providers.contoso.credential.secret.fil")));
        assert!(!is_secret_key(&path("routes.orders.scpoes")));
    }

    #[test]
    fn the_path_of_a_private_key_is_shown_and_a_key_in_its_place_is_not() {
        let places = [
            "identity_providers.contoso.credential.certificate.key",
            "listeners.public.tls.key",
            "listeners.public.tls.certificates.key",
            "upstreams.graph.tls.client_certificate.key",
            "cache.redis.tls.client_certificate.key",
        ];
        for place in places {
            for shown in
                ["/etc/obo-proxy/tls.key", "/run/secrets/key", "tls.key", "./key", "../secrets/a@b.pem"]
            {
                assert!(!is_hidden(&path(place), shown), "{place}: {shown}");
            }
            for hidden in [
                "hunter2",
                "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7",
                "MHcCAQEEIOJ/9w0BAQEF+ASCBKcwggSj==",
                "-----BEGIN PRIVATE KEY-----",
                "eyJrdHkiOiJFQyJ9.x.y",
                "/etc/key with a blank",
                "{d: 1.5}",
            ] {
                assert!(is_hidden(&path(place), hidden), "{place}: {hidden}");
            }
            assert!(is_hidden(&path(place), &format!("/{}", "a".repeat(300))), "{place}");
        }
        for place in [
            "identity_providers.contoso.key",
            "cache.redis.encryption_keys",
            "admin.token",
            "x.certificate.pin",
        ] {
            assert!(is_hidden(&path(place), "/etc/obo-proxy/tls.key"), "{place}");
        }
    }

    #[test]
    fn what_is_sent_to_others_is_hidden_unless_it_is_a_claim() {
        for (at, text, expected) in [
            ("routes.a.headers.set.x-tag", "blue", true),
            ("defaults.headers.set.x-tag", "blue", true),
            ("routes.a.headers.set.x-user", "{claims.oid}", false),
            ("routes.a.headers.set.x-user", "{claims.oid}:hunter2:{claims.tid}", true),
            ("routes.a.headers.set.x-user", "hunter2{claims.oid}", true),
            ("routes.a.match.headers.x-channel", "web", true),
            ("identity_providers.a.parameters.x", "y", true),
            ("routes.a.upstream", "legacy", false),
            ("routes.a.headers.remove", "cookie", false),
        ] {
            assert_eq!(is_hidden(&path(at), text), expected, "{at}: {text}");
        }
    }

    #[test]
    fn some_values_are_hidden_wherever_they_stand() {
        for hidden in [
            "https://user:pw@host/",
            "https://host/?code=1",
            "user:pw@host",
            "pw@host:6379",
            "https://user%3Apw%40host/",
            "eyJhbGciOiJub25lIn0",
            "-----BEGIN KEY-----",
            "abc8Q~abcdefghijklmnopqrstuvwxyz01234567",
            "a\nb",
        ] {
            assert_eq!(shown(&path("routes.a.upstream"), hidden), MASK, "{hidden}");
        }
        assert_eq!(shown(&path("routes.a.upstream"), "http://host"), "http://host");
        assert_eq!(shown(&path("routes.a.upstream"), "a\u{1b}[31m"), "a\u{fffd}[31m");
    }
}
