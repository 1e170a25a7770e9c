//! What of a file must not be shown, whether it could be read or not.

use std::ops::Range;

use crate::config::mask;
use crate::config::places;
use crate::config::yaml::reader::Reader;

impl Reader<'_> {
    /// Marks what must not be shown: secret keys and values, and whatever follows a secret word where parsing ended.
    pub(super) fn hide_secrets(&mut self) {
        let source_end = self.document.source.len();
        let parsed_to = self.tokens.iter().map(|token| token.end.unwrap_or(token.start)).max().unwrap_or(0);
        // where a file breaks off, what belongs to a secret is guessed generously
        let near_secret = self.tokens.iter().rev().take(4).any(|token| token.secret);
        let last_start = self.tokens.last().map_or(0, |token| token.start);
        let below_secret = self.after_secret_word(last_start..parsed_to).is_some();
        let pending_secret = near_secret || below_secret || mask::is_secret_value(&self.path());
        let mut next_start = source_end;
        self.tokens.sort_by_key(|token| token.start);
        let mut ranges = Vec::new();
        for token in self.tokens.iter().rev() {
            ranges.push((token.start..token.end.unwrap_or(next_start), token.secret));
            next_start = token.start;
        }
        let mut end = 0;
        for (range, secret) in ranges.into_iter().rev() {
            self.hide_decorations(end..range.start);
            end = range.end;
            if secret && !range.is_empty() {
                self.document.source.hide(range.clone());
            }
            self.document.source.add_token(range);
        }
        if self.document.complete {
            return;
        }
        // a bracket too many ends what belongs to a secret word before it on the line
        let line = self.document.source.line(last_start);
        let pending = pending_secret.then_some(parsed_to..source_end);
        for range in self.after_secret_word(line).into_iter().chain(pending) {
            self.document.source.hide(range);
        }
        self.hide_strange_words(parsed_to..source_end);
    }

    /// Hides all words of `range` but the names of settings: nobody knows what they are, where nothing could be parsed.
    fn hide_strange_words(&mut self, range: Range<usize>) {
        let (mut words, mut word) = (Vec::new(), String::new());
        let letters = self.document.source.slice(range.clone()).iter().copied().chain([' ']);
        for (at, letter) in letters.enumerate().map(|(at, letter)| (range.start + at, letter)) {
            if !letter.is_whitespace() && !"{}[],:\"'".contains(letter) {
                word.push(letter);
                continue;
            }
            let is_sign = word.chars().count() <= 1;
            if !is_sign && !places::is_setting(&word) {
                words.push(at - word.chars().count()..at);
            }
            word.clear();
        }
        words.into_iter().for_each(|word| self.document.source.hide(word));
    }

    /// What follows the first secret word in `range`.
    fn after_secret_word(&self, range: Range<usize>) -> Option<Range<usize>> {
        let text: String = self.document.source.slice(range.clone()).iter().collect();
        let before = text.get(..mask::secret_word_end(&text)?)?;
        Some(range.start + before.chars().count()..range.end)
    }

    /// Hides the names of anchors and tags between two tokens: `!hunter2` is a secret that lacks its quotes.
    fn hide_decorations(&mut self, gap: Range<usize>) {
        let signs = self.document.source.slice(gap.clone()).iter().enumerate();
        let signs: Vec<usize> =
            signs.filter(|(_, c)| matches!(c, '!' | '&')).map(|(at, _)| gap.start + at).collect();
        for at in signs {
            let end = self.word_end(at);
            self.document.source.hide(at + 1..end);
        }
    }
}
