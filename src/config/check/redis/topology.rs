//! Which servers there are, and what they are to each other.

use crate::config::Login;
use crate::config::RedisServer;
use crate::config::Topology;
use crate::config::Transport;
use crate::config::check::At;
use crate::config::check::redis::login;
use crate::config::check::redis::login::Way;
use crate::config::check::redis::url;
use crate::config::check::visible;
use crate::config::loopback::is_loopback_host;
use crate::config::wire;
use crate::config::wire::scalar::OneOrMany;

const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The servers, and the way to those that hold the entries. `None` if they cannot be used, which was reported.
pub fn check(wire: &wire::redis::Redis, at: &At<'_>) -> Option<(Topology, Way)> {
    let help = "write exactly one of url, cluster and sentinel";
    match (&wire.url, &wire.cluster, &wire.sentinel) {
        (Some(text), None, None) => {
            let at = at.key("url");
            let (server, path) = url::parse(text, PORT, &at)?;
            let database = url::database_of(path, text, &at)?;
            let way = way(std::slice::from_ref(&server), server.transport, "rediss://");
            Some((Topology::Standalone { server, database }, way))
        }
        (None, Some(urls), None) => {
            let help = "a cluster has no numbered databases: leave the path out";
            let (servers, transport) = servers(urls, PORT, help, &at.key("cluster"))?;
            let way = way(&servers, transport, "rediss://");
            Some((Topology::Cluster(servers), way))
        }
        (None, None, Some(wire)) => sentinel(wire, &at.key("sentinel")),
        (None, None, None) => {
            if !at.is_poisoned() {
                at.error_with("this names no server", help);
            }
            None
        }
        _ => {
            at.error_with("this says more than once where the servers are", help);
            None
        }
    }
}

fn sentinel(wire: &wire::redis::Sentinel, at: &At<'_>) -> Option<(Topology, Way)> {
    let found = match &wire.urls {
        Some(urls) => {
            let help = "the number of the database is written as `database`, beside `urls`";
            servers(urls, SENTINEL_PORT, help, &at.key("urls"))
        }
        None => {
            at.missing("urls", "write where the sentinels are, as in urls: [rediss://sentinel-0:26379]");
            None
        }
    };
    let way_to_sentinels =
        found.as_ref().map(|(servers, transport)| way(servers, *transport, "rediss:// in `urls`"));
    let written = login::Written {
        username: wire.username.as_deref(),
        password: wire.password.as_ref(),
        tls: wire.tls.as_ref(),
    };
    let login: Option<Login> = login::check(&written, way_to_sentinels.as_ref(), at);
    let master = match &wire.master {
        Some(name) => visible(name, "the name of a master", &at.key("master")),
        None => {
            at.missing("master", "write what the sentinels call it, as in master: mymaster");
            None
        }
    };
    let number = wire.database.unwrap_or_default();
    let database = url::database(number);
    if database.is_none() {
        at.key("database").error(format!("`{number}` is not the number of a database"));
    }
    let (sentinels, theirs) = found?;
    let transport = match wire.master_tls {
        None => theirs,
        Some(true) => Transport::Tls,
        Some(false) => Transport::Plain,
    };
    // where the master is, the sentinels say: most likely not farther than they are
    let way = way(&sentinels, transport, "`master_tls: true` in `sentinel`");
    let topology =
        Topology::Sentinel { sentinels, login: login?, master: master?, database: database?, transport };
    Some((topology, way))
}

/// The servers of a list, which are spoken to alike; `no_path` says why they are named without a path.
fn servers(
    list: &OneOrMany,
    default_port: u16,
    no_path: &str,
    at: &At<'_>,
) -> Option<(Vec<RedisServer>, Transport)> {
    if list.0.is_empty() && !at.is_poisoned() {
        at.error_with("this list is empty", "write one server at least");
    }
    let one = |(item, text): (usize, &String)| url::without_path(text, default_port, no_path, &at.item(item));
    let servers: Vec<Option<RedisServer>> = list.0.iter().enumerate().map(one).collect();
    let servers: Vec<RedisServer> = servers.into_iter().collect::<Option<_>>()?;
    let transport = servers.first()?.transport;
    if let Some(other) = servers.iter().position(|server| server.transport != transport) {
        let help = "write rediss:// for all, or redis:// for all";
        at.item(other).error_with("some of these servers are spoken to over TLS, and some are not", help);
        return None;
    }
    Some((servers, transport))
}

fn way(servers: &[RedisServer], transport: Transport, remedy: &'static str) -> Way {
    match transport {
        Transport::Tls => Way::Tls,
        Transport::Plain if servers.iter().all(|server| is_loopback_host(&server.host)) => {
            Way::Loopback(remedy)
        }
        Transport::Plain => Way::Network(remedy),
    }
}
