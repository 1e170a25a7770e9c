//! What the proxy would do with a request, step by step, told without doing it.
//!
//! **In:** a configuration and the head of a request. **Out:** an [`Explanation`]. **Never:** contacts anyone; has a rule of
//! its own: the stages are asked in the order in which a request passes them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderMap;
use http::Method;
use http::Uri;
use http::Version;
use http::header;
use http::request::Parts;
use serde::Serialize;

use crate::config;
use crate::config::Access;
use crate::config::Config;
use crate::config::Policy;
use crate::config::Route;
use crate::domain::clock::UnixTime;
use crate::domain::peer::ClientCertificate;
use crate::domain::peer::Peer;
use crate::domain::printable;
use crate::domain::token::UserToken;
use crate::pipeline::accept;
use crate::pipeline::authenticate;
use crate::pipeline::forward;
use crate::pipeline::respond::Responder;
use crate::pipeline::respond::cors;
use crate::pipeline::respond::refusal::Refusal;
use crate::pipeline::route::RouteTable;
use crate::pipeline::route::Routed;
use crate::pipeline::route::preflight::Announced;

mod demands;
mod fields;
mod onward;
mod routes;
mod text;
mod token;
pub mod verdict;

pub use demands::Demand;
pub use demands::Mark;
pub use fields::Field;
pub use onward::Onward;
pub use routes::Looked;
pub use token::Fate;

/// What stands in the place of a query.
const HIDDEN_QUERY: &str = "?***";

/// A request that was not sent.
#[derive(Clone)]
pub struct Question {
    /// Its method.
    pub method: Method,
    /// Its URL, or its path.
    pub url: Uri,
    /// Its fields, but `Authorization` and `Host`.
    pub headers: HeaderMap,
    /// The listener it would come by; `None` = the one that fits its URL.
    pub listener: Option<String>,
    /// Where it would come from.
    pub peer: IpAddr,
    /// The certificate its caller would show.
    pub certificate: Option<ClientCertificate>,
    /// Its token A.
    pub token: Option<UserToken>,
    /// When it would come.
    pub now: UnixTime,
}

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such listener.
    #[error("there is no listener `{named}`: there are {}", known.join(", "))]
    NoListener {
        /// What was named.
        named: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It could come by several.
    #[error("the URL fits more than one listener: choose one with --listener: {}", .0.join(", "))]
    WhichListener(Vec<String>),
    /// It is no request.
    #[error("this is no request: {0}")]
    NoRequest(#[from] http::Error),
}

/// What would become of a request.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// What was asked.
    pub request: Asked,
    /// The path in canonical form.
    pub path: Option<String>,
    /// The routes that took part, most specific first.
    pub routes: Vec<Looked>,
    /// The route that takes it.
    pub route: Option<String>,
    /// What the route demands, and how the request stands to it.
    pub demands: Vec<Demand>,
    /// What its token says of the caller, as far as it may be shown.
    pub caller: Option<token::Caller>,
    /// What becomes of its token.
    pub token: Option<Fate>,
    /// The fields that the route writes for each caller, and whether the token has the claims for them; nothing without
    /// one that can be read.
    pub fields: Vec<Field>,
    /// What the upstream would get.
    pub upstream: Option<Onward>,
    /// How it would end.
    pub outcome: Outcome,
}

/// A request as it was understood.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// Its method.
    pub method: String,
    /// Its URL.
    pub url: String,
    /// The listener.
    pub listener: String,
    /// What that binds.
    pub address: String,
    /// Where it comes from.
    pub peer: String,
    /// Whether what the peer says of where it comes from is believed.
    pub trusted_proxy: bool,
}

/// How a request would end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "result")]
pub enum Outcome {
    /// It would go on.
    Forwarded {
        /// If all this is so.
        provided: Vec<String>,
    },
    /// The proxy itself would answer.
    Answered {
        /// The status.
        status: u16,
        /// With what.
        detail: String,
    },
    /// The proxy would refuse it.
    Refused {
        /// The status.
        status: u16,
        /// The public reason.
        reason: String,
        /// What the caller is told.
        detail: String,
        /// What was found.
        cause: String,
    },
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        let row = refusal.reason.row();
        Self::Refused {
            status: row.status.as_u16(),
            reason: row.word.to_owned(),
            detail: row.detail.to_owned(),
            cause: refusal.source.to_string(),
        }
    }
}

/// The route that takes a request, to be asked about its token by whoever may contact the identity provider.
///
/// # Errors
/// If the question makes no sense.
pub fn route(config: &Config, question: &Question) -> Result<Option<Arc<Route>>, Error> {
    let listener = listener(config, question)?;
    let mut head = head(listener, question)?;
    let is_sound = accept::head::check(&mut head, listener.underscore_headers).is_ok();
    let routed = RouteTable::new(&config.routes).find(&listener.name, &head);
    Ok(routed.ok().filter(|_| is_sound).map(|routed| routed.route))
}

/// Explains what would become of a request. `verdict` is what was found of its token by whoever has the issuer's keys;
/// `None` = nobody looked at its signature.
///
/// # Errors
/// If the question makes no sense.
pub fn explain(
    config: &Config,
    question: &Question,
    verdict: Option<&Result<(), authenticate::Error>>,
) -> Result<Explanation, Error> {
    let listener = listener(config, question)?;
    let mut head = head(listener, question)?;
    let mut peer =
        Peer::new(Some((question.peer, 0).into()), listener.trusted_proxies.trust(Some(question.peer)));
    peer.certificate = question.certificate.clone().map(Box::new);
    let mut explanation = Explanation {
        request: asked(listener, question, &peer),
        path: None,
        routes: Vec::new(),
        route: None,
        demands: Vec::new(),
        caller: None,
        token: None,
        fields: Vec::new(),
        upstream: None,
        outcome: Outcome::Forwarded { provided: Vec::new() },
    };
    let walk = Walk { config, question, listener, peer: &peer, verdict };
    explanation.outcome = walk.all(&mut head, &mut explanation).unwrap_or_else(Outcome::from);
    Ok(explanation)
}

/// What is known on the way.
struct Walk<'a> {
    config: &'a Config,
    question: &'a Question,
    listener: &'a config::Listener,
    peer: &'a Peer,
    verdict: Option<&'a Result<(), authenticate::Error>>,
}

impl Walk<'_> {
    /// The steps of a request, in the order of the pipeline.
    fn all(&self, head: &mut Parts, told: &mut Explanation) -> Result<Outcome, Refusal> {
        accept::head::check(head, self.listener.underscore_headers)?;
        let table = RouteTable::new(&self.config.routes);
        if let Some(answered) = self.description(&table, head).or_else(|| self.preflight(&table, head)) {
            return Ok(answered);
        }
        let found = table.find(&self.listener.name, head);
        let considered = table.considered(&self.listener.name, head)?;
        let chosen = found.as_ref().ok().map(|routed| &routed.route);
        told.routes = routes::looked(&considered, chosen, head);
        let Routed { route, path } = found?;
        told.path = Some(path.clone());
        told.route = Some(route.name.to_string());
        forward::limit::check_length(&route, &head.headers)?;
        let shown = self.peer.certificate.as_deref();
        if let Some(required) = &route.client_certificate {
            let result = accept::certificate::check(required, shown);
            told.demands.push(demands::of_certificate(required, &result));
            result?;
        }
        let outcome = match &route.access {
            Access::Anonymous(token) => {
                let field = authenticate::bearer::sole_field(&head.headers);
                field.map_err(authenticate::Error::from)?;
                told.token = Some(Fate::anonymous(*token));
                Outcome::Forwarded { provided: Vec::new() }
            }
            Access::Validated { policy, token } => {
                let judged = token::judge(self, policy);
                told.demands.extend(judged.demands);
                told.caller = judged.caller;
                if let Some(appraisal) = &judged.appraisal {
                    told.fields = fields::of(&route, &appraisal.claims);
                }
                let mut provided = judged.outcome?;
                told.token = Some(Fate::validated(self.config, policy, token, judged.appraisal.as_ref()));
                provided.extend(token::provided(token));
                Outcome::Forwarded { provided }
            }
        };
        told.upstream = Some(onward::upstream(&route, &path, head, self.listener, self.peer)?);
        Ok(outcome)
    }

    /// The description of a resource, if that is what is asked for.
    fn description(&self, table: &RouteTable, head: &Parts) -> Option<Outcome> {
        let responder = Responder::new(&self.config.identity_providers, HashMap::new());
        let described = responder.described(head, self.listener.scheme(), self.peer.trust)?;
        let routes = table.at(&self.listener.name, head, &described.path);
        let policies = routes.iter().filter_map(|route| policy(route));
        let answer = responder.description(described.resource, policies)?;
        let detail = "the metadata of the protected resource (RFC 9728)".to_owned();
        Some(Outcome::Answered { status: answer.status().as_u16(), detail })
    }

    /// The answer to a browser that asks on behalf of a script.
    fn preflight(&self, table: &RouteTable, head: &Parts) -> Option<Outcome> {
        let announced = Announced::by(head)?;
        let route = table.find_announced(&self.listener.name, head, &announced).ok()?.route;
        let Announced { origin, method, fields } = &announced;
        let methods = &route.matches.methods;
        let asked = cors::Preflight { origin, method, methods, fields: fields.as_deref() };
        let answer = cors::answer(route.treatment.cors.as_ref()?, asked);
        let is_allowed = answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        let detail = match is_allowed {
            true => format!("a CORS preflight for route {}: the origin may call it", route.name),
            false => format!("a CORS preflight for route {}: the origin may not call it", route.name),
        };
        Some(Outcome::Answered { status: answer.status().as_u16(), detail })
    }
}

fn policy(route: &Route) -> Option<&Policy> {
    match &route.access {
        Access::Validated { policy, .. } => Some(policy),
        Access::Anonymous(_) => None,
    }
}

/// The listener that was named, or the one the URL fits.
fn listener<'c>(config: &'c Config, question: &Question) -> Result<&'c config::Listener, Error> {
    let names = |listeners: &[&config::Listener]| {
        listeners.iter().map(|listener| listener.name.to_string()).collect::<Vec<_>>()
    };
    let all: Vec<&config::Listener> = config.listeners.iter().collect();
    if let Some(named) = &question.listener {
        let own = all.iter().find(|listener| listener.name.as_str() == named);
        return own.copied().ok_or_else(|| Error::NoListener { named: named.clone(), known: names(&all) });
    }
    let is_of_port = |listener: &config::Listener| match (&listener.address, question.url.port_u16()) {
        (config::ListenerAddress::Tcp(address), Some(port)) => address.port == port,
        _ => false,
    };
    let of_port: Vec<&config::Listener> = all.iter().copied().filter(|own| is_of_port(own)).collect();
    // in front of a listener without TLS, somebody else may speak it
    let is_https = question.url.scheme_str() == Some("https");
    let of_both: Vec<&config::Listener> =
        of_port.iter().copied().filter(|own| own.tls.is_some() == is_https).collect();
    let fitting = if of_both.is_empty() { of_port } else { of_both };
    // where no route asks by which one a request came, the first is as good as any
    let is_all_one = config.routes.iter().all(|route| route.listeners.is_none());
    match (fitting.as_slice(), all.as_slice()) {
        ([only], _) | ([], [only]) => Ok(only),
        ([first, ..], _) | ([], [first, ..]) if is_all_one => Ok(first),
        ([], _) => Err(Error::WhichListener(names(&all))),
        (several, _) => Err(Error::WhichListener(names(several))),
    }
}

/// The head as it would come, in HTTP/1.1.
fn head(listener: &config::Listener, question: &Question) -> Result<Parts, Error> {
    let target = question.url.path_and_query().map_or("/", |target| target.as_str());
    let mut request = http::Request::builder().method(question.method.clone()).uri(target);
    request = request.version(Version::HTTP_11);
    let host = match (question.url.authority(), &listener.address) {
        // no client sends who logs in (RFC 9110 section 4.2.4)
        (Some(authority), _) => authority.as_str().rsplit('@').next().unwrap_or_default().to_owned(),
        (None, config::ListenerAddress::Tcp(address)) => format!("localhost:{}", address.port),
        (None, config::ListenerAddress::Unix(_)) => "localhost".to_owned(),
    };
    if !question.headers.contains_key(header::HOST) {
        request = request.header(header::HOST, host);
    }
    if let Some(token) = &question.token {
        request = request.header(header::AUTHORIZATION, token.authorization());
    }
    let (mut parts, ()) = request.body(())?.into_parts();
    parts.headers.extend(question.headers.clone());
    Ok(parts)
}

fn asked(listener: &config::Listener, question: &Question, peer: &Peer) -> Asked {
    Asked {
        method: question.method.to_string(),
        url: shown(&question.url),
        listener: listener.name.to_string(),
        address: format!("{}{}", listener.address, if listener.tls.is_some() { ", TLS" } else { "" }),
        peer: question.peer.to_string(),
        trusted_proxy: peer.trust == crate::domain::peer::Trust::Trusted,
    }
}

/// `url` without who logs in and without its query: tokens and passwords are kept there.
fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().map(|scheme| format!("{scheme}://")).unwrap_or_default();
    let authority =
        url.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    let query = url.query().map(|_| HIDDEN_QUERY).unwrap_or_default();
    printable::line(&format!("{scheme}{}{}{query}", authority.unwrap_or_default(), url.path()))
}
