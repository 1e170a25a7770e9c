//! Serde over the merged tree: scalars become what the target type wants, and an error knows the path it happened at.

use std::borrow::Cow;
use std::collections::btree_map;
use std::fmt;
use std::fmt::Display;
use std::sync::Arc;

use serde::de;
use serde::de::DeserializeSeed;
use serde::de::Expected;
use serde::de::IntoDeserializer;
use serde::de::Unexpected;
use serde::de::Visitor;
use serde::de::value::SeqDeserializer;
use serde::de::value::StrDeserializer;

use crate::config::node::Kind;
use crate::config::node::Node;
use crate::config::node::Path;
use crate::config::node::Place;
use crate::config::node::Segment;

/// Why a node is not what its place wants.
#[derive(Debug)]
pub enum Fault {
    /// A map has a key that means nothing there.
    UnknownKey {
        /// The keys that do.
        expected: &'static [&'static str],
    },
    /// A word is none of those that are allowed.
    UnknownWord {
        /// The allowed ones.
        expected: &'static [&'static str],
    },
    /// A value is of the wrong form.
    Invalid {
        /// What is expected, to be read after "is not".
        expected: String,
    },
}

/// A fault and the path of the node that is at fault.
#[derive(Debug)]
pub struct Error {
    /// The steps, innermost first.
    way: Vec<Segment>,
    /// What is wrong.
    pub fault: Fault,
}

impl Error {
    fn new(fault: Fault) -> Self {
        Self { way: Vec::new(), fault }
    }

    fn below(mut self, segment: Segment) -> Self {
        self.way.push(segment);
        self
    }

    /// The path of the node at fault; of an unknown key, the key's.
    pub fn path(&self) -> Path {
        Path(self.way.iter().rev().cloned().collect())
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not what it should be", self.path())
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(Fault::Invalid { expected: message.to_string() })
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(expected)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Fault::UnknownKey { expected })
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Fault::UnknownWord { expected })
    }
}

/// Deserializes a node.
impl<'de> de::Deserializer<'de> for &'de Node {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Nil => visitor.visit_unit(),
            Kind::Scalar(text) => visitor.visit_borrowed_str(text),
            Kind::Map(map) => visitor.visit_map(MapReader { entries: map.iter(), value: None }),
            Kind::List(items) => visitor.visit_seq(ListReader(items.iter().enumerate())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Nil => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Scalar(text) if text == "true" => visitor.visit_bool(true),
            Kind::Scalar(text) if text == "false" => visitor.visit_bool(false),
            _ => Err(de::Error::custom("`true` or `false`")),
        }
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let digits = match &self.kind {
            Kind::Scalar(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        visitor.visit_u64(digits.ok_or_else(|| <Error as de::Error>::custom("a whole number"))?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Scalar(text) => visitor.visit_borrowed_str(text),
            _ => Err(de::Error::custom("a text")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    /// A list, or what its type takes for one. In an environment variable commas part its items.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match (&self.kind, &self.origin.value) {
            (Kind::Scalar(text), Place::Environment(_)) => {
                let items: Vec<&str> = text.split(',').map(str::trim).collect();
                if items.contains(&"") {
                    let expected = "a list: write its items with commas between, as in a,b";
                    return Err(de::Error::custom(expected));
                }
                visitor.visit_seq(SeqDeserializer::new(items.into_iter()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    /// An empty entry of a map is an empty map: what is missing in it is told by the checks.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Map(map) => visitor.visit_map(MapReader { entries: map.iter(), value: None }),
            Kind::Nil => visitor.visit_map(MapReader { entries: btree_map::Iter::default(), value: None }),
            _ => Err(de::Error::custom("a map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        expected: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.kind {
            Kind::Scalar(text) => {
                let word: StrDeserializer<'_, Error> = text.as_str().into_deserializer();
                visitor.visit_enum(word)
            }
            _ => Err(Error::new(Fault::UnknownWord { expected })),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf
        unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct MapReader<'de> {
    entries: btree_map::Iter<'de, Arc<str>, Node>,
    value: Option<(&'de Arc<str>, &'de Node)>,
}

impl<'de> de::MapAccess<'de> for MapReader<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, node)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key, node));
        let name: de::value::CowStrDeserializer<'_, Error> = Cow::Borrowed(key.as_ref()).into_deserializer();
        seed.deserialize(name).map(Some).map_err(|error| error.below(Segment::Key(Arc::clone(key))))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let Some((key, node)) = self.value.take() else {
            return Err(de::Error::custom("a map"));
        };
        seed.deserialize(node).map_err(|error| error.below(Segment::Key(Arc::clone(key))))
    }
}

struct ListReader<'de>(std::iter::Enumerate<std::slice::Iter<'de, Node>>);

impl<'de> de::SeqAccess<'de> for ListReader<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((item, node)) = self.0.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|error| error.below(Segment::Item(item)))
    }
}
