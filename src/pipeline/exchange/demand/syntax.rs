//! The grammar of `WWW-Authenticate` (RFC 9110 section 11.6.1), read leniently where servers write it so. Pure.

use std::borrow::Cow;

/// One challenge of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// The scheme, in any case.
    pub scheme: &'a str,
    parameters: Vec<(&'a str, Cow<'a, str>)>,
}

impl Challenge<'_> {
    /// The value of the parameter of that name; `None` if there is none, or more than one.
    pub fn value(&self, name: &str) -> Option<&str> {
        let mut values = self.parameters.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name));
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value.as_ref())
    }
}

/// The challenges of a field, up to where it breaks the grammar.
pub fn challenges(field: &str) -> Vec<Challenge<'_>> {
    let mut found = Vec::new();
    let mut rest = field;
    loop {
        rest = after_separators(rest);
        let Some((scheme, after)) = token(rest) else { return found };
        if !after.is_empty() && !after.starts_with([' ', '\t', ',']) {
            return found;
        }
        rest = after_space(after);
        let mut challenge = Challenge { scheme, parameters: Vec::new() };
        match token68(rest) {
            Some(after) => rest = after,
            None => {
                while let Some((parameter, after)) = parameter(after_separators(rest)) {
                    challenge.parameters.push(parameter);
                    rest = after;
                }
            }
        }
        found.push(challenge);
    }
}

fn after_separators(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', ','])
}

fn after_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// A token (RFC 9110 section 5.6.2), and what follows it.
fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(token, _)| !token.is_empty())
}

/// What follows a token68, if there is one: nothing but a comma may.
fn token68(text: &str) -> Option<&str> {
    let is_token68 = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let after = text.trim_start_matches(is_token68);
    if after.len() == text.len() {
        return None;
    }
    let after = after_space(after.trim_start_matches('='));
    (after.is_empty() || after.starts_with(',')).then_some(after)
}

/// A parameter's name and value, and what follows them.
fn parameter(text: &str) -> Option<((&str, Cow<'_, str>), &str)> {
    let (name, after) = token(text)?;
    let after = after_space(after_space(after).strip_prefix('=')?);
    let (value, after) = match after.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        // base64 is written without quotes too, though it is no token
        None => {
            let end = after.find([' ', '\t', ',', '"']).unwrap_or(after.len());
            let (value, after) = after.split_at_checked(end)?;
            (Cow::Borrowed(value), after)
        }
    };
    Some(((name, value), after))
}

/// The content of a quoted string (RFC 9110 section 5.6.4) after its first quote, and what follows the last.
fn unquoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let (plain, after) = text.split_once('"')?;
    if !plain.contains('\\') {
        return Some((Cow::Borrowed(plain), after));
    }
    let mut value = String::new();
    let mut rest = text.chars();
    loop {
        match rest.next()? {
            '"' => return Some((Cow::Owned(value), rest.as_str())),
            '\\' => value.push(rest.next()?),
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(field: &str) -> Vec<(String, Vec<(String, String)>)> {
        let pair = |(name, value): &(&str, Cow<'_, str>)| ((*name).to_owned(), value.to_string());
        challenges(field)
            .iter()
            .map(|challenge| (challenge.scheme.to_owned(), challenge.parameters.iter().map(pair).collect()))
            .collect()
    }

    #[track_caller]
    fn check(field: &str, expected: &[(&str, &[(&str, &str)])]) {
        let owned = |(scheme, parameters): &(&str, &[(&str, &str)])| {
            let pairs = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            ((*scheme).to_owned(), pairs.collect())
        };
        assert_eq!(shown(field), expected.iter().map(owned).collect::<Vec<_>>(), "{field}");
    }

    #[test]
    fn a_field_holds_any_number_of_challenges() {
        check("", &[]);
        check("Bearer", &[("Bearer", &[])]);
        check("Negotiate, Bearer", &[("Negotiate", &[]), ("Bearer", &[])]);
        check("Negotiate a87421000492aa==, NTLM", &[("Negotiate", &[]), ("NTLM", &[])]);
        // the example of RFC 9110 section 11.6.1
        check(
            r#"Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"""#,
            &[
                ("Basic", &[("realm", "simple")]),
                ("Newauth", &[("realm", "apps"), ("type", "1"), ("title", r#"Login to "apps""#)]),
            ],
        );
    }

    #[test]
    fn parameters_are_separated_in_more_ways_than_one() {
        let expected: &[(&str, &[(&str, &str)])] = &[("Bearer", &[("a", "1"), ("b", "2,3"), ("c", "e30=")])];
        for field in [
            r#"Bearer a=1, b="2,3", c=e30="#,
            r#"Bearer a = 1 ,,b= "2,3",	c="e30=" ,"#,
            r#", Bearer   a="1" b="2,3" c=e30="#,
        ] {
            check(field, expected);
        }
    }

    #[test]
    fn what_breaks_the_grammar_ends_the_reading() {
        check(r#"Bearer a=1, b="open"#, &[("Bearer", &[("a", "1")])]);
        check(r#"Bearer a=1, b="open\""#, &[("Bearer", &[("a", "1")])]);
        check("Bearer a=1, (b)=2", &[("Bearer", &[("a", "1")])]);
        check("a=1, Bearer b=2", &[]);
        check("\u{e4} Bearer", &[]);
    }

    #[test]
    fn a_parameter_that_is_repeated_has_no_value() {
        let [challenge] = challenges("Bearer a=1, B=2, b=3").try_into().unwrap();
        assert_eq!(
            (challenge.value("A"), challenge.value("b"), challenge.value("c")),
            (Some("1"), None, None)
        );
    }

    proptest! {
        #[test]
        fn any_field_can_be_read(field in r#"([a-zA-Z=", \\/+-]|.){0,200}"#) {
            for challenge in challenges(&field) {
                prop_assert!(!challenge.scheme.is_empty());
            }
        }

        #[test]
        fn what_is_quoted_is_read_back(values in proptest::collection::vec("[ -~]{0,20}", 1..5)) {
            let quoted = values.iter().enumerate().map(|(at, value)| {
                format!("p{at}=\"{}\"", value.replace('\\', r"\\").replace('"', "\\\""))
            });
            let field = format!("Basic realm=x, Bearer {}", quoted.collect::<Vec<_>>().join(", "));
            let challenges = challenges(&field);
            prop_assert_eq!(challenges.len(), 2);
            for (at, value) in values.iter().enumerate() {
                prop_assert_eq!(challenges[1].value(&format!("P{at}")), Some(value.as_str()));
            }
        }
    }
}
