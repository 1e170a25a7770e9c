//! Where the names of servers lead.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;

use redis::RedisError;
use redis::RedisFuture;
use redis::io::AsyncDNSResolver;

use crate::config::Topology;
use crate::net::names;
use crate::net::names::Names;
use crate::telemetry::logs;

/// Resolves the names of servers as all names are, and lets no server send us where no name may lead: a cluster's and a
/// sentinel's answers name others by their addresses.
#[derive(Clone)]
pub struct Resolver {
    names: Names,
    /// The hosts that the configuration has.
    configured: Arc<[String]>,
}

impl Resolver {
    /// The one for those servers, which asks `names`.
    pub fn of(topology: &Topology, names: Names) -> Self {
        let servers = match topology {
            Topology::Standalone { server, .. } => std::slice::from_ref(server),
            Topology::Cluster(servers) => servers,
            Topology::Sentinel { sentinels, .. } => sentinels,
        };
        let configured = servers.iter().map(|server| server.host.clone()).collect();
        Self { names, configured }
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, RedisError> {
        let found = match self.names.addresses(host).await {
            Ok(found) if self.configured.iter().any(|own| own == host) => Ok(found.to_vec()),
            Ok(found) => names::admitted(found.to_vec()),
            Err(error) => Err(error),
        };
        // the text of an I/O error is all that this library keeps
        found.map_err(|error| io::Error::other(logs::report(&error)).into())
    }
}

impl AsyncDNSResolver for Resolver {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let found = self.addresses(host).await?.into_iter();
            let found: Box<dyn Iterator<Item = SocketAddr> + Send> =
                Box::new(found.map(move |address| SocketAddr::new(address, port)));
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisServer;
    use crate::config::Transport;

    #[tokio::test]
    async fn no_server_sends_us_where_only_the_configuration_may() {
        let server = |host: &str| RedisServer { host: host.into(), port: 6379, transport: Transport::Plain };
        let topology = Topology::Cluster(vec![server("169.254.7.7"), server("127.0.0.1")]);
        let resolver = Resolver::of(&topology, Names::default());
        for (host, is_reached) in [
            ("169.254.7.7", true),
            ("127.0.0.1", true),
            ("10.0.0.1", true),
            ("169.254.169.254", false),
            ("::ffff:169.254.7.7", false),
            // which resolvers take for 169.254.169.254
            ("0xa9fea9fe", false),
        ] {
            let resolved = resolver.resolve(host, 6379).await.map(Iterator::collect::<Vec<_>>);
            match resolved {
                Ok(found) => assert!(is_reached && found[0].port() == 6379, "{host}: {found:?}"),
                Err(error) => {
                    let told = error.to_string();
                    assert!(!is_reached && told.contains("the name leads to"), "{host}: {told}");
                }
            }
        }
    }
}
