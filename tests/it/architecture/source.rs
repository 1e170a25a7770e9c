//! Rust source as far as the architecture test reads it: code without comments and strings, and the paths in it.

/// `text` with comments, strings and character literals blanked out. Lines stay where they are.
pub fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = comment(rest).or_else(|| string(rest, &code)).or_else(|| character(rest));
        match skipped {
            Some(length) => {
                let (gone, after) = rest.split_at(length);
                code.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
                rest = after;
            }
            None => {
                code.push(first);
                rest = rest.split_at(first.len_utf8()).1;
            }
        }
    }
    code
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    rest.starts_with("/*").then(|| rest.find("*/").map_or(rest.len(), |end| end + 2))
}

/// A string of any kind: plain, raw, of bytes, for C.
fn string(rest: &str, before: &str) -> Option<usize> {
    let prefixed = if before.ends_with(is_word) { rest } else { rest.trim_start_matches(['b', 'c']) };
    let prefix = rest.len() - prefixed.len();
    let raw = prefixed.strip_prefix('r').filter(|_| !before.ends_with(is_word));
    if let Some(raw) = raw {
        let quoted = raw.trim_start_matches('#');
        let hashes = raw.len() - quoted.len();
        if let Some(body) = quoted.strip_prefix('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let length = body.find(&end).map(|at| prefix + 1 + hashes + 1 + at + end.len());
            return Some(length.unwrap_or(rest.len()));
        }
    }
    let body = prefixed.strip_prefix('"')?;
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            '"' if !escaped => return Some(prefix + at + 2),
            _ => escaped = c == '\\' && !escaped,
        }
    }
    Some(rest.len())
}

/// A character literal; a lifetime has no closing quote two characters on.
fn character(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix('\'')?;
    let mut characters = body.char_indices();
    let (_, first) = characters.next()?;
    if first == '\\' {
        let (at, _) = characters.skip(1).find(|(_, c)| *c == '\'')?;
        return Some(at + 2);
    }
    let (at, second) = characters.next()?;
    (second == '\'').then_some(at + 2)
}

/// `code` up to its test module, which is last in a file.
pub fn without_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod tests").map_or(code, |at| code.split_at(at).0)
}

/// A path as written: `crate::a::b`, or with what ends it: `crate::a::{`, `super::*`.
#[derive(Debug, PartialEq, Eq)]
pub struct Path {
    /// Its names.
    pub names: Vec<String>,
    /// What stands after the last `::`, if that is no name.
    pub end: Option<char>,
    /// Where it begins.
    pub at: usize,
}

/// Every path of at least two parts in `code` that begins with a name.
pub fn paths(code: &str) -> Vec<Path> {
    let mut paths = Vec::new();
    let mut at = 0;
    while let Some(found) = code.split_at(at).1.find("::") {
        let colons = at + found;
        let start = code.split_at(colons).0.trim_end_matches(is_word).len();
        let mut names = vec![code.split_at(start).1.split_at(colons - start).0.to_owned()];
        let mut rest = code.split_at(colons).1;
        while let Some(after) = rest.strip_prefix("::") {
            let name = after.split_at(after.len() - after.trim_start_matches(is_word).len()).0;
            rest = after.split_at(name.len()).1;
            if name.is_empty() {
                break;
            }
            names.push(name.to_owned());
        }
        at = code.len() - rest.len();
        let end = code.split_at(at).0.ends_with("::").then(|| rest.chars().next()).flatten();
        if names.first().is_some_and(|name| !name.is_empty()) {
            paths.push(Path { names, end, at: start });
        }
    }
    paths
}

/// Whether `word` stands in `code` as a word of its own.
pub fn has_word(code: &str, word: &str) -> bool {
    code.split(|c| !is_word(c)).any(|own| own == word)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_not_code() {
        let text = "a // b\n/* c\n */ d(\"e \\\" f\", r#\"g \" h\"#, 'i', '\\'', b\"j\", br\"k\") /// o\nfn l<'m>(n: &'m str)";
        let code = code(text);
        for gone in ["b", "c", "e", "f", "g", "h", "i", "j", "k", "br", "o"] {
            assert!(!has_word(&code, gone), "{gone} in {code}");
        }
        for kept in ["a", "d", "fn", "l", "m", "n", "str"] {
            assert!(has_word(&code, kept), "{kept} in {code}");
        }
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn paths_are_found_in_use_lines_and_expressions() {
        let found = |code: &str| {
            let paths = paths(code).into_iter();
            paths.map(|path| (path.names.join("/"), path.end)).collect::<Vec<_>>()
        };
        assert_eq!(
            found("use crate::a::B; f(crate::c::d())"),
            [("crate/a/B".into(), None), ("crate/c/d".into(), None)]
        );
        assert_eq!(
            found("use crate::{a, b}; use x::*;"),
            [("crate".into(), Some('{')), ("x".into(), Some('*'))]
        );
        assert_eq!(found("Vec::<u8>::new() <A as B>::c"), [("Vec".into(), Some('<'))]);
    }
}
