//! The shared cache: its servers reached, and each command of the proxy's done once with an entry of our own.

use std::time::Duration;

use crate::app::doctor::check::Check;
use crate::app::doctor::check::Round;
use crate::app::doctor::check::Verdict;
use crate::app::doctor::reach::Server;
use crate::app::doctor::reach::Tls;
use crate::app::doctor::reach::reach_all;
use crate::app::doctor::remedies;
use crate::app::doctor::remedies::Whose;
use crate::config::Http2;
use crate::config::Login;
use crate::config::Redis;
use crate::config::RedisServer;
use crate::config::Topology;
use crate::config::Transport;
use crate::net::tls;
use crate::pipeline::exchange::probe::Entry;
use crate::pipeline::exchange::probe::Error;
use crate::pipeline::exchange::probe::Keys;

/// What it is called.
pub const KIND: &str = "redis";

/// How long one step may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Looks at the servers behind `settings`.
pub async fn look(round: &Round, settings: &Redis) -> Vec<Check> {
    let mut checks = Vec::new();
    let are_there = match servers(settings) {
        Ok(servers) => {
            let (reached, are_there) = reach_all(round, servers).await;
            checks.extend(reached);
            are_there
        }
        Err(error) => {
            checks.push(Check::at_once("tls", remedies::client(&error)));
            false
        }
    };
    let reading = round.check_for("encryption keys", LIMIT, async {
        let keys = Keys::read(settings).await.map_err(|error| remedies::redis(&error))?;
        Ok((Verdict::well(format!("{} can be used", keys.count())), keys))
    });
    let (check, keys) = reading.await;
    checks.push(check);
    if let Some(keys) = keys.filter(|_| are_there) {
        serve(round, settings, &keys, &mut checks).await;
    }
    checks
}

async fn serve(round: &Round, settings: &Redis, keys: &Keys, checks: &mut Vec<Check>) {
    let (check, entry) = round
        .check_for("login", LIMIT, async {
            let entry = Entry::open(settings, keys, &round.clock).await;
            Ok((Verdict::well("it lets us in"), entry.map_err(|error| remedies::redis(&error))?))
        })
        .await;
    checks.push(check);
    let Some(entry) = entry else { return };
    let done = |outcome: Result<(), Error>| match outcome {
        Ok(()) => Verdict::well("done"),
        Err(error) => remedies::redis(&error),
    };
    let written = round.check("SET", LIMIT, async { done(entry.write().await) }).await;
    let is_written = written.remedy.is_none();
    checks.push(written);
    if is_written {
        checks.push(round.check("GETRANGE", LIMIT, async { done(entry.read().await) }).await);
    }
    checks.push(round.check("DEL", LIMIT, async { done(entry.delete().await) }).await);
}

/// Those that are named; a cluster and sentinels know of more.
fn servers(settings: &Redis) -> Result<Vec<Server>, tls::Error> {
    let (named, login): (&[RedisServer], &Login) = match &settings.topology {
        Topology::Standalone { server, .. } => (std::slice::from_ref(server), &settings.login),
        Topology::Cluster(servers) => (servers, &settings.login),
        Topology::Sentinel { sentinels, login, .. } => (sentinels, login),
    };
    let server = |RedisServer { host, port, transport }: &RedisServer| {
        let pair = login.client_certificate.as_ref();
        let pair = pair.map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let tls = match transport {
            Transport::Plain => None,
            Transport::Tls => Some(Tls::with(login.ca.as_deref(), pair, Http2::Never)?),
        };
        Ok(Server { host: host.clone(), port: *port, tls, whose: Whose::Redis })
    };
    named.iter().map(server).collect()
}
