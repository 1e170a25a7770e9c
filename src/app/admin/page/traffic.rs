//! The routes, and how requests go on each of them.

use crate::app::admin::page::html::Html;
use crate::app::admin::page::words;
use crate::app::admin::view::routes::Lately;
use crate::app::admin::view::routes::Route;
use crate::app::admin::view::routes::Routes;
use crate::app::admin::view::routes::Traffic;

/// The table of routes.
pub fn routes(html: &mut Html, routes: &Routes) {
    html.markup("<section aria-labelledby=\"routes\"><h2 id=\"routes\">Routes</h2>\n<div class=\"box\" tabindex=\"0\" role=\"region\" aria-labelledby=\"routes\"><table class=\"fold\"><thead><tr>");
    html.markup("<th scope=\"col\">Route</th><th scope=\"col\">Goes to</th><th scope=\"col\">Token</th><th scope=\"col\" class=\"number\">Requests</th><th scope=\"col\" class=\"number\">a second<small>1 min, 5 min</small></th><th scope=\"col\" class=\"number\">p50, p95<small>5 min</small></th><th scope=\"col\">Refused</th><th scope=\"col\">Answers</th>");
    html.markup("</tr></thead><tbody>\n");
    for route in &routes.routes {
        row(html, route);
    }
    html.markup(
        "<tr><th scope=\"row\">no route<small>404, and what is no request</small></th><td></td><td></td>",
    );
    traffic(html, &routes.unrouted);
    html.markup("</tr>\n</tbody></table></div></section>\n");
}

fn row(html: &mut Html, route: &Route) {
    html.element("<tr><th scope=\"row\">", &route.name, "<small>");
    matches(html, route);
    html.markup("</small></th><td data-label=\"Goes to\"><span>")
        .text(&route.upstream)
        .markup("</span></td>");
    html.element("<td data-label=\"Token\"><span>", words::spaced(route.token), "");
    if !route.wants.is_empty() {
        html.markup("<small>for ").list(route.wants.iter().map(String::as_str)).markup("</small>");
    }
    if !route.identity_providers.is_empty() {
        let of = route.identity_providers.iter().map(String::as_str);
        html.markup("<small>of ").list(of).markup("</small>");
    }
    for (what, words) in [("scopes ", &route.scopes), ("roles ", &route.roles)] {
        if !words.is_empty() {
            html.markup("<small>").markup(what).list(words.iter().map(String::as_str)).markup("</small>");
        }
    }
    html.markup("</span></td>");
    traffic(html, &route.traffic);
    html.markup("</tr>\n");
}

fn matches(html: &mut Html, route: &Route) {
    let matches = &route.matches;
    let hosts = matches.hosts.iter().map(String::as_str);
    if !matches.methods.is_empty() {
        html.list(matches.methods.iter().map(String::as_str)).markup(" ");
    }
    if !matches.hosts.is_empty() {
        html.list(hosts).markup(" ");
    }
    html.text(&matches.path);
    if !matches.exact {
        html.markup(if matches.path.ends_with('/') { "…" } else { "/…" });
    }
    if !matches.headers.is_empty() {
        html.markup(" with ").list(matches.headers.iter().map(String::as_str));
    }
    if !route.listeners.is_empty() {
        html.markup(" on ").list(route.listeners.iter().map(String::as_str));
    }
}

fn traffic(html: &mut Html, traffic: &Traffic) {
    let Traffic { last_minute, last_five_minutes, .. } = traffic;
    let rate = |lately: &Option<Lately>| match lately {
        Some(lately) => words::number(lately.requests_per_second),
        None => "–".into(),
    };
    let took = |of: fn(&Lately) -> Option<f64>| match last_five_minutes.as_ref().and_then(of) {
        Some(milliseconds) => format!("{} ms", words::number(milliseconds)),
        None => "–".into(),
    };
    html.element("<td class=\"number\" data-label=\"Requests\">", words::count(traffic.requests), "</td>");
    html.element("<td class=\"number\" data-label=\"a second\"><span>", rate(last_minute), ", ");
    html.text(rate(last_five_minutes)).markup("</span></td>");
    html.element("<td class=\"number\" data-label=\"p50, p95\"><span>", took(|lately| lately.p50_ms), ", ");
    html.text(took(|lately| lately.p95_ms)).markup("</span></td>");
    html.markup("<td data-label=\"Refused\">").counts(&traffic.refusals_by_reason).markup("</td>");
    html.markup("<td data-label=\"Answers\">").counts(&traffic.statuses).markup("</td>");
}
