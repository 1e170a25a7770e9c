//! A connection to whatever servers there are.
//!
//! **In:** which servers, and files. **Out:** a connection that many use. **Never:** one to where no name may lead, whoever
//! names it.

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
use redis::TlsCertificates;
use redis::TlsMode;
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cmd;
use redis::io::tcp::TcpSettings;

use crate::config;
use crate::config::Login;
use crate::config::RedisServer;
use crate::config::SecretSource;
use crate::config::Topology;
use crate::config::Transport;
use crate::domain::secret::Secret;
use crate::net::names::Names;
use crate::pipeline::exchange::credential;
use crate::pipeline::exchange::credential::error::What;
use crate::pipeline::exchange::credential::file::Reader;
use crate::pipeline::exchange::redis::connect::resolver::Resolver;
use crate::pipeline::exchange::redis::seal;
use crate::pipeline::exchange::redis::seal::Ring;

mod resolver;
mod sentinels;

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
        let opening = tokio::time::timeout(CONNECTING, open(settings, files, Names::default()));
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

async fn open(settings: &config::Redis, files: &Reader, names: Names) -> Result<Connection, Error> {
    // commands are small, and none may wait for the acknowledgement of the one before
    let tcp = TcpSettings::default().set_nodelay(true);
    let papers = papers(&settings.login, files).await?;
    let resolver = Resolver::of(&settings.topology, names);
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
            let theirs = self::papers(login, files).await?;
            let asked = sentinels.iter().map(|sentinel| theirs.client(sentinel, 0, tcp.clone()));
            let asked = asked.collect::<Result<Vec<_>, _>>()?;
            let client = |host, port| {
                papers.client(&RedisServer { host, port, transport: *transport }, *database, tcp.clone())
            };
            Ok(Connection::Single(sentinels::master(asked, master, client, &config).await?))
        }
    }
}

impl Papers {
    fn client(&self, server: &RedisServer, database: i64, tcp: TcpSettings) -> Result<Client, RedisError> {
        let info = self.info(server, database, tcp)?;
        Ok(match server.transport {
            Transport::Plain => Client::open(info)?,
            Transport::Tls => Client::build_with_tls(info, self.certificates.clone())?,
        })
    }

    fn info(
        &self,
        server: &RedisServer,
        database: i64,
        tcp: TcpSettings,
    ) -> Result<ConnectionInfo, RedisError> {
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
mod tests;
