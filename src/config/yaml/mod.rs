//! YAML, cut down to what a configuration needs: maps, lists and texts.
//!
//! **In:** a file's text. **Out:** values for the `config` crate, and a [`Document`] that knows where each was written.
//! **Never:** guesses types, expands an alias, recurses, or stops at the first complaint if it can go on.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use config::FileStoredFormat;
use config::Format;
use config::Map;
use config::Value;

use crate::config::node::Path;
use crate::config::node::Span;
use crate::config::source::Source;
use crate::config::yaml::reader::Reader;

mod reader;
#[cfg(test)]
mod tests;

/// The longest file, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;

/// What was found in a file, besides its values.
#[derive(Default)]
pub struct Document {
    /// Its text, secrets marked.
    pub source: Source,
    /// Where everything was written.
    pub spots: BTreeMap<Path, Spot>,
    /// What is wrong with it.
    pub complaints: Vec<Complaint>,
    /// Whether it could be read to its end.
    pub complete: bool,
}

/// Where a value was written.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    /// Its key.
    pub key: Option<Span>,
    /// The value itself.
    pub value: Span,
    /// Whether it is a map: those merge, everything else replaces.
    pub is_map: bool,
}

/// Something that is not allowed in a configuration file.
#[derive(Debug)]
pub struct Complaint {
    /// Where.
    pub at: Range<usize>,
    /// What.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The node it makes unusable.
    pub poisons: Option<Path>,
}

/// Our YAML for the `config` crate. What it learns besides the values is left in [`Yaml::take`].
#[derive(Clone)]
pub struct Yaml {
    name: String,
    document: Arc<Mutex<Document>>,
}

impl Yaml {
    /// A format for the file of that name.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), document: Arc::default() }
    }

    /// What was learnt by the last parse.
    pub fn take(&self) -> Document {
        std::mem::take(&mut *self.document.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Hides the text: it may hold secrets.
impl fmt::Debug for Yaml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Yaml({}, ..)", self.name)
    }
}

impl Format for Yaml {
    /// Never fails: complaints are kept for [`Yaml::take`], so that those of several files are reported together.
    fn parse(
        &self,
        _uri: Option<&String>,
        text: &str,
    ) -> Result<Map<String, Value>, Box<dyn Error + Send + Sync>> {
        let (values, document) = Reader::new(&self.name, text).read();
        *self.document.lock().unwrap_or_else(PoisonError::into_inner) = document;
        Ok(values)
    }
}

impl FileStoredFormat for Yaml {
    fn file_extensions(&self) -> &'static [&'static str] {
        &["yaml", "yml"]
    }
}
