//! A connection to whatever servers there are.

use std::io;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::Client;
use redis::ClientTlsConfig;
use redis::Cmd;
use redis::ConnectionAddr;
use redis::ConnectionInfo;
use redis::FromRedisValue;
use redis::IntoConnectionInfo;
use redis::RedisConnectionInfo;
use redis::RedisError;
use redis::RedisFuture;
use redis::TlsCertificates;
use redis::TlsMode;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cmd;
use redis::io::AsyncDNSResolver;
use redis::io::tcp::TcpSettings;
use redis::sentinel::SentinelClientBuilder;
use redis::sentinel::SentinelServerType;

use crate::config;
use crate::config::Login;
use crate::config::RedisServer;
use crate::config::SecretSource;
use crate::config::Topology;
use crate::config::Transport;
use crate::domain::secret::Secret;
use crate::net::names;
use crate::net::names::Names;
use crate::pipeline::exchange::credential;
use crate::pipeline::exchange::credential::error::What;
use crate::pipeline::exchange::credential::file::Reader;
use crate::pipeline::exchange::redis::seal;
use crate::pipeline::exchange::redis::seal::Ring;
use crate::telemetry::logs;

/// How long connecting may take, reading files and asking sentinels included.
const CONNECTING: Duration = Duration::from_secs(2);
/// How long one answer may take before the client gives up; who waits for it does so sooner.
const ANSWERING: Duration = Duration::from_secs(1);

/// A connection that many can use at the same time. Cheap to clone.
#[derive(Clone)]
pub enum Connection {
    /// To one server.
    Single(MultiplexedConnection),
    /// To all servers of a cluster.
    Cluster(ClusterConnection),
}

/// Why there is no connection, or a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The servers cannot be spoken to, or refuse us. The text of the cause says all that its own causes do.
    #[error("{0}")]
    Redis(RedisError),
    /// A file cannot be used.
    #[error("a file that Redis needs cannot be used")]
    File(#[from] credential::Error),
    /// A secret cannot be used.
    #[error("values cannot be sealed")]
    Seal(#[from] seal::Unusable),
    /// Nothing came in time.
    #[error("Redis did not answer within {0:?}")]
    Slow(Duration),
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl Connection {
    /// Connects, with whatever the files hold now.
    ///
    /// # Errors
    /// If no server answers, or none lets us in, or a file cannot be used.
    pub async fn open(settings: &config::Redis, files: &Reader) -> Result<Self, Error> {
        let opening = tokio::time::timeout(CONNECTING, open(settings, files));
        opening.await.unwrap_or(Err(Error::Slow(CONNECTING)))
    }

    /// Asks for nothing of interest: who shows no password is let in by every server, and learns with the first command what
    /// that is worth.
    ///
    /// # Errors
    /// If the server wants a password, or does not answer. What else it says is the commands' own matter.
    pub async fn greet(&mut self) -> Result<(), Error> {
        match self.send::<Vec<u8>>(cmd("GETRANGE").arg("obo:").arg(0).arg(0)).await {
            Err(error) if error.code().is_none_or(|code| code == "NOAUTH") => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What the server answers to `command`.
    ///
    /// # Errors
    /// If it refuses, or does not answer.
    pub async fn send<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        match self {
            Self::Single(connection) => command.query_async(connection).await,
            Self::Cluster(connection) => command.query_async(connection).await,
        }
    }
}

/// The keys that the configured secrets are now.
///
/// # Errors
/// If a file cannot be used.
pub async fn ring(settings: &config::Redis, files: &Reader) -> Result<Ring, Error> {
    let mut secrets = Vec::with_capacity(settings.encryption_keys.len());
    for source in &settings.encryption_keys {
        secrets.push(secret(source, What::EncryptionKey, files).await?);
    }
    Ok(Ring::new(&secrets)?)
}

/// As whom we come, and what TLS takes: as read from files just now.
struct Papers {
    username: Option<String>,
    password: Option<Secret>,
    certificates: TlsCertificates,
}

async fn open(settings: &config::Redis, files: &Reader) -> Result<Connection, Error> {
    // commands are small, and none may wait for the acknowledgement of the one before
    let tcp = TcpSettings::default().set_nodelay(true);
    let papers = papers(&settings.login, files).await?;
    let resolver = Resolver::of(&settings.topology);
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECTING))
        .set_response_timeout(Some(ANSWERING))
        .set_dns_resolver(resolver.clone());
    match &settings.topology {
        Topology::Standalone { server, database } => {
            let client = papers.client(server, *database, tcp)?;
            Ok(Connection::Single(client.get_multiplexed_async_connection_with_config(&config).await?))
        }
        Topology::Cluster(servers) => {
            let servers: Vec<_> =
                servers.iter().map(|server| papers.info(server, 0, tcp.clone())).collect::<Result<_, _>>()?;
            let is_tls = servers.iter().any(|server| matches!(server.addr(), ConnectionAddr::TcpTls { .. }));
            let mut builder = ClusterClientBuilder::new(servers)
                .connection_timeout(CONNECTING)
                .response_timeout(ANSWERING)
                .retries(1)
                .async_dns_resolver(resolver)
                .tcp_settings(tcp);
            if is_tls {
                builder = builder.tls(TlsMode::Secure).certs(papers.certificates.clone());
            }
            Ok(Connection::Cluster(builder.build()?.get_async_connection().await?))
        }
        Topology::Sentinel { sentinels, login, master, database, transport } => {
            // the library resolves the names of sentinels by itself
            for sentinel in sentinels {
                resolver.addresses(&sentinel.host).await?;
            }
            let addresses = sentinels.iter().map(address);
            let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?;
            builder = builder
                .set_client_to_redis_db(*database)
                .set_client_to_redis_tcp_settings(tcp.clone())
                .set_client_to_sentinel_tcp_settings(tcp);
            if let Some(username) = &papers.username {
                builder = builder.set_client_to_redis_username(username);
            }
            if let Some(password) = &papers.password {
                builder = builder.set_client_to_redis_password(password.expose());
            }
            if *transport == Transport::Tls {
                builder = builder
                    .set_client_to_redis_tls_mode(TlsMode::Secure)
                    .set_client_to_redis_certificates(papers.certificates.clone());
            }
            let theirs = self::papers(login, files).await?;
            if let Some(username) = &theirs.username {
                builder = builder.set_client_to_sentinel_username(username);
            }
            if let Some(password) = &theirs.password {
                builder = builder.set_client_to_sentinel_password(password.expose());
            }
            if sentinels.iter().any(|sentinel| sentinel.transport == Transport::Tls) {
                builder = builder.set_client_to_sentinel_certificates(theirs.certificates.clone());
            }
            let mut client = builder.build()?;
            Ok(Connection::Single(client.get_async_connection_with_config(&config).await?))
        }
    }
}

/// Resolves the names of servers as all names are, and lets no server send us where no name may lead: a cluster's and a
/// sentinel's answers name others by their addresses.
#[derive(Clone)]
struct Resolver {
    names: Names,
    /// The hosts that the configuration has.
    configured: Arc<[String]>,
}

impl Resolver {
    fn of(topology: &Topology) -> Self {
        let servers = match topology {
            Topology::Standalone { server, .. } => std::slice::from_ref(server),
            Topology::Cluster(servers) => servers,
            Topology::Sentinel { sentinels, .. } => sentinels,
        };
        let configured = servers.iter().map(|server| server.host.clone()).collect();
        Self { names: Names::default(), configured }
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

impl Papers {
    fn client(&self, server: &RedisServer, database: i64, tcp: TcpSettings) -> Result<Client, Error> {
        let info = self.info(server, database, tcp)?;
        Ok(match server.transport {
            Transport::Plain => Client::open(info)?,
            Transport::Tls => Client::build_with_tls(info, self.certificates.clone())?,
        })
    }

    fn info(&self, server: &RedisServer, database: i64, tcp: TcpSettings) -> Result<ConnectionInfo, Error> {
        let mut login = RedisConnectionInfo::default().set_db(database);
        if let Some(username) = &self.username {
            login = login.set_username(username);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password.expose());
        }
        Ok(address(server).into_connection_info()?.set_redis_settings(login).set_tcp_settings(tcp))
    }
}

fn address(server: &RedisServer) -> ConnectionAddr {
    let RedisServer { host, port, transport } = server;
    match transport {
        Transport::Plain => ConnectionAddr::Tcp(host.clone(), *port),
        Transport::Tls => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None }
        }
    }
}

async fn papers(login: &Login, files: &Reader) -> Result<Papers, Error> {
    let password = match &login.password {
        Some(source) => Some(secret(source, What::Password, files).await?),
        None => None,
    };
    let root_cert = match &login.ca {
        Some(path) => Some(files.bytes(What::Certificate, path, CONNECTING).await?.to_vec()),
        None => None,
    };
    let client_tls = match &login.client_certificate {
        Some((certificate, key)) => Some(ClientTlsConfig {
            client_cert: files.bytes(What::Certificate, certificate, CONNECTING).await?.to_vec(),
            client_key: files.bytes(What::Key, key, CONNECTING).await?.to_vec(),
        }),
        None => None,
    };
    let certificates = TlsCertificates { client_tls, root_cert };
    Ok(Papers { username: login.username.clone(), password, certificates })
}

async fn secret(source: &SecretSource, what: What, files: &Reader) -> Result<Secret, Error> {
    Ok(match source {
        SecretSource::File(path) => files.line(what, path, CONNECTING).await?,
        SecretSource::Here(secret) => secret.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_server_sends_us_where_only_the_configuration_may() {
        let server = |host: &str| RedisServer { host: host.into(), port: 6379, transport: Transport::Plain };
        let resolver = Resolver::of(&Topology::Cluster(vec![server("169.254.7.7"), server("127.0.0.1")]));
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
                    let told = Error::from(error).to_string();
                    assert!(!is_reached && told.contains("the name leads to"), "{host}: {told}");
                }
            }
        }
    }
}
