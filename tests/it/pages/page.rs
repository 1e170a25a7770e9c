//! A page taken apart: what is fenced, what is set as code in its sentences, its tables, headings and links.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::process::files_below;
use crate::support::process::repository;

/// A document in Markdown.
#[derive(Debug)]
pub struct Page {
    /// Its path from the root of the repository.
    pub name: String,
    /// What stands between fences.
    pub blocks: Vec<Block>,
    /// Everything else, one paragraph (or table, or list) each, without line breaks in tables undone.
    paragraphs: Vec<String>,
}

/// What stands between two fences.
#[derive(Debug)]
pub struct Block {
    /// The line of its first fence.
    pub line: usize,
    /// What is written behind that fence.
    pub language: String,
    /// What is in it, as far in as its fence.
    pub text: String,
}

/// A table of a page.
#[derive(Debug)]
pub struct Table {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// The README and every page beside it that tells somebody what to do.
pub fn pages() -> Vec<Page> {
    let files = files_below("docs", "md").into_iter().chain(files_below("deploy", "md"));
    let pages: Vec<Page> =
        [repository("README.md")].into_iter().chain(files).map(|file| Page::at(&file)).collect();
    assert!(pages.len() > 20, "{pages:?}");
    pages
}

impl Page {
    pub fn read(name: &str) -> Self {
        Self::at(&repository(name))
    }

    /// The page in that file.
    pub fn at(file: &Path) -> Self {
        let name = file.strip_prefix(repository("")).unwrap_or(file).to_str().unwrap();
        Self::of(name, &fs::read_to_string(file).unwrap())
    }

    fn of(name: &str, text: &str) -> Self {
        let (mut blocks, mut paragraphs) = (Vec::<Block>::new(), vec![String::new()]);
        let mut open: Option<(usize, Block)> = None;
        for (at, line) in text.lines().enumerate() {
            let inner = line.trim_start();
            match (&mut open, inner.strip_prefix("```")) {
                (None, Some(language)) => {
                    let (line_of_fence, language) = (at + 1, language.to_owned());
                    let block = Block { line: line_of_fence, language, text: String::new() };
                    open = Some((line.len() - inner.len(), block));
                }
                (Some(_), Some("")) => blocks.extend(open.take().map(|(_, block)| block)),
                (Some((indent, block)), _) => {
                    block.text += line.get(*indent..).unwrap_or_default();
                    block.text.push('\n');
                }
                (None, None) if line.is_empty() || line.starts_with('#') => {
                    paragraphs.extend([line.to_owned(), String::new()]);
                }
                (None, None) => {
                    let paragraph = paragraphs.last_mut().unwrap();
                    paragraph.push_str(line);
                    paragraph.push('\n');
                }
            }
        }
        assert!(open.is_none(), "{name}: a fence is not closed");
        Self { name: name.to_owned(), blocks, paragraphs }
    }

    /// What is set as code in sentences and cells, each on one line.
    pub fn codes(&self) -> Vec<String> {
        let mut codes = Vec::new();
        for paragraph in &self.paragraphs {
            assert!(paragraph.matches('`').count() % 2 == 0, "{}: {paragraph}", self.name);
            let inside = paragraph.split('`').skip(1).step_by(2);
            codes.extend(inside.map(|code| words(code).replace("\\|", "|")));
        }
        codes
    }

    /// The sentences and cells, each paragraph on one line.
    pub fn prose(&self) -> impl Iterator<Item = String> {
        self.paragraphs.iter().map(|paragraph| words(paragraph))
    }

    /// All that is written there, fences or not.
    pub fn everything(&self) -> String {
        let fenced = self.blocks.iter().map(|block| block.text.as_str());
        self.paragraphs.iter().map(String::as_str).chain(fenced).collect::<Vec<_>>().join("\n")
    }

    /// Its headings as links name them.
    pub fn anchors(&self) -> BTreeSet<String> {
        let titles = self.paragraphs.iter().filter(|paragraph| paragraph.starts_with('#'));
        let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
        let anchor = |title: &str| title.trim().to_lowercase().chars().filter(kept).collect::<String>();
        titles.map(|title| anchor(title.trim_start_matches('#')).replace(' ', "-")).collect()
    }

    /// Where its links lead.
    pub fn links(&self) -> Vec<String> {
        let text = self.paragraphs.join("\n");
        text.split("](")
            .skip(1)
            .filter_map(|rest| rest.split_once(')'))
            .map(|(link, _)| link.to_owned())
            .collect()
    }

    pub fn tables(&self) -> Vec<Table> {
        let lines = self.paragraphs.iter().map(|paragraph| paragraph.lines().map(str::trim));
        let of_tables = lines.map(|lines| lines.filter(|line| line.starts_with('|')).collect::<Vec<_>>());
        let tables = of_tables.filter(|lines| lines.len() > 2);
        tables
            .map(|lines| Table {
                header: cells(lines[0]),
                rows: lines[2..].iter().map(|line| cells(line)).collect(),
            })
            .collect()
    }
}

/// The cells of a row.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{1}");
    row.trim_matches('|').split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect()
}

/// The same with single spaces.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
