//! Texts with a form of their own, and lists that may be written as one text.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use schemars::Schema;
use schemars::SchemaGenerator;
use schemars::json_schema;
use serde::Deserialize;
use serde::Deserializer;
use serde::de::Error;
use serde::de::SeqAccess;
use serde::de::Visitor;

/// The longest duration: a year. Longer ones are typing errors, and overflow when added to a clock.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A duration: a whole number and a unit.
#[derive(Clone, Copy)]
pub struct DurationText(pub Duration);

/// A size in bytes: a whole number and a unit.
#[derive(Clone, Copy)]
pub struct Size(pub u64);

/// A part of a whole: from 0 to 1.
#[derive(Clone, Copy)]
pub struct Ratio(pub f64);

/// How many worker threads.
#[derive(Clone, Copy)]
pub enum Workers {
    /// As many as the cores.
    Auto,
    /// This many.
    Count(usize),
}

/// A list of texts, or one text for a list of one. From the environment: texts with commas between.
pub struct OneOrMany(pub Vec<String>);

/// Reads a text by a function.
struct TextVisitor<T> {
    parse: fn(&str) -> Option<T>,
    expected: &'static str,
}

impl<T> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).ok_or_else(|| E::custom(self.expected))
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a duration: write a number and a unit, as in 250ms, 30s, 5m, 1h";
        deserializer.deserialize_any(TextVisitor { parse: duration, expected }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a size: write a number and a unit, as in 512B, 64KiB, 10MiB, 1GiB";
        deserializer.deserialize_any(TextVisitor { parse: size, expected }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number from 0 to 1, as in 0.1";
        deserializer.deserialize_any(TextVisitor { parse: ratio, expected }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Workers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a number of threads: write `auto` or a whole number from 1 to 1024";
        deserializer.deserialize_any(TextVisitor { parse: workers, expected })
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OneOrManyVisitor).map(Self)
    }
}

struct OneOrManyVisitor;

impl<'de> Visitor<'de> for OneOrManyVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<String>, E> {
        Ok(vec![text.into()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<String>, A::Error> {
        all_items(items)
    }
}

/// All items of a list.
pub fn all_items<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(mut items: A) -> Result<Vec<T>, A::Error> {
    let mut all = Vec::new();
    while let Some(item) = items.next_element()? {
        all.push(item);
    }
    Ok(all)
}

/// The duration that `text` is.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(60 * 60)?),
        _ => return None,
    };
    (duration <= LONGEST).then_some(duration)
}

fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// A number from 0 to 1, in digits.
pub fn ratio(text: &str) -> Option<f64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|ratio| is_plain && (0.0..=1.0).contains(ratio))
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

fn workers(text: &str) -> Option<Workers> {
    match text {
        "auto" => Some(Workers::Auto),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|count| (1..=1024).contains(count)).map(Workers::Count)
        }
        _ => None,
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h)$",
            "description": "A whole number and a unit, as in 250ms, 30s, 5m, 1h.",
        })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(B|KiB|MiB|GiB)$",
            "description": "A whole number and a unit, as in 512B, 64KiB, 10MiB, 1GiB.",
        })
    }
}

impl JsonSchema for Ratio {
    fn schema_name() -> Cow<'static, str> {
        "Ratio".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

impl JsonSchema for Workers {
    fn schema_name() -> Cow<'static, str> {
        "Workers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "oneOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": 1024 }],
        })
    }
}

impl JsonSchema for OneOrMany {
    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }],
            "description": "A text or a list of texts. From the environment: texts with commas between.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, millis) in [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        let bad = ["", "30", "s", "-1s", "1.5s", "1 s", "1d", "1S", "9000h", "99999999999999999999s", "１s"];
        for text in bad {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_ratio_is_a_plain_number_from_0_to_1() {
        for (text, value) in [("0", 0.0), ("1", 1.0), ("0.1", 0.1), ("1.0", 1.0), (".5", 0.5)] {
            assert_eq!(ratio(text), Some(value), "{text}");
        }
        for text in ["", ".", "1.1", "-0", "1e-1", "nan", "inf", "10%", "0,1", "0x1"] {
            assert_eq!(ratio(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_a_number_and_a_binary_unit() {
        for (text, bytes) in [("1B", 1), ("64KiB", 65_536), ("10MiB", 10_485_760), ("1GiB", 1 << 30)] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "64", "64KB", "64k", "KiB", "18446744073709551615KiB"] {
            assert_eq!(size(text), None, "{text}");
        }
    }
}
