//! Answers as pages print them, beside those that come: `…` stands for anything.

use serde_json::Value;

/// Whether a text is as printed.
pub fn matches(printed: &str, real: &str) -> bool {
    let Some((first, others)) = printed.split_once('…') else { return printed == real };
    let (between, last) = others.rsplit_once('…').unwrap_or(("", others));
    let Some(rest) = real.strip_prefix(first) else { return false };
    let rest = between.split('…').try_fold(rest, |rest, part| Some(rest.split_once(part)?.1));
    rest.is_some_and(|rest| rest.ends_with(last))
}

/// Whether an answer has the status, the fields and the members that are printed. Fields that are not printed may be there.
pub fn is_like(printed: &str, real: &str) -> bool {
    let real = real.replace('\r', "");
    let (head, body) = real.split_once("\n\n").unwrap_or((&real, ""));
    let printed = printed.trim_end();
    let (printed, printed_body) = printed.split_once("\n\n").unwrap_or((printed, ""));
    let has = |line: &str| head.lines().any(|real| matches(line, real.trim_end()));
    printed.lines().all(has) && (printed_body.is_empty() || is_same_shape(printed_body, body))
}

/// Whether JSON has the members that are printed, and no others.
pub fn is_same_shape(printed: &str, real: &str) -> bool {
    let printed: Value = serde_json::from_str(printed).unwrap();
    serde_json::from_str(real).is_ok_and(|real| is_same(&printed, &real))
}

fn is_same(printed: &Value, real: &Value) -> bool {
    match (printed, real) {
        (Value::String(printed), Value::String(real)) => matches(printed, real),
        (Value::Array(printed), Value::Array(real)) => {
            printed.len() == real.len()
                && printed.iter().zip(real).all(|(printed, real)| is_same(printed, real))
        }
        (Value::Object(printed), Value::Object(real)) => {
            printed.len() == real.len()
                && printed
                    .iter()
                    .all(|(name, printed)| real.get(name).is_some_and(|real| is_same(printed, real)))
        }
        (printed, real) => printed == real,
    }
}

#[test]
fn a_printed_answer_leaves_open_what_it_says_it_does_and_nothing_else() {
    assert!(
        matches("a", "a")
            && matches("a…c", "abc")
            && matches("…", "")
            && matches("a…", "abc")
            && matches("a…c", "acbc")
    );
    assert!(!matches("a…c", "abcd") && !matches("a", "ab") && !matches("b…", "ab"));
    let real = "HTTP/1.1 401 Unauthorized\r\nx: 1\r\nwww-authenticate: Bearer realm=\"r\"\r\n\r\n{\"a\":\"b\",\"c\":[1]}";
    assert!(is_like("HTTP/1.1 401 Unauthorized\nwww-authenticate: Bearer …\n", real));
    assert!(is_like("HTTP/1.1 401 Unauthorized\n\n{\"c\": [1], \"a\": \"…\"}\n", real));
    assert!(!is_like("HTTP/1.1 403 Forbidden\n", real));
    assert!(!is_like("HTTP/1.1 401 Unauthorized\ny: …\n", real));
    assert!(!is_like("HTTP/1.1 401 Unauthorized\n\n{\"a\": \"b\"}\n", real));
}
