//! The status page: what the API says, for people. One document that needs nothing else: no script, no font, no image.
//!
//! **In:** all views of one moment. **Out:** HTML. **Never:** a text that is not escaped; anything from another address.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::app::admin::page::html::Html;
use crate::app::admin::view::Moment;
use crate::app::admin::view::Whole;
use crate::domain::digest::Digest;

pub mod html;
mod lists;
mod overview;
mod traffic;
mod words;

const STYLE: &str = include_str!("style.css");

/// What the page has besides the views.
#[derive(Debug)]
pub struct Frame<'a> {
    /// How often it is loaded anew, in seconds.
    pub refresh: Option<u32>,
    /// The URL of the admin interface, for lines to paste into a shell.
    pub base: String,
    /// Whether those need a token.
    pub has_token: bool,
    /// The masked configuration.
    pub config: &'a Value,
    /// Since 1970-01-01 UTC.
    pub now: Duration,
}

/// What a browser may do with the page: show it, in the one style that is in it.
pub fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let style = STANDARD.encode(Digest::of(STYLE.as_bytes()).as_bytes());
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    });
    &POLICY
}

/// The page.
pub fn page(all: &Whole, frame: &Frame<'_>) -> String {
    let mut html = Html::default();
    html.markup("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    html.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    if let Some(seconds) = frame.refresh {
        html.element("<meta http-equiv=\"refresh\" content=\"", seconds, "\">");
    }
    html.markup("<meta name=\"robots\" content=\"noindex\"><title>obo-proxy</title>");
    // else browsers ask for one
    html.markup("<link rel=\"icon\" href=\"data:,\">");
    html.markup("<style>").markup(STYLE).markup("</style></head>\n<body>\n");
    overview::header(&mut html, &all.status, frame);
    html.markup("<main>\n");
    overview::tiles(&mut html, all, frame);
    overview::configuration_state(&mut html, &all.status, frame);
    lists::identity_providers(&mut html, &all.identity_providers, frame);
    traffic::routes(&mut html, &all.routes);
    lists::cache(&mut html, &all.cache);
    lists::events(&mut html, &all.events, frame);
    lists::listeners(&mut html, &all.status, frame);
    overview::steering(&mut html, frame);
    overview::configuration(&mut html, frame);
    html.markup("</main>\n");
    overview::footer(&mut html, frame);
    html.markup("</body></html>\n");
    html.finish()
}

impl Html {
    /// A moment: how long ago, and exactly.
    fn moment(&mut self, moment: Moment, frame: &Frame<'_>) -> &mut Self {
        self.element("<time datetime=\"", moment, "\" title=\"").text(moment).markup("\">");
        self.text(words::relative(frame.now, moment.since_epoch())).markup("</time>")
    }

    /// Words, one after the other; a sign if there are none.
    fn list<'t>(&mut self, items: impl IntoIterator<Item = &'t str>) -> &mut Self {
        let mut items = items.into_iter();
        match items.next() {
            Some(first) => self.text(first),
            None => return self.markup("<span class=\"soft\">–</span>"),
        };
        for item in items {
            self.markup(", ").text(item);
        }
        self
    }

    /// Counts by words, the largest first, one a line.
    fn counts<'c>(&mut self, counts: impl IntoIterator<Item = (&'c String, &'c u64)>) -> &mut Self {
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        if counts.is_empty() {
            return self.markup("<span class=\"soft counts\">none yet</span>");
        }
        self.markup("<span class=\"counts\">");
        for (at, (word, count)) in counts.into_iter().enumerate() {
            self.markup(if at > 0 { "<br>" } else { "" });
            self.text(word).markup(" ").text(words::count(*count));
        }
        self.markup("</span>")
    }
}
