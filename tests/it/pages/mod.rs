//! What the pages print is so: commands are run, configurations checked, names looked up, links followed.

mod answers;
mod commands;
mod configurations;
mod errors;
mod links;
mod names;
mod page;
mod playground;
mod schema;
mod shell;
mod usage;
mod words;

use page::pages;

/// What a fence may hold, as the word behind it says.
const LANGUAGES: [(&str, &str); 6] = [
    ("sh", "commands.rs runs it, or usage.rs looks at its words"),
    ("yaml", "configurations.rs checks it"),
    ("http", "commands.rs compares it with what came"),
    ("json", "commands.rs too"),
    ("ini", "usage.rs looks at the commands of a unit of systemd"),
    ("text", "words.rs looks at its words"),
];

#[test]
fn every_fence_says_what_is_in_it_and_so_how_it_is_tested() {
    for page in pages() {
        for block in &page.blocks {
            let is_known = LANGUAGES.iter().any(|(language, _)| *language == block.language);
            assert!(is_known, "{}:{}: nothing tests `{}`", page.name, block.line, block.language);
        }
    }
}
