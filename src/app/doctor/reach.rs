//! Whether a server can be reached: its name, its port, its TLS.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::Uri;
use rustls::ClientConfig;
use rustls::ProtocolVersion;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::app::doctor::certificate;
use crate::app::doctor::check::Check;
use crate::app::doctor::check::Round;
use crate::app::doctor::check::Verdict;
use crate::app::doctor::remedies;
use crate::app::doctor::remedies::Whose;
use crate::config::Http2;
use crate::net::budget::Share;
use crate::net::dialer;
use crate::net::dialer::Dialer;
use crate::net::names;
use crate::net::names::Names;
use crate::net::tls;

/// How long each of the three may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Whom to reach.
#[derive(Clone, Debug)]
pub struct Server {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How TLS is spoken with it; `None` = not at all.
    pub tls: Option<Tls>,
    /// Which settings say that.
    pub whose: Whose,
}

/// How TLS is spoken.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Roots, and our own certificate.
    pub config: ClientConfig,
    /// The name to expect in place of the host.
    pub server_name: Option<String>,
    /// What is offered in the handshake.
    pub http2: Http2,
}

impl Tls {
    /// As the proxy speaks it where these files are configured.
    ///
    /// # Errors
    /// If a file cannot be used.
    pub fn with(ca: Option<&Path>, pair: Option<(&Path, &Path)>, http2: Http2) -> Result<Self, tls::Error> {
        Ok(Self { config: tls::client_config(ca, pair)?, server_name: None, http2 })
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Reached {
    /// The looks.
    pub checks: Vec<Check>,
    /// Whether all went well: whatever else is asked of the server, it will hear it.
    pub is_there: bool,
    /// What the TLS handshake agreed on.
    pub speaks: Option<Vec<u8>>,
}

/// Reaches all of them at the same time; whether they are all there.
pub async fn reach_all(round: &Round, servers: Vec<Server>) -> (Vec<Check>, bool) {
    let mut reaching = JoinSet::new();
    for (at, server) in servers.into_iter().enumerate() {
        let round = round.clone();
        reaching.spawn(async move { (at, reach(&round, &server).await) });
    }
    let mut reached = reaching.join_all().await;
    reached.sort_by_key(|(at, _)| *at);
    let are_there = reached.iter().all(|(_, reached)| reached.is_there);
    (reached.into_iter().flat_map(|(_, reached)| reached.checks).collect(), are_there)
}

/// Looks up the server's name, connects, and shakes hands.
pub async fn reach(round: &Round, server: &Server) -> Reached {
    let mut reached = Reached { checks: Vec::new(), is_there: false, speaks: None };
    let Server { host, port, tls, whose } = server;
    let place = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let addresses = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, *port)],
        Err(_) => {
            let (check, found) = round.check_for(format!("dns {host}"), LIMIT, resolved(host, *port)).await;
            reached.checks.push(check);
            match found {
                Some(found) => found,
                None => return reached,
            }
        }
    };
    let (check, connected) = round.check_for(format!("tcp {place}"), LIMIT, connected(&addresses)).await;
    reached.checks.push(check);
    if connected.is_none() {
        return reached;
    }
    let Some(tls) = tls else { return Reached { is_there: true, ..reached } };
    let shaking = shaken(round, &place, host, tls, *whose);
    let (check, spoken) = round.check_for(format!("tls {place}"), LIMIT, shaking).await;
    reached.checks.push(check);
    Reached { is_there: spoken.is_some(), speaks: spoken.flatten(), ..reached }
}

async fn resolved(host: &str, port: u16) -> Result<(Verdict, Vec<SocketAddr>), Verdict> {
    let found = tokio::net::lookup_host((host, port)).await;
    let found = found.map_err(|error| remedies::unknown_host(&error.to_string()))?;
    let found = names::admitted(found.map(|address| address.ip()).collect());
    let found = found.map_err(|error| remedies::off_limits(&error))?;
    if found.is_empty() {
        return Err(remedies::unknown_host("it has no address"));
    }
    let mut all: Vec<String> = found.iter().take(4).map(IpAddr::to_string).collect();
    if found.len() > all.len() {
        all.push(format!("and {} more", found.len() - all.len()));
    }
    let found = found.into_iter().map(|address| SocketAddr::new(address, port)).collect();
    Ok((Verdict::well(all.join(", ")), found))
}

/// Tries the addresses one after the other, as the proxy does.
async fn connected(addresses: &[SocketAddr]) -> Result<(Verdict, ()), Verdict> {
    let mut failure = remedies::unknown_host("it has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok((Verdict::well("connected"), ())),
            Err(error) => failure = remedies::tcp(&error),
        }
    }
    Err(failure)
}

async fn shaken(
    round: &Round,
    place: &str,
    host: &str,
    tls: &Tls,
    whose: Whose,
) -> Result<(Verdict, Option<Vec<u8>>), Verdict> {
    let unsendable = || Verdict::wrong("the name cannot be sent in TLS", "use a host name");
    let url = Uri::builder().scheme("https").authority(place).path_and_query("/").build();
    let url = url.map_err(|_| unsendable())?;
    let name = tls.server_name.clone().map(ServerName::try_from).transpose().map_err(|_| unsendable())?;
    let expected = tls.server_name.as_deref().unwrap_or(host);
    let dialer =
        Dialer::new(url, tls.config.clone(), tls.http2, LIMIT, name, Names::default(), Share::default());
    let stream = dialer.dial().await.map_err(|error| match &error {
        dialer::Error::Tls(cause) => remedies::tls(cause.as_ref(), expected, whose, round.clock.now()),
        dialer::Error::Connect(cause) => remedies::broken_handshake(cause.as_ref()),
        dialer::Error::Timeout => remedies::slow_handshake(LIMIT),
        dialer::Error::NoRoom => Verdict::unreachable(error.to_string(), "raise `ulimit -n`"),
    })?;
    let version = match stream.tls_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let spoken = stream.alpn().map(<[u8]>::to_vec);
    let leaf = stream.certificates().first().and_then(|leaf| certificate::Summary::of(leaf));
    let Some(leaf) = leaf else { return Ok((Verdict::well(version), spoken)) };
    let days = certificate::days_until(leaf.not_after, round.clock.now());
    let seen = format!("{version}, the certificate ends in {}", certificate::in_days(days));
    let verdict = match days < certificate::SOON {
        true => Verdict::doubtful(seen, "have whoever runs the server renew its certificate"),
        false => Verdict::well(seen),
    };
    Ok((verdict, spoken))
}
