//! How the process stands, how its configuration does, and how it is steered.

use crate::app::admin::page::Frame;
use crate::app::admin::page::html::Html;
use crate::app::admin::page::words;
use crate::app::admin::view::Whole;
use crate::app::admin::view::status::State;
use crate::app::admin::view::status::Status;
use crate::app::admin::view::status::Told;

/// The name, whether it is ready, and where what is.
pub fn header(html: &mut Html, status: &Status, frame: &Frame<'_>) {
    html.element("<header><h1>obo-proxy</h1><p>", status.version, "</p>");
    html.markup(match status.state {
        State::Ready => "<span class=\"badge good\">ready</span>",
        State::NotReady => "<span class=\"badge bad\">not ready: no keys yet</span>",
        State::Draining => "<span class=\"badge warn\">draining</span>",
    });
    html.markup("<p>started ").moment(status.started_at, frame).markup("</p>");
    html.markup(
        "<nav aria-label=\"Sections\"><a href=\"#identity_providers\">Identity providers</a><a href=\"#routes\">Routes</a><a href=\"#cache\">Cache</a><a href=\"#events\">Challenges and failures</a><a href=\"#steer\">Steer</a><a href=\"#configuration\">Configuration</a></nav></header>\n",
    );
}

/// The few numbers that say most.
pub fn tiles(html: &mut Html, all: &Whole, frame: &Frame<'_>) {
    let Whole { status, routes, cache, .. } = all;
    let traffic = || routes.routes.iter().map(|route| &route.traffic).chain([&routes.unrouted]);
    let lately = || traffic().filter_map(|traffic| traffic.last_minute.as_ref());
    let requests: f64 = lately().map(|lately| lately.requests_per_second).sum();
    let refusals: f64 = lately().map(|lately| lately.refusals_per_second).sum();
    let all_requests = traffic().map(|traffic| traffic.requests).sum();
    html.markup("<dl class=\"tiles\">");
    html.element("<div><dt>Requests a second</dt><dd>", words::number(requests), "");
    html.element("<small>", words::count(all_requests), " since the start</small></dd></div>");
    html.element("<div><dt>Refusals a second</dt><dd>", words::number(refusals), "");
    html.markup("<small>in the last minute</small></dd></div>");
    html.markup("<div><dt>Cache hits</dt><dd>");
    match cache.memory.lookups.hit_ratio {
        Some(ratio) => html.text(words::percent(ratio)),
        None => html.text("–"),
    };
    html.element("<small>", words::count(cache.memory.entries), " tokens in memory</small></dd></div>");
    html.element("<div><dt>Connections</dt><dd>", words::count(status.connections.open), "");
    html.element("<small>of at most ", words::count(status.connections.limit), "</small></dd></div>");
    html.element("<div><dt>Workers</dt><dd>", status.workers, "");
    html.element("<small>", words::bytes(status.resident_bytes), " of memory</small></dd></div>");
    html.markup("<div><dt>Log level</dt><dd>");
    match &status.log {
        Some(log) => {
            html.text(&log.level).markup("<small>");
            match (log.by_hand, log.until) {
                (false, _) => html.markup("as configured"),
                (true, None) => html.element("by hand, in place of ", &log.configured, ""),
                (true, Some(until)) => {
                    html.element("by hand; ", &log.configured, " again ").moment(until, frame)
                }
            };
            html.markup("</small></dd></div>");
        }
        None => drop(html.markup("–<small>not set here</small></dd></div>")),
    }
    html.markup("</dl>\n");
}

/// How the configuration was read last, and what may be wrong with it.
pub fn configuration_state(html: &mut Html, status: &Status, frame: &Frame<'_>) {
    if status.reload.is_none() && status.warnings.is_empty() {
        return;
    }
    html.markup("<section aria-labelledby=\"reload\"><h2 id=\"reload\">Configuration in use</h2>\n");
    if let Some(reload) = &status.reload {
        html.markup(match reload.outcome {
            "in_use" => "<div class=\"note\"><span class=\"badge good\">in use</span> read ",
            _ => "<div class=\"note\"><span class=\"badge bad\">refused</span> the one before goes on; read ",
        });
        html.moment(reload.at, frame);
        for (what, names) in
            [("; added ", &reload.added), ("; removed ", &reload.removed), ("; changed ", &reload.changed)]
        {
            if !names.is_empty() {
                html.markup(what).list(names.iter().map(String::as_str));
            }
        }
        html.markup("</div>\n");
        reload.problems.iter().for_each(|problem| told(html, problem));
    }
    status.warnings.iter().for_each(|warning| told(html, warning));
    html.markup("</section>\n");
}

fn told(html: &mut Html, told: &Told) {
    html.markup(match told.severity {
        "error" => "<div class=\"note\"><span class=\"badge bad\">error</span> ",
        _ => "<div class=\"note\"><span class=\"badge warn\">warning</span> ",
    });
    if !told.at.is_empty() {
        html.element("<code>", &told.at, "</code> ");
    }
    html.text(&told.message);
    if let Some(help) = &told.help {
        html.element("<br><span class=\"soft\">", help, "</span>");
    }
    html.markup("</div>\n");
}

/// Lines to paste into a shell: a form could not send the header that shows what is meant.
pub fn steering(html: &mut Html, frame: &Frame<'_>) {
    html.markup("<section aria-labelledby=\"steer\"><h2 id=\"steer\">Steer</h2>\n");
    for (what, path, body) in [
        (
            "Drop what is kept of a user, so that the next request is an exchange. The user is what the log and the list above call it.",
            "/api/v1/cache/purge",
            "{\"user\":\"0123456789abcdef\"}",
        ),
        (
            "The same, of a user of Entra.",
            "/api/v1/cache/purge",
            "{\"tenant\":\"TENANT_ID\",\"oid\":\"OBJECT_ID\"}",
        ),
        (
            "Log more for ten minutes. Without \"for\" it stays so until it is taken back.",
            "/api/v1/log_level",
            "{\"level\":\"debug\",\"for\":\"10m\"}",
        ),
        ("Log as configured again.", "/api/v1/log_level", "{\"level\":null}"),
    ] {
        html.element("<div class=\"steer\"><p>", what, "</p><pre>");
        html.element("curl -sS ", &frame.base, "").text(path).text(" -H 'X-Obo-Admin: 1'");
        if frame.has_token {
            html.text(" -H \"Authorization: Bearer $TOKEN\"");
        }
        html.element(" -H 'Content-Type: application/json' -d '", body, "'</pre></div>\n");
    }
    html.markup("</section>\n");
}

/// What was written, masked.
pub fn configuration(html: &mut Html, frame: &Frame<'_>) {
    html.markup("<section aria-labelledby=\"configuration\"><h2 id=\"configuration\">Configuration</h2>\n");
    html.markup("<details><summary>Files and environment laid over each other, without secrets</summary>");
    let text = serde_json::to_string_pretty(frame.config).unwrap_or_default();
    html.element("<pre>", text, "</pre></details></section>\n");
}

/// What else there is.
pub fn footer(html: &mut Html, frame: &Frame<'_>) {
    html.markup("<footer><p>The same as JSON: ");
    html.markup("<a href=\"/api/v1/status\">status</a>, <a href=\"/api/v1/routes\">routes</a>, <a href=\"/api/v1/identity_providers\">identity providers</a>, <a href=\"/api/v1/cache\">cache</a>, <a href=\"/api/v1/events\">events</a>, <a href=\"/api/v1/config\">config</a>.</p>");
    match frame.refresh {
        Some(seconds) => {
            html.element("<p>Loaded anew every ", seconds, " s. <a href=\"/\">Stop that.</a></p>")
        }
        None => html.markup("<p><a href=\"/?refresh=10\">Load this page anew every 10 s.</a></p>"),
    };
    html.markup("</footer>\n");
}
