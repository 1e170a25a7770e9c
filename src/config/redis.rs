//! The cache tier that proxies share, checked.

use std::path::PathBuf;
use std::time::Duration;

use crate::domain::secret::Secret;

/// A server, or several, that speak Redis' protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Which servers, and what they are to each other.
    pub topology: Topology,
    /// As whom and whose certificates are believed.
    pub login: Login,
    /// What names and values are sealed with: the first seals, all open. One at least.
    pub encryption_keys: Vec<SecretSource>,
    /// Bound on a whole look-up.
    pub timeout: Duration,
}

impl Redis {
    /// Those that are named, by host and port: a cluster and sentinels know of more.
    pub fn servers(&self) -> String {
        let servers = match &self.topology {
            Topology::Standalone { server, .. } => std::slice::from_ref(server),
            Topology::Cluster(servers) => servers,
            Topology::Sentinel { sentinels, .. } => sentinels,
        };
        let address = |RedisServer { host, port, .. }: &RedisServer| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        servers.iter().map(address).collect::<Vec<_>>().join(", ")
    }
}

/// What the servers are to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// There is one.
    Standalone {
        /// It.
        server: RedisServer,
        /// Which of its databases.
        database: i64,
    },
    /// Each holds some of the entries; these are asked who the others are.
    Cluster(Vec<RedisServer>),
    /// Sentinels know which server is the master.
    Sentinel {
        /// The sentinels.
        sentinels: Vec<RedisServer>,
        /// As whom the sentinels are spoken to.
        login: Login,
        /// What they call the master.
        master: String,
        /// Which of its databases.
        database: i64,
        /// Whether the master is spoken to over TLS.
        transport: Transport,
    },
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisServer {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Plain or TLS.
    pub transport: Transport,
}

/// Plain or TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Whoever shares the network reads along.
    Plain,
    /// TLS.
    Tls,
}

/// As whom a server is spoken to, and how its certificate is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The ACL user; `None` = the default one.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<SecretSource>,
    /// A PEM file of roots; `None` = the system's.
    pub ca: Option<PathBuf>,
    /// PEM files of our certificate and key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file, which may be replaced.
    File(PathBuf),
    /// Here.
    Here(Secret),
}
