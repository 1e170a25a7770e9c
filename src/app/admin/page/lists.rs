//! Identity providers, the cache, what was refused lately, listeners.

use std::time::Duration;

use crate::app::admin::page::Frame;
use crate::app::admin::page::html::Html;
use crate::app::admin::page::words;
use crate::app::admin::view::Moment;
use crate::app::admin::view::cache::Cache;
use crate::app::admin::view::cache::Lookups;
use crate::app::admin::view::events::Event;
use crate::app::admin::view::events::Events;
use crate::app::admin::view::providers::Provider;
use crate::app::admin::view::providers::Providers;
use crate::app::admin::view::status::Status;

/// A certificate that ends sooner is worth a word.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Keys that are older were not refreshed when they should have been.
const OLD_KEYS: u64 = 24 * 60 * 60;

/// The table of identity providers.
pub fn identity_providers(html: &mut Html, providers: &Providers, frame: &Frame<'_>) {
    html.markup("<section aria-labelledby=\"identity_providers\"><h2 id=\"identity_providers\">Identity providers</h2>\n");
    if providers.identity_providers.is_empty() {
        html.markup("<p class=\"note\">There is none: every route is anonymous.</p></section>\n");
        return;
    }
    html.markup("<div class=\"box\" tabindex=\"0\" role=\"region\" aria-labelledby=\"identity_providers\"><table class=\"fold\"><thead><tr>");
    html.markup("<th scope=\"col\">Name</th><th scope=\"col\">Keys</th><th scope=\"col\">Token endpoint</th><th scope=\"col\">Credential</th><th scope=\"col\">Exchanges</th><th scope=\"col\">Tokens looked at</th>");
    html.markup("</tr></thead><tbody>\n");
    for provider in &providers.identity_providers {
        identity_provider(html, provider, frame);
    }
    html.markup("</tbody></table></div></section>\n");
}

fn identity_provider(html: &mut Html, provider: &Provider, frame: &Frame<'_>) {
    html.element("<tr><th scope=\"row\">", &provider.name, "");
    html.element("<small>", provider.kind, " · ").text(&provider.issuer).markup("</small>");
    if provider.tenants.len() > 1 {
        html.markup("<small>tenants ").list(provider.tenants.iter().map(String::as_str)).markup("</small>");
    }
    html.element("<small>we are ", &provider.client_id, "</small></th>");
    html.markup("<td data-label=\"Keys\"><span>");
    for keys in &provider.keys {
        html.markup(match keys.age_seconds {
            None => "<span class=\"badge bad\">none</span>",
            Some(age) if age > OLD_KEYS => "<span class=\"badge bad\">too old</span>",
            Some(_) if keys.failing.is_some() => "<span class=\"badge warn\">not refreshed</span>",
            Some(_) => "<span class=\"badge good\">fresh</span>",
        });
        html.markup(" ");
        if let Some(tokens) = keys.tokens {
            html.text(tokens).markup(": ");
        }
        html.text(keys.count).markup(if keys.count == 1 { " key" } else { " keys" });
        if let Some(fetched) = keys.fetched_at {
            html.markup("<small>fetched ").moment(fetched, frame).markup("</small>");
        }
        if let Some(failing) = &keys.failing {
            html.markup("<small>fails since ").moment(failing.since, frame);
            html.element(", ", words::count(failing.failures.into()), " times: ").text(&failing.cause);
            html.markup("</small>");
        }
    }
    html.markup("</span></td><td data-label=\"Token endpoint\"><span>");
    for (at, endpoint) in provider.token_endpoints.iter().enumerate() {
        html.markup(if at > 0 { "<br>" } else { "" });
        html.markup(match endpoint.state {
            "failing" => "<span class=\"badge bad\">failing</span>",
            _ => "<span class=\"badge good\">answers</span>",
        });
        html.element("<small>", &endpoint.url, "</small>");
    }
    if provider.token_endpoints.is_empty() {
        html.markup("<span class=\"soft\">not asked yet</span>");
    }
    html.markup("</span></td><td data-label=\"Credential\"><span>");
    let credentials: Vec<String> = provider.credentials.iter().map(|kind| words::spaced(kind)).collect();
    html.list(credentials.iter().map(String::as_str));
    if let Some(end) = provider.credential_ends_at {
        html.markup("<br>");
        certificate(html, end, frame);
    }
    html.markup("</span></td><td data-label=\"Exchanges\">").counts(&provider.exchanges);
    html.markup("</td><td data-label=\"Tokens looked at\">").counts(&provider.authentications);
    html.markup("</td></tr>\n");
}

/// When a certificate ends, and whether that is soon.
fn certificate(html: &mut Html, end: Moment, frame: &Frame<'_>) {
    html.markup(match end.since_epoch().checked_sub(frame.now) {
        None => "<span class=\"badge bad\">ended</span> ",
        Some(left) if left < SOON => "<span class=\"badge warn\">ends</span> ",
        Some(_) => "ends ",
    });
    html.moment(end, frame);
}

/// The table of the cache's tiers.
pub fn cache(html: &mut Html, cache: &Cache) {
    html.markup("<section aria-labelledby=\"cache\"><h2 id=\"cache\">Cache</h2>\n<div class=\"box\" tabindex=\"0\" role=\"region\" aria-labelledby=\"cache\"><table class=\"fold\"><thead><tr>");
    html.markup("<th scope=\"col\">Tier</th><th scope=\"col\" class=\"number\">Entries</th><th scope=\"col\" class=\"number\">Bytes</th><th scope=\"col\" class=\"number\">Hit ratio</th><th scope=\"col\">Look-ups</th><th scope=\"col\">Left before their end</th>");
    html.markup("</tr></thead><tbody>\n<tr><th scope=\"row\">memory<small>exchanged tokens</small></th>");
    let memory = &cache.memory;
    html.element("<td class=\"number\" data-label=\"Entries\"><span>", words::count(memory.entries), "");
    html.element("<small>of ", words::count(memory.max_entries), "</small></span></td>");
    html.element("<td class=\"number\" data-label=\"Bytes\"><span>", words::bytes(memory.bytes), "");
    html.element("<small>of ", words::bytes(memory.max_bytes), "</small></span></td>");
    lookups(html, &memory.lookups);
    html.markup("<td data-label=\"Left before\">").counts(&cache.evictions).markup("</td></tr>\n");
    if let Some(redis) = &cache.redis {
        html.markup("<tr><th scope=\"row\">Redis ");
        html.markup(match redis.state {
            "connected" => "<span class=\"badge good\">connected</span>",
            "resting" => "<span class=\"badge plain\">no connection</span>",
            _ => "<span class=\"badge bad\">in trouble</span>",
        });
        html.element("<small>", &redis.server, "</small>");
        if let Some(cause) = &redis.cause {
            html.element("<small>", cause, "</small>");
        }
        html.markup("</th><td></td><td></td>");
        lookups(html, &redis.lookups);
        html.markup("<td></td></tr>\n");
    }
    html.markup("<tr><th scope=\"row\">validated tokens<small>need no second look</small></th>");
    html.element(
        "<td class=\"number\" data-label=\"Entries\">",
        words::count(cache.validated.entries),
        "</td>",
    );
    html.element("<td class=\"number\" data-label=\"Bytes\">", words::bytes(cache.validated.bytes), "</td>");
    html.markup(
        "<td></td><td></td><td></td></tr>\n</tbody></table></div>\n<p class=\"soft\">Exchanges under way: ",
    );
    html.text(words::count(cache.exchanges_in_flight))
        .markup(". Requests that waited for another one’s exchange: ");
    html.text(words::count(cache.exchanges_coalesced)).markup(".</p></section>\n");
}

fn lookups(html: &mut Html, lookups: &Lookups) {
    let ratio = lookups.hit_ratio.map_or_else(|| "–".into(), words::percent);
    html.element("<td class=\"number\" data-label=\"Hit ratio\">", ratio, "</td>");
    html.markup("<td data-label=\"Look-ups\">").counts(&lookups.by_result).markup("</td>");
}

/// The table of what was refused lately.
pub fn events(html: &mut Html, events: &Events, frame: &Frame<'_>) {
    html.markup(
        "<section aria-labelledby=\"events\"><h2 id=\"events\">Recent challenges and failures</h2>\n",
    );
    if events.events.is_empty() {
        html.markup(
            "<p class=\"note\">None since the start, or since this interface was turned on.</p></section>\n",
        );
        return;
    }
    html.markup("<div class=\"box\" tabindex=\"0\" role=\"region\" aria-labelledby=\"events\"><table class=\"fold\"><thead><tr>");
    html.markup("<th scope=\"col\">When</th><th scope=\"col\">What</th><th scope=\"col\">Route</th><th scope=\"col\">Identity provider</th><th scope=\"col\">User</th><th scope=\"col\">Correlation and request id</th>");
    html.markup("</tr></thead><tbody>\n");
    for event in &events.events {
        row(html, event, frame);
    }
    html.markup("</tbody></table></div></section>\n");
}

fn row(html: &mut Html, event: &Event, frame: &Frame<'_>) {
    html.markup("<tr><td data-label=\"When\">").moment(event.at, frame);
    html.markup("</td><td data-label=\"What\"><span>").markup(match event.status {
        500.. => "<span class=\"badge bad\">",
        401 => "<span class=\"badge warn\">",
        _ => "<span class=\"badge plain\">",
    });
    html.text(event.status).markup("</span> ").text(event.reason).markup("</span></td>");
    let optional = |html: &mut Html, open: &'static str, text: Option<&String>| {
        html.markup(open);
        if let Some(text) = text {
            html.element("<span>", text, "</span>");
        }
        html.markup("</td>");
    };
    optional(html, "<td data-label=\"Route\">", event.route.as_ref());
    html.markup("<td data-label=\"Identity pr.\">");
    if let Some(provider) = &event.identity_provider {
        html.element("<span>", provider, "");
        if let Some(error) = &event.error {
            html.element("<small>", error, "");
            for more in event.suberror.iter().cloned().chain(event.error_codes.iter().map(u64::to_string)) {
                html.markup(" · ").text(more);
            }
            html.markup("</small>");
        }
        html.markup("</span>");
    }
    html.markup("</td>");
    match &event.user {
        Some(user) => html.element("<td data-label=\"User\"><code class=\"whole\">", user, "</code></td>"),
        None => html.markup("<td data-label=\"User\"></td>"),
    };
    html.markup("<td data-label=\"Ids\"><span>");
    if let Some(id) = &event.correlation_id {
        html.element("<code>", id, "</code><br>");
    }
    html.element("<code class=\"soft\">", &event.request_id, "</code></span></td></tr>\n");
}

/// The table of listeners.
pub fn listeners(html: &mut Html, status: &Status, frame: &Frame<'_>) {
    html.markup("<section aria-labelledby=\"listeners\"><h2 id=\"listeners\">Listeners</h2>\n<div class=\"box\" tabindex=\"0\" role=\"region\" aria-labelledby=\"listeners\"><table class=\"fold\"><thead><tr>");
    html.markup("<th scope=\"col\">Name</th><th scope=\"col\">Address</th><th scope=\"col\">Protocol</th><th scope=\"col\">Certificate</th><th scope=\"col\" class=\"number\">Connections</th></tr></thead><tbody>\n");
    for listener in &status.listeners {
        html.element("<tr><th scope=\"row\">", &listener.name, "</th>");
        html.element("<td data-label=\"Address\">", &listener.address, "</td><td data-label=\"Protocol\">");
        html.markup(if listener.tls { "TLS" } else { "plain" });
        html.markup("</td><td data-label=\"Certificate\"><span>");
        match listener.certificate_ends_at {
            Some(end) => certificate(html, end, frame),
            None => drop(html.markup("<span class=\"soft\">–</span>")),
        }
        html.markup("</span>");
        html.element(
            "</td><td class=\"number\" data-label=\"Connections\">",
            words::count(listener.open),
            "</td></tr>\n",
        );
    }
    html.markup("</tbody></table></div></section>\n");
}
