//! Which characters may be shown: no terminal obeys them, and no reader overlooks them or reads what follows the other way
//! round. Whatever is shown or logged goes by this. Pure.

use std::borrow::Cow;
use std::fmt::Write;

/// The most bytes of a path or a method that are logged or recorded of a request: whoever sends it chooses them.
pub const LONGEST: usize = 1024;

/// Whether `letter` may be shown. Not shown are controls of both sets (C0 and C1), what turns the direction of text, breaks
/// its lines, or takes no room (Unicode Standard Annex 9 section 2, Annex 31 section 2.3).
pub fn is_printable(letter: char) -> bool {
    let is_unseen = matches!(
        letter,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    !letter.is_control() && !is_unseen
}

/// `letter`, or a sign for one that may not be shown.
pub fn letter(letter: char) -> char {
    match letter {
        '\t' => ' ',
        other if is_printable(other) => other,
        _ => '\u{fffd}',
    }
}

/// `text` in one line, with a sign for each letter that may not be shown.
pub fn line(text: &str) -> String {
    text.chars().map(letter).collect()
}

/// The same with its line breaks: for text whose lines are ours.
pub fn lines(text: &str) -> String {
    text.chars().map(|own| if own == '\n' { own } else { letter(own) }).collect()
}

/// `text` in one line, with what may not be shown written as an escape: for logs, where it is to be found again.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match is_printable(letter) {
            true => out.push(letter),
            false => out.extend(letter.escape_default()),
        }
    }
    out.into()
}

/// JSON with what may not be shown escaped, which its writers do below U+0020 only (RFC 8259 section 7): outside of texts
/// it has no such letters but blanks.
pub fn json(json: String) -> String {
    let is_plain = |letter: char| letter < ' ' || is_printable(letter);
    // nearly every line of a log is ASCII
    if json.bytes().all(|byte| byte < 0x7f) || json.chars().all(is_plain) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for letter in json.chars() {
        if is_plain(letter) {
            out.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            // writing to a text does not fail
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// `text` as far as [`LONGEST`], and a sign that it was longer.
pub fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text.into();
    }
    let end = text.floor_char_boundary(LONGEST);
    format!("{}…", text.get(..end).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One of each kind that does something to a terminal or to who reads it.
    const OBEYED: [char; 20] = [
        '\0',
        '\u{7}',
        '\u{1b}',
        '\u{7f}',
        '\u{85}',
        '\u{9b}',
        '\u{9d}',
        '\u{ad}',
        '\u{61c}',
        '\u{180e}',
        '\u{200b}',
        '\u{200f}',
        '\u{2028}',
        '\u{2029}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{feff}',
        '\u{fff9}',
        '\u{e0041}',
    ];

    #[test]
    fn nothing_that_is_obeyed_or_overlooked_is_shown() {
        for letter in OBEYED {
            let text = format!("a{letter}b");
            assert_eq!(line(&text), "a\u{fffd}b", "{letter:?}");
            assert_eq!(lines(&format!("{text}\n")), "a\u{fffd}b\n", "{letter:?}");
            assert!(escaped(&text).chars().all(|own| own.is_ascii_graphic()), "{letter:?}");
        }
        assert_eq!((line("a\tb\nc"), escaped("a\nb").as_ref()), ("a b\u{fffd}c".into(), "a\\nb"));
    }

    #[test]
    fn what_people_write_is_shown() {
        for text in ["Jörg – “7 %” … ‰", "日本語 עברית العربية", "e\u{301} 🙂"] {
            assert_eq!((line(text).as_str(), escaped(text).as_ref()), (text, text));
        }
    }

    #[test]
    fn json_says_the_same_and_holds_nothing_that_is_obeyed() {
        for letter in OBEYED {
            let value = serde_json::json!({ format!("k{letter}"): [format!("{letter}é\"")] });
            let text = json(format!("{value:#}"));
            assert!(text.chars().all(|own| own == '\n' || is_printable(own)), "{letter:?}: {text}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).ok(), Some(value), "{letter:?}");
        }
        assert_eq!(json("{\n \"é\": 1}".into()), "{\n \"é\": 1}");
    }

    #[test]
    fn long_texts_are_cut_between_letters_and_say_so() {
        let just = "é".repeat(LONGEST / 2);
        assert_eq!(cut(&just), just);
        assert_eq!(cut(&format!("a{just}")), format!("a{}…", "é".repeat(LONGEST / 2 - 1)));
    }

    proptest! {
        #[test]
        fn any_json_says_the_same(text in any::<String>()) {
            let written = json(serde_json::Value::from(text.as_str()).to_string());
            prop_assert!(written.chars().all(is_printable), "{}", written);
            prop_assert_eq!(serde_json::from_str::<String>(&written).ok(), Some(text));
        }
    }
}
