//! A configuration file's text, as far as it may be shown.

use std::fmt;
use std::ops::Range;

use crate::config::mask;
use crate::config::node::Span;
use crate::domain::printable;

/// A longer line is cut in an excerpt.
const LONGEST_LINE: usize = 200;

/// One file: its name, its text, and which parts of it are secret. Positions count characters from the beginning.
#[derive(Clone, Default)]
pub struct Source {
    /// The name it was given by.
    pub name: String,
    text: Vec<char>,
    line_starts: Vec<usize>,
    tokens: Vec<Range<usize>>,
    hidden: Vec<Range<usize>>,
}

/// Hides the text: it may hold secrets.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, ..)", self.name)
    }
}

/// A line as it may be shown, and what of it to underline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line, with secrets masked.
    pub line: String,
    /// How many characters stand before the underlined ones.
    pub indent: usize,
    /// How many characters to underline.
    pub width: usize,
}

impl Source {
    /// A file of which nothing is known to be secret yet.
    pub fn new(name: &str, text: &str) -> Self {
        let text: Vec<char> = text.chars().collect();
        let breaks = text.iter().enumerate().filter(|(_, c)| **c == '\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(breaks).collect();
        let name = printable::line(name);
        Self { name, text, line_starts, tokens: Vec::new(), hidden: Vec::new() }
    }

    /// How many characters it has.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// The characters of `range`.
    pub fn slice(&self, range: Range<usize>) -> &[char] {
        self.text.get(range.start..range.end.min(self.text.len())).unwrap_or_default()
    }

    /// Notes that a key or scalar stands at `token`. To be called in order.
    pub fn add_token(&mut self, token: Range<usize>) {
        self.tokens.push(token);
    }

    /// Notes that `range` must not be shown.
    pub fn hide(&mut self, range: Range<usize>) {
        self.hidden.push(range);
    }

    /// The span of `range`'s first line.
    pub fn span(&self, range: Range<usize>) -> Span {
        let (line, start) = self.line_at(range.start);
        let end = range.end.min(self.line_end(line)).max(range.start + 1);
        Span { line, column: range.start - start + 1, width: end - range.start }
    }

    /// Where `span` begins.
    pub fn position(&self, span: Span) -> usize {
        let start = self.line_starts.get(span.line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        start + span.column.saturating_sub(1)
    }

    /// The line that `position` is on.
    pub fn line(&self, position: usize) -> Range<usize> {
        let (line, start) = self.line_at(position);
        start..self.line_end(line)
    }

    /// The line `span` is on, as it may be shown.
    pub fn excerpt(&self, span: Span) -> Excerpt {
        let start = self.line_starts.get(span.line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let end = self.visible_end(start, self.line_end(span.line));
        let wanted = self.position(span)..self.position(span) + span.width;
        let on_line = self.hidden.iter().filter(|hidden| hidden.start < end && hidden.end > start);
        let hidden: Vec<&Range<usize>> = on_line.collect();
        let mut line = String::new();
        let (mut indent, mut written, mut underlined) = (None, 0, 0);
        let mut at = start;
        while at < end && written < LONGEST_LINE {
            let masked = hidden.iter().find(|hidden| hidden.contains(&at));
            let next = masked.map_or(at + 1, |hidden| hidden.end.min(end));
            let before = written;
            match masked {
                Some(_) => line.push_str(mask::MASK),
                None => line.extend(self.slice(at..next).iter().copied().map(printable::letter)),
            }
            written += if masked.is_some() { mask::MASK.len() } else { 1 };
            if at < wanted.end && wanted.start < next {
                indent.get_or_insert(before);
                underlined += written - before;
            }
            at = next;
        }
        if at < end {
            line.push('…');
        }
        let shown = line.trim_end().to_owned();
        Excerpt { line: shown, indent: indent.unwrap_or(written), width: underlined.max(1) }
    }

    /// The number of the line that `position` is on, from 1, and where it begins.
    fn line_at(&self, position: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= position).max(1);
        (line, self.line_starts.get(line - 1).copied().unwrap_or(0))
    }

    /// Where line number `line` ends, its line break not counted.
    fn line_end(&self, line: usize) -> usize {
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let next = self.line_starts.get(line).map_or(self.text.len(), |next| next - 1);
        match self.text.get(next.wrapping_sub(1)) {
            Some('\r') if next > start => next - 1,
            _ => next,
        }
    }

    /// Where a comment begins on the line, or its end. Comments are not shown: old secrets are kept in them.
    fn visible_end(&self, start: usize, end: usize) -> usize {
        let first = self.tokens.partition_point(|token| token.end <= start);
        let on_line = self.tokens.iter().skip(first).take_while(|token| token.start < end);
        let from = on_line.map(|token| token.end.min(end)).max().unwrap_or(start);
        let comment = (from..end).find(|at| {
            let starts_word = *at == start || self.text.get(at - 1).is_some_and(|c| c.is_whitespace());
            self.text.get(*at) == Some(&'#') && starts_word
        });
        comment.unwrap_or(end)
    }
}
