//! An explanation for a person.

use std::fmt::Write;

use crate::app::explain::Demand;
use crate::app::explain::Explanation;
use crate::app::explain::Fate;
use crate::app::explain::Field;
use crate::app::explain::Mark;
use crate::app::explain::Onward;
use crate::app::explain::Outcome;
use crate::app::explain::fields::Claim;
use crate::app::explain::fields::State;
use crate::app::explain::routes::Fared;
use crate::app::explain::routes::Looked;
use crate::domain::paint::Paint;
use crate::domain::printable;

/// How wide the first column is.
const COLUMN: usize = 10;

impl Explanation {
    /// For a person, step by step.
    pub fn to_text(&self, paint: Paint) -> String {
        let mut page = Page { text: String::new(), paint };
        let request = &self.request;
        page.line("request", &format!("{} {}", request.method, request.url));
        page.line("listener", &format!("{} ({})", request.listener, request.address));
        let trust = if request.trusted_proxy { ", a trusted proxy" } else { "" };
        page.line("peer", &format!("{}{trust}", request.peer));
        if let Some(path) = &self.path {
            page.line("path", &printable::line(path));
        }
        page.routes(self);
        page.demands(&self.demands);
        if let Some(caller) = &self.caller {
            let mut said = Vec::new();
            said.extend(caller.identity_provider.as_ref().map(|name| format!("of {name}")));
            said.extend(caller.user.as_ref().map(|hash| format!("user #{hash}")));
            said.extend(caller.client.as_ref().map(|client| format!("client {client}")));
            if !said.is_empty() {
                page.line("caller", &said.join(", "));
            }
        }
        if let Some(fate) = &self.token {
            page.fate(fate);
        }
        page.fields(&self.fields);
        if let Some(onward) = &self.upstream {
            page.onward(onward);
        }
        page.outcome(&self.outcome);
        page.text
    }
}

struct Page {
    text: String,
    paint: Paint,
}

impl Page {
    fn line(&mut self, what: &str, text: &str) {
        // writing to a String does not fail
        let _ = writeln!(self.text, "{}{text}", self.paint.dim(&format!("{what:COLUMN$}")));
    }

    fn routes(&mut self, told: &Explanation) {
        match (&told.route, told.routes.as_slice()) {
            (Some(name), _) => self.line("route", &self.paint.strong(name)),
            (None, []) if told.path.is_none() && matches!(told.outcome, Outcome::Refused { .. }) => {
                self.line("route", "none");
            }
            (None, []) => {}
            (None, _) => self.line("route", "none takes it"),
        }
        for Looked { route, fared, matches, against } in &told.routes {
            let text = match fared {
                Fared::Chosen => format!("matches by {matches}"),
                Fared::LessSpecific => format!("{route} would take it too, but is less specific: {matches}"),
                Fared::Missed => format!("{route} would, but for {}", against.join(" and ")),
                Fared::Ambiguous => format!("{route} would, but the path can be read in more than one way"),
            };
            self.line("", &text);
        }
    }

    fn demands(&mut self, demands: &[Demand]) {
        for (at, demand) in demands.iter().enumerate() {
            let text = self::demand(demand, self.paint);
            self.line(if at == 0 { "demands" } else { "" }, &text);
        }
    }

    fn fate(&mut self, fate: &Fate) {
        let unseen = |validated: &bool| if *validated { "" } else { ", unseen" };
        match fate {
            Fate::Passthrough { validated } => {
                self.line("token", &format!("goes on as it came{}", unseen(validated)));
            }
            Fate::Remove { validated } => self.line("token", &format!("is removed{}", unseen(validated))),
            Fate::Exchange { at } => {
                for exchange in at {
                    let endpoint = exchange.endpoint.as_deref();
                    let endpoint = endpoint.unwrap_or("the token endpoint, which is found out then");
                    self.line("token", &format!("is exchanged at {}", exchange.identity_provider));
                    self.line("", &format!("  POST {endpoint}"));
                    for (name, value) in &exchange.parameters {
                        self.line("", &format!("  {name}={value}"));
                    }
                    for (at, credential) in exchange.authentication.iter().enumerate() {
                        let word = if at == 0 { "as proved by" } else { "or else by" };
                        self.line("", &format!("  {word} {credential}"));
                    }
                }
            }
        }
    }

    fn fields(&mut self, fields: &[Field]) {
        for (at, field) in fields.iter().enumerate() {
            let mark = if field.sent { self.paint.good("✓") } else { self.paint.bad("✗") };
            let claims: Vec<String> = field.claims.iter().map(claim).collect();
            let end = if field.sent { "" } else { "; it is not sent" };
            let text = format!("{mark} {}: {}{end}", field.name, claims.join(", "));
            self.line(if at == 0 { "fields" } else { "" }, &text);
        }
    }

    fn onward(&mut self, onward: &Onward) {
        let behind = onward.socket.as_ref().map(|path| format!(" behind {path}")).unwrap_or_default();
        self.line("upstream", &format!("{} {}{behind}", onward.method, onward.url));
        for (name, value) in &onward.set {
            self.line("", &format!("  {name}: {value}"));
        }
        if !onward.removed.is_empty() {
            self.line("", &format!("  without {}", onward.removed.join(", ")));
        }
        let pairs = |pairs: &[(String, String)]| {
            pairs.iter().map(|(what, value)| format!("{what} {value}")).collect::<Vec<_>>().join(", ")
        };
        self.line("timeouts", &pairs(&onward.timeouts));
        if let Some(retry) = &onward.retry {
            self.line("retry", retry);
        }
        if !onward.limits.is_empty() {
            self.line("limits", &pairs(&onward.limits));
        }
        if let Some(cors) = &onward.cors {
            self.line("cors", cors);
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Forwarded { provided } => {
                let text = if provided.is_empty() { "forwarded" } else { "forwarded, provided that" };
                self.line("outcome", &self.paint.good(text));
                for condition in provided {
                    self.line("", &format!("- {condition}"));
                }
            }
            Outcome::Answered { status, detail } => self.line("outcome", &format!("{status}: {detail}")),
            Outcome::Refused { status, reason, detail, cause } => {
                self.line("outcome", &self.paint.bad(&format!("{status} {reason}")));
                self.line("", detail);
                self.line("", &format!("({cause})"));
            }
        }
    }
}

fn claim(claim: &Claim) -> String {
    let how = match claim.state {
        State::Present => "is there",
        State::Absent => "is not there",
        State::Unsayable => "is no text, number or truth value, and no list of such",
    };
    format!("{} {how}", claim.name)
}

/// One demand in one line.
pub fn demand(demand: &Demand, paint: Paint) -> String {
    let mark = match demand.mark {
        Mark::Met => paint.good("✓"),
        Mark::Unmet => paint.bad("✗"),
        Mark::Open => "?".to_owned(),
    };
    let mut text = format!("{mark} {}: {}", demand.about, demand.wanted);
    if let Some(has) = &demand.has {
        let _ = write!(text, "; it has {has}");
    }
    if let Some(because) = &demand.because {
        let _ = write!(text, " ({because})");
    }
    if let (Some(status), Some(reason)) = (demand.status, &demand.reason) {
        let _ = write!(text, " -> {}", paint.bad(&format!("{status} {reason}")));
    }
    text
}
