//! From YAML events to values, without recursion.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use config::Map;
use config::Value;
use config::ValueKind;
use yaml_rust2::Event;
use yaml_rust2::parser::Parser;
use yaml_rust2::scanner::TScalarStyle;

use crate::config::mask;
use crate::config::node::Path;
use crate::config::node::Segment;
use crate::config::source::Source;
use crate::config::yaml::Complaint;
use crate::config::yaml::Document;
use crate::config::yaml::MAX_BYTES;
use crate::config::yaml::Spot;

mod hiding;

/// The deepest nesting.
const MAX_DEPTH: usize = 64;

/// The most keys and values.
const MAX_NODES: usize = 100_000;

/// The most complaints about one file.
const MAX_COMPLAINTS: usize = 100;

/// Reads one file.
pub struct Reader<'a> {
    text: &'a str,
    document: Document,
    frames: Vec<Frame>,
    root: Option<Value>,
    tokens: Vec<Token>,
    /// Whether the last value was missing where a secret belongs: the next one may be it, under a key on the wrong level.
    lacks_secret: bool,
}

/// An open map or list.
enum Frame {
    Map { table: Map<String, Value>, seen: HashMap<Arc<str>, usize>, key: Option<Key> },
    List(Vec<Value>),
}

/// A key whose value is awaited.
#[derive(Clone)]
struct Key {
    name: Arc<str>,
    at: Range<usize>,
    duplicate: bool,
}

/// A key or scalar of the text. `end` is `None` if only the next token tells.
struct Token {
    start: usize,
    end: Option<usize>,
    secret: bool,
}

/// The file cannot be read on.
struct Stop;

impl<'a> Reader<'a> {
    /// A reader of `text`, the content of the file `name`.
    pub fn new(name: &str, text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document = Document { source: Source::new(name, text), ..Document::default() };
        Self { text, document, frames: Vec::new(), root: None, tokens: Vec::new(), lacks_secret: false }
    }

    /// Reads everything.
    pub fn read(mut self) -> (Map<String, Value>, Document) {
        self.document.complete = self.read_events().is_ok();
        self.hide_secrets();
        let values = match self.root.take().map(|root| root.kind) {
            Some(ValueKind::Table(table)) if self.document.complete => self.without_dotted(table),
            _ => Map::new(),
        };
        (values, self.document)
    }

    fn read_events(&mut self) -> Result<(), Stop> {
        if self.text.len() > MAX_BYTES {
            return self.stop(0..1, "the file is longer than 1 MiB", None);
        }
        let mut parser = Parser::new_from_str(self.text);
        let mut documents = 0;
        loop {
            let (event, mark) = match parser.next_token() {
                Ok(event) => event,
                Err(error) => {
                    let at = error.marker().index().min(self.document.source.len());
                    let message = format!("this is not YAML: {}", error.info());
                    return self.stop(at..at + 1, &message, None);
                }
            };
            let at = mark.index();
            match event {
                Event::StreamEnd => return Ok(()),
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart => {
                    documents += 1;
                    if documents > 1 {
                        let help = "several files can be given instead: later ones win";
                        return self.stop(at..at + 3, "a second document begins here", Some(help));
                    }
                }
                Event::Alias(_) => {
                    self.document.source.hide(at + 1..self.word_end(at));
                    self.complain(at..self.word_end(at), "aliases are not allowed", "write the value again");
                    self.complete_value(Value::new(None, ValueKind::Nil), at..self.word_end(at))?;
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.refuse_decoration(at, anchor, tag.is_some());
                    self.scalar(text, style, at)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.refuse_decoration(at, anchor, tag.is_some());
                    self.open(Frame::List(Vec::new()), at)?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.refuse_decoration(at, anchor, tag.is_some());
                    self.open(Frame::Map { table: Map::new(), seen: HashMap::new(), key: None }, at)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close()?,
            }
        }
    }

    fn scalar(&mut self, text: String, style: TScalarStyle, at: usize) -> Result<(), Stop> {
        let end = self.scalar_end(&text, style, at);
        let span = at..end.unwrap_or(at + 1);
        if self.tokens.len() >= MAX_NODES {
            return self.stop(span, "the file holds more than 100000 keys and values", None);
        }
        if !self.awaits_key() {
            let path = self.path();
            let below_secret = mask::is_secret_value(&path);
            let nothing = style == TScalarStyle::Plain && matches!(text.as_str(), "" | "~" | "null");
            let lost = std::mem::replace(&mut self.lacks_secret, nothing && below_secret);
            let secret = lost || mask::is_hidden(&path, &text);
            self.tokens.push(Token { start: at, end, secret });
            let kind = if nothing { ValueKind::Nil } else { ValueKind::String(text) };
            return self.complete_value(Value::new(None, kind), span);
        }
        let name: Arc<str> = text.into();
        let parent = self.path();
        let Some(Frame::Map { seen, key, .. }) = self.frames.last_mut() else { return Err(Stop) };
        let first = seen.get(&name).copied();
        seen.entry(Arc::clone(&name)).or_insert(at);
        *key = Some(Key { name: Arc::clone(&name), at: span.clone(), duplicate: first.is_some() });
        let path = parent.key(&name);
        self.tokens.push(Token { start: at, end, secret: mask::is_secret_key(&path) });
        if let Some(first) = first {
            let message = format!("duplicate key `{}`", mask::shown_key(&path));
            let line = self.document.source.span(first..first + 1).line;
            self.complain(span, &message, &format!("it was set on line {line} already"));
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame, at: usize) -> Result<(), Stop> {
        if self.awaits_key() {
            return self.stop(at..at + 1, "a key must be a text", None);
        }
        if self.frames.len() >= MAX_DEPTH {
            return self.stop(at..at + 1, "this is nested more than 64 levels deep", None);
        }
        if self.document.spots.len() >= MAX_NODES {
            return self.stop(at..at + 1, "the file holds more than 100000 keys and values", None);
        }
        self.note_spot(at..at + 1, matches!(frame, Frame::Map { .. }));
        self.frames.push(frame);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let value = match self.frames.pop().ok_or(Stop)? {
            Frame::Map { table, .. } => Value::new(None, ValueKind::Table(table)),
            Frame::List(items) => Value::new(None, ValueKind::Array(items)),
        };
        self.put(value)
    }

    /// Takes a value that is no container.
    fn complete_value(&mut self, value: Value, at: Range<usize>) -> Result<(), Stop> {
        if self.awaits_key() {
            return self.stop(at, "a key must be a text", None);
        }
        if self.frames.is_empty() && value.kind != ValueKind::Nil {
            return self.stop(at, "the file must be a map of settings", Some("write `key: value` lines"));
        }
        self.note_spot(at, false);
        self.put(value)
    }

    fn put(&mut self, value: Value) -> Result<(), Stop> {
        match self.frames.last_mut() {
            None if matches!(value.kind, ValueKind::Array(_)) => {
                return self.stop(
                    0..1,
                    "the file must be a map of settings",
                    Some("write `key: value` lines"),
                );
            }
            None => self.root = Some(value),
            Some(Frame::List(items)) => items.push(value),
            Some(Frame::Map { table, key, .. }) => {
                let key = key.take().ok_or(Stop)?;
                if !key.duplicate {
                    table.insert(key.name.as_ref().into(), value);
                }
            }
        }
        Ok(())
    }

    fn awaits_key(&self) -> bool {
        matches!(self.frames.last(), Some(Frame::Map { key: None, .. }))
    }

    /// The path of the value that comes next.
    fn path(&self) -> Path {
        let step = |frame: &Frame| match frame {
            Frame::Map { key, .. } => key.as_ref().map(|key| Segment::Key(Arc::clone(&key.name))),
            Frame::List(items) => Some(Segment::Item(items.len())),
        };
        Path(self.frames.iter().filter_map(step).collect())
    }

    /// Records where the value that comes next stands, unless it is dropped as a duplicate.
    fn note_spot(&mut self, at: Range<usize>, is_map: bool) {
        let dropped = |frame: &Frame| matches!(frame, Frame::Map { key: Some(key), .. } if key.duplicate);
        if self.frames.iter().any(dropped) {
            return;
        }
        let key = match self.frames.last() {
            Some(Frame::Map { key: Some(key), .. }) => Some(self.document.source.span(key.at.clone())),
            _ => None,
        };
        let value = self.document.source.span(at);
        self.document.spots.insert(self.path(), Spot { key, value, is_map });
    }

    fn refuse_decoration(&mut self, at: usize, anchor: usize, tagged: bool) {
        if anchor != 0 {
            let at = self.decoration('&', at);
            self.complain(
                at..self.word_end(at),
                "anchors are not allowed",
                "write the value where it is needed",
            );
        }
        if tagged {
            let at = self.decoration('!', at);
            self.complain(
                at..self.word_end(at),
                "tags are not allowed",
                "every value is read as the type its key wants",
            );
        }
    }

    /// Where the anchor or tag of the node at `before` begins. Its event tells only where the node itself does.
    fn decoration(&self, sign: char, before: usize) -> usize {
        let from = self.tokens.last().map_or(0, |token| token.end.unwrap_or(token.start));
        let between = self.document.source.slice(from.min(before)..before);
        between.iter().position(|character| *character == sign).map_or(before, |at| from + at)
    }

    fn complain(&mut self, at: Range<usize>, message: &str, help: &str) {
        if self.document.complaints.len() >= MAX_COMPLAINTS {
            return;
        }
        let poisons = Some(self.path());
        let help = Some(help.into());
        self.document.complaints.push(Complaint { at, message: message.into(), help, poisons });
    }

    fn stop(&mut self, at: Range<usize>, message: &str, help: Option<&str>) -> Result<(), Stop> {
        let help = help.map(String::from);
        self.document.complaints.push(Complaint { at, message: message.into(), help, poisons: None });
        Err(Stop)
    }

    /// The `config` crate reads a dot or bracket in a top-level key as a path; a file has indentation for that.
    fn without_dotted(&mut self, mut table: Map<String, Value>) -> Map<String, Value> {
        let dotted: Vec<String> = table.keys().filter(|key| key.contains(['.', '['])).cloned().collect();
        for key in dotted {
            table.remove(&key);
            let path = Path::default().key(&key);
            let Some(spot) = self.document.spots.get(&path).and_then(|spot| spot.key) else { continue };
            let start = self.document.source.position(spot);
            let message = format!("unknown setting `{}`", mask::shown_key(&path));
            let help = Some("write the parts of the name below each other, indented".into());
            let at = start..start + spot.width;
            self.document.complaints.push(Complaint { at, message, help, poisons: None });
        }
        table
    }

    /// Where a scalar that begins at `at` ends, if it is on one line.
    fn scalar_end(&self, text: &str, style: TScalarStyle, at: usize) -> Option<usize> {
        let source = &self.document.source;
        match style {
            TScalarStyle::Plain => {
                let length = text.chars().count();
                source.slice(at..at + length).iter().copied().eq(text.chars()).then_some(at + length)
            }
            TScalarStyle::SingleQuoted | TScalarStyle::DoubleQuoted => {
                let rest = source.slice(at..source.len());
                let (quote, mut inside) = rest.split_first()?;
                let mut end = at + 1;
                while let Some((character, after)) = inside.split_first() {
                    let escapes = *quote == '"' && *character == '\\';
                    let doubled = *quote == '\'' && character == quote && after.first() == Some(quote);
                    match (escapes || doubled, character == quote) {
                        (true, _) => (end, inside) = (end + 2, after.get(1..).unwrap_or_default()),
                        (false, true) => return Some(end + 1),
                        (false, false) => (end, inside) = (end + 1, after),
                    }
                }
                None
            }
            _ => None,
        }
    }

    /// Where the word at `at` ends.
    fn word_end(&self, at: usize) -> usize {
        let rest = self.document.source.slice(at..self.document.source.len());
        at + rest.iter().take_while(|c| !c.is_whitespace() && !",]}".contains(**c)).count().max(1)
    }
}
